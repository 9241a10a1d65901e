# SPDX-License-Identifier: Apache-2.0
"""Counts how often the model test asks the real election; tests/conftest.py prints the sum."""

from collections.abc import Generator

import pytest
from tests.unit.elector.elector_model import counted

# the name by which tests/conftest.py finds it
_STEPS = "election-steps"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Note the steps with the test, so that they are counted in whichever process it ran."""
    before = counted.observations
    try:
        return (yield)
    finally:
        if counted.observations > before:
            item.user_properties.append((_STEPS, counted.observations - before))
