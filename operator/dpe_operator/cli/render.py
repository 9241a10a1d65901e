# SPDX-License-Identifier: Apache-2.0
"""Renders offline what the operator would make: the planners run against an imagined cluster.

In it every object that is planned exists at once, with a made-up uid and, for a Service, a made-up
address. What only a real cluster knows (addresses, uids, defaults) is therefore a placeholder.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.cli.resources import RenderError
from dpe_operator.planning.acceptance import Refused, parsed
from dpe_operator.planning.cluster import plan_cluster
from dpe_operator.planning.conditions import Truth
from dpe_operator.planning.farm import plan_farm
from dpe_operator.planning.objects import Obj, Ref, condition, dig, ref_of
from dpe_operator.planning.par_store import plan_par_store
from dpe_operator.planning.plan import ClusterView, Environment, Observed, Plan, Situation
from dpe_operator.planning.server import plan_server
from dpe_operator.planning.shared import cluster_name_of
from dpe_operator.planning.workflow import plan_workflow

_PLANNERS: Final[dict[str, Callable[[Situation], Plan]]] = {
    constants.KIND_CLUSTER: plan_cluster,
    constants.KIND_SERVER: plan_server,
    constants.KIND_FARM: plan_farm,
    constants.KIND_PAR_STORE: plan_par_store,
    **dict.fromkeys(constants.WORKFLOW_KINDS, plan_workflow),
}
_ROUNDS: Final = 5
_NOW: Final = datetime(2000, 1, 1, tzinfo=UTC)


def render(resources: Iterable[Obj], *, namespace: str, environment: Environment) -> list[Obj]:
    """Return all objects made of the resources, parents before children.

    Args:
        resources: as `read_resources` gives them.
        namespace: where a resource names none.
        environment: the operator's own settings.

    Raises:
        RenderError: a resource would not be accepted.
    """
    todo = [
        {**obj, "metadata": {"namespace": namespace, "uid": _uid(obj), **obj["metadata"]}}
        for obj in resources
    ]
    clusters = {
        (obj["metadata"]["namespace"], obj["metadata"]["name"]): obj
        for obj in todo
        if obj["kind"] == constants.KIND_CLUSTER
    }
    made: list[Obj] = []
    while todo:
        resource = todo.pop(0)
        children = _children(resource, clusters, environment)
        made += children
        todo += [child for child in children if child["kind"] in _PLANNERS]
    return [_shown(obj) for obj in made]


def _children(
    resource: Obj, clusters: dict[tuple[str, str], Obj], environment: Environment
) -> list[Obj]:
    live: dict[Ref, Obj] = {}
    wanted: dict[Ref, Obj] = {}
    for _ in range(_ROUNDS):
        plan = _PLANNERS[resource["kind"]](
            Situation(
                resource=resource,
                observed=Observed(live.values()),
                environment=environment,
                now=_NOW,
                cluster=_cluster(resource, clusters),
            )
        )
        status: Truth = (condition({"status": plan.status}, "Accepted") or {})["status"]
        if status != "True":
            ref = ref_of(resource)
            message = (condition({"status": plan.status}, "Accepted") or {})["message"]
            raise RenderError(f"{ref} would not be accepted: {message}")
        before = len(wanted)
        for child in plan.children:
            live[child.ref] = _imagined(child.manifest, number=len(live) + 1)
            initial = None if child.whole else child.initial
            wanted[child.ref] = initial or child.manifest
        if plan.complete and len(wanted) == before:
            break
    return [{**obj, "metadata": {**obj["metadata"], "uid": _uid(obj)}} for obj in wanted.values()]


def _cluster(resource: Obj, clusters: dict[tuple[str, str], Obj]) -> ClusterView | None:
    name = cluster_name_of(resource)
    if name is None:
        return None
    found = clusters.get((resource["metadata"]["namespace"], name))
    if found is None:
        return ClusterView(name, exists=False)
    try:
        return ClusterView(name, exists=True, spec=parsed(DpeClusterSpec, found["spec"]))
    except Refused as error:
        raise RenderError(f"{ref_of(found)} would not be accepted: {error}") from error


def _imagined(manifest: Obj, *, number: int) -> Obj:
    obj: dict[str, Any] = {
        **manifest,
        "metadata": {**manifest["metadata"], "uid": _uid(manifest)},
    }
    if obj["kind"] == "Service" and dig(obj, "spec", "clusterIP") is None:
        obj["spec"] = {**obj["spec"], "clusterIP": f"192.0.2.{number}"}
    return obj


def _uid(obj: Obj) -> str:
    return f"uid-of-{obj['kind']}-{obj['metadata']['name']}".lower()


def _shown(obj: Obj) -> Obj:
    meta = {key: value for key, value in obj["metadata"].items() if key != "uid"}
    return {**obj, "metadata": meta}
