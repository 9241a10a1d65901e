# SPDX-License-Identifier: Apache-2.0
"""A mounted Secret: which keys it has, and what in it says where the database is.

Where nobody names the key, well-known ones are tried: what operators of databases put into their
Secrets (`uri`, `host`, `port`, `dbname`), and what people call a connection string.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dpe_operator.database_check.connection import (
    Connection,
    from_settings,
    normalised,
    read_connection,
)

_WHOLE: Final = (
    "connectionstring", "connstring", "connstr", "connection", "uri", "url", "databaseurl", "dsn",
    "jdbcuri", "jdbcurl", "jdbc", "odbc", "dburl", "dburi",
)  # fmt: skip
_PARTS: Final = frozenset({"host", "hostname", "server", "servername", "datasource", "hosts"})
_SUPPLEMENTS: Final[tuple[str, ...]] = (
    "port",
    "database",
    "dbname",
    "databasename",
    "initialcatalog",
)
# Nothing useful is longer, and a check must not be slowed down by one.
MAX_BYTES: Final = 65536


def keys_of(folder: Path) -> frozenset[str]:
    """Return the keys of the Secret mounted at `folder`; empty when there is none."""
    if not folder.is_dir():
        return frozenset()
    # kubelet keeps the data in hidden folders (`..data`) and links each key to it
    return frozenset(
        path.name for path in folder.iterdir() if not path.name.startswith("..") and path.is_file()
    )


def text_of(folder: Path, key: str) -> str | None:
    """Return a value as text; None when it is too long or no text."""
    data = (folder / key).read_bytes()
    if len(data) > MAX_BYTES:
        return None
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None


def values_of(folder: Path) -> dict[str, str]:
    """Return the values that are text, by key."""
    found = {key: text_of(folder, key) for key in sorted(keys_of(folder))}
    return {key: value for key, value in found.items() if value}


def connection_text(values: Mapping[str, str], key: str | None) -> str | None:
    """Return the connection string or host list, None when it is not clear which value it is.

    Args:
        values: the Secret's values.
        key: the key that the reference names, or None.
    """
    if key is not None:
        return values.get(key)
    by_name = {normalised(name): value for name, value in values.items()}
    for name in _WHOLE:
        if name in by_name:
            return by_name[name]
    if len(values) == 1 and not _PARTS & by_name.keys():
        return next(iter(values.values()))
    return None


def connection_of(values: Mapping[str, str], key: str | None, engine: str) -> Connection | None:
    """Return where the database is, None when that is not understood.

    A host list may have its port and database in keys beside it.
    """
    by_name = {normalised(name): value for name, value in values.items()}
    text = connection_text(values, key)
    if text is None and key is None:
        settings = _settings(by_name)
        return from_settings(settings, engine) if settings else None
    if text is None:
        return None
    if re.search(r"[=/;]", text):
        return read_connection(text, engine)
    beside = {name: by_name[name] for name in _SUPPLEMENTS if name in by_name}
    hosts = text if engine == "Oracle" else re.sub(r"\s+", ",", text)
    return from_settings({"host": hosts, **beside}, engine)


def has_connection(values: Mapping[str, str], key: str | None) -> bool:
    """Whether anything in the Secret looks like saying where the database is."""
    by_name = {normalised(name): value for name, value in values.items()}
    return connection_text(values, key) is not None or bool(_settings(by_name))


def _settings(by_name: Mapping[str, str]) -> dict[str, str]:
    """Settings that stand in keys of their own; empty without one that names hosts."""
    if not _PARTS & by_name.keys():
        return {}
    settings = dict(by_name)
    if "hosts" in settings:
        settings.setdefault("host", settings["hosts"])
    return settings
