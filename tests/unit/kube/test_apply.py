# SPDX-License-Identifier: Apache-2.0
"""Applying children: waves, once only, aimed at one object, and what to do about refusals."""

from typing import Any

import pytest
from tests.support.fake_client import FakeClient

from dpe_operator.kube.apply import (
    Applier,
    delete_all,
    hand_over,
    last_editor,
    make_changes,
)
from dpe_operator.kube.errors import ApiError, Conflict, Forbidden, Invalid, NamespaceGoing
from dpe_operator.planning.objects import Obj, Ref, dig, uid_of
from dpe_operator.planning.plan import Change, Child, Deletion, Handover, Observed


def obj(kind: str, name: str = "x", **more: Any) -> Obj:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "ns"}, **more}


def observed(client: FakeClient) -> Observed:
    return Observed(client.objects.values())


async def test_waves() -> None:
    client = FakeClient()
    kinds = ["PodDisruptionBudget", "Deployment", "Service", "ConfigMap", "Role", "DpeServer"]
    await Applier(client).apply([Child(obj(kind)) for kind in kinds], Observed())
    assert [kind for _, kind in client.writes] == [
        "ConfigMap", "Role", "Service", "Deployment", "DpeServer", "PodDisruptionBudget",
    ]  # fmt: skip


async def test_twice_is_once() -> None:
    client = FakeClient()
    applier = Applier(client)
    children = [Child(obj("ConfigMap", data={"a": "b"}))]
    (first,) = await applier.apply(children, Observed())
    (second,) = await applier.apply(children, observed(client))
    assert (first.action, second.action) == ("create", "skip")
    assert client.writes == [("apply", "ConfigMap")]


async def test_an_edit_is_applied_again_and_its_author_named() -> None:
    client = FakeClient()
    applier = Applier(client)
    children = [Child(obj("ConfigMap", data={"a": "b"}))]
    await applier.apply(children, Observed())
    live = client.objects[Ref("ConfigMap", "ns", "x")]
    live["data"]["a"] = "edited"
    live["metadata"]["managedFields"].append({"manager": "kubectl-edit", "time": "2026"})
    (result,) = await applier.apply(children, observed(client))
    assert result.action == "apply" and result.by == "kubectl-edit"
    assert [difference.path for difference in result.drift] == ["data.a"]
    assert live["metadata"]["uid"] == client.objects[Ref("ConfigMap", "ns", "x")]["metadata"]["uid"]


@pytest.mark.parametrize(
    "error", [NamespaceGoing(403, "Forbidden", "going"), ApiError(500, "InternalError", "no")]
)
async def test_a_failure_stops_before_later_waves(error: ApiError) -> None:
    client = FakeClient()
    client.fail["apply", "Service"] = error
    with pytest.raises(type(error)):
        await Applier(client).apply([Child(obj("Deployment")), Child(obj("Service"))], Observed())
    assert client.writes == [("apply", "Service")]


@pytest.mark.parametrize(
    "error", [Invalid(422, "Invalid", "no"), Forbidden(403, "Forbidden", "no")]
)
async def test_one_that_is_refused_holds_up_no_other(error: ApiError) -> None:
    client = FakeClient()
    client.fail["apply", "Service"] = error
    kinds = ["Deployment", "Service", "ConfigMap", "CronJob"]
    results = await Applier(client).apply([Child(obj(kind)) for kind in kinds], Observed())
    assert {ref.kind for ref in client.objects} == {"Deployment", "ConfigMap", "CronJob"}
    assert [result.error for result in results] == [None, error, None, None]


CLAIM = "PersistentVolumeClaim"


