# SPDX-License-Identifier: Apache-2.0
"""Reads Deployments and pods: is it rolled out, and if not, why, in words an admin can act on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dpe_operator.planning.objects import (
    Obj,
    condition,
    dig,
    is_terminating,
    kept_by,
    moment,
)

# A pod counts as settled only after this time: the balancer needs as long to see that the pod
# before it was gone, and until then its record may still say UP of that one.
SETTLE: Final = timedelta(seconds=3)
# After the moment at which a pod was to be gone, its time to stop included: its machine is away, or
# a process hangs in a volume.
PATIENCE: Final = timedelta(seconds=60)
# A pod that has not begun after this time is told about; most volumes are mounted by then.
SLOW_START: Final = timedelta(minutes=5)

_ENDED: Final = frozenset({"Succeeded", "Failed"})
_CANNOT_START: Final = {
    "ErrImagePull": "its image cannot be pulled",
    "ImagePullBackOff": "its image cannot be pulled",
    "InvalidImageName": "its image name is wrong",
    "ErrImageNeverPull": "its image is not on the node",
    "CreateContainerConfigError": "something it refers to is missing",
    "CreateContainerError": "it cannot be created",
    "RunContainerError": "it cannot be started",
}
_IMAGE_CURE: Final = (
    "check the image name in the spec, and imagePullSecrets if the registry asks for a log-in"
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a workload is not as wanted. `hard`: waiting alone will not help."""

    text: str
    hard: bool


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """What a Deployment says of itself.

    `rolled_out`: every wanted pod runs the present template and is available. `updating`: pods of
    the present template are still to be made, or older ones to go.
    """

    exists: bool
    wanted: int
    replicas: int
    ready: int
    rolled_out: bool
    updated: int = 0
    updating: bool = False
    troubles: tuple[Trouble, ...] = ()

    @property
    def hard(self) -> bool:
        """Whether something is wrong that waiting does not cure."""
        return any(trouble.hard for trouble in self.troubles)

    def count(self, what: str) -> str:
        """Return how many of the pods, called `what`, are ready, or new where they change."""
        if self.updating and self.ready:
            text = f"updating: {self.updated} of {self.wanted} {what} are new, {self.ready} ready"
        else:
            text = f"{self.ready} of {self.wanted} {what} are ready"
        troubles = self.describe()
        return f"{text}: {troubles}" if troubles and not self.rolled_out else text

    def describe(self) -> str:
        """Return the troubles as one text, the hard ones first; empty without any."""
        ordered = sorted(self.troubles, key=lambda trouble: not trouble.hard)
        return "; ".join(dict.fromkeys(trouble.text for trouble in ordered))


def workload_state(
    deployment: Mapping[str, Any] | None, pods: Iterable[Obj], now: datetime | None = None
) -> WorkloadState:
    """Judge a Deployment by its status and its pods; `now` tells pods that should long be gone."""
    if deployment is None:
        return WorkloadState(False, 0, 0, 0, False)
    wanted = int(dig(deployment, "spec", "replicas", default=1))
    status = dig(deployment, "status", default={})
    count = {key: int(status.get(key, 0)) for key in _COUNTS}
    current = int(status.get("observedGeneration", 0)) >= int(
        dig(deployment, "metadata", "generation", default=0)
    )
    full = current and all(value == wanted for value in count.values())
    rolled_out = full and not is_terminating(deployment)
    updated = count["updatedReplicas"]
    return WorkloadState(
        exists=True,
        wanted=wanted,
        replicas=count["replicas"],
        ready=count["readyReplicas"],
        rolled_out=rolled_out,
        updated=updated,
        updating=not current or updated < wanted or count["replicas"] > updated,
        troubles=() if rolled_out else tuple(_troubles(deployment, list(pods), now)),
    )


_COUNTS: Final = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")


