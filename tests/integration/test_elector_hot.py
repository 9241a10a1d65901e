# SPDX-License-Identifier: Apache-2.0
"""Hot mode on real processes and a real API server: the command lives on, only the role moves."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import LEASES, Pod, Site, ask, boot, until
from tests.support.ports import free_port

pytestmark = pytest.mark.integration

HOT = ("--mode", "hot")


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease(None)
    yield made
    made.close()


def pair(site: Site, *flags: str, **more: Any) -> tuple[Pod, Pod]:
    """Return the holder and the standby, both with a command that runs."""
    first = site.pod("a", *HOT, *flags, **more).start()
    until(first.holds)
    second = site.pod("b", *HOT, *flags, **more).start()
    until(lambda: second.role()["role"] == "standby" and second.acting)
    return first, second


def test_a_new_lease_is_taken_at_once_and_both_commands_run(site: Site) -> None:
    began = boot()
    first, second = pair(site)
    assert boot() - began < 5
    until(lambda: first.acting and second.acting)
    role = second.role()
    assert role["holder"] == first.role()["identity"] == site.lease()["holderIdentity"]
    assert (role["epoch"], first.role()["epoch"]) == (0, 1)
    assert role["lease"] == "x"


def test_sigterm_releases_before_the_command_is_stopped(site: Site) -> None:
    first, second = pair(site, at_term="1")
    first.terminate()
    until(second.holds, seconds=3)
    taken = boot()
    assert first.wait() == 0
    # the command went on for its second after the other had taken the Lease
    assert first.acts("end")[-1].at > taken
    released = until(lambda: first.acts("sigterm"))[0].at
    assert abs(taken - released) < 0.6
    assert second.role()["epoch"] == 2


def processor_seconds(*pids: int) -> float:
    """Processor time that processes have used so far, in user and system mode."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids]
    ticks = sum(int(one[11]) + int(one[12]) for one in fields)
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_command_that_takes_its_time_to_end_is_waited_for_asleep(site: Site) -> None:
    """Guard and elector told each other the same for as long as connections drained: met as a
    machine of two processors that had no time for anything else, 30 s long."""
    first, second = pair(site, at_term="4")
    waiting = (first.guard, first.elector)
    first.terminate()
    until(second.holds, seconds=3)
    until(lambda: first.acts("sigterm"))
    before = processor_seconds(*waiting)
    time.sleep(2)
    assert processor_seconds(*waiting) - before < 0.4
    assert first.wait() == 0


def test_sigterm_with_the_api_server_gone_stops_after_three_seconds(site: Site) -> None:
    first, _ = pair(site)
    site.proxies["a"].cut()
    asked = boot()
    first.terminate()
    assert first.wait() == 0
    assert 1.0 < first.acts("sigterm")[0].at - asked < 4.0


def test_a_command_that_exits_hands_over_at_once_and_is_started_again(site: Site) -> None:
    first, second = pair(site)
    exited = boot()
    first.end_command()
    until(second.holds, seconds=3)
    assert boot() - exited < 1.0
    until(lambda: len(first.acts("start")) == 2)
    assert first.acts("start")[1].at - exited < 1.0
    until(lambda: first.role()["role"] == "standby")


def test_a_killed_elector_does_not_touch_the_command(site: Site) -> None:
    first, second = pair(site)
    for _ in range(2):
        before = first.role()["epoch"]
        killed = first.elector
        os.kill(killed, signal.SIGKILL)
        until(lambda: first.elector != killed)  # noqa: B023 - called at once
        until(first.holds)
        until(lambda: first.role()["epoch"] == before + 1)  # noqa: B023 - called at once
    assert len(first.acts("start")) == 1
    assert second.role()["role"] == "standby"


def test_a_new_elector_takes_back_no_role_before_it_has_read_the_lease(site: Site) -> None:
    """The balancer's agent would take that for the end of the Lease, and have all clients connect
    anew."""
    first, _ = pair(site)
    site.proxies["a"].cut()
    os.kill(first.elector, signal.SIGKILL)
    role = first.role()
    while boot() < role["validUntil"] - 0.2:
        assert first.role()["role"] == "holder"
        time.sleep(0.01)
    until(lambda: first.role()["role"] == "unknown", seconds=3)


def test_a_hung_elector_is_replaced(site: Site) -> None:
    first, second = pair(site)
    hung = first.elector
    os.kill(hung, signal.SIGSTOP)
    until(second.holds, seconds=10)
    assert not first.holds()
    until(lambda: first.elector != hung, seconds=20)
    until(lambda: first.role()["role"] == "standby")
    until(lambda: first.acting)
    assert len(first.acts("start")) == 1


