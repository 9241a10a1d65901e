# SPDX-License-Identifier: Apache-2.0
"""The published retry profile: as a ConfigMap for clients anywhere, as environment for our pods."""

from __future__ import annotations

from dpe_operator.api import constants
from dpe_operator.api.addresses import client_profile_name
from dpe_operator.api.clients import ClientProfile
from dpe_operator.builders.context import ComponentContext, Manifest, Owner
from dpe_operator.builders.labels import metadata


def client_profile_config_map(
    owner: Owner, clients: ClientProfile, *, service_root: str | None
) -> Manifest:
    """Build the ConfigMap ``NAME-client-profile`` of a DpeCluster.

    Each key is the name of an environment variable, so that any pod of the namespace takes the
    whole profile by one ``envFrom``. Times are text such as ``250ms``.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(
            owner, client_profile_name(owner.name), constants.COMPONENT_CLIENT_PROFILE
        ),
        "data": _variables(clients, service_root),
    }


def client_env(context: ComponentContext) -> list[Manifest]:
    """Return service root and retry profile as env entries, under the names the profile chooses.

    The values stand in the pod template itself and not as references to the ConfigMap: a changed
    profile then reaches running components, by a rolling update that the owner asked for.
    """
    clients = context.clients or ClientProfile()
    return [
        {"name": name, "value": value}
        for name, value in _variables(clients, context.service_root).items()
    ]


def _variables(clients: ClientProfile, service_root: str | None) -> dict[str, str]:
    found = {} if service_root is None else {clients.service_root_env: service_root}
    return found | clients.retry_environment()
