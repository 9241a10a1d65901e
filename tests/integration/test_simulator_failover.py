# SPDX-License-Identifier: Apache-2.0
"""Two simulated servers over HTTPS, processors and clients under load: one server is killed."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.support.postgres import Postgres, running_postgres
from tests.support.simulator import BASE, FailoverAddress, Simulated, eventually

from dpe_simulator import checker
from dpe_simulator.certs import ServerNames, make_certificates
from dpe_simulator.evidence import read_evidence, read_lines

pytestmark = pytest.mark.integration
# The pauses of the default profile would be most of this test's time.
PROFILE = {"DPE_RETRY_INITIAL_BACKOFF": "50ms", "DPE_RETRY_MAX_BACKOFF": "200ms"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.mark.timeout(150)  # for a machine that builds something else meanwhile
def test_a_killed_server_costs_retries_and_no_work(postgres: Postgres, tmp_path: Path) -> None:
    dsn = postgres.new_database("failover")
    certificates = tmp_path / "certificates"
    make_certificates(certificates, ServerNames(["dpe.test"], ["127.0.0.1"]), days=2)
    tls = ("--cert", str(certificates / "tls.crt"), "--key", str(certificates / "tls.key"))
    common = ("--host", "127.0.0.1", "--port", "0", "--dsn", dsn, "--lease", "2s", *tls)
    with (
        # Both make the tables: they start at the same time.
        Simulated(tmp_path, "a", "server", "--member", "a", *common) as a,
        Simulated(tmp_path, "b", "server", "--member", "b", *common) as b,
        FailoverAddress(a.port, b.port) as address,
    ):
        url = f"https://127.0.0.1:{address.port}{BASE}"
        target = ("--url", url, "--ca", str(certificates / "ca.crt"))
        processor = ("processor", *target, "--quota", "3", "--poll", "300ms")
        with (
            Simulated(tmp_path, "audio", *processor, "--type", "audio", **PROFILE) as audio,
            Simulated(tmp_path, "video", *processor, "--type", "video", **PROFILE) as video,
            Simulated(
                tmp_path, "load", "client", *target, "--rate", "100", "--fresh", "10",
                "--connections", "9", "--seconds", "120s", "--json", "-", "--progress",
                "--records", "load.jsonl", **PROFILE,
            ) as load,
        ):  # fmt: skip
            eventually(lambda: "a=" in load.said, what="a second of load", seconds=20)
            with Simulated(
                tmp_path, "work", "client", *target, "--workflows", "60", "--job-type", "audio",
                "--job-type", "video", "--job-seconds", "200ms", "--json", "-",
                "--records", "work.jsonl", **PROFILE,
            ) as work:  # fmt: skip
                eventually(lambda: ended_jobs(dsn) > 0, what="some work", seconds=20)
                a.end(signal.SIGKILL)
                status, output = work.wait(within=60)
                assert status == 0, output + work.said
            figures = json.loads(output)
            assert (figures["finished"], figures["lost"], figures["doubled"]) == (60, 0, 0)
            eventually(lambda: "b=" in load.said, what="load on the other server", seconds=20)
            seen = json.loads(load.end()[1])
            assert [audio.end()[0], video.end()[0]] == [0, 0], audio.said + video.said
        assert b.end()[0] == 0, b.said

    assert seen["failedAfterRetries"] == 0, seen["errors"]
    # those in flight at that moment; at a hundred requests a second there may be none
    assert seen["failedWithoutRetry"] < seen["requests"] / 2
    assert [(one["from"], one["to"]) for one in seen["switches"]] == [("a", "b")]
    assert set(seen["classes"]) == {"keepAlive", "fresh", "slow"}
    assert seen["classes"]["keepAlive"]["longestGapMilliseconds"] < 3000
    # Sent as planned, whatever happened: 100 kept and 10 fresh ones a second.
    planned = seen["requests"] - seen["classes"]["slow"]["requests"]
    assert planned == pytest.approx(110 * seen["seconds"], rel=0.3)
    lines = read_lines([tmp_path / "load.jsonl", tmp_path / "work.jsonl"])
    with psycopg.connect(dsn) as session:
        evidence = read_evidence(session, since=0, client_lines=lines)
    assert (len(evidence.workflows), len(evidence.accepted)) == (60, 60)
    findings = checker.check(evidence, checker.Expectation(switches=1))
    assert [one for one in findings if one.kind != checker.LIMIT] == []
    assert_the_ledger_is_complete(evidence)


def ended_jobs(dsn: str) -> int:
    with psycopg.connect(dsn) as session:
        row = session.execute("SELECT count(*) FROM dpe_jobs WHERE state = 'finished'").fetchone()
    assert row is not None
    return int(row[0])


def assert_the_ledger_is_complete(evidence: checker.Evidence) -> None:
    kinds = [entry.kind for entry in evidence.entries]
    assert kinds.count("workflow-created") == kinds.count("workflow-finished") == 60
    assert kinds.count("job-finished") == 120
    assert kinds.count("job-executed") >= 120
    # The killed server could not say that it stopped; the other one and both processors did.
    assert (kinds.count("start"), kinds.count("stop")) == (4, 3)
    requests = {entry.request_id for entry in evidence.entries if entry.kind == "request"}
    served_by_b = [one for one in evidence.client_served if one.member == "b"]
    assert len(requests) > len(served_by_b) > 0


def test_the_check_command_judges_by_its_exit_status(postgres: Postgres, tmp_path: Path) -> None:
    dsn = postgres.new_database("judged")
    common = ("server", "--host", "127.0.0.1", "--port", "0", "--dsn", dsn)
    with Simulated(tmp_path, "a", *common, "--member", "a") as a:
        url = f"http://127.0.0.1:{a.port}{BASE}"
        with Simulated(
            tmp_path, "load", "client", "--url", url, "--seconds", "500ms", "--slow", "0"
        ) as load:
            assert load.wait()[0] == 0
        a.end()
    check = ("check", "--dsn", dsn, "--switches", "0", "--json", "-")
    with Simulated(tmp_path, "check", *check) as clean:
        status, output = clean.wait()
    assert (status, json.loads(output)["findings"]) == (0, [])
    with psycopg.connect(dsn) as session:  # a violation: one request to a member that is not active
        session.execute(
            "INSERT INTO dpe_ledger (process, seq, at, until, role, kind, member, request_id, detail)"
            " VALUES ('x', 1, now(), now(), 'server', 'request', 'b', 'r', '{\"status\": 200}')"
        )
    with Simulated(tmp_path, "check", *check) as faulty:
        status, output = faulty.wait()
    assert status == 1
    assert [one["rule"] for one in json.loads(output)["findings"]] == ["old-member"]


def test_certificates_are_renewed_by_the_same_authority(tmp_path: Path) -> None:
    names = ServerNames(["dpe.test"], ["127.0.0.1"])
    make_certificates(tmp_path, names, days=2)
    first = [(tmp_path / name).read_bytes() for name in ("ca.crt", "tls.crt")]
    make_certificates(tmp_path, names, days=2)
    second = [(tmp_path / name).read_bytes() for name in ("ca.crt", "tls.crt")]
    assert first[0] == second[0]
    assert first[1] != second[1]
    verify = ("openssl", "verify", "-CAfile", "ca.crt", "-verify_ip", "127.0.0.1", "tls.crt")
    subprocess.run(verify, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "tls.key").stat().st_mode & 0o077 == 0
