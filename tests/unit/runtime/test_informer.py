# SPDX-License-Identifier: Apache-2.0
"""Which event wakes whom, and which wakes nobody."""

import copy
from typing import Any

import pytest
from tests.support.planning_world import cluster, farm, server

from dpe_operator.planning.objects import Obj, Ref
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.informer import Informer
from dpe_operator.runtime.kopf_adapter import kopf_settings
from dpe_operator.runtime.metrics import Metrics


class Keys:
    """Stands in for the queue: remembers what is added."""

    def __init__(self) -> None:
        self.added: list[tuple[str, bool]] = []

    def add(self, key: Ref, *, delay: float = 0.0, urgent: bool = False) -> None:
        self.added.append((str(key), urgent))

    def take(self) -> list[str]:
        found = [key for key, _ in self.added]
        self.added.clear()
        return found


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def informer(keys: Keys) -> Informer:
    return Informer(keys, canary=Canary(), metrics=Metrics())  # type: ignore[arg-type]


def child(kind: str, **more: Any) -> Obj:
    labels = {"dpe.dev/owner-kind": "DpeServer", "app.kubernetes.io/instance": "radio"}
    meta = {"name": "x", "namespace": "studio", "uid": f"uid-{kind}", "labels": labels}
    return {"kind": kind, "metadata": meta, **more}


def stored(obj: Obj, uid: str, **meta: Any) -> Obj:
    made = copy.deepcopy(obj)
    made["metadata"] |= {"uid": uid, "generation": 1, "resourceVersion": "1", **meta}
    return made


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap", "Role"])
def test_a_child_wakes_its_owner_every_time(informer: Informer, keys: Keys, kind: str) -> None:
    for event in (None, "MODIFIED", "DELETED"):
        informer.receive(event, kind, child(kind))
        assert keys.take() == ["DpeServer radio"]


def test_objects_of_others_wake_nobody(informer: Informer, keys: Keys) -> None:
    foreign = child("Deployment")
    foreign["metadata"]["labels"] = {"dpe.dev/owner-kind": "Secret"}
    informer.receive("ADDED", "Deployment", foreign)
    assert keys.take() == []


def test_renewals_of_a_lease_wake_nobody(informer: Informer, keys: Keys) -> None:
    def lease(**spec: Any) -> Obj:
        return child("Lease", spec={"holderIdentity": "a", "leaseTransitions": 1, **spec})

    informer.receive(None, "Lease", lease(renewTime="1"))
    keys.take()
    informer.receive("MODIFIED", "Lease", lease(renewTime="2"))
    assert keys.take() == []
    for changed in ({"holderIdentity": "b"}, {"leaseTransitions": 2}):
        informer.receive("MODIFIED", "Lease", lease(**changed))
        assert keys.take() == ["DpeServer radio"]
    informer.receive("DELETED", "Lease", lease())
    assert keys.take() == ["DpeServer radio"]


def test_slices_wake_by_what_they_say(informer: Informer, keys: Keys) -> None:
    informer.receive(None, "EndpointSlice", child("EndpointSlice", endpoints=[]))
    keys.take()
    same = child("EndpointSlice", endpoints=[])
    same["metadata"]["resourceVersion"] = "9"
    informer.receive("MODIFIED", "EndpointSlice", same)
    assert keys.take() == []
    same["metadata"]["annotations"] = {"dpe.dev/active-member": "b"}
    informer.receive("MODIFIED", "EndpointSlice", same)
    assert keys.take() == ["DpeServer radio"]


