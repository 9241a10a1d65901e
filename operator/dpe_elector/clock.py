# SPDX-License-Identifier: Apache-2.0
"""The clocks of the elector.

Everything is counted in CLOCK_BOOTTIME, which goes on while the machine sleeps and is never set.
The wall clock is only written into the Lease for human readers, and compared: if it has run ahead,
the machine was paused in a way that boot time did not see.
"""

import time

# Seconds that the wall clock may run ahead of the boot time within one grant.
WALL_JUMP = 0.5
_SAME_MOMENT = 0.02


def boot() -> float:
    """Return seconds since the machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_offset() -> float:
    """Return by how many seconds the wall clock is ahead of the boot time.

    Constant on a machine that is neither paused nor corrected. The two clocks cannot be read at the
    same moment; a reading that was interrupted is taken again.
    """
    for _ in range(10):
        before = boot()
        wall = time.time()
        after = boot()
        if after - before < _SAME_MOMENT:
            break
    return wall - (before + after) / 2


def micro_time(wall: float) -> str:
    """Return `wall` (seconds since 1970) as Kubernetes writes a MicroTime."""
    whole = int(wall)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        + f".{int((wall - whole) * 1_000_000):06d}Z"
    )
