# SPDX-License-Identifier: Apache-2.0
"""What the agent promises beside the fail-over itself: record, API outages, ends, certificates."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import CALM, Balancer, Site, running_site
from tests.support.balancer_load import load
from tests.support.balancer_parts import until

from dpe_balancer.agent import SHORT_LIVES
from dpe_operator.builders.haproxy import MemberAddress, Timings, TlsMode

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def terminate(own_api: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("terminate")
    with running_site(own_api, folder, "Terminate", timings=CALM) as made:
        yield made


def metric(port: int, name: str) -> float:
    """One figure from a metrics page on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def served_serial(site: Site, balancer: Balancer) -> int:
    """Serial number of the certificate that clients are shown."""
    context = site.pki.client_context()
    with (
        socket.create_connection(("127.0.0.1", balancer.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="dpe.test") as secure,
    ):
        found = secure.getpeercert()
    assert found is not None
    return int(str(found["serialNumber"]), 16)


def test_first_start_takes_the_first_member_that_is_up(own_api: ApiServer, tmp_path: Path) -> None:
    site = Site(own_api, tmp_path, "None")
    with contextlib.closing(site):
        site.members["b"].start()
        balancer = site.add_balancer(holder=True, epoch=3)
        standby = site.add_balancer(holder=False, epoch=0)
        until(site.routed, 10, "published")
        notes = site.notes()
        assert (notes["active-member"], notes["switch-count"], notes["epoch"]) == ("b", "0", "3")
        assert notes["member-states"] == '{"a":"DOWN","b":"UP"}'
        assert "last-switch" not in notes
        until(balancer.ready, 5, "ready")
        until(standby.ready, 5, "the standby follows and is ready")
        found = site.slice()
        ports = {(port["name"], port["port"], port["protocol"]) for port in found["ports"]}
        assert ports == {(name, balancer.port, "TCP") for name in ("https", "http")}
        assert found["endpoints"] == [
            {
                "addresses": ["10.1.0.1"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": "node-1",
                "targetRef": {
                    "kind": "Pod",
                    "name": "balancer-1",
                    "namespace": site.namespace,
                    "uid": "uid-balancer-1",
                },
                "zone": "zone-1",
            }
        ]
        # a page with the right status and the wrong text counts as down
        site.members["a"].start()
        until(lambda: "DOWN" not in site.notes()["member-states"], 5, "a is up")
        site.members["b"].sicken()
        assert site.switched(0)["cause"] == "MemberDown"
        assert metric(balancer.metrics_port, "dpe_balancer_switches_total") == 1
        assert metric(balancer.metrics_port, 'dpe_balancer_member_active{member="a"}') == 1
        assert metric(balancer.stats_port, "haproxy_process_start_time_seconds") > 0
        # nothing more to say: nothing is written
        until(lambda: site.notes()["member-states"] == '{"a":"UP","b":"DOWN"}', 5, "b is down")
        time.sleep(1)
        version = site.slice()["metadata"]["resourceVersion"]
        time.sleep(1.5)
        assert site.slice()["metadata"]["resourceVersion"] == version


def test_fail_over_without_the_api_server(terminate: Site, own_api: ApiServer) -> None:
    site = terminate
    site.settle()
    count, old, balancer = site.count(), site.active(), site.balancers[0]
    port = balancer.port
    with load(lambda: port, site.pki.client_context()) as clients:
        with own_api.pause():
            # the elector cannot renew, so the role runs out; clients are routed here all the same
            balancer.role(holder=True, epoch=1, seconds=0.5)
            time.sleep(1)
            begin = time.monotonic()
            old.kill()
            time.sleep(2)
            figures = clients.between(begin)
            print(f"\nAPI server away, active killed  {figures}")
        assert site.count() == count
        balancer.role(holder=True, epoch=2)
        switch = site.switched(count)
    assert switch["from"] == old.name
    assert figures.gap < 1.5
    assert figures.answered[site.active().name] > 0
    assert site.notes()["epoch"] == "2"


def test_agent_started_anew_without_the_api_server(terminate: Site, own_api: ApiServer) -> None:
    site = terminate
    site.settle()
    if site.active().name == "a":
        count = site.count()
        site.annotate(switch_request=f"b@{count}")
        site.switched(count)
    balancer = site.balancers[0]
    haproxy = balancer.haproxy_pid()
    with own_api.pause():
        balancer.kill()
        until(lambda: not Path(f"/proc/{haproxy}").exists(), 2, "HAProxy ends with its agent")
        balancer.start()
        port = balancer.port
        until(balancer.ready, 8, "ready with what was kept")
        with load(lambda: port, site.pki.client_context()) as clients:
            begin = time.monotonic()
            time.sleep(0.5)
            figures = clients.between(begin)
        print(f"\nagent started without API server  {figures}")
    assert set(figures.answered) == {"b"}
    until(lambda: site.routed() is balancer, 5, "routed")
    assert site.active().name == "b"


def test_record_of_a_higher_epoch_is_not_overwritten(terminate: Site) -> None:
    site, balancer = terminate, terminate.balancers[0]
    site.settle()
    own = int(site.notes()["epoch"])
    # somebody else holds the Lease: whatever role.json still says, nothing may be written
    site.patch_lease({"holderIdentity": "somebody-else", "leaseTransitions": own})
    site.annotate(epoch="500")
    time.sleep(1.2)
    assert site.lease()["spec"]["leaseTransitions"] == own
    assert site.notes()["epoch"] == "500"
    # the Lease was restored from an old copy and is ours: first it is lifted, then we write
    site.patch_lease({"holderIdentity": balancer.identity})
    until(lambda: site.lease()["spec"]["leaseTransitions"] == 501, 5, "the Lease's epoch is lifted")
    assert site.notes()["epoch"] == "500"
    balancer.role(holder=True, epoch=501)
    until(lambda: site.notes()["epoch"] == "501", 5, "recorded under the lifted epoch")


def test_foreign_edits_are_put_right(terminate: Site) -> None:
    site = terminate
    site.settle()
    active = site.active().name
    site.annotate(active_member="nobody", switch_count="x", last_switch="{", switch_request="@@")
    until(lambda: site.notes()["active-member"] == active, 5, "the record is right again")
    site.delete_slice("radio-balancer")
    site.create_slice()
    until(site.routed, 5, "published in a new slice")
    assert site.active().name == active
    site.annotate(switch_request=None)


def test_renewed_certificate_is_served_without_a_lost_request(terminate: Site) -> None:
    site, balancer = terminate, terminate.balancers[0]
    site.settle()
    before = metric(balancer.metrics_port, "dpe_balancer_certificate_renewals_total")
    with load(lambda: balancer.port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        pid = balancer.haproxy_pid()
        site.pki.sign("tls", "dpe.test", 77)
        until(lambda: served_serial(site, balancer) == 77, 5, "the renewed certificate is served")
        time.sleep(0.5)
        figures = clients.between(begin)
        print(f"\ncertificate renewed  {figures}")
    assert figures.failed == 0
    assert balancer.haproxy_pid() == pid
    assert metric(balancer.metrics_port, "dpe_balancer_certificate_renewals_total") == before + 1
    # a broken one is refused, the good one goes on
    good = (site.pki.folder / "tls.key").resolve()
    kept = good.read_text()
    good.write_text((site.pki.folder / "ca.key").read_text())
    failures = "dpe_balancer_certificate_failures_total"
    until(lambda: metric(balancer.metrics_port, failures) == 1, 5, "the wrong key is refused")
    assert served_serial(site, balancer) == 77
    good.write_text(kept)


def test_both_down_is_a_clear_answer_and_no_switch(terminate: Site) -> None:
    site, balancer = terminate, terminate.balancers[0]
    site.settle()
    count, active = site.count(), site.active()
    site.standby().kill()
    until(lambda: "DOWN" in site.notes()["member-states"], 5, "standby down")
    active.kill()
    until(lambda: site.notes()["member-states"] == '{"a":"DOWN","b":"DOWN"}', 5, "both down")
    connection = http.client.HTTPSConnection(
        "localhost", balancer.port, timeout=5, context=site.pki.client_context()
    )
    with contextlib.closing(connection):
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.status == 503
        assert answer.getheader("Retry-After") == "1"
        assert "No DPE Server answers" in answer.read().decode()
    assert site.count() == count


def test_hung_haproxy_is_ended_and_the_agent_gives_up(terminate: Site) -> None:
    balancer = terminate.balancers[0]
    terminate.settle()
    haproxy = balancer.haproxy_pid()
    os.kill(haproxy, signal.SIGSTOP)
    assert balancer.process is not None
    begin = time.monotonic()
    assert balancer.process.wait(30) == 1  # 3 s of silence; the rest is for a busy machine
    print(f"\nhung HAProxy noticed after {time.monotonic() - begin:.1f} s")
    assert not Path(f"/proc/{haproxy}").exists()
    assert not balancer.ready()
    assert "hangs" in balancer.log.read_text()


def test_haproxy_that_does_not_stay_up_is_given_up(own_api: ApiServer, tmp_path: Path) -> None:
    """The agent ends and says why; its elector gives the Lease back then, and the other serves."""
    killed: set[int] = set()
    between_two_lives = (OSError, StopIteration)
    with running_site(own_api, tmp_path, "Terminate", timings=CALM) as site:
        balancer = site.balancers[0]
        site.settle()
        assert balancer.process is not None
        begin = time.monotonic()
        while balancer.process.poll() is None and time.monotonic() - begin < 30:
            with contextlib.suppress(*between_two_lives):
                if (pid := balancer.haproxy_pid()) not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.01)
        assert balancer.process.wait(5) == 1
        said = balancer.log.read_text()
    assert f"HAProxy ended {SHORT_LIVES} times right after its start" in said
    assert SHORT_LIVES <= len(killed) <= SHORT_LIVES + 2, "it was started again until then"


@pytest.mark.parametrize("mode", ["Passthrough", "Terminate"])
def test_stopping_makes_before_it_breaks(mode: TlsMode, own_api: ApiServer, tmp_path: Path) -> None:
    changes = {"drain_seconds": 2, "timings": CALM}
    with running_site(own_api, tmp_path / mode, mode, balancers=2, **changes) as site:
        old, new = site.balancers
        active = site.active()
        with load(site.routed_port, site.pki.client_context()) as clients:
            begin = time.monotonic()
            # the elector's order: the Lease is given back, then the agent gets its SIGTERM
            old.role(holder=False, epoch=1)
            assert old.process is not None
            old.process.terminate()
            time.sleep(0.3)
            new.role(holder=True, epoch=2)
            until(lambda: site.routed() is new, 5, "the other balancer publishes itself")
            assert old.process.wait(10) == 0
            took = time.monotonic() - begin
            time.sleep(0.5)
            figures = clients.between(begin)
            print(f"\n{mode:11} routed balancer stopped, ended after {took:.1f} s  {figures}")
    assert set(figures.answered) == {active.name}
    assert figures.lost == 0
    assert figures.worst <= (1 if mode == "Passthrough" else 0)


@pytest.mark.parametrize("active", ["a", "b"])
def test_no_attempt_strays_to_the_standby(
    active: str, own_api: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An attempt that fails while the active member counts as up is repeated there only.

    With one backend for both members HAProxy repeats it at the first one it lists.
    """
    folder = tmp_path_factory.mktemp("stray")
    patient = Timings(fall=50, connect_ms=100)
    with running_site(own_api, folder, "Terminate", timings=patient) as site:
        if site.active().name != active:
            site.annotate(switch_request=f"{active}@0")
            site.switched(0)
        site.members[active].kill()
        connection = http.client.HTTPSConnection(
            "localhost", site.balancers[0].port, timeout=10, context=site.pki.client_context()
        )
        with contextlib.closing(connection):
            for _ in range(3):
                connection.request("GET", "/")
                answer = connection.getresponse()
                assert (answer.status, answer.read()[:6]) == (503, b"No DPE")
        assert site.active().name == active


class NameServer:
    """Answers every A question with `address`; None: says that there is no such name."""

    def __init__(self) -> None:
        self.address: str | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, client = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        kind = struct.unpack("!H", query[end - 4 : end - 2])[0]
        found = self.address if kind == 1 else None
        code = 0x8180 if self.address else 0x8183
        head = query[:2] + struct.pack("!HHHHH", code, 1, 1 if found else 0, 0, 0)
        answer = head + query[12:end]
        if found:
            answer += struct.pack("!HHHIH", 0xC00C, 1, 1, 1, 4) + socket.inet_aton(found)
        return answer

    def close(self) -> None:
        self._socket.close()


def test_external_member_is_looked_up_again(own_api: ApiServer, tmp_path: Path) -> None:
    names = NameServer()
    servers = (("127.0.0.1", names.port),)
    site = Site(own_api, tmp_path, "Passthrough", name_servers=servers, timings=CALM)
    first, second = site.settings.members
    outside = MemberAddress("b", 2, "dpe2.studio.test", second.port, dns=True)
    object.__setattr__(site.settings, "members", (first, outside))
    with contextlib.closing(names), contextlib.closing(site):
        for member in site.members.values():
            member.start()
        balancer = site.add_balancer(holder=True, epoch=1)
        until(site.routed, 10, "published with a name that does not exist yet")
        assert site.notes()["member-states"] == '{"a":"UP","b":"DOWN"}'
        names.address = "127.0.0.9"
        time.sleep(1.5)
        assert site.notes()["member-states"] == '{"a":"UP","b":"DOWN"}'
        names.address = "127.0.0.1"
        until(lambda: site.notes()["member-states"] == '{"a":"UP","b":"UP"}', 15, "found again")
        count = site.count()
        site.members["a"].kill()
        assert site.switched(count)["to"] == "b"
        context = ssl.create_default_context(cafile=str(site.pki.ca))
        connection = http.client.HTTPSConnection(
            "localhost", balancer.port, timeout=5, context=context
        )
        with contextlib.closing(connection):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"b"


def test_two_external_members_on_one_machine(own_api: ApiServer, tmp_path: Path) -> None:
    """By the same name, on two ports: each is the other's backup, with an address too."""
    names = NameServer()
    names.address = "127.0.0.1"
    servers = (("127.0.0.1", names.port),)
    site = Site(own_api, tmp_path, "Passthrough", name_servers=servers, timings=CALM)
    outside = tuple(
        MemberAddress(m.name, m.id, "dpe.studio.test", m.port, dns=True)
        for m in site.settings.members
    )
    object.__setattr__(site.settings, "members", outside)
    with contextlib.closing(names), contextlib.closing(site):
        for member in site.members.values():
            member.start()
        balancer = site.add_balancer(holder=True, epoch=1)
        until(site.routed, 10, "published")
        site.settle()
        rows = balancer.ask("show stat -1 4 -1").splitlines()
        assert [row.split(",")[17] for row in rows if row.startswith("dpe-")] == ["UP"] * 4
