# SPDX-License-Identifier: Apache-2.0
"""Everything with the API server: reading the record and the members, writing as the holder.

Two threads beside the main loop, so that an API server that hangs never delays a fail-over. They
share the `Board` with it: what was read lies there, and what is wanted to be written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from dpe_balancer.config import AgentConfig
from dpe_balancer.model import Record, Role
from dpe_balancer.record import (
    Pod,
    Publication,
    compose,
    differs_only_in_states,
    is_terminating,
    read_record,
    service_of,
)
from dpe_elector.api_client import ApiClient, ApiError, ApiFailure

log = logging.getLogger("dpe_balancer")

JsonObject = dict[str, Any]

CALL_SECONDS = 3.0
WATCH_SECONDS = 10.0
RETRY_SECONDS = 0.5
# News of a member's health alone are written at most this often: a flapping member must not
# flood the API server.
STATES_SECONDS = 1.0


class Board:
    """What the threads tell each other; every access under one lock."""

    def __init__(self, record: Record | None = None) -> None:
        self._changed = threading.Condition()
        self._record = record
        self._shown_at = time.monotonic()
        self._terminating: frozenset[str] = frozenset()
        self._wanted: Publication | None = None
        self._role = Role()
        self._is_news = False
        self.failed_writes = 0
        self.writes = 0

    def read(self) -> tuple[Record | None, frozenset[str]]:
        """The record (None: never read) and the members whose pod is about to end."""
        with self._changed:
            return self._record, self._terminating

    def show(self, record: Record) -> bool:
        """Put down what was read; returns whether it was. Older text than what is known is late
        news and left out, unless the known one is old itself (versions go back when the API
        server's data is restored)."""
        now = time.monotonic()
        with self._changed:
            known = self._record
            if known is not None:
                if record.version < known.version and now - self._shown_at < WATCH_SECONDS:
                    return False
                record = replace(record, fresh_for=record.fresh_for or known.fresh_for)
            self._record, self._shown_at = record, now
            return True

    def show_terminating(self, members: Iterable[str]) -> None:
        """Put down the members whose pod is about to end."""
        with self._changed:
            self._terminating = frozenset(members)

    def ask(self, role: Role, wanted: Publication | None) -> None:
        """Say what the record shall be (None: it is not ours to write)."""
        with self._changed:
            if (role, wanted) != (self._role, self._wanted):
                self._role, self._wanted = role, wanted
                self._is_news = True
                self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until something else is asked for than was known to `asked`."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_news, seconds)

    def asked(self) -> tuple[Role, Publication | None]:
        """The role and what is wanted now."""
        with self._changed:
            self._is_news = False
            return self._role, self._wanted


class Paths:
    """Where the objects are."""

    def __init__(self, config: AgentConfig, namespace: str) -> None:
        space = quote(namespace)
        self.slices = f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices"
        self.slice = f"{self.slices}/{quote(config.slice_name)}"
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{space}/leases"
        self.lease = f"{leases}/{quote(config.lease)}"


class Watcher:
    """Follows the own slice and those of the members' Services, in one list and watch."""

    def __init__(self, config: AgentConfig, paths: Paths, board: Board, client: ApiClient) -> None:
        self._paths = paths
        self._board = board
        self._client = client
        self._slice_name = config.slice_name
        self._services = {
            member.service_name: member.name for member in config.members if member.service_name
        }
        names = ",".join([config.service, *self._services])
        self._selector = f"kubernetes.io/service-name in ({names})"

    def run(self) -> None:
        """Follow for ever; a failure is logged once and tried again."""
        quiet = False
        while True:
            try:
                self.follow_once()
                quiet = False
            except ApiFailure as failure:
                if not quiet and not (isinstance(failure, ApiError) and failure.status == 410):
                    log.warning("cannot follow the EndpointSlices, trying on: %s", failure)
                    quiet = True
                time.sleep(RETRY_SECONDS)
            except Exception:  # an object of a form nobody thought of must not end the thread
                log.exception("cannot read an EndpointSlice, trying on")
                time.sleep(WATCH_SECONDS)

    def follow_once(self) -> None:
        """List, then watch until the server ends that; raises ApiFailure."""
        listed = self._client.get(
            f"{self._paths.slices}?labelSelector={quote(self._selector)}", timeout=CALL_SECONDS
        )
        slices = {item["metadata"]["name"]: item for item in listed.get("items") or []}
        self._tell(slices)
        version = listed["metadata"]["resourceVersion"]
        watch = self._client.watch(
            self._paths.slices,
            WATCH_SECONDS,
            resource_version=version,
            label_selector=self._selector,
            timeout=CALL_SECONDS,
        )
        with watch:
            for event in watch:
                if event.type == "BOOKMARK":
                    continue
                name = event.object["metadata"]["name"]
                if event.type == "DELETED":
                    slices.pop(name, None)
                else:
                    slices[name] = event.object
                self._tell(slices)

    def _tell(self, slices: Mapping[str, JsonObject]) -> None:
        own = slices.get(self._slice_name)
        if own is not None:
            self._board.show(read_record(own))
        self._board.show_terminating(
            member
            for service, member in self._services.items()
            if is_terminating(item for item in slices.values() if service_of(item) == service)
        )


class Writer:
    """Reads the slice for a new holder, and writes it when it does not say what it should."""

    def __init__(
        self, config: AgentConfig, paths: Paths, board: Board, client: ApiClient, pod: Pod
    ) -> None:
        self._config = config
        self._paths = paths
        self._board = board
        self._client = client
        self._pod = pod
        self._read_for = 0
        self._done: Publication | None = None
        self._wrote_at = -STATES_SECONDS
        self._checked_at = 0.0

    def run(self) -> None:
        """Serve what is asked for, for ever; a failure is logged once and tried again."""
        quiet = False
        while True:
            try:
                wait = self.work_once()
                quiet = False
            except ApiFailure as failure:
                self._board.failed_writes += 1
                if not quiet:
                    log.warning("the record is not written yet, trying on: %s", failure)
                    quiet = True
                wait = RETRY_SECONDS
            except Exception:  # as above
                log.exception("cannot write the record, trying on")
                wait = WATCH_SECONDS
            if wait:
                self._board.wait(wait)

    def work_once(self) -> float:
        """Do what is due; returns seconds to wait (0: ask again at once). Raises ApiFailure."""
        role, wanted = self._board.asked()
        if not role.holder:
            self._read_for, self._done = 0, None
            if role.known and self._is_routed():
                # Somebody else may have taken our place: after an outage of the network a watch,
                # which only listens, may take its whole time to break.
                found = self._client.get(self._paths.slice, timeout=CALL_SECONDS)
                self._board.show(read_record(found))
            return 1.0
        if self._read_for != role.epoch:
            slice_object = self._client.get(self._paths.slice, timeout=CALL_SECONDS)
            if not self._board.show(read_record(slice_object, fresh_for=role.epoch)):
                return RETRY_SECONDS  # somebody wrote since, and the watch was quicker
            self._read_for = role.epoch
            return 0.0
        if wanted is None or wanted.epoch != role.epoch:
            return 1.0
        if wanted == self._done and not self._is_overdue():
            return 1.0
        return self._write(role, wanted)

    def _is_routed(self) -> bool:
        """Whether clients are sent here, by the last news there was."""
        record, _ = self._board.read()
        return record is not None and record.routed_to == self._pod.uid

    def _is_overdue(self) -> bool:
        """Whether the slice must be looked at again: somebody may have edited it."""
        record, _ = self._board.read()
        if record is None or self._done is None:
            return True
        choice = self._done.choice
        said = (record.epoch, record.active, record.switch_count, record.routed_to)
        meant = (self._done.epoch, choice.active, choice.switch_count, self._pod.uid)
        return said != meant or time.monotonic() - self._checked_at > WATCH_SECONDS

    def _write(self, role: Role, wanted: Publication) -> float:
        slice_object = self._client.get(self._paths.slice, timeout=CALL_SECONDS)
        self._checked_at = time.monotonic()
        try:
            body = compose(slice_object, wanted, self._pod, self._config.port)
        except ValueError as higher:
            log.warning("%s: lifting the Lease's epoch first", higher)
            self._lift(role, read_record(slice_object).epoch)
            return RETRY_SECONDS
        if body is not None:
            left = self._wrote_at + STATES_SECONDS - time.monotonic()
            if left > 0 and differs_only_in_states(slice_object, body):
                return left
            try:
                slice_object = self._client.put(self._paths.slice, body, timeout=CALL_SECONDS)
            except ApiError as refused:
                if refused.status == 409:  # somebody wrote in between: read and compare again
                    return 0.05
                raise
            self._board.writes += 1
            self._wrote_at = time.monotonic()
            log.info(
                "recorded: active %s, switches %d, epoch %d",
                wanted.choice.active,
                wanted.choice.switch_count,
                wanted.epoch,
            )
        self._board.show(read_record(slice_object, fresh_for=role.epoch))
        self._done = wanted
        return 1.0

    def _lift(self, role: Role, above: int) -> None:
        """Raise the Lease's epoch above the one on the slice (a Lease restored or made anew).

        The elector finds the new number at its next renewal and tells us; until then we wait.
        """
        lease = self._client.get(self._paths.lease, timeout=CALL_SECONDS)
        spec = lease["spec"]
        if spec.get("holderIdentity") != role.identity:
            log.warning("the Lease is held by %r, not by us", spec.get("holderIdentity"))
            return
        if int(spec.get("leaseTransitions") or 0) <= above:
            spec["leaseTransitions"] = above + 1
            self._client.put(self._paths.lease, lease, timeout=CALL_SECONDS)
