# SPDX-License-Identifier: Apache-2.0
"""Brings children to what a plan wants: in waves, only where something differs, never twice.

Waves: rights and configuration, then Services with their slices and Leases, then what runs, then
disruption budgets, then what runs by schedule. Everything was rendered before the first write, so
a bad template aborts none half-way. An object that the server refuses holds up only what reads it:
the others are kept as they should be. Deletions carry a uid, so that an object made anew under an
old name is never hit.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from dpe_operator.api import constants
from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.drift import (
    Decision,
    Difference,
    decide,
    differences,
    replacing,
    service_surplus,
    stamped,
)
from dpe_operator.kube.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NamespaceGoing,
    NotFound,
    UnknownField,
)
from dpe_operator.planning.objects import Obj, Ref, annotations, dig, uid_of
from dpe_operator.planning.plan import Change, Child, Deletion, Handover, Observed

logger = logging.getLogger(__name__)

WAVES: Final[tuple[tuple[str, ...], ...]] = (
    ("ServiceAccount", "Role", "RoleBinding", "ConfigMap", "PersistentVolumeClaim"),
    ("Service", "Lease", "EndpointSlice"),
    ("Deployment", constants.KIND_SERVER, constants.KIND_FARM, *constants.WORKFLOW_KINDS),
    ("PodDisruptionBudget",),
    ("CronJob", "Job", constants.KIND_PAR_STORE),
)
_ORDER: Final = {kind: number for number, wave in enumerate(WAVES) for kind in wave}
_REMEMBERED: Final = 10_000
# What was refused is asked for again after this time: somebody may have allowed it meanwhile.
ASK_AGAIN_SECONDS: Final = 3600.0

Action = Literal["create", "apply", "skip", "wait", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """What was done about one child. `drift`: what others had changed, `by` whom if known.

    `refused`: why the server did not take all of it, where that was allowed for. `error`: why it
    did not take it where that was not: the plan was not carried out then.
    """

    ref: Ref
    action: Action
    drift: tuple[Difference, ...] = ()
    by: str = ""
    refused: str = ""
    error: ApiError | None = None


class Applier:
    """Applies children and remembers, per object, what the server changes in our own requests.

    The memory is a cache: without it (after a restart) such an object is applied once more.
    """

    def __init__(self, client: KubeClient, *, manager: str = constants.MANAGER) -> None:
        self._client = client
        self._manager = manager
        self._tolerated: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()
        self._refused: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def apply(self, children: Iterable[Child], observed: Observed) -> list[Result]:
        """Apply all children in waves, the others too where the server refuses one.

        What reads a refused object of the first wave (rights, configuration, claims) waits where
        that object is not there, as its pods could not start; where it is there as it was before,
        what reads it stays as it was too, and is repaired.

        Raises:
            KubeError: a request failed in another way; later waves were not begun.
        """
        results: list[Result] = []
        refused: dict[str, bool] = {}
        for child in sorted(children, key=lambda child: _ORDER[child.ref.kind]):
            live = observed.get(child.ref)
            if refused and _waits(child, live, refused):
                logger.warning("%s: waits, as something it reads was refused", child.ref)
                results.append(Result(child.ref, "wait"))
                continue
            results.append(await self._apply_or_tell(child, live))
            if results[-1].error is not None and child.ref.kind in WAVES[0]:
                there = live is not None and refused.get(child.ref.name, True)
                refused[child.ref.name] = there
        return results

    async def _apply_or_tell(self, child: Child, live: Obj | None) -> Result:
        try:
            return await self._apply_either(child, live)
        except NamespaceGoing:
            raise
        except (Forbidden, Invalid) as error:
            logger.warning("%s: not applied: %s", child.ref, error)
            return Result(child.ref, "failed", error=error)

    async def _apply_either(self, child: Child, live: Obj | None) -> Result:
        """Apply a child, or its fallback where the server refuses it or has done so lately."""
        if child.may_fail:
            return await self._apply_if_allowed(child, live)
        if child.fallback is None or live is None:
            return await self._apply_one(child, live)
        key = (uid_of(live), _digest(stamped(child.manifest)))
        less = replace(child, manifest=child.fallback, fallback=None)
        if time.monotonic() - self._refused.get(key, -ASK_AGAIN_SECONDS) < ASK_AGAIN_SECONDS:
            return await self._apply_one(less, live)
        try:
            return await self._apply_one(child, live)
        except NamespaceGoing:
            raise
        except (Forbidden, Invalid) as error:
            logger.warning("%s: refused, and left as it is: %s", child.ref, error)
            self._refused[key] = time.monotonic()
            while len(self._refused) > _REMEMBERED:
                self._refused.popitem(last=False)
            return replace(await self._apply_one(less, live), refused=str(error))

    async def _apply_if_allowed(self, child: Child, live: Obj | None) -> Result:
        try:
            return await self._apply_one(child, live)
        except NamespaceGoing:
            raise
        except (Forbidden, Invalid) as error:
            logger.warning("%s: refused, and done without: %s", child.ref, error)
            return Result(child.ref, "refused", refused=str(error))

    async def _apply_one(self, child: Child, live: Obj | None) -> Result:
        if live is None and child.initial is not None:
            created = await self._create(child)
            if created is not None:
                return created
        intent = stamped(child.manifest)
        key = (uid_of(live), _digest(intent))
        decision = decide(
            intent,
            live,
            manager=self._manager,
            tolerated=self._tolerated.get(key, frozenset()),
        )
        surplus = service_surplus(intent, live) if live and decision.action != "wait" else {}
        if surplus:
            await self._client.merge_patch(child.ref, surplus)
            decision = _with_surplus(decision, surplus)
        drift = decision.drift
        if decision.action in ("create", "apply"):
            learned = self._learn(intent, await self._send(child, intent, live))
            # nobody's edit: the server did it in our own request, and we had forgotten (a restart)
            drift = tuple(d for d in drift if d.lost or d.path not in learned)
        by = last_editor(live, but=self._manager) if drift and live else ""
        return Result(child.ref, decision.action, drift, by)

    async def _send(self, child: Child, intent: Obj, live: Obj | None) -> Obj:
        """Apply; where that gives an invalid object because of what others added, replace that.

        Somebody who changes the key of a list entry (the number of a named port, say) makes a
        second entry beside ours, and the two together are invalid; so are the two ways to say how
        many pods a budget leaves.
        """
        aimed = _for_this(intent, live)
        try:
            return await self._client.apply(aimed, manager=self._manager)
        except UnknownField:  # a merge patch would drop it without a word, and do the rest
            raise
        except Invalid:
            if live is None or "spec" not in intent or child.fallback is not None:
                raise
            await self._client.merge_patch(child.ref, replacing(intent))
            return await self._client.apply(aimed, manager=self._manager)

    async def _create(self, child: Child) -> Result | None:
        """Create the initial form; None when the server refuses it (its address is taken)."""
        assert child.initial is not None
        try:
            await self._client.create(child.initial)
        except Invalid as error:
            if not child.whole:
                raise
            logger.info("%s cannot be made as it was: %s", child.ref, error)
            return None
        except Conflict:  # made by somebody since we looked; the next round sees whose it is
            return Result(child.ref, "wait")
        return Result(child.ref, "create")

    def _learn(self, intent: Obj, applied: Obj) -> frozenset[str]:
        """Remember, and return, the paths that the server has changed in our own request."""
        left = [d for d in differences(intent, applied, manager=self._manager) if not d.lost]
        key = (uid_of(applied), _digest(intent))
        if not left:
            self._tolerated.pop(key, None)
            return frozenset()
        paths = frozenset(difference.path for difference in left)
        logger.warning(
            "The API server keeps other values than were applied to %s %s: %s."
            " Probably a mutating webhook; these fields are left to it.",
            applied.get("kind"),
            dig(applied, "metadata", "name"),
            ", ".join(sorted(paths)),
        )
        self._tolerated[key] = paths
        while len(self._tolerated) > _REMEMBERED:
            self._tolerated.popitem(last=False)
        return paths


def _with_surplus(decision: Decision, surplus: Obj) -> Decision:
    """Count surplus as drift, unless the intent is new: then it may be what we wanted before."""
    if decision == Decision("apply"):
        return decision
    found = (Difference(f"spec.{part}", lost=False) for part in surplus["spec"])
    return Decision("apply", (*decision.drift, *found))


def _waits(child: Child, live: Obj | None, refused: Mapping[str, bool]) -> bool:
    """Whether a child waits for what it reads; `refused` says of each name if it is there.

    An object names what it reads, so all texts in what would be sent are looked at.
    """
    sent = child.manifest if live is not None or child.initial is None else child.initial
    named = set(_texts({**sent, "metadata": None}))
    read = [there for name, there in refused.items() if name in named]
    if not all(read):
        return True
    key = constants.ANNOTATION_INTENT_HASH
    changes = live is not None and annotations(live).get(key) != _digest(stamped(child.manifest))
    return bool(read) and changes


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _texts(below)


def _digest(intent: Mapping[str, Any]) -> str:
    return str(intent["metadata"]["annotations"][constants.ANNOTATION_INTENT_HASH])


def _for_this(intent: Obj, live: Obj | None) -> Obj:
    """Aim the apply at this very object: one made anew by somebody else is not overwritten."""
    if live is None:
        return intent
    return {**intent, "metadata": {**intent["metadata"], "uid": uid_of(live)}}


def last_editor(obj: Mapping[str, Any], *, but: str) -> str:
    """Return the field manager that wrote last, apart from `but` and the writers of status."""
    entries = [
        entry
        for entry in dig(obj, "metadata", "managedFields", default=[])
        if entry.get("manager") != but and entry.get("subresource") != "status"
    ]
    latest: Obj = max(entries, key=lambda entry: str(entry.get("time", "")), default={})
    return str(latest.get("manager", ""))


async def hand_over(client: KubeClient, handovers: Iterable[Handover]) -> int:
    """Apply fields under another manager; return how many. One that somebody has set stays."""
    done = 0
    for handover in handovers:
        try:
            await client.apply(handover.manifest, manager=handover.manager, force=handover.force)
            done += 1
        except Conflict:
            logger.info("somebody has set %s meanwhile", handover.manifest["metadata"]["name"])
    return done


async def make_changes(client: KubeClient, changes: Iterable[Change]) -> int:
    """Send merge patches; return how many. An object that is gone needs none."""
    done = 0
    for change in changes:
        try:
            await client.merge_patch(change.ref, change.patch)
            done += 1
        except NotFound:
            continue
    return done


async def delete_all(
    client: KubeClient,
    deletions: Iterable[Deletion],
    *,
    told: Callable[[Deletion], None] = lambda deletion: None,
) -> int:
    """Delete objects by name and uid; return how many. One made anew meanwhile stays.

    Args:
        client: the API server.
        deletions: what is to go, the others also where the server refuses one: every round has the
            same order, and what comes after that one would never go.
        told: called with each that was carried out, however this ends.

    Raises:
        KubeError: the first one that was refused, or a request failed in another way; that ends it.
    """
    done = 0
    refused: list[ApiError] = []
    for deletion in deletions:
        try:
            await client.delete(deletion.ref, uid=deletion.uid, foreground=deletion.foreground)
        except Conflict:
            logger.info("%s is another one by now and stays", deletion.ref)
        except NamespaceGoing:
            raise
        except (Forbidden, Invalid) as error:
            logger.warning("%s: not deleted: %s", deletion.ref, error)
            refused.append(error)
        else:
            done += 1
            told(deletion)
    if refused:
        raise refused[0]
    return done
