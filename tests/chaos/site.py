# SPDX-License-Identifier: Apache-2.0
"""A busy site on loopback for one round: servers, database, singletons, and people who work."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
from tests.chaos.acting import Acting, merge
from tests.chaos.candidates import QUICK, Candidate, Component, Kubelet, Place, Tended, wait_until
from tests.chaos.faults import Faults
from tests.chaos.frontend import BALANCER, SERVERS, Frontend
from tests.chaos.history import History
from tests.chaos.plan import Layout
from tests.chaos.restarted import FARM, Processor
from tests.support.api_server import ApiServer
from tests.support.elector_pods import ELECTOR
from tests.support.postgres import Postgres
from tests.support.simulated_site import Site as Servers
from tests.support.simulator import BASE, Simulated

from dpe_simulator import checker, content
from dpe_simulator.database import Session, connect
from dpe_simulator.evidence import read_changes, read_evidence, read_lines
from dpe_simulator.files import change_files
from dpe_simulator.findings import Evidence
from dpe_simulator.schema import create_tables

# A day of the scheduler's clock lasts 24 minutes: a trigger each second.
_RATE = 60
# Work that is open for longer is lost.
SETTLE_SECONDS = 12.0
_WORKFLOWS = ("--activities", "1", "--activity-seconds", "30ms")
# What the farm has to do; not for every workflow, as it shares two processors with all the others.
_JOBS = ("--job-type", FARM, "--job-seconds", "300ms")


def components(actors: int, watchers: int, *, dsn: str, folder: Path) -> list[Component]:
    """The singletons: `actors` that only act, a worker, a scheduler, and table watchers and folder
    watchers in turn."""
    anchor = str(int(time.time()))
    clock = ("--clock-start", "2026-06-01T06:00", "--clock-rate", str(_RATE))
    made = [Component(f"actor{n}", "actor", clock=n % 2 == 0) for n in range(1, actors + 1)]
    if not watchers:
        return made
    made += [
        Component("default", "worker", ("--quota", "8", "--poll", "300ms", "--grace", "1s")),
        Component(
            "minutely",
            "scheduler",
            ("--schedule", "* * * * *", *clock, "--clock-anchor", anchor, *_WORKFLOWS, *_JOBS),
        ),
    ]
    for number in range(watchers):
        watch = ("--interval", "400ms", *_WORKFLOWS, *(() if number else _JOBS))
        if number % 2 == 0:
            name = f"news{number}"
            table = ("--content-dsn", dsn, "--table", f"dpe_{name}", "--table-id", str(number))
            made.append(Component(name, "table-watcher", (*watch, *table), memory=True))
        else:
            name = f"ingest{number}"
            (folder / name).mkdir()
            where = ("--folder", str(folder / name))
            made.append(Component(name, "folder-watcher", (*watch, *where), memory=True))
    return made


def _patient(dsn: str) -> Session:
    """A connection for people and checker: all takes long on a busy machine, and nobody waits."""
    return psycopg.connect(dsn, application_name="chaos", connect_timeout=60)


class People:
    """They change entries and files all the time, until `close`."""

    def __init__(self, dsn: str, parts: Sequence[Component], folder: Path, seed: str) -> None:
        self._dsn = dsn
        self._tables = [f"dpe_{one.name}" for one in parts if one.role == "table-watcher"]
        self._folders = [folder / one.name for one in parts if one.role == "folder-watcher"]
        self._dice = random.Random(seed)
        self._closed = threading.Event()
        with connect(dsn, name="chaos") as session:
            content.create_changes(session)
            for table in self._tables:
                content.create_entries(session, table=table)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Change nothing more."""
        self._closed.set()
        self._thread.join(15)

    def _run(self) -> None:
        # a round that is given up takes the database with it
        with contextlib.suppress(psycopg.OperationalError):
            self._work()

    def _work(self) -> None:
        count = max(1, len(self._tables) + len(self._folders))
        with _patient(self._dsn) as session:
            while not self._closed.wait(0.5 / count):
                which = self._dice.randrange(count)
                change = {"add": 1, "update": self._dice.randrange(2), "delete": 1}
                change["delete"] = self._dice.random() < 0.3
                if which < len(self._tables):
                    content.change_entries(session, table=self._tables[which], **change)
                elif self._folders:
                    folder = self._folders[which - len(self._tables)]
                    done = change_files(folder, suffix=".wav", **change)
                    content.note_changes(session, str(folder), done)
                session.commit()


