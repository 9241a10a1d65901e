# SPDX-License-Identifier: Apache-2.0
"""Health, workflow and job service of the simulated server on a real PostgreSQL, fault by fault."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.postgres import Postgres, running_postgres
from tests.support.simulated_site import Site
from tests.support.simulator import BASE, Simulated, eventually

from dpe_simulator.evidence import read_evidence

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.fixture
def site(postgres: Postgres, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(postgres, tmp_path, request.node.name[:60])
    yield made
    made.close()


def test_one_of_many_equal_workflows_is_made_whoever_is_asked(site: Site) -> None:
    site.add()
    site.add()
    wish = {"type": "copy", "title": "news", "jobs": [{"type": "audio", "seconds": 0}]}
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda number: site.ask("POST", "/workflow/instances", wish, server=number % 2),
                range(32),
            )
        )
    assert sorted({status for status, _ in answers}) == [201, 409]
    made = [json.loads(text)["instance"]["id"] for status, text in answers if status == 201]
    refused = [json.loads(text)["existing"]["id"] for status, text in answers if status == 409]
    assert len(made) == 1
    assert set(refused) == set(made)
    # Once it has ended, the title is free again: the rule covers overlap only.
    job = site.claim()
    assert job is not None
    assert site.end_job(job, server=1) == 200
    assert site.workflow(made[0])["state"] == "finished"
    assert site.create("news") != made[0]


def test_the_mark_turns_the_title_rule_off_and_placeholders_are_filled_in(site: Site) -> None:
    site.add()
    assert site.create("!0same", "audio") != site.create("!0same", "audio")
    first = site.workflow(site.create("%guid%", "audio"))
    assert first["title"] != site.workflow(site.create("%guid%", "audio"))["title"]
    number = site.create("n-%id%", "audio")
    assert site.workflow(number)["title"] == f"n-{number}"


def test_a_silent_processors_job_goes_to_another_one(site: Site) -> None:
    site.add("--lease", "300ms")
    number = site.create("news", "audio")
    lost = site.claim("p-1")
    assert lost is not None
    assert site.claim("p-2") is None
    assert site.end_job(lost, "heartbeat") == 200
    time.sleep(0.35)
    taken = site.claim("p-2")
    assert taken is not None
    assert (taken["id"], taken["attempt"]) == (lost["id"], 2)
    assert [site.end_job(lost, verb) for verb in ("heartbeat", "finish")] == [409, 409]
    # An answer was lost: the same words again change nothing.
    assert [site.end_job(taken), site.end_job(taken)] == [200, 200]
    assert site.workflow(number)["state"] == "finished"


def test_a_job_that_keeps_failing_fails_its_workflow(site: Site) -> None:
    site.add()
    number = site.create("news", "audio")
    for _ in range(3):
        job = site.claim()
        assert job is not None
        assert site.end_job(job, "fail") == 200
    assert site.claim() is None
    assert site.workflow(number)["state"] == "failed"


def test_jobs_that_end_at_once_on_both_servers_end_their_workflow(site: Site) -> None:
    site.add()
    site.add()
    for number in range(10):
        workflow = site.create(f"news-{number}", "audio", "audio")
        jobs = [site.claim(), site.claim()]
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(site.end_job, job or {}, server=i) for i, job in enumerate(jobs)]
            assert [one.result() for one in both] == [200, 200]
        assert site.workflow(workflow)["state"] == "finished"


def test_a_waiting_processor_is_notified(site: Site) -> None:
    site.add()
    site.ask("GET", "/ping")
    timer = threading.Timer(0.3, site.create, ("news", "audio"))
    timer.start()
    begun = time.monotonic()
    _, text = site.ask("GET", "/jobs/wait?type=audio&seconds=5")
    timer.join()
    assert json.loads(text)["notified"] is True
    assert 0.2 < time.monotonic() - begun < 2
    # Nobody rings for what is there already, so the server looks before it lets anybody wait.
    assert json.loads(site.ask("GET", "/jobs/wait?type=audio&seconds=5")[1])["notified"] is True
    assert json.loads(site.ask("GET", "/jobs/wait?type=video&seconds=0")[1])["notified"] is False


def test_wrong_requests_are_refused_with_a_reason(site: Site) -> None:
    site.add()
    wrong: list[tuple[str, str, object, int]] = [
        ("POST", "/workflow/instances", {"title": "x"}, 400),
        ("POST", "/workflow/instances", [1], 400),
        ("POST", "/jobs/1/finish", {}, 409),
        ("GET", "/workflow/instances/99", None, 404),
        ("GET", "/nothing", None, 404),
        ("POST", "/status", {}, 405),
        ("POST", "/simulator/faults", {"hang": True}, 403),
        ("GET", "/ping?seconds=-1", None, 400),
    ]
    for method, path, body, status in wrong:
        answer, text = site.ask(method, path, body)
        assert (path, answer) == (path, status)
        said = json.loads(text)
        assert (bool(said["error"]), said["member"]) == (True, "a")


def test_health_follows_the_core_database(site: Site, postgres: Postgres) -> None:
    site.add("--health-bound", "300ms")
    status, text = site.ask("GET", "/status")
    assert (status, text.split()[:2]) == (200, ["ok", "member=a"])
    time.sleep(0.15)  # an answer serves all checks within 100 ms
    postgres.freeze()
    try:
        begun = time.monotonic()
        assert [site.ask("GET", "/status")[0] for _ in range(2)] == [503, 503]
        assert site.ask("GET", "/ping")[0] == 200
        assert time.monotonic() - begun < 1.5
    finally:
        postgres.thaw()
    eventually(lambda: site.ask("GET", "/status")[0] == 200, what="health after the thaw")
    # What was collected for the ledger meanwhile is written now.
    eventually(lambda: ledgered(site, "/ping") == 1, what="the ledger after the thaw")


def ledgered(site: Site, path: str) -> int:
    with psycopg.connect(site.dsn) as session:
        row = session.execute(
            "SELECT count(*) FROM dpe_ledger WHERE kind = 'request' AND detail->>'path' = %s",
            (path,),
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_broken_connections_to_the_database_cost_nothing(site: Site, postgres: Postgres) -> None:
    site.add()
    for number in range(5):
        site.create(f"news-{number}")
        postgres.break_connections()
        assert site.ask("GET", "/status")[0] == 200


def test_a_server_waits_for_its_database_and_can_be_stopped_meanwhile(
    site: Site, postgres: Postgres
) -> None:
    server = site.add()
    assert site.ask("GET", "/status")[0] == 200
    waiting = site.add("--dsn", "host=127.0.0.1 port=1 user=dpe dbname=none")
    eventually(lambda: "waiting for the core database" in waiting.said, what="a word about waiting")
    assert waiting.end()[0] == 0
    assert server.process.poll() is None


def test_requests_in_flight_are_finished_before_the_end(site: Site) -> None:
    server = site.add("--drain", "300ms")
    assert site.ask("GET", "/ping")[0] == 200
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(site.ask, "GET", "/ping?seconds=1")
        waiting = pool.submit(site.ask, "GET", "/jobs/wait?type=audio&seconds=30")
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert site.ask("GET", "/status")[0] == 200  # still served while the balancer turns away
        assert slow.result()[0] == 200
        assert json.loads(waiting.result()[1])["notified"] is True
    assert server.wait()[0] == 0
    with psycopg.connect(site.dsn) as session:
        row = session.execute("SELECT detail FROM dpe_ledger WHERE kind = 'stop'").fetchone()
    assert row == ({"clean": True},)


def test_faults_are_switched_on_and_off(site: Site) -> None:
    site.add(DPE_SIMULATOR_FAULTS="1")

    def fault(**wish: object) -> None:
        assert site.ask("POST", "/simulator/faults", wish)[0] == 200

    fault(path="/status", body="broken")
    assert site.ask("GET", "/status") == (200, "broken")
    assert site.ask("GET", "/ping")[0] == 200
    fault(slowSeconds=0.3)
    begun = time.monotonic()
    assert site.ask("GET", "/ping")[0] == 200
    assert time.monotonic() - begun >= 0.3
    fault(hang=True)
    with pytest.raises(TimeoutError):
        site.ask("GET", "/status", within=0.3)
    fault()
    assert site.ask("GET", "/status")[1].startswith("ok ")


def processor(site: Site, name: str, *options: str) -> Simulated:
    url = f"http://127.0.0.1:{site.servers[0].port}{BASE}"
    return Simulated(site.folder, name, "processor", "--url", url, "--poll", "200ms", *options)


def claimed(site: Site) -> list[Any]:
    with psycopg.connect(site.dsn) as session:
        return session.execute("SELECT id FROM dpe_jobs WHERE state = 'running'").fetchall()


def test_a_killed_processors_job_is_done_by_another_one(site: Site) -> None:
    site.add("--lease", "600ms")
    number = site.create("news", "audio", seconds=1.0)
    with processor(site, "first") as first:
        eventually(lambda: bool(claimed(site)), what="the job's start")
        first.end(signal.SIGKILL)
    with processor(site, "second"):
        eventually(lambda: site.workflow(number)["state"] == "finished", what="the job's end")
    # Heartbeats kept the second one's job, which takes longer than the lease.
    assert [job["attempt"] for job in site.workflow(number)["jobs"]] == [2]


def test_a_stopped_processor_finishes_its_jobs_first(site: Site) -> None:
    site.add()
    number = site.create("news", "audio", "audio", "audio", seconds=0.8)
    with processor(site, "only", "--quota", "2") as only:
        eventually(lambda: len(claimed(site)) == 2, what="the start of as many jobs as the quota")
        assert only.end()[0] == 0, only.said
    assert [job["state"] for job in site.workflow(number)["jobs"]] == [
        "finished", "finished", "scheduled",
    ]  # fmt: skip


def test_a_job_longer_than_the_grace_is_left_and_said(site: Site) -> None:
    site.add()
    site.create("news", "audio", seconds=30.0)
    with processor(site, "only", "--grace", "300ms") as only:
        eventually(lambda: len(claimed(site)) == 1, what="the job's start")
        assert only.end(within=5)[0] == 1
    with psycopg.connect(site.dsn) as session:
        row = session.execute(
            "SELECT detail FROM dpe_ledger WHERE kind = 'stop' AND role = 'processor'"
        ).fetchone()
    assert row == ({"unfinished": 1},)


def test_a_stopped_client_prints_what_it_saw(site: Site) -> None:
    site.add()
    url = f"http://127.0.0.1:{site.servers[0].port}{BASE}"
    options = ("--url", url, "--seconds", "60s", "--rate", "50", "--json", "-", "--progress")
    with Simulated(site.folder, "client", "client", *options) as client:
        eventually(lambda: "a=" in client.said, what="a line of progress")
        status, output = client.end()
    seen = json.loads(output)
    assert status == 0
    assert 1 <= seen["seconds"] < 20
    assert set(seen["members"]) == {"a"}
    assert (seen["failedAfterRetries"], seen["switches"]) == (0, [])


def test_a_client_without_a_server_says_so_for_each_request(site: Site) -> None:
    options = ("--url", "http://127.0.0.1:1", "--no-retry", "--seconds", "300ms", "--json", "-")
    with Simulated(site.folder, "client", "client", *options) as client:
        seen = json.loads(client.wait()[1])
    assert seen["succeeded"] == 0
    counts = {kind: figures["requests"] for kind, figures in seen["classes"].items()}
    assert counts == {"keepAlive": 60, "slow": 1}  # what was planned, no more for being refused
    assert seen["errorKinds"] == {"refused": seen["requests"]}
    assert seen["errors"][0]["kind"] == "refused"


def test_evidence_is_of_one_moment_though_work_goes_on(site: Site) -> None:
    """A job that ends between the look at workflows and the one at jobs: none of the two hangs."""
    site.add()
    site.create("news", "audio")
    job = site.claim()
    assert job is not None

    class Session(psycopg.Connection[Any]):
        """Ends the job after the first look."""

        def execute(self, query: Any, *arguments: Any, **more: Any) -> Any:
            found = super().execute(query, *arguments, **more)
            if "FROM dpe_workflows\n" in str(query):
                assert site.end_job(job) == 200
            return found

    with Session.connect(site.dsn) as session:
        session.execute("SELECT 1")  # whoever reads the changes first has a transaction open
        seen = read_evidence(session, since=0.0)
    assert [one.state for one in seen.workflows] == [one.state for one in seen.jobs] == ["running"]
