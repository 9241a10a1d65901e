# SPDX-License-Identifier: Apache-2.0
"""The settings of one run: a JSON file written by the operator (docs/reference/par-sync.md)."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

_RUNS = (1, 1000)
_RUN_SECONDS = (10, 86400)
_QUIET_SECONDS = (0, 86400)


class Compare(StrEnum):
    """How rsync finds out whether two files are equal."""

    CHECKSUM = "Checksum"
    SIZE_AND_TIME = "SizeAndTime"


class OnDivergence(StrEnum):
    """What happens to files that were edited on the redundant side."""

    KEEP = "Keep"
    OVERWRITE = "Overwrite"
    STOP = "Stop"


@dataclass(frozen=True)
class DeletionLimit:
    """How many files one run may delete: `amount` files, or percent of them."""

    amount: int = 10
    percent: bool = True

    def allowed(self, files: int) -> int:
        """Number of files out of `files` that may go; a percentage is rounded up."""
        return math.ceil(files * self.amount / 100) if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount}%" if self.percent else str(self.amount)


@dataclass(frozen=True)
class Redundant:
    """The redundant location: `volume` is the root of its volume, `current` what DPE reads."""

    name: str
    volume: Path
    current: Path
    mount_point: Path

    @property
    def above(self) -> tuple[Path, ...]:
        """The folders between the volume's root and `current`."""
        return tuple(path for path in self.current.parents if self.volume in path.parents)


@dataclass(frozen=True)
class Config:
    """All settings, checked. Times are in seconds; empty texts mean: none."""

    store: str
    namespace: str
    master: Path
    master_mount_point: Path
    redundant: Redundant
    lease: str = ""
    compare: Compare = Compare.CHECKSUM
    limit: DeletionLimit = field(default_factory=DeletionLimit)
    on_divergence: OnDivergence = OnDivergence.KEEP
    quiet_seconds: float = 60.0
    exclude: tuple[str, ...] = ()
    history_runs: int = 14
    adopt: str = ""
    max_run_seconds: float = 3600.0
    require_mount: bool = True
    umask: int = 0o002
    termination_message: str = "/dev/termination-log"


class ConfigInvalid(ValueError):
    """A config that cannot be used; the message names the field, its value and the cure."""