@pytest.mark.parametrize(
    ("refused", "spec"),
    [
        ("ConfigMap", {"template": {"volumes": [{"configMap": {"name": "x-config"}}]}}),
        ("ServiceAccount", {"template": {"serviceAccountName": "x-config"}}),
        (CLAIM, {"template": {"volumes": [{"persistentVolumeClaim": {"claimName": "x-config"}}]}}),
    ],
)
async def test_what_reads_a_refused_one_waits_for_it(refused: str, spec: Obj) -> None:
    """Its new pods could not start, and in a rollout they take the place of old ones."""
    client = FakeClient()
    client.fail["apply", refused] = Invalid(422, "Invalid", "no")
    reader, other = Child(obj("Deployment", spec=spec)), Child(obj("Deployment", "other"))
    job = Child(obj("Job", "job"), initial=obj("Job", "job", spec=spec))
    made = [Child(obj(refused, "x-config")), reader, other, job]
    results = await Applier(client).apply(made, Observed())
    assert [result.action for result in results] == ["failed", "wait", "create", "wait"]
    assert [ref.name for ref in client.objects] == ["other"]
    client.fail.clear()
    results = await Applier(client).apply(made, observed(client))
    assert [result.action for result in results] == ["create", "create", "skip", "create"]


async def test_what_reads_one_that_is_there_as_before_stays_so_and_is_repaired() -> None:
    client = FakeClient()
    spec: Obj = {"template": {"serviceAccountName": "account"}, "replicas": 2}
    account = Child(obj("ServiceAccount", "account"))
    names = ("edited", "deleted", "changed")
    made = [account, *(Child(obj("Deployment", name, spec=spec)) for name in names)]
    await Applier(client).apply(made, Observed())
    client.objects[Ref("Deployment", "ns", "edited")]["spec"]["replicas"] = 0
    client.objects.pop(Ref("Deployment", "ns", "deleted"))
    client.fail["apply", "ServiceAccount"] = Invalid(422, "Invalid", "no")
    made[0] = Child(obj("ServiceAccount", "account", secrets=["x"]))
    made[3] = Child(obj("Deployment", "changed", spec={**spec, "replicas": 3}))
    results = await Applier(client).apply(made, observed(client))
    assert [result.action for result in results] == ["failed", "apply", "create", "wait"]
    found = {ref.name: o["spec"]["replicas"] for ref, o in client.objects.items() if "spec" in o}
    assert found == {"edited": 2, "deleted": 2, "changed": 2}


async def test_initial_form_is_created_then_only_the_rest_applied() -> None:
    client = FakeClient()
    child = Child(obj("Lease"), initial=obj("Lease", spec={"holderIdentity": ""}))
    await Applier(client).apply([child], Observed())
    client.objects[Ref("Lease", "ns", "x")]["spec"]["holderIdentity"] = "somebody"
    await Applier(client).apply([child], observed(client))
    await Applier(client).apply([child], observed(client))
    assert client.writes == [("create", "Lease"), ("apply", "Lease")]
    assert client.objects[Ref("Lease", "ns", "x")]["spec"] == {"holderIdentity": "somebody"}


async def test_initial_form_made_by_somebody_meanwhile() -> None:
    client = FakeClient(obj("Lease"))
    child = Child(obj("Lease"), initial=obj("Lease", spec={}))
    (result,) = await Applier(client).apply([child], Observed())
    assert result.action == "wait"


async def test_initial_form_that_is_refused_falls_back_to_the_whole() -> None:
    client = FakeClient()
    client.fail["create", "Service"] = Invalid(422, "Invalid", "address is taken")
    whole = obj("Service", spec={"ports": []})
    await Applier(client).apply([Child(whole, initial=whole, whole=True)], Observed())
    assert client.writes == [("create", "Service"), ("apply", "Service")]
    client.fail["create", "Lease"] = Invalid(422, "Invalid", "no")
    (result,) = await Applier(client).apply([Child(obj("Lease"), initial=obj("Lease"))], Observed())
    assert result.action == "failed"


async def test_a_claim_that_is_refused_is_not_made_of_the_part_that_grows_it() -> None:
    """The answer to that part (accessModes are missing) would hide what is really wrong."""
    client = FakeClient()
    error = Invalid(422, "Invalid", "requests[storage]: Invalid value: must be greater than zero")
    client.fail["create", "PersistentVolumeClaim"] = error
    part = {"resources": {"requests": {"storage": "0"}}}
    kind, whole = "PersistentVolumeClaim", {"accessModes": ["ReadWriteMany"], **part}
    child = Child(obj(kind, spec=part), initial=obj(kind, spec=whole))
    (result,) = await Applier(client).apply([child], Observed())
    assert result.error is error
    assert client.writes == [("create", "PersistentVolumeClaim")]


