# SPDX-License-Identifier: Apache-2.0
"""Common ground of all tests: no test may reach a cluster of the person who runs them."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# kubectl, helm and the client library must never find a kube context that the tests did not make.
os.environ["KUBECONFIG"] = "/nonexistent/kubeconfig-of-no-cluster"
for _name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
    os.environ.pop(_name, None)

# The first text that hypothesis draws on a clean checkout builds its tables of Unicode, which takes
# more than a second on a busy core: no fault of the test that happens to be the first.
settings.register_profile(
    "dpe", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("dpe")

# What tests/unit/elector/conftest.py notes with a test, in whichever process it ran.
_ELECTION_STEPS = "election-steps"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how much the model of the election was played: it is worth what it has seen."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call"
    ]
    steps = [
        n for report in reports for name, n in report.user_properties if name == _ELECTION_STEPS
    ]
    if steps:
        terminalreporter.write_line(
            f"election model: {sum(steps)} observations handed to the real election, "
            f"in {len(steps)} tests"
        )
