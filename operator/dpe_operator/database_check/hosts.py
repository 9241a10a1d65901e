# SPDX-License-Identifier: Apache-2.0
"""Hosts of a connection string: name, port, and SQL Server's named instance."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_LOCAL: Final = frozenset({"localhost", "(local)", ".", "::1"})
_PROTOCOL: Final = re.compile(r"(tcp|np|lpc|admin|tcps):(?!\d+$)", re.IGNORECASE)
_HIGHEST_PORT: Final = 65535


@dataclass(frozen=True)
class Host:
    """One host, its name in lower case. `port` is empty where none is written."""

    name: str
    port: str = ""
    instance: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is the machine (here: the pod) itself, or a socket in its file system."""
        if self.name in _LOCAL or self.name.startswith(("/", "@", "(localdb)")):
            return True
        return self.name.startswith("127.") and _is_address(self.name)


def split_hosts(text: str) -> tuple[Host, ...]:
    """Read `h1,h2:1234`; a number after a comma is the port of the host before it (SQL Server).

    Raises:
        ValueError: something in it is no host.
    """
    found: list[Host] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        if part.isdecimal() and found and not found[-1].port:
            found[-1] = replace(found[-1], port=_port(part))
        else:
            found.append(read_host(part))
    return tuple(found)


def read_host(text: str) -> Host:
    """Read one host with what may stand around it: protocol, port, instance.

    Raises:
        ValueError: it is none.
    """
    text = _PROTOCOL.sub("", text.strip(), count=1)
    if text.startswith(("/", "@")) or text.lower().startswith("(localdb)"):
        return Host(text.lower())
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        if not _is_address(name) or (rest and not rest.startswith(":")):
            raise ValueError("not an address in brackets")
        return Host(str(ipaddress.ip_address(name)), _port(rest[1:]))
    if text.count(":") > 1 and _is_address(text):
        return Host(str(ipaddress.ip_address(text)))
    name, backslash, instance = text.partition("\\")
    if backslash:
        instance, _, port = instance.partition(":")
    else:
        name, _, port = name.partition(":")
    if name.lower() not in _LOCAL and not _NAME.fullmatch(name):
        raise ValueError("not a host name")
    return Host(name.lower().rstrip(".") or ".", _port(port), instance.strip().lower())


def with_ports(hosts: tuple[Host, ...], ports: str) -> tuple[Host, ...]:
    """Give hosts the ports of a list beside theirs: one for all, or one for each.

    Raises:
        ValueError: the list does not fit.
    """
    numbers = [_port(part.strip()) for part in ports.split(",")] if ports else []
    if len(numbers) == 1:
        numbers *= len(hosts)
    if not numbers:
        return hosts
    if len(numbers) != len(hosts):
        raise ValueError("not as many ports as hosts")
    return tuple(
        host if host.port else replace(host, port=number)
        for host, number in zip(hosts, numbers, strict=True)
    )


def _port(text: str) -> str:
    if text and (not text.isdecimal() or not 0 < int(text) <= _HIGHEST_PORT):
        raise ValueError("not a port")
    return str(int(text)) if text else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
