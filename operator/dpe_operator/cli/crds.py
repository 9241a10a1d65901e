# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator crds --apply`: the CRDs of this build into the cluster; run by the chart's Job."""

import sys

from dpe_operator.crd_schema.definitions import custom_resource_definitions
from dpe_operator.kube.crds import NotEstablished, apply_crds
from dpe_operator.kube.errors import Forbidden, KubeError
from dpe_operator.kube.rest import NotConfigured, RestClient, load_configuration


async def apply() -> int:
    """Apply and wait; return the exit status."""
    try:
        configuration = await load_configuration()
        async with RestClient(configuration) as client:
            await apply_crds(client, custom_resource_definitions(), say=print)
    except Forbidden as error:
        cure = "this needs get, create and patch on customresourcedefinitions.apiextensions.k8s.io"
        print(f"dpe-operator: {error}; {cure}", file=sys.stderr)
        return 1
    except (KubeError, NotConfigured, NotEstablished) as error:
        print(f"dpe-operator: {error}", file=sys.stderr)
        return 1
    return 0
