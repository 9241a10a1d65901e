# SPDX-License-Identifier: Apache-2.0
"""The conditions every kind has, made from what its parts say, and the events about their changes.

Ready: all that the spec asks for is there, works and is redundant. Degraded: something that was
there, or cannot come by waiting, is missing. Progressing: what is missing is on its way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dpe_operator.api import constants
from dpe_operator.planning.acceptance import Refused
from dpe_operator.planning.conditions import Conditions
from dpe_operator.planning.objects import Obj, dig
from dpe_operator.planning.plan import Notice, Situation

CLUSTER_REF_MISSING: Final = "ClusterRefMissing"
# Reason and event of a fault of our own.
OPERATOR_ERROR: Final = "OperatorError"
# Reason and event of a plan that the API server did not take.
APPLY_FAILED: Final = "ApplyFailed"


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of a resource says; becomes a condition of its own.

    `ok` None: it cannot be known and does not count. `hard`: waiting alone will not help.
    `updating`: it is being changed on purpose.
    """

    condition: str
    ok: bool | None
    reason: str
    message: str
    hard: bool = False
    updating: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the spec is in force. `waiting`: it cannot be judged yet, with the reason why."""

    refusal: Refused | None = None
    waiting: str | None = None
    cluster_missing: bool | None = None
    in_force: bool = True
    """Whether any accepted spec is in force, this one or one before."""


def conditions_for(situation: Situation) -> Conditions:
    """Return an empty collection that knows the conditions of the reconcile before."""
    return Conditions(
        generation=int(dig(situation.resource, "metadata", "generation", default=0)),
        previous=dig(situation.resource, "status", "conditions", default=[]),
        now=situation.now,
    )


def summarise(
    conditions: Conditions, verdict: Verdict, parts: Sequence[Part], *, ready_message: str
) -> None:
    """State Accepted, Ready, Progressing, Degraded and one condition for each part.

    Args:
        conditions: filled by this.
        verdict: whether the spec is in force.
        parts: what the parts say.
        ready_message: the sentence for Ready=True.
    """
    _accepted(conditions, verdict)
    bad = [part for part in parts if part.ok is False]
    text = "; ".join(part.message for part in bad)
    updating = [part for part in parts if part.updating]
    lost = _was_there(conditions, bad) and not updating
    degraded = bool(bad) and (lost or any(part.hard for part in bad))
    _ready(conditions, verdict, bad, text, ready_message)
    if updating or (bad and not degraded):
        note = "; ".join(part.message for part in updating) or text
        reason = "Updating" if updating else "Starting"
        conditions.set(constants.CONDITION_PROGRESSING, True, reason, note)
    else:
        conditions.set(constants.CONDITION_PROGRESSING, False, "Settled", "Nothing is under way.")
    if degraded:
        conditions.set(constants.CONDITION_DEGRADED, True, _cause(bad, lost=lost), text)
    else:
        conditions.set(constants.CONDITION_DEGRADED, False, "AsExpected", "Nothing is missing.")
    for part in parts:
        conditions.set(part.condition, part.ok, part.reason, part.message)


def _was_there(conditions: Conditions, bad: Sequence[Part]) -> bool:
    """Whether something of what is missing was there in the reconcile before.

    The parts are asked too: Ready is False while a spec is refused or cannot be applied, however
    well all is that runs. A refusal by the API server (`ApplyFailed`) takes nothing away, so it is
    Degraded only for as long as it lasts.
    """
    degraded = conditions.before(constants.CONDITION_DEGRADED)
    if degraded.get("status") == "True" and degraded.get("reason") != APPLY_FAILED:
        return True
    kinds = [constants.CONDITION_READY, *(part.condition for part in bad)]
    return any(conditions.before(kind).get("status") == "True" for kind in kinds)


def _cause(bad: Sequence[Part], *, lost: bool) -> str:
    """Return the reason for Degraded. What was lost comes before what is refused: that it was there
    is known from this alone afterwards."""
    found = [part for part in bad if (part.reason != APPLY_FAILED if lost else part.hard)]
    return (found or bad)[0].reason


def _accepted(conditions: Conditions, verdict: Verdict) -> None:
    kind = constants.CONDITION_ACCEPTED
    stays = (
        "what was accepted before stays in force"
        if verdict.in_force
        else "nothing is made until then"
    )
    if verdict.refusal is not None:
        message = f"{verdict.refusal.message} ({stays})"
        conditions.set(kind, False, verdict.refusal.reason, message)
    elif verdict.waiting is not None:
        conditions.set(kind, None, "ClusterNotKnown", f"{verdict.waiting} ({stays})")
    else:
        conditions.set(kind, True, "Accepted", "The spec is accepted and in force.")
    if verdict.cluster_missing is not None:
        missing = verdict.cluster_missing
        conditions.set(
            CLUSTER_REF_MISSING,
            missing,
            "NoSuchCluster" if missing else "Found",
            (verdict.waiting or "") if missing else "The DpeCluster of clusterRef is there.",
        )


def _ready(
    conditions: Conditions, verdict: Verdict, bad: Sequence[Part], text: str, ready: str
) -> None:
    kind = constants.CONDITION_READY
    if conditions.status(constants.CONDITION_ACCEPTED) != "True":
        message = conditions.message(constants.CONDITION_ACCEPTED)
        conditions.set(kind, False, "NotAccepted", f"{message}. {text}" if text else message)
    elif bad:
        conditions.set(kind, False, bad[0].reason, text)
    else:
        conditions.set(kind, True, "AllReady", ready)


def change_notices(conditions: Conditions) -> list[Notice]:
    """Return the events about what has changed since the reconcile before."""
    found: list[Notice] = []
    accepted, ready = constants.CONDITION_ACCEPTED, constants.CONDITION_READY
    before = conditions.before(accepted)
    if conditions.status(accepted) == "False":
        text = conditions.message(accepted)
        if before.get("status") != "False" or before.get("message") != text:
            found.append(Notice("Warning", "SpecRefused", text))
    elif conditions.status(accepted) == "True" and before.get("status") == "False":
        found.append(Notice("Normal", "SpecAccepted", "The spec is accepted now."))
    if conditions.flipped(ready):
        if conditions.status(ready) == "True":
            found.append(Notice("Normal", "Ready", conditions.message(ready)))
        elif conditions.before(ready).get("status") == "True":
            # on purpose and on its way: nobody needs to be alarmed
            if conditions.status(constants.CONDITION_PROGRESSING) == "True":
                found.append(Notice("Normal", "Updating", conditions.message(ready)))
            else:
                found.append(Notice("Warning", "NotReady", conditions.message(ready)))
    return found


def status_body(situation: Situation, conditions: Conditions, **fields: object) -> Obj:
    """Return a status without what is not known (None, empty lists)."""
    body: Obj = {
        "observedGeneration": int(dig(situation.resource, "metadata", "generation", default=0)),
        "conditions": conditions.entries(),
    }
    body.update({key: value for key, value in fields.items() if value not in (None, [], {})})
    return body


def with_failure(situation: Situation, status: Obj, why: str, *, final: bool) -> Obj:
    """Return a status that says in Ready that applying the plan failed.

    `final`: waiting alone does not help, so it is Degraded, and nothing is on its way. Where it is
    Degraded already, for something that is missing, that stays: Ready tells of the refusal.
    """
    conditions = conditions_for(situation)
    message = f"the API server refused a change: {why}"
    planned = {entry["type"]: entry for entry in status["conditions"]}
    conditions.set(constants.CONDITION_READY, False, APPLY_FAILED, message)
    if final:
        conditions.set(constants.CONDITION_PROGRESSING, False, APPLY_FAILED, message)
        if dig(planned, constants.CONDITION_DEGRADED, "status") != "True":
            conditions.set(constants.CONDITION_DEGRADED, True, APPLY_FAILED, message)
    said = {entry["type"]: entry for entry in conditions.entries()}
    return {**status, "conditions": list((planned | said).values())}


def with_fault(situation: Situation, why: str) -> Obj:
    """Return the status of before, saying that nobody can look after the resource at present."""
    before: Obj = dig(situation.resource, "status", default={})
    conditions = conditions_for(situation)
    for kind, value in ((constants.CONDITION_READY, False), (constants.CONDITION_DEGRADED, True)):
        conditions.set(kind, value, OPERATOR_ERROR, why)
    said = {entry["type"]: entry for entry in conditions.entries()}
    entries = {entry["type"]: entry for entry in before.get("conditions", [])} | said
    generation = int(dig(situation.resource, "metadata", "generation", default=0))
    return {**before, "observedGeneration": generation, "conditions": list(entries.values())}
