# SPDX-License-Identifier: Apache-2.0
"""Memory, status and events: written when they say something new, and only then."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.support.fake_client import FakeClient

from dpe_operator.kube.errors import Conflict, Forbidden
from dpe_operator.kube.events import EventRecorder
from dpe_operator.kube.memory_store import memory_ref, read_memory, write_memory
from dpe_operator.kube.status import write_status
from dpe_operator.planning.memory import Memory, Unit
from dpe_operator.planning.objects import Obj, Ref
from dpe_operator.planning.plan import Notice

REF = Ref("DpeServer", "ns", "radio")
RESOURCE: Obj = {
    "apiVersion": "dpe.dev/v1alpha1",
    "kind": "DpeServer",
    "metadata": {"name": "radio", "namespace": "ns", "uid": "me", "generation": 3},
}
MEMORY = Memory({"spec": {"a": 1}}, {"k": {"x": 1}}, {"w": Unit("k", {"t": 1}, {"c": {}})})
OTHER = Memory({"spec": {"a": 2}})


async def test_memory_is_written_once_and_replaced_by_another() -> None:
    client = FakeClient()
    assert await write_memory(client, RESOURCE, MEMORY)
    assert not await write_memory(client, RESOURCE, MEMORY)
    assert await read_memory(client, REF, uid="me") == MEMORY
    assert await write_memory(client, RESOURCE, OTHER)
    assert [verb for verb, _ in client.writes] == ["create", "create", "delete"]
    assert await read_memory(client, REF, uid="me") == OTHER


async def test_memory_is_there_at_every_moment_of_its_replacement() -> None:
    """A farm reads its DpeCluster's memory at any time; a hole would make it Accepted=Unknown."""
    client = FakeClient()
    await write_memory(client, RESOURCE, MEMORY)
    client.fail["delete", "ControllerRevision"] = Forbidden(403, "Forbidden", "killed here")
    with pytest.raises(Forbidden):
        await write_memory(client, RESOURCE, OTHER)
    assert await read_memory(client, REF, uid="me") == OTHER

    client.fail.clear()
    assert await write_memory(client, RESOURCE, MEMORY)
    assert await read_memory(client, REF, uid="me") == MEMORY
    assert len(client.objects) == 1, "what the killed one left is gone too"


async def test_memory_that_another_operator_wrote_at_the_same_moment_is_no_conflict() -> None:
    class Overtaken(FakeClient):
        """Somebody else writes `others` between our look and our write."""

        others = MEMORY

        async def create(self, obj: Obj) -> Obj:
            await FakeClient.create(self, {**obj, "data": self.others.to_data()})
            return await FakeClient.create(self, obj)

    client = Overtaken()
    assert not await write_memory(client, RESOURCE, MEMORY)
    assert await read_memory(client, REF, uid="me") == MEMORY
    client.others = Memory({"spec": {"a": 3}})
    with pytest.raises(Conflict, match="is not ours"):
        await write_memory(client, RESOURCE, OTHER)


async def test_memory_of_a_resource_before_is_not_ours_and_is_replaced() -> None:
    client = FakeClient()
    await write_memory(client, RESOURCE, MEMORY)
    assert await read_memory(client, REF, uid="new") is None
    anew = {**RESOURCE, "metadata": {**RESOURCE["metadata"], "uid": "new"}}
    assert await write_memory(client, anew, MEMORY)
    assert await read_memory(client, REF, uid="new") == MEMORY


async def test_memory_does_not_overwrite_a_stranger() -> None:
    target = memory_ref(REF, 1)
    meta = {"name": target.name, "namespace": "ns"}
    client = FakeClient({"apiVersion": "apps/v1", "kind": target.kind, "metadata": meta})
    with pytest.raises(Conflict, match="is not ours"):
        await write_memory(client, RESOURCE, MEMORY)
    assert list(client.objects) == [target]


async def test_status_is_written_only_when_it_differs() -> None:
    client = FakeClient(RESOURCE)
    body: Obj = {"active": "a", "standby": None}
    assert await write_status(client, await client.get(REF), body)
    assert not await write_status(client, await client.get(REF), body)
    assert await write_status(client, await client.get(REF), {"active": "b"})
    assert client.objects[REF]["status"] == {"active": "b"}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_equal_events_become_a_series() -> None:
    client, clock = FakeClient(), Clock()
    recorder = EventRecorder(client, instance="pod", clock=clock)
    notice = Notice("Warning", "NotReady", "b is down")
    for _ in range(5):
        await recorder.record(RESOURCE, [notice])
    assert client.writes == [("create", "Event")]
    clock.now += timedelta(seconds=61)
    await recorder.record(RESOURCE, [notice])
    assert client.writes == [("create", "Event"), ("patch", "Event")]
    assert client.patches[0][1]["series"]["count"] == 6
    clock.now += timedelta(minutes=11)
    await recorder.record(RESOURCE, [notice])
    assert client.writes[-1] == ("create", "Event")


async def test_event_says_who_and_about_what() -> None:
    client = FakeClient()
    await EventRecorder(client, instance="pod").record(
        RESOURCE, [Notice("Normal", "Ready", "x" * 3000)]
    )
    (event,) = client.objects.values()
    assert event["regarding"]["uid"] == "me" and event["reportingInstance"] == "pod"
    assert len(event["note"]) == 1024 and event["eventTime"].endswith("Z")


@pytest.mark.parametrize(
    ("note", "written"),
    [
        ("ü" * 512, "ü" * 512),
        ("ü" * 1020, "ü" * 512),
        ("x" + "ü" * 1020, "x" + "ü" * 511),
        ("\N{GRINNING FACE}" * 300, "\N{GRINNING FACE}" * 256),
    ],
)
async def test_an_event_has_as_many_bytes_as_the_api_server_takes(note: str, written: str) -> None:
    client = FakeClient()
    notice = Notice("Warning", "SyncRefused", note)
    await EventRecorder(client, instance="pod").record(RESOURCE, [notice])
    (event,) = client.objects.values()
    assert event["note"] == written and len(event["note"].encode()) <= 1024


async def test_an_event_that_cannot_be_written_fails_nothing() -> None:
    client = FakeClient()
    client.fail["create", "Event"] = Forbidden(403, "Forbidden", "no")
    await EventRecorder(client, instance="pod").record(RESOURCE, [Notice("Normal", "A", "b")])
