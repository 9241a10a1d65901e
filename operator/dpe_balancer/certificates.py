# SPDX-License-Identifier: Apache-2.0
"""Renewed certificates: mounted files that changed are loaded into the running HAProxy.

kubelet swaps a whole mounted folder at once, so certificate and key are read from one state of it.
What HAProxy refuses is reported and not tried again until the files change. If it does not answer,
the same is loaded again.
"""

from __future__ import annotations

import hashlib
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
        self.renewals = 0
        self.failures = 0

    def started(self) -> None:
        """HAProxy was started and read the files itself: what they say now is what it has."""
        self._given = {}
        for watched in self._watched:
            try:
                self._given[watched] = _digest(watched.read())
            except OSError as wrong:
                log.warning("certificate not readable: %s", wrong)

    def renew(self, load: Load) -> None:
        """Give HAProxy what has changed. `load(kind, name, pem)` raises when it is refused, and
        HaproxySilent without an answer: the next call tries again."""
        for watched in self._watched:
            try:
                text = watched.read()
            except OSError as wrong:
                log.warning("certificate not readable: %s", wrong)
                continue
            digest = _digest(text)
            if digest == self._given.get(watched):
                continue
            self._given[watched] = digest
            try:
                load(watched.kind, str(watched.path), text)
            except HaproxySilent as silent:
                log.warning("%s is not renewed yet, trying on: %s", watched.path, silent)
                del self._given[watched]
            except Exception:
                self.failures += 1
                log.exception("%s: the renewed file is not in use, the old one goes on", watched)
            else:
                self.renewals += 1
                log.info("%s renewed without a restart", watched.path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
