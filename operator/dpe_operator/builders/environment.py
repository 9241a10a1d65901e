# SPDX-License-Identifier: Apache-2.0
"""Environment of a container: what the operator gives, then the user's, later names winning."""

from __future__ import annotations

from collections.abc import Iterable

from dpe_operator.api.pods import EnvFrom, EnvVar
from dpe_operator.builders.client_profile import client_env
from dpe_operator.builders.context import ComponentContext, Manifest


def component_env(context: ComponentContext, *layers: Iterable[EnvVar]) -> list[Manifest]:
    """Service root and retry profile, then each layer; a later entry of a name replaces an earlier.

    The operator's come first so that the user's may refer to them as ``$(DPE_SERVICE_ROOT)``.
    The service root itself cannot be replaced: the API server refuses the name.
    """
    merged = {entry["name"]: entry for entry in client_env(context)}
    fixed = context.clients.service_root_env if context.clients and context.service_root else None
    for layer in layers:
        for variable in layer:
            if variable.name != fixed:
                merged[variable.name] = env_entry(variable)
    return list(merged.values())


def env_entry(variable: EnvVar) -> Manifest:
    """One entry for ``env``. A variable without any value is an empty one, as in Kubernetes."""
    return variable.model_dump(mode="json", by_alias=True, exclude_none=True)


def env_from_entries(*layers: Iterable[EnvFrom]) -> list[Manifest]:
    """The entries for ``envFrom``; Secrets are named, their values never read."""
    return [
        entry.model_dump(mode="json", by_alias=True, exclude_none=True)
        for layer in layers
        for entry in layer
    ]
