# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator crds --apply`: the CRDs of this build into the cluster; run by the chart's Job."""

import sys
from typing import Final

from dpe_operator.crd_schema.definitions import custom_resource_definitions
from dpe_operator.kube.crds import FieldsLost, NotEstablished, apply_crds
from dpe_operator.kube.errors import Forbidden, KubeError
from dpe_operator.kube.rest import NotConfigured, RestClient, load_configuration

# The chart's Job does not try again after this one.
REFUSED: Final = 3
_CURE: Final = (
    "What resources hold there would be lost, so nothing was changed. An operator works with CRDs"
    " that are newer than itself: leave them as they are (chart value crds.install=false), or go"
    " back with `helm rollback`. To lose it all the same: chart value crds.allowFieldLoss=true, or"
    " --allow-field-loss"
)


async def apply(*, allow_field_loss: bool = False) -> int:
    """Apply and wait; return the exit status."""
    try:
        configuration = await load_configuration()
        async with RestClient(configuration) as client:
            definitions = custom_resource_definitions()
            await apply_crds(client, definitions, say=print, allow_field_loss=allow_field_loss)
    except FieldsLost as lost:
        print(
            f"dpe-operator: the CRDs of this version lack what the cluster's have: {lost}. {_CURE}",
            file=sys.stderr,
        )
        return REFUSED
    except Forbidden as error:
        cure = "this needs get, create and patch on customresourcedefinitions.apiextensions.k8s.io"
        print(f"dpe-operator: {error}; {cure}", file=sys.stderr)
        return 1
    except (KubeError, NotConfigured, NotEstablished) as error:
        print(f"dpe-operator: {error}", file=sys.stderr)
        return 1
    return 0