def test_an_outage_of_the_api_server_ends_the_role_and_not_the_command(site: Site) -> None:
    first, second = pair(site)
    for proxy in site.proxies.values():
        proxy.cut()
    until(lambda: first.role()["role"] == "unknown")
    until(lambda: second.role()["role"] == "unknown")
    time.sleep(1)
    for proxy in site.proxies.values():
        proxy.heal()
    until(lambda: first.holds() or second.holds())
    assert [len(pod.acts("start")) for pod in (first, second)] == [1, 1]


def test_a_holder_that_is_cut_off_gives_up_the_role_before_the_other_takes_it(site: Site) -> None:
    first, second = pair(site)
    cut = boot()
    site.proxies["a"].cut()
    until(lambda: not first.holds())
    lost = boot()
    until(second.holds)
    assert lost - cut < 4.5 < boot() - cut < 7.5
    until(lambda: first.acting)


def test_somebody_else_may_lift_the_epoch(site: Site) -> None:
    first, _ = pair(site)
    site.edit(leaseTransitions=41)
    until(lambda: first.role()["epoch"] == 41 and first.holds())
    assert site.lease()["leaseTransitions"] == 41


def test_a_command_that_is_not_ready_leaves_the_lease_to_others(site: Site, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    port = free_port()
    first = site.pod("a", *HOT, "--ready-file", str(ready), "--probe-port", str(port)).start()
    until(lambda: first.acting)
    until(lambda: ask(port, "/readyz") == (503, "the command is not ready\n"))
    time.sleep(0.7)
    assert not site.lease().get("holderIdentity")
    ready.touch()
    until(first.holds, seconds=2)
    until(lambda: ask(port, "/readyz")[0] == 200)
    # nobody touches the file any more
    until(lambda: ask(port, "/readyz")[0] == 503)
    assert first.holds(), "a holder that is not ready keeps the Lease: its command decides"


def test_probes_and_metrics(site: Site) -> None:
    port = free_port()
    first = site.pod("a", *HOT, "--probe-port", str(port)).start()
    until(first.holds)
    until(lambda: ask(port, "/readyz") == (200, "ok\n"))
    assert ask(port, "/livez") == (200, "ok\n")
    assert ask(port, "/else")[0] == 404
    status, text = until(lambda: (found := ask(port, "/metrics"))[0] and found)
    assert status == 200
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert values['dpe_elector_holder{lease="x"}'] == "1"
    assert values['dpe_elector_epoch{lease="x"}'] == "1"
    assert values['dpe_elector_takeovers_total{lease="x"}'] == "1"
    assert values['dpe_elector_command_starts_total{lease="x"}'] == "1"
    assert float(values['dpe_elector_renew_seconds_count{lease="x"}']) >= 1
    assert 0 < float(values['dpe_elector_renew_last_seconds{lease="x"}']) < 2
    assert float(values['dpe_elector_contact_age_seconds{lease="x"}']) < 2


def test_an_api_server_that_stops_and_comes_back(tmp_path: Path) -> None:
    """Exclusive and hot side by side, a restart of 4 s: with Safe timings nothing happens at
    all."""
    with ApiServer() as server:
        site = Site(server, server.create_namespace(), tmp_path)
        try:
            site.create_lease()
            path = LEASES.format(site.namespace)
            site.client.post(path, {"metadata": {"name": "y"}, "spec": {}})
            single = site.pod("single", "--profile", "Safe").start()
            hot = site.pod("hot", *HOT, "--lease", "y").start()
            until(lambda: single.acting and hot.holds())
            server.stop()
            time.sleep(4)
            until(lambda: single.acting and hot.acting)
            server.start()
            until(lambda: single.role()["validUntil"] > boot() + 8, seconds=20)
            until(hot.holds)
            assert [len(pod.acts("start")) for pod in (single, hot)] == [1, 1]
            assert single.role()["epoch"] == 1
        finally:
            site.close()


def test_the_rights_of_a_balancer_are_enough(site: Site, tmp_path: Path) -> None:
    """get, watch, update on the one Lease by name, nothing else."""
    server, namespace = site.server, site.namespace
    token_file = tmp_path / "token"
    token_file.write_text(server.service_account_token(namespace, "balancer"))
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["x"],
        "verbs": ["get", "watch", "update"],
    }
    subject = {"kind": "ServiceAccount", "name": "balancer", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "balancer"}
    metadata = {"name": "balancer"}
    for kind, body in (
        ("roles", {"metadata": metadata, "rules": [rule]}),
        ("rolebindings", {"metadata": metadata, "subjects": [subject], "roleRef": reference}),
    ):
        status, answer = server.request("POST", f"{rbac}/{kind}", body)
        assert status == 201, answer
    first = site.pod("a", *HOT, token_file=token_file).start()
    until(first.holds)
    second = site.pod("b", *HOT, token_file=token_file).start()
    until(lambda: second.role()["role"] == "standby" and second.acting)
    time.sleep(1)
    exited = boot()
    first.end_command()
    until(second.holds)
    assert boot() - exited < 0.45, "the watch wakes it well before its retry period of 0.5 s"