def _troubles(
    deployment: Mapping[str, Any], pods: Sequence[Obj], now: datetime | None
) -> Iterator[Trouble]:
    yield from _standing_still(deployment)
    failure = condition(deployment, "ReplicaFailure")
    if failure and failure.get("status") == "True":
        yield Trouble(f"pods are refused: {failure.get('message', '')}", hard=True)
    found = [trouble for pod in _not_replaced(pods) if (trouble := pod_trouble(pod, now))]
    yield from found
    if not found and dig(deployment, "spec", "strategy", "type") == "Recreate":
        yield from (_leaving(pod, now) for pod in alive(pods) if is_terminating(pod))
    progressing = condition(deployment, "Progressing")
    if progressing and progressing.get("reason") == "ProgressDeadlineExceeded":
        name = deployment["metadata"]["name"]
        yield Trouble(f"Deployment {name} made no progress within its deadline", hard=True)


def _standing_still(deployment: Mapping[str, Any]) -> Iterator[Trouble]:
    """Say what keeps Kubernetes from carrying a Deployment out, or us from making it anew."""
    name = deployment["metadata"]["name"]
    if is_terminating(deployment):
        text = f"Deployment {name} is being deleted, and made anew when it is gone"
        yield Trouble(f"{text}{kept_by(deployment)}", hard=False)
    if dig(deployment, "spec", "paused"):
        cure = f"kubectl rollout resume deployment {name}"
        yield Trouble(
            f"Deployment {name} is paused, so its pods stay as they are ({cure})", hard=True
        )


def _leaving(pod: Mapping[str, Any], now: datetime | None) -> Trouble:
    """Name a pod that the next one of its Deployment waits for."""
    name, node = pod["metadata"]["name"], dig(pod, "spec", "nodeName", default="no node")
    text = f"pod {name} on {node} was told to end and is not gone; only then the next one is made"
    if now is None or not is_lost(pod, now):
        return Trouble(text, hard=False)
    cure = f"kubectl delete pod {name} --force, when it is certain that it runs no more"
    return Trouble(
        f"{text}. That machine is away, or a process hangs in a volume ({cure})", hard=True
    )


def _not_replaced(pods: Sequence[Obj]) -> Iterator[Obj]:
    """Leave out pods that have ended and have a successor: Kubernetes keeps them, as evicted ones,
    and they say nothing of today."""
    born = [_born(pod) for pod in pods]
    youngest = max((at for at in born if at is not None), default=None)
    for pod, at in zip(pods, born, strict=True):
        if not has_ended(pod) or at is None or at == youngest:
            yield pod


def _born(pod: Mapping[str, Any]) -> datetime | None:
    return moment(dig(pod, "metadata", "creationTimestamp"))


