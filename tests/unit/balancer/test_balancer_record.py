# SPDX-License-Identifier: Apache-2.0
"""The EndpointSlice as record: what is read, what is written, what is left alone."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from dpe_balancer.model import Choice, Record, Switch, SwitchRequest
from dpe_balancer.record import (
    Pod,
    Port,
    Publication,
    compose,
    differs_only_in_states,
    is_terminating,
    read_record,
    read_request,
)

POD = Pod("radio-balancer-x", "uid-1", "studio", "10.1.0.7", "node-1", "zone-a")
PORT = Port("https", 8443)
LAST = Switch("a", "b", "MemberDown", "2026-01-01T00:00:00.000000Z")
WANTED = Publication(
    5,
    Choice("b", "2026-01-01T00:00:00.000000Z", 3, LAST, epoch=5),
    (("a", "DOWN"), ("b", "UP")),
)


def empty() -> dict[str, Any]:
    return {
        "metadata": {
            "name": "radio-balancer",
            "resourceVersion": "41",
            "labels": {"kubernetes.io/service-name": "radio-balancer"},
            "annotations": {"dpe.dev/switch-request": "a@3", "other.example/note": "kept"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP", "appProtocol": "https"}],
        "endpoints": [],
    }


def test_written_and_read_again() -> None:
    written = compose(empty(), WANTED, POD, PORT)
    assert written is not None
    assert read_record(written, fresh_for=5) == Record(
        epoch=5,
        active="b",
        since="2026-01-01T00:00:00.000000Z",
        switch_count=3,
        last_switch=LAST,
        request=SwitchRequest("a", 3),
        routed_to="uid-1",
        version=41,
        fresh_for=5,
        address="10.1.0.7",
    )


def test_only_our_part_is_touched() -> None:
    before = empty()
    kept = copy.deepcopy(before)
    written = compose(before, WANTED, POD, PORT)
    assert before == kept
    assert written is not None
    assert written["metadata"]["resourceVersion"] == "41"
    assert written["metadata"]["labels"] == kept["metadata"]["labels"]
    assert written["metadata"]["annotations"]["other.example/note"] == "kept"
    assert written["metadata"]["annotations"]["dpe.dev/switch-request"] == "a@3"
    assert written["ports"][0] == kept["ports"][0]
    assert json.loads(written["metadata"]["annotations"]["dpe.dev/last-switch"]) == {
        "from": "a",
        "to": "b",
        "cause": "MemberDown",
        "at": "2026-01-01T00:00:00.000000Z",
    }
    assert written["endpoints"] == [
        {
            "addresses": ["10.1.0.7"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "node-1",
            "zone": "zone-a",
            "targetRef": {
                "kind": "Pod",
                "name": "radio-balancer-x",
                "namespace": "studio",
                "uid": "uid-1",
            },
        }
    ]


def test_gap_and_unplanned_switches_are_written_and_read_again() -> None:
    times = ("2026-01-01T00:00:00.000000Z", "2026-01-01T00:04:00.000000Z")
    choice = replace(WANTED.choice, last_switch=replace(LAST, gap_ms=310), unplanned=times)
    written = compose(empty(), replace(WANTED, choice=choice), POD, PORT)
    assert written is not None
    found = read_record(written)
    assert found.last_switch == replace(LAST, gap_ms=310)
    assert found.unplanned == times


def test_nothing_is_written_when_it_says_that_already() -> None:
    written = compose(empty(), WANTED, POD, PORT)
    assert written is not None
    assert compose(written, WANTED, POD, PORT) is None


def named(name: str, number: int = 8443) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": "TCP"}


@pytest.mark.parametrize("before", [[named("http")], [named("https", 8080)], [], None])
def test_the_port_has_each_name_that_the_service_may_have_for_it(before: object) -> None:
    """With another TLS mode the Service's port is renamed at once: a balancer that is routed until
    those of the new mode are there would have lost all clients."""
    written = compose(empty() | {"ports": before}, WANTED, POD, PORT)
    assert written is not None
    assert written["ports"] == [named("https"), named("http")]
    assert compose(written, WANTED, POD, PORT) is None
    plain = compose(written, WANTED, POD, Port("http", 8080))
    assert plain is not None
    assert plain["ports"] == [named("http", 8080), named("https", 8080)]


def test_a_higher_epoch_is_not_overwritten() -> None:
    higher = empty()
    higher["metadata"]["annotations"]["dpe.dev/epoch"] = "6"
    with pytest.raises(ValueError, match="epoch 6, above our 5"):
        compose(higher, WANTED, POD, PORT)


@pytest.mark.parametrize("epoch", ["2147483647", "2146483649", "9" * 5000])
def test_an_epoch_that_a_lease_could_not_count_above_is_foreign(epoch: str) -> None:
    """A Lease counts in 32 bits. It leaves room for a million take-overs."""
    edited = empty()
    edited["metadata"]["annotations"]["dpe.dev/epoch"] = epoch
    assert read_record(edited).epoch == 0
    written = compose(edited, WANTED, POD, PORT)
    assert written is not None
    assert written["metadata"]["annotations"]["dpe.dev/epoch"] == "5"
    edited["metadata"]["annotations"]["dpe.dev/epoch"] = "2146483648"
    with pytest.raises(ValueError, match="epoch 2146483648, above our 5"):
        compose(edited, WANTED, POD, PORT)


def test_news_of_health_alone() -> None:
    written = compose(empty(), WANTED, POD, PORT)
    assert written is not None
    states = Publication(5, WANTED.choice, (("a", "UP"), ("b", "UP")))
    news = compose(written, states, POD, PORT)
    assert news is not None
    assert differs_only_in_states(written, news)
    assert not differs_only_in_states(empty(), news)


@pytest.mark.parametrize(
    "text", ["", "b", "@3", "b@", "b@-1", "b@x", "b@²", "b@1.0", "b@" + "1" * 5000]
)
def test_what_is_no_request(text: str) -> None:
    assert read_request(text) is None


def test_foreign_text_counts_as_absent() -> None:
    notes = {
        "dpe.dev/epoch": "many",
        "dpe.dev/switch-count": "-4",
        "dpe.dev/last-switch": '{"from": "a", "to": "b", "cause": "Whim", "at": "now"}',
        "dpe.dev/active-member": "",
        "dpe.dev/unplanned-switches": '["yesterday", 7, null, "2026-01-01T00:00:00"]',
    }
    found = read_record({"metadata": {"annotations": notes}, "endpoints": None})
    assert found == Record()
    for count in ("²", "9" * 19, "9" * 5000):
        found = read_record({"metadata": {"annotations": {"dpe.dev/switch-count": count}}})
        assert found == Record()
    for gap in ("-1", "true", '"1s"', "null"):
        text = f'{{"from":"a","to":"b","cause":"Requested","at":"t","gapMs":{gap}}}'
        found = read_record({"metadata": {"annotations": {"dpe.dev/last-switch": text}}})
        assert found.last_switch == Switch("a", "b", "Requested", "t")
    for broken in ("[]", "7", "null", "{", '{"from": "a"}', "[" * 100_000):
        notes = {"dpe.dev/last-switch": broken, "dpe.dev/unplanned-switches": broken}
        assert read_record({"metadata": {"annotations": notes}}) == Record()


def endpoint(*, terminating: bool | None) -> dict[str, Any]:
    return {"addresses": ["10.2.0.1"], "conditions": {"terminating": terminating}}


def test_terminating() -> None:
    leaving, staying = endpoint(terminating=True), endpoint(terminating=None)
    assert is_terminating([{"endpoints": [leaving]}])
    assert not is_terminating([{"endpoints": [leaving]}, {"endpoints": [staying]}])
    assert not is_terminating([{"endpoints": []}, {"endpoints": None}])
    assert not is_terminating([])
