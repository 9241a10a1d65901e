# SPDX-License-Identifier: Apache-2.0
"""What a resource takes over from its DpeCluster, as plain data, so that it can be remembered.

Owned and stand-alone resources are resolved to the same form: one code path for both.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from dpe_operator.api import constants
from dpe_operator.api.addresses import effective_placement, par_store_name, service_root
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import ApiModel
from dpe_operator.api.databases import Databases, DeliveredDatabase, Receiver
from dpe_operator.api.par_store import ParStoreTemplate
from dpe_operator.api.pods import EnvVar, ImagePullSecret, PodSettings, Volume
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.api.server import DpeServerSpec
from dpe_operator.builders.context import ComponentContext, Owner
from dpe_operator.builders.databases import delivered
from dpe_operator.builders.par_mounts import RECEIVERS, par_env, par_volumes
from dpe_operator.planning.acceptance import server_hosts
from dpe_operator.planning.objects import Obj, controller_of, uid_of
from dpe_operator.planning.plan import ClusterView, Environment, Situation

Model = TypeVar("Model", bound=ApiModel)


def cluster_name_of(resource: Mapping[str, Any]) -> str | None:
    """Return the DpeCluster a resource works for: by reference, else by its owner; None if none."""
    reference = resource.get("spec", {}).get("clusterRef")
    if reference:
        return str(reference["name"])
    owner = controller_of(resource)
    if owner and owner["kind"] == constants.KIND_CLUSTER:
        return str(owner["name"])
    return None


def _written(model: ApiModel) -> Obj:
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)


def shared_of(cluster: ClusterView | None, *, own_name: str, namespace: str) -> Obj:
    """Return what the DpeCluster (None: stand-alone without one) gives to its parts."""
    if cluster is None or cluster.spec is None:
        return {"partOf": cluster.name if cluster else own_name}
    spec = cluster.spec
    # not even an empty entry where there are none: what was remembered before stays the same
    databases = {"databases": _written(spec.databases)} if spec.databases else {}
    return {
        **databases,
        **_par_of(cluster.name, spec.par_files),
        "partOf": cluster.name,
        "serviceRoot": service_root(name=cluster.name, namespace=namespace, server=spec.server),
        "hosts": server_hosts(cluster.name, spec.server),
        "clients": _written(spec.clients),
        "placement": spec.placement,
        "sharedVolumes": [_written(volume) for volume in spec.shared_volumes],
        "imagePullSecrets": [_written(secret) for secret in spec.image_pull_secrets],
    }


def owner_of(situation: Situation, part_of: str) -> Owner:
    """Return the resource as owner of what is built."""
    return Owner(
        kind=situation.resource["kind"],
        name=situation.name,
        namespace=situation.namespace,
        uid=uid_of(situation.resource),
        part_of=part_of,
    )


def _list(model: type[Model], entries: Any) -> tuple[Model, ...]:
    return tuple(model.model_validate(entry) for entry in entries or ())


def _databases(shared: Mapping[str, Any], receiver: Receiver) -> tuple[DeliveredDatabase, ...]:
    found = shared.get("databases")
    return delivered(Databases.model_validate(found), receiver) if found else ()


def _par_of(cluster: str, par: ParStoreTemplate | None) -> Obj:
    """Return what each receiver's pods see of the PAR files; no entry for those that see nothing.

    Only that, and not all of `parFiles`: another schedule is nothing to remember in each farm.
    """
    if par is None:
        return {}
    found = {}
    for receiver in RECEIVERS:
        volumes = par_volumes(par, par_store_name(cluster), receiver)
        if volumes:
            variables = par_env(par, receiver)
            found[receiver] = {
                "volumes": [_written(volume) for volume in volumes],
                **({"env": [_written(entry) for entry in variables]} if variables else {}),
            }
    return {"par": found} if found else {}


def _par(shared: Mapping[str, Any], receiver: Receiver) -> dict[str, Any]:
    """Return the fields of a context that hold what its pods see of the PAR files."""
    found = shared.get("par", {}).get(receiver, {})
    return {
        "par_volumes": _list(Volume, found.get("volumes")),
        "par_env": _list(EnvVar, found.get("env")),
    }


def _names(secrets: tuple[ImagePullSecret, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(secret.name for secret in secrets))


def clients_of(shared: Mapping[str, Any], own: ClientProfile | None = None) -> ClientProfile:
    """Return the client profile in force: the resource's own, else the cluster's, else defaults."""
    return own or ClientProfile.model_validate(shared.get("clients", {}))


def server_context(
    situation: Situation, spec: DpeServerSpec, shared: Mapping[str, Any]
) -> ComponentContext:
    """Return the context for the members of a pair."""
    own = spec.shared_volumes or _list(Volume, shared.get("sharedVolumes"))
    secrets = spec.image_pull_secrets or _list(ImagePullSecret, shared.get("imagePullSecrets"))
    return ComponentContext(
        owner=owner_of(situation, shared["partOf"]),
        placement=effective_placement(spec.placement, shared.get("placement")),
        service_root=service_root(name=situation.name, namespace=situation.namespace, server=spec),
        clients=clients_of(shared, spec.clients),
        shared_volumes=tuple(own),
        image_pull_secrets=_names(tuple(secrets)),
        databases=tuple(spec.databases) or _databases(shared, "Servers"),
        **_par(shared, "Servers"),
    )


def farm_context(
    situation: Situation, spec: ProcessorFarmSpec, shared: Mapping[str, Any]
) -> ComponentContext:
    """Return the context for the processors of a farm."""
    return ComponentContext(
        owner=owner_of(situation, shared["partOf"]),
        placement=effective_placement(spec.placement, shared.get("placement")),
        service_root=shared.get("serviceRoot"),
        clients=clients_of(shared),
        shared_volumes=_list(Volume, shared.get("sharedVolumes")),
        image_pull_secrets=_names(_list(ImagePullSecret, shared.get("imagePullSecrets"))),
        databases=_databases(shared, "Processors"),
        **_par(shared, "Processors"),
    )


def workflow_context(
    situation: Situation, settings: PodSettings, shared: Mapping[str, Any]
) -> ComponentContext:
    """Return the context for the pods of a workflow component."""
    return ComponentContext(
        owner=owner_of(situation, shared["partOf"]),
        placement=effective_placement(settings.placement, shared.get("placement")),
        service_root=shared.get("serviceRoot"),
        clients=clients_of(shared),
        shared_volumes=_list(Volume, shared.get("sharedVolumes")),
        image_pull_secrets=_names(_list(ImagePullSecret, shared.get("imagePullSecrets"))),
        databases=_databases(shared, "Workflow"),
        **_par(shared, "Workflow"),
    )


def par_store_context(situation: Situation, shared: Mapping[str, Any]) -> ComponentContext:
    """Return the context for the pods of the copy, which run an image of ours."""
    context = ComponentContext(
        owner=owner_of(situation, shared["partOf"]),
        image_pull_secrets=_names(_list(ImagePullSecret, shared.get("imagePullSecrets"))),
    )
    return with_operator_images(context, situation.environment)


def with_operator_images(context: ComponentContext, environment: Environment) -> ComponentContext:
    """Return the context for pods with an image of ours: how the operator was told to pull it."""
    secrets = (*context.image_pull_secrets, *environment.image_pull_secrets)
    return ComponentContext(
        owner=context.owner,
        placement=context.placement,
        service_root=context.service_root,
        clients=context.clients,
        shared_volumes=context.shared_volumes,
        image_pull_secrets=tuple(dict.fromkeys(secrets)),
        image_pull_policy=environment.image_pull_policy,
    )