def test_pods_wake_by_readiness_and_trouble(informer: Informer, keys: Keys) -> None:
    def pod(ready: str, **status: Any) -> Obj:
        conditions = [{"type": "Ready", "status": ready}]
        return child("Pod", status={"phase": "Running", "conditions": conditions, **status})

    informer.receive(None, "Pod", pod("False"))
    keys.take()
    informer.receive("MODIFIED", "Pod", pod("False", podIP="10.0.0.1"))
    assert keys.take() == []
    waiting = {"name": "dpe", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    for changed in (pod("False", containerStatuses=[waiting]), pod("True")):
        informer.receive("MODIFIED", "Pod", changed)
        assert keys.take() == ["DpeServer radio"]


def test_jobs_wake_by_their_end(informer: Informer, keys: Keys) -> None:
    def job(*conditions: str, **status: Any) -> Obj:
        ended = [{"type": kind, "status": "True"} for kind in conditions]
        return child("Job", status={"conditions": ended, **status})

    informer.receive(None, "Job", job())
    assert keys.take() == ["DpeServer radio"]
    informer.receive("MODIFIED", "Job", job(active=1, startTime="2026-11-22T03:00:00Z"))
    assert keys.take() == []
    informer.receive("MODIFIED", "Job", job("SuccessCriteriaMet", "Complete"))
    assert keys.take() == ["DpeServer radio"]


def test_own_status_writes_wake_nobody_but_the_cluster(informer: Informer, keys: Keys) -> None:
    reference = {"kind": "DpeCluster", "name": "radio", "uid": "c", "controller": True}
    live = stored(server(), "s", ownerReferences=[reference])
    informer.receive(None, "DpeServer", live)
    assert keys.added == [("DpeServer radio", True), ("DpeCluster radio", False)]
    keys.take()
    informer.receive("MODIFIED", "DpeServer", {**live, "status": {"active": "a"}})
    assert keys.take() == ["DpeCluster radio"]


def test_a_cluster_wakes_those_that_take_something_over(informer: Informer, keys: Keys) -> None:
    informer.receive(None, "ProcessorFarm", stored(farm(), "f"))
    live = stored(cluster(), "c")
    informer.receive(None, "DpeCluster", live)
    keys.take()
    informer.receive("MODIFIED", "DpeCluster", {**live, "status": {"active": "b"}})
    assert keys.take() == []
    accepted = {"observedGeneration": 1, "conditions": [{"type": "Accepted", "status": "True"}]}
    informer.receive("MODIFIED", "DpeCluster", {**live, "status": accepted})
    assert keys.take() == ["ProcessorFarm video"]
    informer.receive("DELETED", "DpeCluster", live)
    assert set(keys.take()) == {"DpeCluster radio", "ProcessorFarm video"}


def test_a_farm_that_is_gone_is_not_woken(informer: Informer, keys: Keys) -> None:
    informer.receive(None, "ProcessorFarm", stored(farm(), "f"))
    informer.receive("DELETED", "ProcessorFarm", stored(farm(), "f"))
    keys.take()
    informer.receive(None, "DpeCluster", stored(cluster(), "c"))
    assert keys.take() == ["DpeCluster radio"]


def test_pausing_a_cluster_wakes_its_parts(informer: Informer, keys: Keys) -> None:
    informer.receive(None, "ProcessorFarm", stored(farm(), "f"))
    informer.receive(None, "DpeCluster", stored(cluster(), "c"))
    keys.take()
    paused = stored(cluster(), "c", annotations={"dpe.dev/reconcile": "disabled"})
    informer.receive("MODIFIED", "DpeCluster", paused)
    assert keys.take() == ["DpeCluster radio", "ProcessorFarm video"]


def test_what_a_later_listing_leaves_out_is_found_by_what_is_left(
    informer: Informer, keys: Keys
) -> None:
    lease, own = child("Lease", spec={"holderIdentity": "a"}), stored(server(), "s")
    for _ in range(2):
        informer.receive(None, "Lease", lease)
        assert keys.take() == ["DpeServer radio"]
        informer.receive(None, "DpeServer", own)
        assert keys.take() == ["DpeServer radio"]
    informer.receive("MODIFIED", "Lease", lease)
    informer.receive("MODIFIED", "DpeServer", own)
    assert keys.take() == []


@pytest.mark.parametrize(
    ("service", "woken"),
    [("radio-balancer", ["DpeServer radio"]), ("radio", []), ("-balancer", []), ("", [])],
)
def test_others_slices_of_a_fail_over_service_wake_its_pair(
    informer: Informer, keys: Keys, service: str, woken: list[str]
) -> None:
    foreign = child("EndpointSlice", endpoints=[])
    foreign["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    informer.receive("ADDED", "EndpointSlice", foreign)
    assert keys.take() == woken
    informer.receive("MODIFIED", "EndpointSlice", foreign)
    assert keys.take() == [], "nothing that matters has changed"


def test_other_kinds_with_the_name_of_a_fail_over_service_wake_nobody(
    informer: Informer, keys: Keys
) -> None:
    foreign = child("Pod")
    foreign["metadata"]["labels"] = {"kubernetes.io/service-name": "radio-balancer"}
    informer.receive("ADDED", "Pod", foreign)
    assert keys.take() == []


def test_slices_are_watched_without_a_label_of_ours() -> None:
    selectors = kopf_settings().watching.label_selectors
    slices = selectors["discovery.k8s.io", "v1", "endpointslices"]
    assert slices == "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io"
    assert selectors["", "v1", "pods"] == "app.kubernetes.io/managed-by=dpe-operator"