def load(path: Path) -> Config:
    """Read the file at `path`; raises ConfigInvalid."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError) as wrong:
        raise ConfigInvalid(f"{path}: {wrong}") from wrong
    try:
        return parse(found)
    except ConfigInvalid as wrong:
        raise ConfigInvalid(f"{path}: {wrong}") from wrong


def parse(found: object) -> Config:
    """Make a Config of parsed JSON; raises ConfigInvalid.

    Fields that are not known are refused: they come from another version of the operator, and a
    setting that is silently left out could be the one that protects files.
    """
    top = _Fields(found, "")
    master = top.fields("master")
    redundant = top.fields("redundant")
    history = top.fields("history", {})
    config = Config(
        store=top.text("store"),
        namespace=top.text("namespace"),
        lease=top.text("lease", ""),
        master=(master_path := master.absolute("path")),
        master_mount_point=master.mount_point(master_path),
        redundant=_redundant(redundant),
        compare=Compare(top.choice("compare", Compare)),
        limit=_limit(top.take("maxDeletions", "10%")),
        on_divergence=OnDivergence(top.choice("onDivergence", OnDivergence)),
        quiet_seconds=top.number("quietPeriodSeconds", 60, _QUIET_SECONDS),
        exclude=_exclude(top.take("exclude", [])),
        history_runs=history.whole("runs", 14, _RUNS),
        adopt=top.text("adopt", ""),
        max_run_seconds=top.number("maxRunSeconds", 3600, _RUN_SECONDS),
        require_mount=top.flag("requireMount", True),
        umask=_umask(top.take("umask", "0002")),
        termination_message=top.text("terminationMessagePath", "/dev/termination-log"),
    )
    for part in (top, master, redundant, history):
        part.nothing_left()
    return config


class _Fields:
    """The fields of a JSON object, taken out one by one."""

    def __init__(self, found: object, path: str) -> None:
        if not isinstance(found, Mapping):
            raise ConfigInvalid(f"{path or 'the config'} is {found!r}: write a JSON object")
        self._left: dict[str, Any] = dict(found)
        self._path = path

    def name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def take(self, key: str, default: Any = None) -> Any:
        if key not in self._left and default is None:
            raise ConfigInvalid(f"the field {self.name(key)} is missing: write it")
        return self._left.pop(key, default)

    def fields(self, key: str, default: Any = None) -> _Fields:
        return _Fields(self.take(key, default), self.name(key))

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not _is_text(value) or (default is None and not value):
            cure = "write a text that is not empty" if default is None else "write a text"
            raise ConfigInvalid(f"{self.name(key)} is {value!r}: {cure}")
        return str(value)

    def absolute(self, key: str, default: Path | None = None) -> Path:
        value = self.text(key, None if default is None else str(default))
        path = Path(value)
        if not path.is_absolute() or ".." in path.parts:
            raise ConfigInvalid(f"{self.name(key)} is {value!r}: write an absolute path")
        return path

    def mount_point(self, path: Path) -> Path:
        """Take the mount point that `path` lies in; `path` itself if there is no such field."""
        point = self.absolute("mountPoint", path)
        if not path.is_relative_to(point):
            raise ConfigInvalid(
                f"{self.name('mountPoint')} is {str(point)!r}: write a folder that {path} lies in"
            )
        return point

    def choice(self, key: str, words: type[StrEnum]) -> str:
        names = [str(word) for word in words]
        value = self.take(key, names[0])
        if value not in names:
            raise ConfigInvalid(f"{self.name(key)} is {value!r}: write {' or '.join(names)}")
        return str(value)

    def number(self, key: str, default: float, limits: tuple[int, int]) -> float:
        value = self.take(key, default)
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not limits[0] <= value <= limits[1]:
            raise ConfigInvalid(
                f"{self.name(key)} is {value!r}: write a number from {limits[0]} to {limits[1]}"
            )
        return float(value)

    def whole(self, key: str, default: int, limits: tuple[int, int]) -> int:
        value = self.take(key, default)
        right = isinstance(value, int) and not isinstance(value, bool)
        if not right or not limits[0] <= value <= limits[1]:
            raise ConfigInvalid(
                f"{self.name(key)} is {value!r}: write a whole number from {limits[0]} to "
                f"{limits[1]}"
            )
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise ConfigInvalid(f"{self.name(key)} is {value!r}: write true or false")
        return value

    def nothing_left(self) -> None:
        if self._left:
            names = ", ".join(f"{self.name(key)} ({value!r})" for key, value in self._left.items())
            raise ConfigInvalid(
                f"this version does not know {names}: give the sync image of the operator's version"
            )


def _is_text(value: object) -> bool:
    """Whether it is a text that the system's calls can take."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a field that is written twice: JSON readers do not agree on which one counts."""
    found = dict(pairs)
    for key, _ in pairs:
        if sum(key == other for other, _ in pairs) > 1:
            raise ValueError(f"the field {key} is written twice: leave one")
    return found


def _redundant(fields: _Fields) -> Redundant:
    volume = fields.absolute("volumePath")
    sub_path = fields.text("subPath", "current")
    parts = Path(sub_path).parts
    if not parts or parts[0] == "/" or ".." in parts or parts[0].startswith(".dpe-par"):
        raise ConfigInvalid(
            f"redundant.subPath is {sub_path!r}: write the relative path of a folder inside "
            f"the volume, for example current"
        )
    return Redundant(
        name=fields.text("name"),
        volume=volume,
        current=volume / sub_path,
        mount_point=fields.mount_point(volume),
    )


def _limit(value: object) -> DeletionLimit:
    found = re.fullmatch(r"([0-9]{1,9})(%?)", str(value)) if isinstance(value, int | str) else None
    if isinstance(value, bool) or not found or (found[2] and int(found[1]) > 100):
        raise ConfigInvalid(
            f"maxDeletions is {value!r}: write a number of files such as 25, or a percentage "
            f'such as "10%"'
        )
    return DeletionLimit(int(found[1]), percent=bool(found[2]))


def _exclude(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigInvalid(f"exclude is {value!r}: write a list of patterns")
    for pattern in value:
        # these beginnings make rsync take the pattern for a rule of another kind
        if (
            not _is_text(pattern)
            or not pattern.strip()
            or pattern.startswith(("!", "+ ", "- "))
            or re.search(r"[\r\n]", pattern)
        ):
            raise ConfigInvalid(
                f'exclude has {pattern!r}: write a pattern such as *.tmp, not beginning with "!", '
                f'"+ " or "- ", on one line'
            )
    return tuple(value)


def _umask(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ConfigInvalid(f'umask is {value!r}: write three octal digits as a text, as "0002"')
    return int(value, 8)
