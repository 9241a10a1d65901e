# SPDX-License-Identifier: Apache-2.0
"""The history of the Leases: every version that the API server has stored, as a watch tells it, and
when it was asked to store it, as its audit log tells.

A watch tells in the right order, but on a busy machine seconds late. So times come from the audit
log, in which the API server notes the arrival of each request to the microsecond.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.api_server import ApiServer


@dataclass(frozen=True)
class Version:
    """A Lease as it was stored. gone: deleted. by_elector: holder and epoch are what an elector
    wrote last; False: somebody else has edited them since. renewed: its time of renewal, which
    every elector writes, as text; empty: there is none, or it was not kept."""

    name: str
    uid: str
    version: int
    holder: str
    epoch: int
    duration: float
    released: bool
    gone: bool = False
    by_elector: bool = True
    renewed: str = ""


# When (seconds since 1970) the API server got the request for an update that it carried out, by the
# Lease's name and the version that the update was bound to (electors bind each of theirs to one).
Asked = Mapping[tuple[str, int], float]


def asked(audit: Iterable[str], namespace: str) -> Asked:
    """Read the lines of an audit log; what was killed with the API server is missing in it."""
    found: dict[tuple[str, int], float] = {}
    for line in audit:
        if f'"{namespace}"' not in line:
            continue
        with contextlib.suppress(ValueError, KeyError):  # the last line may be half of one
            event = json.loads(line)
            what = event["objectRef"]
            if (event["verb"], what["resource"], what["namespace"]) != (
                "update", "leases", namespace,
            ):  # fmt: skip
                continue
            if event["responseStatus"]["code"] == 200:
                at = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"])
                found[what["name"], int(what["resourceVersion"])] = at.timestamp()
    return found


class History:
    """Watches all Leases of a namespace until `close`; `versions` are in their order."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._closed = threading.Event()
        self._after = ""
        self.versions: list[Version] = []
        # how often the watch had to begin anew without knowing what was in between
        self.holes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def asked(self) -> Asked:
        """When the updates of these Leases were asked for, so far."""
        found: dict[tuple[str, int], float] = {}
        # the API server begins a new file when one is full
        for path in sorted(self._api.folder.glob("audit*.log")):
            with path.open(encoding="utf-8", errors="replace") as lines:
                found |= asked(lines, self._namespace)
        return found

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        self._thread.join(5)

    def _run(self) -> None:
        tls = ssl.create_default_context(cafile=str(self._api.ca_file))
        while not self._closed.is_set():
            try:
                if not self._after:
                    self._list()
                self._watch(tls)
            except (KeyError, TypeError):  # a refusal, where a list or an event was meant
                self._after = ""
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.1)

    def _list(self) -> None:
        _, found = self._api.request("GET", self._path)
        self._after = str(found["metadata"]["resourceVersion"])
        for item in found["items"]:
            self._note(item, gone=False)

    def _watch(self, tls: ssl.SSLContext) -> None:
        port = int(self._api.url.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=tls)
        headers = {"Authorization": f"Bearer {self._api.token}"}
        query = f"?watch=1&resourceVersion={self._after}&timeoutSeconds=30&allowWatchBookmarks=true"
        with contextlib.closing(connection):
            connection.request("GET", self._path + query, headers=headers)
            with connection.getresponse() as answer:
                while not self._closed.is_set() and (line := answer.readline()):
                    self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        """Note one event of the watch; ValueError: the watch must begin anew."""
        if event["type"] == "ERROR":
            self.holes += 1
            self._after = ""
            raise ValueError(event["object"])
        self._after = str(event["object"]["metadata"]["resourceVersion"])
        if event["type"] != "BOOKMARK":
            self._note(event["object"], gone=event["type"] == "DELETED")

    def _note(self, item: dict[str, Any], *, gone: bool) -> None:
        self.versions.append(version_of(item, gone=gone))


def version_of(item: Mapping[str, Any], *, gone: bool) -> Version:
    """A Lease as the API server gives it."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    record = json.loads((metadata.get("annotations") or {}).get("dpe.dev/elector-record") or "{}")
    holder = str(spec.get("holderIdentity") or "")
    epoch = int(spec.get("leaseTransitions") or 0)
    released = record.get("state") == "released"
    # the record of who gave the Lease back keeps its name: a holder of that name was put in
    wrote = (record.get("identity"), record.get("epoch")) == (holder, epoch) and not released
    return Version(
        metadata["name"], metadata["uid"], int(metadata["resourceVersion"]), holder, epoch,
        float(spec.get("leaseDurationSeconds") or 0), released, gone, by_elector=wrote,
        renewed=str(spec.get("renewTime") or ""),
    )  # fmt: skip
