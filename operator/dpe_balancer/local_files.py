# SPDX-License-Identifier: Apache-2.0
"""The agent's small files in the pod's memory: role (from the elector), readiness, last choice.

The last choice outlives the agent, not the pod: if the agent is started anew while the API server
is away, clients are still routed to this pod and must find the same member active.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dpe_balancer.model import Choice, Record, Role, Switch


def read_role(path: Path, boot_time: float) -> Role:
    """The elector's word on the Lease at `boot_time` (CLOCK_BOOTTIME seconds).

    Holder only while the permission lasts; no file, or one that cannot be read: nobody knows.
    """
    try:
        found = json.loads(path.read_bytes())
        holder = found["role"] == "holder" and boot_time < float(found["validUntil"])
        known = found["role"] == "standby"
        return Role(holder, int(found["epoch"]), str(found["identity"]), known)
    except (OSError, ValueError, KeyError, TypeError):
        return Role()


def boot_time() -> float:
    """Seconds since the machine started, sleep included: the clock of `validUntil`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def timestamp() -> str:
    """Now, as RFC 3339 with microseconds."""
    now = datetime.datetime.now(datetime.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def save_choice(path: Path, choice: Choice, routed_to: str | None) -> None:
    """Keep the present choice, and the uid of the pod that clients are routed to."""
    written = path.with_suffix(".new")
    written.write_text(choice_text(choice, routed_to), encoding="utf-8")
    written.replace(path)


def load_record(path: Path) -> Record | None:
    """The kept choice in the form of a record; None if there is none."""
    try:
        return choice_record(path.read_bytes())
    except OSError:
        return None


def choice_text(choice: Choice, routed_to: str | None) -> str:
    """A choice, and the uid of the pod that clients were routed to, as JSON."""
    return json.dumps(_kept(choice, routed_to))


def word_text(choice: Choice, pod_uid: str, *, sees_up: bool) -> str:
    """What the pod that clients are sent to tells the other one: its choice, and whether it sees a
    member up."""
    return json.dumps({**_kept(choice, pod_uid), "seesUp": sees_up})


def _kept(choice: Choice, routed_to: str | None) -> dict[str, Any]:
    return {"choice": asdict(choice), "routedTo": routed_to}


def says_up(text: bytes) -> bool:
    """Whether the word of the other one says that it sees a member up; False for any other text."""
    try:
        return json.loads(text)["seesUp"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def choice_record(text: bytes) -> Record | None:
    """What `choice_text` says, in the form of a record; None for any other text."""
    try:
        kept: dict[str, Any] = json.loads(text)
        choice = kept["choice"]
        last = choice["last_switch"]
        found = Record(
            active=choice["active"],
            since=choice["since"],
            switch_count=choice["switch_count"],
            last_switch=None if last is None else Switch(**last),
            unplanned=tuple(choice["unplanned"]),
            routed_to=kept["routedTo"],
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # it may come from the network, where an address may belong to somebody else by now
    texts = (found.active or "", found.since, found.routed_to or "", *found.unplanned)
    is_text = all(isinstance(one, str) for one in texts)
    is_count = isinstance(found.switch_count, int) and found.switch_count >= 0
    return found if is_text and is_count else None


def write_sign(path: Path, pod: str) -> None:
    """Tell the elector that the pod with the uid `pod` does not answer, as of now."""
    written = path.with_suffix(".new")
    written.write_text(json.dumps({"pod": pod, "at": boot_time()}), encoding="utf-8")
    written.replace(path)


def touch(path: Path) -> None:
    """Say "ready" once more."""
    path.touch()
    os.utime(path)


def remove(path: Path) -> None:
    """Take "ready" back."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
