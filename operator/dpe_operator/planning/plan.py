# SPDX-License-Identifier: Apache-2.0
"""What a planner is told and what it answers; plain data, so that a plan can be read in a test."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from dpe_operator.api import constants
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.planning.memory import Memory
from dpe_operator.planning.objects import Obj, Ref, dig, ref_of


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings of the operator itself that shape what it makes."""

    balancer_image: str
    elector_image: str = "dpe-elector:latest"
    image_pull_policy: str | None = None
    image_pull_secrets: tuple[str, ...] = ()
    par_sync_image: str = ""
    operator_image: str = ""
    """The operator's own, which has the command that looks at databases' Secrets; empty: nobody
    looks."""
    database_check_seconds: float = 3600.0
    """How often they are looked at though nothing is known to have changed."""
    reads_cluster: bool = False
    """Whether volumes and storage classes, which belong to no namespace, may be read."""


class Observed:
    """The live objects of one namespace that matter for one resource.

    `asked` holds what was looked up by name, so that "is not there" can be told from "nobody has
    looked": a name may be taken by an object without our labels.
    """

    def __init__(self, objects: Iterable[Obj] = (), *, asked: Iterable[Ref] = ()) -> None:
        self._objects = {ref_of(obj): obj for obj in objects}
        self.asked = frozenset(asked)

    def get(self, ref: Ref) -> Obj | None:
        """Return the live object, or None."""
        return self._objects.get(ref)

    def knows(self, ref: Ref) -> bool:
        """Whether it is certain that the object is there or is not."""
        return ref in self._objects or ref in self.asked

    def of_kind(self, kind: str) -> Iterator[Obj]:
        """Yield all objects of a kind, in the order of their names."""
        for ref in sorted(self._objects):
            if ref.kind == kind:
                yield self._objects[ref]

    def pods(self, component: str, *, member: str | None = None) -> list[Obj]:
        """Return the pods of a component, of one member where named."""
        return [
            pod
            for pod in self.of_kind("Pod")
            if dig(pod, "metadata", "labels", constants.LABEL_COMPONENT) == component
            and (member is None or dig(pod, "metadata", "labels", constants.LABEL_MEMBER) == member)
        ]

    def plus(self, objects: Iterable[Obj], *, asked: Iterable[Ref] = ()) -> "Observed":
        """Return a copy that knows more."""
        return Observed([*self._objects.values(), *objects], asked=self.asked | frozenset(asked))


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The DpeCluster a resource works for, as far as it is known.

    `spec` is the *accepted* spec; None while the cluster is missing or nothing was accepted yet.
    """

    name: str
    exists: bool
    spec: DpeClusterSpec | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything a planner may look at."""

    resource: Obj
    observed: Observed
    environment: Environment
    now: datetime
    memory: Memory | None = None
    cluster: ClusterView | None = None

    @property
    def name(self) -> str:
        """Name of the resource."""
        return str(self.resource["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.resource["metadata"]["namespace"])

    @property
    def ref(self) -> Ref:
        """The resource itself."""
        return ref_of(self.resource)


@dataclass(frozen=True, slots=True)
class Child:
    """An object to apply. `initial`, where given, is what is created by POST when it is missing;
    from then on only `manifest` is applied, which is a part of the object (its metadata, the size
    of a claim) or, with `whole`, makes it too: then it is applied when `initial` is refused.
    `fallback`, where given, is applied instead when the server refuses `manifest` (a claim that
    cannot grow): the rest goes on, and the refusal becomes an event. With `may_fail` it goes on
    without the object, too."""

    manifest: Obj
    initial: Obj | None = None
    fallback: Obj | None = None
    may_fail: bool = False
    whole: bool = False

    @property
    def ref(self) -> Ref:
        """The object."""
        return ref_of(self.manifest)


@dataclass(frozen=True, slots=True)
class Handover:
    """A field to be applied under another manager first, so that it survives when we let go."""

    manifest: Obj
    manager: str
    force: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A JSON merge patch on one object; null removes."""

    ref: Ref
    patch: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to record on the resource."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """This very object is to go. `foreground`: only after all that it made, so that what is gone
    leaves nothing behind that still acts.

    `urgent`: it does harm where it stands, and nothing has to be made first; it goes also while a
    child is refused, which may last until somebody corrects it. `notice` is recorded once it is
    gone.
    """

    ref: Ref
    uid: str
    foreground: bool = False
    urgent: bool = False
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """Fields of the status, and events, that hold only after all of a plan was carried out.

    For what counts as done once it is said, and is not tried again.
    """

    fields: Obj = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about one resource, in the order of the fields.

    `complete` is False where not everything that is wanted could be worked out; nothing is pruned
    then. `held` are objects that stay as they are: not applied, not pruned. `requeue_after` in
    seconds: look again even if nothing happens.
    """

    status: Obj
    memory: Memory | None = None
    handovers: tuple[Handover, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    children: tuple[Child, ...] = ()
    held: frozenset[Ref] = frozenset()
    complete: bool = False
    changes: tuple[Change, ...] = ()
    notices: tuple[Notice, ...] = ()
    requeue_after: float | None = None
    done: Done = Done()
    unseen: frozenset[Ref] = field(default=frozenset())
    """Children whose names nobody has looked up yet; look them up and plan again before acting."""
