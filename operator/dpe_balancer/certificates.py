# SPDX-License-Identifier: Apache-2.0
"""Renewed certificates and authorities: HAProxy is to use mounted files that changed.

kubelet swaps a whole mounted folder at once, so certificate and key are read from one state of it.
What HAProxy refuses is reported and not tried again until a file changes, whichever: a new HAProxy
reads all of them. If it does not answer, the same is loaded again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dpe_balancer.haproxy import HaproxySilent

log = logging.getLogger("dpe_balancer")

Load = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Watched:
    """One thing HAProxy loaded at its start. `kind`: `cert` (key beside it) or `ca-file`."""

    kind: str
    path: Path

    def read(self) -> str:
        """The text HAProxy shall have now; raises OSError."""
        # A mounted Secret: tls.crt -> ..data/tls.crt, ..data -> the folder of the moment.
        real = self.path.resolve(strict=True)
        text = real.read_text(encoding="ascii", errors="replace")
        if self.kind == "cert":
            key = real.with_suffix(".key").read_text(encoding="ascii", errors="replace")
            text = f"{text}\n{key}"
        return text


class Certificates:
    """Compares the files with what HAProxy was given; `renewals` and `failures` count loads."""

    def __init__(self, certificate: Path | None, authority: Path | None) -> None:
        wanted = (("cert", certificate), ("ca-file", authority))
        self._watched = [Watched(kind, path) for kind, path in wanted if path is not None]
        self._given: dict[Watched, str] = {}
        self._used: dict[Watched, str] = {}
        self._refused: set[Watched] = set()
        self.renewals = 0
        self.failures = 0

    def started(self) -> None:
        """HAProxy was started and read the files itself: what they say now is what it has."""
        self._used, self._refused = self._found(), set()
        self._given = dict(self._used)

    def renew(self, load: Load) -> None:
        """Give HAProxy what has changed. `load(kind, name, pem)` raises when it is refused, and
        HaproxySilent without an answer: the next call tries again."""
        found = self._found()
        changed = {watched for watched, text in found.items() if text != self._given.get(watched)}
        if not changed:
            return
        again, self._refused = self._refused, set()
        for watched, text in found.items():
            if watched in changed | again:
                self._given[watched] = text
                if text != self._used.get(watched):  # a good one may have been put back
                    self._renew(watched, text, load)

    def _renew(self, watched: Watched, text: str, load: Load) -> None:
        try:
            load(watched.kind, str(watched.path), text)
        except HaproxySilent as silent:
            log.warning("%s is not renewed yet, trying on: %s", watched.path, silent)
            del self._given[watched]
            self._used.pop(watched, None)  # nobody knows
        except Exception:
            self.failures += 1
            self._refused.add(watched)
            log.exception("%s: the renewed file is not in use, the old one goes on", watched)
        else:
            self._used[watched] = text
            self.renewals += 1
            log.info("%s renewed", watched.path)

    def _found(self) -> dict[Watched, str]:
        """What the files say that can be read."""
        found = {}
        for watched in self._watched:
            try:
                found[watched] = watched.read()
            except OSError as wrong:
                log.warning("certificate not readable: %s", wrong)
        return found
