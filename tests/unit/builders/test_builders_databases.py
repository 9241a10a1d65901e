# SPDX-License-Identifier: Apache-2.0
"""Databases in pods: by reference only, to those that are to have them, the user's own word wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.support.planning_world import World, cluster, farm
from tests.unit.builders.builder_samples import (
    container,
    env,
    pair_context,
    pair_spec,
    pod_spec,
)
from tests.unit.builders.workflow_samples import (
    ELECTOR_IMAGE,
    workflow_context,
    workflow_spec,
)

from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.constants import WORKFLOW_KINDS
from dpe_operator.api.databases import Databases
from dpe_operator.api.server import DpeServerSpec
from dpe_operator.builders.context import Manifest
from dpe_operator.builders.databases import delivered
from dpe_operator.builders.members import member_deployment
from dpe_operator.builders.workflow import workflow_deployments
from dpe_operator.planning.acceptance import parsed
from dpe_operator.planning.plan import ClusterView
from dpe_operator.planning.shared import shared_of
from dpe_operator.planning.shared import workflow_context as shared_workflow_context
from dpe_operator.planning.workflow_schedules import declared_schedules

CORE = {"name": "core", "secretRef": {"name": "dpe-core"}, "env": [{"name": "DB", "key": "uri"}]}
FILES = {"name": "content-news", "secretRef": {"name": "news"}, "mountPath": "/etc/dpe/news"}
EACH = {
    "name": "core",
    "members": [
        {"name": "a", "secretRef": {"name": "core-a"}},
        {"name": "b", "secretRef": {"name": "core-b"}},
    ],
    "env": [{"name": "DB", "key": "uri"}],
    "mountPath": "/etc/dpe/core",
}


def member(spec: DpeServerSpec, name: str = "a") -> Manifest | None:
    chosen = next(entry for entry in spec.members if entry.name == name)
    return member_deployment(pair_context(spec), spec, chosen)


def from_secret(secret: str, key: str = "uri") -> Manifest:
    return {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def test_a_variable_refers_to_the_secret() -> None:
    made = env(member(pair_spec(databases=[CORE])))
    assert made["DB"] == {"name": "DB", **from_secret("dpe-core")}


def test_files_are_mounted_read_only() -> None:
    made = member(pair_spec(databases=[FILES]))
    assert {"name": "dpe-database-content-news", "secret": {"secretName": "news"}} in (
        pod_spec(made)["volumes"]
    )
    assert {
        "name": "dpe-database-content-news",
        "mountPath": "/etc/dpe/news",
        "readOnly": True,
    } in container(made)["volumeMounts"]


@pytest.mark.parametrize(("name", "secret"), [("a", "core-a"), ("b", "core-b")])
def test_each_server_its_own(name: str, secret: str) -> None:
    made = member(pair_spec(databases=[EACH]), name)
    assert env(made)["DB"] == {"name": "DB", **from_secret(secret)}
    assert [v["secret"] for v in pod_spec(made)["volumes"] if "secret" in v] == [
        {"secretName": secret}
    ]


def test_a_server_without_one_of_its_own_is_given_none() -> None:
    made = member(pair_spec(databases=[{**EACH, "members": EACH["members"][:1]}]), "b")  # type: ignore[index]
    assert "DB" not in env(made)


@pytest.mark.parametrize("where", ["pair", "member"])
def test_an_own_variable_wins(where: str) -> None:
    own = [{"name": "DB", "value": "mine"}]
    changes: dict[str, Any] = {"databases": [CORE]}
    if where == "pair":
        changes["env"] = own
    else:
        changes["members"] = [{"name": "a", "env": own}, {"name": "b"}]
    assert env(member(pair_spec(**changes)))["DB"] == {"name": "DB", "value": "mine"}


def test_an_own_variable_may_refer_to_it() -> None:
    own = [{"name": "ARGS", "value": "--db $(DB)"}]
    names = list(env(member(pair_spec(databases=[CORE], env=own))))
    assert names.index("DB") < names.index("ARGS")


def test_an_own_volume_at_the_path_wins() -> None:
    own = [{"name": "mine", "mountPath": "/etc/dpe/news", "emptyDir": {}}]
    made = member(pair_spec(databases=[FILES], volumes=own))
    assert [m["name"] for m in container(made)["volumeMounts"]] == ["mine", "dpe-tmp"]


def test_the_variable_with_the_balancers_address_stays() -> None:
    bad = {**CORE, "env": [{"name": "DPE_SERVICE_ROOT", "key": "uri"}]}
    made = env(member(pair_spec(databases=[bad])))
    assert made["DPE_SERVICE_ROOT"]["value"].startswith("https://radio-balancer.")


SITE = {
    "core": {"engine": "Other", "secretRef": {"name": "c"}, "env": [{"name": "C", "key": "k"}]},
    "content": [
        {"name": "one", "engine": "Other", "secretRef": {"name": "o"}, "mountPath": "/o"},
        {
            "name": "two",
            "engine": "Other",
            "secretRef": {"name": "t"},
            "mountPath": "/t",
            "deliverTo": ["Processors"],
        },
        {"name": "checked-only", "engine": "Other", "secretRef": {"name": "x"}},
    ],
}


def test_who_is_given_what() -> None:
    databases = Databases.model_validate(SITE)
    names = {
        receiver: [entry.name for entry in delivered(databases, receiver)]
        for receiver in ("Servers", "Processors", "Workflow")
    }
    assert names == {
        "Servers": ["core", "content-one"],
        "Processors": ["content-two"],
        "Workflow": ["content-one"],
    }
    assert delivered(None, "Servers") == ()


def test_a_farm_is_given_its_databases() -> None:
    world = World(cluster(databases=SITE), farm())
    world.carry_out("DpeCluster", "radio")
    world.settle("ProcessorFarm", "video")
    mounts = container(world.get("Deployment", "video-processor"))["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == ["/t", "/tmp"]


@pytest.mark.parametrize("mode", ["Standby", "Concurrent"])
@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
def test_a_workflow_component_is_given_its_databases(kind: str, mode: str) -> None:
    spec = workflow_spec(kind, mode)
    databases = delivered(Databases.model_validate(SITE), "Workflow")
    made = workflow_deployments(
        replace(workflow_context(kind, spec), databases=databases),
        kind,
        spec,
        schedules=declared_schedules(spec),
        elector_image=ELECTOR_IMAGE,
    )
    assert made
    for deployment in made:
        assert "/o" in [mount["mountPath"] for mount in container(deployment)["volumeMounts"]]


def test_the_context_of_a_workflow_component_has_its_databases() -> None:
    world = World(cluster(databases=SITE))
    plan = world.carry_out("DpeCluster", "radio")
    assert plan.memory is not None
    spec = parsed(DpeClusterSpec, plan.memory.accepted["spec"])
    shared = shared_of(ClusterView("radio", True, spec), own_name="news", namespace="studio")
    settings = workflow_spec(WORKFLOW_KINDS[0], "Concurrent")
    context = shared_workflow_context(world.situation("DpeCluster", "radio"), settings, shared)
    assert [entry.name for entry in context.databases] == ["content-one"]


def test_the_pair_of_a_site_is_given_its_databases() -> None:
    world = World(cluster(databases=SITE))
    world.carry_out("DpeCluster", "radio")
    world.settle("DpeServer", "radio")
    made = world.get("Deployment", "radio-member-a")
    assert env(made)["C"] == {"name": "C", **from_secret("c", "k")}
    assert [mount["mountPath"] for mount in container(made)["volumeMounts"]] == ["/o", "/tmp"]


def test_without_databases_nothing_of_them_is_remembered() -> None:
    world = World(cluster(), farm())
    world.carry_out("DpeCluster", "radio")
    plan = world.carry_out("ProcessorFarm", "video")
    assert plan.memory is not None and "databases" not in plan.memory.accepted["shared"]
    assert "databases" not in world.get("DpeServer", "radio")["spec"]
