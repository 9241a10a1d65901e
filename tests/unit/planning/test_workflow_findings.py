# SPDX-License-Identifier: Apache-2.0
"""What a workflow component is refused for, and what is only said about it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.workflow_world import (
    FOLDER,
    NAME,
    SCHEDULER,
    TABLE,
    WORKER,
    WorkflowWorld,
    concurrent,
    standby,
)

MEMORY = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
CONTAINER = "podTemplate.spec.containers[dpe]"


def patch(**container: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": {"containers": [{"name": "dpe", **container}]}}}


REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("direct", standby(WORKER), {"args": ["radio-member-a"]}, "spec.args[0] names radio-member-a"),
    ("host-pid", standby(WORKER), {"podTemplate": {"spec": {"hostPID": True}}}, "spec.hostPID"),
    ("command", standby(WORKER), patch(command=["x"]), f"{CONTAINER}.command would start"),
    ("args", standby(WORKER), patch(args=["x"]), f"{CONTAINER}.args would not reach"),
    ("declared", concurrent(TABLE), patch(env=[{"name": "DPE_TITLE_TEMPLATE", "value": "x"}]),
     "sets DPE_TITLE_TEMPLATE"),
    ("folder", standby(WORKER),
     {"volumes": [{"name": "x", "mountPath": "/dpe-elector/x", "emptyDir": {}}]},
     "another folder"),
    ("zone", standby(SCHEDULER), {"schedule": "0 2 * * *", "timeZone": "Europe/Nowhere"},
     "spec.timeZone: 'Europe/Nowhere' is no time zone"),
    ("cron", standby(SCHEDULER), {"schedule": "61 2 * * *", "timeZone": "UTC"},
     "spec.schedule: '61 2 * * *' is no schedule"),
    ("never", standby(SCHEDULER), {"schedule": "0 2 30 2 *", "timeZone": "UTC"},
     "(Bad day-of-month)"),
    ("stagger", concurrent(SCHEDULER), {"schedule": "*/5 * * * *", "timeZone": "UTC"},
     "is no fixed daily time"),
    ("equal", concurrent(SCHEDULER),
     {"schedules": [{"schedule": "0 2 * * 0"}, {"schedule": "0 2 * * 7"}], "timeZone": "UTC"},
     "spec.schedules: members 1 and 2 ('0 2 * * 0' and '0 2 * * 7') mean the same"),
    ("meet", concurrent(SCHEDULER),
     {"schedules": [{"schedule": "0 2 * * *"}, {"schedule": "0 2 * * 1"}], "timeZone": "UTC"},
     "meet, for one on 01 January at 02:00"),
    ("above", standby(TABLE), {"memory": {"mountPath": "/etc/memory", "size": "1Gi"}},
     "the folder above it, /etc, is replaced"),
    ("link", standby(TABLE),
     {"memory": MEMORY, "volumes": [{"name": "x", "mountPath": "/var/lib/dpe", "emptyDir": {}}]},
     "volume x is mounted at /var/lib/dpe"),
    ("below", standby(TABLE),
     {"memory": MEMORY,
      "volumes": [{"name": "x", "mountPath": "/var/lib/dpe/memory/x", "emptyDir": {}}]},
     "get into each other's way"),
    ("member", concurrent(TABLE),
     {"memory": MEMORY,
      "volumes": [{"name": "x", "mountPath": "/var/lib/dpe/memory", "emptyDir": {}}]},
     "get into each other's way"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "changes", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused_and_what_ran_goes_on(resource: Any, changes: dict[str, Any], said: str) -> None:
    world = WorkflowWorld(resource)
    world.well()
    before = {ref: obj["spec"] for ref, obj in world.objects.items() if ref.kind == "Deployment"}
    world.change(**changes)
    world.work()
    status, reason, message = world.said("Accepted")
    assert (status, reason) == ("False", "NotAllowed") and said in message
    after = {ref: obj["spec"] for ref, obj in world.objects.items() if ref.kind == "Deployment"}
    assert after == before


ALLOWED: list[tuple[str, Any, dict[str, Any]]] = [
    ("cpu-limit-without-elector", concurrent(WORKER), {"resources": {"limits": {"cpu": "1"}}}),
    ("command-without-elector", concurrent(WORKER), patch(command=["x"])),
    ("volume-beside-the-memory", standby(TABLE),
     {"memory": MEMORY, "volumes": [{"name": "x", "mountPath": "/var/lib", "emptyDir": {}}]}),
    ("volume-above-the-token", standby(WORKER),
     {"volumes": [{"name": "x", "mountPath": "/var/run", "emptyDir": {}}]}),
    ("cycles", standby(SCHEDULER), {"schedule": "*/5 * * * *", "timeZone": "UTC"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "changes"), [row[1:] for row in ALLOWED], ids=[row[0] for row in ALLOWED]
)
def test_allowed(resource: Any, changes: dict[str, Any]) -> None:
    world = WorkflowWorld(resource)
    world.change(**changes)
    world.work()
    assert world.said("Accepted")[0] == "True"


def test_a_shared_volume_of_the_site_counts_too() -> None:
    shared = [{"name": "temp", "mountPath": "/var/lib/dpe", "claimName": "temp"}]
    world = WorkflowWorld(standby(TABLE, memory=MEMORY), sharedVolumes=shared)
    world.work()
    assert "volume temp is mounted at /var/lib/dpe" in world.said("Accepted")[2]


def test_the_variable_that_the_site_reserves_is_refused() -> None:
    world = WorkflowWorld(standby(WORKER), clients={"serviceRootEnv": "DPE_URL"})
    world.change(env=[{"name": "DPE_URL", "value": "x"}])
    world.work()
    assert "spec.env sets DPE_URL" in world.said("Accepted")[2]


# --- findings


def test_members_that_meet_when_the_clocks_change_are_a_finding() -> None:
    world = WorkflowWorld(
        concurrent(SCHEDULER, schedule="0 2 * * *", timeZone="Europe/Berlin", stagger="30m")
    )
    world.well()
    status, reason, message = world.said("SchedulesApart")
    assert (status, reason) == ("False", "MeetWhenClocksChange")
    assert "members 1 and 2 both fire at 2027-03-28 03:00 CEST" in message
    assert world.said("Ready")[0] == "True"
    world.change(schedule="0 4 * * *")
    world.work()
    assert world.said("SchedulesApart")[0] == "True"


def test_declared_values_are_never_called_verified() -> None:
    world = WorkflowWorld(standby(SCHEDULER, schedule="0 2 * * *", timeZone="UTC"))
    world.work()
    status, _, message = world.said("DeclaredValues")
    assert status == "Unknown" and "declared, not verified in DPE" in message
    assert "DPE_SCHEDULE, DPE_TIME_ZONE" in message
    world.change(schedule=None, timeZone=None)
    world.work()
    assert not world.states("DeclaredValues")


@pytest.mark.parametrize(
    ("resource", "title", "status", "word"),
    [
        (standby(TABLE), None, "Unknown", "No titleTemplate is declared"),
        (standby(TABLE), "%tableid%-%entryid%", "Unknown", "declared, not verified in DPE"),
        (standby(TABLE), "!0%tableid%-%entryid%", "False", "leading !0"),
        (standby(TABLE), "%tableid%-%entryid%-%GUID%", "False", "every title different"),
        (standby(TABLE), "%tableid%", "False", "without %entryid%"),
        (standby(FOLDER), "%event%", "False", "without %filename%"),
        (concurrent(FOLDER), "%filename%", "Unknown", "holds no folder"),
    ],
)
def test_titles(resource: Any, title: str | None, status: str, word: str) -> None:
    world = WorkflowWorld(resource)
    if title:
        world.change(titleTemplate=title)
    world.well()
    assert world.said("TitleSafe")[0] == status and word in world.said("TitleSafe")[2]
    assert world.said("Ready")[0] == "True"


def test_a_volume_that_goes_with_its_claim_is_a_finding() -> None:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.well()
    assert world.said("ReclaimPolicy")[:2] == ("Unknown", "NotVisible")
    assert world.said("ClaimsAsWanted")[0] == "True"
    assert world.get(TABLE, NAME)["status"]["mode"] == "Standby"
