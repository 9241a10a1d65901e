# SPDX-License-Identifier: Apache-2.0
"""Workflow components: who acts, what keeps two apart, what the elector is told."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.unit.builders.builder_samples import container, env, pod_spec
from tests.unit.builders.workflow_samples import (
    ELECTOR,
    ELECTOR_IMAGE,
    FOLDER,
    LONG,
    SCHEDULER,
    TABLE,
    WORKER,
    candidates,
    deployments,
    flags,
    members,
    workflow_context,
    workflow_spec,
)

from dpe_operator.api import constants
from dpe_operator.builders import workflow
from dpe_operator.builders.context import Manifest

KINDS = [WORKER, SCHEDULER, TABLE, FOLDER]


# --- Standby


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_is_started_by_the_elector_only(kind: str) -> None:
    found = container(candidates(kind, args=["--fast", "$(DPE_SERVICE_ROOT)"]))

    assert found["command"][:4] == [
        "/dpe-elector/ld.so", "--library-path", "/dpe-elector/lib", "/dpe-elector/bin/python3",
    ]  # fmt: skip
    assert ELECTOR in found["command"]
    after = found["command"][found["command"].index("--") + 1 :]
    assert after == ["/opt/dpe/run", "--quiet", "--fast", "$(DPE_SERVICE_ROOT)"]
    assert "args" not in found


def test_the_elector_s_flags() -> None:
    found = candidates(
        WORKER, timings={"profile": "Fast"}, probePort=9000, terminationGracePeriodSeconds=30
    )
    told = flags(container(found)["command"], ELECTOR)

    assert told == {
        "--lease": "news-worker",
        "--profile": "Fast",
        "--grace": "27",
        "--probe-port": "9000",
    }
    assert pod_spec(found)["terminationGracePeriodSeconds"] == 30
    for probe in ("livenessProbe", "readinessProbe"):
        assert container(found)[probe]["httpGet"]["port"] == 9000


def test_the_elector_comes_by_an_init_container_and_is_read_only() -> None:
    found = pod_spec(candidates(SCHEDULER))
    [init] = found["initContainers"]

    assert init["image"] == ELECTOR_IMAGE
    assert init["command"] == ["dpe-elector-install", "/dpe-elector"]
    assert init["securityContext"]["readOnlyRootFilesystem"] is True
    [mount] = [m for m in found["containers"][0]["volumeMounts"] if m["name"] == "dpe-elector"]
    assert mount == {"name": "dpe-elector", "mountPath": "/dpe-elector", "readOnly": True}


def test_the_token_is_in_the_main_container_only() -> None:
    sidecar = {"spec": {"containers": [{"name": "shipper", "image": "shipper:1"}]}}
    found = pod_spec(candidates(SCHEDULER, podTemplate=sidecar))
    mounting = {
        entry["name"]
        for entry in [*found["containers"], *found["initContainers"]]
        for mount in entry.get("volumeMounts", ())
        if mount["name"] == "dpe-elector-api"
    }
    [volume] = [volume for volume in found["volumes"] if volume["name"] == "dpe-elector-api"]

    assert mounting == {"dpe"}
    assert found["automountServiceAccountToken"] is False
    token, *others = volume["projected"]["sources"]
    assert token == {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    assert [list(source) for source in others] == [["configMap"], ["downwardAPI"]]


def test_who_the_pod_is_cannot_be_overwritten() -> None:
    spec = workflow_spec(WORKER, "Standby", env=[{"name": "DPE_ELECTOR_POD_UID", "value": "me"}])
    [found] = deployments(WORKER, spec)

    assert env(found)["DPE_ELECTOR_POD_UID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"


@pytest.mark.parametrize("resources", [None, {"requests": {"cpu": 1}}, {"limits": {"memory": 1}}])
def test_no_cpu_limit_where_an_elector_runs(resources: Any) -> None:
    changes = {} if resources is None else {"resources": resources}
    found = pod_spec(candidates(WORKER, **changes))

    for entry in [*found["containers"], *found["initContainers"]]:
        assert "cpu" not in entry["resources"].get("limits", {})


def test_an_update_leaves_a_candidate_and_needs_no_further_host() -> None:
    found = candidates(TABLE, replicas=3)["spec"]

    assert found["replicas"] == 3
    assert found["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_pull_policy_is_the_elector_image_s_alone() -> None:
    spec = workflow_spec(WORKER, "Standby")
    [found] = workflow.workflow_deployments(
        workflow_context(WORKER, spec),
        WORKER,
        spec,
        schedules=(),
        elector_image="e",
        elector_pull_policy="Never",
    )

    assert pod_spec(found)["initContainers"][0]["imagePullPolicy"] == "Never"
    assert "imagePullPolicy" not in container(found)


# --- rights and Lease


def rights(**changes: Any) -> dict[str, Manifest]:
    spec = workflow_spec(WORKER, "Standby", **changes)
    found = workflow.workflow_rights(workflow_context(WORKER, spec), WORKER, spec)
    return {manifest["kind"]: manifest for manifest in found}


def test_rights_on_the_own_lease_by_name_and_nothing_else() -> None:
    assert rights()["Role"]["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["news-worker"],
            "verbs": ["get", "watch", "update"],
        }
    ]


@pytest.mark.parametrize(("named", "account"), [(None, "news-worker"), ("runtime", "runtime")])
def test_the_account_of_the_pods_has_the_rights(named: str | None, account: str) -> None:
    changes = {} if named is None else {"serviceAccountName": named}
    found = rights(**changes)

    assert ("ServiceAccount" in found) is (named is None), "nobody else's account is made"
    assert [subject["name"] for subject in found["RoleBinding"]["subjects"]] == [account]
    assert pod_spec(candidates(WORKER, **changes))["serviceAccountName"] == account


@pytest.mark.parametrize("kind", KINDS)
def test_concurrent_members_have_neither_elector_nor_rights(kind: str) -> None:
    spec = workflow_spec(kind, "Concurrent")

    assert workflow.workflow_rights(workflow_context(kind, spec), kind, spec) == []
    for found in deployments(kind, spec):
        pod = pod_spec(found)
        assert "initContainers" not in pod and "serviceAccountName" not in pod
        assert not [volume for volume in pod["volumes"] if "projected" in volume]


def test_only_the_first_lease_says_that_nobody_acts() -> None:
    spec = workflow_spec(TABLE, "Standby")
    context = workflow_context(TABLE, spec)
    wish = {constants.ANNOTATION_ACCEPT_MEMORY_LOSS: "3"}
    first, applied = workflow.workflow_lease(context, TABLE, annotations=wish, first=True)
    later, same = workflow.workflow_lease(context, TABLE, annotations=wish)

    assert first["metadata"]["annotations"] == {
        **wish,
        "dpe.dev/elector-record": '{"state":"released","epoch":0}',
    }
    assert later["metadata"]["annotations"] == wish
    assert first["spec"] == later["spec"] == {"holderIdentity": "", "leaseTransitions": 0}
    assert applied == same and "spec" not in applied
    assert applied["metadata"]["annotations"] == wish


# --- Concurrent


def test_schedulers_fire_one_after_the_other() -> None:
    found = members(SCHEDULER, replicas=3, schedule="30 23 * * *", timeZone="UTC", stagger="20m")

    assert [env(each)["DPE_SCHEDULE"]["value"] for each in found] == [
        "30 23 * * *", "50 23 * * *", "10 0 * * *",
    ]  # fmt: skip
    assert [env(each)["DPE_WORKFLOW_MEMBER"]["value"] for each in found] == ["1", "2", "3"]
    assert {env(each)["DPE_TIME_ZONE"]["value"] for each in found} == {"UTC"}


def test_too_few_schedules_are_a_mistake_of_the_caller() -> None:
    spec = workflow_spec(SCHEDULER, "Concurrent")
    with pytest.raises(ValueError, match="shorter"):
        workflow.workflow_deployments(
            workflow_context(SCHEDULER, spec),
            SCHEDULER,
            spec,
            schedules=("0 2 * * *",),
            elector_image="e",
        )


@pytest.mark.parametrize("kind", [SCHEDULER, TABLE, FOLDER])
def test_members_differ_keep_apart_and_never_run_twice(kind: str) -> None:
    found = members(kind, replicas=3)
    names = [each["metadata"]["name"] for each in found]

    assert len(set(names)) == 3
    for number, each in enumerate(found, start=1):
        assert each["spec"]["strategy"] == {"type": "Recreate"}
        assert each["spec"]["replicas"] == 1
        selected = each["spec"]["selector"]["matchLabels"]
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert selected[constants.LABEL_MEMBER] == str(number)
        assert selected.items() <= labels.items()
        [term] = pod_spec(each)["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        others = term["labelSelector"]
        assert others["matchLabels"].items() <= labels.items(), "members of one component"
        assert others["matchExpressions"][0]["values"] == [str(number)]


@pytest.mark.parametrize("name", ["news", LONG])
def test_members_keep_their_computer_names(name: str) -> None:
    spec = workflow_spec(FOLDER, "Concurrent", replicas=10)
    hosts = [pod_spec(each)["hostname"] for each in deployments(FOLDER, spec, name=name)]

    assert hosts[0] == f"{name}-folder-watcher-1"
    assert len(set(hosts)) == 10 and max(map(len, hosts)) <= 63
    assert hosts[9].endswith("-10")


@pytest.mark.parametrize("name", ["news", "n", "news-1-2", LONG])
@pytest.mark.parametrize("kind", [SCHEDULER, TABLE, FOLDER])
def test_windows_computer_names_are_short_enough_to_differ(kind: str, name: str) -> None:
    """Windows cuts them to 15 characters: the number, and what tells components apart, are in."""
    spec = workflow_spec(kind, "Concurrent", os="windows", replicas=100)
    other = f"{name}x" if len(name) < len(LONG) else f"{name[:-1]}y"
    hosts = [
        pod_spec(each)["hostname"]
        for each in (*deployments(kind, spec, name=name), *deployments(kind, spec, name=other))
    ]
    assert len(set(hosts)) == 200 and max(map(len, hosts)) <= 15
    assert hosts[0].endswith("-1") and hosts[99].endswith("-100")
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", host) for host in hosts)


def test_a_windows_computer_name_that_is_short_enough_stays_whole() -> None:
    spec = workflow_spec(SCHEDULER, "Concurrent", os="windows", replicas=10)
    hosts = [pod_spec(each)["hostname"] for each in deployments(SCHEDULER, spec, name="abc")]
    assert hosts[0] == "abc-scheduler-1" and hosts[9] != "abc-scheduler-10"


def test_workers_are_a_farm() -> None:
    [found] = members(WORKER, replicas=5)

    assert found["spec"]["replicas"] == 5
    assert pod_spec(found)["topologySpreadConstraints"][0]["minDomains"] == 2
    assert [t["tolerationSeconds"] for t in pod_spec(found)["tolerations"]] == [30, 30]
    assert "DPE_WORKFLOW_MEMBER" not in env(found)


# --- both modes


@pytest.mark.parametrize("kind", KINDS)
def test_no_deployment_has_the_name_of_one_of_the_other_mode(kind: str) -> None:
    standby = candidates(kind)["metadata"]["name"]

    assert standby not in {each["metadata"]["name"] for each in members(kind, replicas=3)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["Standby", "Concurrent"])
def test_the_mode_is_on_the_pods_and_in_no_selector(kind: str, mode: str) -> None:
    spec = workflow_spec(kind, mode)
    budget = workflow.workflow_pdb(workflow_context(kind, spec), kind, spec)
    assert budget is not None
    for found in deployments(kind, spec):
        labels = found["spec"]["template"]["metadata"]["labels"]
        assert labels[constants.LABEL_MODE] == mode.lower()
        assert constants.LABEL_MODE not in found["spec"]["selector"]["matchLabels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("replicas", [0, 1])
def test_no_budget_over_a_single_pod(replicas: int) -> None:
    spec = workflow_spec(WORKER, "Concurrent", replicas=replicas, allowSingleReplica=True)

    assert workflow.workflow_pdb(workflow_context(WORKER, spec), WORKER, spec) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["Standby", "Concurrent"])
def test_two_pods_where_nobody_says_a_number(kind: str, mode: str) -> None:
    found = deployments(kind, workflow_spec(kind, mode))

    assert sum(each["spec"]["replicas"] for each in found) == 2


def test_declared_values_come_first_and_word_for_word() -> None:
    title = "%tableid%-%entryid% $(NAME) $$"
    found = candidates(
        TABLE, titleTemplate=title, env=[{"name": "COPY", "value": "$(DPE_TITLE_TEMPLATE)"}]
    )
    names = list(env(found))

    # Kubernetes makes one dollar of two, and replaces nothing behind them
    assert env(found)["DPE_TITLE_TEMPLATE"]["value"].replace("$$", "$") == title
    assert names.index("DPE_TITLE_TEMPLATE") < names.index("COPY")
    assert {"DPE_SCHEDULE", "DPE_TIME_ZONE", "DPE_MEMORY_PATH"} & set(names) == set()
