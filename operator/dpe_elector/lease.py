# SPDX-License-Identifier: Apache-2.0
"""What the elector reads from a Lease object and writes into it.

Besides the fields of coordination.k8s.io the holder writes one annotation, the record. It says who
wrote the Lease last, with which duration, and whether the holder gave it up itself. With it a Lease
that was cleared or edited by hand is told from one that was given back. For human readers and the
operator it also says since when that is so, and which commands ended by themselves of late.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from dpe_elector.clock import micro_time
from dpe_elector.timings import LONGEST_DURATION

JsonObject = dict[str, Any]

RECORD = "dpe.dev/elector-record"
# So many ends of commands within so many seconds, in whichever pods, are a crash loop.
CRASH_LOOP_ENDS = 5
ENDS_SECONDS = 600
ENDS_KEPT = 10
# leaseTransitions is an int32, and at its end nobody could take the Lease any more. So nobody lifts
# it above HIGHEST_LIFT, and a number far above that was put in by hand, unless the record says that
# an elector has come so far.
HIGHEST_LIFT = 2**31 - 1_000_000
_BY_HAND = HIGHEST_LIFT + 500_000


@dataclass(frozen=True)
class LeaseView:
    """A Lease as the election sees it.

    `version` is the resourceVersion, `duration` the longest of the durations found (seconds),
    `epoch` the leaseTransitions (or what the record says, if they leave no room for another),
    `released` whether the last holder gave it back itself (only then nobody can be acting),
    `written_by` the identity and epoch in the record. `raw` is the object.
    """

    uid: str
    version: str
    holder: str
    duration: float
    epoch: int
    released: bool
    written_by: tuple[str, int]
    raw: JsonObject = field(compare=False, repr=False, default_factory=dict)


@dataclass(frozen=True)
class End:
    """A command ended though nobody had asked it to: when (seconds since 1970), with which status
    as a shell reports it."""

    at: float
    code: int


@dataclass(frozen=True)
class Writing:
    """What a holder writes: an empty `holder` gives the Lease back.

    `identity` is the writer's, `duration` in seconds, `fresh` is true when the Lease is taken (and
    false when it is renewed or given back), `pod` the name for human readers. `end` is that of a
    command which ended by itself and was not written down yet. `stopping`: since when (seconds
    since 1970) the writer is being stopped, and its command with it.
    """

    identity: str
    holder: str
    epoch: int
    duration: int
    fresh: bool
    pod: str = ""
    end: End | None = None
    stopping: float | None = None


def view(lease: JsonObject) -> LeaseView:
    """Read a Lease object; fields that are missing or of no use count as empty."""
    metadata = lease.get("metadata") or {}
    spec = lease.get("spec") or {}
    record = _record(metadata.get("annotations") or {})
    holder = str(spec.get("holderIdentity") or "")
    epoch = transitions = _number(spec.get("leaseTransitions"))
    recorded = _number(record.get("epoch"), otherwise=-1)
    if transitions > _BY_HAND and transitions != recorded:
        epoch = recorded if 0 <= recorded <= _BY_HAND else 0
    duration = max(_number(spec.get("leaseDurationSeconds")), _number(record.get("seconds")))
    return LeaseView(
        uid=_uid(metadata),
        version=str(metadata.get("resourceVersion") or ""),
        holder=holder,
        duration=float(min(duration, LONGEST_DURATION)),
        epoch=epoch,
        released=not holder
        and record.get("state") == "released"
        and recorded == transitions
        and _is_of(record, metadata),
        written_by=(str(record.get("identity") or ""), max(recorded, 0)),
        raw=lease,
    )


def _is_of(record: JsonObject, metadata: JsonObject) -> bool:
    """Whether this Lease was given back, and not one from a dump of which it was made again while
    somebody acts. Who creates a Lease does not know its uid yet, and may say that nobody has ever
    acted: epoch 0."""
    if "uid" not in record:
        return _number(record.get("epoch")) == 0
    return bool(record["uid"] == _uid(metadata))


def _uid(metadata: JsonObject) -> str:
    return str(metadata.get("uid") or "")


def written(lease: JsonObject, writing: Writing, wall: float) -> JsonObject:
    """Return a copy of `lease` with `writing` in it, at `wall` seconds since 1970."""
    metadata = dict(lease.get("metadata") or {})
    # kept for the eye only, and the largest part of an object that is sent twice a second
    metadata.pop("managedFields", None)
    annotations = metadata.get("annotations") or {}
    heard = str((lease.get("spec") or {}).get("renewTime") or "")
    record = next_record(_record(annotations), writing, wall, heard=heard)
    if not writing.holder:
        record["uid"] = _uid(metadata)
    metadata["annotations"] = {**annotations, RECORD: json.dumps(record, separators=(",", ":"))}
    spec = dict(lease.get("spec") or {})
    spec["holderIdentity"] = writing.holder
    spec["leaseDurationSeconds"] = writing.duration
    spec["leaseTransitions"] = writing.epoch
    spec["renewTime"] = micro_time(wall)
    if writing.fresh or not spec.get("acquireTime"):
        spec["acquireTime"] = spec["renewTime"]
    return {**lease, "metadata": metadata, "spec": spec}


def next_record(
    before: JsonObject, writing: Writing, wall: float, *, heard: str = ""
) -> JsonObject:
    """Return the record that follows `before`; a renewal leaves it as it is.

    `heard` is when the Lease was last written; who takes it notes that as the last sign of the
    holder before, or the moment at which that one was told to stop: from then on it began nothing.
    Ends of commands are handed on from holder to holder, and forgotten after
    ENDS_SECONDS.
    """
    state = "held" if writing.holder else "released"
    goes_on = not writing.fresh and before.get("state") == state and "since" in before
    record: JsonObject = {
        "identity": writing.identity,
        "epoch": writing.epoch,
        "seconds": writing.duration,
        "state": state,
        "since": before["since"] if goes_on else micro_time(wall)[:19] + "Z",
    }
    last_sign = before.get("stopping") or heard if writing.fresh else before.get("before")
    if last_sign:
        record["before"] = last_sign
    if writing.stopping is not None:
        record["stopping"] = micro_time(writing.stopping)
    if writing.pod:
        record["pod"] = writing.pod
    found = before.get("ends")
    ends = [end for end in found if _recent(end, wall)] if isinstance(found, list) else []
    if writing.end is not None:
        ends.append([int(writing.end.at), writing.pod, writing.end.code])
    if ends:
        record["ends"] = ends[-ENDS_KEPT:]
        record["crashLooping"] = len(ends) >= CRASH_LOOP_ENDS
    return record


def _recent(end: object, wall: float) -> bool:
    """Whether this is an end (seconds since 1970, pod, exit status) that still counts."""
    return (
        isinstance(end, list)
        and len(end) == 3
        and isinstance(end[0], int)
        # compared, not subtracted: a number by hand may be too large for a float
        and wall - ENDS_SECONDS < end[0] < wall + ENDS_SECONDS
    )


def empty(namespace: str, name: str) -> JsonObject:
    """Return a new Lease that nobody holds and nobody vouches for."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
    }


def _record(annotations: JsonObject) -> JsonObject:
    try:
        record = json.loads(annotations.get(RECORD) or "{}")
    except (TypeError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _number(value: object, *, otherwise: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return otherwise
    return max(value, 0)
