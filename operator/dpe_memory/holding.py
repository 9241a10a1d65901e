# SPDX-License-Identifier: Apache-2.0
"""The Lease, as the command of its holder uses it: reading, lifting the epoch, reporting.

The elector renews the same Lease every second or two, and everything is written by PUT with the
resourceVersion that was read. So a 409 is nothing special: read again, and write again while this
pod is the holder. The elector, when it gets one, does the same, and keeps what it finds: an epoch
that was lifted stays lifted (see dpe_elector.election: `_hold` writes the higher one).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from dpe_elector import lease as elector_lease
from dpe_elector.api_client import ApiError, ApiFailure
from dpe_memory.decision import Said
from dpe_memory.keeping import text_of
from dpe_memory.report import Report, said, with_report

JsonObject = dict[str, Any]

# The permit lasts for 4 or 10 s without the API server; to try for longer is to be killed trying.
PATIENCE = 15.0
_CALL_SECONDS = 5.0
_FINAL = (400, 401, 403, 404, 422)
_PAUSE = (0.05, 0.4)


class Api(Protocol):
    """What is needed of `dpe_elector.api_client.ApiClient`."""

    def get(self, path: str, *, timeout: float = 10.0) -> JsonObject:
        """Read an object."""
        ...

    def put(self, path: str, body: JsonObject, *, timeout: float = 10.0) -> JsonObject:
        """Replace an object."""
        ...


class NotHolder(Exception):
    """The Lease is held by somebody else: this start is over, the guard just has not come yet."""


class LeaseFailed(Exception):
    """The Lease cannot be read or written; the message says why."""


@dataclass(frozen=True)
class Holder:
    """Who we are: the pod and its UID (the elector's identity begins with it; empty if nobody told
    us), and the epoch that the elector started us with."""

    pod: str
    uid: str
    epoch: int


class Holding:
    """The Lease of this start."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        holder: Holder,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is read yet."""
        space = quote(namespace, safe="")
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases"
        self._path = f"{leases}/{quote(name, safe='')}"
        self._api = api
        self._name = name
        self._holder = holder
        self._sleep = sleep
        self._term: tuple[str, str] | None = None

    def read(self, patience: float = PATIENCE) -> Said:
        """Return what the Lease says. Raises NotHolder, LeaseFailed after `patience` seconds."""
        return said(_annotations(self._change(lambda _: None, patience)))

    def lift(self, above: int, patience: float = PATIENCE) -> int:
        """Have the Lease's epoch above `above` and return it. Raises as `read`.

        One that is high enough already is as good as our own: whoever wrote it, each later start
        gets a higher one.
        """
        if above > elector_lease.HIGHEST_LIFT:
            raise LeaseFailed(
                "a Lease does not count so far. Give what has this number on the volume another "
                "name, if no watcher made it"
            )
        lease = self._change(lambda found: _lifted(found, above), patience)
        return elector_lease.view(lease).epoch

    def report(self, report: Report, patience: float = PATIENCE) -> None:
        """Write the report, unless it is there already. Raises as `read`."""

        def change(found: JsonObject) -> JsonObject | None:
            notes = with_report(
                _annotations(found), report, pod=self._holder.pod, at=text_of(time.time())
            )
            return None if notes is None else _with_annotations(found, notes)

        self._change(change, patience)

    def _change(
        self, change: Callable[[JsonObject], JsonObject | None], patience: float
    ) -> JsonObject:
        """Read the Lease and write what `change` makes of it (None: nothing to write)."""
        until = time.monotonic() + patience
        while True:
            try:
                found = self._api.get(self._path, timeout=_CALL_SECONDS)
                self._check(found)
                body = change(found)
                return (
                    found
                    if body is None
                    else self._api.put(self._path, body, timeout=_CALL_SECONDS)
                )
            except ApiFailure as failure:
                final = isinstance(failure, ApiError) and failure.status in _FINAL
                if final or time.monotonic() > until:
                    raise LeaseFailed(f"Lease {self._name}: {failure}") from failure
                self._sleep(random.uniform(*_PAUSE))  # noqa: S311 - only to get out of step

    def _check(self, lease: JsonObject) -> None:
        """Raise NotHolder unless this is the holding that we were started in.

        Within a pod there is one command at a time, so at first the pod is enough. From then on it
        must be the very same holding: each one has a time of acquisition of its own.
        """
        found = elector_lease.view(lease)
        term = (found.holder, str(lease["spec"].get("acquireTime") or ""))
        ours = self._holder
        if self._term is not None:
            held = term == self._term
        elif ours.uid:
            held = found.holder.startswith(f"{ours.uid}_") or found.holder == ours.uid
        else:
            held = found.holder != "" and found.epoch >= ours.epoch
        if not held:
            raise NotHolder(
                f"the Lease {self._name} is held by {found.holder or 'nobody'}, not by this start"
            )
        self._term = term


def _lifted(lease: JsonObject, above: int) -> JsonObject | None:
    if elector_lease.view(lease).epoch > above:
        return None
    spec = {**lease["spec"], "leaseTransitions": above + 1}
    notes = dict(_annotations(lease))
    record = _record(notes)
    if record:
        # the elector's next renewal writes the same; until then the two must not differ
        record["epoch"] = above + 1
        notes[elector_lease.RECORD] = json.dumps(record, separators=(",", ":"))
    return {**_with_annotations(lease, notes), "spec": spec}


def _record(notes: dict[str, str]) -> JsonObject:
    try:
        found = json.loads(notes.get(elector_lease.RECORD) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _annotations(lease: JsonObject) -> dict[str, str]:
    found: dict[str, str] = (lease.get("metadata") or {}).get("annotations") or {}
    return found


def _with_annotations(lease: JsonObject, notes: dict[str, str]) -> JsonObject:
    metadata = {**lease["metadata"], "annotations": notes}
    # kept for the eye only, and the largest part of the object
    metadata.pop("managedFields", None)
    return {**lease, "metadata": metadata}
