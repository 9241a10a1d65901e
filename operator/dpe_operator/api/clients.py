# SPDX-License-Identifier: Apache-2.0
"""The client profile: how all that talks to DPE is told to bridge a fail-over by retrying."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from dpe_operator.api.common import (
    ApiModel,
    Duration,
    EnvName,
    Rule,
    between,
    duration_at_most,
    stored,
)
from dpe_operator.api.constants import DEFAULT_RETRY_ENV_PREFIX, DEFAULT_SERVICE_ROOT_ENV

_INITIAL = "(has(self.initialBackoff) ? self.initialBackoff : '250ms')"
_MAX = "(has(self.maxBackoff) ? self.maxBackoff : '2s')"
_CONNECT = "(has(self.connectTimeout) ? self.connectTimeout : '500ms')"
_REQUEST = "(has(self.requestTimeout) ? self.requestTimeout : '5s')"
_BUDGET = "(has(self.totalBudget) ? self.totalBudget : '20s')"


def _not_longer(first: str, first_name: str, second: str, second_name: str) -> Rule:
    return Rule(
        duration_at_most(first, second),
        f"{first_name} is %s, longer than {second_name} (%s): shorten {first_name} or lengthen "
        f"{second_name}",
        values=(first, second),
        field=f".{first_name}",
    )


class ClientProfile(ApiModel):
    """How clients of the balancer find it and bridge a fail-over.

    Given to every component as environment variables and published as ConfigMap
    `<name>-client-profile` for all other clients of the site.
    """

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        _not_longer(_INITIAL, "initialBackoff", _MAX, "maxBackoff"),
        _not_longer(_CONNECT, "connectTimeout", _REQUEST, "requestTimeout"),
        _not_longer(_REQUEST, "requestTimeout", _BUDGET, "totalBudget"),
    )

    service_root_env: EnvName = Field(default=DEFAULT_SERVICE_ROOT_ENV, json_schema_extra=stored())
    """Environment variable that carries the balancer's URL in every component. Set by the operator
    only: no component may be pointed at a single server. Write the name your images expect."""
    retry_env_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = (
        Field(default=DEFAULT_RETRY_ENV_PREFIX, max_length=64)
    )
    """Put before the names of the retry variables: ATTEMPTS, INITIAL_BACKOFF, MAX_BACKOFF,
    CONNECT_TIMEOUT, REQUEST_TIMEOUT, TOTAL_BUDGET; times are written as here, such as `250ms`. A
    component's own `env` may set one of them differently."""
    attempts: int = Field(default=25, ge=1, le=100)
    """How often a request is tried in all before it counts as failed. The default is more than
    `totalBudget` has room for, also where each try is refused at once, so the budget decides."""
    initial_backoff: Duration = Field(
        default=Duration("250ms"), json_schema_extra=between("1ms", "1m")
    )
    """Pause before the second try; it doubles with each further one. An active server that dies
    is replaced in less than half a second, so the first or second retry usually succeeds."""
    max_backoff: Duration = Field(default=Duration("2s"), json_schema_extra=between("1ms", "10m"))
    """Longest pause between two tries."""
    connect_timeout: Duration = Field(
        default=Duration("500ms"), json_schema_extra=between("10ms", "1m")
    )
    """How long a client waits for a connection before it tries again. Short, because a lost node
    answers nothing at all."""
    request_timeout: Duration = Field(
        default=Duration("5s"), json_schema_extra=between("100ms", "1h")
    )
    """How long a client waits for an answer before it tries again. Longer than your slowest
    ordinary request, or good answers are thrown away."""
    total_budget: Duration = Field(default=Duration("20s"), json_schema_extra=between("1s", "24h"))
    """After this time the request has failed for good, whatever the number of tries. Covers the
    longest fail-over (the node of the routed balancer is lost: about 7 s) with room to spare."""

    def retry_environment(self) -> dict[str, str]:
        """Return the retry variables by name, times as text such as `250ms`."""
        values: dict[str, int | str] = {
            "ATTEMPTS": self.attempts,
            "INITIAL_BACKOFF": self.initial_backoff,
            "MAX_BACKOFF": self.max_backoff,
            "CONNECT_TIMEOUT": self.connect_timeout,
            "REQUEST_TIMEOUT": self.request_timeout,
            "TOTAL_BUDGET": self.total_budget,
        }
        return {f"{self.retry_env_prefix}{name}": str(value) for name, value in values.items()}
