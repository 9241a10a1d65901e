# SPDX-License-Identifier: Apache-2.0
"""Promise: in TLS mode Terminate planned work costs clients not even a second attempt, whatever is planned."""

import copy
import time
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.nodes import Nodes
from tests.e2e.site import Site, SiteFactory

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.node_fault,
    pytest.mark.level2,
    pytest.mark.timeout(900),
]

Work = Callable[[Site, Nodes], None]


@pytest.fixture
def term(sites: SiteFactory) -> Site:
    """One site for all of them; each finds it whole."""
    site = sites.get("planned")
    site.set_back(timeout=120)
    return site


@pytest.fixture
def nodes(term: Site) -> Iterator[Nodes]:
    machines = Nodes(term.kube)
    yield machines
    machines.repair_all()
    term.kube.wait_ready("dpe", term.name, timeout=240)


def drain(site: Site, nodes: Nodes) -> None:
    nodes.drain(site.node_of_member(site.active()))


def roll(site: Site, nodes: Nodes) -> None:
    changed, mark = copy.deepcopy(site.manifest), f"{time.time():.0f}"
    changed["spec"]["server"]["podAnnotations"] = {"example.com/round": mark}
    site.kube.apply(changed)
    eventually(
        lambda: all(site.member_annotation(name, "example.com/round") == mark for name in "ab"),
        timeout=240, what="both members carry the new template", describe=site.describe,
    )  # fmt: skip
    site.manifest.update(changed)


def other_settings(site: Site, nodes: Nodes) -> None:
    changed, old = copy.deepcopy(site.manifest), site.balancer_uids()
    timings = changed["spec"]["server"]["loadBalancer"]["timings"]
    timings["checkInterval"] = "600ms" if timings["checkInterval"] == "500ms" else "500ms"
    site.kube.apply(changed)

    def replaced() -> bool:
        uids = site.balancer_uids()
        return len(uids) == 2 and not uids & old

    eventually(replaced, timeout=240, what="both balancers are new", describe=site.describe)
    site.manifest.update(changed)


@pytest.mark.parametrize("work", [roll, other_settings, drain])
def test_under_load_no_request_fails(term: Site, nodes: Nodes, work: Work) -> None:
    avoided = term.node_of_member(term.active())
    with term.load(seconds=400, avoid_node=avoided) as load:
        work(term, nodes)
        if work is not drain:  # with a node less the other member has no place
            term.kube.wait_ready("dpe", term.name, timeout=240)
        load.stop(after=5)
        seen = load.summary()
    assert (seen["failedAfterRetries"], load.lost()) == (0, 0), load.story()
    assert load.gap_seconds() < 6, load.story()


def test_a_drain_of_an_idle_site_moves_the_active_server(term: Site, nodes: Nodes) -> None:
    before = term.active()
    drain(term, nodes)
    term.wait_active_is_not(before)
    with term.load(seconds=5) as load:
        assert load.summary()["failedAfterRetries"] == 0, load.story()
