# SPDX-License-Identifier: Apache-2.0
"""Oracle's ways to name a database: descriptor, EZConnect, or an alias of tnsnames.ora."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from dpe_operator.database_check.hosts import Host, split_hosts

_PART: Final = re.compile(r"\(\s*([A-Za-z_]+)\s*=\s*(\"[^\"]*\"|[^()]*)")
_ALIAS: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.$#-]*")
_PROTOCOL: Final = re.compile(r"(?:tcps?:)?//", re.IGNORECASE)
_WITH_SID: Final = re.compile(r"(\[[^\]]+\]|[^:/,;\s]+):(\d+):([A-Za-z0-9_$#.-]+)")
_SERVER_TYPE: Final = re.compile(r":(dedicated|shared|pooled)$", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """What an Oracle connect identifier says. Options: `sid`, `failover`, `failovermode`."""

    hosts: tuple[Host, ...] = ()
    service: str = ""
    alias: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def read(text: str) -> Target | None:
    """Read a connect identifier; None when it is not understood.

    Raises:
        ValueError: a host in it is none.
    """
    text = text.strip()
    if text.startswith("("):
        return _descriptor(text)
    if "@" in text:  # user/password@..., as in sqlplus
        text = text.rpartition("@")[2]
        if text.startswith("("):
            return _descriptor(text)
    with_sid = _WITH_SID.fullmatch(text)
    if with_sid:
        hosts = split_hosts(f"{with_sid[1]}:{with_sid[2]}")
        return Target(hosts, with_sid[3], options={"sid": with_sid[3]})
    if _ALIAS.fullmatch(text):
        return Target(alias=text.lower())
    return _easy(text)


def _easy(text: str) -> Target | None:
    """EZConnect: `//host1:1521,host2/service:dedicated/instance?name=value`."""
    text = _PROTOCOL.sub("", text, count=1).partition("?")[0]
    where, _, path = text.partition("/")
    service, _, instance = path.partition("/")
    hosts = split_hosts(where.replace(";", ","))
    if not hosts or any(mark in service for mark in " =()"):
        return None
    options = {"sid": instance} if instance else {}
    return Target(hosts, _SERVER_TYPE.sub("", service), options=options)


def _descriptor(text: str) -> Target | None:
    bare = re.sub(r'"[^"]*"', "", text)
    if bare.count("(") != bare.count(")") or not text.endswith(")"):
        return None
    addresses: list[dict[str, str]] = []
    options: dict[str, str] = {}
    service = ""
    for key, raw in _PART.findall(text):
        name, value = key.upper(), raw.strip().strip('"')
        if name == "ADDRESS":
            addresses.append({})
        elif name in ("HOST", "PORT") and addresses:
            addresses[-1][name] = value
        elif name in ("SERVICE_NAME", "SID"):
            service = value
        if name in ("SID", "FAILOVER", "FAILOVER_MODE", "INSTANCE_NAME"):
            known = {"INSTANCE_NAME": "sid", "FAILOVER_MODE": "failovermode"}
            options[known.get(name, name.lower())] = value or "set"
    found = [f"{entry['HOST']}:{entry['PORT']}" if entry.get("PORT") else entry["HOST"]
             for entry in addresses if entry.get("HOST")]  # fmt: skip
    return Target(split_hosts(",".join(found)), service, options=options) if found else None
