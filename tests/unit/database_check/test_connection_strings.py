# SPDX-License-Identifier: Apache-2.0
"""Connection strings in the spellings people use, read to the hosts they name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_operator.database_check.connection import Connection, read_connection
from dpe_operator.database_check.hosts import Host
from dpe_operator.database_check.redundancy import judge
from dpe_operator.database_check.report import FINDINGS, GOOD, UNKNOWN

TNS = (
    "(DESCRIPTION=(FAILOVER={failover})(ADDRESS_LIST=(ADDRESS=(PROTOCOL=TCP)(HOST=ora1)(PORT=1521))"
    "(ADDRESS=(PROTOCOL=TCP)(PORT=1522)(HOST=ora2)))(CONNECT_DATA=(SERVICE_NAME=dpe)))"
)
ONE_TNS = (
    "(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=scan.studio.example)(PORT=1521))"
    "(CONNECT_DATA=({data})))"
)

# engine, connection string, hosts as name:port, code
READ = [
    # SQL Server: a listener cannot be told from a host, the keywords can
    ("SQLServer", "Server=sql1;Database=DpeCore;User Id=dpe;Password=x", "sql1", "ListenerOrHost"),
    ("SQLServer", "Server=tcp:ag.studio.example,1433;Initial Catalog=DpeCore;MultiSubnetFailover=True",
     "ag.studio.example:1433", "MultiSubnetFailover"),
    ("SQLServer", "Server=ag;MultiSubnetFailover=False", "ag", "ListenerOrHost"),
    ("SQLServer", "Data Source=A\\DPE;Failover Partner=B\\DPE;Integrated Security=SSPI", "a",
     "FailoverPartner"),
    ("SQLServer", 'Server=sql1;Password="a;Server=evil;""b";MultiSubnetFailover=yes', "sql1",
     "MultiSubnetFailover"),
    ("SQLServer", "Driver={ODBC Driver 18 for SQL Server};Server=ag,1433;PWD={a;}}b};"
     "MultiSubnetFailover=Yes", "ag:1433", "MultiSubnetFailover"),
    ("SQLServer", "DSN=DpeCore;UID=dpe;PWD=x", "", "Alias"),
    ("SQLServer", "Server=(local);Database=DpeCore", "(local)", "LocalHost"),
    ("SQLServer", r"Server=.\SQLEXPRESS;Database=DpeCore", ".", "LocalHost"),
    ("SQLServer", r"Server=(localdb)\MSSQLLocalDB", r"(localdb)\mssqllocaldb", "LocalHost"),
    ("SQLServer", "jdbc:sqlserver://ag:1433;databaseName=DpeCore;multiSubnetFailover=true",
     "ag:1433", "MultiSubnetFailover"),
    ("SQLServer", "jdbc:sqlserver://;serverName=sql1;failoverPartner=sql2;password={a;b}", "sql1",
     "FailoverPartner"),
    ("SQLServer", r"jdbc:sqlserver://sql1\DPE;databaseName=core", "sql1", "ListenerOrHost"),
    ("SQLServer", "jdbc:jtds:sqlserver://sql1:1433/core;user=dpe", "sql1:1433", "ListenerOrHost"),
    ("SQLServer", "mssql+pyodbc://u:p@ag:1433/core?MultiSubnetFailover=Yes", "ag:1433",
     "MultiSubnetFailover"),
    ("SQLServer", "ag.studio.example,1433", "ag.studio.example:1433", "ListenerOrHost"),
    # PostgreSQL: several hosts and the one that writes, or CloudNativePG's Service
    ("PostgreSQL", "postgresql://dpe:x@radio-core-rw.db:5432/core", "radio-core-rw.db:5432",
     "PrimaryService"),
    ("PostgreSQL", "host=radio-core-rw port=5432 dbname=core password='it''s'", None,
     "NotUnderstood"),
    ("PostgreSQL", r"host=radio-core-rw port=5432 dbname=core password='it\'s host=evil'",
     "radio-core-rw:5432", "PrimaryService"),
    ("PostgreSQL", "postgresql://dpe:x@radio-core-ro:5432/core", "radio-core-ro:5432",
     "ReadOnlyService"),
    ("PostgreSQL", "postgresql://dpe:x@radio-core-r.db.svc/core", "radio-core-r.db.svc",
     "ReadOnlyService"),
    ("PostgreSQL", "postgresql://dpe:x@pg1:5432,pg2:5433/core?target_session_attrs=read-write",
     "pg1:5432,pg2:5433", "SeveralHosts"),
    ("PostgreSQL", "postgres:///core?host=pg1,pg2&port=5432&target_session_attrs=primary",
     "pg1:5432,pg2:5432", "SeveralHosts"),
    ("PostgreSQL", "host=pg1,pg2 port=5432,5433 target_session_attrs=read-write",
     "pg1:5432,pg2:5433", "SeveralHosts"),
    ("PostgreSQL", "host=pg1,pg2 port=1,2,3 target_session_attrs=read-write", None,
     "NotUnderstood"),
    ("PostgreSQL", "host=pg1,pg2 dbname=core", "pg1,pg2", "AnyTarget"),
    ("PostgreSQL", "host=pg1,pg2 target_session_attrs=any", "pg1,pg2", "AnyTarget"),
    ("PostgreSQL", "host=pg1,pg2 target_session_attrs=prefer-standby", "pg1,pg2",
     "ReadOnlyTarget"),
    ("PostgreSQL", "host=pg1,pg1 port=5432,5433 target_session_attrs=read-write",
     "pg1:5432,pg1:5433", "OneHost"),
    ("PostgreSQL", "Host=pg1,pg2;Port=5432;Target Session Attributes=primary;Password=a b",
     "pg1:5432,pg2:5432", "SeveralHosts"),
    ("PostgreSQL", "jdbc:postgresql://pg1,pg2:5433/core?targetServerType=primary",
     "pg1,pg2:5433", "SeveralHosts"),
    ("PostgreSQL", "jdbc:postgresql://pg1/core", "pg1", "OneHost"),
    ("PostgreSQL", "postgresql://[2001:db8::1]:5432,[2001:db8::2]/c?target_session_attrs=primary",
     "2001:db8::1:5432,2001:db8::2", "SeveralHosts"),
    ("PostgreSQL", "host=/var/run/postgresql dbname=core", "/var/run/postgresql", "LocalHost"),
    ("PostgreSQL", "host=127.0.0.1 dbname=core", "127.0.0.1", "LocalHost"),
    ("PostgreSQL", "service=dpe-core", "", "Alias"),
    # Oracle: address lists; one name may be a SCAN
    ("Oracle", TNS.format(failover="ON"), "ora1:1521,ora2:1522", "SeveralHosts"),
    ("Oracle", TNS.format(failover="off"), "ora1:1521,ora2:1522", "FailoverOff"),
    ("Oracle", f"Data Source={TNS.format(failover='ON')};User Id=dpe;Password=x",
     "ora1:1521,ora2:1522", "SeveralHosts"),
    ("Oracle", ONE_TNS.format(data="SERVICE_NAME=dpe"), "scan.studio.example:1521", "ScanOrHost"),
    ("Oracle", ONE_TNS.format(data="SID=DPE1"), "scan.studio.example:1521", "OneInstance"),
    ("Oracle", ONE_TNS.format(data="SERVICE_NAME=dpe)(FAILOVER_MODE=(TYPE=select)(METHOD=basic)"),
     "scan.studio.example:1521", "FailoverMode"),
    ("Oracle", "jdbc:oracle:thin:@//ora1:1521/dpe", "ora1:1521", "ScanOrHost"),
    ("Oracle", "jdbc:oracle:thin:dpe/p@ss@ora1:1521:DPE1", "ora1:1521", "OneInstance"),
    ("Oracle", "tcps://ora1:2484,ora2:2484/dpe?wallet_location=/w", "ora1:2484,ora2:2484",
     "SeveralHosts"),
    ("Oracle", "DPECORE", "", "Alias"),
    ("Oracle", "dpe/secret@DPECORE", "", "Alias"),
    ("Oracle", "Driver={Oracle};DBQ=DPECORE;UID=dpe;PWD=x", "", "Alias"),
    # MySQL: several hosts, in four spellings
    ("MySQL", "jdbc:mysql://my1:3306,my2:3306/core", "my1:3306,my2:3306", "SeveralHosts"),
    ("MySQL", "jdbc:mysql://address=(host=my1)(port=3306),address=(host=my2)(port=3306)/core",
     "my1,my2", "SeveralHosts"),
    ("MySQL", "jdbc:mysql://(port=3306,host=my1),(host=my2,port=3306)/core", "my1,my2",
     "SeveralHosts"),
    ("MySQL", "mysqlx://dpe:x@[(address=my1, priority=90),(address=my2, priority=80)]/core",
     "my1,my2", "SeveralHosts"),
    ("MySQL", "jdbc:mariadb:sequential://my1,my2/core", "my1,my2", "SeveralHosts"),
    ("MySQL", "Server=my1,my2;Port=3306;Database=core;Uid=dpe;Pwd=x", "my1:3306,my2:3306",
     "SeveralHosts"),
    ("MySQL", "mysql://dpe:x@my1/core", "my1", "OneHost"),
    ("MySQL", "jdbc:mysql+srv://_mysql._tcp.db.example/core", "_mysql._tcp.db.example",
     "ServiceRecord"),
    ("MySQL", "my1 my2", "my1,my2", "SeveralHosts"),
    # neither guessed nor judged
    ("Other", "Server=db1", "db1", "OtherEngine"),
    ("PostgreSQL", "postgresql://dpe:pa/ss@pg1,pg2/core", None, "NotUnderstood"),
    ("PostgreSQL", "password=x", None, "NotUnderstood"),
    ("SQLServer", 'Server=sql1;Password="never closed', None, "NotUnderstood"),
    ("SQLServer", "just some words", "just,some,words", "ListenerOrHost"),
    ("SQLServer", "Server=a b;Database=c", None, "NotUnderstood"),
    ("SQLServer", "", None, "NotUnderstood"),
]  # fmt: skip


def written(host: Host) -> str:
    return f"{host.name}:{host.port}" if host.port else host.name


@pytest.mark.parametrize(("engine", "text", "hosts", "code"), READ)
def test_read_and_judged(engine: str, text: str, hosts: str | None, code: str) -> None:
    found = read_connection(text, engine)
    assert (None if found is None else ",".join(map(written, found.hosts))) == hosts
    assert judge(found, engine) == code


def test_every_code_is_of_one_sort() -> None:
    assert not GOOD & FINDINGS and not (GOOD | FINDINGS) & UNKNOWN
    assert {code for *_, code in READ} == (GOOD | FINDINGS | UNKNOWN) - {"NoConnection", "Missing"}


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,4})?(\.[a-z]{1,6}){0,2}", fullmatch=True)
PORTS = st.integers(1, 65535).map(str)
HOSTS = st.lists(st.tuples(NAMES, PORTS), min_size=1, max_size=4)
# anything a password may hold, white space at its ends apart
SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def listed(hosts: list[tuple[str, str]]) -> str:
    return ",".join(f"{name}:{port}" for name, port in hosts)


def expected(hosts: list[tuple[str, str]]) -> tuple[Host, ...]:
    return tuple(Host(name, port) for name, port in hosts)


def ado(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def odbc(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"


def libpq(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def percent(value: str) -> str:
    return "".join(f"%{byte:02X}" for byte in value.encode())


@given(HOSTS, SECRETS)
def test_a_password_never_changes_what_is_read(hosts: list[tuple[str, str]], secret: str) -> None:
    names = ",".join(name for name, _ in hosts)
    ports = ",".join(port for _, port in hosts)
    texts = [
        f"Password={ado(secret)};Host={listed(hosts)};Database=core",
        f"Driver={{PostgreSQL}};PWD={odbc(secret)};Server={listed(hosts)};Database=core",
        f"password={libpq(secret)} host={names} port={ports} dbname=core",
        f"postgresql://dpe:{percent(secret)}@{listed(hosts)}/core",
        f"jdbc:postgresql://{listed(hosts)}/core?password={percent(secret)}",
    ]
    for text in texts:
        found = read_connection(text, "PostgreSQL")
        assert found is not None, text
        assert found.hosts == expected(hosts), text
        assert found.database == "core", text


@given(HOSTS, SECRETS)
def test_nothing_read_holds_the_password(hosts: list[tuple[str, str]], secret: str) -> None:
    marked = f"{secret}Zq9Marker"
    for text in (
        f"Password={ado(marked)};Server={listed(hosts)};User Id=dpe",
        f"password={libpq(marked)} host={hosts[0][0]}",
        f"mysql://dpe:{percent(marked)}@{listed(hosts)}/core",
    ):
        assert "Zq9Marker" not in repr(read_connection(text, "MySQL"))


@given(HOSTS, st.sampled_from(["", "(LOAD_BALANCE=yes)", "(FAILOVER=on)"]))
def test_oracle_addresses(hosts: list[tuple[str, str]], setting: str) -> None:
    addresses = "".join(
        f"(ADDRESS = (PROTOCOL = TCP)\n (HOST = {name})(PORT = {port}))" for name, port in hosts
    )
    text = (
        f"(DESCRIPTION = {setting}(ADDRESS_LIST = {addresses})(CONNECT_DATA = (SERVICE_NAME = d)))"
    )
    found = read_connection(text, "Oracle")
    assert found is not None and found.hosts == expected(hosts)
    assert (judge(found, "Oracle") == "SeveralHosts") == (len({name for name, _ in hosts}) > 1)


PIECES = st.lists(
    st.sampled_from(
        ["host", "Server", "=", ";", "'", '"', "{", "}", "(", ")", "[", "]", "@", "/", "//", ":",
         "jdbc:", "oracle:", "sqlserver://", "postgresql://", "HOST", "ADDRESS", ",", "\\", " ",
         "?", "&", "%", "db1", "1433", "\n", "é", "::1", "-rw"]
    ),
    max_size=14,
).map("".join)  # fmt: skip


@given(
    PIECES | st.text(max_size=80),
    st.sampled_from(["SQLServer", "PostgreSQL", "Oracle", "MySQL", "Other"]),
)
def test_any_text_gets_a_code(text: str, engine: str) -> None:
    found = read_connection(text, engine)
    assert found is None or isinstance(found, Connection)
    assert judge(found, engine) in GOOD | FINDINGS | UNKNOWN


@given(st.sampled_from("({[\"'\\="), st.integers(1, 4000))
def test_long_hostile_text_is_read_quickly(mark: str, count: int) -> None:
    for text in (mark * count, f"Server={mark * count}", f"(ADDRESS=(HOST={mark * count}"):
        read_connection(text, "Oracle")
        read_connection(text, "SQLServer")
