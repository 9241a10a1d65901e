# SPDX-License-Identifier: Apache-2.0
"""The flags of dpe-elector. Each is described in docs/reference/elector.md."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from dpe_elector import clock
from dpe_elector.election import Mode
from dpe_elector.environment import PREFIX
from dpe_elector.timings import PROFILES, Timings, TimingsRefused, check

LONGEST_GRACE = 86400.0
LONGEST_ONCE = 86400.0
ONCE_DEADLINE = 60.0
# DNS-1123, as Kubernetes asks of these names; they become part of a URL.
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LEASE_NAME = rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*"
_NAMESPACE_NAME = rf"(?=.{{1,63}}\Z){_LABEL}"


class SettingsRefused(ValueError):
    """Flags that cannot be used; the message names the flag, its value and the cure."""


@dataclass(frozen=True)
class Settings:
    """All flags, checked. Times are in seconds, empty paths mean: not asked for.

    `give_up_at` is the boot time up to which `once` tries to take the Lease.
    """

    mode: Mode
    lease: str
    namespace: str
    timings: Timings
    command: tuple[str, ...]
    identity: str
    pod: str = ""
    create_lease: bool = False
    state_file: str = ""
    ready_file: str = ""
    peer_file: str = ""
    probe_port: int = 8081
    grace: float = 25.0
    once: bool = False
    give_up_at: float = float("inf")
    needs: tuple[str, ...] = ()


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsRefused(f"{message} (see dpe-elector --help)")


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read flags (without the program's name) and the downward API.

    Raises SettingsRefused, and SystemExit(0) after --help.
    """
    flags, command = _split(list(arguments))
    given = _parser().parse_args(flags)
    if not command:
        raise SettingsRefused("no command to run: give it after two dashes, as in -- /bin/watcher")
    mode = Mode(given.mode)
    _check_names(given)
    namespace = given.namespace or _pod("NAMESPACE", environment)
    if not namespace:
        raise SettingsRefused(
            "no namespace: give --namespace, or set DPE_ELECTOR_POD_NAMESPACE by the downward API"
        )
    if not 0 <= given.grace <= LONGEST_GRACE:
        raise SettingsRefused(
            f"--grace {given.grace:g} is not within 0 to {LONGEST_GRACE:g} seconds"
        )
    if not 0 <= given.probe_port <= 65535:
        raise SettingsRefused(f"--probe-port {given.probe_port} is not within 0 (none) to 65535")
    give_up_at = _give_up_at(given, mode)
    pod = _pod("NAME", environment) or os.uname().nodename
    return Settings(
        mode=mode,
        lease=given.lease,
        namespace=namespace,
        timings=_timings(given, mode),
        command=tuple(command),
        # the random part is new with every start of the process: after a restart in place the
        # Lease still names the former one, whose command may have been the last to act
        identity=f"{_pod('UID', environment) or pod}_{os.urandom(5).hex()}",
        pod=pod,
        create_lease=given.create_lease,
        state_file=given.state_file,
        ready_file=given.ready_file,
        peer_file=_peer_file(given, mode),
        probe_port=given.probe_port,
        grace=given.grace,
        once=given.once,
        give_up_at=give_up_at,
        needs=_needs(given.needs, mode),
    )


def _pod(key: str, environment: Mapping[str, str]) -> str:
    """Return what the downward API says; the plain variables may be meant for the command too."""
    return environment.get(f"{PREFIX}POD_{key}") or environment.get(f"POD_{key}", "")


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _check_names(given: argparse.Namespace) -> None:
    if not re.fullmatch(_LEASE_NAME, given.lease):
        raise SettingsRefused(
            f"--lease {given.lease!r} is no name of a Lease: give one of lower-case letters, "
            f"digits, dashes and dots, such as radio-watcher"
        )
    if given.namespace and not re.fullmatch(_NAMESPACE_NAME, given.namespace):
        raise SettingsRefused(
            f"--namespace {given.namespace!r} is no name of a namespace: give one of lower-case "
            f"letters, digits and dashes, such as radio"
        )


