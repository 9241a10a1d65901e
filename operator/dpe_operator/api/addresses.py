# SPDX-License-Identifier: Apache-2.0
"""The one address of a pair, and the names of everything made from a resource.

Names are an interface: users find objects by them and DNS is made from them.
"""

from __future__ import annotations

from typing import Final

from dpe_operator.api.common import Placement
from dpe_operator.api.server import ServerSpec

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def _url(scheme: str, host: str, port: int, path: str) -> str:
    shown = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{host}{shown}{path}"


def service_root(*, name: str, namespace: str, server: ServerSpec) -> str:
    """Return the URL that every component of the site is given.

    `name` is that of the DpeServer (equal to the DpeCluster's). With a balancer of the site's own
    (`type: External`) it is that one's address.
    """
    external = server.load_balancer.external_address
    if server.load_balancer.type == "External" and external is not None:
        port = external.port or _DEFAULT_PORTS[external.scheme]
        return _url(external.scheme, external.host, port, server.base_path)
    scheme = "http" if server.load_balancer.tls.mode == "None" else "https"
    host = f"{balancer_name(name)}.{namespace}.svc"
    return _url(scheme, host, server.port, server.base_path)


def balancer_name(server: str) -> str:
    """Name of all objects of a pair's balancer: Deployment, Service, slice, Lease, account."""
    return f"{server}-balancer"


def member_name(server: str, member: str) -> str:
    """Name of an in-cluster member's Deployment and Service, and its default host name."""
    return f"{server}-member-{member}"


def members_name(server: str) -> str:
    """Name of the disruption budget over both members."""
    return f"{server}-members"


def farm_name(cluster: str, farm_type: str) -> str:
    """Name of the ProcessorFarm that a DpeCluster makes."""
    return f"{cluster}-{farm_type}"


def processor_name(farm: str) -> str:
    """Name of a farm's Deployment and disruption budget."""
    return f"{farm}-processor"


def workflow_resource_name(cluster: str, entry: str) -> str:
    """Name of the workflow component that a DpeCluster makes from an entry of `workflow`."""
    return f"{cluster}-{entry}"


def workflow_name(resource: str, component: str) -> str:
    """Name of a workflow component's PDB; Standby: of its Deployment, Lease and account too."""
    return f"{resource}-{component}"


def workflow_concurrent_name(resource: str, component: str) -> str:
    """Name of the Deployment of Concurrent workers, which are all alike.

    Not that of the candidates in Standby mode: when the mode is changed, one Deployment has to be
    gone before the other is made.
    """
    return f"{workflow_name(resource, component)}-concurrent"


def workflow_member_name(resource: str, component: str, number: int) -> str:
    """Name of the Deployment of one Concurrent member, counted from 1."""
    return f"{workflow_name(resource, component)}-{number}"


def memory_claim_name(resource: str, component: str, number: int | None = None) -> str:
    """Name of the claim with a watcher's memory: the common one, or that of one member.

    The component is in it because a table watcher and a folder watcher may have one name.
    """
    name = f"{workflow_name(resource, component)}-memory"
    return name if number is None else f"{name}-{number}"


def par_store_name(cluster: str) -> str:
    """Name of the ParStore that a DpeCluster makes."""
    return cluster


def par_sync_name(store: str) -> str:
    """Name of a ParStore's CronJob, Lease, account and Role."""
    return f"{store}-par-sync"


def par_sync_job_name(store: str, text_hash: str) -> str:
    """Name of the Job of one run on demand; `text_hash` stands for the text that asked for it."""
    return f"{par_sync_name(store)}-now-{text_hash}"


def par_master_claim_name(store: str) -> str:
    """Name of the claim that is made for the master of the PAR files."""
    return f"{store}-par-master"


def par_redundant_claim_name(store: str, location: str) -> str:
    """Name of the claim that is made for a redundant location."""
    return f"{store}-par-redundant-{location}"


def par_registry_name(store: str) -> str:
    """Name of the ConfigMap with the registry file."""
    return f"{store}-par-registry"


def client_profile_name(cluster: str) -> str:
    """Name of the ConfigMap with the client profile."""
    return f"{cluster}-client-profile"


def balancer_config_name(server: str, config_hash: str) -> str:
    """Name of the ConfigMap with one configuration of the balancer."""
    return f"{balancer_name(server)}-{config_hash}"


def accepted_revision_name(name: str, kind: str, number: int) -> str:
    """Name of the ControllerRevision that keeps the last accepted spec, `number` of its line."""
    return f"{name}-{kind.lower()}-accepted-{number}"


def effective_placement(*choices: Placement | None) -> Placement:
    """Return the first choice that was made, the nearest one first; Required without any."""
    return next((choice for choice in choices if choice is not None), "Required")
