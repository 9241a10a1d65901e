# SPDX-License-Identifier: Apache-2.0
"""The elector in a container whose wall clock can jump: as far as a file says, the machine's own
clock is left alone.

Where the elector reads the wall clock (time.time), it is shifted; the boot time is not, as with a
clock that was set. (libfaketime cannot be used: with it time.sleep fails with EINVAL as soon as the
wall clock is shifted and the monotonic one is not.)
"""

import contextlib
import os
import runpy
import time

FILE = os.environ["DPE_ELECTOR_CHAOS_CLOCK"]
_true_time = time.time


def _shifted() -> float:
    seconds = 0.0
    with contextlib.suppress(OSError, ValueError), open(FILE) as file:
        seconds = float(file.read())
    return _true_time() + seconds


time.time = _shifted
runpy.run_path(os.environ["DPE_ELECTOR_CHAOS_PROGRAM"], run_name="__main__")