async def test_foreign_ports_of_a_service_go_first() -> None:
    client = FakeClient()
    applier = Applier(client)
    child = Child(obj("Service", spec={"ports": [{"name": "https", "port": 443}]}))
    await applier.apply([child], Observed())
    live = client.objects[Ref("Service", "ns", "x")]
    live["spec"]["ports"].append({"name": "other", "port": 1})
    (result,) = await applier.apply([child], observed(client))
    assert client.writes[1:] == [("patch", "Service"), ("apply", "Service")]
    assert "spec.ports" in [difference.path for difference in result.drift]
    (again,) = await applier.apply([child], observed(client))
    assert again.action == "skip"


async def test_the_former_port_of_a_service_of_ours_is_nobody_s_edit() -> None:
    client = FakeClient()
    applier = Applier(client)
    before, after = (
        Child(obj("Service", spec={"ports": [{"name": "https", "port": port}]}))
        for port in (443, 8443)
    )
    await applier.apply([before], Observed())
    (result,) = await applier.apply([after], observed(client))
    assert client.writes[1:] == [("patch", "Service"), ("apply", "Service")]
    assert (result.action, result.drift, result.by) == ("apply", (), "")


class PickyClient(FakeClient):
    """Refuses applies until the spec was replaced by a patch."""

    async def apply(self, obj: Obj, *, manager: str, force: bool = True) -> Obj:
        if not self.patches:
            self.calls.append(("apply", Ref("Deployment", "ns", "x")))
            raise Invalid(422, "Invalid", "duplicate port name")
        return await super().apply(obj, manager=manager, force=force)


async def test_an_apply_made_invalid_by_additions_of_others_replaces_these() -> None:
    child = Child(obj("Deployment", spec={"replicas": 1}))
    client = PickyClient(obj("Deployment", spec={"replicas": 1, "foreign": True}))
    await Applier(client).apply([child], observed(client))
    assert client.writes == [
        ("apply", "Deployment"), ("patch", "Deployment"), ("apply", "Deployment"),
    ]  # fmt: skip
    (result,) = await Applier(PickyClient()).apply([child], Observed())
    assert result.action == "failed"


@pytest.mark.parametrize(
    ("kind", "ours", "edited"),
    [
        ("PodDisruptionBudget", {"minAvailable": 1}, {"maxUnavailable": 1}),
        (
            "Deployment",
            {"strategy": {"type": "Recreate"}},
            {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}},
        ),
    ],
)
async def test_what_cannot_stand_beside_ours_is_taken_out(
    kind: str, ours: Obj, edited: Obj
) -> None:
    client = PickyClient(obj(kind, spec=edited))
    await Applier(client).apply([Child(obj(kind, spec=ours))], observed(client))
    assert client.objects[Ref(kind, "ns", "x")]["spec"] == ours


class WebhookClient(FakeClient):
    """Changes what is applied, as a mutating webhook does."""

    async def apply(self, obj: Obj, *, manager: str, force: bool = True) -> Obj:
        stored = await super().apply(obj, manager=manager, force=force)
        self.objects[Ref("Deployment", "ns", "x")]["spec"]["image"] = "mirror/x"
        stored["spec"]["image"] = "mirror/x"
        return stored


async def test_a_webhook_does_not_make_us_write_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    client = WebhookClient()
    applier = Applier(client)
    child = Child(obj("Deployment", spec={"image": "x"}))
    for _ in range(4):
        await applier.apply([child], observed(client))
    assert client.writes == [("apply", "Deployment")]
    assert "mutating webhook" in caplog.text and "spec.image" in caplog.text


async def test_what_a_webhook_changes_is_reported_as_nobody_s_edit_after_a_restart() -> None:
    client = WebhookClient()
    child = Child(obj("Deployment", spec={"image": "x", "replicas": 2}))
    await Applier(client).apply([child], observed(client))
    restarted = Applier(client)
    (result,) = await restarted.apply([child], observed(client))
    assert (result.action, result.drift, result.by) == ("apply", (), "")
    assert (await restarted.apply([child], observed(client)))[0].action == "skip"
    client.objects[Ref("Deployment", "ns", "x")]["spec"]["replicas"] = 0
    (result,) = await Applier(client).apply([child], observed(client))
    assert [difference.path for difference in result.drift] == ["spec.replicas"]


