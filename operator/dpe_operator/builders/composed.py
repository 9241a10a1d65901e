# SPDX-License-Identifier: Apache-2.0
"""The child resources that a DpeCluster composes: a DpeServer, farms, a ParStore, and so on.

Their specs hold what the user wrote and the site's values, never our defaults: those belong to
the code of the day and are looked up by the child's own reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping

from dpe_operator.api import constants
from dpe_operator.api.addresses import farm_name, par_store_name, workflow_resource_name
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.common import ApiModel
from dpe_operator.api.par_store import ParStoreTemplate
from dpe_operator.api.pods import Volume
from dpe_operator.api.processor_farm import FarmTemplate
from dpe_operator.api.site_workflow import WorkflowEntry
from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.databases import delivered
from dpe_operator.builders.labels import metadata
from dpe_operator.builders.par_mounts import par_env, par_volumes


def composed_server(
    owner: Owner, cluster: DpeClusterSpec, *, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Build the DpeServer NAME with the site's shared values filled in, databases among them.

    They stand in its own spec, so that it needs no look at the DpeCluster: a pair that could not
    read the accepted spec for a moment would else be restarted without its databases.

    ``annotations``: what is passed on from the DpeCluster, such as a requested switch.
    """
    spec = _written(cluster.server)
    spec.setdefault("placement", cluster.placement)
    spec["clients"] = _written(cluster.clients)
    if volumes := [*cluster.shared_volumes, *_par_volumes(owner, cluster)]:
        spec["sharedVolumes"] = [_written(volume) for volume in volumes]
    if cluster.image_pull_secrets:
        spec["imagePullSecrets"] = [_written(secret) for secret in cluster.image_pull_secrets]
    _with_par_env(spec, cluster)
    if databases := delivered(cluster.databases, "Servers"):
        spec["databases"] = [_written(database) for database in databases]
    return {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND_SERVER,
        "metadata": metadata(
            owner, owner.name, constants.COMPONENT_SERVER, annotations=annotations
        ),
        "spec": spec,
    }


def composed_farm(owner: Owner, farm: FarmTemplate) -> Manifest:
    """Build the ProcessorFarm NAME-TYPE; no ``replicas`` where the DpeCluster names no number.

    The site's shared values reach it through ``clusterRef``, as they do any stand-alone farm.
    """
    return {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND_FARM,
        "metadata": metadata(owner, farm_name(owner.name, farm.type), constants.COMPONENT_FARM),
        "spec": {**_written(farm), "clusterRef": {"name": owner.name}},
    }


def composed_par_store(
    owner: Owner, par: ParStoreTemplate, *, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Build the ParStore NAME: all of ``parFiles`` but what is said about the pods of the site.

    ``annotations``: what is passed on from the DpeCluster, such as an order to copy now.
    """
    spec = _written(par)
    for key in ("deliverTo", "readOnlyFor"):
        spec.pop(key, None)
    registry = spec.get("registry", {})
    for place in (spec["master"], *spec.get("redundant", ()), registry):
        place.pop("mountPath", None)
    for key in registry.get("keys", ()):
        for value in key["values"]:
            value.pop("env", None)
    return {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND_PAR_STORE,
        "metadata": metadata(
            owner,
            par_store_name(owner.name),
            constants.COMPONENT_PAR_STORE,
            annotations=annotations,
        ),
        "spec": {**spec, "clusterRef": {"name": owner.name}},
    }


def composed_workflow(owner: Owner, kind: str, entry: WorkflowEntry) -> Manifest:
    """Build the workflow component NAME-ENTRY, a resource of the kind ``kind``.

    The site's shared values reach it through ``clusterRef``, as they do any stand-alone one.
    """
    spec = _written(entry)
    spec.pop("name")
    name = workflow_resource_name(owner.name, entry.name)
    return {
        "apiVersion": constants.API_VERSION,
        "kind": kind,
        "metadata": metadata(owner, name, constants.COMPONENT_WORKFLOW),
        "spec": {**spec, "clusterRef": {"name": owner.name}},
    }


def _par_volumes(owner: Owner, cluster: DpeClusterSpec) -> tuple[Volume, ...]:
    """The servers see the PAR files as folders of the site: they are told of them in their spec."""
    if cluster.par_files is None:
        return ()
    return par_volumes(cluster.par_files, par_store_name(owner.name), "Servers")


def _with_par_env(spec: Manifest, cluster: DpeClusterSpec) -> None:
    """Add the registry values that are given as variables; the servers' own of a name win."""
    if cluster.par_files is None:
        return
    own = {entry["name"] for entry in spec.get("env", ())}
    added = [_written(entry) for entry in par_env(cluster.par_files, "Servers")]
    if found := [entry for entry in added if entry["name"] not in own]:
        spec["env"] = [*found, *spec.get("env", ())]


def _written(model: ApiModel) -> Manifest:
    """The fields that were given, as they were given, in the API's spelling."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
