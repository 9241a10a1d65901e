# SPDX-License-Identifier: Apache-2.0
"""A pair whose port changes: the balancers that run and those to come both reach both servers."""

import copy

import pytest
from tests.support.pair_world import KIND, request, serving_pair, state
from tests.support.planning_world import World, server

from dpe_operator.planning.objects import Obj

BOTH = {443: "dpe", 8443: "dpe-8443"}


@pytest.fixture
def world() -> World:
    return serving_pair()


def ports(world: World, member: str = "a") -> dict[int, str]:
    """Numbers and names of the ports of a member's Service."""
    found = world.get("Service", f"radio-member-{member}")["spec"]["ports"]
    assert {(port["targetPort"], port["protocol"]) for port in found} == {("dpe", "TCP")}
    assert len({port["port"] for port in found}) == len(found)
    assert len({port["name"] for port in found}) == len(found)
    return {port["port"]: port["name"] for port in found}


def asked(world: World) -> set[int]:
    """The ports that the balancers of today's template ask the servers at."""
    live = world.get("Deployment", "radio-balancer")
    volumes = live["spec"]["template"]["spec"]["volumes"]
    [source] = [volume for volume in volumes if volume["name"] == "config-source"]
    config = world.get("ConfigMap", source["configMap"]["name"])["data"]["haproxy.cfg"]
    lines = [line.split() for line in config.splitlines()]
    return {int(words[2].rpartition(":")[2]) for words in lines if words[:1] == ["server"]}


def listens(world: World, member: str) -> int:
    """The port of the program in a member's Deployment."""
    live = world.get("Deployment", f"radio-member-{member}")
    [port] = live["spec"]["template"]["spec"]["containers"][0]["ports"]
    return int(port["containerPort"])


def edit(world: World, port: int) -> None:
    """Change the port as the pair's owner does."""
    world.edit(KIND, "radio", port=port)
    world.settle(KIND, "radio")


def roll(world: World, deployment: str) -> None:
    """Let the pods of a Deployment run as wanted, and do what is planned then."""
    world.run(deployment)
    world.settle(KIND, "radio")


def with_port(world: World, member: str, port: Obj) -> None:
    """Add a port to a member's Service by hand, in front of ours."""
    live = copy.deepcopy(world.get("Service", f"radio-member-{member}"))
    live["spec"]["ports"].insert(0, port)
    world.put(live)


# --- one edit


def test_both_ports_lead_to_both_servers_until_the_balancers_are_new(world: World) -> None:
    edit(world, 8443)
    assert ports(world, "a") == ports(world, "b") == BOTH, "the port in use keeps its name"
    assert asked(world) == {443}
    assert (listens(world, "a"), listens(world, "b")) == (443, 8443)

    roll(world, "radio-member-b")
    assert asked(world) == {8443} and listens(world, "a") == 443
    assert ports(world, "a") == ports(world, "b") == BOTH, "the first of the balancers is new"
    world.run("radio-balancer", ready=False)
    world.settle(KIND, "radio")
    assert ports(world) == BOTH

    roll(world, "radio-balancer")
    assert ports(world, "a") == ports(world, "b") == {8443: "dpe-8443"}
    assert request(world) == "b@0"
    world.record("radio", active="b", count=1)
    world.settle(KIND, "radio")
    assert listens(world, "a") == 8443
    roll(world, "radio-member-a")
    assert state(world, "Ready")[0] == "True"


def test_a_port_where_nobody_answers_leaves_the_other_server_in_reach(world: World) -> None:
    edit(world, 8443)
    world.run("radio-member-b", ready=False)
    world.record("radio", b="DOWN")
    world.settle(KIND, "radio")
    assert asked(world) == {443} and listens(world, "a") == 443
    assert ports(world, "a") == BOTH

    edit(world, 443)
    assert ports(world, "a") == ports(world, "b") == {443: "dpe"}
    assert (listens(world, "a"), listens(world, "b")) == (443, 443)


def test_a_program_that_stays_at_its_own_port() -> None:
    """It is told the new address of the pair, so it is updated all the same."""
    world = serving_pair(containerPort=9000)
    edit(world, 8443)
    assert ports(world, "a") == ports(world, "b") == BOTH and asked(world) == {443}
    roll(world, "radio-member-b")
    assert asked(world) == {8443} and ports(world) == BOTH
    roll(world, "radio-balancer")
    assert ports(world) == {8443: "dpe-8443"}
    assert (listens(world, "a"), listens(world, "b")) == (9000, 9000)


