# SPDX-License-Identifier: Apache-2.0
"""No status is one that the API server refuses: it would stand still, conditions and all."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.par_world import NAME, STORE, SYNC, ParWorld
from tests.support.planning_world import World, cluster
from tests.support.status_schema import refusals
from tests.support.workflow_world import TABLE, WorkflowWorld, concurrent, standby

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj

SITE, SERVER = constants.KIND_CLUSTER, constants.KIND_SERVER
LONG = "radio-" + "x" * 300
HOST = ".".join(["h" * 60] * 4) + ".example12"

IMAGE = "registry.example.com/dpe:2.15"
MEMORY = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}


def component(name: str, **more: Any) -> Obj:
    return {"name": name, "mode": "Concurrent", "image": IMAGE, "replicas": 10, **more}


def largest() -> Obj:
    """A site with all that a spec takes."""
    ten = [f"{'x' * 12}-{number}" for number in range(10)]
    workflow = {
        "workers": [component(f"k{name}") for name in ten],
        "schedulers": [component(f"s{name}") for name in ten],
        "tableWatchers": [
            component(f"t{name}", titleTemplate="%tableid%%entryid%", memory=MEMORY) for name in ten
        ],
        "folderWatchers": [
            component(f"f{name}", titleTemplate="%filename%", memory=MEMORY) for name in ten
        ],
    }
    members = [{"name": "a" * 20}, {"name": "b", "external": {"host": HOST, "port": 65535}}]
    keys = [f"k{number}" + "x" * 250 for number in range(20)]
    core = {"engine": "Other", "secretRef": {"name": "s" * 253}, "requiredKeys": keys}
    content = [{**core, "name": f"c{number}{'x' * 17}"} for number in range(20)]
    return cluster(
        server={"members": members, "loadBalancer": {"failback": {"policy": "Automatic"}}},
        processors=[{"type": f"t{n}{'x' * 17}", "image": IMAGE, "replicas": 2} for n in range(20)],
        workflow=workflow,
        databases={"core": core, "content": content},
        parFiles={
            "master": {"size": "1Gi"},
            "redundant": [{"name": "r" * 20, "size": "1Gi"}],
            "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
        },
    )


MADE = (constants.KIND_FARM, constants.KIND_PAR_STORE, *constants.WORKFLOW_KINDS)


def settle_all(world: World) -> None:
    """Reconcile the site, its pair, and one resource of each other kind."""
    for _ in range(2):
        world.carry_out(SITE, "radio")
        world.carry_out(SERVER, "radio")
        for kind in MADE:
            for ref in [ref for ref in world.objects if ref.kind == kind][:1]:
                world.carry_out(kind, ref.name)


@pytest.fixture(scope="module")
def site() -> World:
    """The largest site. What one resource of a kind says is said by all of them."""
    world = World(largest())
    settle_all(world)
    world.run_all()
    world.record("radio", active="a" * 20)
    settle_all(world)
    for kind in MADE:
        found = [obj for ref, obj in world.objects.items() if ref.kind == kind]
        assert refusals(kind, found[0]["status"]) == []
        for obj in found:
            obj["status"] = copy.deepcopy(found[0]["status"])
    return world


def wait_for_an_upgrade(world: World, workloads: int) -> None:
    """Let so many workloads of each resource wait, ParStores have none."""
    for ref, obj in world.objects.items():
        if ref.kind in MADE and ref.kind != constants.KIND_PAR_STORE:
            obj["status"]["outdated"] = [f"{ref.name}-{number}" for number in range(workloads)]


def test_the_status_of_the_largest_site_is_taken(site: World) -> None:
    wait_for_an_upgrade(site, 8)
    status = site.plan(SITE, "radio").status
    assert refusals(SITE, status) == []
    assert len(status["workflow"]) == 40 and len(status["farms"]) == 20
    names = status["outdated"]
    assert len(names) == 64 and names[:-1] == sorted(names[:-1])
    assert names[-1] == f"and {60 * 8 - 63} more"
    pair = site.get(SERVER, "radio")["status"]
    assert refusals(SERVER, pair) == []
    assert pair["members"][1]["address"] == f"{HOST}:65535" and len(HOST) == 253


def test_a_site_with_few_enough_names_them_all(site: World) -> None:
    wait_for_an_upgrade(site, 1)
    names = site.plan(SITE, "radio").status["outdated"]
    assert len(names) == 60 and all(name.startswith("radio-") for name in names)


def test_an_upgrade_that_all_members_wait_for_is_taken() -> None:
    world = WorkflowWorld(
        concurrent(TABLE, replicas=10, memory=MEMORY, titleTemplate="%tableid%%entryid%")
    )
    world.well()
    world.work()
    assert refusals(TABLE, world.status) == [] and len(world.status["members"]) == 10


# --- what anybody may have written into annotations and Leases

TIMES = (
    "2026-11-22T12:00:00Z",
    "2026-11-22 12:00:00+00:00",
    "2026-11-22T12:00:00",
    "20261122T120000Z",
    "2026-W47-7T12:00:00Z",
    "2026-11-22T12Z",
    "2026-11-22T12:00:00." + "0" * 60 + "Z",
    "２０２６-11-22T12:00:00Z",
)
texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*TIMES, "a", "b", LONG, "Ready", "Lost"]),
)
numbers = st.one_of(st.integers(-1, 5), st.sampled_from([10**18, 2**63, 10**30, 10**300]))
plain = st.one_of(st.none(), st.booleans(), numbers, st.floats(), texts)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=30),
        st.fixed_dictionaries({}, optional={"count": inner, "names": inner}),
    ),
    max_leaves=8,
)
fields = st.one_of(numbers, texts, values)


def notes(*keys: str) -> Any:
    """Strategy: an annotation that should hold a JSON object with such keys."""
    entries = st.fixed_dictionaries({}, optional=dict.fromkeys(keys, fields))
    return st.one_of(texts, values.map(json.dumps), entries.map(json.dumps))


@cache
def pair() -> World:
    world = World(cluster())
    settle_all(world)
    world.run_all()
    world.record("radio")
    settle_all(world)
    return world


@settings(deadline=None, max_examples=150)
@given(
    last=notes("from", "to", "cause", "at", "gapMs"),
    since=texts,
    active=texts,
    count=st.one_of(texts, numbers.map(str)),
    states=notes("a", "b"),
    switches=notes(),
    routed=texts,
)
def test_nothing_in_the_record_of_a_pair_breaks_its_status(
    last: str, since: str, active: str, count: str, states: str, switches: str, routed: str
) -> None:
    world = pair()
    slice_ = world.get("EndpointSlice", "radio-balancer")
    slice_["metadata"]["annotations"] |= {
        constants.ANNOTATION_LAST_SWITCH: last,
        constants.ANNOTATION_ACTIVE_SINCE: since,
        constants.ANNOTATION_ACTIVE_MEMBER: active,
        constants.ANNOTATION_SWITCH_COUNT: count,
        constants.ANNOTATION_MEMBER_STATES: states,
        constants.ANNOTATION_UNPLANNED_SWITCHES: switches,
    }
    slice_["endpoints"][0]["targetRef"]["name"] = routed
    assert refusals(SERVER, world.plan(SERVER, "radio").status) == []


@cache
def watcher() -> WorkflowWorld:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.well()
    return world


@settings(deadline=None, max_examples=150)
@given(
    memory=notes("state", "reason", "message", "epoch", "from", "files", "bytes", "at"),
    record=notes("identity", "pod", "before", "crashLooping", "ends", "epoch", "state"),
    holder=texts,
)
def test_nothing_in_the_lease_of_a_watcher_breaks_its_status(
    memory: str, record: str, holder: str
) -> None:
    world = watcher()
    lease = world.lease()
    lease["metadata"]["annotations"] |= {
        constants.ANNOTATION_MEMORY: memory,
        constants.ANNOTATION_ELECTOR_RECORD: record,
    }
    lease["spec"]["holderIdentity"] = holder
    assert refusals(TABLE, world.plan(TABLE, "news").status) == []


@cache
def store() -> ParWorld:
    world = ParWorld()
    world.work()
    world.bind()
    world.work()
    return world


_RUN = (
    *("startedAt", "finishedAt", "result", "reason", "message", "job", "files", "bytes", "copied"),
    *("deleted", "deferred", "divergent", "overwritten", "skipped", "verified", "warnings"),
)
runs = st.one_of(
    notes(*_RUN),
    st.fixed_dictionaries(
        {"finishedAt": st.sampled_from(TIMES)},
        optional={key: fields for key in _RUN if key != "finishedAt"},
    ).map(json.dumps),
)


@settings(deadline=None, max_examples=150)
@given(last=runs, success=runs, wish=texts)
def test_nothing_in_the_result_of_a_copy_breaks_the_status(
    last: str, success: str, wish: str
) -> None:
    world = store()
    world.get("Lease", SYNC)["metadata"].setdefault("annotations", {}).update(
        {
            constants.ANNOTATION_PAR_RESULT: last,
            constants.ANNOTATION_PAR_LAST_SUCCESS: success,
        }
    )
    world.annotate(STORE, NAME, sync_now=wish)
    plan = world.plan(STORE, NAME)
    assert refusals(STORE, {**plan.status, **plan.done.fields}) == []
