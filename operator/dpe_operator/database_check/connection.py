# SPDX-License-Identifier: Apache-2.0
"""What a connection string says about where the database is, in any of the usual spellings.

Read are ADO.NET and ODBC (`key=value;`), JDBC URLs, libpq (URI and `key=value`), URIs of other
drivers, Oracle descriptors and EZConnect, and plain host lists. Users and passwords are skipped
while reading: they are in no object made here. Text that cannot be understood for certain gives
None, because a wrong guess would become a wrong finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, unquote

from dpe_operator.database_check import oracle, pairs
from dpe_operator.database_check.hosts import Host, split_hosts, with_ports

# Names of settings, in lower case without spaces, dashes and underscores.
_HOST_KEYS: Final = (
    "host", "server", "hostname", "servername", "datasource", "address", "addr", "networkaddress",
    "hostaddr",
)  # fmt: skip
_PORT_KEYS: Final = ("port", "portnumber")
_DATABASE_KEYS: Final = ("database", "dbname", "initialcatalog", "databasename")
_ALIAS_KEYS: Final = ("dsn", "filedsn", "service")
_OPTION_KEYS: Final = (
    "multisubnetfailover", "failoverpartner", "targetsessionattrs", "targetsessionattributes",
    "targetservertype", "dnssrv", "instance", "instancename",
)  # fmt: skip
# Oracle's ODBC drivers call it DBQ; elsewhere that is the path of a file.
_ORACLE_KEYS: Final = (*_HOST_KEYS, "dbq", "tnsservicename")
_URL: Final = re.compile(r"([a-z][a-z0-9+.:-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_USELESS: Final = re.compile(r"[^a-z0-9]")


@dataclass(frozen=True)
class Connection:
    """Where a database is.

    `alias`: the name of an entry in another file (DSN, TNS, service) that holds the hosts.
    `options` are the settings about fail-over, by normalised name.
    """

    hosts: tuple[Host, ...] = ()
    database: str = ""
    alias: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def normalised(name: str) -> str:
    """Return the name of a setting without what spellings differ in."""
    return _USELESS.sub("", name.lower())


def read_connection(text: str, engine: str) -> Connection | None:
    """Read a connection string or host list; None when it is not understood.

    Args:
        text: the value, as it stands in the Secret.
        engine: the engine of the reference, which decides between readings of the same text.
    """
    text = text.strip()
    if not text or "\0" in text:
        return None
    try:
        found = _read(text, engine)
    except ValueError:
        return None
    return found if found and (found.hosts or found.alias) else None


def _read(text: str, engine: str) -> Connection | None:
    if text.lower().startswith("jdbc:"):
        return _jdbc(text[len("jdbc:") :])
    match = _URL.fullmatch(text)
    if match and not (engine == "Oracle" and match[1].lower() in ("tcp", "tcps")):
        return _url(match[1].lower(), match[2])
    if engine == "Oracle" and ("=" not in text or text.startswith("(") or "=" not in _head(text)):
        return _from_oracle(text)
    if "=" in text:
        return _from_pairs(pairs.key_values(text), engine)
    return Connection(hosts=split_hosts(re.sub(r"[;\s]+", ",", text).strip(",")))


def _head(text: str) -> str:
    """What stands before the first bracket or question mark, where EZConnect has no `=`."""
    return re.split(r"[(?]", text, maxsplit=1)[0]


def _from_pairs(found: Sequence[tuple[str, str]] | None, engine: str) -> Connection | None:
    if found is None:
        return None
    return from_settings({normalised(key): value for key, value in found}, engine)


def from_settings(settings: Mapping[str, str], engine: str) -> Connection | None:
    """Make a connection of settings by normalised name; None when hosts are not understood."""
    try:
        return _from_settings(settings, engine)
    except ValueError:
        return None


def _from_settings(settings: Mapping[str, str], engine: str) -> Connection | None:
    where = _first(settings, _ORACLE_KEYS if engine == "Oracle" else _HOST_KEYS)
    options = {key: settings[key].strip() for key in _OPTION_KEYS if settings.get(key)}
    database = _first(settings, _DATABASE_KEYS)
    if not where:
        return Connection(alias=_first(settings, _ALIAS_KEYS), options=options, database=database)
    if engine == "Oracle":
        found = _from_oracle(where)
        port = _first(settings, _PORT_KEYS)
        return replace(found, hosts=with_ports(found.hosts, port)) if found and port else found
    hosts = with_ports(split_hosts(where), _first(settings, _PORT_KEYS))
    instance = options.get("instance") or options.get("instancename", "")
    if instance and len(hosts) == 1:
        hosts = (replace(hosts[0], instance=instance),)
    return Connection(hosts=hosts, database=database, options=options)


def _first(settings: Mapping[str, str], names: Iterable[str]) -> str:
    return next((settings[name].strip() for name in names if settings.get(name, "").strip()), "")


def _from_oracle(text: str) -> Connection | None:
    found = oracle.read(text)
    if found is None:
        return None
    return Connection(found.hosts, found.service, found.alias, found.options)


def _jdbc(text: str) -> Connection | None:
    if text.lower().startswith("oracle:"):
        # jdbc:oracle:thin:@..., or user/password@ with whatever a password may hold
        return _from_oracle(text.rpartition("@")[2]) if "@" in text else None
    match = _URL.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[2]
    if scheme.startswith(("sqlserver", "jtds")):
        return _semicolons(rest)
    return _url(scheme, rest)


def _semicolons(rest: str) -> Connection | None:
    """`host\\instance:port[/database];name=value;...`, as the drivers of SQL Server write it."""
    authority, _, properties = rest.partition(";")
    authority, _, path = authority.partition("/")
    found = pairs.semicolon_pairs(properties, quotes="{")
    if found is None:
        return None
    settings = {normalised(key): value for key, value in found}
    if authority:
        settings["host"] = authority
    if path:
        settings.setdefault("database", path)
    return _from_settings(settings, "SQLServer")


def _url(scheme: str, rest: str) -> Connection | None:
    rest = rest.partition("#")[0]
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    settings = {normalised(key): value for key, value in parse_qsl(query, keep_blank_values=True)}
    if authority:
        settings["host"] = unquote(_host_list(authority))
    if path:
        settings.setdefault("database", unquote(path))
    if "+srv" in scheme:
        settings["dnssrv"] = "true"
    return _from_settings(settings, "")


def _host_list(authority: str) -> str:
    """Turn `[h1,h2]`, `(host=h1,port=1),(...)` and `address=(host=h1)(port=1),...` into a list."""
    for key in ("host", "address"):
        found = re.findall(
            rf"\(\s*(?:[^()]*,\s*)?{key}\s*=\s*([^,()\s]+)", authority, re.IGNORECASE
        )
        if found:
            return ",".join(found)
    inner = authority[1:-1]
    if authority == f"[{inner}]" and "," in inner and "]" not in inner:
        return inner
    return authority
