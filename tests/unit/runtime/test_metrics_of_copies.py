# SPDX-License-Identifier: Apache-2.0
"""Metrics of PAR files' copies: the last result, and an age that grows by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dpe_operator.planning.objects import Ref
from dpe_operator.runtime.metrics import Metrics

STORE = Ref("ParStore", "studio", "radio")
WHERE = 'name="radio",namespace="studio"'


def shown(metrics: Metrics) -> list[str]:
    lines = metrics.render().decode().splitlines()
    return [line for line in lines if line.startswith("dpe_operator_par_")]


def test_age_and_result() -> None:
    metrics = Metrics()
    metrics.show_copy(STORE, result=None, success=None)
    assert shown(metrics) == []
    since = datetime.now(UTC) - timedelta(hours=5)
    metrics.show_copy(STORE, result="Succeeded", success=since)
    age, result = shown(metrics)
    assert age.startswith(f"dpe_operator_par_copy_age_seconds{{{WHERE}}}")
    assert 5 * 3600 <= float(age.split()[-1]) < 5 * 3600 + 60
    assert result == f'dpe_operator_par_last_run{{{WHERE},result="Succeeded"}} 1.0'


def test_only_the_last_result_is_shown_and_nothing_of_a_store_that_is_gone() -> None:
    metrics = Metrics()
    metrics.show_copy(STORE, result="Succeeded", success=datetime.now(UTC))
    metrics.show_copy(STORE, result="Refused", success=datetime.now(UTC))
    assert [line for line in shown(metrics) if "result" in line] == [
        f'dpe_operator_par_last_run{{{WHERE},result="Refused"}} 1.0'
    ]
    metrics.show_copy(STORE, result=None, success=None)
    assert shown(metrics) == []
