# SPDX-License-Identifier: Apache-2.0
"""Where PAR files lie: claims that are made for them, and volumes that lead to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_master_claim_name, par_redundant_claim_name
from dpe_operator.api.par_store import ParMaster, ParRedundant, ParStoreTemplate
from dpe_operator.builders.claims import retained_claim
from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.labels import Component

Location: TypeAlias = ParMaster | ParRedundant


def locations(store: ParStoreTemplate) -> Iterator[Location]:
    """Yield the master, then the redundant location."""
    yield store.master
    yield from store.redundant


def claim_name(store: str, location: Location) -> str | None:
    """Return the claim behind a location of the ParStore called ``store``; None: it has none."""
    if location.claim_name is not None:
        return location.claim_name
    if location.size is None:
        return None
    if isinstance(location, ParRedundant):
        return par_redundant_claim_name(store, location.name)
    return par_master_claim_name(store)


def par_claims(owner: Owner, store: ParStoreTemplate) -> list[Manifest]:
    """Build the claims that are made: they outlive the ParStore."""
    found = []
    for location in locations(store):
        name = claim_name(owner.name, location)
        if location.size is None or name is None:
            continue
        component: Component = (
            constants.COMPONENT_PAR_REDUNDANT
            if isinstance(location, ParRedundant)
            else constants.COMPONENT_PAR_MASTER
        )
        found.append(
            retained_claim(
                owner,
                name,
                component,
                size=location.size,
                storage_class=location.storage_class_name,
            )
        )
    return found


def location_source(owner: Owner, location: Location) -> Manifest:
    """Return the source of a pod's volume that is the whole location."""
    name = claim_name(owner.name, location)
    if name is not None:
        return {"persistentVolumeClaim": {"claimName": name}}
    assert location.nfs is not None, "a location has exactly one source"
    return {"nfs": {"server": location.nfs.server, "path": location.nfs.path}}
