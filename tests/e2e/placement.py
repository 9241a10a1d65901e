# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a site run, and how they get to where a test wants its fault to hit them."""

from __future__ import annotations

from tests.e2e.kubectl import Kubectl, eventually
from tests.e2e.site import Site

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def worker_nodes(kube: Kubectl) -> list[str]:
    """All nodes that run a site's pods."""
    nodes = kube.list("nodes")
    return [n["metadata"]["name"] for n in nodes if CONTROL_PLANE not in n["metadata"]["labels"]]


def control_plane_node(kube: Kubectl) -> str:
    """The node with API server and etcd."""
    (node,) = (n for n in kube.list("nodes") if CONTROL_PLANE in n["metadata"]["labels"])
    return str(node["metadata"]["name"])


def balancer_nodes(site: Site) -> dict[str, str]:
    """Node to balancer pod, ending ones left out."""
    labels = {"app.kubernetes.io/instance": site.name, "app.kubernetes.io/component": "balancer"}
    return {
        pod["spec"]["nodeName"]: pod["metadata"]["name"]
        for pod in site.kube.list("pod", labels)
        if "deletionTimestamp" not in pod["metadata"]
    }


def make_routed(site: Site, balancer: str) -> None:
    """See to it that clients are sent to this balancer.

    The other one is replaced, on the node that it was on: no other takes pods meanwhile.
    """
    routed = site.routed_balancer()
    if routed == balancer:
        return
    home = site.node_of_pod(routed)
    others = [node for node in worker_nodes(site.kube) if node != home]
    site.kube.run("cordon", *others)
    try:
        site.kube.delete("pod", routed)
        eventually(
            lambda: site.routed_balancer() == balancer, timeout=30, what=f"{balancer} is routed"
        )
        site.kube.wait_ready("dpe", site.name)
    finally:
        site.kube.run("uncordon", *others)


def make_active(site: Site, member: str) -> None:
    """Switch to this member, unless it is active."""
    if site.active() != member:
        site.kube.annotate("dpe", site.name, switch_to=member)
        site.wait_active(member)


def gather(site: Site) -> str:
    """Bring routed balancer and active member onto one node; returns it.

    Two members and two balancers on three workers: one node at least has one of each.
    """
    balancers = balancer_nodes(site)
    members = {site.node_of_member(name): name for name in ("a", "b")}
    both = sorted(set(balancers) & set(members))
    assert both, f"balancers on {sorted(balancers)}, members on {sorted(members)}"
    make_routed(site, balancers[both[0]])
    make_active(site, members[both[0]])
    return both[0]
