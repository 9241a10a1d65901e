# SPDX-License-Identifier: Apache-2.0
"""kopf as informer: the only module that imports it.

kopf lists, watches, reconnects and finds silent streams; everything else it offers stays unused.
Only `on.event` handlers are registered: kopf then writes nothing to our objects, needs no
finalizers, and no annotations of its own. The handlers put keys on a queue and return None (kopf
would write a returned value into the object's status).
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import kopf

from dpe_operator.api import constants
from dpe_operator.kube.kinds import KINDS
from dpe_operator.planning.objects import Obj
from dpe_operator.runtime.health import Unwell
from dpe_operator.runtime.informer import CHILD_KINDS, OUR_KINDS

_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_END_SECONDS: Final = 2.0
# What has not ended by then is cancelled so often, with such pauses, in seconds.
_CANCELS: Final = 10
_CANCEL_SECONDS: Final = 0.2
_FORBIDDEN: Final = 403

Receive = Callable[[str | None, str, Obj], None]
"""Takes an event: its type (None for the first listing), the kind, the object."""


class Refused(Unwell):
    """The operator's rights do not reach where it should watch."""


_LABELLED: Final = f"{constants.LABEL_MANAGED_BY}={constants.MANAGED_BY}"
# Slices that others put beside a fail-over Service have no label of ours. Those that Kubernetes
# makes for every Service with a selector (the fail-over Service has none) would be a flood.
_SELECTORS: Final = {
    "EndpointSlice": f"{constants.LABEL_SLICE_MANAGED_BY}!=endpointslice-controller.k8s.io"
}


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings; why each is as it is stands beside it."""
    settings = kopf.OperatorSettings()
    # never used, but kopf's default name would make it take other kopf operators' finalizers away
    settings.persistence.finalizer = constants.FINALIZER
    settings.peering.standalone = True  # there is one operator at a time, by the elector
    settings.posting.enabled = False  # we record events ourselves
    settings.scanning.disabled = True  # no right to list CRDs and namespaces is needed
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.enforce_retry_after = True
    settings.process.ultimate_exiting_timeout = None  # the elector kills what does not end
    settings.queueing.exit_timeout = 0.5  # handlers only put keys on a queue
    for kind in CHILD_KINDS:
        group, plural = KINDS[kind].group, KINDS[kind].plural
        key: Any = (group, "v1", plural) if group else ("", "v1", plural)
        settings.watching.label_selectors[key] = _SELECTORS.get(kind, _LABELLED)
    return settings


def build_registry(receive: Receive, started: Callable[[], None]) -> kopf.OperatorRegistry:
    """Return a registry with one event handler for each kind, and the log-in."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(id="login", registry=registry)(_login)

    async def start(**_: Any) -> None:
        started()

    kopf.on.startup(id="started", registry=registry, errors=kopf.ErrorsMode.PERMANENT)(start)
    for kind in (*OUR_KINDS, *CHILD_KINDS):
        _watch(registry, receive, kind)
    return registry


def _watch(registry: kopf.OperatorRegistry, receive: Receive, kind: str) -> None:
    version = KINDS[kind].api_version.rpartition("/")[2]

    async def handle(event: Any, **_: Any) -> None:
        receive(event["type"], kind, dict(event["object"]))

    kopf.on.event(KINDS[kind].group, version, KINDS[kind].plural, id=kind, registry=registry)(
        handle
    )


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, unless a kubeconfig is named (as `kube.rest` does)."""
    if _TOKEN.exists() and not os.environ.get("KUBECONFIG"):
        return kopf.login_with_service_account(**kwargs)
    return kopf.login_with_kubeconfig(**kwargs)


async def run_informer(
    receive: Receive, *, namespace: str, started: Callable[[], None], stop: asyncio.Event
) -> None:
    """Watch until `stop` is set.

    kopf runs in a thread with a loop of its own: it believes that every task of its loop is its
    own, and cancels (and waits for) all of them at its end, ours too.

    Args:
        receive: takes the events, in the caller's loop.
        namespace: where to watch; empty: everywhere.
        started: called when watching has begun, in the caller's loop.
        stop: ends it.

    Raises:
        Refused: the API server does not let us watch there, and kopf has tried for a minute.
        Unwell: watching cannot go on; let the process end and be started anew.
    """
    loop = asyncio.get_running_loop()
    stop_flag = threading.Event()

    def handle(event_type: str | None, kind: str, obj: Obj) -> None:
        _call(loop, receive, event_type, kind, obj)

    registry = build_registry(handle, lambda: _call(loop, started))
    ended = _in_thread(lambda: _operator(registry, namespace, stop_flag))
    stopping = asyncio.create_task(stop.wait(), name="stop of the informer")
    try:
        either: list[asyncio.Future[Any]] = [ended, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stop_flag.set()
        if not stop.is_set():
            raise _failure(ended.result(), namespace)
        await asyncio.wait([ended], timeout=_END_SECONDS)  # else it ends with the process
    finally:
        stop_flag.set()
        stopping.cancel()


def _failure(error: BaseException | None, namespace: str) -> Unwell:
    """Say why kopf has ended by itself; `status` is that of its errors about HTTP answers."""
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    why = getattr(error, "message", None) or (repr(error) if error else "no error was told")
    kind = Refused if getattr(error, "status", 0) == _FORBIDDEN else Unwell
    failure = kind(f"watching {where} has ended: {why}")
    failure.__cause__ = error
    return failure


def _in_thread(
    main: Callable[[], Coroutine[Any, Any, None]],
) -> asyncio.Future[BaseException | None]:
    """Run a coroutine in a thread with a loop of its own; the future's result is its error."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    async def run() -> None:
        error: BaseException | None = None
        try:
            await main()
        except BaseException as caught:  # whatever it is, the end must be told
            error = caught
        _call(loop, _settle, ended, error)  # now: how long the loop itself takes to end is open

    threading.Thread(target=lambda: asyncio.run(run()), name="kopf", daemon=True).start()
    return ended


async def _operator(registry: kopf.OperatorRegistry, namespace: str, stop: threading.Event) -> None:
    """Run kopf until `stop` is set or a part of it fails, and put it away in limited time.

    `kopf.operator` does the same without a limit: when one watch fails it forgets to end the others
    first, and one that is just trying again then swallows its cancellation and waits for ever.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=kopf_settings(),
        clusterwide=not namespace,
        namespaces=(namespace,) if namespace else (),
        stop_flag=stop,
    )
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    # kopf waits for it in a thread of this loop, and a loop ends only when its threads have
    stop.set()
    ours = [task for task in (asyncio.current_task(),) if task]
    # gathered, as its error is that of the part that has failed, which is raised below
    ending = asyncio.gather(kopf.run_tasks(tasks, ignored=ours), return_exceptions=True)
    await asyncio.wait([ending], timeout=_END_SECONDS)
    for _ in range(_CANCELS):
        left = asyncio.all_tasks().difference(ours)
        if not left:
            break
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_SECONDS)
    for task in done:
        task.result()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in another thread's loop; if that loop has ended, nobody wants to know."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def _settle(ended: asyncio.Future[BaseException | None], error: BaseException | None) -> None:
    if not ended.done():
        ended.set_result(error)
