# SPDX-License-Identifier: Apache-2.0
"""Settings of the operator process, from environment variables with the prefix DPE_OPERATOR_."""

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dpe_operator.planning.plan import Environment


class Settings(BaseSettings):
    """How this operator runs. Every field is an environment variable, upper case, prefixed."""

    model_config = SettingsConfigDict(
        env_prefix="DPE_OPERATOR_", frozen=True, use_attribute_docstrings=True
    )

    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to work in, separated by commas; empty: all, which needs a ClusterRole."""
    balancer_image: str = Field(min_length=1)
    """Image of the balancer pods, with its tag."""
    elector_image: str = Field(min_length=1)
    """Image of the elector that is put into the pods of singletons, with its tag."""
    operator_image: str = ""
    """The operator's own image, with its tag, for the Jobs that look at databases' Secrets; empty:
    nobody looks."""
    database_check_seconds: float = Field(default=3600.0, ge=1)
    """How often the databases' Secrets are looked at though nothing is known to have changed."""
    par_sync_image: str = ""
    """Image of the pods that copy PAR files, with its tag; without it nothing is copied."""
    reads_cluster: bool = False
    """Whether PersistentVolumes and StorageClasses may be read (chart value rbac.clusterReads)."""
    log_format: Literal["json", "plain"] = "json"
    """One JSON object a line for log collectors, or plain text for people."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged."""
    metrics_port: int = Field(default=8080, ge=0, le=65535)
    """Port of /metrics, /livez and /readyz; 0 takes a free one (tests)."""
    resync_seconds: float = Field(default=600.0, gt=0)
    """Every resource is looked at again after this time, 10 % more or less."""
    look_seconds: float = Field(default=60.0, gt=0)
    """How often each of the watched namespaces is looked at, whether it may be read."""
    workers: int = Field(default=4, ge=1, le=64)
    """How many resources are reconciled at the same time."""
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    """Pull policy of our own images in pods we make; empty leaves it to Kubernetes."""
    image_pull_secrets: Annotated[tuple[str, ...], NoDecode] = ()
    """Secrets with the log-in for our own images, by name in each namespace, comma separated."""
    pod_name: str = Field(default="dpe-operator", validation_alias="POD_NAME")
    """Who writes events; the chart fills in the pod's name."""

    @field_validator("watch_namespaces", "image_pull_secrets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def environment(self) -> Environment:
        """Return what shapes the objects that are made."""
        return Environment(
            balancer_image=self.balancer_image,
            operator_image=self.operator_image,
            database_check_seconds=self.database_check_seconds,
            par_sync_image=self.par_sync_image,
            reads_cluster=self.reads_cluster,
            elector_image=self.elector_image,
            image_pull_policy=self.image_pull_policy or None,
            image_pull_secrets=self.image_pull_secrets,
        )
