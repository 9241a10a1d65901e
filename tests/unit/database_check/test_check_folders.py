# SPDX-License-Identifier: Apache-2.0
"""The check over folders as kubelet mounts them, and the command as the Job runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_operator.database_check import report
from dpe_operator.database_check.check import run_check
from dpe_operator.database_check.redundancy import compare
from dpe_operator.database_check.reference import Reference, references_of
from dpe_operator.database_check.report import Report, Seen, decode, encode
from dpe_operator.database_check.secrets import connection_of

ROOT = Path(__file__).parents[3]
RW = "postgresql://dpe:Zq9Secret@radio-core-rw:5432/core"


def mount(root: Path, number: int, data: dict[str, str | bytes] | None) -> None:
    """Lay a Secret out as kubelet does: data in a dated folder, links to it (None: optional and
    not there, which is the same without any link)."""
    folder = root / str(number)
    dated = folder / "..2026_11_22"
    dated.mkdir(parents=True)
    (folder / "..data").symlink_to(dated.name)
    for key, value in (data or {}).items():
        (dated / key).write_bytes(value if isinstance(value, bytes) else value.encode())
        (folder / key).symlink_to(Path("..data") / key)


def see(tmp_path: Path, reference: Reference, data: dict[str, str | bytes] | None) -> Seen:
    mount(tmp_path, 0, data)
    return run_check((reference,), tmp_path).seen[0]


def test_a_missing_secret(tmp_path: Path) -> None:
    asked = Reference("PostgreSQL", ("uri", "password"))
    assert see(tmp_path, asked, None) == Seen(False, (0, 1), "Missing")


def test_missing_keys_by_position(tmp_path: Path) -> None:
    asked = Reference("PostgreSQL", ("uri", "password", "ca.crt"), "uri")
    assert see(tmp_path, asked, {"uri": RW, "user": "x"}) == Seen(True, (1, 2), "PrimaryService")


def test_a_missing_connection_key(tmp_path: Path) -> None:
    assert see(tmp_path, Reference("PostgreSQL", ("dsn",), "dsn"), {"uri": RW}).code == "Missing"


@pytest.mark.parametrize(
    ("data", "engine", "code"),
    [
        ({"username": "u", "password": "p", "host": "db-rw", "port": "5432", "dbname": "core",
          "uri": RW, "jdbc-uri": "jdbc:postgresql://db-rw:5432/core", "pgpass": "db-rw:5432:core:u:p"},
         "PostgreSQL", "PrimaryService"),
        ({"host": "db", "port": "5432", "dbname": "core", "password": "p"}, "PostgreSQL", "OneHost"),
        ({"hosts": "my1,my2", "port": "3306"}, "MySQL", "SeveralHosts"),
        ({"ConnectionString": "Server=ag;MultiSubnetFailover=True"}, "SQLServer",
         "MultiSubnetFailover"),
        ({"anything": "Server=a;Failover Partner=b"}, "SQLServer", "FailoverPartner"),
        ({"user": "u", "password": "p"}, "SQLServer", "NoConnection"),
        ({"user": "u", "password": "p"}, "Other", "OtherEngine"),
        ({"uri": b"\xff\xfe\x00"}, "PostgreSQL", "NoConnection"),
        ({"uri": "x" * 70000}, "PostgreSQL", "NoConnection"),
        ({"uri": "\ufeff" + RW + "\n"}, "PostgreSQL", "PrimaryService"),
    ],
)  # fmt: skip
def test_where_the_database_is_found(
    tmp_path: Path, data: dict[str, str | bytes], engine: str, code: str
) -> None:
    assert see(tmp_path, Reference(engine), data).code == code


def test_a_host_list_with_port_and_database_beside_it() -> None:
    values = {"hosts": "pg1, pg2:5433", "port": "5432", "database": "core"}
    found = connection_of(values, "hosts", "PostgreSQL")
    assert found is not None and found.database == "core"
    assert [(host.name, host.port) for host in found.hosts] == [("pg1", "5432"), ("pg2", "5433")]


@pytest.mark.parametrize(
    ("first", "second", "likeness"),
    [
        (RW, RW, "Same"),
        ("host=db dbname=core user=a", "postgresql://b:c@DB.:5432/core", "Same"),
        ("host=db dbname=core", "host=db dbname=core2", "Different"),
        ("host=db1 dbname=core", "host=db2 dbname=core", "Different"),
        ("host=db port=5432 dbname=core", "host=db port=5433 dbname=core", "Different"),
        ("host=a,b dbname=core", "host=b,c dbname=core", "Same"),
        ("host=db", "host=db dbname=core", "Unknown"),
        ("host=db user=core_a", "host=db user=core_b", "Unknown"),
        ("host=127.0.0.1 dbname=core", "host=localhost dbname=core", "Same"),
        ("service=one", "service=two", "Unknown"),
        ("service=one", "service=one user=x", "Same"),
        ("?=?", "host=db", "Unknown"),
        ("?=?", "?=?", "Same"),
    ],
)
def test_the_same_database_twice(tmp_path: Path, first: str, second: str, likeness: str) -> None:
    mount(tmp_path, 0, {"uri": first})
    mount(tmp_path, 1, {"uri": second})
    asked = tuple(Reference("PostgreSQL", ("uri",), "uri", compared=True) for _ in range(2))
    assert run_check(asked, tmp_path).likeness == likeness
    mirrored = run_check(tuple(reversed(asked)), tmp_path)
    assert mirrored.likeness == likeness


def test_named_instances_of_one_machine_are_two_databases() -> None:
    first = connection_of({"c": r"Server=sql\A;Database=core"}, None, "SQLServer")
    second = connection_of({"c": r"Server=sql\B;Database=core"}, None, "SQLServer")
    assert compare(first, second, "SQLServer") == "Different"
    assert compare(first, first, "SQLServer") == "Same"


@pytest.mark.parametrize(
    ("first", "second", "likeness"),
    [
        ("Server=sql1;", "Server=sql1;User=x", "Unknown"),  # the login's own database
        (r"Server=sql1\CORE;Database=d", "Server=sql1,50123;Database=d", "Unknown"),
        (r"Server=sql1\CORE;Database=d", "Server=sql1;Database=d", "Unknown"),
        (r"Server=sql1\CORE;Database=d", r"Server=sql1\CORE,50123;Database=d", "Unknown"),
        (r"Server=sql1\A,50123;Database=d", r"Server=sql1\B,50123;Database=d", "Unknown"),
        (r"Server=sql1\CORE;Database=d", "Server=sql1,50123;Database=e", "Different"),
        (r"Server=sql1\CORE;Database=d", r"Server=SQL1\core;Database=D", "Same"),
        (r"Server=sql1\CORE;Database=d", r"Server=sql2\CORE;Database=d", "Different"),
        ("Server=sql1;Database=d", r"Server=sql1\MSSQLSERVER;Database=d", "Same"),
        ("Server=sql1;Database=d", "Server=sql1,1433;Database=d", "Same"),
        ("Server=sql1;Database=d", "Server=sql1,50123;Database=d", "Different"),
        ("Server=.;Database=d", "Server=localhost;Database=d", "Same"),
        ("Server=(local);Database=d", "Server=127.0.0.1,1433;Database=d", "Same"),
        (r"Server=.\X;Database=d", "Server=localhost,50123;Database=d", "Unknown"),
        (r"Server=(localdb)\a;Database=d", r"Server=(localdb)\b;Database=d", "Different"),
    ],
)
def test_servers_that_may_be_one(first: str, second: str, likeness: str) -> None:
    one, other = [connection_of({"c": text}, None, "SQLServer") for text in (first, second)]
    assert compare(one, other, "SQLServer") == likeness
    assert compare(other, one, "SQLServer") == likeness


def test_one_reference_is_not_compared(tmp_path: Path) -> None:
    mount(tmp_path, 0, {"uri": RW})
    assert run_check((Reference("PostgreSQL", compared=True),), tmp_path).likeness is None


CODES = sorted(report.GOOD | report.FINDINGS | report.UNKNOWN)
SEEN = st.builds(
    Seen,
    st.booleans(),
    st.lists(st.integers(0, 999), max_size=8, unique=True).map(tuple),
    st.sampled_from(CODES),
)
REPORTS = st.builds(
    Report,
    st.lists(SEEN, max_size=22).map(tuple),
    st.sampled_from([None, "Same", "Different", "Unknown"]),
)


@given(REPORTS)
def test_reports_survive_the_way_and_fit(made: Report) -> None:
    text = encode(made)
    assert decode(text) == made
    assert len(text) < report.MAX_BYTES


@given(
    st.text()
    | st.from_type(type(None) | bool | int | float | list[int] | dict[str, int]).map(json.dumps)
)
def test_what_is_no_report_is_none(text: str) -> None:
    assert decode(text) is None


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"seen": None}, {"seen": [[1, [], "Server=db;Password=x"]]}, {"seen": [[2, [], "OneHost"]]},
        {"seen": [[1, ["uri"], "OneHost"]]}, {"seen": [[1, [-1], "OneHost"]]}, {"seen": [[1, [True], "OneHost"]]},
        {"seen": [[1, []]]}, {"likeness": "Password=x"}, {"likeness": []},
        {"seen": [[1, [0, 0], "OneHost"]]}, {"seen": [[1, list(range(9)), "OneHost"]]},
    ],
)  # fmt: skip
def test_a_text_of_its_own_does_not_pass(change: dict[str, object]) -> None:
    body = json.loads(encode(Report((Seen(True, (), "OneHost"),))))
    assert decode(json.dumps({**body, **change})) is None


def test_deep_nesting_is_no_report() -> None:
    assert decode("[" * 4096) is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no"])
def test_references_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        references_of(text)


def test_references_survive_the_way() -> None:
    asked = (Reference("MySQL", ("a", "b"), "a", True), Reference("Other"))
    assert references_of(json.dumps([entry.to_data() for entry in asked])) == asked


def command(tmp_path: Path, references: str, **options: str) -> tuple[int, str, str]:
    """Run the command as a process; return exit status, what it printed, and its result."""
    result = tmp_path / "termination-log"
    result.touch()
    done = subprocess.run(
        [sys.executable, "-m", "dpe_operator", "database-check", "--references", references,
         "--root", options.get("root", str(tmp_path)), "--result", str(result)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, result.read_text()


def test_the_command_says_codes_and_nothing_of_a_secret(tmp_path: Path) -> None:
    mount(tmp_path, 0, {"uri": RW, "password": "Zq9Secret"})
    mount(tmp_path, 1, {"conn": "Server=Zq9Host;Password=Zq9Secret", "x": "Zq9Secret"})
    mount(tmp_path, 2, None)
    asked = [
        Reference("PostgreSQL", ("uri",), "uri", True),
        Reference("SQLServer", ("conn", "none"), "conn", True),
        Reference("Other", ("y",)),
    ]
    status, printed, result = command(tmp_path, json.dumps([a.to_data() for a in asked]))
    assert status == 0, printed
    assert printed == "3 references checked\n"
    assert decode(result) == Report(
        (
            Seen(True, (), "PrimaryService"),
            Seen(True, (1,), "ListenerOrHost"),
            Seen(False, (0,), "Missing"),
        ),
        "Different",
    )
    assert not re.search("Zq9|radio-core|uri|conn", printed + result)


@pytest.mark.parametrize("references", ["", "x", '{"a": 1}', "[1]"])
def test_the_command_used_wrongly(tmp_path: Path, references: str) -> None:
    status, printed, result = command(tmp_path, references)
    assert (status, result) == (2, "") and "--references" in printed


def test_an_error_prints_its_type_only(tmp_path: Path) -> None:
    mount(tmp_path, 0, {"uri": RW})
    result = tmp_path / "is-a-folder"
    result.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "dpe_operator", "database-check", "--references",
         '[{"engine": "PostgreSQL"}]', "--root", str(tmp_path), "--result", str(result)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "dpe-operator: the check failed (IsADirectoryError)\n"


def test_the_reference_page_explains_every_code() -> None:
    page = (ROOT / "docs/reference/database-check.md").read_text()
    assert [
        code for code in report.GOOD | report.FINDINGS | report.UNKNOWN if f"`{code}`" not in page
    ] == []
