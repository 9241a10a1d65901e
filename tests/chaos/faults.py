# SPDX-License-Identifier: Apache-2.0
"""Carries a plan out: each fault begins at its moment, in a thread of its own, and ends by itself."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.chaos.candidates import Candidate, Place
from tests.chaos.freezing import Freezer, send
from tests.chaos.frontend import BALANCER, SERVERS, Frontend
from tests.chaos.plan import Fault, Plan
from tests.chaos.restarted import FARM, Processor, Restarted, pids_of
from tests.support.api_server import ApiServer, ApiServerFailed
from tests.support.elector_pods import LEASES, NEVER_HELD, boot

# Mounts a FUSE volume whose device nobody reads: who looks at it waits until the device is closed.
_MOUNT = """
import ctypes, sys
point, device = sys.argv[1:]
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"hung", point.encode(), b"fuse", 0, options.encode()):
    sys.exit(f"errno {ctypes.get_errno()}")
"""
# umount(8) would look at what it is to unmount, and that does not answer any more.
_UNMOUNT = """
import ctypes, sys
sys.exit(ctypes.CDLL(None).umount2(sys.argv[1].encode(), 2) != 0)
"""


# How long to wait for something to strike.
_WAIT_SECONDS = 6.0

Target = Candidate | Restarted


class NotDone(Exception):
    """The fault could not be carried out; the reason."""


# what a fault may fail with because what it strikes, or the API server, is not there at the moment
NO_ANSWER = (NotDone, OSError, http.client.HTTPException, subprocess.TimeoutExpired)


@dataclass
class Struck:
    """A fault that was carried out: to which pod, from when until when (boot time)."""

    fault: Fault
    pod: str
    begun: float
    ended: float = float("inf")
    problem: str = ""


class Faults:
    """Carries out the faults of a plan; `struck` is what was done, `not_done` what could not be."""

    def __init__(
        self,
        api: ApiServer,
        place: Place,
        pods: Mapping[str, Sequence[Candidate]],
        frontend: Frontend | None = None,
        farm: Sequence[Processor] = (),
    ) -> None:
        self._api = api
        self._place = place
        self._pods = pods
        self._frontend = frontend
        self._farm = farm
        self._leases = LEASES.format(place.namespace)
        self._lock = threading.Lock()
        self._api_lock = threading.RLock()
        self._for_main: queue.Queue[tuple[Callable[[], object], threading.Event]] = queue.Queue()
        self._freezer = Freezer()
        self._dumps: dict[str, dict[str, Any]] = {}
        self.struck: list[Struck] = []
        self.not_done: list[Struck] = []

    def run(self, plan: Plan) -> float:
        """Carry out all of it; returns when the last fault has ended. The result is how many seconds
        it took until the last one had begun, which is longer than planned on a busy machine."""
        begun, since = time.monotonic(), boot()
        with ThreadPoolExecutor(max_workers=64) as threads:
            running = []
            for fault in plan.faults:
                while (left := begun + fault.at - time.monotonic()) > 0:
                    self._serve(left)
                running.append(threads.submit(self._strike, fault))
            while not all(one.done() for one in running):
                self._serve(0.2)
        return max([plan.seconds, *(one.begun - since for one in self.struck)])

    def _serve(self, seconds: float) -> None:
        """Wait, and do meanwhile what only the main thread can: a child of another thread dies with
        that thread."""
        with contextlib.suppress(queue.Empty):
            work, done = self._for_main.get(timeout=seconds)
            try:
                work()
            finally:
                done.set()

    def _by_main(self, work: Callable[[], object]) -> None:
        done = threading.Event()
        self._for_main.put((work, done))
        if not done.wait(60):
            raise NotDone("the main thread has ended")

    def _strike(self, fault: Fault) -> None:
        """Carry one out, a moment later where what it strikes is just being started."""
        give_up = boot() + _WAIT_SECONDS
        done = Struck(fault, "", boot())
        with self._lock:
            self.struck.append(done)
        while True:
            candidate = self._target(fault)
            done.pod, done.begun, done.problem = candidate.name if candidate else "", boot(), ""
            try:
                _ACTIONS[fault.kind](self, fault, candidate, random.Random(fault.order))
            except Exception as problem:  # whatever it is: it could not be done, and is counted so
                done.problem = repr(problem)
                if isinstance(problem, NO_ANSWER) and boot() < give_up:
                    time.sleep(0.1)
                    continue
            break
        done.ended = boot()
        if done.problem:
            with self._lock:
                self.struck.remove(done)
                self.not_done.append(done)

    def _target(self, fault: Fault) -> Target | None:
        if not fault.component:
            return None
        if fault.component == FARM:  # none of them is another than the others
            return self._farm[fault.order % len(self._farm)]
        front = self._frontend
        pods: list[Target] = list(self._pods.get(fault.component, ()))
        if front is not None and fault.component == SERVERS:
            pods = list(front.servers)
        if front is not None and fault.component in (SERVERS, BALANCER):
            name = front.acting(fault.component)
            acting = [pod for pod in pods if pod.name == name]
        else:
            acting = [pod for pod in pods if isinstance(pod, Candidate) and pod.acts()]
        acting = acting or pods[:1]
        others = [pod for pod in pods if pod not in acting] or pods
        return (others if fault.role == "other" else acting)[0]

    # --- processes

    def _kill(self, pids: Sequence[int]) -> None:
        pids = [pid for pid in pids if pid]
        if not pids:
            raise NotDone("there is no such process at the moment")
        send(pids, signal.SIGKILL)

    def _freeze(self, pids: Sequence[int], seconds: float, dice: random.Random) -> None:
        """Stop processes, the given order; let them go on in any order."""
        pids = [pid for pid in pids if pid]
        if not pids:
            raise NotDone("there is no such process at the moment")
        self._freezer.hold(pids, seconds, dice)

    # --- Leases

    def _lease(self, method: str, name: str, body: object = None, kind: str = "") -> dict[str, Any]:
        path = self._leases if method == "POST" else f"{self._leases}/{name}"
        content = kind or "application/json"
        status, answer = self._api.request(method, path, body, content_type=content)
        if status not in (200, 201):
            raise NotDone(f"{method} Lease {name}: {status} {answer.get('reason')}")
        return answer

    def make_lease(self, name: str, *, vouched: bool = False) -> None:
        """Make a Lease as the operator does; vouched: it is known that nobody can be acting."""
        metadata = {"name": name, "annotations": dict(NEVER_HELD) if vouched else {}}
        self._lease("POST", name, {"metadata": metadata, "spec": {}})

    def _delete_lease(self, fault: Fault) -> None:
        try:
            self._lease("DELETE", fault.component)
            time.sleep(fault.seconds)
        finally:  # it may be gone although nobody has answered
            self._make_again(fault.component, lambda: self.make_lease(fault.component))

    def _restore_lease(self, fault: Fault) -> None:
        """As after a namespace was restored from a dump: an old holder, an old epoch, another uid."""
        dump = self._dumps.setdefault(fault.component, self._lease("GET", fault.component))
        notes = dump["metadata"].get("annotations") or {}
        metadata = {"name": fault.component, "annotations": notes}
        body = {"metadata": metadata, "spec": dump["spec"]}
        try:
            self._lease("DELETE", fault.component)
            time.sleep(fault.seconds)
        finally:
            self._make_again(fault.component, lambda: self._lease("POST", fault.component, body))

    def _make_again(self, name: str, make: Callable[[], object]) -> None:
        while True:
            with contextlib.suppress(*NO_ANSWER):
                make()
            with contextlib.suppress(*NO_ANSWER):
                self._lease("GET", name)
                return
            time.sleep(0.2)

    def _edit_lease(self, fault: Fault) -> None:
        others = [pod for pod in self._pods[fault.component] if not pod.acts()]
        identity = others[0].pod.role().get("identity") if others else None
        specs: dict[str, dict[str, Any]] = {
            "clear": {"holderIdentity": ""},
            "stranger": {"holderIdentity": "a-stranger"},
            "other candidate": {"holderIdentity": identity or "another-stranger"},
            "shorten": {"leaseDurationSeconds": 1},
            "touch": {"renewTime": "2020-01-01T00:00:00.000000Z"},
            "lower": {"leaseTransitions": 0},
        }
        body = {"spec": specs[fault.detail]}
        self._lease("PATCH", fault.component, body, "application/merge-patch+json")

    # --- the API server

    def _freeze_api(self, fault: Fault) -> None:
        with self._alone(), self._api.pause():
            time.sleep(fault.seconds)

    def _stop_api(self, fault: Fault) -> None:
        with self._alone():
            self._api.stop()
            time.sleep(fault.seconds)
            self._start_api()

    def _start_api(self) -> None:
        """Start it, and once more where a machine was too busy for its start."""
        self._by_main(self._api.spawn)
        try:
            self._api.wait_ready()
        except ApiServerFailed:
            self._api.stop()
            self._by_main(self._api.spawn)
            self._api.wait_ready()

    @contextlib.contextmanager
    def _alone(self) -> Any:
        """One outage of the API server at a time."""
        if not self._api_lock.acquire(blocking=False):
            raise NotDone("the API server is away already")
        try:
            yield
        finally:
            self._api_lock.release()

    # --- what lasts, of one pod or of both

    def _cut(self, fault: Fault, candidate: Candidate) -> None:
        candidate.proxy.cut()
        time.sleep(fault.seconds)
        candidate.proxy.heal()

    def _spoil_token(self, fault: Fault, candidate: Candidate) -> None:
        candidate.bad_token()
        time.sleep(fault.seconds)
        candidate.good_token()

    def _jump(self, fault: Fault, candidate: Candidate) -> None:
        candidate.set_clock(fault.detail)
        time.sleep(fault.seconds)
        candidate.set_clock("+0")

    def _crash_loop(self, fault: Fault, candidate: Candidate) -> None:
        candidate.crash_file.touch()
        for pod in self._pods[fault.component]:
            send(pod.commands(), signal.SIGKILL)
        time.sleep(fault.seconds)
        candidate.crash_file.unlink(missing_ok=True)

    def _hang_volume(self, fault: Fault, candidate: Candidate) -> None:
        guard, point = candidate.guard(), str(candidate.volume)
        if not guard:
            raise NotDone("the pod is being started")
        inside = ["nsenter", "--target", str(guard), "--mount", "--", sys.executable, "-ISc"]
        device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        try:
            mount = [*inside, _MOUNT, point, str(device)]
            done = subprocess.run(
                mount, pass_fds=(device,), capture_output=True, text=True, timeout=10
            )
            if done.returncode:
                raise NotDone(f"mount: {done.stderr.strip()[-200:]}")
            time.sleep(fault.seconds)
        finally:
            os.close(device)
            # of a container that has ended meanwhile nothing is left to unmount
            subprocess.run([*inside, _UNMOUNT, point], capture_output=True, timeout=10)


Action = Callable[[Faults, Fault, Any, random.Random], None]
_ACTIONS: dict[str, Action] = {
    "pod deleted": lambda own, fault, pod, dice: pod.delete(),
    "command killed": lambda own, fault, pod, dice: own._kill(pod.commands()),
    "elector killed": lambda own, fault, pod, dice: own._kill([pod.elector()]),
    "guard killed": lambda own, fault, pod, dice: own._kill([pod.guard()]),
    "command frozen": lambda own, fault, pod, dice: own._freeze(
        pod.commands(), fault.seconds, dice
    ),
    "elector frozen": lambda own, fault, pod, dice: own._freeze(
        [pod.elector()], fault.seconds, dice
    ),
    "guard frozen": lambda own, fault, pod, dice: own._freeze([pod.guard()], fault.seconds, dice),
    "pod frozen": lambda own, fault, pod, dice: own._freeze(pod.everything(), fault.seconds, dice),
    "API connection cut": lambda own, fault, pod, dice: own._cut(fault, pod),
    "token invalid": lambda own, fault, pod, dice: own._spoil_token(fault, pod),
    "crash loop": lambda own, fault, pod, dice: own._crash_loop(fault, pod),
    "Lease deleted": lambda own, fault, pod, dice: own._delete_lease(fault),
    "Lease restored": lambda own, fault, pod, dice: own._restore_lease(fault),
    "Lease edited": lambda own, fault, pod, dice: own._edit_lease(fault),
    "memory volume hung": lambda own, fault, pod, dice: own._hang_volume(fault, pod),
    "clock jumped": lambda own, fault, pod, dice: own._jump(fault, pod),
    "server killed": lambda own, fault, server, dice: own._kill(pids_of(server)),
    "server frozen": lambda own, fault, server, dice: own._freeze(
        pids_of(server), fault.seconds, dice
    ),
    "processor killed": lambda own, fault, one, dice: own._kill(pids_of(one)),
    "processor frozen": lambda own, fault, one, dice: own._freeze(
        pids_of(one), fault.seconds, dice
    ),
    "HAProxy killed": lambda own, fault, pod, dice: own._kill(pod.haproxy()),
    "agent frozen": lambda own, fault, pod, dice: own._freeze(pod.agent(), fault.seconds, dice),
    "API server frozen": lambda own, fault, pod, dice: own._freeze_api(fault),
    "API server away": lambda own, fault, pod, dice: own._stop_api(fault),
}
