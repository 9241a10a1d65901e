# SPDX-License-Identifier: Apache-2.0
"""Pod templates never follow the nodes of the moment: one that changes when a node dies would restart what survived."""

from itertools import cycle
from typing import Any

import pytest
from tests.support.planning_world import World, cluster

from dpe_operator.planning.objects import Obj

KINDS = (("DpeCluster", "radio"), ("DpeServer", "radio"), ("ProcessorFarm", "radio-audio"))


def settled_site(nodes: int, *, lost: int = 0) -> dict[str, Obj]:
    """Deployment templates of a site whose pods run on so many nodes, of which some are lost."""
    world = World(cluster(processors=[{"type": "audio", "image": "dpe-audio:1"}]))
    _settle(world)
    world.run_all()
    place = cycle(range(nodes))
    for ref, pod in list(world.objects.items()):
        if ref.kind != "Pod":
            continue
        node = next(place)
        pod["spec"]["nodeName"] = f"node-{node}"
        if node < lost:
            pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    world.record("radio")
    _settle(world)
    return {
        ref.name: obj["spec"]["template"]
        for ref, obj in world.objects.items()
        if ref.kind == "Deployment"
    }


def _settle(world: World) -> Any:
    for kind, name in KINDS:
        world.settle(kind, name)


@pytest.mark.parametrize(("nodes", "lost"), [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (3, 3)])
def test_templates_are_equal_whatever_the_nodes(nodes: int, lost: int) -> None:
    templates = settled_site(nodes, lost=lost)
    assert set(templates) == {
        "radio-member-a",
        "radio-member-b",
        "radio-balancer",
        "radio-audio-processor",
    }
    assert templates == settled_site(3)
