# SPDX-License-Identifier: Apache-2.0
"""Liveness fails for a blind informer and a hanging worker, and for nothing else."""

from aiohttp.test_utils import TestClient, TestServer

from dpe_operator.planning.objects import Ref
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.health import STUCK_SECONDS, Health, build_app
from dpe_operator.runtime.metrics import Metrics

RADIO = Ref("DpeCluster", "studio", "radio")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_version_that_comes_by_is_fine() -> None:
    clock = Clock()
    canary = Canary(patience=60, clock=clock)
    canary.streamed("u", "5")
    canary.read(RADIO, "u", "5")
    canary.read(RADIO, "u", "6")
    clock.now += 59
    assert canary.alive and canary.silent_for() == 59
    canary.streamed("u", "7")
    clock.now += 1000
    assert canary.alive and canary.silent_for() == 0


def test_a_version_that_never_comes_is_a_dead_stream() -> None:
    clock = Clock()
    canary = Canary(patience=60, clock=clock)
    canary.streamed("u", "5")
    canary.read(RADIO, "u", "9")
    clock.now += 30
    canary.read(RADIO, "u", "10")
    clock.now += 31
    assert not canary.alive


def test_a_deleted_object_is_not_awaited() -> None:
    clock = Clock()
    canary = Canary(patience=60, clock=clock)
    canary.read(RADIO, "u", "9")
    canary.forget("u")
    clock.now += 100
    assert canary.alive


def test_patience_begins_anew_after_what_let_nothing_come() -> None:
    clock = Clock()
    canary = Canary(patience=60, clock=clock)
    canary.read(RADIO, "u", "9")
    clock.now += 50
    canary.start_again()
    clock.now += 59
    assert canary.alive
    clock.now += 1
    assert not canary.alive


def test_nothing_is_awaited_from_a_namespace_that_is_left() -> None:
    clock = Clock()
    canary = Canary(patience=60, clock=clock)
    canary.read(RADIO, "u", "9")
    clock.now += 10
    canary.read(Ref("DpeCluster", "news", "radio"), "v", "9")
    canary.leave("studio")
    oldest = canary.oldest()
    assert oldest is not None and oldest.uid == "v" and canary.silent_for() == 0


def test_versions_that_are_no_numbers_are_never_awaited() -> None:
    canary = Canary(patience=0)
    canary.read(RADIO, "u", "abc")
    assert canary.silent_for() == 0


def test_problems() -> None:
    clock = Clock()
    canary = Canary(patience=60, clock=clock)
    health = Health(canary, clock=clock)
    health.begin(1)
    assert health.problems() == []
    canary.read(RADIO, "u", "1")
    clock.now += STUCK_SECONDS + 1
    silent, stuck = health.problems()
    assert "watch streams are silent" in silent and "a reconcile has been running" in stuck
    health.end(1)
    canary.streamed("u", "1")
    assert health.problems() == []


async def test_http() -> None:
    health, metrics = Health(Canary()), Metrics()
    ref = Ref("DpeCluster", "ns", "radio")
    metrics.show_conditions(ref, [{"type": "Ready", "status": "False"}])
    metrics.show_conditions(ref, [{"type": "Ready", "status": "True"}])
    metrics.count_request("apply", "Service", 200)
    metrics.count_request("get", "Service", 200)
    async with TestClient(TestServer(build_app(health, metrics))) as client:
        assert (await client.get("/livez")).status == 200
        assert (await client.get("/readyz")).status == 503
        health.ready.set()
        assert (await client.get("/readyz")).status == 200
        health.canary.read(RADIO, "u", "5")
        health.canary._patience = -1
        answer = await client.get("/livez")
        assert answer.status == 500 and "silent" in await answer.text()
        text = await (await client.get("/metrics")).text()
    assert 'name="radio",namespace="ns",status="True"} 1.0' in text
    assert 'namespace="ns",status="False"' not in text
    assert 'dpe_operator_api_writes_total{kind="Service",verb="apply"} 1.0' in text
    assert 'dpe_operator_api_requests_total{kind="Service",status="200",verb="get"} 1.0' in text
    metrics.show_conditions(ref, [])
    assert b'name="radio"' not in metrics.render()
