# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator probe`: tell what a client sees of a site; see docs/reference/prober.md."""

import argparse
import asyncio
import math
import os
import sys
from contextlib import ExitStack

from dpe_operator.prober.durations import parse_duration
from dpe_operator.prober.http_client import Call, parse_target
from dpe_operator.prober.load import Load, LoadSettings
from dpe_operator.prober.measure import table
from dpe_operator.prober.retry import RetryProfile
from dpe_operator.prober.running import check_destination, report, stoppable

# Seconds to pause after each 16 KiB of a slow answer: 256 KiB then take a second.
_SLOW_READ = 1 / 16


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command; what a pod is given by the operator is their default."""
    add = parser.add_argument
    url, ca = os.environ.get("DPE_SERVICE_ROOT"), os.environ.get("DPE_CA_FILE")
    add("--url", default=url, help="base URL (DPE_SERVICE_ROOT)")
    add("--ca", default=ca, metavar="FILE", help="authority to trust, PEM (DPE_CA_FILE)")
    add("--insecure", action="store_true", help="accept any certificate")
    add("--server-name", default="", help="name for TLS and Host header, if --url has an address")
    add("--path", default="", help="path behind the base URL")
    add("--body-contains", default="", metavar="TEXT", help="an answer without it is a failure")
    add("--member-header", default="X-DPE-Member", help="header that names who answered")
    add("--seconds", type=_time, default=20.0, help="length of the run (default 20)")
    add("--undisturbed", type=_time, default=0.0, metavar="TIME", help="report this first part too")
    add("--rate", type=float, default=200.0, help="requests a second in all (default 200)")
    add("--fresh", type=float, default=50.0, help="of them over new connections (default 50)")
    add("--connections", type=int, default=10, help="connections that are kept (default 10)")
    add("--slow", type=int, default=1, help="slow ones of them, beside the rate (default 1)")
    add(
        "--slow-path",
        action="append",
        default=[],
        metavar="PATH",
        help="path that is slow (may be repeated)",
    )
    add("--no-retry", action="store_true", help="one attempt only; else as DPE_RETRY_... say")
    add("--progress", action="store_true", help="a line a second, to standard error")
    add("--json", metavar="FILE", help="summary as JSON; -: to standard output, without the table")
    add("--records", metavar="FILE", help="a JSON line a request")


def probe(options: argparse.Namespace) -> int:
    """Run the load; return 0 whatever it saw, or 2 when it was asked for something impossible."""
    try:
        settings = _settings(options)
        check_destination(options.json)
        with ExitStack() as stack:
            records = options.records and stack.enter_context(
                open(options.records, "w", encoding="utf-8")
            )
            seen = asyncio.run(stoppable(lambda: Load(settings, records_to=records or None)))
        summary = {"url": options.url, **seen}
        report(options.json, summary, table(summary))
    except (ValueError, OSError) as problem:
        print(f"dpe-operator: probe: {problem}", file=sys.stderr)
        return 2
    return 0


def _check(options: argparse.Namespace) -> None:
    if not options.url:
        raise ValueError("--url: no address; give it here or in DPE_SERVICE_ROOT")
    if not math.isfinite(options.rate):
        raise ValueError(f"--rate: {options.rate:g} must be a number of requests, such as 200")
    if not 0 <= options.fresh < options.rate:
        raise ValueError(
            f"--fresh: {options.fresh:g} must be below --rate ({options.rate:g}),"
            " which counts the requests of new and kept connections together"
        )
    if options.slow == options.connections:
        raise ValueError(
            f"--connections: {options.connections} must be above --slow ({options.slow}), or none"
            " is left for the kept requests of --rate"
        )
    for option, path in [("path", options.path), *(("slow-path", x) for x in options.slow_path)]:
        if path and not path.startswith("/"):
            raise ValueError(f"--{option}: {path!r} must begin with a slash: write '/{path}'")


def _settings(options: argparse.Namespace) -> LoadSettings:
    _check(options)
    profile = RetryProfile.from_environment(os.environ)
    target = parse_target(
        options.url,
        ca_file=options.ca,
        verify=not options.insecure,
        server_name=options.server_name,
    )
    return LoadSettings(
        target,
        profile.without_retry() if options.no_retry else profile,
        connections=options.connections,
        slow=options.slow,
        rate=options.rate - options.fresh,
        fresh_rate=options.fresh,
        seconds=options.seconds,
        path=options.path,
        slow_calls=tuple(Call(path=path, read_pause=_SLOW_READ) for path in options.slow_path),
        body_contains=options.body_contains.encode(),
        member_header=options.member_header,
        undisturbed=options.undisturbed,
        progress=options.progress,
    )


def _time(text: str) -> float:
    try:
        return parse_duration(text, field="time")
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
