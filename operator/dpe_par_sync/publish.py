# SPDX-License-Identifier: Apache-2.0
"""Where a result goes: standard output, the termination message, annotations of the Lease.

The Lease is the lock of the run, so it is there and this pod may write it. Written by the run
itself, the result outlives the pod, the Job and an operator that is away.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dpe_elector.api_client import ApiError, ApiFailure
from dpe_par_sync.result import Outcome, Result

ANNOTATION_RESULT = "dpe.dev/par-sync-result"
ANNOTATION_LAST_SUCCESS = "dpe.dev/par-sync-last-success"
ANNOTATION_ADOPTED = "dpe.dev/par-sync-adopted"

# kubelet takes that much of the file
TERMINATION_BYTES = 4096
_PATIENCE = 45.0
_CALL_SECONDS = 5.0
_FINAL = (400, 401, 403, 404, 422)
_PAUSE = (0.05, 0.4)

JsonObject = dict[str, Any]


class Api(Protocol):
    """What is needed of `dpe_elector.api_client.ApiClient`."""

    def get(self, path: str, *, timeout: float = 10.0) -> JsonObject:
        """Read an object."""
        ...

    def put(self, path: str, body: JsonObject, *, timeout: float = 10.0) -> JsonObject:
        """Replace an object."""
        ...


def lease_path(namespace: str, name: str) -> str:
    """Return the path of a Lease at the API server."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"


def adopted_texts(lease: JsonObject) -> frozenset[str]:
    """Return the accepting texts that the Lease knows to have counted."""
    found = _annotations(lease).get(ANNOTATION_ADOPTED, "")
    try:
        texts = json.loads(found) if found else []
        return frozenset(text for text in texts if isinstance(text, str))
    except (ValueError, TypeError):
        return frozenset()


def with_result(lease: JsonObject, result: Result, adopt: str) -> JsonObject:
    """Return the Lease with `result` in it; all that others wrote stays as it is.

    `adopt` is the accepting text of this run, "" if none has counted.
    """
    line = result.line()
    notes = {**_annotations(lease), ANNOTATION_RESULT: line}
    if result.outcome is Outcome.SUCCEEDED:
        notes[ANNOTATION_LAST_SUCCESS] = line
    texts = adopted_texts(lease)
    if adopt and adopt not in texts:
        notes[ANNOTATION_ADOPTED] = json.dumps([*sorted(texts)[-19:], adopt])
    return {**lease, "metadata": {**lease["metadata"], "annotations": notes}}


def write_lease(
    api: Api,
    path: str,
    change: Callable[[JsonObject], JsonObject],
    *,
    patience: float = _PATIENCE,
) -> str:
    """Read, change and write the Lease until it is written; returns "" or why it is not.

    The elector renews the same Lease every two seconds, so a 409 is nothing special: read again.
    A write whose answer was lost is found done, or done again with the same content.
    """
    until = time.monotonic() + patience
    while True:
        try:
            api.put(path, change(api.get(path, timeout=_CALL_SECONDS)), timeout=_CALL_SECONDS)
        except ApiFailure as failure:
            refused = isinstance(failure, ApiError) and failure.status in _FINAL
            if refused or time.monotonic() > until:
                return str(failure)
            time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - only to get out of step
        else:
            return ""


def write_termination_message(path: str, result: Result) -> str:
    """Write the file that kubelet puts into the pod's status; returns "" or why it cannot.

    kubelet has made it; where there is none, no pod is running.
    """
    try:
        with open(path, "r+b") as file:
            file.truncate()
            file.write(result.within(TERMINATION_BYTES).encode())
    except FileNotFoundError:
        return ""
    except OSError as wrong:
        return str(wrong)
    return ""


def _annotations(lease: JsonObject) -> Mapping[str, str]:
    found: Mapping[str, str] = lease["metadata"].get("annotations") or {}
    return found
