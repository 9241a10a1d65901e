# SPDX-License-Identifier: Apache-2.0
"""Rules that compare absent fields use the defaults of the models, written into their CEL."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from dpe_operator.api import server_rules
from dpe_operator.api.balancer import Timings
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import ApiModel, Rule
from dpe_operator.api.server import Health

_FALLBACK = re.compile(r"self(?:\.\w+)*\.(\w+) : '([0-9]+(?:ms|s|m|h))'")


def _defaults(*models: type[BaseModel]) -> dict[str, str]:
    return {
        field.alias: str(field.default)
        for model in models
        for field in model.model_fields.values()
        if field.alias
    }


@pytest.mark.parametrize(
    ("rules", "models"),
    [
        (ClientProfile.cel_rules, [ClientProfile]),
        (Timings.cel_rules, [Timings]),
        (server_rules.SERVER, [Timings, Health]),
    ],
)
def test_defaults_in_rules_are_those_of_the_models(
    rules: tuple[Rule, ...], models: list[type[ApiModel]]
) -> None:
    used = {found for rule in rules for found in _FALLBACK.findall(rule.rule)}

    assert used, "no rule uses a default any more: take this test away"
    for name, value in used:
        assert _defaults(*models)[name] == value
