# SPDX-License-Identifier: Apache-2.0
"""One reconcile against a client in memory: the order of calls, pauses, errors."""

from typing import Any

import pytest
from tests.support.fake_client import FakeClient
from tests.support.par_world import par_store
from tests.support.planning_world import cluster, farm, server

from dpe_operator.kube.errors import ApiError, Conflict, Forbidden, Invalid, NamespaceGoing
from dpe_operator.kube.events import EventRecorder
from dpe_operator.planning.objects import Ref, condition
from dpe_operator.planning.plan import Environment, Plan, Situation
from dpe_operator.runtime.reconciler import GONE, PLANNERS, Reconciler

CLUSTER = Ref("DpeCluster", "studio", "radio")
FARM = Ref("ProcessorFarm", "studio", "radio-audio")
STORE = Ref("ParStore", "studio", "radio")


def stored(obj: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "generation": 1, **meta}}


def reconciler(client: FakeClient, **settings: str) -> Reconciler:
    return Reconciler(
        client,
        environment=Environment(balancer_image="x", **settings),  # type: ignore[arg-type]
        recorder=EventRecorder(client, instance="test"),
    )


@pytest.fixture
def client() -> FakeClient:
    return FakeClient(stored(cluster()))


async def test_gone_is_nothing_to_do(client: FakeClient) -> None:
    assert await reconciler(client).reconcile(Ref("DpeCluster", "studio", "other")) == GONE
    assert client.writes == []


async def test_memory_first_then_children_then_status(client: FakeClient) -> None:
    await reconciler(client).reconcile(CLUSTER)
    assert client.writes == [
        ("create", "ControllerRevision"),
        ("apply", "ConfigMap"),
        ("apply", "DpeServer"),
        ("apply", "ProcessorFarm"),
        ("apply_status", "DpeCluster"),
    ]


async def test_in_a_namespace_on_its_way_out_nothing_is_reported(client: FakeClient) -> None:
    client.fail["apply", "ConfigMap"] = NamespaceGoing(403, "Forbidden", "being terminated")
    assert await reconciler(client).reconcile(CLUSTER) is None
    assert not [verb for verb, _ in client.writes if verb == "apply_status"]
    assert "Event" not in [kind for _, kind in client.writes]


async def test_names_are_looked_up_before_the_first_apply(client: FakeClient) -> None:
    await reconciler(client).reconcile(CLUSTER)
    calls = [call for call in client.calls if call[1].kind == "ProcessorFarm"]
    assert calls[0][0] == "list" and calls[1] == ("get", FARM) and calls[2] == ("apply", FARM)


async def test_the_second_time_nothing_is_written(client: FakeClient) -> None:
    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    await subject.reconcile(CLUSTER)
    client.calls.clear()
    await subject.reconcile(CLUSTER)
    assert client.writes == []


async def test_a_paused_cluster_pauses_what_it_made_and_nobody_else(client: FakeClient) -> None:
    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    other = stored(farm())
    client._store(other)
    client.objects[CLUSTER]["metadata"]["annotations"] = {"dpe.dev/reconcile": "disabled"}
    client.calls.clear()
    await subject.reconcile(CLUSTER)
    await subject.reconcile(FARM)
    assert client.writes == []
    await subject.reconcile(Ref("ProcessorFarm", "studio", "video"))
    assert ("apply", "Deployment") in client.writes


async def test_a_resource_that_is_being_deleted_is_left_alone() -> None:
    client = FakeClient(stored(cluster(), deletionTimestamp="2026-11-22T12:00:00Z"))
    assert await reconciler(client).reconcile(CLUSTER) is None
    assert client.writes == []


@pytest.mark.parametrize(
    "error", [Invalid(422, "Invalid", "spec.x is wrong"), Forbidden(403, "Forbidden", "quota")]
)
async def test_a_refused_child_is_in_the_status_and_tried_again(
    client: FakeClient, error: Any
) -> None:
    client.fail["apply", "DpeServer"] = error
    with pytest.raises(type(error)):
        await reconciler(client).reconcile(CLUSTER)
    ready = condition(client.objects[CLUSTER], "Ready")
    assert ready and ready["reason"] == "ApplyFailed" and error.message in ready["message"]
    assert ("apply", "ProcessorFarm") in client.writes, "the others are made"
    with pytest.raises(type(error)):
        await reconciler(client).reconcile(CLUSTER)
    before = client.objects[CLUSTER]["status"]
    with pytest.raises(type(error)):
        await reconciler(client).reconcile(CLUSTER)
    assert client.objects[CLUSTER]["status"] == before, "the same failure is the same status"


