# SPDX-License-Identifier: Apache-2.0
"""The registry file: bytes as regedit writes them, and nothing of a value is lost on the way."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders.builder_samples import owner

from dpe_operator.api.par_store import Registry
from dpe_operator.builders.registry_file import (
    registry_config_map,
    registry_env,
    registry_file,
)

KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Vendor\\Par"


def registry(*values: dict[str, Any], **fields: Any) -> Registry:
    return Registry.model_validate({"keys": [{"path": KEY, "values": list(values)}], **fields})


def lines(*values: dict[str, Any]) -> list[str]:
    """The file's lines behind the key, continued ones joined."""
    content = registry_file(registry(*values))
    assert content[:2] == b"\xff\xfe"
    text = content[2:].decode("utf-16-le")
    assert text.startswith(f"Windows Registry Editor Version 5.00\r\n\r\n[{KEY}]\r\n")
    assert not re.search("(?<!\r)\n", text), "a line ends without CR"
    assert text.endswith("\r\n\r\n")
    return text.replace("\\\r\n  ", "").split("]\r\n", 1)[1].rstrip("\r\n").split("\r\n")


def read_back(line: str) -> tuple[str, object]:
    """Read one line as regedit does: name and value."""
    found = re.fullmatch(r'(@|"((?:[^"\\]|\\.)*)")=(.*)', line, re.S)
    assert found, line
    name = "" if found[1] == "@" else re.sub(r"\\(.)", r"\1", found[2])
    data = found[3]
    if data.startswith("dword:"):
        return name, int(data[6:], 16)
    if data.startswith("hex("):
        kind, _, content = data.removeprefix("hex(").partition("):")
        text = bytes.fromhex(content.replace(",", "")).decode("utf-16-le")
        if kind == "7":
            assert text.endswith("\0\0")
            return name, text[:-2].split("\0")
        assert text.endswith("\0")
        return name, text[:-1]
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', data), data
    return name, re.sub(r"\\(.)", r"\1", data[1:-1])


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"name": "Master", "value": "\\\\nas\\par"}, '"Master"="\\\\\\\\nas\\\\par"'),
        ({"name": 'a "b" \\c', "value": 'say "x"'}, '"a \\"b\\" \\\\c"="say \\"x\\""'),
        ({"name": "", "value": "default"}, '@="default"'),
        ({"name": "Empty", "value": ""}, '"Empty"=""'),
        ({"name": "Größe", "value": "Hörfunk 🎙"}, '"Größe"="Hörfunk 🎙"'),
        ({"name": "N", "value": 8080}, '"N"="8080"'),
        ({"name": "Two", "value": "a\r\nb"}, '"Two"=hex(1):61,00,0d,00,0a,00,62,00,00,00'),
        ({"name": "D", "type": "REG_DWORD", "value": 31}, '"D"=dword:0000001f'),
        ({"name": "D", "type": "REG_DWORD", "value": "0xFFFFFFFF"}, '"D"=dword:ffffffff'),
        ({"name": "D", "type": "REG_DWORD", "value": "010"}, '"D"=dword:0000000a'),
        (
            {"name": "E", "type": "REG_EXPAND_SZ", "value": "%X%"},
            '"E"=hex(2):25,00,58,00,25,00,00,00',
        ),
        (
            {"name": "M", "type": "REG_MULTI_SZ", "values": ["a", "b"]},
            '"M"=hex(7):61,00,00,00,62,00,00,00,00,00',
        ),
    ],
)
def test_lines_as_regedit_writes_them(value: dict[str, Any], line: str) -> None:
    assert lines(value) == [line]


def test_long_values_go_on_in_indented_lines() -> None:
    value = {"name": "L", "type": "REG_EXPAND_SZ", "value": "x" * 100}
    text = registry_file(registry(value))[2:].decode("utf-16-le")
    written = text.split("]\r\n")[1].rstrip("\r\n").split("\r\n")
    assert len(written) > 1
    assert all(line.endswith(",\\") for line in written[:-1])
    assert all(line.startswith("  ") for line in written[1:])
    assert max(map(len, written)) <= 80


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
_NAME = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), min_size=0, max_size=60)
_VALUE = st.one_of(
    st.builds(lambda v: ({"type": "REG_SZ", "value": v}, v), _TEXT),
    st.builds(lambda v: ({"type": "REG_EXPAND_SZ", "value": v}, v), _TEXT),
    st.builds(lambda v: ({"type": "REG_DWORD", "value": v}, v), st.integers(0, 2**32 - 1)),
    st.builds(
        lambda v: ({"type": "REG_MULTI_SZ", "values": v}, v),
        st.lists(_TEXT.filter(bool), min_size=1, max_size=5),
    ),
)


@given(_NAME, _VALUE)
def test_every_value_can_be_read_back(name: str, value: tuple[dict[str, Any], object]) -> None:
    written, meant = value
    (line,) = lines({"name": name, **written})
    assert read_back(line) == (name, meant)


def test_keys_and_values_in_their_order() -> None:
    two = Registry.model_validate(
        {
            "keys": [
                {"path": f"{KEY}\\B", "values": [{"name": "z", "value": "1"}]},
                {
                    "path": f"{KEY}\\A",
                    "values": [{"name": "y", "value": "2"}, {"name": "x", "value": "3"}],
                },
            ]
        }
    )
    text = registry_file(two)[2:].decode("utf-16-le")
    assert text.replace("\r\n", "\n") == (
        f'Windows Registry Editor Version 5.00\n\n[{KEY}\\B]\n"z"="1"\n\n[{KEY}\\A]\n"y"="2"\n'
        '"x"="3"\n\n'
    )


def test_config_map_with_files_where_asked() -> None:
    made = registry_config_map(
        owner("ParStore"),
        registry(
            {"name": "Master", "value": "P:\\par", "file": "master"},
            {"name": "All", "type": "REG_MULTI_SZ", "values": ["a", "b"], "file": "all.txt"},
            {"name": "Not", "value": "x"},
        ),
    )
    assert made["metadata"]["name"] == "radio-par-registry"
    assert made["data"] == {"master": "P:\\par", "all.txt": "a\nb"}
    assert base64.b64decode(made["binaryData"]["par.reg"])[:2] == b"\xff\xfe"
    assert "data" not in registry_config_map(owner("ParStore"), registry({"name": "", "value": ""}))


def test_variables_where_asked() -> None:
    found = registry_env(
        registry(
            {"name": "Master", "value": "P:\\par", "env": "PAR_MASTER"},
            {"name": "Not", "value": "x"},
        )
    )
    assert [(entry.name, entry.value) for entry in found] == [("PAR_MASTER", "P:\\par")]
    assert registry_env(None) == ()
