# SPDX-License-Identifier: Apache-2.0
"""TCP ports on loopback for what the tests start."""

from __future__ import annotations

import itertools
import os
import random
import socket

# Below the range that the kernel takes for outgoing connections, so that nobody else gets a port
# while a stopped server waits to be started again.
_FIRST, _EACH = 20000, 3000
# Tests run side by side in several processes. Each has a range of its own and goes through it in
# order: with ports drawn at random two of them have met between choosing one and listening on it.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_NUMBERS = itertools.count(random.SystemRandom().randrange(_EACH))


def free_port() -> int:
    """Return a TCP port that is free on loopback, and that no other call returns soon."""
    for _ in range(_EACH):
        port = _FIRST + _WORKER * _EACH + next(_NUMBERS) % _EACH
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free TCP port above {_FIRST + _WORKER * _EACH} on 127.0.0.1")