async def test_while_one_is_refused_the_others_are_repaired_and_nothing_is_deleted(
    client: FakeClient,
) -> None:
    """Or a mistake in one place would leave a balancer that was deleted away."""
    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    client.objects[CLUSTER]["spec"]["processors"] = [
        {"type": "video", "image": "registry.example.com/dpe-video:2.15"}
    ]
    client.objects[CLUSTER]["metadata"]["generation"] = 2
    profile = Ref("ConfigMap", "studio", "radio-client-profile")
    client.objects[profile]["data"]["DPE_RETRY_ATTEMPTS"] = "1"
    client.objects.pop(Ref("DpeServer", "studio", "radio"))
    client.fail["apply", "DpeServer"] = Invalid(422, "Invalid", "spec.x is wrong")
    client.fail["apply", "ProcessorFarm"] = Forbidden(403, "Forbidden", "exceeded quota")
    with pytest.raises(Invalid):
        await subject.reconcile(CLUSTER)
    assert client.objects[profile]["data"]["DPE_RETRY_ATTEMPTS"] == "25"
    assert FARM in client.objects and ("delete", FARM) not in client.calls
    ready = condition(client.objects[CLUSTER], "Ready")
    assert ready and "spec.x is wrong" in ready["message"] and "quota" in ready["message"]
    told = {obj["reason"] for ref, obj in client.objects.items() if ref.kind == "Event"}
    assert told == {"ApplyFailed", "Repaired"}
    client.fail.clear()
    await subject.reconcile(CLUSTER)
    assert FARM not in client.objects and Ref("DpeServer", "studio", "radio") in client.objects


class OneRefused(FakeClient):
    """Refuses the Deployment of one name."""

    refused = ""

    async def apply(self, obj: dict[str, Any], *, manager: str, force: bool = True) -> Any:
        if obj["kind"] == "Deployment" and obj["metadata"]["name"] == self.refused:
            raise Invalid(422, "Invalid", "spec.template is wrong")
        return await super().apply(obj, manager=manager, force=force)


PAIR = Ref("DpeServer", "studio", "radio")
FOREIGN = Ref("EndpointSlice", "studio", "radio-balancer-x7k")


async def running_pair() -> tuple[OneRefused, Reconciler]:
    """A pair of which everything is made; nobody runs its pods."""
    client = OneRefused(stored(server()))
    subject = reconciler(client)
    await subject.reconcile(PAIR)
    for number, member in enumerate("ab"):  # as the API server gives them
        service = client.objects[Ref("Service", "studio", f"radio-member-{member}")]
        service["spec"]["clusterIP"] = f"10.96.0.{number + 1}"
    await subject.reconcile(PAIR)
    return client, subject


def edit_pair(client: FakeClient) -> None:
    client.objects[PAIR]["spec"]["image"] = "registry.example.com/dpe-server:2.16"
    client.objects[PAIR]["metadata"]["generation"] = 2


def put_beside_the_service(client: FakeClient) -> None:
    labels = {"kubernetes.io/service-name": "radio-balancer"}
    meta = {"name": FOREIGN.name, "namespace": FOREIGN.namespace, "labels": labels}
    client._store({"kind": FOREIGN.kind, "metadata": meta})


def events(client: FakeClient) -> set[str]:
    return {obj["reason"] for ref, obj in client.objects.items() if ref.kind == "Event"}


async def test_a_balancer_that_was_deleted_is_made_again_though_a_member_is_refused() -> None:
    client, subject = await running_pair()
    balancer = Ref("Deployment", "studio", "radio-balancer")
    client.objects.pop(balancer)
    edit_pair(client)
    client.refused = "radio-member-a"
    with pytest.raises(Invalid):
        await subject.reconcile(PAIR)
    assert balancer in client.objects
    ready = condition(client.objects[PAIR], "Ready")
    assert ready and ready["reason"] == "ApplyFailed"


async def test_foreign_endpoints_go_though_a_member_is_refused() -> None:
    """Clients would go past the routed balancer until somebody corrects the member."""
    client, subject = await running_pair()
    put_beside_the_service(client)
    edit_pair(client)
    client.refused = "radio-member-a"
    with pytest.raises(Invalid):
        await subject.reconcile(PAIR)
    assert FOREIGN not in client.objects
    assert events(client) >= {"ApplyFailed", "ForeignEndpoints"}


async def test_foreign_endpoints_go_though_the_server_fails_at_a_member() -> None:
    """A webhook that is away does so for days."""
    client, subject = await running_pair()
    put_beside_the_service(client)
    edit_pair(client)
    client.fail["apply", "Deployment"] = ApiError(500, "InternalError", "failed calling webhook")
    client.fail["delete", "EndpointSlice"] = Conflict(409, "Conflict", "made anew")
    with pytest.raises(ApiError, match="webhook"):
        await subject.reconcile(PAIR)
    assert FOREIGN in client.objects and events(client) >= {"ApplyFailed"}, "told all the same"
    client.fail.pop(("delete", "EndpointSlice"))
    with pytest.raises(ApiError, match="webhook"):
        await subject.reconcile(PAIR)
    assert FOREIGN not in client.objects
    assert events(client) >= {"ApplyFailed", "ForeignEndpoints"}


