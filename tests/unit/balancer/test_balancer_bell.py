# SPDX-License-Identifier: Apache-2.0
"""The agent's loop is woken by signals, whatever they interrupt."""

from __future__ import annotations

import random
import select
import signal
import subprocess
import sys
import time

from dpe_balancer.bell import Bell

LOOP = """
import os, signal
from dpe_balancer.bell import Bell

bell = Bell()

def ring(*_):
    bell.ring()
    os.write(1, b".")

signal.signal(signal.SIGUSR1, ring)
os.write(1, b".")
while True:
    bell.wait(0.0005)
"""
SIGNALS = 3000


def test_no_signal_comes_at_a_moment_that_stops_the_loop() -> None:
    """With `threading.Event` in place of the bell one of the first thousand does."""
    command = [sys.executable, "-c", LOOP]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as loop:
        assert loop.stdout is not None
        try:
            for number in range(SIGNALS):
                assert select.select([loop.stdout], [], [], 10)[0], f"stopped by signal {number}"
                assert loop.stdout.read(1)
                time.sleep(random.uniform(0, 0.0005))
                loop.send_signal(signal.SIGUSR1)
        finally:
            loop.kill()


def test_it_is_heard_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    begin = time.monotonic()
    bell.wait(10)
    assert time.monotonic() - begin < 5
    bell.wait(0.05)
    assert time.monotonic() - begin >= 0.05
