# SPDX-License-Identifier: Apache-2.0
"""What the status says while the API server refuses a change: whether waiting is enough."""

from typing import Any

import pytest
from tests.support.fake_client import FakeClient
from tests.support.planning_world import cluster, farm

from dpe_operator.kube.errors import ApiError, Conflict, Forbidden, Invalid
from dpe_operator.kube.events import EventRecorder
from dpe_operator.planning.objects import Ref, condition
from dpe_operator.planning.plan import Environment
from dpe_operator.runtime.reconciler import Reconciler

FARM = Ref("ProcessorFarm", "studio", "video")
POLICY = Forbidden(403, "Forbidden", "a policy says no")


@pytest.fixture
def client() -> FakeClient:
    made = [cluster(), farm()]
    return FakeClient(*({**o, "metadata": {**o["metadata"], "generation": 1}} for o in made))


@pytest.fixture
async def subject(client: FakeClient) -> Reconciler:
    recorder = EventRecorder(client, instance="test")
    made = Reconciler(client, environment=Environment(balancer_image="x"), recorder=recorder)
    await made.reconcile(Ref("DpeCluster", "studio", "radio"))
    return made


def said(client: FakeClient, kind: str) -> tuple[Any, Any]:
    found = condition(client.objects[FARM], kind) or {}
    return found.get("status"), found.get("reason")


@pytest.mark.parametrize("error", [Invalid(422, "Invalid", "spec.x is wrong"), POLICY])
async def test_waiting_is_not_enough_for_what_is_refused(
    client: FakeClient, subject: Reconciler, error: ApiError
) -> None:
    client.fail["apply", "Deployment"] = error
    for _ in range(3):
        with pytest.raises(type(error)):
            await subject.reconcile(FARM)
        assert said(client, "Ready") == ("False", "ApplyFailed")
        assert said(client, "Degraded") == ("True", "ApplyFailed")
        assert said(client, "Progressing") == ("False", "ApplyFailed")
        degraded = condition(client.objects[FARM], "Degraded") or {}
        assert error.message in degraded["message"]
    client.fail.clear()
    await subject.reconcile(FARM)
    assert said(client, "Degraded") == ("False", "AsExpected"), "it goes by itself"
    assert said(client, "Progressing")[0] == "True", "its pods start now"


@pytest.mark.parametrize(
    "error",
    [
        ApiError(500, "InternalError", "no"),
        ApiError(429, "TooManyRequests", "no"),
        Conflict(409, "Conflict", "no"),
    ],
)
async def test_waiting_is_enough_for_what_passes(
    client: FakeClient, subject: Reconciler, error: ApiError
) -> None:
    client.fail["apply", "Deployment"] = error
    with pytest.raises(type(error)):
        await subject.reconcile(FARM)
    assert said(client, "Ready") == ("False", "ApplyFailed")
    assert said(client, "Degraded")[0] == "False" and said(client, "Progressing")[0] == "True"


async def test_a_refusal_beside_something_that_passes_is_no_verdict_yet(
    client: FakeClient, subject: Reconciler
) -> None:
    """The next round gives it."""
    client.fail["apply", "Deployment"] = POLICY
    client.fail["apply", "PodDisruptionBudget"] = ApiError(500, "InternalError", "no")
    with pytest.raises(ApiError):
        await subject.reconcile(FARM)
    assert said(client, "Ready") == ("False", "ApplyFailed")
    assert said(client, "Degraded")[0] == "False"
    del client.fail["apply", "PodDisruptionBudget"]
    with pytest.raises(Forbidden):
        await subject.reconcile(FARM)
    assert said(client, "Degraded") == ("True", "ApplyFailed")