async def test_a_record_of_a_former_service_goes_though_a_member_is_refused() -> None:
    """Kubernetes would take it away some time; until then nobody is routed."""
    client, subject = await running_pair()
    record = Ref("EndpointSlice", "studio", "radio-balancer")
    client.objects[record]["metadata"]["ownerReferences"][0]["uid"] = "of-the-former-one"
    edit_pair(client)
    client.refused = "radio-member-a"
    with pytest.raises(Invalid):
        await subject.reconcile(PAIR)
    assert record not in client.objects


async def test_what_is_not_deleted_is_not_said_to_be_and_repairs_are_told() -> None:
    client, subject = await running_pair()
    put_beside_the_service(client)
    service = Ref("Service", "studio", "radio-balancer")
    client.objects[service]["spec"]["selector"] = {"edited": "yes"}
    client.fail["delete", "EndpointSlice"] = Forbidden(403, "Forbidden", "a policy says no")
    for _ in range(2):
        with pytest.raises(Forbidden):
            await subject.reconcile(PAIR)
    assert events(client) >= {"ApplyFailed", "Repaired"}
    assert "ForeignEndpoints" not in events(client)
    ready = condition(client.objects[PAIR], "Ready")
    assert ready and "a policy says no" in ready["message"]
    client.fail.clear()
    await subject.reconcile(PAIR)
    assert FOREIGN not in client.objects and "ForeignEndpoints" in events(client)


async def test_a_check_that_may_not_be_made_holds_up_nothing_else() -> None:
    core = {"engine": "Other", "secretRef": {"name": "dpe-core"}}
    client = FakeClient(stored(cluster(databases={"core": core})))
    client.fail["apply", "Job"] = Forbidden(403, "Forbidden", "exceeded quota")
    await reconciler(client, operator_image="dpe-operator:1").reconcile(CLUSTER)
    assert ("apply", "ProcessorFarm") in client.writes
    accepted = condition(client.objects[CLUSTER], "Accepted")
    assert accepted and accepted["status"] == "True"
    notes = [obj["note"] for ref, obj in client.objects.items() if ref.kind == "Event"]
    assert [note for note in notes if "is not made: 403 Forbidden: exceeded quota" in note]


