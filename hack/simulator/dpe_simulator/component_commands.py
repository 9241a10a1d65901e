# SPDX-License-Identifier: Apache-2.0
"""Processors and components of the workflow system: from parsed options to a process."""

import argparse
import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from dpe_operator.prober.retry import RetryProfile
from dpe_simulator.clock import ClockSettings, make_clock
from dpe_simulator.component import Component, ComponentSettings, Template, run_component
from dpe_simulator.identity import Identity
from dpe_simulator.outcome import leave, read_target
from dpe_simulator.processor import ProcessorSettings, run_processor
from dpe_simulator.scheduler import Scheduler, SchedulerSettings
from dpe_simulator.sources import FolderSource
from dpe_simulator.triggers import Schedule
from dpe_simulator.watcher import Source, Watcher, WatcherSettings

TROUBLE = (ValueError, OSError)
_ACTIVITIES = "/workflow/activities"
_ACTIVITY = "workflow-activity"


def processor(options: argparse.Namespace) -> int:
    """Run a processor.

    Raises:
        ValueError: when the URL is missing or wrong, or the quota is below 1.
    """
    settings = ProcessorSettings(
        options.type, _quota(options), options.poll, options.grace, read_target(options),
        RetryProfile.from_environment(os.environ),
    )  # fmt: skip
    identity = Identity.here("processor", member=None, environment=os.environ)
    return asyncio.run(run_processor(settings, identity=identity))


def worker(options: argparse.Namespace) -> int:
    """Run a worker.

    Returns:
        0: an activity that is left unfinished goes to another one, by DPE's rules.

    Raises:
        ValueError: when the URL is missing or wrong, or the quota is below 1.
    """
    settings = ProcessorSettings(
        _ACTIVITY, _quota(options), options.poll, options.grace, read_target(options),
        RetryProfile.from_environment(os.environ), _ACTIVITIES, _heartbeat(options),
    )  # fmt: skip
    records = _records(options)
    asyncio.run(run_processor(settings, identity=identify(options), records=records))
    return leave(0)


def scheduler(options: argparse.Namespace) -> int:
    """Run a scheduler.

    Raises:
        ValueError: when an option is missing or wrong.
    """
    if not options.schedule:
        raise ValueError("--schedule: none; give one here or in DPE_SCHEDULE, such as '0 2 * * *'")
    schedule = Schedule(options.schedule, options.time_zone)
    given = ClockSettings(
        options.clock_start, options.clock_offset, options.clock_anchor, options.clock_rate
    )
    clock = make_clock(given, schedule.zone, now=time.time())
    settings = SchedulerSettings(schedule, clock, _template(options))
    return run(Scheduler(settings, common_settings(options), identity=identify(options)))


def folder_watcher(options: argparse.Namespace) -> int:
    """Run a folder watcher.

    Raises:
        ValueError: when an option is missing or wrong.
    """
    if not options.folder:
        raise ValueError("--folder: none; give one here or in DPE_WATCH_FOLDER")
    source = FolderSource(Path(options.folder), patterns=options.filter)
    return run(watcher(options, source))


def run(component: Component) -> int:
    """Run a component and end with its exit status."""
    return asyncio.run(_run(component))


async def _run(component: Component) -> int:
    # From inside: the end of the event loop would wait for a thread that waits for a dead volume.
    return leave(await run_component(component))


def watcher(options: argparse.Namespace, source: Source) -> Watcher:
    """Make a watcher of a source.

    Raises:
        ValueError: when an option is missing or wrong.
    """
    if options.interval <= 0:
        raise ValueError(f"--interval: {options.interval:g} s must be longer than 0, such as 1s")
    settings = WatcherSettings(
        _template(options), options.interval, Path(options.memory) if options.memory else None,
        memory_first=options.memory_first or _flag("DPE_MEMORY_FIRST"),
        in_place=options.memory_in_place or _flag("DPE_MEMORY_IN_PLACE"),
        gap=options.gap, remember_first=options.first_start == "remember",
    )  # fmt: skip
    return Watcher(settings, source, common_settings(options), identity=identify(options))


def _flag(name: str) -> bool:
    return os.environ.get(name, "") == "1"


def _template(options: argparse.Namespace) -> Template:
    jobs = tuple((type_, options.job_seconds) for type_ in options.job_type or [])
    activities = (options.activity_seconds,) * options.activities
    return Template(options.type or options.name, options.title, activities, jobs)


def _quota(options: argparse.Namespace) -> int:
    if options.quota < 1:
        raise ValueError(f"--quota: {options.quota} must be at least 1")
    return int(options.quota)


def _heartbeat(options: argparse.Namespace) -> float:
    if options.heartbeat <= 0:
        raise ValueError(f"--heartbeat: {options.heartbeat:g} s must be longer than 0")
    return float(options.heartbeat)


def identify(options: argparse.Namespace) -> Identity:
    """Who this process is."""
    return Identity.here(
        options.command, member=options.member, environment=os.environ, component=options.name
    )


def common_settings(options: argparse.Namespace) -> ComponentSettings:
    """What every component is given.

    Raises:
        ValueError: when an option is missing or wrong.
    """
    profile = RetryProfile.from_environment(os.environ)
    return ComponentSettings(read_target(options), profile, _heartbeat(options), _records(options))


def _records(options: argparse.Namespace) -> TextIO | None:
    if not options.records:
        return None
    return sys.stdout if options.records == "-" else open(options.records, "a", encoding="utf-8")
