# SPDX-License-Identifier: Apache-2.0
"""The EndpointSlice as the record of the fail-over: reading it and composing what to write.

Pure. The slice holds the one address clients are routed to and, as annotations, which member is
active. Foreign text in it (anybody may edit annotations) counts as absent, never as an error.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from dpe_balancer.model import Cause, Choice, MemberState, Record, Switch, SwitchRequest
from dpe_balancer.switching import seconds
from dpe_elector.lease import HIGHEST_LIFT

JsonObject = dict[str, Any]

EPOCH: Final = "dpe.dev/epoch"
ACTIVE: Final = "dpe.dev/active-member"
SINCE: Final = "dpe.dev/active-since"
COUNT: Final = "dpe.dev/switch-count"
LAST_SWITCH: Final = "dpe.dev/last-switch"
UNPLANNED: Final = "dpe.dev/unplanned-switches"
STATES: Final = "dpe.dev/member-states"
REQUEST: Final = "dpe.dev/switch-request"
SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "elector.dpe.dev"
# What the Service may call the clients' port. With another TLS mode it is renamed at once, while
# the balancers follow one after the other; an endpoint without that name would have no clients.
PORT_NAMES: Final = ("https", "http")
# More times than this are nobody's flap limit; the rest is foreign text.
_TIMES: Final = 32
# With more digits a number does not fit into 64 bits; that is foreign text too.
_DIGITS: Final = 18


@dataclass(frozen=True)
class Pod:
    """This pod, as the slice describes it."""

    name: str
    uid: str
    namespace: str
    ip: str
    node: str
    zone: str = ""


@dataclass(frozen=True)
class Publication:
    """What the holder wants to be written; `states` of the members as last seen."""

    epoch: int
    choice: Choice
    states: tuple[tuple[str, MemberState], ...]


@dataclass(frozen=True)
class Port:
    """The clients' port: its name as in the Service, and its number in the pod."""

    name: str
    number: int


def read_record(slice_object: JsonObject, *, fresh_for: int = 0) -> Record:
    """What an EndpointSlice says; `fresh_for` as in `Record`."""
    notes = _annotations(slice_object)
    endpoints = slice_object.get("endpoints") or []
    routed = endpoints[0].get("targetRef") or {} if len(endpoints) == 1 else {}
    return Record(
        epoch=_epoch(notes),
        active=notes.get(ACTIVE) or None,
        since=notes.get(SINCE, ""),
        switch_count=_number(notes.get(COUNT)),
        last_switch=_read_switch(notes.get(LAST_SWITCH, "")),
        unplanned=_read_times(notes.get(UNPLANNED, "")),
        request=read_request(notes.get(REQUEST, "")),
        routed_to=routed.get("uid"),
        address=next(iter(endpoints[0].get("addresses") or []), "") if routed else "",
        version=_number(slice_object.get("metadata", {}).get("resourceVersion")),
        fresh_for=fresh_for,
    )


def read_request(text: str) -> SwitchRequest | None:
    """A request `MEMBER@COUNT`; None for anything else."""
    member, at, count = text.rpartition("@")
    if not at or not member or not _is_number(count):
        return None
    return SwitchRequest(member, int(count))


def compose(
    slice_object: JsonObject, wanted: Publication, pod: Pod, port: Port
) -> JsonObject | None:
    """The slice to PUT, with the resourceVersion that was read; None when it says all that.

    Raises ValueError when a higher epoch is written on it: then the Lease's epoch must be lifted
    above that first, as nobody writes over a higher epoch.
    """
    found = _epoch(_annotations(slice_object))
    if found > wanted.epoch:
        raise ValueError(f"the slice carries epoch {found}, above our {wanted.epoch}")
    result = copy.deepcopy(slice_object)
    result["metadata"].setdefault("annotations", {})
    result["metadata"]["annotations"].update(_notes(wanted))
    result["endpoints"] = [_endpoint(pod)]
    result["ports"] = _ports(slice_object.get("ports"), port)
    return None if result == slice_object else result


