# SPDX-License-Identifier: Apache-2.0
"""What the checker looks at, and what it says. Pure.

topology: must be 0. limit: DPE's own limit, explained one by one. unknown: could not be seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dpe_operator.prober.measure import Served

TOPOLOGY = "topology"
LIMIT = "limit"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Request:
    """A request of a component: process and member that sent it, and when (wall-clock seconds)."""

    process: str
    member: str
    sent: float


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; `kind` is topology, limit or unknown.

    requests: those that did together what one should have done, or the first thing that the next
        one did not know of, for who knows what befell them.
    at: when it happened (wall-clock seconds); None: not told.
    """

    kind: str
    rule: str
    text: str
    requests: tuple[Request, ...] = ()
    at: float | None = None


@dataclass(frozen=True)
class WorkflowSeen:
    """A workflow instance in the core database; wall-clock seconds, ended None: still open."""

    id: int
    type: str
    title: str
    checked: bool
    state: str
    request_id: str | None
    created: float
    ended: float | None


@dataclass(frozen=True)
class JobSeen:
    """A job in the core database; lease_until only while it is running."""

    id: int
    workflow_id: int
    type: str
    state: str
    attempt: int
    lease_until: float | None


@dataclass(frozen=True)
class EntrySeen:
    """A line of the ledger."""

    process: str
    at: float
    until: float | None
    kind: str
    member: str | None = None
    request_id: str | None = None
    subject: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    role: str = "server"
    epoch: int | None = None


@dataclass(frozen=True)
class ChangeSeen:
    """A change that was made to what is watched; event: Created, Updated or Deleted."""

    source: str
    subject: str
    event: str
    version: str
    at: float


@dataclass(frozen=True)
class Evidence:
    """What the checker looks at.

    accepted: (type, title) that a client was told are there.
    changes: what happened to entries and files; None: nobody looked.
    since: start of the run; what was before it is not judged.
    """

    workflows: Sequence[WorkflowSeen]
    jobs: Sequence[JobSeen]
    entries: Sequence[EntrySeen]
    now: float
    accepted: Sequence[tuple[str, str]] = ()
    client_served: Sequence[Served] = ()
    changes: Sequence[ChangeSeen] | None = None
    since: float = 0.0


@dataclass(frozen=True)
class Expectation:
    """What was meant to happen.

    switches: how often the active member was meant to change; None: nobody said.
    settle: seconds after which an open job or workflow counts as lost, and a change without one.
    clock_tolerance: seconds by which the clocks of the machines may differ.
    components: names of the components of the workflow system to judge; empty: all.
    """

    switches: int | None = None
    settle: float = 60.0
    clock_tolerance: float = 0.0
    components: frozenset[str] = frozenset()
