# SPDX-License-Identifier: Apache-2.0
"""Simulated servers over one database on this machine, and components that talk to them."""

import http.client
import json
from pathlib import Path
from typing import Any

import psycopg
from tests.support.postgres import Postgres
from tests.support.simulator import BASE, Simulated


class Site:
    """Servers over one database, asked by plain requests."""

    def __init__(self, postgres: Postgres, folder: Path, name: str) -> None:
        self.dsn = postgres.new_database(name)
        self.folder = folder
        self.servers: list[Simulated] = []

    def add(self, *options: str, **environment: str) -> Simulated:
        member = "ab"[len(self.servers)]
        common = ("--member", member, "--host", "127.0.0.1", "--port", "0", "--dsn", self.dsn)
        server = Simulated(self.folder, member, "server", *common, *options, **environment)
        self.servers.append(server)
        return self.servers[-1]

    def ask(
        self, method: str, path: str, body: object = None, *, server: int = 0, within: float = 10.0
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.servers[server].port, timeout=within
        )
        try:
            connection.request(method, BASE + path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            assert answer.headers["X-DPE-Member"] == "ab"[server]
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def create(self, title: str, *job_types: str, seconds: float = 0.0) -> int:
        jobs = [{"type": name, "seconds": seconds} for name in job_types]
        status, text = self.ask(
            "POST", "/workflow/instances", {"type": "copy", "title": title, "jobs": jobs}
        )
        assert status == 201, text
        return int(json.loads(text)["instance"]["id"])

    def claim(self, processor: str = "p-1", *, server: int = 0) -> dict[str, Any] | None:
        status, text = self.ask(
            "POST", "/jobs/claim", {"processor": processor, "type": "audio"}, server=server
        )
        assert status == 200, text
        found: dict[str, Any] | None = json.loads(text)["job"]
        return found

    def end_job(self, job: dict[str, Any], verb: str = "finish", *, server: int = 0) -> int:
        path = f"/jobs/{job['id']}/{verb}"
        return self.ask("POST", path, {"attempt": job["attempt"]}, server=server)[0]

    def workflow(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", f"/workflow/instances/{number}")[1])
        return dict(found["instance"])

    def component(self, name: str, *options: str, **environment: str) -> Simulated:
        """A process of the workflow system; `name` is that of its log, the first option its kind."""
        url = f"http://127.0.0.1:{self.servers[0].port}{BASE}"
        quick = ("--url", url, "--heartbeat", "100ms")
        return Simulated(self.folder, name, options[0], *quick, *options[1:], **environment)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query of the core database gives."""
        with psycopg.connect(self.dsn) as session:
            return session.execute(query, values).fetchall()

    def titles(self) -> list[str]:
        """Titles of all workflows, oldest first."""
        return [row[0] for row in self.rows("SELECT title FROM dpe_workflows ORDER BY id")]

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """Details of the lines of one kind in the ledger, each with epoch and member."""
        query = "SELECT detail, epoch, member FROM dpe_ledger WHERE kind = %s ORDER BY at, seq"
        return [
            {**detail, "epoch": epoch, "member": member}
            for detail, epoch, member in self.rows(query, kind)
        ]

    def close(self) -> None:
        for server in self.servers:
            server.__exit__(None, None, None)
