# SPDX-License-Identifier: Apache-2.0
"""The PAR files of a DpeCluster: the ParStore made of them, what it says, and what is refused."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_store_name
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.builders.composed import composed_par_store
from dpe_operator.builders.context import Owner
from dpe_operator.builders.registry_file import registry_env
from dpe_operator.planning import par_acceptance
from dpe_operator.planning.cluster_status import child_part
from dpe_operator.planning.cluster_workflow import entries
from dpe_operator.planning.objects import Obj, Ref, annotations, dig
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Situation
from dpe_operator.planning.summary import Part

PAR_READY: Final = "ParFilesReady"
_PATH: Final = "spec.parFiles"
# Written on the site, they are meant for its ParStore.
_PASSED_ON: Final = (constants.ANNOTATION_SYNC_NOW, constants.ANNOTATION_ADOPT_PAR)


def par_children(situation: Situation, owner: Owner, spec: DpeClusterSpec) -> list[Obj]:
    """Return the ParStore of the site, with the orders that were written on the DpeCluster."""
    if spec.par_files is None:
        return []
    notes = annotations(situation.resource)
    passed_on = {key: notes[key] for key in _PASSED_ON if notes.get(key)}
    return [composed_par_store(owner, spec.par_files, annotations=passed_on)]


def live_par_store(situation: Situation, spec: DpeClusterSpec) -> Obj | None:
    """Return the ParStore of the site if it has been made."""
    if spec.par_files is None:
        return None
    name = par_store_name(situation.name)
    return own_object(situation, Ref(constants.KIND_PAR_STORE, situation.namespace, name))


def par_parts(situation: Situation, spec: DpeClusterSpec) -> list[Part]:
    """Return what the ParStore says, as a condition of the site."""
    if spec.par_files is None:
        return []
    name = par_store_name(situation.name)
    store = live_par_store(situation, spec)
    return [child_part(PAR_READY, constants.KIND_PAR_STORE, name, store)]


def par_fields(store: Mapping[str, Any] | None) -> Obj:
    """Return what the status of the site says of its PAR files."""
    found = {
        "result": dig(store, "status", "lastRun", "result"),
        "lastSuccess": dig(store, "status", "lastSuccess", "finishedAt"),
        "nextRun": dig(store, "status", "nextRun"),
    }
    return {"parFiles": {key: value for key, value in found.items() if value is not None}}


def par_file_problems(spec: DpeClusterSpec, name: str) -> Iterator[str]:
    """Find what is wrong with the PAR files of a DpeCluster called `name`."""
    par = spec.par_files
    if par is None:
        return
    yield from par_acceptance.par_problems(par, name=par_store_name(name), path=_PATH)
    yield from par_acceptance.mount_problems(par, path=_PATH, parts=_parts(spec))
    yield from par_acceptance.folder_problems(par, path=_PATH, shared=spec.shared_volumes)
    for variable in registry_env(par.registry):
        if variable.name == spec.clients.service_root_env:
            yield (
                f"{_PATH}.registry gives a value as {variable.name}, which the operator sets to the"
                " balancer's address: write another env"
            )


def _parts(spec: DpeClusterSpec) -> Iterator[par_acceptance.Part]:
    yield par_acceptance.Part("Servers", "spec.server", spec.server)
    for farm in spec.processors:
        yield par_acceptance.Part("Processors", f"spec.processors[{farm.type}]", farm)
    for _, path, entry in entries(spec):
        yield par_acceptance.Part("Workflow", path, entry)
