# SPDX-License-Identifier: Apache-2.0
"""Pods whose service account was deleted and made again: the token in them is good for nothing.

A token belongs to one account by its uid. Kubelet renews it by the clock and not because the
account is another one now, so such a pod is refused by the API server until its token is renewed,
which is up to 48 minutes (80 % of the token's hour) later, and a restart of its container does not
help: only a new pod is given a new token. So these pods are deleted, and their Deployments make
new ones.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from dpe_operator.planning.objects import Obj, Ref, dig, is_terminating, moment, ref_of, uid_of
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Deletion, Notice, Situation
from dpe_operator.planning.workloads import alive, is_ready

# As the projected tokens ask for (expirationSeconds 3607): after that every pod has been given one
# of the account that is there now.
TOKEN_LIFE: Final = timedelta(seconds=3607)


def refused_pods(situation: Situation, pods: Iterable[Obj], account: str) -> list[Obj]:
    """Return the pods, of those given, that hold a token of an account that is no more.

    Args:
        situation: the resource and its live objects.
        pods: the pods to look at; those on their way out, and out, are passed over.
        account: name of our service account that they run under.
    """
    live = own_object(situation, Ref("ServiceAccount", situation.namespace, account))
    made = _created(live)
    if made is None or situation.now - made > TOKEN_LIFE:
        return []
    return [
        pod
        for pod in alive(pods)
        if not is_terminating(pod)
        and dig(pod, "spec", "serviceAccountName") == account
        and (born := _created(pod)) is not None
        and born < made
    ]


def refused_candidates(situation: Situation, pods: Iterable[Obj], account: str) -> list[Deletion]:
    """Return the candidates to delete: those that the API server does not answer any more.

    A candidate is Ready as long as the API server answers it, so one whose token was renewed
    meanwhile is left alone. None of the others can act, so all of them go at once.
    """
    refused = refused_pods(situation, pods, account)
    return [_deletion(pod, account) for pod in refused if not is_ready(pod)]


def refused_balancer(
    situation: Situation, pods: Iterable[Obj], account: str, *, routed: str | None
) -> list[Deletion]:
    """Return the balancer to delete next, if any: one after the other, the routed one last.

    They go on serving with a token that is refused, but none of them can take over. So the next one
    goes only when those that are new already are ready: clients always have one.
    """
    running = [pod for pod in alive(pods) if not is_terminating(pod)]
    refused = refused_pods(situation, running, account)
    if not refused:
        return []
    first = min(refused, key=lambda pod: (_name(pod) == routed, is_ready(pod), _name(pod)))
    others = [pod for pod in running if pod is not first]
    new = [pod for pod in others if pod not in refused]
    return [_deletion(first, account)] if others and all(is_ready(pod) for pod in new) else []


def _name(pod: Obj) -> str:
    return str(pod["metadata"]["name"])


def _deletion(pod: Obj, account: str) -> Deletion:
    """Urgent: until a new pod runs nobody acts, or no balancer can take over."""
    ref = ref_of(pod)
    notice = Notice(
        "Warning",
        "TokenRefused",
        f"{ref} is replaced: ServiceAccount {account} was deleted and made again, and"
        " a running pod keeps the token of the former one, which the API server refuses",
    )
    return Deletion(ref, uid_of(pod), urgent=True, notice=notice)


def _created(obj: Obj | None) -> datetime | None:
    return moment(dig(obj, "metadata", "creationTimestamp"))
