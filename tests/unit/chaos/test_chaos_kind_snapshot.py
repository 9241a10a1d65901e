# SPDX-License-Identifier: Apache-2.0
"""Who acts and what is missing, by what the API server says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.kind import snapshot
from tests.chaos.kind.snapshot import Part, Snapshot

NEWS, FARM = "news-table-watcher", "audio"
PARTS = [
    Part(SERVERS, {"c": "member"}, 2), Part(BALANCER, {"c": "balancer"}, 2, BALANCER, BALANCER),
    Part(NEWS, {"c": "news"}, 2, NEWS, NEWS, singleton=True), Part(FARM, {"c": "processor"}, 1),
]  # fmt: skip


def pod(
    name: str, kind: str, node: str = "w1", *, ready: bool = True, **labels: str
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"c": kind, **labels}},
        "spec": {"nodeName": node}, "status": {"conditions": conditions},
    }  # fmt: skip


def member(name: str, letter: str, node: str = "w1") -> dict[str, Any]:
    found = pod(name, "member", node)
    found["metadata"]["labels"]["dpe.dev/member"] = letter
    return found


def node(name: str, *, plane: bool = False, ready: bool = True) -> dict[str, Any]:
    labels = {"node-role.kubernetes.io/control-plane": ""} if plane else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {"conditions": conditions},
    }


def lease(holder: str) -> dict[str, Any]:
    return {"spec": {"holderIdentity": f"uid-{holder}_x1"}}


WHOLE = Snapshot(
    PARTS,
    [
        member("s1", "a"), member("s2", "b", "w2"), pod("h1", "balancer"), pod("h2", "balancer", "w2"),
        pod("n1", "news"), pod("n2", "news", "w2"), pod("p1", "processor", "w2"),
    ],
    [node("plane", plane=True), node("w1"), node("w2")],
    {BALANCER: lease("h2"), NEWS: lease("n1")},
    {
        "metadata": {"annotations": {"dpe.dev/active-member": "b"}},
        "endpoints": [{"targetRef": {"name": "h2"}}],
    },
    {
        "metadata": {"generation": 3},
        "status": {
            "observedGeneration": 3, "active": "b",
            "members": [{"name": "a", "state": "Up"}, {"name": "b", "state": "Up"}],
        },
    },
)  # fmt: skip


def name(found: dict[str, Any] | None) -> str:
    return str(found["metadata"]["name"]) if found else ""


def test_a_whole_site_misses_nothing() -> None:
    assert WHOLE.missing() == []


def test_who_acts_and_who_is_struck() -> None:
    assert name(WHOLE.acting(SERVERS)) == "s2"
    assert name(WHOLE.acting(BALANCER)) == "h2"
    assert name(WHOLE.acting(NEWS)) == "n1"
    assert name(WHOLE.target(NEWS, "acting")) == "n1"
    assert name(WHOLE.target(NEWS, "other")) == "n2"
    assert name(WHOLE.target(SERVERS, "other")) == "s1"
    assert name(WHOLE.target(FARM, "other")) == "p1", "there is no other"
    nobody = replace(WHOLE, leases={})
    assert nobody.acting(NEWS) is None
    assert name(nobody.target(NEWS, "acting")) == "n1"


def test_what_runs_on_a_node() -> None:
    assert WHOLE.on_node("w1") == {"s1": SERVERS, "h1": BALANCER, "n1": NEWS}
    assert WHOLE.workers() == ["w1", "w2"]


def test_each_thing_that_is_missing_is_told() -> None:
    assert "node w1 is not Ready" in replace(WHOLE, nodes=[node("w1", ready=False)]).missing()
    drained = node("w1")
    drained["spec"]["unschedulable"] = True
    assert "node w1 takes no pods" in replace(WHOLE, nodes=[drained]).missing()
    without = [one for one in WHOLE.pods if one["metadata"]["name"] != "n1"]
    assert replace(WHOLE, pods=without).missing() == [
        f"1 of 2 pods of {NEWS} are ready", f"Lease {NEWS}: nobody holds it",
    ]  # fmt: skip
    leaving = pod("n0", "news")
    leaving["metadata"]["deletionTimestamp"] = "now"
    told = replace(WHOLE, pods=[*WHOLE.pods, leaving]).missing()
    assert told == [f"a pod of {NEWS} is on its way out"]
    nowhere = replace(WHOLE, record={"metadata": WHOLE.record["metadata"], "endpoints": []})
    assert nowhere.missing() == ["clients are sent to nobody"]
    down = {**WHOLE.cluster["status"], "members": [{"name": "a", "state": "Down"}]}
    assert replace(WHOLE, cluster={**WHOLE.cluster, "status": down}).missing() == [
        "member a is Down"
    ]


def test_a_lease_that_nobody_renews_is_missed_though_its_pod_is_ready() -> None:
    held = {"spec": {"holderIdentity": "uid-n1_x1", "renewTime": "2026-11-26T10:00:00.500000Z"}}
    leases = {**WHOLE.leases, NEWS: held}
    at = 1795687200.5
    assert replace(WHOLE, leases=leases, now=at + 2).missing() == []
    told = replace(WHOLE, leases=leases, now=at + 9).missing()
    assert told == [f"Lease {NEWS} was renewed 9 s ago"]


def test_controllers_that_do_not_work_are_missed() -> None:
    held = {"spec": {"renewTime": "2026-11-26T10:00:00.500000Z"}}
    both = {"kube-scheduler": held, "kube-controller-manager": held, "another": held}
    told = replace(WHOLE, system_leases=both, now=1795687220.5).missing()
    assert told == [
        "kube-controller-manager has not worked for 20 s", "kube-scheduler has not worked for 20 s",
    ]  # fmt: skip


def test_pods_that_kubernetes_lets_wait() -> None:
    waiting = pod("p2", "processor")
    waiting["status"]["containerStatuses"] = [
        {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    ]
    assert [name(one) for one in snapshot.waiting([*WHOLE.pods, waiting])] == ["p2"]
