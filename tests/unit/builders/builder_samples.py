# SPDX-License-Identifier: Apache-2.0
"""Specs as users write them, and everything the builders make of one, for tests of all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpe_operator.api import constants
from dpe_operator.api.addresses import effective_placement, service_root
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.api.server import DpeServerSpec
from dpe_operator.api.site_workflow import WorkflowEntry
from dpe_operator.builders import (
    balancer,
    balancer_config,
    balancer_rights,
    client_profile,
    composed,
    failover_record,
    farm,
    members,
)
from dpe_operator.builders.context import ComponentContext, Manifest, Owner

BALANCER_IMAGE = "localhost/dpe/dpe-balancer:0123456789ab"
SERVICE_UID = "22222222-2222-2222-2222-222222222222"
LONG_NAME = "a23456789-123456789-123456789x"  # 30 characters
LONG_PART = "p23456789-12345678-x"  # 20 characters


def pair_spec(**changes: Any) -> DpeServerSpec:
    """The smallest pair, with top-level fields replaced by ``changes``."""
    spec: dict[str, Any] = {
        "image": "registry.example.com/dpe-server:2.15",
        "basePath": "/DpeWebApplication",
        "health": {"path": "/DpeWebApplication/status", "bodyContains": "ok"},
        "members": [{"name": "a"}, {"name": "b"}],
    }
    return DpeServerSpec.model_validate(spec | changes)


def farm_spec(**changes: Any) -> ProcessorFarmSpec:
    """The smallest farm, with top-level fields replaced by ``changes``."""
    spec: dict[str, Any] = {
        "type": "audio",
        "image": "registry.example.com/dpe-audio:2.15",
        "clusterRef": {"name": "radio"},
    }
    return ProcessorFarmSpec.model_validate(spec | changes)


def owner(
    kind: str = constants.KIND_SERVER, *, name: str = "radio", namespace: str = "dpe"
) -> Owner:
    """The owning resource."""
    uid = "11111111-1111-1111-1111-111111111111"
    return Owner(kind=kind, name=name, namespace=namespace, uid=uid, part_of=name)


def pair_context(
    spec: DpeServerSpec, *, name: str = "radio", namespace: str = "dpe"
) -> ComponentContext:
    """The context of a stand-alone pair."""
    return ComponentContext(
        owner=owner(name=name, namespace=namespace),
        placement=effective_placement(spec.placement),
        service_root=service_root(name=name, namespace=namespace, server=spec),
        clients=spec.clients or ClientProfile(),
        shared_volumes=tuple(spec.shared_volumes),
        image_pull_secrets=tuple(secret.name for secret in spec.image_pull_secrets),
        databases=tuple(spec.databases),
    )


def farm_context(
    spec: ProcessorFarmSpec, *, name: str = "radio-audio", namespace: str = "dpe"
) -> ComponentContext:
    """The context of a farm of a cluster without further settings."""
    return ComponentContext(
        owner=owner(constants.KIND_FARM, name=name, namespace=namespace),
        placement=effective_placement(spec.placement),
        service_root="https://radio-balancer.dpe.svc/DpeWebApplication",
        clients=ClientProfile(),
    )


def cluster_ips(spec: DpeServerSpec) -> dict[str, str]:
    """An address for each in-cluster member's Service."""
    return {m.name: f"10.96.0.{n}" for n, m in enumerate(spec.in_cluster_members, start=11)}


@dataclass(frozen=True)
class Pair:
    """All objects of a pair: those that are applied, and those that are created once."""

    applied: list[Manifest]
    initial: list[Manifest]


def pair_objects(
    spec: DpeServerSpec, *, name: str = "radio", namespace: str = "dpe", config: bool = True
) -> Pair:
    """Everything that the builders make of a pair; without the ConfigMap if not ``config``."""
    context = pair_context(spec, name=name, namespace=namespace)
    config_map = balancer_config.balancer_config_map(context, spec, cluster_ips=cluster_ips(spec))
    digest = (
        balancer_config.config_hash(config_map["data"])
        if config_map and config
        else "0123456789abcdef"
    )
    wanted = [
        *(members.member_service(context, spec, member) for member in spec.members),
        *(members.member_deployment(context, spec, member) for member in spec.members),
        members.members_pdb(context, spec),
        config_map if config else None,
        balancer_rights.service_account(context, spec),
        balancer_rights.role(context, spec),
        balancer_rights.role_binding(context, spec),
        balancer.balancer_service(context, spec),
        balancer.balancer_deployment(context, spec, image=BALANCER_IMAGE, config_hash=digest),
        balancer.balancer_pdb(context, spec),
    ]
    initial = [
        failover_record.initial_lease(context, spec),
        failover_record.initial_slice(context, spec, service_uid=SERVICE_UID),
    ]
    return Pair(
        applied=[manifest for manifest in wanted if manifest is not None],
        initial=[manifest for manifest in initial if manifest is not None],
    )


def farm_objects(
    spec: ProcessorFarmSpec, *, replicas: int, name: str = "radio-audio", namespace: str = "dpe"
) -> list[Manifest]:
    """Everything that the builders make of a farm."""
    context = farm_context(spec, name=name, namespace=namespace)
    found = [
        farm.farm_deployment(context, spec, replicas=replicas),
        farm.farm_pdb(context, replicas=replicas),
    ]
    return [manifest for manifest in found if manifest is not None]


def cluster_objects(
    spec: DpeClusterSpec, *, name: str = "radio", namespace: str = "dpe"
) -> list[Manifest]:
    """Everything that the builders make of a DpeCluster."""
    cluster = owner(constants.KIND_CLUSTER, name=name, namespace=namespace)
    root = service_root(name=name, namespace=namespace, server=spec.server)
    return [
        client_profile.client_profile_config_map(cluster, spec.clients, service_root=root),
        composed.composed_server(cluster, spec),
        *(composed.composed_farm(cluster, entry) for entry in spec.processors),
        *(composed.composed_workflow(cluster, kind, entry) for kind, entry in _workflow(spec)),
    ]


def _workflow(spec: DpeClusterSpec) -> list[tuple[str, WorkflowEntry]]:
    """The components of a site's workflow system with their kinds."""
    found = spec.workflow
    if found is None:
        return []
    lists = (found.workers, found.schedulers, found.table_watchers, found.folder_watchers)
    pairs = zip(constants.WORKFLOW_KINDS, lists, strict=True)
    return [(kind, entry) for kind, entries in pairs for entry in entries]


def pod_spec(deployment: Manifest | None) -> Manifest:
    """The pod spec of a Deployment."""
    assert deployment is not None
    spec: Manifest = deployment["spec"]["template"]["spec"]
    return spec


def container(deployment: Manifest | None) -> Manifest:
    """The first container of a Deployment."""
    found: Manifest = pod_spec(deployment)["containers"][0]
    return found


def env(deployment: Manifest | None) -> dict[str, Manifest]:
    """The environment of the first container, by name; fails on a name that is there twice."""
    entries = container(deployment).get("env", [])
    by_name = {entry["name"]: entry for entry in entries}
    assert len(by_name) == len(entries), "a variable is there twice"
    return by_name
