# SPDX-License-Identifier: Apache-2.0
"""ProcessorFarm: interchangeable job processors of one type, several, on several nodes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, StringConstraints

from dpe_operator.api import server_rules as rules
from dpe_operator.api.common import (
    ApiModel,
    Condition,
    DnsLabel,
    ImageName,
    LocalRef,
    Metadata,
    Rule,
    list_map,
    stored,
)
from dpe_operator.api.constants import DEFAULT_REPLICAS, DEFAULT_SERVICE_ROOT_ENV, MAX_FARM_NAME
from dpe_operator.api.pods import PodSettings

_ENOUGH: Final = Rule(
    "!has(self.replicas) || self.replicas >= 2 || self.allowSingleReplica",
    "replicas is %s, so one fault stops all %s jobs: write 2 or more, or allowSingleReplica: true "
    "if you accept that",
    values=("self.replicas", "self.type"),
    field=".replicas",
)


class FarmTemplate(PodSettings):
    """One farm of job processors."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (_ENOUGH,)

    type: Annotated[DnsLabel, Field(max_length=20)]
    """What the processors do, such as audio, loudness, video or utility; a free word, because
    nobody but DPE knows all types. At most 20 lower-case letters, digits and dashes. Cannot be
    changed on a ProcessorFarm."""
    image: ImageName
    """Container image of the processor."""
    replicas: int | None = Field(default=None, ge=0, le=1000)
    """How many processors run. Two at least, so that jobs go on when one is lost; capacity is this
    number times the job quota of each. In a DpeCluster: write it to have it enforced, leave it out
    to let `kubectl scale` or an autoscaler set it on the ProcessorFarm. Default: 2 at creation."""
    allow_single_replica: bool = Field(default=False, json_schema_extra=stored())
    """Accepts fewer than two replicas (0 stops the farm). One fault then stops all jobs of this
    type until Kubernetes has a new pod running, and there is no disruption budget."""


class ProcessorFarmSpec(FarmTemplate):
    """A farm of job processors that talks to the balancer of a DpeCluster, never to one server."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        rules.immutable_ref("clusterRef"),
        Rule(
            "self.type == oldSelf.type",
            "type cannot be changed from %s to %s: create a new ProcessorFarm and delete this one",
            values=("oldSelf.type", "self.type"),
            field=".type",
        ),
        rules.reserved_env(
            rules.no_env("self", f"'{DEFAULT_SERVICE_ROOT_ENV}'"),
            f"'{DEFAULT_SERVICE_ROOT_ENV}'",
            where="of the farm",
        ),
    )

    cluster_ref: LocalRef
    """The DpeCluster these processors work for, in the same namespace; may belong to another team.
    Its balancer's URL, client profile, shared volumes and image log-ins are taken from it. Cannot
    be changed."""

    def wanted_replicas(self) -> int:
        """How many processors to run; the default where nobody has said a number."""
        return DEFAULT_REPLICAS if self.replicas is None else self.replicas


class ProcessorFarmStatus(ApiModel):
    """What the operator reports about a farm."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation this status speaks of."""
    conditions: list[Condition] = Field(
        default=[], max_length=32, json_schema_extra=list_map("type")
    )
    """Statements about the farm: Accepted, Ready, Progressing, Degraded and others."""
    replicas: int | None = Field(default=None, ge=0)
    """How many processor pods exist."""
    ready_replicas: int | None = Field(default=None, ge=0)
    """How many of them are ready to work."""
    selector: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """Label selector of the pods, as text; autoscalers read it."""
    outdated: list[Annotated[str, StringConstraints(max_length=256)]] = Field(
        default=[], max_length=8, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Workloads that would be restarted to catch up with this operator's version. They wait for
    another reason or for the annotation `dpe.dev/approve-upgrade: "true"`."""


class ProcessorFarm(ApiModel):
    """A farm of interchangeable job processors of one type, spread over nodes."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        rules.short_name(MAX_FARM_NAME, "the name of the Deployment is made from it"),
    )

    metadata: Metadata
    spec: ProcessorFarmSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""
