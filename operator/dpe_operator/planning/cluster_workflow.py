# SPDX-License-Identifier: Apache-2.0
"""The workflow components of a DpeCluster: the resources made of them, and what is refused.

What is wrong with a component by itself (its schedules, say) is checked here too, with the same
code as in its own reconcile: users look at the DpeCluster that they wrote.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import member_name, par_store_name, workflow_resource_name
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.pods import Volume
from dpe_operator.api.site_workflow import SiteWorkflow, WorkflowEntry
from dpe_operator.builders.composed import composed_workflow
from dpe_operator.builders.context import Owner
from dpe_operator.builders.databases import database_volumes, delivered
from dpe_operator.builders.par_mounts import par_volumes
from dpe_operator.planning.objects import Obj, Ref, dig
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Situation
from dpe_operator.planning.workflow_problems import deployment_names, workflow_problems

_SHOWN: Final = ("mode", "replicas", "readyReplicas", "holder")


@dataclass(frozen=True, slots=True)
class LiveComponent:
    """One entry of `spec.workflow` and the resource made of it; `live` None: not made yet."""

    kind: str
    name: str
    live: Obj | None

    def summary(self) -> Obj:
        """Return what the site's status says of it."""
        found = {key: dig(self.live, "status", key) for key in _SHOWN}
        kept = {key: value for key, value in found.items() if value is not None}
        return {"name": self.name, "kind": self.kind, **kept}


def entries(spec: DpeClusterSpec) -> Iterator[tuple[str, str, WorkflowEntry]]:
    """Yield kind, path in the spec, and entry of each component, in the order of the lists."""
    workflow = spec.workflow or SiteWorkflow()
    lists: Mapping[str, tuple[str, Sequence[WorkflowEntry]]] = {
        constants.KIND_WORKER: ("workers", workflow.workers),
        constants.KIND_SCHEDULER: ("schedulers", workflow.schedulers),
        constants.KIND_TABLE_WATCHER: ("tableWatchers", workflow.table_watchers),
        constants.KIND_FOLDER_WATCHER: ("folderWatchers", workflow.folder_watchers),
    }
    for kind, (field, found) in lists.items():
        for entry in found:
            yield kind, f"spec.workflow.{field}[{entry.name}]", entry


def workflow_children(owner: Owner, spec: DpeClusterSpec) -> list[Obj]:
    """Return the resources of all components."""
    return [composed_workflow(owner, kind, entry) for kind, _, entry in entries(spec)]


def live_components(situation: Situation, spec: DpeClusterSpec) -> list[LiveComponent]:
    """Return all components with their live resources."""
    return [
        LiveComponent(kind, entry.name, own_object(situation, _ref(situation, kind, entry.name)))
        for kind, _, entry in entries(spec)
    ]


def _ref(situation: Situation, kind: str, entry: str) -> Ref:
    return Ref(kind, situation.namespace, workflow_resource_name(situation.name, entry))


def component_problems(
    spec: DpeClusterSpec, name: str, *, hosts: Sequence[str], service_root: str
) -> Iterator[str]:
    """Find what is wrong with the components of a DpeCluster called `name`.

    Args:
        spec: its spec.
        name: its name.
        hosts: host names of single servers.
        service_root: the balancer's address.
    """
    yield from _equal_names(spec)
    members = {
        member_name(name, member.name): member.name for member in spec.server.in_cluster_members
    }
    volumes = _site_volumes(spec, name)
    default = constants.DEFAULT_SERVICE_ROOT_ENV
    for kind, path, entry in entries(spec):
        # the API server would refuse the resource made from it
        if spec.clients.service_root_env != default and default in {v.name for v in entry.env}:
            yield (
                f"{path}.env sets {default}, which is reserved for the balancer's address in every"
                " component: remove it"
            )
        resource = workflow_resource_name(name, entry.name)
        for taken in deployment_names(resource, kind, entry):
            if taken in members:
                yield (
                    f"{path} needs a Deployment {taken}, which is that of server member"
                    f" {members[taken]}: write another name for one of them"
                )
        yield from workflow_problems(
            entry,
            kind=kind,
            path=path,
            clients=spec.clients,
            hosts=hosts,
            service_root=service_root,
            site_volumes=volumes,
        )


def _site_volumes(spec: DpeClusterSpec, name: str) -> tuple[Volume, ...]:
    """Return what is mounted into workflow components beside their own volumes."""
    par = spec.par_files
    return (
        *spec.shared_volumes,
        *(par_volumes(par, par_store_name(name), "Workflow") if par else ()),
        *database_volumes(delivered(spec.databases, "Workflow"), member=None),
    )


def _equal_names(spec: DpeClusterSpec) -> Iterator[str]:
    """Find names that two lists share; the API server refuses them too, where it knows the rule."""
    seen: dict[str, str] = {}
    for _, path, entry in entries(spec):
        if entry.name in seen:
            yield (
                f"{path}: {seen[entry.name]} has that name too, and status and events tell"
                " components apart by it: write another one"
            )
        seen.setdefault(entry.name, path)
