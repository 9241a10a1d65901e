# SPDX-License-Identifier: Apache-2.0
"""The agent's log: a fail-over waits for nobody who reads it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

LOGS = """
import logging
from dpe_balancer.log_lines import log_to_stderr

log_to_stderr()
log = logging.getLogger("dpe_balancer")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("cannot read an EndpointSlice, trying on")
for number in range(5000):
    log.warning("%s is DOWN: requests go to %s, to be counted soon", "a", number)
"""


def test_lines_that_nobody_reads_are_lost_and_stop_nothing() -> None:
    reader, writer = os.pipe()
    subprocess.run([sys.executable, "-c", LOGS], stderr=writer, timeout=30, check=True)
    os.close(writer)
    with open(reader) as file:
        first, *lines = file.read().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(
        f"{stamp} ERROR dpe_balancer cannot read an EndpointSlice, trying on", first
    )
    assert "ZeroDivisionError: division by zero" in lines[:10], "whole, a line at a time"
    moved = [line for line in lines if "is DOWN" in line]
    assert 100 < len(moved) < 5000
    words = "WARNING dpe_balancer a is DOWN: requests go to {}, to be counted soon"
    for number, line in enumerate(moved):
        assert re.fullmatch(f"{stamp} {words.format(number)}", line)
