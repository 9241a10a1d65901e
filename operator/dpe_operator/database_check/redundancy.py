# SPDX-License-Identifier: Apache-2.0
"""Whether a reference survives the loss of one database server, as far as its text tells.

A finding is stated only where the text alone proves it. A name that may be one machine, or as well
the listener of a group, stays unknown. Sources of the rules:

* SQL Server: MultiSubnetFailover for listeners and clusters, Failover Partner for mirroring
  (learn.microsoft.com, "SqlClient support for high availability, disaster recovery").
* PostgreSQL: several hosts and target_session_attrs (libpq, "Database Connection Control
  Functions"), targetServerType (pgJDBC); Services `-rw`, `-ro`, `-r` of CloudNativePG.
* Oracle: address lists, connect-time fail-over and FAILOVER_MODE (Net Services Reference); a SCAN
  is one name for a whole cluster.
* MySQL: several hosts (Connector/J "Multi-Host Connections", Connector/NET).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dpe_operator.database_check.connection import Connection
from dpe_operator.database_check.hosts import Host
from dpe_operator.database_check.report import Code, Likeness

_YES: Final = frozenset({"true", "yes", "1", "on"})
_NO: Final = frozenset({"false", "no", "0", "off"})
_PRIMARY: Final = frozenset({"readwrite", "primary", "master"})
_STANDBY: Final = frozenset(
    {"readonly", "standby", "secondary", "slave", "preferstandby", "prefersecondary", "preferslave"}
)
_DEFAULT_PORTS: Final = {
    "SQLServer": "1433",
    "PostgreSQL": "5432",
    "Oracle": "1521",
    "MySQL": "3306",
}
_DEFAULT_INSTANCE: Final = "mssqlserver"


def judge(connection: Connection | None, engine: str) -> Code:
    """Return what is known about the redundancy of a reference."""
    if engine not in _DEFAULT_PORTS:
        return "OtherEngine"
    if connection is None:
        return "NotUnderstood"
    if not connection.hosts:
        return "Alias"
    if connection.options.get("dnssrv", "").lower() in _YES:
        return "ServiceRecord"
    if all(host.is_local for host in connection.hosts):
        return "LocalHost"
    by_engine = {
        "SQLServer": _sql_server,
        "PostgreSQL": _postgresql,
        "Oracle": _oracle,
        "MySQL": _mysql,
    }
    return by_engine[engine](connection)


def _several(hosts: tuple[Host, ...]) -> bool:
    """Whether more than one machine is named: two ports of one host fall together."""
    return len({host.name for host in hosts}) > 1


def _sql_server(connection: Connection) -> Code:
    if connection.options.get("failoverpartner"):
        return "FailoverPartner"
    if connection.options.get("multisubnetfailover", "").lower() in _YES:
        return "MultiSubnetFailover"
    return "ListenerOrHost"


def _postgresql(connection: Connection) -> Code:
    services = {_service(host) for host in connection.hosts}
    target = _target(connection.options)
    if "replica" in services:
        return "ReadOnlyService"
    if target in _STANDBY:
        return "ReadOnlyTarget"
    if services == {"primary"}:
        return "PrimaryService"
    if not _several(connection.hosts):
        return "OneHost"
    return "SeveralHosts" if target in _PRIMARY else "AnyTarget"


def _target(options: Mapping[str, str]) -> str:
    for key in ("targetsessionattrs", "targetsessionattributes", "targetservertype"):
        if options.get(key):
            return options[key].lower().replace("-", "").replace("_", "")
    return ""


def _service(host: Host) -> str:
    """What CloudNativePG's Services are called: the first label of the name decides."""
    label = host.name.partition(".")[0]
    if label.endswith("-rw"):
        return "primary"
    return "replica" if label.endswith(("-ro", "-r")) else ""


def _oracle(connection: Connection) -> Code:
    options = connection.options
    if _several(connection.hosts):
        return "FailoverOff" if options.get("failover", "").lower() in _NO else "SeveralHosts"
    if options.get("failovermode"):
        return "FailoverMode"
    return "OneInstance" if options.get("sid") else "ScanOrHost"


def _mysql(connection: Connection) -> Code:
    return "SeveralHosts" if _several(connection.hosts) else "OneHost"


def compare(first: Connection | None, second: Connection | None, engine: str) -> Likeness:
    """Say whether two references name the same database.

    `Different` means by name: two names may still lead to one server, which only DNS knows.
    """
    if first is None or second is None:
        return "Unknown"
    if first.alias or second.alias:
        same = first.alias == second.alias and first.alias and first.database == second.database
        return "Same" if same else "Unknown"
    place = _place(first, second, _DEFAULT_PORTS.get(engine, ""))
    left, right = first.database.lower(), second.database.lower()
    if place == "Different" or (left and right and left != right):
        return "Different"
    # without a name the login decides, which is not read
    return place if left and right else "Unknown"


def _place(first: Connection, second: Connection, port: str) -> Likeness:
    """Whether a server is in common: one that is certain decides, then one that is possible."""
    found = {_server(one, other, port) for one in first.hosts for other in second.hosts}
    if "Same" in found:
        return "Same"
    return "Unknown" if "Unknown" in found else "Different"


def _server(one: Host, other: Host, default: str) -> Likeness:
    if _name(one) != _name(other):
        return "Different"
    # SQL Server looks the port of a named instance up by itself, and it may be any
    ports = [host.port or ("" if _instance(host) else default) for host in (one, other)]
    alike = _instance(one) == _instance(other)
    if all(ports) and ports[0] != ports[1]:
        return "Different"
    if any(ports):
        return "Same" if all(ports) and alike else "Unknown"
    return "Same" if alike else "Different"


def _name(host: Host) -> str:
    """The name, one for all of the machine itself; a socket in its file system keeps its own."""
    is_socket = host.name.startswith(("/", "@", "(localdb)"))
    return "localhost" if host.is_local and not is_socket else host.name


def _instance(host: Host) -> str:
    return "" if host.instance.lower() == _DEFAULT_INSTANCE else host.instance.lower()