def differs_only_in_states(before: JsonObject, after: JsonObject) -> bool:
    """Whether a write would only bring news of a member's health, which may wait a moment."""
    plain = copy.deepcopy(after)
    old = _annotations(before).get(STATES)
    plain["metadata"]["annotations"].pop(STATES, None)
    if old is not None:
        plain["metadata"]["annotations"][STATES] = old
    return plain == before


def is_terminating(slices: Iterable[JsonObject]) -> bool:
    """Whether a member's pod is about to end: one endpoint is terminating and none stays."""
    conditions = [
        endpoint.get("conditions") or {}
        for slice_object in slices
        for endpoint in slice_object.get("endpoints") or []
    ]
    leaving = [bool(condition.get("terminating")) for condition in conditions]
    return bool(leaving) and all(leaving)


def service_of(slice_object: JsonObject) -> str:
    """Name of the Service a slice belongs to; empty for none."""
    labels: Mapping[str, str] = slice_object.get("metadata", {}).get("labels") or {}
    return labels.get(SERVICE_NAME, "")


def _annotations(slice_object: JsonObject) -> Mapping[str, str]:
    notes: Mapping[str, str] = slice_object.get("metadata", {}).get("annotations") or {}
    return notes


def _epoch(notes: Mapping[str, str]) -> int:
    found = _number(notes.get(EPOCH))
    return found if found <= HIGHEST_LIFT else 0  # nobody could write over a higher one


def _number(text: str | None) -> int:
    return int(text) if text and _is_number(text) else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _read_switch(text: str) -> Switch | None:
    try:
        found = json.loads(text)
        if found["cause"] not in get_args(Cause):
            return None
        gap = found.get("gapMs")
        if not isinstance(gap, int) or isinstance(gap, bool) or gap < 0:
            gap = None
        source, target, at = str(found["from"]), str(found["to"]), str(found["at"])
        return Switch(source, target, found["cause"], at, gap)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _read_times(text: str) -> tuple[str, ...]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, list):
        return ()
    return tuple(at for at in found if isinstance(at, str) and seconds(at) is not None)[-_TIMES:]


def _notes(wanted: Publication) -> dict[str, str]:
    choice = wanted.choice
    notes = {
        EPOCH: str(wanted.epoch),
        ACTIVE: choice.active or "",
        SINCE: choice.since,
        COUNT: str(choice.switch_count),
        STATES: json.dumps(dict(wanted.states), separators=(",", ":")),
    }
    if choice.last_switch is not None:
        last = choice.last_switch
        said: JsonObject = {
            "from": last.source,
            "to": last.target,
            "cause": last.cause,
            "at": last.at,
        }
        if last.gap_ms is not None:
            said["gapMs"] = last.gap_ms
        notes[LAST_SWITCH] = json.dumps(said, separators=(",", ":"))
    if choice.unplanned:
        notes[UNPLANNED] = json.dumps(choice.unplanned, separators=(",", ":"))
    return notes


def _endpoint(pod: Pod) -> JsonObject:
    endpoint: JsonObject = {
        "addresses": [pod.ip],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {
            "kind": "Pod",
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": pod.uid,
        },
    }
    if pod.node:
        endpoint["nodeName"] = pod.node
    if pod.zone:
        endpoint["zone"] = pod.zone
    return endpoint


def _ports(before: Any, port: Port) -> list[JsonObject]:
    """The port under each of its names; what is there already and right stays as it is."""
    right = {
        found.get("name", ""): found
        for found in (before if isinstance(before, list) else [])
        if found.get("port") == port.number and found.get("protocol", "TCP") == "TCP"
    }
    names = dict.fromkeys((port.name, *PORT_NAMES))
    return [
        right.get(name) or {"name": name, "port": port.number, "protocol": "TCP"} for name in names
    ]
