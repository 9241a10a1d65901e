# SPDX-License-Identifier: Apache-2.0
"""PAR files as users write them, and everything the builders make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.builders.builder_samples import farm_context, farm_spec, owner

from dpe_operator.api import constants
from dpe_operator.api.par_store import ParStoreSpec, ParStoreTemplate
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.farm import farm_deployment
from dpe_operator.builders.par_claims import par_claims
from dpe_operator.builders.par_mounts import par_env, par_volumes
from dpe_operator.builders.par_rights import initial_par_lease, par_rights
from dpe_operator.builders.par_sync import on_demand_job, sync_cron_job
from dpe_operator.builders.registry_file import registry_config_map

IMAGE = "localhost/dpe/dpe-par-sync:0123456789ab"
KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Vendor\\Par"
LONG_STORE = "a23456789-123456789-123456789-123456789x"  # 40 characters
_SMALLEST: dict[str, Any] = {
    "master": {"claimName": "par-master"},
    "redundant": [{"name": "nightly", "claimName": "par-redundant"}],
    "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
}


def par_spec(**changes: Any) -> ParStoreSpec:
    """The smallest store with a copy, with top-level fields replaced by ``changes``."""
    spec = {"clusterRef": {"name": "radio"}, **_SMALLEST}
    return ParStoreSpec.model_validate(spec | changes)


def par_files(**changes: Any) -> ParStoreTemplate:
    """The same as it stands in a DpeCluster."""
    return ParStoreTemplate.model_validate(_SMALLEST | changes)


def par_objects(
    spec: ParStoreSpec, *, name: str = "radio", namespace: str = "dpe", adopt: str = ""
) -> list[Manifest]:
    """Everything that the builders make of a ParStore, with a run on demand."""
    store = owner(constants.KIND_PAR_STORE, name=name, namespace=namespace)
    context = ComponentContext(owner=store, image_pull_secrets=("registry",))
    found = par_claims(store, spec)
    if spec.sync is not None:
        cron_job = sync_cron_job(context, spec, image=IMAGE, adopt=adopt)
        found += [*par_rights(store), initial_par_lease(store), cron_job]
        found.append(on_demand_job(store, cron_job, text="today", text_hash="0123abcd"))
    if spec.registry is not None:
        found.append(registry_config_map(store, spec.registry))
    return found


def full() -> ParStoreSpec:
    """Every field once."""
    return par_spec(
        master={"size": "2Gi", "storageClassName": "nfs", "subPath": "digas/par"},
        redundant=[{"name": "nightly", "size": "4Gi", "subPath": "copy/current"}],
        sync={
            "schedule": "30 2 * * 1-5",
            "timeZone": "Europe/Vienna",
            "startingDeadlineSeconds": 600,
            "maxRunTime": "20m",
            "suspend": True,
            "maxDeletions": 25,
            "onDivergence": "Stop",
            "compare": "SizeAndTime",
            "quietPeriod": "5s",
            "exclude": ["*.tmp", "/cache/"],
            "history": {"runs": 30},
            "resources": {"requests": {"cpu": "1"}},
            "nodeSelector": {"storage": "yes"},
            "tolerations": [{"key": "dpe", "operator": "Exists"}],
            "podTemplate": {"spec": {"securityContext": {"runAsUser": 1000, "fsGroup": 1000}}},
        },
        registry={
            "keys": [
                {
                    "path": KEY,
                    "values": [
                        {"name": "Master", "value": "P:\\par", "file": "master"},
                        {"name": "Redundant", "type": "REG_MULTI_SZ", "values": ["R:\\par"]},
                    ],
                }
            ]
        },
    )


def mounted_farm() -> list[Manifest]:
    """Processors that may only read the PAR files, with a value as variable."""
    par = par_files(
        readOnlyFor=["Processors"],
        registry={
            "keys": [{"path": KEY, "values": [{"name": "M", "value": "P:\\par", "env": "PAR"}]}],
            "mountPath": "/etc/dpe/registry",
        },
    )
    plain = farm_context(farm_spec())
    context = ComponentContext(
        owner=plain.owner,
        service_root=plain.service_root,
        clients=plain.clients,
        par_volumes=par_volumes(par, "radio", "Processors"),
        par_env=par_env(par, "Processors"),
    )
    return [farm_deployment(context, farm_spec(), replicas=2)]


_NFS = {"server": "nas1", "path": "/export/par"}
PAR_CASES: dict[str, Callable[[], list[Manifest]]] = {
    "par-store": lambda: par_objects(par_spec()),
    "par-store-full": lambda: par_objects(full(), adopt="2026-11-25 restored"),
    "par-store-nfs": lambda: par_objects(
        par_spec(
            master={"nfs": _NFS},
            redundant=[{"name": "nightly", "nfs": {**_NFS, "server": "nas2"}}],
        )
    ),
    "par-store-without-copy": lambda: par_objects(par_spec(redundant=[], sync=None)),
    "par-store-long-names": lambda: par_objects(
        par_spec(redundant=[{"name": "p23456789-12345678-x", "size": "1Gi"}]), name=LONG_STORE
    ),
    "farm-with-par-files": mounted_farm,
}
