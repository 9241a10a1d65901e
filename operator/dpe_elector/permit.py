# SPDX-License-Identifier: Apache-2.0
"""The permit that the elector gives the guard, and the one rule by which the guard ends it.

Pure, so that the model test drives the very rule that runs in production.
"""

from dataclasses import dataclass

from dpe_elector.clock import WALL_JUMP


@dataclass(frozen=True)
class Permit:
    """The command may run.

    `epoch` is the one it is started with, `until` the boot time up to which it may run, and
    `offset` the lead of the wall clock over the boot time when the renewal was begun (all seconds).
    """

    epoch: int
    until: float
    offset: float


def why_ended(permit: Permit, now: float, offset: float) -> str | None:
    """Say why the command may run no longer, or None while it may.

    `now` is the boot time, `offset` the present lead of the wall clock over it.
    """
    if not now < permit.until:  # also where it is no number (nan)
        return f"no renewal of the Lease came in time ({now - permit.until:.3f} s over)"
    if offset - permit.offset > WALL_JUMP:
        return (
            f"the wall clock ran {offset - permit.offset:.3f} s ahead since the last renewal: "
            f"the machine was paused, or its clock was set"
        )
    return None
