# SPDX-License-Identifier: Apache-2.0
"""The codes of the database check as sentences. Nothing else of its result reaches a condition."""

from collections.abc import Iterable
from typing import Final

from dpe_operator.builders.database_check import CheckedReference
from dpe_operator.database_check.report import Seen

_SENTENCES: Final[dict[str, str]] = {
    # good
    "SeveralHosts": "several hosts are named",
    "MultiSubnetFailover": "a listener is named (MultiSubnetFailover)",
    "FailoverPartner": "a fail-over partner is named",
    "PrimaryService": "a Service that follows the primary is named (-rw)",
    "FailoverMode": "sessions fail over (FAILOVER_MODE)",
    # findings
    "OneHost": (
        "one host is named, and nothing says that it fails over: name all hosts of the fail-over"
        " cluster (PostgreSQL: with target_session_attrs=read-write), or a Service that follows the"
        " primary. If the name is an address that moves, all is well, but its text does not tell"
    ),
    "LocalHost": (
        "localhost is named, which in a pod is the pod itself: write the address of the fail-over"
        " cluster"
    ),
    "ReadOnlyService": (
        "a Service of standbys is named (-ro or -r), which take no writes: write the one that ends"
        " in -rw"
    ),
    "ReadOnlyTarget": (
        "a standby is asked for, which takes no writes: write target_session_attrs=read-write"
        " (JDBC: targetServerType=primary)"
    ),
    "AnyTarget": (
        "several hosts are named and the first that answers is taken, a standby too: add"
        " target_session_attrs=read-write (JDBC: targetServerType=primary)"
    ),
    "FailoverOff": "several addresses are named with FAILOVER=off: write FAILOVER=on",
    "OneInstance": (
        "one instance is named by its SID: write a SERVICE_NAME that moves with the database, with"
        " all addresses or the cluster's SCAN"
    ),
    # cannot be known
    "ListenerOrHost": (
        "one server is named, which may be the listener of an availability group or a single"
        " machine: add MultiSubnetFailover=True if it is a listener"
    ),
    "ScanOrHost": "one host is named, which may be a SCAN or a single machine",
    "Alias": "an entry of another file is named (DSN, TNS or service), which cannot be seen",
    "ServiceRecord": "a DNS record is named that lists the hosts, which is not looked up",
    "OtherEngine": "connection strings of engine Other are not read",
    "NotUnderstood": "the connection string is not understood",
    "NoConnection": ("no entry is known to hold a connection string: name it in connectionKey"),
    "Missing": "the Secret or its connection string is not there yet",
}


def label(name: str) -> str:
    """Return a reference's name for a sentence: `core of a`, `content news`."""
    kind, _, rest = name.partition("/")
    if not rest:
        return kind
    return f"core of {rest}" if kind == "core" else f"content {rest}"


def described(found: Iterable[tuple[CheckedReference, Seen]]) -> str:
    """Return what the codes say, references with the same code in one sentence."""
    by_code: dict[str, list[str]] = {}
    for asked, seen in found:
        by_code.setdefault(seen.code, []).append(label(asked.name))
    return "; ".join(
        f"{', '.join(names)}: {_SENTENCES.get(code, code)}" for code, names in by_code.items()
    )


def missing(asked: CheckedReference, seen: Seen) -> str:
    """Return what is missing of one reference and what to do; empty if nothing is."""
    who = label(asked.name)
    if not seen.found:
        return f"{who}: Secret {asked.secret} is not there, or is empty: create it"
    if not seen.missing:
        return ""
    keys = ", ".join(asked.reference.keys[number] for number in seen.missing)
    return f"{who}: Secret {asked.secret} has no entry {keys}: add it, or name another key"
