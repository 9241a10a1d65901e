# SPDX-License-Identifier: Apache-2.0
"""Which namespaces are watched: of those that the settings name, all that may be read.

kopf ends as a whole when it may not list in one of its namespaces, so each has a kopf of its own.
A namespace that is deleted takes its Role along; the API server then forbids to read there. It is
left out, with a warning, until it can be read again; the others go on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from dpe_operator.api import constants
from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.errors import Forbidden, KubeError
from dpe_operator.runtime.informer import Informer
from dpe_operator.runtime.kopf_adapter import Receive, Refused, run_informer

logger = logging.getLogger(__name__)

# An API server that is just starting may forbid what it will allow in a moment.
_REFUSALS: Final = 2
_CURE: Final = (
    "if it was deleted on purpose, take it out of watch.namespaces of the chart; else make it again"
    " and run helm upgrade, which puts the operator's Role there"
)


class Watch(Protocol):
    """What `kopf_adapter.run_informer` is, and a test's stand-in for it."""

    def __call__(
        self, receive: Receive, *, namespace: str, started: Callable[[], None], stop: asyncio.Event
    ) -> Coroutine[Any, Any, None]:
        """Watch one namespace, empty: all, until `stop` is set."""


class Namespaces:
    """Keeps each namespace watched while it may be read."""

    def __init__(
        self,
        names: Sequence[str],
        informer: Informer,
        client: KubeClient,
        *,
        look_seconds: float,
        watch: Watch = run_informer,
    ) -> None:
        """`names` empty: everywhere. `look_seconds`: how often each is looked at."""
        self._names = tuple(dict.fromkeys(names))
        self._informer = informer
        self._client = client
        self._pause = look_seconds
        self._watch = watch
        self._watched: set[str] = set()
        self._left: set[str] = set()

    def watches(self, namespace: str) -> bool:
        """Whether the namespace is being watched."""
        return not self._names or namespace in self._watched

    async def run(self, *, ready: asyncio.Event, stop: asyncio.Event) -> None:
        """Watch until `stop` is set; `ready` is set when each is watched or left out.

        Raises:
            Unwell: watching cannot go on, for another reason than a namespace.
        """
        if not self._names:
            receive = self._informer.receive
            await self._watch(receive, namespace="", started=ready.set, stop=stop)
            return
        unknown = set(self._names)

        def known(name: str) -> None:
            unknown.discard(name)
            if not unknown:
                ready.set()

        try:
            async with asyncio.TaskGroup() as group:
                for name in self._names:
                    group.create_task(self._keep(name, known, stop), name=f"namespace {name}")
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _keep(self, name: str, known: Callable[[str], None], stop: asyncio.Event) -> None:
        """Watch one namespace whenever it may be read."""
        while not stop.is_set():
            refusal = await self._refusal(name)
            if refusal is None:
                refusal = await self._watch_while_readable(name, known, stop)
            if refusal is not None:
                self._leave(name, refusal)
                known(name)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._pause)

    async def _watch_while_readable(
        self, name: str, known: Callable[[str], None], stop: asyncio.Event
    ) -> str | None:
        """Watch until told to stop (returns None), or until it is refused (returns its words)."""
        self._enter(name)
        end = asyncio.Event()
        watching = asyncio.create_task(
            self._watch(
                self._informer.receive, namespace=name, started=lambda: known(name), stop=end
            )
        )
        refused = asyncio.create_task(self._until_refused(name))
        stopping = asyncio.create_task(stop.wait())
        tasks: list[asyncio.Task[Any]] = [watching, refused, stopping]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            end.set()
            await watching
            return refused.result() if refused.done() and not stop.is_set() else None
        except Refused as error:
            return str(error)
        finally:
            for task in tasks:
                task.cancel()
            self._watched.discard(name)
            self._informer.leave(name)

    async def _until_refused(self, name: str) -> str:
        """Look again and again; return the API server's words when it says no for good."""
        refusals = 0
        while True:
            await asyncio.sleep(self._pause)
            refusal = await self._refusal(name)
            refusals = 0 if refusal is None else refusals + 1
            if refusal is not None and refusals == _REFUSALS:
                return refusal

    async def _refusal(self, name: str) -> str | None:
        """Return why the namespace may not be read; None: it may, or nobody can tell now."""
        try:
            await self._client.list(constants.KIND_CLUSTER, name)
        except Forbidden as error:
            return error.message
        except KubeError:  # the server is away, or does not know the kind: kopf's business
            return None
        return None

    def _enter(self, name: str) -> None:
        self._watched.add(name)
        if name in self._left:
            self._left.remove(name)
            logger.info("namespace %s can be read again and is looked after", name)

    def _leave(self, name: str, refusal: str) -> None:
        if name in self._left:
            return
        self._left.add(name)
        logger.warning(
            "namespace %s is not looked after, it cannot be read: %s. It is tried again every"
            " %.0f s; %s",
            *(name, refusal, self._pause, _CURE),
        )
        if len(self._left) == len(self._names):
            logger.error("none of the watched namespaces can be read: nothing is looked after")
