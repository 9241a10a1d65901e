# SPDX-License-Identifier: Apache-2.0
"""The words the agent thinks in: what it sees, what was chosen, what HAProxy is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

MemberState: TypeAlias = Literal["UP", "DOWN", "UNKNOWN"]
# Within which step of a health check a member was too late: TLS handshake, or the answer itself.
Late: TypeAlias = Literal["handshake", "answer"]
Cause: TypeAlias = Literal["MemberDown", "Requested", "Terminating", "Adopted", "Failback"]


@dataclass(frozen=True)
class Switch:
    """One change of the active member; `at` is RFC 3339. `gap_ms`: how long clients had no answer,
    as far as HAProxy could see it; None: it could not be told."""

    source: str
    target: str
    cause: Cause
    at: str
    gap_ms: int | None = None


@dataclass(frozen=True)
class SwitchRequest:
    """A planned switch somebody asks for; valid only while `count` is the present switch count."""

    member: str
    count: int


@dataclass(frozen=True)
class Pending:
    """The active member went DOWN and `target` stands in for it.

    It becomes a switch at the target's first good check from then on, or after a while. If the
    target goes DOWN before that, both have lost something they share, and it is none.
    `at` (RFC 3339) and `began` (monotonic seconds): when that was; `goods`: the target's good
    checks counted by then.
    """

    target: str
    at: str
    began: float
    goods: int


@dataclass(frozen=True)
class Choice:
    """Which member is active, since when, and how often that has changed.

    `epoch` is the Lease epoch for which this choice was settled (0: none yet): a new holder first
    takes over what is recorded. `changed_at`: monotonic seconds of the last change in this process.
    `unplanned`: when (RFC 3339) the latest switches away from a member that was DOWN happened.

    What follows is of the moment and never recorded. `pending`: requests go to its target already,
    but it does not count as a switch yet. `outage`: since when (monotonic seconds) both members
    are DOWN together; None: they are not. `back_at`: when that was over the last time; None: it
    never was.
    """

    active: str | None = None
    since: str = ""
    switch_count: int = 0
    last_switch: Switch | None = None
    epoch: int = 0
    changed_at: float = 0.0
    unplanned: tuple[str, ...] = ()
    pending: Pending | None = None
    outage: float | None = None
    back_at: float | None = None

    @property
    def serving(self) -> str | None:
        """The member that requests are sent to: the active one, or who stands in for it."""
        return self.active if self.pending is None else self.pending.target


@dataclass(frozen=True)
class Record:
    """What the EndpointSlice says.

    `routed_to`, `address`: uid and address of the pod that clients are sent to. `version`: grows
    with every write. `fresh_for`: the Lease epoch under which the holder itself read it from the
    API server (0: seen in passing, may be old).
    """

    epoch: int = 0
    active: str | None = None
    since: str = ""
    switch_count: int = 0
    last_switch: Switch | None = None
    unplanned: tuple[str, ...] = ()
    request: SwitchRequest | None = None
    routed_to: str | None = None
    version: int = 0
    fresh_for: int = 0
    address: str = ""


@dataclass(frozen=True)
class Role:
    """What the elector says: whether this pod holds the Lease now, under which epoch and name.

    `known`: it reaches the API server and this pod is not the holder. Neither: nobody knows.
    """

    holder: bool = False
    epoch: int = 0
    identity: str = ""
    known: bool = False


@dataclass(frozen=True)
class Seen:
    """One look at HAProxy. `entry` is the member that requests are sent to (None: not set yet),
    `sessions` counts open ones, `disabled` names members that HAProxy was told not to use, `held`
    those it must not fall back to. Two counters since HAProxy's start: `goods` good checks,
    `answers` answers to clients (TCP: connections, as it sees no answers). `ends_with_answer`:
    connections end with their answer (HTTP); `fenced`: no member but the active one is used, even
    if that is down (see drain.py). `full`: there are as many clients as HAProxy takes. `late`:
    members that are UP still, but took a connection and were too late with their last check."""

    states: Mapping[str, MemberState]
    sessions: Mapping[str, int]
    entry: str | None
    disabled: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    goods: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, int] = field(default_factory=dict)
    ends_with_answer: bool = False
    fenced: bool = False
    full: bool = False
    late: Mapping[str, Late] = field(default_factory=dict)


@dataclass(frozen=True)
class Watch:
    """Since when (monotonic seconds) the members that are UP or DOWN are so without a break."""

    up: Mapping[str, float] = field(default_factory=dict)
    down: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """What never changes while the agent runs: members in listed order, own pod, TCP or HTTP.

    `failback_seconds`: quiet period after which the first member is active again; None: never.
    More than `flap_switches` unplanned switches within `flap_seconds` are flapping. `late_seconds`:
    how old the last good check of an only server may be that is kept though it is late; 0: never.
    """

    members: tuple[str, str]
    pod_uid: str
    tcp: bool
    drain_seconds: float
    failback_seconds: float | None = None
    flap_switches: int = 3
    flap_seconds: float = 600.0
    late_seconds: float = 2.0


@dataclass(frozen=True)
class Moment:
    """Everything that was known at one moment. `now`: monotonic seconds; `at`: RFC 3339.

    `record` is None until the slice was read for the first time. `terminating`: members whose pod
    is about to end.
    """

    now: float
    at: str
    role: Role
    record: Record | None
    seen: Seen
    terminating: frozenset[str] = frozenset()
    watch: Watch = field(default_factory=Watch)


@dataclass(frozen=True)
class SetActive:
    """Send new requests to `member`."""

    member: str


@dataclass(frozen=True)
class CutSessions:
    """Close what is still open to `member`."""

    member: str


@dataclass(frozen=True)
class Enable:
    """Let HAProxy check and use `member`."""

    member: str


@dataclass(frozen=True)
class HoldBack:
    """Do not fall back to `member` when the other one is DOWN."""

    member: str


@dataclass(frozen=True)
class Release:
    """Fall back to `member` again."""

    member: str


@dataclass(frozen=True)
class KeepUp:
    """Forget the failed checks of `member`, which was UP still."""

    member: str


Action: TypeAlias = SetActive | CutSessions | Enable | HoldBack | Release | KeepUp


@dataclass(frozen=True)
class Step:
    """The result: the choice from now on, and what HAProxy is to be told, in this order."""

    choice: Choice
    actions: tuple[Action, ...] = field(default=())
