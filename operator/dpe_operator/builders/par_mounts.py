# SPDX-License-Identifier: Apache-2.0
"""What the pods of a site see of its PAR files: master, redundant location, registry file."""

from __future__ import annotations

from collections.abc import Iterator

from dpe_operator.api.addresses import par_registry_name
from dpe_operator.api.databases import Receiver
from dpe_operator.api.par_store import ParRedundant, ParStoreTemplate
from dpe_operator.api.pods import EnvVar, Volume
from dpe_operator.builders.par_claims import Location, claim_name, locations
from dpe_operator.builders.registry_file import registry_env

RECEIVERS: tuple[Receiver, ...] = ("Servers", "Processors", "Workflow")


def mount_path(location: Location) -> str:
    """Return the folder in which pods see a location."""
    if location.mount_path is not None:
        return location.mount_path
    if isinstance(location, ParRedundant):
        return f"/par/redundant-{location.name}"
    return "/par/master"


def par_volumes(par: ParStoreTemplate, store: str, receiver: Receiver) -> tuple[Volume, ...]:
    """Return the volumes of a receiver's pods; none where it is given nothing.

    Args:
        par: `parFiles` of the DpeCluster.
        store: name of the ParStore made from it.
        receiver: which components.
    """
    if not is_given(par, receiver):
        return ()
    read_only = receiver in (par.read_only_for or ())
    return tuple(_volumes(par, store, read_only=read_only))


def par_env(par: ParStoreTemplate, receiver: Receiver) -> tuple[EnvVar, ...]:
    """Return the variables of a receiver's pods."""
    return registry_env(par.registry) if is_given(par, receiver) else ()


def is_given(par: ParStoreTemplate, receiver: Receiver) -> bool:
    """Whether a receiver's pods are given the locations."""
    return par.deliver_to is None or receiver in par.deliver_to


def _volumes(par: ParStoreTemplate, store: str, *, read_only: bool) -> Iterator[Volume]:
    for location in locations(par):
        name = f"redundant-{location.name}" if isinstance(location, ParRedundant) else "master"
        yield Volume(
            name=f"dpe-par-{name}",
            mount_path=mount_path(location),
            sub_path=location.sub_path,
            read_only=True if read_only else None,
            claim_name=claim_name(store, location),
            nfs=location.nfs,
        )
    registry = par.registry
    if registry is not None and registry.mount_path is not None:
        yield Volume(
            name="dpe-par-registry",
            mount_path=registry.mount_path,
            config_map_name=par_registry_name(store),
        )
