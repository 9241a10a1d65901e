# SPDX-License-Identifier: Apache-2.0
"""Records events (events.k8s.io/v1) on our resources, equal ones as one series.

kopf's own recorder needs the context of a kopf handler, which our workers do not have. An event is
a courtesy: one that cannot be written is logged and forgotten, it never fails a reconcile.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.errors import KubeError, NotFound
from dpe_operator.planning.objects import Obj, Ref, digest
from dpe_operator.planning.plan import Notice

logger = logging.getLogger(__name__)

CONTROLLER: Final = "dpe.dev/dpe-operator"
# Equal events within this time are one series; the series is written at most once a minute.
SERIES: Final = timedelta(minutes=10)
PAUSE: Final = timedelta(minutes=1)
_REMEMBERED: Final = 2000
# The API server counts bytes here, and refuses an event that has more.
_MAX_NOTE_BYTES: Final = 1024


@dataclass(slots=True)
class _Seen:
    name: str
    count: int
    last: datetime
    written: datetime


class EventRecorder:
    """Writes events for one operator process."""

    def __init__(
        self,
        client: KubeClient,
        *,
        instance: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    async def record(self, resource: Obj, notices: Iterable[Notice]) -> None:
        """Record events on a resource; never raises a KubeError."""
        for notice in notices:
            try:
                await self._record(resource, notice)
            except KubeError as error:
                logger.warning("event %s not recorded: %s", notice.reason, error)

    async def _record(self, resource: Obj, notice: Notice) -> None:
        meta, now = resource["metadata"], self._clock()
        key = digest([meta["uid"], notice.type, notice.reason, notice.note])
        seen = self._seen.get(key)
        if seen is not None and now - seen.last < SERIES:
            seen.count, seen.last = seen.count + 1, now
            if now - seen.written >= PAUSE and await self._write_series(meta["namespace"], seen):
                seen.written = now
            return
        name = f"{meta['name']}.{digest([key, now.isoformat()])}"
        await self._client.create(self._event(resource, notice, name=name, now=now))
        self._seen[key] = _Seen(name, 1, now, now)
        self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    async def _write_series(self, namespace: str, seen: _Seen) -> bool:
        series = {"series": {"count": seen.count, "lastObservedTime": _micro(seen.last)}}
        try:
            await self._client.merge_patch(Ref("Event", namespace, seen.name), series)
        except NotFound:  # events live an hour only
            return False
        return True

    def _event(self, resource: Obj, notice: Notice, *, name: str, now: datetime) -> Obj:
        meta = resource["metadata"]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": meta["namespace"]},
            "eventTime": _micro(now),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "reason": notice.reason,
            "type": notice.type,
            "note": _cut(notice.note),
            "regarding": {
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
        }


def _cut(note: str) -> str:
    """Cut a note to what is taken, between two characters."""
    return note.encode()[:_MAX_NOTE_BYTES].decode(errors="ignore")


def _micro(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