def test_balancers_that_roll_at_once_find_the_server_in_the_cluster() -> None:
    """Nothing is known of a server outside, so the balancers wait for nobody."""
    outside = {"name": "b", "external": {"host": "b.studio.example"}}
    world = serving_pair(members=[{"name": "a"}, outside])
    edit(world, 8443)
    world.run("radio-balancer", ready=False)
    world.record("radio", b="DOWN")
    world.settle(KIND, "radio")
    assert asked(world) == {8443} and listens(world, "a") == 443
    assert ports(world) == BOTH
    roll(world, "radio-balancer")
    assert ports(world) == {8443: "dpe-8443"}


def test_a_balancer_that_is_about_to_end_still_has_its_way(world: World) -> None:
    edit(world, 8443)
    roll(world, "radio-member-b")
    world.run("radio-balancer")
    pod = copy.deepcopy(world.get("Pod", "radio-balancer-0"))
    pod["metadata"] |= {"name": "radio-balancer-old", "deletionTimestamp": "2026-11-22T12:00:30Z"}
    world.put(pod)
    world.settle(KIND, "radio")
    assert ports(world) == BOTH
    world.remove("Pod", "radio-balancer-old")
    world.settle(KIND, "radio")
    assert ports(world) == {8443: "dpe-8443"}


# --- another edit halfway


def test_set_back_while_the_balancers_roll(world: World) -> None:
    edit(world, 8443)
    roll(world, "radio-member-b")
    world.run("radio-balancer", ready=False)
    edit(world, 443)
    assert ports(world, "a") == ports(world, "b") == BOTH
    roll(world, "radio-member-b")
    assert asked(world) == {443} and ports(world) == BOTH
    roll(world, "radio-balancer")
    assert ports(world) == {443: "dpe"}


def test_a_third_port_halfway(world: World) -> None:
    edit(world, 8443)
    roll(world, "radio-member-b")
    world.run("radio-balancer", ready=False)
    edit(world, 9443)
    assert ports(world, "a") == ports(world, "b") == {**BOTH, 9443: "dpe-9443"}
    roll(world, "radio-member-b")
    roll(world, "radio-balancer")
    assert ports(world, "a") == ports(world, "b") == {9443: "dpe-9443"}


def test_one_edit_after_the_other(world: World) -> None:
    for number, name in ((8443, "dpe-8443"), (443, "dpe"), (9443, "dpe-9443")):
        edit(world, number)
        for deployment in ("radio-member-b", "radio-balancer"):
            roll(world, deployment)
        world.record("radio", active="b")
        world.settle(KIND, "radio")
        roll(world, "radio-member-a")
        world.record("radio")
        world.settle(KIND, "radio")
        assert ports(world, "a") == ports(world, "b") == {number: name}


# --- what others do


@pytest.mark.parametrize(
    "port",
    [
        {"name": "extra", "port": 444, "targetPort": "dpe", "protocol": "TCP"},
        {"name": "dpe-445", "port": 444, "targetPort": "dpe", "protocol": "TCP"},
        {"name": "dpe-444", "port": 444, "targetPort": 9000, "protocol": "TCP"},
        {"name": "dpe-444", "port": 444, "targetPort": "dpe", "protocol": "UDP"},
    ],
)
def test_ports_of_others_are_no_former_ones_of_ours(world: World, port: Obj) -> None:
    edit(world, 8443)
    with_port(world, "a", port)
    world.settle(KIND, "radio")
    assert ports(world) == BOTH


def test_no_port_stays_that_no_balancer_asks_for(world: World) -> None:
    with_port(world, "a", {"name": "dpe-444", "port": 444, "targetPort": "dpe", "protocol": "TCP"})
    world.settle(KIND, "radio")
    assert ports(world) == {443: "dpe"}


def test_a_port_in_use_comes_back_whatever_is_done_to_the_service(world: World) -> None:
    edit(world, 8443)
    world.run("radio-member-b", ready=False)
    live = copy.deepcopy(world.get("Service", "radio-member-a"))
    live["spec"]["ports"] = [{"name": "web", "port": 80, "targetPort": 80, "protocol": "TCP"}]
    world.put(live)
    world.settle(KIND, "radio")
    assert set(ports(world)) == {443, 8443}

    world.remove("Service", "radio-member-a")
    world.settle(KIND, "radio")
    assert set(ports(world)) == {443, 8443}


def test_a_balancer_of_the_sites_own_follows_by_itself() -> None:
    """Nobody knows what it asks for, so nothing is kept for it."""
    world = World(server(loadBalancer={"type": "External"}))
    world.settle(KIND, "radio")
    world.run_all()
    edit(world, 8443)
    assert ports(world) == {8443: "dpe"}
