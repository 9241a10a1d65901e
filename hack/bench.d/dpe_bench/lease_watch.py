# SPDX-License-Identifier: Apache-2.0
"""Sees a Lease being given back: the moment from which a planned take-over is counted."""

from __future__ import annotations

import calendar
import subprocess
import threading
import time
from collections.abc import Iterable
from types import TracebackType

from tests.e2e.kubectl import Kubectl

_SHOWN = r'{.spec.holderIdentity}{"|"}{.spec.renewTime}{"\n"}'


class LeaseWatch:
    """Follows one Lease while the block runs."""

    def __init__(self, kube: Kubectl, name: str) -> None:
        self._command = [
            str(kube.binary), "--kubeconfig", str(kube.kubeconfig), "-n", kube.namespace,
            "get", "lease", name, "--watch", "-o", f"jsonpath={_SHOWN}",
        ]  # fmt: skip
        self._lines: list[str] = []

    def __enter__(self) -> LeaseWatch:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._thread.join(10)
        self._process.communicate(timeout=10)

    def released_after(self, moment: float) -> float | None:
        """When the Lease was given back after a moment; None: it was not, or nobody saw it."""
        return released_after(self._lines, moment)

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.strip())


def released_after(lines: Iterable[str], moment: float) -> float | None:
    """Of lines `HOLDER|TIME` the time of the first without a holder after a moment.

    The elector writes the time just before it sends the release, so that what is counted from here
    is rather a little too long.
    """
    for line in lines:
        holder, _, renewed = line.partition("|")
        if not holder and renewed and (at := seconds_of(renewed)) >= moment:
            return at
    return None


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a time as Leases hold it, such as 2026-01-31T12:00:00.123456Z."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")
