# SPDX-License-Identifier: Apache-2.0
"""The Windows registry file, and the ConfigMap it lies in.

The form is that of `regedit` and `reg import`: UTF-16LE with a byte order mark, lines ended by CR
and LF, backslashes and quotes in texts escaped, everything that is no plain text in hexadecimal.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_registry_name
from dpe_operator.api.par_rules import DWORD_PATTERN, MAX_DWORD
from dpe_operator.api.par_store import Registry, RegistryValue
from dpe_operator.api.pods import EnvVar
from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.labels import metadata

FILE: Final = "par.reg"
_HEX_TYPES: Final = {"REG_SZ": 1, "REG_EXPAND_SZ": 2, "REG_MULTI_SZ": 7}
_BOM: Final = b"\xff\xfe"
# What regedit itself writes into a line before it goes on in the next one.
_WIDTH: Final = 78


def registry_config_map(owner: Owner, registry: Registry) -> Manifest:
    """Build the ConfigMap: the registry file, and the values that were asked for as files."""
    found: Manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(
            owner, par_registry_name(owner.name), constants.COMPONENT_PAR_REGISTRY
        ),
        "binaryData": {FILE: base64.b64encode(registry_file(registry)).decode()},
    }
    files = {value.file: plain_text(value) for value in values_of(registry) if value.file}
    return {**found, "data": files} if files else found


def registry_env(registry: Registry | None) -> tuple[EnvVar, ...]:
    """Return the variables by which values were asked to be given to the pods."""
    return tuple(
        EnvVar(name=value.env, value=plain_text(value))
        for value in (values_of(registry) if registry else ())
        if value.env
    )


def values_of(registry: Registry) -> Iterator[RegistryValue]:
    """Yield the values of all keys, in their order."""
    for key in registry.keys:
        yield from key.values


def plain_text(value: RegistryValue) -> str:
    """Return a value as other programs than regedit read it; REG_MULTI_SZ one text a line."""
    return "\n".join(value.values) if value.values else value.value or ""


def is_dword(text: str) -> bool:
    """Whether a text is a number that fits into a REG_DWORD."""
    return bool(re.fullmatch(DWORD_PATTERN, text)) and _number(text) <= MAX_DWORD


def _number(text: str) -> int:
    return int(text, 16 if text.startswith("0x") else 10)


def registry_file(registry: Registry) -> bytes:
    """Return the bytes of the registry file."""
    text = _environment().get_template("registry.reg.j2").render(keys=registry.keys)
    return _BOM + text.replace("\n", "\r\n").encode("utf-16-le")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # plain text for regedit, which knows no HTML
    made = Environment(  # noqa: S701
        loader=PackageLoader("dpe_operator", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["registry_line"] = _line
    return made


def _line(value: RegistryValue) -> str:
    """One value; the name of the key's default value is an at sign."""
    name = f'"{_escaped(value.name)}"' if value.name else "@"
    return f"{name}={_data(value, indent=len(name))}"


def _data(value: RegistryValue, *, indent: int) -> str:
    text = value.value or ""
    if value.type == "REG_DWORD":
        return f"dword:{_number(text):08x}"
    if value.type == "REG_SZ" and text.isprintable():
        return f'"{_escaped(text)}"'
    # each text ends with a NUL, a list with one more
    texts = "".join(f"{entry}\0" for entry in value.values) + "\0" if value.values else f"{text}\0"
    return _hexadecimal(_HEX_TYPES[value.type], texts.encode("utf-16-le"), indent=indent)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _hexadecimal(kind: int, content: bytes, *, indent: int) -> str:
    """Return bytes as regedit writes them: `hex(2):61,00,` and more in indented lines."""
    head = f"hex({kind}):"
    lines, room = [head], _WIDTH - indent - 1 - len(head)
    for number, byte in enumerate(content):
        token = f"{byte:02x}" + ("," if number < len(content) - 1 else "")
        if room < len(token) and not lines[-1].endswith(":"):
            lines[-1] += "\\"
            lines.append("  ")
            room = _WIDTH - 2
        lines[-1] += token
        room -= len(token)
    return "\n".join(lines)