class Round:
    """The site of one round, in a namespace, databases and a folder of its own."""

    def __init__(
        self,
        api: ApiServer,
        postgres: Postgres,
        folder: Path,
        seed: str,
        *,
        actors: int,
        watchers: int,
        profile: str = "",
        elector: Path = ELECTOR,
        haproxy: tuple[str, str] = ("", ""),
    ) -> None:
        folder.mkdir(parents=True)
        (folder / "volume").mkdir()
        self.api = api
        self.folder = folder
        namespace = api.create_namespace("chaos")
        # only for questions to its database: its servers are those of the front end
        self.servers = Servers(postgres, folder, f"chaos_{namespace.replace('-', '_')}")
        timings = ("--profile", profile) if profile else QUICK
        self.place = Place(
            folder, namespace, "http://127.0.0.1:1", api.url, api.ca_file, api.token, elector,
            timings, haproxy,
        )  # fmt: skip
        with connect(self.servers.dsn, name="chaos") as session:
            create_tables(session)
        self.front = Frontend(api, self.place, self.servers.dsn) if watchers else None
        self.parts = components(actors, watchers, dsn=self.servers.dsn, folder=folder)
        self.pods: dict[str, list[Candidate]] = {
            part.name: [Candidate(part, letter, self.place) for letter in "ab"]
            for part in self.parts
        }
        if self.front is not None:
            self.pods[BALANCER] = list(self.front.balancers)
        letters = "abc" if self.front is not None else ""
        self.farm = [Processor(letter, folder, self.place.url) for letter in letters]
        self.faults = Faults(api, self.place, self.pods, self.front, self.farm)
        for name in self.pods:
            self.faults.make_lease(name, vouched=True)
        self.history = History(api, namespace)
        self.since = time.time()
        if self.front is not None:
            for one in (*self.front.servers, *self.farm):
                one.start()
        self.people = People(self.servers.dsn, self.parts, folder, seed) if watchers else None
        tended: list[Tended] = [pod for both in self.pods.values() for pod in both]
        tended += [*self.front.servers, *self.farm] if self.front is not None else []
        self.kubelet = Kubelet(tended, seed)
        self.client = self._client() if self.front is not None else None

    def _client(self) -> Simulated:
        """One who asks all the time and notes which server answered."""
        many = ("--connections", "4", "--slow", "1", "--rate", "10", "--seconds", "3600s")
        return Simulated(
            self.folder, "client", "client", "--url", f"{self.place.url}{BASE}", *many,
            "--records", str(self.folder / "client.records"),
        )  # fmt: skip

    @property
    def layout(self) -> Layout:
        """What there is to strike."""
        return Layout(
            [part.name for part in self.parts],
            [part.name for part in self.parts if part.memory],
            [part.name for part in self.parts if part.clock],
            [SERVERS] if self.front is not None else [],
            [BALANCER] if self.front is not None else [],
            [FARM] if self.front is not None else [],
        )

    def ready(self, seconds: float = 240.0) -> list[str]:
        """Wait until somebody acts for every component; names of those for which nobody does."""

        def missing() -> list[str]:
            return [name for name, both in self.pods.items() if not any(pod.acts() for pod in both)]

        wait_until(lambda: not missing(), seconds)
        return missing()

    def settle(self, seconds: float = 60.0) -> int:
        """Let the people go home, and wait until all of their work is done.

        Args:
            seconds: give up when nothing was done for so long.

        Returns:
            How much is left undone.
        """
        if self.people is None:
            return 0
        self.people.close()
        # what happened last is judged too, and the scheduler's youngest workflows are not
        time.sleep(SETTLE_SECONDS + 1)
        left, since = self._open(), time.monotonic()
        while left and time.monotonic() - since < seconds:
            time.sleep(1.0)
            now = self._open()
            if now != left:
                left, since = now, time.monotonic()
        return left

    def _open(self) -> int:
        """How many jobs and changes nobody has done yet."""
        findings = checker.check(self.evidence(), checker.Expectation(settle=SETTLE_SECONDS))
        return sum(one.rule in ("change-lost", "job-lost") for one in findings)

    def evidence(self) -> Evidence:
        """What the run has left behind so far."""
        records = [pod.records for both in self.pods.values() for pod in both]
        lines = read_lines(path for path in records if path.exists())
        with _patient(self.servers.dsn) as session:
            session.autocommit = True
            changes = read_changes(session, since=self.since)
            return read_evidence(
                session, since=self.since, component_lines=lines, changes=changes,
                client_lines=self._client_lines(),
            )  # fmt: skip

    def _client_lines(self) -> list[str]:
        path = self.folder / "client.records"
        # the client may be in the middle of its last line
        return path.read_text().splitlines()[:-1] if path.exists() else []

    def journals(self) -> list[Acting]:
        """Who acted by the journals of the actors."""
        found = []
        for part in self.parts:
            for pod in self.pods[part.name] if part.role == "actor" else ():
                by_run: dict[str, list[tuple[float, float]]] = {}
                for act in pod.pod.acts():
                    run = f"{pod.name}/{act.epoch}"
                    by_run.setdefault(run, []).append((act.at, act.at))
                for run, moments in by_run.items():
                    # a busy machine sleeps longer than 3 ms between two acts
                    for start, end in merge(moments, gap=0.25):
                        found.append(Acting(part.name, pod.name, run, start, end))
        return found

    def close(self) -> None:
        """End every process of the round."""
        self.kubelet.close()
        self.history.close()
        if self.people is not None:
            self.people.close()
        for both in self.pods.values():
            for pod in both:
                pod.close()
        for processor in self.farm:
            processor.close()
        if self.client is not None:
            self.client.__exit__(None, None, None)
        if self.front is not None:
            self.front.close()
        self.servers.close()
