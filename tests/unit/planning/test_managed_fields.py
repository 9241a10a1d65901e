# SPDX-License-Identifier: Apache-2.0
"""Who owns which field of a live object."""

from typing import Any

from dpe_operator.planning import managed_fields as mf


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}}


def entry(fields: dict[str, Any], manager: str = "ours", **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields, **more}


REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}}}


def test_only_our_applies_of_the_main_resource_count() -> None:
    obj = live(
        entry(REPLICAS),
        entry({"f:spec": {"f:paused": {}}}, operation="Update"),
        entry({"f:spec": {"f:other": {}}}, manager="theirs"),
        entry({"f:status": {"f:x": {}}}, subresource="status"),
    )
    assert mf.owned_fields(obj, "ours") == REPLICAS
    assert mf.owned_fields(obj, "ours", subresource="status") == {"f:status": {"f:x": {}}}


def test_entries_of_two_api_versions_are_one_set() -> None:
    obj = live(entry(REPLICAS), entry({"f:spec": {"f:image": {}}}, apiVersion="v2"))
    assert mf.owned_fields(obj, "ours") == {"f:spec": {"f:replicas": {}, "f:image": {}}}


def test_has_field() -> None:
    assert mf.has_field(REPLICAS, "spec", "replicas")
    assert not mf.has_field(REPLICAS, "spec", "image")


def test_entries_of_keyed_lists() -> None:
    below: dict[str, Any] = {".": {}, "f:port": {}}
    fields = {'k:{"port":443,"protocol":"TCP"}': below, 'v:"x"': {}}
    assert mf.is_keyed(fields) and not mf.is_keyed({"f:a": {}})
    assert mf.entry_for(fields, {"port": 443}) == ({"port": 443, "protocol": "TCP"}, below)
    assert mf.entry_for(fields, {"port": 443, "protocol": "UDP"}) == (None, None)
    assert mf.entry_for(fields, "x") == (None, {})


def test_surplus_finds_what_is_owned_and_not_wanted() -> None:
    fields: dict[str, Any] = {
        "f:kept": {},
        "f:gone": {},
        "f:conditions": {
            'k:{"type":"Ready"}': {".": {}, "f:status": {}, "f:note": {}},
            'k:{"type":"Old"}': {".": {}},
        },
    }
    intent = {"kept": 1, "conditions": [{"type": "Ready", "status": "True"}]}
    assert list(mf.surplus(fields, intent)) == ["gone", "conditions[Ready].note", "conditions[Old]"]


def test_surplus_finds_what_has_left_a_set() -> None:
    fields = {"f:outdated": {'v:"a"': {}, 'v:"b"': {}}}
    assert list(mf.surplus(fields, {"outdated": ["b"]})) == ['outdated["a"]']
    assert list(mf.surplus(fields, {"outdated": ["b", "a"]})) == []
