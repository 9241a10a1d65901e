# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes would refuse in pods is refused in a spec that is new, and in no other."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.bad_input import BadInput
from tests.support.bad_input_pods import POD_ROWS
from tests.support.par_world import NAME, STORE, ParWorld, par_store
from tests.support.planning_world import NAMESPACE, World, cluster, server
from tests.support.samples import spec_of
from tests.support.workflow_world import (
    KINDS,
    WORKER,
    WorkflowWorld,
    concurrent,
    standby,
)
from tests.support.workflow_world import (
    NAME as NEWS,
)

from dpe_operator.api import constants
from dpe_operator.planning.memory import Memory
from dpe_operator.planning.objects import Ref

SITE, SERVER = constants.KIND_CLUSTER, constants.KIND_SERVER
TOO_MUCH = {"requests": {"memory": "8Gi"}, "limits": {"memory": "4Gi"}}


def accepted(world: World, kind: str, name: str) -> tuple[str, str]:
    world.carry_out(kind, name)
    found = world.condition(kind, name, "Accepted")
    return found["status"], found["message"]


def put_in_force(world: Any, kind: str, name: str, **shared: Any) -> None:
    """Remember the present spec as one that an older release has accepted; `shared`: what it took
    over from its DpeCluster, where that was something else."""
    ref = Ref(kind, NAMESPACE, name)
    before = world.memories[ref]
    spec = world.get(kind, name)["spec"]
    known = {"spec": spec, "shared": {**before.accepted["shared"], **shared}}
    world.memories[ref] = Memory(known, before.inputs, before.units)


def test_workflow_components_and_the_copy_are_asked_too() -> None:
    world: Any = WorkflowWorld(standby(WORKER, nodeSelector={"a b": "x"}))
    assert "spec.nodeSelector has the key 'a b'" in accepted(world, WORKER, "news")[1]
    component = {"name": "w", "mode": "Concurrent", "image": "x", "resources": TOO_MUCH}
    world = World(cluster(workflow={"workers": [component]}))
    assert "spec.workflow.workers[w].resources.requests" in accepted(world, SITE, "radio")[1]
    sync = {"schedule": "0 3 * * *", "timeZone": "UTC", "resources": TOO_MUCH}
    world = ParWorld(par_store(sync=sync))
    assert "spec.sync.resources.requests.memory is 8Gi" in accepted(world, STORE, NAME)[1]


def test_what_was_accepted_before_stays_in_force() -> None:
    """An older release accepted it: refused now, nothing of it would be repaired any more."""
    world = World(server())
    world.settle(SERVER, "radio")
    world.edit(SERVER, "radio", resources=TOO_MUCH)
    put_in_force(world, SERVER, "radio")
    assert accepted(world, SERVER, "radio")[0] == "True"
    world.edit(SERVER, "radio", podLabels={"a": "b"})
    status, message = accepted(world, SERVER, "radio")
    assert status == "False" and message.endswith("(what was accepted before stays in force)")
    assert len(world.plan(SERVER, "radio").children) > 5


ADDRESS: Any = [{"name": "a"}, {"name": "b", "external": {"host": "192.0.2.11"}}]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "members[b].external.host is the address 192.0.2.11, and"),
        ({"hostHeader": "192.0.2.12:8443"}, "health.hostHeader is the address 192.0.2.12, and"),
        ({"tls": {"serverName": "192.0.2.13"}}, "health.tls.serverName is the address 192.0.2.13"),
        ({"hostHeader": "dpe.studio.example"}, ""),
        ({"hostHeader": "192.0.2.12", "tls": {"serverName": "dpe.studio.example"}}, ""),
        ({"tls": {"verify": "None"}}, ""),
    ],
)
def test_a_certificate_is_checked_by_a_name(spec: Any, field: str) -> None:
    """HAProxy compares no addresses: any certificate of the authority was one of this member."""
    world = World(server(members=ADDRESS, health={"path": "/status", **spec}))
    status, message = accepted(world, SERVER, "radio")
    assert status == ("False" if field else "True")
    assert message.startswith(f"spec.{field}" if field else "")
    assert ("write spec.health.tls.serverName, the name in" in message) == bool(field)


