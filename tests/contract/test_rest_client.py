# SPDX-License-Identifier: Apache-2.0
"""The requests that go over the wire, and what becomes of the answers.

Against a plain HTTP server that plays back answers. kmock emulates objects, which is one thing too
many here: what a server does with an apply is tested on a real API server.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from dpe_operator.kube.errors import ApiError, Conflict, Invalid, NotFound, Unreachable
from dpe_operator.kube.rest import NotConfigured, RestClient, load_configuration
from dpe_operator.planning.objects import Obj, Ref
from dpe_operator.runtime.operator import StartupError, check_kinds

FARM = Ref("ProcessorFarm", "ns", "video")
PATH = "/apis/dpe.dev/v1alpha1/namespaces/ns/processorfarms"
OBJ: Obj = {
    "apiVersion": "dpe.dev/v1alpha1",
    "kind": "ProcessorFarm",
    "metadata": {"name": "video", "namespace": "ns"},
}
Seen = list[tuple[str, str, int]]


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    text: str = ""


@dataclass
class Answers:
    """Answers each request with the next of `queue`, the last one for ever."""

    queue: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def give(self, body: Any, status: int = 200, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.queue.append((status, body, names))

    def fail(self, status: int, reason: str, **headers: str) -> None:
        body = {"kind": "Status", "reason": reason, "message": f"{reason} it is"}
        self.give(body, status, **headers)

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.requests.append(
            Request(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(text) if text else None,
                text,
            )
        )
        status, body, headers = self.queue[0] if len(self.queue) == 1 else self.queue.pop(0)
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=headers)
        return web.json_response(body, status=status, headers=headers)


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture
def server() -> Answers:
    return Answers()


@pytest.fixture
async def client(server: Answers, seen: Seen) -> AsyncIterator[RestClient]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as running:
        configuration = Configuration()
        configuration.host = str(running.make_url("")).rstrip("/")
        configuration.api_key["BearerToken"] = "bearer secret"
        async with RestClient(configuration, observer=lambda *call: seen.append(call)) as made:
            yield made


async def test_get_is_authorised_and_observed(
    server: Answers, client: RestClient, seen: Seen
) -> None:
    server.give(OBJ)
    assert await client.get(FARM) == OBJ
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", f"{PATH}/video")
    assert request.headers["Authorization"] == "bearer secret"
    assert seen == [("get", "ProcessorFarm", 200)]


async def test_list_pages_and_names_kinds(server: Answers, client: RestClient) -> None:
    server.give({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]})
    server.give({"metadata": {}, "items": [{"metadata": {"name": "b"}}]})
    found = await client.list("ProcessorFarm", "ns", labels="a=b,c=d")
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in found] == [
        ("ProcessorFarm", "a"),
        ("ProcessorFarm", "b"),
    ]
    first, second = server.requests
    assert first.query == {"labelSelector": "a=b,c=d", "limit": "500"}
    assert second.query == {**first.query, "continue": "more"}


@pytest.mark.parametrize("status", [False, True])
async def test_server_side_apply(server: Answers, client: RestClient, status: bool) -> None:
    server.give(OBJ)
    if status:
        await client.apply_status(OBJ, manager="us")
    else:
        await client.apply(OBJ, manager="us")
    (request,) = server.requests
    assert request.path == (f"{PATH}/video/status" if status else f"{PATH}/video")
    assert request.headers["Content-Type"].startswith("application/apply-patch+yaml;")
    assert request.query == {"fieldManager": "us", "force": "true"}
    assert request.body == OBJ


async def test_apply_that_yields(server: Answers, client: RestClient) -> None:
    server.give(OBJ)
    await client.apply(OBJ, manager="us", force=False)
    assert server.requests[0].query["force"] == "false"


async def test_merge_patch_create_update(server: Answers, client: RestClient) -> None:
    server.give(OBJ)
    await client.merge_patch(FARM, {"metadata": {"annotations": {"a": None}}})
    await client.create(OBJ)
    await client.update(OBJ)
    patch = server.requests[0]
    assert patch.headers["Content-Type"] == "application/merge-patch+json"
    assert patch.body == {"metadata": {"annotations": {"a": None}}}
    assert [(request.method, request.path) for request in server.requests] == [
        ("PATCH", f"{PATH}/video"),
        ("POST", PATH),
        ("PUT", f"{PATH}/video"),
    ]


async def test_characters_beyond_the_usual_are_applied_as_they_are(
    server: Answers, client: RestClient
) -> None:
    # The API server reads an apply patch as YAML, which has no \\ud83c\\udf99 of JSON: 400 otherwise.
    server.give(OBJ)
    title = {"metadata": {**OBJ["metadata"], "annotations": {"title": "Studio \U0001f399 Köln"}}}
    await client.apply({**OBJ, **title}, manager="dpe-operator")
    assert "\U0001f399 Köln" in server.requests[0].text
    assert server.requests[0].body["metadata"] == title["metadata"]


async def test_delete_names_the_very_object_and_gone_is_fine(
    server: Answers, client: RestClient
) -> None:
    server.fail(404, "NotFound")
    await client.delete(FARM, uid="u-1")
    assert server.requests[0].body["preconditions"] == {"uid": "u-1"}


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (409, Conflict), (422, Invalid), (500, ApiError)]
)
async def test_errors_have_types_and_the_servers_words(
    server: Answers, client: RestClient, status: int, kind: type[ApiError]
) -> None:
    server.fail(status, "Because")
    with pytest.raises(kind, match="Because it is"):
        await client.get(FARM)


async def test_too_many_requests_are_sent_again(
    server: Answers, client: RestClient, seen: Seen
) -> None:
    server.fail(429, "TooManyRequests", Retry_After="0")
    server.give(OBJ)
    assert await client.get(FARM) == OBJ
    assert [status for _, _, status in seen] == [429, 200]


async def test_for_ever_too_many_is_an_error(server: Answers, client: RestClient) -> None:
    server.fail(429, "TooManyRequests", Retry_After="0")
    with pytest.raises(ApiError):
        await client.get(FARM)
    assert len(server.requests) == 3


async def test_an_answer_that_is_no_object(server: Answers, client: RestClient) -> None:
    server.give("<html>proxy</html>")
    with pytest.raises(ApiError, match="proxy"):
        await client.get(FARM)


async def test_nobody_there(seen: Seen) -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    async with RestClient(configuration, observer=lambda *call: seen.append(call)) as client:
        with pytest.raises(Unreachable, match="no answer from the API server"):
            await client.get(FARM)
    assert seen == [("get", "ProcessorFarm", 0)]


async def test_startup_check(server: Answers, client: RestClient) -> None:
    server.give({"resources": [{"kind": "DpeCluster"}, {"kind": "DpeServer"}]})
    with pytest.raises(StartupError, match=r"does not know ProcessorFarm, .*: install the CRDs"):
        await check_kinds(client)


async def test_without_kubeconfig_it_says_what_to_do() -> None:
    with pytest.raises(NotConfigured, match="set KUBECONFIG, or run in a pod"):
        await load_configuration()
