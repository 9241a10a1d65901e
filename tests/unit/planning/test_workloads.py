# SPDX-License-Identifier: Apache-2.0
"""Deployments and pods in words an admin can act on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpe_operator.planning.workloads import (
    is_settled,
    pod_trouble,
    settled_for,
    workload_state,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def deployment(wanted: int = 1, generation: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "radio-member-a", "generation": generation},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 2, **status},
    }


FULL = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}


def pod(*, ready_since: datetime | None = None, **status: Any) -> dict[str, Any]:
    conditions = list(status.pop("conditions", []))
    conditions.append(
        {
            "type": "Ready",
            "status": "True" if ready_since else "False",
            "lastTransitionTime": (ready_since or NOW).isoformat(),
        }
    )
    return {"metadata": {"name": "p-1"}, "status": {**status, "conditions": conditions}}


def waiting(reason: str, message: str = "", **more: Any) -> list[dict[str, Any]]:
    return [{"name": "dpe", "state": {"waiting": {"reason": reason, "message": message}}, **more}]


def test_no_deployment() -> None:
    assert not workload_state(None, []).exists


def test_rolled_out() -> None:
    state = workload_state(deployment(**FULL), [])
    assert state.rolled_out and not state.updating and state.describe() == ""


@pytest.mark.parametrize(
    ("status", "generation"),
    [
        (FULL, 3),
        ({**FULL, "updatedReplicas": 0}, 2),
        ({**FULL, "replicas": 2}, 2),
        ({}, 2),
    ],
    ids=["not seen by the controller", "old pod", "old pod still there", "no pod"],
)
def test_updating(status: dict[str, int], generation: int) -> None:
    state = workload_state(deployment(generation=generation, **status), [])
    assert state.updating and not state.rolled_out


def test_a_pod_that_lost_readiness_is_no_update() -> None:
    state = workload_state(deployment(**{**FULL, "readyReplicas": 0, "availableReplicas": 0}), [])
    assert not state.rolled_out and not state.updating


def test_scaled_to_zero_is_rolled_out() -> None:
    assert workload_state(deployment(wanted=0), []).rolled_out


def test_refused_pods_are_named() -> None:
    status: Any = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]}
    state = workload_state(deployment(**status), [])
    assert state.hard and state.describe() == "pods are refused: quota"


def test_progress_deadline_is_hard() -> None:
    status: Any = {"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}
    assert workload_state(deployment(**status), []).hard


def test_unschedulable_names_message_and_cure() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    trouble = pod_trouble(pod(conditions=[condition]))
    assert trouble and trouble.hard
    assert "0/3 nodes are available" in trouble.text and "placement: Preferred" in trouble.text


def test_image_that_cannot_be_pulled() -> None:
    trouble = pod_trouble(pod(containerStatuses=waiting("ImagePullBackOff", "no such tag")))
    assert trouble and trouble.hard
    assert "no such tag" in trouble.text and "imagePullSecrets" in trouble.text


def test_missing_secret() -> None:
    statuses = waiting("CreateContainerConfigError", 'secret "x" not found')
    trouble = pod_trouble(pod(containerStatuses=statuses))
    assert trouble and trouble.hard and 'secret "x" not found' in trouble.text


def test_crash_loop_tells_last_exit_and_where_to_look() -> None:
    statuses = waiting(
        "CrashLoopBackOff",
        restartCount=4,
        lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    )
    trouble = pod_trouble(pod(containerStatuses=statuses))
    assert trouble and trouble.hard
    assert "exit code 137 (OOMKilled)" in trouble.text
    assert "kubectl logs p-1 -c dpe --previous" in trouble.text and "4 restarts" in trouble.text


def test_init_container_counts() -> None:
    trouble = pod_trouble(pod(initContainerStatuses=waiting("ErrImagePull", "gone")))
    assert trouble and "gone" in trouble.text


def test_starting_pod_is_a_soft_trouble() -> None:
    trouble = pod_trouble(pod(phase="Running"))
    assert trouble and not trouble.hard and "Running" in trouble.text


def test_ready_and_terminating_pods_are_no_trouble() -> None:
    leaving = pod(phase="Running")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert pod_trouble(pod(ready_since=NOW)) is None
    assert pod_trouble(leaving) is None


def test_hard_troubles_come_first_and_once() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "full"}
    stuck = pod(conditions=[condition])
    state = workload_state(deployment(wanted=3), [pod(phase="Pending"), stuck, stuck])
    assert state.describe().startswith("pod p-1 finds no node: full")
    assert state.describe().count("finds no node") == 1


def test_settled_needs_every_pod_ready_for_a_while() -> None:
    old, new = NOW - timedelta(seconds=3), NOW - timedelta(seconds=2)
    assert is_settled([pod(ready_since=old)], NOW)
    assert not is_settled([pod(ready_since=old), pod(ready_since=new)], NOW)
    assert not is_settled([pod()], NOW)
    assert not is_settled([], NOW)
    assert settled_for([pod(ready_since=old), pod(ready_since=new)], NOW) == 2
    assert settled_for([pod()], NOW) == 0


PREFERRED = "or write placement: Preferred"


@pytest.mark.parametrize(
    ("why", "cure"),
    [
        ("0/4 nodes are available: 2 node(s) didn't match pod anti-affinity rules", "add nodes"),
        ("0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims", "needs a volume"),
        ('persistentvolumeclaim "par-master" not found', "needs a volume"),
        ("0/2 nodes are available: 2 Insufficient nvidia.com/gpu", "add nodes with what is ins"),
        ("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread"
         " constraints", PREFERRED),
    ],
)  # fmt: skip
def test_cure_of_a_pod_without_a_node_fits_the_reason(why: str, cure: str) -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "message": why}
    trouble = pod_trouble(pod(conditions=[scheduled]))
    assert trouble is not None and trouble.hard
    assert cure in trouble.text
    assert ("add nodes" in trouble.text) == (cure != "needs a volume")
    assert ("placement: Preferred" in trouble.text) == (cure in ("add nodes", PREFERRED))


def waiting_for_its_volumes(since: datetime) -> dict[str, Any]:
    told = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": since.isoformat()},
        {"type": "PodReadyToStartContainers", "status": "False"},
    ]
    return pod(phase="Pending", conditions=told, containerStatuses=waiting("ContainerCreating"))


@pytest.mark.parametrize(("minutes", "hard"), [(4, False), (5, True)])
def test_a_pod_that_is_kept_from_its_start_says_where_to_look(minutes: int, hard: bool) -> None:
    """A Secret or claim that is not there is in the pod's events only, which nobody reads here."""
    stuck = waiting_for_its_volumes(NOW - timedelta(minutes=minutes))
    state = workload_state(deployment(), [stuck], NOW)
    assert state.hard == hard and "kubectl describe pod p-1" in state.describe()


def test_a_pod_whose_image_takes_long_to_be_pulled_is_waited_for() -> None:
    slow = waiting_for_its_volumes(NOW - timedelta(hours=1))
    slow["status"]["conditions"][1]["status"] = "True"
    assert not workload_state(deployment(), [slow], NOW).hard
