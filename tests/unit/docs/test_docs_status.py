# SPDX-License-Identifier: Apache-2.0
"""Conditions, events and metrics: each one that the code has stands in the docs, and no other."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dpe_operator.runtime.metrics import Metrics

ROOT = Path(__file__).resolve().parents[3]
CODE = ROOT / "operator" / "dpe_operator"
PAGE = (ROOT / "docs/reference/status.md").read_text(encoding="utf-8")
TROUBLE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
# Reasons of events that the code puts together: of findings the condition, of runs the result.
PUT_TOGETHER = {
    *("Flapping", "ClientBudget", "TriggerMissed", "CrashLooping", "SyncFailed", "SyncRefused"),
}
# Reasons of Unknown that say all there is to say.
PLAIN = {"NotUsedYet", "NoRunYet", "NoCopyYet", "NotCompared", "NotVisible", "NotKnown"}


def calls(*names: str) -> Iterator[list[Any]]:
    """The arguments of all calls of these functions, as values; None: only known at run time."""
    for path in sorted(CODE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names
        ]
        if found:
            dotted = ".".join(path.relative_to(CODE.parent).with_suffix("").parts)
            known = vars(importlib.import_module(dotted))
            for node in found:
                yield [value(argument, known) for argument in node.args]


def value(node: ast.expr, known: dict[str, Any]) -> Any:
    try:
        return eval(ast.unparse(node), known)
    except (NameError, TypeError, AttributeError, KeyError, IndexError, SyntaxError):
        return None


def stated() -> Iterator[tuple[Any, Any, Any]]:
    """Condition, status and reason of all that is stated with a reason that is written there."""
    for arguments in calls("Part", "conditions.set"):
        condition, status, reason = (*arguments, None, None, None)[:3]
        yield condition, status, reason
    for arguments in calls("_part"):  # a part that is False, in server_status
        if len(arguments) == 5:
            yield arguments[0], False, arguments[1]


def first_cells(heading: str) -> set[str]:
    """The code names in the first column of the table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_each_event_stands_in_the_table_and_no_other() -> None:
    reasons = {arguments[1] for arguments in calls("Notice")} - {None}
    assert len(reasons) > 20
    assert first_cells("Events") == reasons | PUT_TOGETHER


def test_each_metric_of_the_operator_stands_in_the_table_and_no_other() -> None:
    shown = re.findall(rb"^# TYPE (\S+) (\S+)", Metrics().render(), re.M)
    names = {name.decode() for name, kind in shown if not name.endswith(b"_created")}
    assert first_cells("Metrics of the operator") == names


def test_each_condition_is_told_of() -> None:
    kinds = {condition for condition, _, _ in stated() if isinstance(condition, str)}
    assert len(kinds) > 20
    for kind in kinds:
        assert f"`{kind}`" in PAGE, kind


def test_each_reason_of_what_is_not_well_is_told_of() -> None:
    """Of findings the message says all; this is about what stands between a site and `Ready`."""
    told = PAGE + TROUBLE
    reasons = {
        reason
        for condition, status, reason in stated()
        if isinstance(reason, str) and status in (False, None)
        if f"`{condition}`" not in PAGE or counts(str(condition))
    } - PLAIN
    assert len(reasons) > 20
    missing = sorted(reason for reason in reasons if f"`{reason}`" not in told)
    assert not missing, missing


def counts(condition: str) -> bool:
    rows = [row for row in PAGE.splitlines() if row.startswith("|") and f"`{condition}`" in row]
    return any(row.split("|")[3].strip() == "yes" for row in rows if row.count("|") > 4)


def test_the_reasons_in_troubleshooting_are_those_of_the_code() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in CODE.rglob("*.py"))
    section = TROUBLE.split("## Conditions\n")[1].split("### Conditions about databases")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    names = {name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)}
    assert len(names) > 30
    built = {"CandidatesMissing", "MembersMissing"}
    built |= {f"Memory{state}" for state in ("Lost", "ForeignOwner", "Failed", "EpochAhead")}
    unknown = {name for name in names - built if f'"{name}"' not in code}
    assert not unknown, unknown


def test_the_alerts_ask_for_conditions_that_there_are() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    rules = yaml.safe_load(block)["groups"][0]["rules"]
    kinds = {condition for condition, _, _ in stated() if isinstance(condition, str)}
    asked = {kind for rule in rules for kind in re.findall(r'condition="(\w+)"', rule["expr"])}
    assert asked and asked <= kinds | {"Accepted", "Degraded"}
    assert 'sum(up{job="dpe-operator-metrics"}) == 0' in {rule["expr"] for rule in rules}
