# SPDX-License-Identifier: Apache-2.0
"""The config file: what may stand in it, and what is said when it may not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_par_sync.config import (
    Compare,
    Config,
    ConfigInvalid,
    DeletionLimit,
    OnDivergence,
    load,
    parse,
)

SMALLEST: dict[str, Any] = {
    "store": "radio",
    "namespace": "studio",
    "master": {"path": "/par/master"},
    "redundant": {"name": "nightly", "volumePath": "/par/redundant"},
}


def changed(field: str, value: object) -> dict[str, Any]:
    """The smallest config with one field set; dots lead into objects."""
    found: dict[str, Any] = json.loads(json.dumps(SMALLEST))
    *above, last = field.split(".")
    place = found
    for name in above:
        place = place.setdefault(name, {})
    place[last] = value
    return found


def without(field: str) -> dict[str, Any]:
    found = changed(field, None)
    *above, last = field.split(".")
    place = found
    for name in above:
        place = place[name]
    del place[last]
    return found


def test_what_is_left_out_has_safe_defaults() -> None:
    config = parse(SMALLEST)
    assert config.master == config.master_mount_point == Path("/par/master")
    assert config.redundant.current == Path("/par/redundant/current")
    assert config.redundant.mount_point == config.redundant.volume == Path("/par/redundant")
    assert config.compare is Compare.CHECKSUM
    assert config.on_divergence is OnDivergence.KEEP
    assert config.limit == DeletionLimit(10, percent=True)
    assert config.quiet_seconds == 60
    assert config.history_runs == 14
    assert config.require_mount
    assert config.umask == 0o002
    assert (config.exclude, config.adopt, config.lease) == ((), "", "")


def test_every_field_is_read() -> None:
    config = parse(
        {
            "store": "radio",
            "namespace": "studio",
            "lease": "radio-par-sync",
            "master": {"path": "/m/sub", "mountPoint": "/m"},
            "redundant": {
                "name": "nightly",
                "volumePath": "/r/x",
                "mountPoint": "/r",
                "subPath": "a/b",
            },
            "compare": "SizeAndTime",
            "maxDeletions": 25,
            "onDivergence": "Stop",
            "quietPeriodSeconds": 0,
            "exclude": ["*.tmp", "/cache/"],
            "history": {"runs": 3},
            "adopt": "2026-11-24",
            "maxRunSeconds": 600,
            "requireMount": False,
            "umask": "0027",
            "terminationMessagePath": "",
        }
    )
    assert config == Config(
        store="radio",
        namespace="studio",
        lease="radio-par-sync",
        master=Path("/m/sub"),
        master_mount_point=Path("/m"),
        redundant=config.redundant,
        compare=Compare.SIZE_AND_TIME,
        limit=DeletionLimit(25, percent=False),
        on_divergence=OnDivergence.STOP,
        quiet_seconds=0,
        exclude=("*.tmp", "/cache/"),
        history_runs=3,
        adopt="2026-11-24",
        max_run_seconds=600,
        require_mount=False,
        umask=0o027,
        termination_message="",
    )
    assert config.redundant.current == Path("/r/x/a/b")
    assert config.redundant.mount_point == Path("/r")


# field, value, what the message says it should be
WRONG: list[tuple[str, object, str]] = [
    ("store", "", "write a text"),
    ("store", 7, "write a text"),
    ("store", None, "write a text"),
    ("namespace", ["studio"], "write a text"),
    ("lease", 1, "write a text"),
    ("adopt", {"yes": 1}, "write a text"),
    ("adopt", "\ud800", "write a text"),
    ("terminationMessagePath", None, "write a text"),
    ("master", "/par/master", "write a JSON object"),
    ("master", None, "write a JSON object"),
    ("master.path", "par/master", "write an absolute path"),
    ("master.path", "/par/../etc", "write an absolute path"),
    ("master.path", "/par/\0x", "write a text"),
    ("master.path", 5, "write a text"),
    ("master.mountPoint", "relative", "write an absolute path"),
    ("master.mountPoint", "/elsewhere", "write a folder that /par/master lies in"),
    (
        "redundant.mountPoint",
        "/par/redundant/current",
        "write a folder that /par/redundant lies in",
    ),
    ("redundant", [], "write a JSON object"),
    ("redundant.name", "", "write a text"),
    ("redundant.volumePath", "./x", "write an absolute path"),
    ("redundant.mountPoint", "x", "write an absolute path"),
    ("redundant.subPath", "", "relative path of a folder"),
    ("redundant.subPath", ".", "relative path of a folder"),
    ("redundant.subPath", "/current", "relative path of a folder"),
    ("redundant.subPath", "a/../../b", "relative path of a folder"),
    ("redundant.subPath", ".dpe-par", "relative path of a folder"),
    ("redundant.subPath", ".dpe-par/history", "relative path of a folder"),
    ("compare", "checksum", "write Checksum or SizeAndTime"),
    ("compare", None, "write Checksum or SizeAndTime"),
    ("onDivergence", "Delete", "write Keep or Overwrite or Stop"),
    ("onDivergence", ["Keep"], "write Keep or Overwrite or Stop"),
    ("maxDeletions", "101%", 'such as 25, or a percentage such as "10%"'),
    ("maxDeletions", "ten", "such as 25"),
    ("maxDeletions", -1, "such as 25"),
    ("maxDeletions", 1.5, "such as 25"),
    ("maxDeletions", True, "such as 25"),
    ("maxDeletions", None, "such as 25"),
    ("maxDeletions", "", "such as 25"),
    ("quietPeriodSeconds", -1, "write a number from 0 to 86400"),
    ("quietPeriodSeconds", "60", "write a number from 0 to 86400"),
    ("quietPeriodSeconds", math.nan, "write a number from 0 to 86400"),
    ("maxRunSeconds", 9, "write a number from 10 to 86400"),
    ("maxRunSeconds", math.inf, "write a number from 10 to 86400"),
    ("history.runs", 0, "write a whole number from 1 to 1000"),
    ("history.runs", 2.5, "write a whole number from 1 to 1000"),
    ("history.runs", True, "write a whole number from 1 to 1000"),
    ("history", 14, "write a JSON object"),
    ("exclude", "*.tmp", "write a list of patterns"),
    ("exclude", {"a": 1}, "write a list of patterns"),
    ("requireMount", "false", "write true or false"),
    ("requireMount", 0, "write true or false"),
    ("umask", 2, "write three octal digits"),
    ("umask", "0o02", "write three octal digits"),
    ("umask", "0888", "write three octal digits"),
    ("umask", None, "write three octal digits"),
]


@pytest.mark.parametrize(("field", "value", "cure"), WRONG)
def test_a_wrong_value_is_refused_with_field_value_and_cure(
    field: str, value: object, cure: str
) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(changed(field, value))
    message = str(refused.value)
    assert field in message
    assert repr(value) in message
    assert cure in message


@pytest.mark.parametrize(
    "pattern", ["", "  ", "!", "!x", "+ x", "- x", "a\nb", "a\0b", 7, "\udfff"]
)
def test_a_pattern_that_rsync_would_take_for_something_else_is_refused(pattern: object) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(changed("exclude", ["*.ok", pattern]))
    assert "exclude" in str(refused.value)
    assert repr(pattern) in str(refused.value)
    assert "write a pattern such as *.tmp" in str(refused.value)


@pytest.mark.parametrize(
    "field", ["store", "namespace", "master", "master.path", "redundant", "redundant.name"]
)
def test_a_missing_field_is_named_with_the_cure(field: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"{field} is missing: write"):
        parse(without(field))


@pytest.mark.parametrize("field", ["speed", "master.speed", "redundant.speed", "history.speed"])
def test_a_field_of_another_version_is_refused_with_its_value(field: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse(changed(field, "fast"))
    assert f"{field} ('fast')" in str(refused.value)
    assert "sync image of the operator's version" in str(refused.value)


@pytest.mark.parametrize("found", [None, [], "text", 3])
def test_what_is_no_object_is_refused(found: object) -> None:
    with pytest.raises(ConfigInvalid, match="write a JSON object"):
        parse(found)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b'{"store": "a", "store": "b"}']
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid) as refused:
        load(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"none\.json.*No such file"):
        load(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.sampled_from(sorted({field for field, _, _ in WRONG})), JSON)
def test_any_value_is_taken_or_refused_and_never_crashes(field: str, value: object) -> None:
    try:
        config = parse(changed(field, value))
    except ConfigInvalid as refused:
        assert field.partition(".")[0] in str(refused)
    else:
        assert config.redundant.current != config.redundant.volume


@pytest.mark.parametrize(
    ("limit", "files", "allowed"),
    [("10%", 100, 10), ("10%", 101, 11), ("10%", 1, 1), ("10%", 0, 0), ("0%", 99, 0), ("100%", 7, 7),
     (5, 3, 5), ("5", 1000, 5), (0, 1000, 0)],
)  # fmt: skip
def test_a_percentage_of_deletions_is_rounded_up(limit: object, files: int, allowed: int) -> None:
    config = parse(changed("maxDeletions", limit))
    assert config.limit.allowed(files) == allowed
    assert str(config.limit) == str(limit)
