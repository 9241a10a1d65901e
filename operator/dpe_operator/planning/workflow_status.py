# SPDX-License-Identifier: Apache-2.0
"""What the status of a workflow component says: its pods, who acts, its memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import workflow_name
from dpe_operator.api.workflow import WatcherTemplate
from dpe_operator.builders.workflow import component_of
from dpe_operator.builders.workflow_memory import memory_of
from dpe_operator.planning.claims import claim_problems
from dpe_operator.planning.conditions import Conditions, timestamp
from dpe_operator.planning.holding import TAKE_OVER, Holding, read_holding
from dpe_operator.planning.objects import Obj, Ref, dig
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Notice, Situation
from dpe_operator.planning.record import LISTEN_SECONDS
from dpe_operator.planning.rollout import STOPPED_SECONDS
from dpe_operator.planning.status_limits import is_count, short
from dpe_operator.planning.summary import Part
from dpe_operator.planning.workflow_draft import WorkflowDraft
from dpe_operator.planning.workflow_problems import deployment_names
from dpe_operator.planning.workloads import WorkloadState, workload_state

CANDIDATES_READY: Final = "CandidatesReady"
MEMBERS_READY: Final = "MembersReady"
HOLDER_ACTIVE: Final = "HolderActive"
MEMORY_KEPT: Final = "MemoryKept"
# While pods settle, or the last one of the other mode ends, no event may come.
CHANGE_SECONDS: Final = 3.0
# Looks at a silent holder only once it surely counts as silent.
MARGIN_SECONDS: Final = 1.0
# A command that has run for so long is taken for healthy, as the elector does.
HEALTHY: Final = timedelta(seconds=60)
CRASH_SECONDS: Final = 20.0
_CODES: Final = {
    126: " (it cannot be started)",
    127: " (there is no such program in the image)",
}


@dataclass(frozen=True, slots=True)
class Look:
    """A component as it is: one workload for each Deployment, in the order of their names in the
    spec, and the Lease."""

    situation: Situation
    draft: WorkflowDraft
    workloads: tuple[WorkloadState, ...]
    holding: Holding

    @property
    def wanted(self) -> int:
        """How many pods are wanted."""
        return self.draft.spec.wanted_replicas()

    @property
    def replicas(self) -> int:
        """How many pods exist."""
        return sum(workload.replicas for workload in self.workloads)

    @property
    def ready(self) -> int:
        """How many of them are ready."""
        return sum(workload.ready for workload in self.workloads)

    @property
    def rolled_out(self) -> bool:
        """Whether all pods are there, of the present template, and available."""
        return all(workload.rolled_out for workload in self.workloads)


def look(situation: Situation, draft: WorkflowDraft) -> Look:
    """Read the live objects of a component."""
    component = component_of(draft.kind)
    names = deployment_names(situation.name, draft.kind, draft.spec)
    members: list[str | None] = [str(number) for number in draft.members]
    members = members or [None] * len(names)
    workloads = []
    for name, member in zip(names, members, strict=True):
        live = own_object(situation, Ref("Deployment", situation.namespace, name))
        pods = situation.observed.pods(component, member=member)
        workloads.append(workload_state(live, pods, situation.now))
    lease = Ref("Lease", situation.namespace, workflow_name(situation.name, component))
    holding = Holding()
    if draft.standby:
        pods = situation.observed.pods(component)
        holding = read_holding(own_object(situation, lease), pods, now=situation.now)
    return Look(situation, draft, tuple(workloads), holding)


# --- parts


def component_parts(seen: Look) -> list[Part]:
    """Return what pods, Lease and memory say, as conditions."""
    if not seen.draft.standby:
        return [_workload_part(seen, MEMBERS_READY, "members")]
    parts = [_workload_part(seen, CANDIDATES_READY, "candidates"), _holder_part(seen)]
    memory = _memory_part(seen)
    return [*parts, memory] if memory else parts


def ready_message(seen: Look) -> str:
    """Return the sentence of a component that is well."""
    if seen.draft.standby:
        others = max(seen.ready - 1, 0)
        return f"{seen.holding.pod} acts, {others} more {'stands' if others == 1 else 'stand'} by."
    if seen.wanted == 0:
        return "It is stopped (replicas: 0)."
    return f"{seen.ready} of {seen.wanted} members are ready, all of them act."


def _workload_part(seen: Look, condition: str, what: str) -> Part:
    draft = seen.draft
    if draft.changing:
        return Part(condition, False, "ChangingMode", draft.changing, updating=True)
    message = draft.steps.message
    if seen.rolled_out and not message:
        if seen.wanted == 0:
            return Part(condition, True, "Stopped", "it is stopped (replicas: 0)")
        return Part(condition, True, "AllReady", f"{seen.ready} of {seen.wanted} {what} are ready")
    if not any(workload.exists for workload in seen.workloads) and not message:
        return Part(condition, False, "NotMade", f"no {what[:-1]} has been made yet")
    hard = draft.steps.stopped or any(workload.hard for workload in seen.workloads)
    updating = not hard and (
        bool(message) or any(workload.exists and workload.updating for workload in seen.workloads)
    )
    reason = "Updating" if updating else f"{what.capitalize()}Missing"
    text = "; ".join([*([message] if message else []), _count(seen, what)])
    return Part(condition, False, reason, text, hard=hard, updating=updating)


def _count(seen: Look, what: str) -> str:
    if len(seen.workloads) == 1:
        text = seen.workloads[0].count(what)
    else:
        troubles = [workload.describe() for workload in seen.workloads if not workload.rolled_out]
        text = f"{seen.ready} of {seen.wanted} {what} are ready"
        said = "; ".join(trouble for trouble in troubles if trouble)
        text = f"{text}: {said}" if said else text
    return "; ".join([text, *_claim_troubles(seen)])


def _claim_troubles(seen: Look) -> Iterator[str]:
    claims = seen.draft.claim_refs(seen.situation.namespace)
    for trouble in claim_problems(claims, seen.situation.observed):
        yield trouble.text


def _holder_part(seen: Look) -> Part:
    holding = seen.holding
    if holding.crash_looping and not holding.has_run_for(HEALTHY, seen.situation.now):
        return Part(HOLDER_ACTIVE, False, "CrashLooping", crash_message(holding), hard=True)
    if holding.active:
        return Part(HOLDER_ACTIVE, True, "Held", f"{holding.pod} acts (epoch {holding.epoch})")
    idle = holding.idle_for(seen.situation.now)
    if idle is not None:
        return _idle_part(seen, idle)
    if holding.pod:
        text = f"{holding.pod} holds the Lease, and has never renewed it"
        return Part(HOLDER_ACTIVE, False, "NobodyActs", text, hard=True)
    text = "no candidate has begun to act yet"
    if seen.replicas > 0 and seen.ready == 0:
        text = f"{text}: {_none_ready(seen)}"
    return Part(HOLDER_ACTIVE, False, "NotTakenYet", text)


def _idle_part(seen: Look, idle: timedelta) -> Part:
    """Say why nobody acts any more."""
    holding, seconds, why = seen.holding, int(idle.total_seconds()), _why_nobody(seen)
    if holding.pod:
        text = f"{holding.pod} holds the Lease and has been silent for {seconds} s{why}"
        return Part(HOLDER_ACTIVE, False, "HolderSilent", text, hard=True)
    if idle <= TAKE_OVER:
        text = f"a take-over is under way, nobody has acted for {seconds} s"
        return Part(HOLDER_ACTIVE, False, "TakingOver", text, updating=True)
    since = timestamp(holding.heard) if holding.heard else "the beginning"
    text = f"nobody has acted since {since}{why}"
    return Part(HOLDER_ACTIVE, False, "NobodyActs", text, hard=True)


def crash_message(holding: Holding) -> str:
    """Return the sentence about commands that keep ending."""
    if not holding.ends:
        return "the command keeps ending by itself: the logs of the candidates' pods say why"
    pods = " and ".join(sorted({pod for pod, _ in holding.ends}))
    pod, code = holding.ends[-1]
    return (
        f"the command keeps ending by itself in {pods}, last in pod {pod} with exit code"
        f" {code}{_CODES.get(code, '')}: kubectl logs {pod} says why"
    )


def _why_nobody(seen: Look) -> str:
    """Return what is known of the reason, beginning with a colon; empty if nothing is."""
    memory = seen.holding.memory
    if memory.get("state") not in (None, "Ready"):
        return ": its memory cannot be used, see MemoryKept"
    if seen.ready == 0:
        return f": {_none_ready(seen)}"
    return ": see the log of the candidates' pods"


def _none_ready(seen: Look) -> str:
    """Say what a candidate must have to be ready; which of it is missing only its log tells."""
    spec = seen.draft.spec
    needs = f"the program {spec.command[0]}" if spec.command else "its program"
    if memory_of(spec) is not None:
        needs += " and the volume of its memory"
    return f"no candidate is ready (each needs {needs}; kubectl logs of a pod says what is missing)"


def _memory_part(seen: Look) -> Part | None:
    """Return what became of the memory of a Standby watcher that keeps one."""
    spec = seen.draft.spec
    if not isinstance(spec, WatcherTemplate) or spec.memory is None:
        return None
    said = seen.holding.memory
    state = said.get("state")
    if state is None:
        return Part(MEMORY_KEPT, None, "NotUsedYet", "No watcher has been started with it yet.")
    message = str(said.get("message") or "")
    reason = str(said.get("reason") or state)
    if state == "Ready":
        return Part(MEMORY_KEPT, True, reason, message)
    return Part(MEMORY_KEPT, False, f"Memory{state}", message or reason, hard=True)


# --- fields


def component_fields(seen: Look) -> Obj:
    """Return the fields of the status beside the conditions."""
    draft, holding = seen.draft, seen.holding
    return {
        "mode": draft.spec.mode,
        "replicas": seen.replicas,
        "readyReplicas": seen.ready,
        "holder": holding.pod if holding.active else None,
        "epoch": holding.epoch if draft.standby and holding.exists else None,
        "since": timestamp(holding.since) if holding.active and holding.since else None,
        "members": _members(seen),
        "memory": _memory(seen),
        "outdated": list(draft.outdated),
    }


def _members(seen: Look) -> list[Obj]:
    draft = seen.draft
    found = []
    claims = {
        str(dig(claim, "metadata", "labels", constants.LABEL_MEMBER)): claim["metadata"]["name"]
        for claim in draft.claims
    }
    for number, workload in zip(draft.members, seen.workloads, strict=False):
        entry: Obj = {"name": str(number), "ready": workload.exists and workload.ready > 0}
        if draft.schedules:
            entry["schedule"] = draft.schedules[number - 1]
        if str(number) in claims:
            entry["claim"] = claims[str(number)]
        found.append(entry)
    return found


def _memory(seen: Look) -> Obj | None:
    """Keep what the status knows, and only in the forms that its schema takes."""
    said = seen.holding.memory
    found: Obj = {
        key: said[key] for key in ("epoch", "from", "files", "bytes") if is_count(said.get(key))
    }
    if found and said.get("at"):
        found["at"] = short(said["at"])
    return found or None


# --- events


def component_notices(seen: Look, conditions: Conditions) -> list[Notice]:
    """Return the events about what this reconcile sees for the first time."""
    return [*_holder_notices(seen), *_memory_notices(conditions)]


def _holder_notices(seen: Look) -> Iterator[Notice]:
    before = dig(seen.situation.resource, "status", default={})
    now = seen.holding
    if not now.active or not isinstance(before.get("epoch"), int):
        return
    if now.epoch is None or now.epoch <= before["epoch"] or now.crash_looping:
        return
    former = before.get("holder")
    if former == now.pod:
        text = f"{now.pod} acts again (epoch {now.epoch})"
    elif former:
        text = f"{now.pod} acts instead of {former} (epoch {now.epoch})"
    else:
        text = f"{now.pod} acts (epoch {now.epoch})"
    yield Notice("Normal", "TakenOver", text)


def _memory_notices(conditions: Conditions) -> Iterator[Notice]:
    if conditions.status(MEMORY_KEPT) is None or not conditions.flipped(MEMORY_KEPT):
        return
    text = conditions.message(MEMORY_KEPT)
    if conditions.status(MEMORY_KEPT) == "False":
        yield Notice("Warning", "MemoryNotKept", text)
    elif conditions.before(MEMORY_KEPT).get("status") == "False":
        yield Notice("Normal", "MemoryKept", text)


# --- when to look again


def requeue_after(seen: Look) -> float | None:
    """Return after how many seconds to look again though no event may come; None: not needed."""
    if seen.draft.changing or seen.draft.steps.message:
        stopped = seen.draft.steps.stopped and not seen.draft.changing
        return STOPPED_SECONDS if stopped else CHANGE_SECONDS
    if not seen.draft.standby:
        return None
    holding = seen.holding
    if holding.crash_looping:
        return CRASH_SECONDS
    if holding.silent_in is not None:
        # Candidates that are gone fall silent without an event; those that are well renew.
        return None if seen.rolled_out else holding.silent_in + MARGIN_SECONDS
    idle = holding.idle_for(seen.situation.now)
    if idle is None or idle > TAKE_OVER:
        return None if holding.pod is None else LISTEN_SECONDS
    return (TAKE_OVER - idle).total_seconds() + MARGIN_SECONDS