async def test_who_takes_a_field_of_a_webhook_is_set_back_once() -> None:
    client = WebhookClient()
    applier = Applier(client)
    child = Child(obj("Deployment", spec={"image": "x", "replicas": 2}))
    await applier.apply([child], observed(client))
    live = client.objects[Ref("Deployment", "ns", "x")]
    live["spec"]["image"] = "other"
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"] = {"f:replicas": {}}
    live["metadata"]["managedFields"].append({"manager": "kubectl-set", "operation": "Update"})
    results = [(await applier.apply([child], observed(client)))[0] for _ in range(3)]
    assert [result.action for result in results] == ["apply", "skip", "skip"]
    assert [difference.path for difference in results[0].drift] == ["spec.image"]
    assert client.objects[Ref("Deployment", "ns", "x")]["spec"]["image"] == "mirror/x"


async def test_a_terminating_object_is_waited_for() -> None:
    leaving = obj("ConfigMap")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    client = FakeClient(leaving)
    (result,) = await Applier(client).apply([Child(obj("ConfigMap"))], observed(client))
    assert result.action == "wait" and client.writes == []


async def test_handovers_use_their_manager_and_yield_to_others() -> None:
    client = FakeClient()
    farm = obj("ProcessorFarm", spec={"replicas": 2})
    assert await hand_over(client, [Handover(farm, "replicas", force=False)]) == 1
    assert client.managers == ["replicas"]
    client.fail["apply", "ProcessorFarm"] = Conflict(409, "Conflict", "taken")
    assert await hand_over(client, [Handover(farm, "replicas", force=False)]) == 0


async def test_changes_of_what_is_gone_are_passed_over() -> None:
    client = FakeClient(obj("DpeServer"))
    patch: Obj = {"metadata": {"annotations": {"a": "b"}}}
    changes = [Change(Ref("DpeServer", "ns", name), patch) for name in ("x", "gone")]
    assert await make_changes(client, changes) == 1
    stored = client.objects[Ref("DpeServer", "ns", "x")]
    assert dig(stored, "metadata", "annotations") == {"a": "b"}


async def test_deletions_hit_only_the_very_object() -> None:
    client = FakeClient(obj("ConfigMap", "old"), obj("ConfigMap", "new"))
    uid = client.objects[Ref("ConfigMap", "ns", "old")]["metadata"]["uid"]
    deletions = [
        Deletion(Ref("ConfigMap", "ns", "old"), uid),
        Deletion(Ref("ConfigMap", "ns", "new"), "of one before"),
        Deletion(Ref("ConfigMap", "ns", "gone"), "x"),
    ]
    assert await delete_all(client, deletions) == 2
    assert [ref.name for ref in client.objects] == ["new"]


@pytest.mark.parametrize(
    "error", [Forbidden(403, "Forbidden", "policy"), Invalid(422, "Invalid", "no")]
)
async def test_one_deletion_that_is_refused_holds_up_no_other(error: ApiError) -> None:
    """Every round takes the same order: what comes after it would never be deleted."""
    client = FakeClient(obj("Deployment"), obj("Service"))
    client.fail["delete", "Deployment"] = error
    deletions = [Deletion(ref, uid_of(live)) for ref, live in client.objects.items()]
    told: list[Deletion] = []
    with pytest.raises(type(error)):
        await delete_all(client, deletions, told=told.append)
    assert [ref.kind for ref in client.objects] == ["Deployment"]
    assert told == deletions[1:], "only what was carried out"


@pytest.mark.parametrize(
    "error", [NamespaceGoing(403, "Forbidden", "going"), ApiError(500, "InternalError", "no")]
)
async def test_a_deletion_that_fails_in_another_way_ends_the_round(error: ApiError) -> None:
    client = FakeClient(obj("Deployment"), obj("Service"))
    client.fail["delete", "Deployment"] = error
    deletions = [Deletion(ref, uid_of(live)) for ref, live in client.objects.items()]
    with pytest.raises(type(error)):
        await delete_all(client, deletions)
    assert Ref("Service", "ns", "x") in client.objects


