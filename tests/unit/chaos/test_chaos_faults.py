# SPDX-License-Identifier: Apache-2.0
"""How faults are carried out where two of them meet."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.chaos.candidates import wait_until
from tests.chaos.faults import Faults, NotDone


def test_who_is_frozen_twice_goes_on_with_the_end_of_the_later_freeze() -> None:
    place: Any = SimpleNamespace(namespace="chaos")
    api: Any = None
    faults = Faults(api, place, {})
    with subprocess.Popen(["sleep", "30"]) as process:

        def state() -> str:
            return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]

        def freeze(seconds: float) -> threading.Thread:
            args = ([process.pid], seconds, random.Random(1))
            thread = threading.Thread(target=faults._freeze, args=args)
            thread.start()
            return thread

        longer, shorter = freeze(0.6), freeze(0.1)
        shorter.join()
        time.sleep(0.1)
        assert state() == "T"
        longer.join()
        assert wait_until(lambda: state() == "S", 5)
        process.kill()


def test_nobody_there_is_no_fault() -> None:
    place: Any = SimpleNamespace(namespace="chaos")
    api: Any = None
    with pytest.raises(NotDone):
        Faults(api, place, {})._freeze([0], 0.1, random.Random(1))
