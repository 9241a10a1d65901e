# SPDX-License-Identifier: Apache-2.0
"""Installs and upgrades the CRDs: what the chart's Job does before an install and an upgrade.

Server-side apply, so that what others have put on the CRDs (labels, a conversion webhook) stays.
`spec.versions`, with all schemas and rules, is one field to it: an older one is replaced whole,
whoever applied it. Names and labels that a later version leaves out stay if somebody applied them
under another name than MANAGER; so the documented `kubectl apply` of the CRDs uses it too.

An older image (a tag that was set by hand, an older chart, another release in the same cluster)
brings older CRDs, and what resources hold in the newer fields would be lost with the next write. So
nothing is applied then, unless it was allowed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.crd_fields import lost_fields
from dpe_operator.kube.errors import NotFound
from dpe_operator.planning.objects import Obj, Ref, condition

MANAGER: Final = "dpe-operator-crds"
KIND: Final = "CustomResourceDefinition"
PATIENCE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.5
_NAMED: Final = 8


class NotEstablished(Exception):
    """A CRD was taken but is not served; the message says what the API server says about it."""


class FieldsLost(Exception):
    """The CRDs of the cluster have fields that these lack; the message names some of them."""


async def apply_crds(
    client: KubeClient,
    definitions: Iterable[Obj],
    *,
    say: Callable[[str], None],
    allow_field_loss: bool = False,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Apply all definitions, then wait until each is served.

    Args:
        client: needs get, create and patch on customresourcedefinitions.
        definitions: the CRDs.
        say: called with one line for each CRD that is in place.
        allow_field_loss: apply also what takes fields of `spec`, or versions, from the cluster.
        patience: seconds to wait for all of them together.

    Raises:
        FieldsLost: it would do so and was not allowed to; nothing was changed.
        KubeError: the API server refuses one or does not answer.
        NotEstablished: one is not served in time.
    """
    definitions = list(definitions)
    if not allow_field_loss:
        await _check_fields(client, definitions)
    names = []
    for definition in definitions:
        await client.apply(definition, manager=MANAGER)
        names.append(str(definition["metadata"]["name"]))
    deadline = time.monotonic() + patience
    for name in names:
        await _wait_established(client, name, deadline)
        say(f"{name} is in place")


async def _check_fields(client: KubeClient, definitions: Iterable[Obj]) -> None:
    """Raise FieldsLost if one of the definitions lacks what the cluster's has."""
    lost: list[str] = []
    for definition in definitions:
        name = str(definition["metadata"]["name"])
        try:
            live = await client.get(Ref(KIND, "", name))
        except NotFound:
            continue
        lost += [f"{path} of {name}" for path in lost_fields(live, definition)]
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise FieldsLost(", ".join(lost[:_NAMED]) + more)


async def _wait_established(client: KubeClient, name: str, deadline: float) -> None:
    while True:
        live = await client.get(Ref(KIND, "", name))
        if (condition(live, "Established") or {}).get("status") == "True":
            return
        if time.monotonic() > deadline:
            names = condition(live, "NamesAccepted") or {}
            said = names.get("message", "") or "it says nothing about the reason"
            raise NotEstablished(f"{name} is not served: {said}")
        await asyncio.sleep(_PAUSE_SECONDS)