def test_last_editor() -> None:
    entries = [
        {"manager": "a", "time": "2026-01-01T00:00:00Z"},
        {"manager": "b", "time": "2026-01-02T00:00:00Z"},
        {"manager": "kubelet", "time": "2026-01-03T00:00:00Z", "subresource": "status"},
        {"manager": "us", "time": "2026-01-04T00:00:00Z"},
    ]
    assert last_editor({"metadata": {"managedFields": entries}}, but="us") == "b"
    scaled = {"manager": "hpa", "time": "2026-01-03T00:00:00Z", "subresource": "scale"}
    assert last_editor({"metadata": {"managedFields": [*entries, scaled]}}, but="us") == "hpa"
    assert last_editor({"metadata": {}}, but="us") == ""


class _NotLarger(FakeClient):
    """Refuses sizes other than 1Gi, as the API server does for a class that cannot grow."""

    error: ApiError = Forbidden(403, "Forbidden", "only dynamically provisioned pvc can be resized")

    async def apply(self, obj: Obj, *, manager: str, force: bool = True) -> Obj:
        if dig(obj, "spec", "size") != "1Gi":
            self.calls.append(("refused", Ref(obj["kind"], "ns", "x")))
            raise self.error
        return await super().apply(obj, manager=manager, force=force)


def _growing() -> Child:
    small, large = (obj("PersistentVolumeClaim", spec={"size": size}) for size in ("1Gi", "2Gi"))
    return Child(large, initial=small, fallback=small)


@pytest.mark.parametrize("error", [_NotLarger.error, Invalid(422, "Invalid", "spec is immutable")])
async def test_what_is_refused_falls_back_and_is_not_asked_for_again(error: ApiError) -> None:
    client = _NotLarger(obj("PersistentVolumeClaim", spec={"size": "1Gi"}))
    client.error = error
    applier = Applier(client)
    results = [
        *await applier.apply([_growing()], observed(client)),
        *await applier.apply([_growing()], observed(client)),
    ]
    assert [result.action for result in results] == ["apply", "skip"]
    assert results[0].refused == str(error) and results[1].refused == ""
    assert [verb for verb, _ in client.writes] == ["refused", "apply"]


async def test_a_fallback_is_no_way_around_a_namespace_that_goes() -> None:
    client = _NotLarger(obj("PersistentVolumeClaim", spec={"size": "1Gi"}))
    client.error = NamespaceGoing(403, "Forbidden", "it is being terminated")
    with pytest.raises(NamespaceGoing):
        await Applier(client).apply([_growing()], observed(client))


async def test_where_nothing_is_refused_all_of_it_is_applied() -> None:
    client = FakeClient(obj("PersistentVolumeClaim", spec={"size": "1Gi"}))
    (result,) = await Applier(client).apply([_growing()], observed(client))
    assert result.action == "apply" and result.refused == ""
    live = client.objects[Ref("PersistentVolumeClaim", "ns", "x")]
    assert live["spec"] == {"size": "2Gi"}


async def test_what_may_fail_is_done_without() -> None:
    client = FakeClient()
    client.fail["apply", "Job"] = Forbidden(403, "Forbidden", "exceeded quota: count/jobs.batch")
    children = [Child(obj("Job"), may_fail=True), Child(obj("Deployment"))]
    results = await Applier(client).apply(children, observed(client))
    assert [(result.ref.kind, result.action) for result in results] == [
        ("Deployment", "create"),
        ("Job", "refused"),
    ]
    assert "exceeded quota" in results[1].refused


async def test_a_namespace_that_goes_is_no_refusal_either() -> None:
    client = FakeClient()
    client.fail["apply", "Job"] = NamespaceGoing(403, "Forbidden", "it is being terminated")
    with pytest.raises(NamespaceGoing):
        await Applier(client).apply([Child(obj("Job"), may_fail=True)], observed(client))
