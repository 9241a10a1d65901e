# SPDX-License-Identifier: Apache-2.0
"""The client of production: raw JSON over the connection pool of the `kubernetes` library.

Of that library we use what is tedious (kubeconfig, exec plug-ins, token files that rotate, TLS) and
not its typed models: they refuse the partial objects of server-side apply. Every request has a time
limit, since a request that hangs holds a worker of the queue.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from dpe_operator.kube.errors import NotFound, Unreachable, error_for
from dpe_operator.kube.kinds import collection_path, object_path, typed
from dpe_operator.planning.objects import Obj, Ref, ref_of

PAGE: Final = 500
CONNECT_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 20.0
# "Too many requests", which is also "a new kind is not ready to be read yet": nothing was done, so
# the same request may be sent again. Further patience is the queue's business.
TOO_MANY: Final = 429
_TRIES: Final = 3
_LONGEST_PAUSE: Final = 1.0

RequestObserver = Callable[[str, str, int], None]
"""Called after each request with verb, kind and HTTP status (0: no answer)."""


class NotConfigured(Exception):
    """Nothing says where the API server is; the message says what to do."""


async def load_configuration() -> Configuration:
    """Find the API server: `KUBECONFIG`, else the pod's service account, else ~/.kube/config.

    Raises:
        NotConfigured: none of them is there or usable.
    """
    configuration = Configuration()
    path = os.environ.get("KUBECONFIG")
    load_in_cluster: Any = kube_config.load_incluster_config
    load_file: Any = kube_config.load_kube_config
    try:
        if not path and os.environ.get("KUBERNETES_SERVICE_HOST"):
            load_in_cluster(client_configuration=configuration)
        else:
            await load_file(config_file=path or None, client_configuration=configuration)
    except (kube_config.ConfigException, OSError) as error:
        text = f"no API server is configured ({error}): set KUBECONFIG, or run in a pod"
        raise NotConfigured(text) from error
    return configuration


class RestClient:
    """`KubeClient` over HTTP. Use as an async context manager, or call `close`."""

    def __init__(
        self, configuration: Configuration, *, observer: RequestObserver | None = None
    ) -> None:
        self._configuration = configuration
        self._rest: Any = RESTClientObject(configuration)
        self._observer = observer
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, connect=CONNECT_SECONDS)

    async def __aenter__(self) -> "RestClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._rest.close()

    async def get(self, ref: Ref) -> Obj:
        """See `KubeClient`."""
        return await self._send("get", "GET", object_path(ref), kind=ref.kind)

    async def list(self, kind: str, namespace: str, *, labels: str = "") -> list[Obj]:
        """See `KubeClient`."""
        items: list[Obj] = []
        query = {"limit": str(PAGE), **({"labelSelector": labels} if labels else {})}
        while True:
            path = f"{collection_path(kind, namespace)}?{urlencode(query)}"
            page = await self._send("list", "GET", path, kind=kind)
            items += [typed(kind, item) for item in page.get("items") or []]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    async def create(self, obj: Obj) -> Obj:
        """See `KubeClient`."""
        ref = ref_of(obj)
        path = f"{collection_path(ref.kind, ref.namespace)}?fieldManager=dpe-operator"
        return await self._send("create", "POST", path, kind=ref.kind, body=obj)

    async def apply(self, obj: Obj, *, manager: str, force: bool = True) -> Obj:
        """See `KubeClient`."""
        return await self._apply(obj, manager, force, subresource="", verb="apply")

    async def apply_status(self, obj: Obj, *, manager: str) -> Obj:
        """See `KubeClient`."""
        return await self._apply(obj, manager, True, subresource="status", verb="apply_status")

    async def _apply(
        self, obj: Obj, manager: str, force: bool, *, subresource: str, verb: str
    ) -> Obj:
        ref = ref_of(obj)
        query = urlencode({"fieldManager": manager, "force": "true" if force else "false"})
        return await self._send(
            verb,
            "PATCH",
            f"{object_path(ref, subresource=subresource)}?{query}",
            kind=ref.kind,
            # The API server reads this as YAML, where JSON's escapes of characters beyond 16 bits
            # are an error: so they go as they are. With the parameter the library sends text as is.
            body=json.dumps(obj, ensure_ascii=False).encode(),
            content_type="application/apply-patch+yaml; charset=utf-8",
        )

    async def update(self, obj: Obj) -> Obj:
        """See `KubeClient`."""
        ref = ref_of(obj)
        return await self._send("update", "PUT", object_path(ref), kind=ref.kind, body=obj)

    async def merge_patch(self, ref: Ref, patch: dict[str, Any]) -> Obj:
        """See `KubeClient`."""
        return await self._send(
            "patch",
            "PATCH",
            f"{object_path(ref)}?fieldManager=dpe-operator",
            kind=ref.kind,
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def delete(self, ref: Ref, *, uid: str, foreground: bool = False) -> None:
        """See `KubeClient`."""
        policy = "Foreground" if foreground else "Background"
        body = {"propagationPolicy": policy, "preconditions": {"uid": uid}}
        try:
            await self._send("delete", "DELETE", object_path(ref), kind=ref.kind, body=body)
        except NotFound:
            return

    async def raw(self, path: str) -> Obj:
        """GET a path that is no object: discovery, the server's version."""
        return await self._send("get", "GET", path, kind="")

    async def _send(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        kind: str,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Obj:
        what = f"{method} {path.partition('?')[0]}"
        for attempt in range(_TRIES):
            status, data, pause = await self._once(method, path, body, content_type)
            if self._observer is not None:
                self._observer(verb, kind, status)
            if status != TOO_MANY or attempt == _TRIES - 1:
                break
            await asyncio.sleep(min(pause, _LONGEST_PAUSE))
        if status == 0:
            raise Unreachable(f"{what}: no answer from the API server: {data.decode()}")
        return self._parse(status, data, what=what)

    async def _once(
        self, method: str, path: str, body: Any, content_type: str
    ) -> tuple[int, bytes, float]:
        """Send a request once; return status (0: no answer), body, and how long it asks to wait."""
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            response = await self._rest.request(
                method,
                self._configuration.host + path,
                headers=headers | await self._authorization(),
                body=body,
                _request_timeout=self._timeout,
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return 0, (str(error) or type(error).__name__).encode(), 0.0
        after = str(response.headers.get("Retry-After", ""))
        return response.status, data, float(after) if after.isdecimal() else _LONGEST_PAUSE

    async def _authorization(self) -> dict[str, str]:
        settings: dict[str, Any] = dict(await self._configuration.auth_settings())
        return {str(auth["key"]): str(auth["value"]) for auth in settings.values()}

    @staticmethod
    def _parse(status: int, data: bytes, *, what: str) -> Obj:
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            body = data.decode(errors="replace")
        if status >= 400 or not isinstance(body, dict):
            raise error_for(status, body, what=what)
        return body