async def test_a_child_being_deleted_is_looked_at_again_soon(client: FakeClient) -> None:
    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    client.objects[FARM]["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert await subject.reconcile(CLUSTER) == 2.0


async def test_a_fault_of_the_operator_is_in_the_status_and_goes_with_it(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks after the resource any more; a status of before it must not say otherwise."""

    def broken(situation: Situation) -> Plan:
        raise ZeroDivisionError("a secret of the spec")

    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    before = client.objects[CLUSTER]["status"]
    client.objects[CLUSTER]["metadata"]["generation"] = 2
    monkeypatch.setitem(PLANNERS, "DpeCluster", broken)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await subject.reconcile(CLUSTER)
    status = client.objects[CLUSTER]["status"]
    for kind, value in (("Ready", "False"), ("Degraded", "True")):
        found = condition(client.objects[CLUSTER], kind) or {}
        assert (found["status"], found["reason"]) == (value, "OperatorError")
        assert "ZeroDivisionError" in found["message"] and "secret" not in found["message"]
    assert status["observedGeneration"] == 2 and status["serviceRoot"] == before["serviceRoot"]
    assert len(status["conditions"]) == len(before["conditions"])
    [event] = [obj for ref, obj in client.objects.items() if ref.kind == "Event"
               and obj["reason"] == "OperatorError"]  # fmt: skip
    assert event["type"] == "Warning"

    monkeypatch.undo()
    await subject.reconcile(CLUSTER)
    assert (condition(client.objects[CLUSTER], "Ready") or {})["reason"] != "OperatorError"


async def test_a_fault_at_the_first_look_is_told_too(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANNERS, "DpeCluster", lambda situation: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await reconciler(client).reconcile(CLUSTER)
    assert (condition(client.objects[CLUSTER], "Degraded") or {})["reason"] == "OperatorError"


async def test_unexpected_spec_is_refused_and_not_retried(client: FakeClient) -> None:
    client.objects[CLUSTER]["spec"]["server"]["members"] = "nonsense"
    assert await reconciler(client).reconcile(CLUSTER) is None
    accepted = condition(client.objects[CLUSTER], "Accepted")
    assert accepted and accepted["status"] == "False" and "members" in accepted["message"]


async def test_children_of_what_is_deleted_meanwhile_are_not_made_anew(client: FakeClient) -> None:
    """The garbage collector works while we read: first the owner goes, then its children."""
    client.vanish_after["list", "ProcessorFarm"] = CLUSTER
    assert await reconciler(client).reconcile(CLUSTER) is None
    assert client.writes == []


async def test_what_a_deleted_cluster_made_is_left_to_the_garbage_collector(
    client: FakeClient,
) -> None:
    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    del client.objects[CLUSTER]
    client.calls.clear()
    await subject.reconcile(FARM)
    assert client.writes == []


async def test_an_order_is_taken_away_even_if_a_child_is_refused(client: FakeClient) -> None:
    """Or it would come true a second time, when nobody wants it any more."""
    subject = reconciler(client)
    await subject.reconcile(CLUSTER)
    client.objects[CLUSTER]["metadata"]["annotations"] = {"dpe.dev/switch-to": "b"}
    client.objects[CLUSTER]["metadata"]["generation"] = 2
    client.objects[CLUSTER]["spec"]["processors"][0]["args"] = ["other"]
    client.fail["apply", "ProcessorFarm"] = Invalid(422, "Invalid", "spec.x is wrong")
    with pytest.raises(Invalid):
        await subject.reconcile(CLUSTER)
    assert "dpe.dev/switch-to" not in client.objects[CLUSTER]["metadata"].get("annotations", {})


async def asked_for_a_copy(*former: str) -> tuple[FakeClient, Reconciler]:
    """A site whose ParStore has been asked for runs, the last of which is still to be made."""
    client = FakeClient(stored(cluster()), stored(par_store()))
    subject = reconciler(client, par_sync_image="par-sync:1")
    await subject.reconcile(CLUSTER)
    for text in former:
        ask(client, text)
        await subject.reconcile(STORE)
    ask(client, "now")
    return client, subject


def ask(client: FakeClient, text: str) -> None:
    client.objects[STORE]["metadata"]["annotations"] = {"dpe.dev/sync-now": text}


def told(client: FakeClient) -> list[str]:
    return [
        obj["reason"]
        for ref, obj in client.objects.items()
        if ref.kind == "Event" and obj["regarding"]["kind"] == "ParStore"
    ]


def on_demand(client: FakeClient) -> Any:
    return client.objects[STORE]["status"].get("onDemand")


@pytest.mark.parametrize("call", [("create", "Job"), ("apply", "Role")])
@pytest.mark.parametrize("former", [(), ("before",)])
async def test_a_run_that_could_not_be_made_is_made_later(
    call: tuple[str, str], former: tuple[str, ...]
) -> None:
    client, subject = await asked_for_a_copy(*former)
    client.objects.pop(Ref(call[1], "studio", "radio-par-sync"), None)
    before, events = on_demand(client) if former else None, told(client)
    client.fail[call] = Forbidden(403, "Forbidden", "exceeded quota")
    for _ in range(2):
        with pytest.raises(Forbidden):
            await subject.reconcile(STORE)
    assert on_demand(client) == before and "SyncRequested" not in told(client)[len(events) :]
    client.fail.clear()
    await subject.reconcile(STORE)
    assert on_demand(client)["text"] == "now"
    assert Ref("Job", "studio", on_demand(client)["job"]) in client.objects
    assert "SyncRequested" in told(client)


async def test_a_run_that_was_made_is_known_though_something_else_fails() -> None:
    """Else it would be made once more when its Job has been cleared away."""
    client, subject = await asked_for_a_copy()
    await subject.reconcile(STORE)
    del client.objects[STORE]["status"]["onDemand"]
    client.objects.pop(Ref("Role", "studio", "radio-par-sync"))
    client.fail["apply", "Role"] = Forbidden(403, "Forbidden", "no")
    with pytest.raises(Forbidden):
        await subject.reconcile(STORE)
    assert on_demand(client)["text"] == "now"


async def test_a_run_is_made_and_told_once_though_its_schedule_is_refused() -> None:
    client, subject = await asked_for_a_copy()
    client.objects.pop(Ref("CronJob", "studio", "radio-par-sync"), None)
    client.fail["apply", "CronJob"] = Forbidden(403, "Forbidden", "exceeded quota")
    for _ in range(3):
        with pytest.raises(Forbidden):
            await subject.reconcile(STORE)
    assert on_demand(client)["text"] == "now"
    assert told(client).count("SyncRequested") == 1
    assert client.calls.count(("create", Ref("Job", "studio", on_demand(client)["job"]))) == 1
