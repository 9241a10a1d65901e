# SPDX-License-Identifier: Apache-2.0
"""Which spec is in force: the one that is written, or the last accepted one where that is refused.

The same for every kind; what a spec comes to (its draft) is the kind's own.
"""

from collections.abc import Callable
from typing import TypeVar

from dpe_operator.planning.acceptance import Refused, ownership_reason, require
from dpe_operator.planning.objects import Obj
from dpe_operator.planning.ownership import Sorted
from dpe_operator.planning.plan import ClusterView, Situation
from dpe_operator.planning.shared import shared_of
from dpe_operator.planning.summary import Verdict

Draft = TypeVar("Draft")
Make = Callable[[Obj], Draft]
"""Works out an accepted spec; raises Refused."""
SharedOf = Callable[[Obj], Obj]
"""What of the DpeCluster's values a kind takes over."""


def judge_part(
    situation: Situation,
    *,
    what: str,
    make: Make[Draft],
    sorted_of: Callable[[Draft], Sorted],
    takes: SharedOf = lambda shared: shared,
) -> tuple[Verdict, Draft | None]:
    """Judge a resource that always works for a DpeCluster.

    Args:
        situation: the resource and its cluster.
        what: the kind in the sentence for the user, such as farm.
        make: works out a spec.
        sorted_of: the children of what was worked out.
        takes: what is taken over from the DpeCluster; all of it where not given.
    """
    cluster = situation.cluster
    assert cluster is not None, f"a {what} always names its DpeCluster"
    if cluster.spec is None:
        cure = f"create it, or delete this {what} and make one that names another"
        return without_cluster(situation, cluster, cluster.name, cure=cure, make=make)
    shared = shared_of(cluster, own_name=situation.name, namespace=situation.namespace)
    wanted = {"spec": situation.resource["spec"], "shared": takes(shared)}
    return judge(situation, wanted, missing=False, make=make, sorted_of=sorted_of)


def without_cluster(
    situation: Situation, cluster: ClusterView | None, name: str, *, cure: str, make: Make[Draft]
) -> tuple[Verdict, Draft | None]:
    """Judge a resource whose DpeCluster is missing, or has accepted nothing yet."""
    exists = cluster is not None and cluster.exists
    why = (
        f"DpeCluster {name} has no accepted spec yet: see its conditions"
        if exists
        else f"DpeCluster {name} of clusterRef does not exist in this namespace: {cure}"
    )
    draft = _last_accepted(situation, make)
    return Verdict(None, why, not exists, draft is not None), draft


def judge(
    situation: Situation,
    wanted: Obj,
    *,
    missing: bool | None,
    make: Make[Draft],
    sorted_of: Callable[[Draft], Sorted],
) -> tuple[Verdict, Draft | None]:
    """Judge what is wanted; `missing` is what the verdict says of the DpeCluster."""
    try:
        draft = make(wanted)
        conflicts = sorted_of(draft).conflicts
        require([ownership_reason(conflicts)] if conflicts else [], "NameConflict")
    except Refused as refusal:
        before = _last_accepted(situation, make)
        return Verdict(refusal, None, missing, before is not None), before
    return Verdict(cluster_missing=missing), draft


def _last_accepted(situation: Situation, make: Make[Draft]) -> Draft | None:
    if situation.memory is None:
        return None
    try:
        return make(situation.memory.accepted)
    except Refused:  # a newer operator refuses what an older one accepted: leave all as it is
        return None
