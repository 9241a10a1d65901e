# SPDX-License-Identifier: Apache-2.0
"""Notices that the watch streams have gone silent while the API server is well.

A stream that a broken proxy keeps open without data looks just like a quiet cluster. But every
reconcile reads its resource live, so each resourceVersion that a reconcile has read must also come
by on the stream soon. When one does not, the operator is blind and has itself restarted
(`watchdog`). This costs no request: reconciles happen anyway, and status writes make the versions
move.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dpe_operator.planning.objects import Ref

PATIENCE_SECONDS: Final = 180.0


@dataclass(slots=True)
class Awaited:
    """A version that a reconcile has read and the stream has not delivered, of one object."""

    ref: Ref
    uid: str
    number: int
    since: float


class Canary:
    """Compares what reconciles read with what the streams deliver, by uid."""

    def __init__(
        self, *, patience: float = PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`patience` in seconds: longer than a stream takes to be found dead and made anew."""
        self._patience = patience
        self._clock = clock
        self._streamed: dict[str, int] = {}
        self._awaited: dict[str, Awaited] = {}

    def streamed(self, uid: str, version: str) -> None:
        """The stream has delivered this version of an object."""
        number = _number(version)
        self._streamed[uid] = max(number, self._streamed.get(uid, 0))
        awaited = self._awaited.get(uid)
        if awaited is not None and number >= awaited.number:
            del self._awaited[uid]

    def read(self, ref: Ref, uid: str, version: str) -> None:
        """A reconcile has read this version; the stream must deliver it or a newer one."""
        number = _number(version)
        if number > self._streamed.get(uid, 0) and uid not in self._awaited:
            self._awaited[uid] = Awaited(ref, uid, number, self._clock())

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._streamed.pop(uid, None)
        self._awaited.pop(uid, None)

    def leave(self, namespace: str) -> None:
        """Nothing is watched there any more, so nothing is awaited from there."""
        left = [uid for uid, one in self._awaited.items() if one.ref.namespace == namespace]
        for uid in left:
            del self._awaited[uid]

    def start_again(self) -> None:
        """Be patient from now on: nothing could have come until now."""
        for one in self._awaited.values():
            one.since = self._clock()

    def oldest(self) -> Awaited | None:
        """Return what has been awaited longest, None: nothing is awaited."""
        return min(self._awaited.values(), key=lambda one: one.since, default=None)

    def silent_for(self) -> float:
        """Return for how many seconds the oldest awaited version has not come; 0 if none is."""
        oldest = self.oldest()
        return self._clock() - oldest.since if oldest else 0.0

    @property
    def alive(self) -> bool:
        """Whether the streams deliver, as far as anybody can tell."""
        return self.silent_for() < self._patience


def _number(version: str) -> int:
    """Resource versions are whole numbers that grow (Kubernetes promises it since 1.35)."""
    return int(version) if version.isdecimal() else 0
