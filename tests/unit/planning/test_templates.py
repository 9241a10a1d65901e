# SPDX-License-Identifier: Apache-2.0
"""A running template stays until its owner changes something about it, or approves the upgrade."""

from typing import Any

from dpe_operator.planning.memory import Memory, Unit, memory_of
from dpe_operator.planning.templates import (
    ANNOTATION_TEMPLATE,
    Choice,
    Rendered,
    choose,
    remember,
    runs,
    with_unit,
)


def code(version: int) -> Any:
    """Code that renders `image` from the inputs, and its own version."""

    def render(inputs: dict[str, Any]) -> dict[str, Rendered]:
        if inputs.get("bad"):
            raise ValueError("refused")
        template = {"image": inputs["image"], "code": version}
        return {"w": Rendered(template, {"cfg": {"v": version}})}

    return render


def run(
    inputs: dict[str, Any], version: int, memory: Memory | None, *, approved: bool = False
) -> tuple[Choice, Memory]:
    render = code(version)
    choice = choose(render(inputs), inputs=inputs, memory=memory, render=render, approved=approved)
    return choice, remember({}, inputs=inputs, units=choice.units, before=memory)


def test_first_time_todays_template() -> None:
    choice, _ = run({"image": "x"}, 1, None)
    assert choice.units["w"].template == {"image": "x", "code": 1}
    assert choice.outdated == ()


def test_newer_code_alone_changes_nothing_that_runs() -> None:
    _, memory = run({"image": "x"}, 1, None)
    choice, memory = run({"image": "x"}, 2, memory)
    assert choice.units["w"].template["code"] == 1 and choice.units["w"].configs["cfg"]["v"] == 1
    assert choice.outdated == ("w",)
    again, _ = run({"image": "x"}, 3, memory)
    assert again.units["w"].template["code"] == 1


def test_a_change_of_the_owner_brings_todays_template() -> None:
    _, memory = run({"image": "x"}, 1, None)
    choice, _ = run({"image": "y"}, 2, memory)
    assert choice.units["w"].template == {"image": "y", "code": 2} and choice.outdated == ()


def test_a_change_that_is_not_about_the_template_is_none() -> None:
    _, memory = run({"image": "x", "replicas": 2}, 1, None)
    choice, memory = run({"image": "x", "replicas": 3}, 2, memory)
    assert choice.units["w"].template["code"] == 1 and choice.outdated == ("w",)
    again, _ = run({"image": "x", "replicas": 3}, 2, memory)
    assert again.outdated == ("w",)


def test_approval_brings_todays_template() -> None:
    _, memory = run({"image": "x"}, 1, None)
    choice, _ = run({"image": "x"}, 2, memory, approved=True)
    assert choice.units["w"].template["code"] == 2 and choice.outdated == ()


def test_inputs_that_todays_code_refuses_count_as_changed() -> None:
    memory = Memory({}, {"k": {"image": "x", "bad": True}}, {"w": Unit("k", {"image": "x"}, {})})
    choice, _ = run({"image": "x"}, 2, memory)
    assert choice.units["w"].template["code"] == 2


def test_memory_survives_the_way_through_the_api_server() -> None:
    _, memory = run({"image": "x"}, 1, None)
    assert memory_of({"data": memory.to_data()}) == memory
    assert memory_of(None) is None and memory_of({"data": {"format": 99}}) is None


def test_memory_drops_inputs_nobody_needs() -> None:
    _, memory = run({"image": "x"}, 1, None)
    _, memory = run({"image": "y"}, 1, memory)
    assert [inputs["image"] for inputs in memory.inputs.values()] == ["y"]


def test_marked_deployment() -> None:
    unit = Unit("k", {"image": "x"}, {})
    made = with_unit({"metadata": {"name": "w"}, "spec": {"replicas": 1, "template": {}}}, unit)
    assert made["spec"] == {"replicas": 1, "template": {"image": "x"}}
    assert ANNOTATION_TEMPLATE in made["metadata"]["annotations"]
    assert runs(made, unit)
    assert not runs(made, Unit("k", {"image": "y"}, {}))
    assert not runs(None, unit) and not runs(made, None)
