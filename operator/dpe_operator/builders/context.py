# SPDX-License-Identifier: Apache-2.0
"""What every builder is told besides the component's own spec.

The planner resolves owned and stand-alone resources to the same context, so that a builder has
one code path for both. Nothing in here comes from the nodes of the moment: a template that
changed when a node died would restart the pods that survived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from dpe_operator.api import constants
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import Placement
from dpe_operator.api.databases import DeliveredDatabase
from dpe_operator.api.pods import EnvVar, Volume

Manifest: TypeAlias = dict[str, Any]
"""A Kubernetes object, or a part of one, exactly as it is sent to the API server."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The custom resource that owns what is built.

    ``part_of`` is the name of the DpeCluster it belongs to, or its own name when it stands alone.
    """

    kind: str
    name: str
    namespace: str
    uid: str
    part_of: str

    @property
    def api_version(self) -> str:
        """The API version that an ownerReference names, such as dpe.dev/v1alpha1."""
        return constants.API_VERSION


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """Values shared by all pods of one resource, already resolved (own value, else the cluster's).

    ``service_root`` is the one URL that components are given (None: not known, then no variable).
    ``image_pull_policy`` None leaves the choice to Kubernetes. ``databases`` are those whose
    Secrets these pods are given, ``par_volumes`` and ``par_env`` what they see of the site's PAR
    files. ``placement`` Required: pods that do not find a host of their own stay Pending;
    Preferred: they double up.
    """

    owner: Owner
    placement: Placement = "Required"
    service_root: str | None = None
    clients: ClientProfile | None = None
    shared_volumes: tuple[Volume, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()
    image_pull_policy: str | None = None
    databases: tuple[DeliveredDatabase, ...] = ()
    par_volumes: tuple[Volume, ...] = ()
    par_env: tuple[EnvVar, ...] = ()
