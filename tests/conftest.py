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
# So many tests of a run may fail once and pass when they are repeated: more is no bad luck.
_MOST_REPEATED = 6


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Many tests that fail at first are a failure, though each of them passed in the end."""
    if session.exitstatus == pytest.ExitCode.OK and len(_repeated(session.config)) > _MOST_REPEATED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print why tests were repeated, and how much the model of the election was played."""
    _tell_repeated(terminalreporter)
    _tell_election(terminalreporter)


def _repeated(config: pytest.Config) -> dict[str, list[pytest.TestReport]]:
    """The failures that hack/test answered by repeating the test, by test."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    found: dict[str, list[pytest.TestReport]] = {}
    for report in reporter.stats.get("rerun", []) if reporter else []:
        found.setdefault(report.nodeid, []).append(report)
    return found


def _tell_repeated(terminal: pytest.TerminalReporter) -> None:
    """A test that fails once has a fault, or shows one: what it said must not get lost."""
    found = _repeated(terminal.config)
    for name, reports in found.items():
        for report in reports:
            terminal.write_sep("_", f"{name}, which was repeated")
            terminal.write_line(report.longreprtext)
    if len(found) > _MOST_REPEATED:
        terminal.write_line(f"FAILED: {len(found)} tests were repeated, more than {_MOST_REPEATED}")


def _tell_election(terminalreporter: pytest.TerminalReporter) -> None:
    """The model is worth what it has seen."""
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
