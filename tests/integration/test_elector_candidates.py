# SPDX-License-Identifier: Apache-2.0
"""Candidates on real processes: fit or not, ready or not, and what their record tells of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import Site, ask, until
from tests.support.ports import free_port

pytestmark = pytest.mark.integration

QUICK = ("--lease-duration", "3", "--renew-deadline", "1.9", "--retry-period", "0.5")


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


def record(site: Site) -> dict[str, Any]:
    found = site.client.get(f"{site.leases}/x")["metadata"]["annotations"]
    return dict(json.loads(found["dpe.dev/elector-record"]))


def test_a_candidate_without_its_command_is_not_ready_and_leaves_the_lease_to_others(
    site: Site, tmp_path: Path
) -> None:
    port, program = free_port(), tmp_path / "watcher"
    flags = (*QUICK, "--probe-port", str(port))
    first = site.pod("a", *flags, command=[str(program)]).start()
    said = (503, f"{program} is not there, or cannot be used\n")
    until(lambda: ask(port, "/readyz") == said)
    assert ask(port, "/livez") == (200, "ok\n"), "a restart would not bring it"
    second = site.pod("b", *QUICK).start()
    until(lambda: second.acting)
    assert site.lease()["leaseTransitions"] == 1, "it was free, and not taken"
    program.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(1000)\n")
    program.chmod(0o755)
    until(lambda: ask(port, "/readyz") == (200, "ok\n"), why="ready while standing by")
    second.terminate()
    until(lambda: site.lease()["leaseTransitions"] == 2)
    assert site.lease()["holderIdentity"].startswith("uid-a_")
    assert not first.ended


def test_what_else_the_command_needs_counts_too(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    pod = site.pod("a", *QUICK, "--needs", str(folder), "--needs", "sh").start()
    until(lambda: f"{folder} is not there" in pod.log.read_text())
    assert site.lease().get("holderIdentity", "") == ""
    folder.mkdir()
    until(lambda: pod.acting)
    assert record(site)["since"] == site.lease()["acquireTime"][:19] + "Z"


def test_a_single_run_without_its_command_says_so(site: Site) -> None:
    pod = site.pod("a", *QUICK, "--once", "--once-deadline", "1", command=["/no/such/copy"]).start()
    assert pod.wait() == 127
    assert "gave up: /no/such/copy is not there" in pod.log.read_text()
    assert site.lease().get("holderIdentity", "") == ""


def test_a_command_that_ends_again_and_again_on_both_sides_is_a_crash_loop(site: Site) -> None:
    for name in "ab":
        site.pod(name, *QUICK, command=["/bin/sh", "-c", "exit 3"]).start()
    until(lambda: "ends" in record(site))
    until(lambda: record(site).get("crashLooping"), seconds=30, why="five ends")
    found = record(site)
    assert {status for _, _, status in found["ends"]} == {3}
    assert {pod for _, pod, _ in found["ends"]} == {"a", "b"}


def test_ends_that_were_asked_for_are_no_failures(site: Site) -> None:
    first = site.pod("a", *QUICK).start()
    until(lambda: first.acting)
    second = site.pod("b", *QUICK).start()
    until(lambda: second.role()["role"] == "standby")
    first.terminate()
    until(lambda: second.acting)
    site.edit(holderIdentity="a-stranger")
    until(lambda: site.lease()["leaseTransitions"] == 3, seconds=20)
    assert "ends" not in record(site)
