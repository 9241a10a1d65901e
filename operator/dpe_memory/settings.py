# SPDX-License-Identifier: Apache-2.0
"""The flags of dpe-memory. Each is described in docs/reference/memory.md."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from dpe_memory.decision import OnLoss

EPOCH = "DPE_ELECTOR_EPOCH"
NAMESPACE = "DPE_MEMORY_POD_NAMESPACE"
POD = "DPE_MEMORY_POD_NAME"
POD_UID = "DPE_MEMORY_POD_UID"
# Taken away before the command is started; DPE_MEMORY_PATH is the user's own and stays.
OWN_VARIABLES = (NAMESPACE, POD, POD_UID)

LONGEST_WAIT = 3600.0
_PART = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


class SettingsRefused(ValueError):
    """Flags that cannot be used; the message names the flag, its value and the cure."""


@dataclass(frozen=True)
class Settings:
    """All flags, checked; `wait` is in seconds, `epoch` the elector's."""

    volume: str
    folder: str
    owner: str
    link: str
    on_loss: OnLoss
    lease: str
    namespace: str
    pod: str
    uid: str
    epoch: int
    wait: float
    command: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsRefused(f"{message} (see dpe-memory --help)")


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read flags (without the program's name) and environment.

    Raises SettingsRefused, and SystemExit(0) after --help.
    """
    flags, command = _split(list(arguments))
    given = _parser().parse_args(flags)
    if not command:
        raise SettingsRefused("no command to run: give it after two dashes, as in -- /bin/watcher")
    _check(given)
    namespace = given.namespace or environment.get(NAMESPACE, "")
    if not namespace:
        raise SettingsRefused(
            f"no namespace: give --namespace, or set {NAMESPACE} by the downward API"
        )
    epoch = environment.get(EPOCH, "")
    if not (epoch.isascii() and epoch.isdigit() and int(epoch) > 0):
        raise SettingsRefused(
            f"{EPOCH} is {epoch!r}, not a number above 0: dpe-memory has to be the command of "
            f"dpe-elector in exclusive mode"
        )
    return Settings(
        volume=given.volume,
        folder=given.folder,
        owner=given.owner,
        link=given.link.rstrip("/"),
        on_loss=OnLoss(given.on_loss),
        lease=given.lease,
        namespace=namespace,
        pod=environment.get(POD) or os.uname().nodename,
        uid=environment.get(POD_UID, ""),
        epoch=int(epoch),
        wait=given.wait,
        command=tuple(command),
    )


def _check(given: argparse.Namespace) -> None:
    if not os.path.isabs(given.volume):
        raise SettingsRefused(f"--volume {given.volume!r} is not an absolute path")
    if not _PART.fullmatch(given.folder):
        raise SettingsRefused(
            f"--folder {given.folder!r} is not a plain name: letters, digits, dots and dashes"
        )
    parts = given.owner.split("/")
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise SettingsRefused(f"--owner {given.owner!r} is not of the form namespace/Kind/name")
    if not os.path.isabs(given.link) or given.link.strip("/") == "":
        raise SettingsRefused(f"--link {given.link!r} is not an absolute path of a folder")
    if not 0 <= given.wait <= LONGEST_WAIT:
        raise SettingsRefused(f"--wait {given.wait:g} is not within 0 to {LONGEST_WAIT:g} seconds")


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dpe-memory",
        usage="dpe-memory --volume PATH --folder NAME ... -- COMMAND [ARGUMENT...]",
        description="Give COMMAND the newest memory on a common volume, in a folder of its own.",
        epilog="Every flag is described in docs/reference/memory.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--volume", required=True, metavar="PATH", help="where the common volume is mounted")
    add("--folder", required=True, metavar="NAME", help="the watcher's folder on it")
    add("--owner", required=True, metavar="NS/KIND/NAME", help="whose memory it is")
    add("--link", required=True, metavar="PATH", help="where COMMAND looks for its memory")
    add(
        "--on-loss",
        choices=[choice.value for choice in OnLoss],
        default=OnLoss.STOP.value,
        help="when a memory that was there is gone (default: Stop)",
    )
    add("--lease", required=True, metavar="NAME", help="the Lease that this pod holds")
    add("--namespace", default="", metavar="NS", help=f"its namespace (default: {NAMESPACE})")
    add(
        "--wait",
        type=float,
        default=120.0,
        metavar="S",
        help="how long to wait for a user's answer before the Lease is given back",
    )
    return parser
