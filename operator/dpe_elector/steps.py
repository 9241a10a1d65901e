# SPDX-License-Identifier: Apache-2.0
"""The words between the election and its caller: what was seen, and what shall be done."""

from dataclasses import dataclass

from dpe_elector.lease import LeaseView

# --- what the caller saw


@dataclass(frozen=True)
class Nothing:
    """A wait is over."""


@dataclass(frozen=True)
class Found:
    """The Lease was read; None: there is none."""

    lease: LeaseView | None


@dataclass(frozen=True)
class Wrote:
    """The write was carried out, this is the Lease now."""

    lease: LeaseView


@dataclass(frozen=True)
class Conflict:
    """The write was refused: somebody else wrote first (or the Lease is gone)."""


@dataclass(frozen=True)
class Unreachable:
    """The call failed. If it was a write, nobody knows whether it was carried out."""


@dataclass(frozen=True)
class Woken:
    """The watch says that the holder changed."""


@dataclass(frozen=True)
class CommandEnded:
    """The command ended, and nothing that it started is left."""


@dataclass(frozen=True)
class Able:
    """Hot mode: the command is (not) fit to be the holder's. Exclusive mode: it could (not) be
    started."""

    able: bool


@dataclass(frozen=True)
class Silent:
    """Hot mode: the command asked the pod with this uid directly and had no answer, and it could
    take that pod's place itself. True up to `until` (boot time); an empty `pod`: not so."""

    pod: str
    until: float


@dataclass(frozen=True)
class Stop:
    """The container is being stopped."""


Observation = (
    Nothing | Found | Wrote | Conflict | Unreachable | Woken | CommandEnded | Able | Silent | Stop
)

# --- what the caller shall do


@dataclass(frozen=True)
class Wait:
    """Nothing, until `until` (boot time) or until there is something else to observe."""

    until: float


@dataclass(frozen=True)
class Read:
    """Read the Lease."""


@dataclass(frozen=True)
class Create:
    """Create the Lease, held by nobody."""


@dataclass(frozen=True)
class Write:
    """PUT the Lease: based on `base` (with its version), an empty `holder` gives it back. `early`:
    it is broken before it has run out."""

    base: LeaseView
    holder: str
    epoch: int
    fresh: bool
    early: bool = False


@dataclass(frozen=True)
class Finish:
    """Nothing is held and nothing will be: end."""


Action = Wait | Read | Create | Write | Finish