@pytest.mark.parametrize(
    "spec",
    [
        {
            "health": {"path": "/status", "scheme": "HTTP"},
            "loadBalancer": {"tls": {"mode": "None"}},
        },
        {"loadBalancer": {"type": "External", "externalAddress": {"host": "dpe.studio.example"}}},
    ],
)
def test_where_the_balancer_checks_no_certificate_it_needs_no_name(spec: Any) -> None:
    assert accepted(World(server(members=ADDRESS, **spec)), SERVER, "radio")[0] == "True"


def test_a_member_by_address_that_was_accepted_before_stays_in_force() -> None:
    world = World(server())
    world.settle(SERVER, "radio")
    world.edit(SERVER, "radio", members=ADDRESS)
    put_in_force(world, SERVER, "radio")
    assert accepted(world, SERVER, "radio")[0] == "True"
    # what its DpeCluster hands to it is another now, which is no edit of this spec
    put_in_force(world, SERVER, "radio", hosts=["other"])
    assert accepted(world, SERVER, "radio")[0] == "True"


def probed(probe: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "dpe", "startupProbe": probe}]}}


SLOW_START: Any = {"tcpSocket": {"port": 1}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_that_stands_by_passes_no_startup_probe(kind: str) -> None:
    """It has not started the program: kubelet would kill it again and again."""
    world = WorkflowWorld(standby(kind, podTemplate=probed(SLOW_START)))
    status, message = accepted(world, kind, NEWS)
    assert status == "False" and message.startswith(
        "spec.podTemplate.spec.containers[dpe].startupProbe cannot be set, because the probes ask"
        " the elector: leave it out"
    )


def test_a_startup_probe_is_refused_in_a_site_too() -> None:
    component = {"name": "w", "mode": "Standby", "image": "x", "command": ["/bin/x"]}
    site = cluster(workflow={"workers": [{**component, "podTemplate": probed(SLOW_START)}]})
    assert (
        "workers[w].podTemplate.spec.containers[dpe].startupProbe cannot be set"
        in (accepted(World(site), SITE, "radio")[1])
    )


@pytest.mark.parametrize(
    "resource",
    [
        concurrent(WORKER, podTemplate=probed(SLOW_START)),
        standby(WORKER, podTemplate=probed(None)),
        standby(WORKER, podTemplate={"spec": {"containers": [{"name": "log", "image": "x",
                                                              "startupProbe": SLOW_START}]}}),
    ],
)  # fmt: skip
def test_startup_probes_of_what_runs_at_once_are_taken(resource: Any) -> None:
    assert accepted(WorkflowWorld(resource), WORKER, NEWS)[0] == "True"


def test_a_startup_probe_that_was_accepted_before_stays_in_force() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.work()
    world.change(podTemplate=probed(SLOW_START))
    put_in_force(world, WORKER, NEWS)
    assert accepted(world, WORKER, NEWS)[0] == "True"
    world.change(podLabels={"a": "b"})
    status, message = accepted(world, WORKER, NEWS)
    assert status == "False" and message.endswith("(what was accepted before stays in force)")
    assert world.plan(WORKER, NEWS).children


def run_as(user: str, **more: Any) -> dict[str, Any]:
    return {"windowsOptions": {"runAsUserName": user}, **more}


ADMIN = "ContainerAdministrator"


def of_pod(security: Any, **container: Any) -> dict[str, Any]:
    own = {"name": "dpe", **container}
    return {"spec": {"securityContext": security, "containers": [own]}}


@pytest.mark.parametrize(
    "patch",
    [
        of_pod(run_as("containeradministrator")),
        of_pod({}, securityContext=run_as(ADMIN)),
        of_pod({"runAsNonRoot": False}, securityContext=run_as(ADMIN, runAsNonRoot=True)),
        of_pod(run_as(ADMIN, runAsNonRoot=False), securityContext={"runAsNonRoot": True}),
        {"spec": {"initContainers": [{"name": "dpe", "securityContext": run_as(ADMIN)}]}},
    ],
)
def test_an_administrator_is_refused_where_none_may_run(patch: Any) -> None:
    status, message = accepted(World(server(os="windows", podTemplate=patch)), SERVER, "radio")
    assert status == "False"
    assert message.startswith("spec.podTemplate makes the container dpe run as ContainerAdmin")


@pytest.mark.parametrize(
    "patch",
    [
        None,
        of_pod(run_as(ADMIN, runAsNonRoot=False)),
        of_pod(run_as(ADMIN, runAsNonRoot=None)),
        of_pod(run_as(ADMIN), securityContext=run_as("ContainerUser")),
        of_pod({}, securityContext=run_as(ADMIN, runAsNonRoot=False)),
        of_pod(run_as("studio")),
    ],
)
def test_other_users_of_windows_are_taken(patch: Any) -> None:
    world = World(server(os="windows", podTemplate=patch))
    assert accepted(world, SERVER, "radio")[0] == "True"


@pytest.mark.parametrize("odd", ["x", 5, ["x"], {"windowsOptions": "x"}], ids=str)
def test_an_odd_security_context_is_left_to_others(odd: Any) -> None:
    patch = {"spec": {"containers": [{"name": "log", "securityContext": odd}]}}
    assert accepted(World(server(os="windows", podTemplate=patch)), SERVER, "radio")[0] == "True"


def test_another_shape_than_a_pod_template_is_told_as_such() -> None:
    world = World(server(os="windows", podTemplate={"spec": {"containers": "x"}}))
    message = accepted(world, SERVER, "radio")[1]
    assert message.startswith("spec.podTemplate.spec.containers is text: write a list there (")


def test_an_administrator_that_was_accepted_before_stays_in_force() -> None:
    world = World(server(os="windows"))
    world.settle(SERVER, "radio")
    world.edit(SERVER, "radio", podTemplate=of_pod(run_as(ADMIN)))
    put_in_force(world, SERVER, "radio")
    assert accepted(world, SERVER, "radio")[0] == "True"


# this one has always been refused
NEW_ROWS = [row for row in POD_ROWS if row.name != "sub-path-from-the-root"]


@pytest.mark.parametrize("row", NEW_ROWS, ids=str)
def test_what_the_api_server_refuses_now_is_still_read(row: BadInput) -> None:
    spec_of(row.resource)


@pytest.mark.parametrize(
    "amounts",
    [
        {
            "requests": {"memory": "1Gi", "cpu": "0.5"},
            "limits": {"memory": "1024Mi", "cpu": "500m"},
        },
        {"requests": {"cpu": "1e3"}, "limits": {"cpu": "1k"}},
        {"requests": {"ephemeral-storage": 5}, "limits": {"hugepages-2Mi": "4Mi"}},
        {"requests": {"nvidia.com/gpu": "1k"}, "limits": {"nvidia.com/gpu": 1000}},
        {"requests": {"kubernetes.io/odd": "1"}},
        {"limits": {"nvidia.com/gpu": 2}},
        {"requests": {"cpu": 0}},
        {},
    ],
)
def test_what_kubernetes_takes_is_taken(amounts: Any) -> None:
    world = World(server(resources=amounts, podAnnotations={"Studio.Example/x": ""}))
    assert accepted(world, SERVER, "radio")[0] == "True"


@pytest.mark.parametrize(
    "amounts",
    [
        {"memory": "524288Ki"},
        {"memory": "1e9", "cpu": ".5"},
        {"nvidia.com/gpu": "1e30"},
        {"nvidia.com/gpu": "2000m"},
    ],
    ids=lambda amounts: str(next(iter(amounts.values()))),
)
def test_amounts_are_read_however_they_are_written(amounts: dict[str, str]) -> None:
    world = World(server(resources={"requests": amounts, "limits": amounts}))
    assert accepted(world, SERVER, "radio")[0] == "True"


def test_a_part_of_a_device_is_refused() -> None:
    amounts = {"nvidia.com/gpu": "1.5"}
    world = World(server(resources={"requests": amounts, "limits": amounts}))
    assert "devices are counted whole" in accepted(world, SERVER, "radio")[1]


def test_a_claim_may_be_counted_in_kib() -> None:
    world = ParWorld(par_store(master={"size": "2097152Ki"}))
    world.work()
    world.bind()
    world.change(master={"size": "3Gi"})
    world.work()
    assert world.said("Accepted")[0] == "True" and world.said("ClaimsAsWanted")[0] == "True"