def _give_up_at(given: argparse.Namespace, mode: Mode) -> float:
    """Check the flags of a single run; return the boot time at which it gives up waiting."""
    if not given.once:
        if given.once_deadline is not None:
            raise SettingsRefused("--once-deadline is for --once only: add --once, or leave it out")
        return float("inf")
    if mode is Mode.HOT:
        raise SettingsRefused(
            "--once runs the command under the Lease and --mode hot without: use --mode exclusive"
        )
    deadline = ONCE_DEADLINE if given.once_deadline is None else given.once_deadline
    if not 1 <= deadline <= LONGEST_ONCE:
        raise SettingsRefused(
            f"--once-deadline {deadline:g} is not within 1 to {LONGEST_ONCE:g} seconds"
        )
    return clock.boot() + deadline


def _needs(given: Sequence[str], mode: Mode) -> tuple[str, ...]:
    if given and mode is Mode.HOT:
        raise SettingsRefused(
            "--needs is for --mode exclusive: in hot mode the command always runs"
        )
    for need in given:
        if not need or ("/" in need and not need.startswith("/")):
            raise SettingsRefused(
                f"--needs {need!r} is neither an absolute path nor the name of a program: begin it "
                f"with a slash"
            )
    return tuple(given)


def _peer_file(given: argparse.Namespace, mode: Mode) -> str:
    if given.peer_file and mode is not Mode.HOT:
        raise SettingsRefused(
            f"--peer-file {given.peer_file} is for --mode hot: in exclusive mode a Lease is never "
            f"taken before it has run out; leave it out"
        )
    return str(given.peer_file)


def _timings(given: argparse.Namespace, mode: Mode) -> Timings:
    timings = PROFILES[given.profile or ("Hot" if mode is Mode.HOT else "Safe")]
    if given.lease_duration is not None:
        timings = replace(timings, duration=given.lease_duration)
    if given.renew_deadline is not None:
        timings = replace(timings, renew_deadline=given.renew_deadline)
    if given.retry_period is not None:
        timings = replace(timings, retry_period=given.retry_period)
    try:
        return check(timings)
    except TimingsRefused as refused:
        raise SettingsRefused(str(refused)) from refused


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dpe-elector",
        usage="dpe-elector --lease NAME [flags] -- COMMAND [ARGUMENT...]",
        description="Run COMMAND for as long as this pod holds a Kubernetes Lease.",
        epilog="Every flag is described in docs/reference/elector.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--lease", required=True, metavar="NAME", help="the Lease to hold")
    add("--namespace", default="", metavar="NS", help="its namespace (default: that of the pod)")
    add(
        "--mode",
        choices=[mode.value for mode in Mode],
        default="exclusive",
        help="exclusive: COMMAND runs only for the holder; hot: always (default: exclusive)",
    )
    add("--profile", choices=list(PROFILES), help="timings (default: Safe, in hot mode Hot)")
    add("--lease-duration", type=int, metavar="S", help="unrenewed for so long = free, seconds")
    add("--renew-deadline", type=float, metavar="S", help="act for so long after a renewal")
    add("--retry-period", type=float, metavar="S", help="from one renewal to the next")
    add("--needs", action="append", default=[], metavar="PATH", help="take part only with this")
    add("--once", action="store_true", help="run COMMAND once, end with its exit status")
    add("--once-deadline", type=float, metavar="S", help="give up waiting for the Lease after (60)")
    add("--create-lease", action="store_true", help="create the Lease if there is none")
    add("--state-file", default="", metavar="PATH", help="file that tells COMMAND its role")
    add("--ready-file", default="", metavar="PATH", help="file that COMMAND keeps fresh")
    add("--peer-file", default="", metavar="PATH", help="hot: the holder's pod does not answer")
    add("--probe-port", type=int, default=8081, metavar="N", help="probes, metrics; 0: none")
    add("--grace", type=float, default=25.0, metavar="S", help="from SIGTERM to SIGKILL")
    return parser


def complain(message: str) -> None:
    """Write `message` to standard error, before anything runs that it could hold up."""
    print(f"dpe-elector: {message}", file=sys.stderr)