def were_there_at(pods: Sequence[Obj], at: datetime) -> bool:
    """Whether all of these pods, and there are some, were made before a moment."""
    born = [_born(pod) for pod in pods]
    return bool(born) and all(made is not None and made < at for made in born)


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether nothing runs in a pod any more, nor ever will."""
    return dig(pod, "status", "phase") in _ENDED


def alive(pods: Iterable[Obj]) -> list[Obj]:
    """Return the pods in which something may still run."""
    return [pod for pod in pods if not has_ended(pod)]


def is_lost(pod: Mapping[str, Any], now: datetime) -> bool:
    """Whether a pod should long be gone: it is not waited for where another one is there."""
    gone = moment(dig(pod, "metadata", "deletionTimestamp"))
    return gone is not None and gone + PATIENCE <= now


def pod_trouble(pod: Mapping[str, Any], now: datetime | None = None) -> Trouble | None:
    """Explain why a pod is not ready; None for a ready pod or one that is going away. `now` tells
    those that should have begun."""
    if is_terminating(pod) or is_ready(pod):
        return None
    name = pod["metadata"]["name"]
    scheduled = condition(pod, "PodScheduled")
    if scheduled and scheduled.get("status") == "False":
        why = str(scheduled.get("message", scheduled.get("reason", "")))
        return Trouble(f"pod {name} finds no node: {why} ({_no_node_cure(why)})", hard=True)
    for status in _container_statuses(pod):
        trouble = _container_trouble(name, status)
        if trouble:
            return trouble
    phase = dig(pod, "status", "phase", default="Pending")
    if phase == "Failed":
        return Trouble(f"pod {name} failed: {dig(pod, 'status', 'message', default='')}", hard=True)
    if phase == "Pending":
        return _pending(pod, now)
    return Trouble(f"pod {name} is {phase} and not ready yet", hard=False)


def _pending(pod: Mapping[str, Any], now: datetime | None) -> Trouble:
    """A pod that has a node and no container yet: before images are pulled its volumes, and what
    is mounted from Secrets, must be there. Only its events say what is not."""
    name = pod["metadata"]["name"]
    where = f"kubectl describe pod {name} says what it waits for"
    begun = condition(pod, "PodReadyToStartContainers") or {}
    since = moment((condition(pod, "PodScheduled") or {}).get("lastTransitionTime"))
    if now is None or begun.get("status") != "False" or since is None or since + SLOW_START > now:
        return Trouble(f"pod {name} is Pending and not ready yet ({where})", hard=False)
    text = f"pod {name} does not start: a volume, Secret or ConfigMap, or its network, is missing"
    return Trouble(f"{text} ({where})", hard=True)


def _no_node_cure(why: str) -> str:
    """More nodes do not help a pod whose claim has no volume, nor sharing where all is used."""
    if "PersistentVolumeClaim" in why or "persistentvolumeclaim" in why:
        return "its claim needs a volume first: kubectl describe pvc says why it has none"
    if "Insufficient" in why and "topology spread" not in why and "anti-affinity" not in why:
        return "add nodes with what is insufficient, or free it, or ask for less in resources"
    return "add nodes, or write placement: Preferred if pods may share one"


def _container_statuses(pod: Mapping[str, Any]) -> Iterator[Obj]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from dig(pod, "status", kind, default=[])


def _container_trouble(pod: str, status: Mapping[str, Any]) -> Trouble | None:
    waiting = dig(status, "state", "waiting", default={})
    reason = waiting.get("reason", "")
    where = f"container {status.get('name')} of pod {pod}"
    if reason == "CrashLoopBackOff":
        last = dig(status, "lastState", "terminated", default={})
        return Trouble(
            f"{where} keeps ending, last with exit code {last.get('exitCode', 'unknown')}"
            f"{_because(last)} ({status.get('restartCount', 0)} restarts; see "
            f"kubectl logs {pod} -c {status.get('name')} --previous)",
            hard=True,
        )
    if reason in _CANNOT_START:
        cure = f" ({_IMAGE_CURE})" if "mage" in reason else ""
        return Trouble(
            f"{where} does not start, {_CANNOT_START[reason]}: "
            f"{waiting.get('message') or reason}{cure}",
            hard=True,
        )
    return None


def _because(terminated: Mapping[str, Any]) -> str:
    reason = terminated.get("reason", "")
    text = str(terminated.get("message", "")).strip()
    parts = [part for part in (reason if reason != "Error" else "", text) if part]
    return f" ({': '.join(parts)})" if parts else ""


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has condition Ready."""
    found = condition(pod, "Ready")
    return bool(found and found.get("status") == "True")


def is_settled(pods: Iterable[Obj], now: datetime) -> bool:
    """Whether exactly the ready pods are there, each ready for `SETTLE` already.

    Not counted are pods that have ended, which Kubernetes keeps, and those of a machine that is
    lost, which stay until it is back: no Service sends them anything.
    """
    found = _counted(pods, now)
    return bool(found) and all(
        not is_terminating(pod) and is_ready(pod) and _ready_since(pod) <= now - SETTLE
        for pod in found
    )


def settled_for(pods: Iterable[Obj], now: datetime) -> float:
    """Return for how many seconds all pods have been ready; 0 while one is not."""
    found = _counted(pods, now)
    if not found or not all(is_ready(pod) and not is_terminating(pod) for pod in found):
        return 0.0
    return min((now - _ready_since(pod)).total_seconds() for pod in found)


def _counted(pods: Iterable[Obj], now: datetime) -> list[Obj]:
    return [pod for pod in alive(pods) if not is_lost(pod, now)]


def _ready_since(pod: Mapping[str, Any]) -> datetime:
    found = condition(pod, "Ready") or {}
    text = str(found.get("lastTransitionTime") or "1970-01-01T00:00:00Z")
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
