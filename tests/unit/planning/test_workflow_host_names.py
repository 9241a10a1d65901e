# SPDX-License-Identifier: Apache-2.0
"""The computer names of Concurrent members on Windows, and that an upgrade changes none by itself."""

from __future__ import annotations

import pytest
from tests.support.workflow_world import FOLDER, NAME, SCHEDULER, TABLE, WorkflowWorld, concurrent

from dpe_operator.builders.context import Owner


def host_names(world: WorkflowWorld) -> list[str]:
    return [each["spec"]["template"]["spec"]["hostname"] for each in world.deployments()]


@pytest.mark.parametrize("kind", [SCHEDULER, TABLE, FOLDER])
def test_windows_members_have_computer_names_of_their_own(kind: str) -> None:
    """Windows cuts them to 15 characters, and DPE keys licences and parameter files by them."""
    world = WorkflowWorld(concurrent(kind, os="windows", command=None, replicas=10))
    world.work()
    assert len({name[:15].lower() for name in host_names(world)}) == 10


def test_members_keep_the_computer_names_of_an_older_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of before the names were made short: for them alone no pod is replaced."""
    world = WorkflowWorld(concurrent(FOLDER, os="windows", command=None))

    def of_before(owner: Owner, number: int, *, windows: bool) -> str:
        return f"{owner.name}-folder-watcher-{number}"

    with monkeypatch.context() as older:
        older.setattr("dpe_operator.builders.workflow_pod.member_host_name", of_before)
        world.well()
    before = [each["spec"] for each in world.deployments()]
    assert host_names(world) == ["news-folder-watcher-1", "news-folder-watcher-2"]
    world.work()
    assert [each["spec"] for each in world.deployments()] == before
    assert world.status["outdated"] == [world.child("-1"), world.child("-2")]
    world.annotate(FOLDER, NAME, approve_upgrade="true")
    world.work()
    assert host_names(world) == ["news-folder-watcher-1", "news-fol-8f12-2"], "one after the other"
