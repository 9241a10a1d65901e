# SPDX-License-Identifier: Apache-2.0
"""Wakes the elector when the holder of the Lease changes.

The watch decides nothing: it only makes the next read come early, so a Lease that is given back is
taken within milliseconds, and a watch that has gone silent costs one retry period.
"""

import contextlib
import os
import threading
import time

from dpe_elector.api_client import ApiClient, Watch

_WATCH_SECONDS = 60.0


class Watcher:
    """A thread that watches one Lease with a client of its own; readable `descriptor`: look now."""

    def __init__(self, client: ApiClient, *, namespace: str, name: str, pause: float) -> None:
        """`pause` is the time between a watch that broke and the next, in seconds."""
        self._client = client
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._selector = f"metadata.name={name}"
        self._pause = pause
        self._last: object = None
        self.descriptor, self._bell = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._bell, False)

    def start(self) -> None:
        """Begin to watch; the thread ends with the process."""
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def rang(self) -> bool:
        """Return whether the holder changed since the last time it was asked."""
        with contextlib.suppress(BlockingIOError):
            return bool(os.read(self.descriptor, 4096))
        return False

    def _run(self) -> None:
        while True:
            # whatever is wrong with a watch, the next one may be well; who reads the Lease says it
            with contextlib.suppress(Exception), self._open() as watch:
                for event in watch:
                    self._notice(event.type, event.object)
            time.sleep(self._pause)

    def _open(self) -> Watch:
        return self._client.watch(self._path, _WATCH_SECONDS, field_selector=self._selector)

    def _notice(self, kind: str, lease: dict[str, object]) -> None:
        spec = lease.get("spec")
        holder = spec.get("holderIdentity") if isinstance(spec, dict) else None
        now = (kind == "DELETED", holder or "")
        if now != self._last:
            self._last = now
            with contextlib.suppress(BlockingIOError):
                os.write(self._bell, b"!")
