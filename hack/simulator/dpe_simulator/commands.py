# SPDX-License-Identifier: Apache-2.0
"""Servers, clients and certificates: what each subcommand does with its parsed options."""

import argparse
import asyncio
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import psycopg

from dpe_operator.prober import measure
from dpe_operator.prober.http_client import PIECE, Call
from dpe_operator.prober.load import Load, LoadSettings
from dpe_operator.prober.retry import RetryProfile
from dpe_operator.prober.running import report, stoppable
from dpe_simulator import certs as certificates
from dpe_simulator.outcome import leave, read_target
from dpe_simulator.routes import RouteSettings
from dpe_simulator.server import ServerSettings, run_server
from dpe_simulator.workflows import WorkflowRun, WorkflowSettings

_SLOW_BYTES = 256 * 1024
TROUBLE = (ValueError, OSError, certificates.CertificateTrouble, psycopg.Error)


def server(options: argparse.Namespace) -> int:
    """Run a DPE Server.

    Raises:
        ValueError: when base path, or certificate and key, do not fit.
    """
    base = str(options.base_path).rstrip("/")
    if base and not base.startswith("/"):
        raise ValueError(f"--base-path: {base!r} must begin with /, for example /DpeWebApplication")
    if bool(options.cert) != bool(options.key):
        raise ValueError("--cert and --key: give both for HTTPS or none for plain HTTP")
    settings = ServerSettings(
        member=options.member, dsn=options.dsn, host=options.host, port=options.port,
        certificate=options.cert, key=options.key, health_bound=options.health_bound,
        drain=options.drain, grace=options.grace, connections=options.connections,
        ledger_hours=options.ledger_hours,
        routes=RouteSettings(base, options.lease, os.environ.get("DPE_SIMULATOR_FAULTS") == "1"),
    )  # fmt: skip
    return leave(asyncio.run(run_server(settings)))


def client(options: argparse.Namespace) -> int:
    """Send load or workflows and print what came of it.

    Returns:
        0; for workflows 1 when not every one of them ended as it should.
    """
    with ExitStack() as stack:
        records = (
            stack.enter_context(open(options.records, "w", encoding="utf-8"))
            if options.records
            else None
        )
        if options.workflows:
            return _client_workflows(options, records)
        return _client_load(options, records)


def _profile(options: argparse.Namespace) -> RetryProfile:
    profile = RetryProfile.from_environment(os.environ)
    return profile.without_retry() if options.no_retry else profile


def _client_load(options: argparse.Namespace, records: TextIO | None) -> int:
    profile = _profile(options)
    settings = LoadSettings(
        read_target(options), profile, connections=options.connections, slow=options.slow,
        rate=options.rate, fresh_rate=options.fresh, seconds=options.seconds, path=options.path,
        slow_calls=_slow_calls(profile), progress=options.progress,
    )  # fmt: skip
    summary = {
        "url": options.url,
        **asyncio.run(stoppable(lambda: Load(settings, records_to=records))),
    }
    report(options.json, summary, measure.table(summary))
    return 0


def _slow_calls(profile: RetryProfile) -> tuple[Call, Call]:
    """A long answer time, then a slow reader: each takes a second, or half the time limit."""
    seconds = min(1.0, profile.request_timeout / 2)
    return (
        Call(path=f"/ping?seconds={seconds:g}"),
        Call(path=f"/ping?bytes={_SLOW_BYTES}", read_pause=seconds / (_SLOW_BYTES // PIECE)),
    )


def _client_workflows(options: argparse.Namespace, records: TextIO | None) -> int:
    settings = WorkflowSettings(
        read_target(options), _profile(options), options.workflows, options.job_type or ["audio"],
        options.jobs, options.job_seconds, options.timeout, options.activities, options.every,
    )  # fmt: skip
    figures = asyncio.run(stoppable(lambda: WorkflowRun(settings, records_to=records)))
    text = "  ".join(f"{name}: {value}" for name, value in figures.items() if name != "problems")
    report(
        options.json, figures, "\n".join([text, *(json.dumps(one) for one in figures["problems"])])
    )
    return 0 if figures["finished"] == figures["workflows"] else 1


def certs(options: argparse.Namespace) -> int:
    """Make certificates, and print them as a Secret when asked to."""
    folder = Path(options.out)
    names = certificates.ServerNames(options.dns or [], options.ip or [])
    certificates.make_certificates(folder, names, days=options.days)
    if options.secret_yaml:
        print(
            certificates.secret_yaml(folder, name=options.secret_yaml, namespace=options.namespace),
            end="",
        )
    return 0
