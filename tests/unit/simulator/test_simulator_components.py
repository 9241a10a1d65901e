# SPDX-License-Identifier: Apache-2.0
"""Pure parts of scheduler and watchers: clock, triggers, memory file, changes, names."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dpe_operator.prober.http_client import Target
from dpe_operator.prober.retry import RetryProfile
from dpe_simulator.changes import Change, Seen, find_changes
from dpe_simulator.cli import build_parser, main
from dpe_simulator.clock import Clock, ClockSettings, make_clock
from dpe_simulator.component import ComponentSettings, Template
from dpe_simulator.files import change_files
from dpe_simulator.identity import Identity, component_name
from dpe_simulator.memory import FILE, Memory, UnreadableMemory, read_memory, write_memory
from dpe_simulator.scheduler import Scheduler, SchedulerSettings
from dpe_simulator.sources import FolderSource
from dpe_simulator.triggers import Schedule

BERLIN = ZoneInfo("Europe/Berlin")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def fired(line: str, since: str, count: int) -> list[str]:
    schedule = Schedule(line, "Europe/Berlin")
    return [schedule.text(one) for one in islice(schedule.after(moment(since)), count)]


# clock


def test_processes_with_one_anchor_show_the_same_time_whenever_they_start() -> None:
    settings = ClockSettings(start="2026-06-01T02:00", anchor=1000.0, rate=60)
    early, late = (make_clock(settings, BERLIN, now=now) for now in (1.0, 5000.0))
    assert early == late
    assert early.at(1060.0) == moment("2026-06-01T03:00")
    assert early.real(moment("2026-06-01T03:00")) == 1060.0


def test_without_options_the_clock_is_the_real_one() -> None:
    assert make_clock(ClockSettings(), BERLIN, now=12345.0).at(99999.0) == 99999.0


@pytest.mark.parametrize(("offset", "ahead"), [("90m", 5400.0), ("-90m", -5400.0), ("+2s", 2.0)])
def test_an_offset_goes_both_ways(offset: str, ahead: float) -> None:
    clock = make_clock(ClockSettings(offset=offset), BERLIN, now=100.0)
    assert math.isclose(clock.at(500.0), 500.0 + ahead)
    assert math.isclose(clock.real(clock.at(777.0)), 777.0)


@pytest.mark.parametrize(("settings", "word"), [
    (ClockSettings(start="2 o'clock"), "--clock-start"),
    (ClockSettings(start="2026-06-01", offset="1h"), "one of the two"),
    (ClockSettings(rate=0), "--clock-rate"),
    (ClockSettings(offset="soon"), "--clock-offset"),
])  # fmt: skip
def test_a_wrong_clock_names_its_option(settings: ClockSettings, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make_clock(settings, BERLIN, now=0.0)


# triggers


def test_a_schedule_fires_after_a_moment_and_never_at_it() -> None:
    assert fired("0 2 * * *", "2026-06-01T02:00", 2) == [
        "2026-06-02T02:00+0200", "2026-06-03T02:00+0200",
    ]  # fmt: skip


def test_a_pair_coincides_on_the_day_in_spring() -> None:
    assert fired("0 2 * * *", "2026-03-29T01:00", 1) == ["2026-03-29T03:00+0200"]
    assert fired("30 2 * * *", "2026-03-29T01:00", 1) == ["2026-03-29T03:00+0200"]


def test_a_fixed_time_fires_once_on_the_day_in_autumn() -> None:
    assert fired("30 2 * * *", "2026-10-25T01:00", 2) == [
        "2026-10-25T02:30+0200", "2026-10-26T02:30+0100",
    ]  # fmt: skip


@pytest.mark.parametrize(("line", "zone", "word"), [
    ("0 2 * *", "UTC", "4 fields"), ("0 25 * * *", "UTC", "--schedule"),
    ("0 2 * * *", "Berlin", "--time-zone"),
])  # fmt: skip
def test_a_wrong_schedule_names_its_option(line: str, zone: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Schedule(line, zone)


# changes


@pytest.mark.parametrize(("remembered", "there", "event"), [
    (None, Seen("1", "v1"), "Created"),
    (("Created", "v1"), Seen("1", "v1"), None),
    (("Created", "v1"), Seen("1", "v2"), "Updated"),
    (("Updated", "v2"), Seen("1", "v3", deleted=True), "Deleted"),
    (("Deleted", "v3"), Seen("1", "v3", deleted=True), None),
    (("Deleted", "v3"), Seen("1", "v4"), "Created"),
    (None, Seen("1", "v1", deleted=True), None),
    (("Updated", "v2"), None, "Deleted"),
    (("Deleted", "v2"), None, None),
])  # fmt: skip
def test_what_counts_as_a_change(
    remembered: tuple[str, str] | None, there: Seen | None, event: str | None
) -> None:
    memory = {"1": remembered} if remembered else {}
    found = find_changes(memory, [there] if there else [])
    assert [change.event for change in found] == ([event] if event else [])


def test_a_change_that_is_remembered_is_none_any_more() -> None:
    there = [Seen("1", "v1"), Seen("2", "v9")]
    memory = {"2": ("Created", "v1"), "3": ("Created", "v1")}
    while found := find_changes(memory, there):
        memory[found[0].subject] = (found[0].event, found[0].version)
    assert memory == {"1": ("Created", "v1"), "2": ("Updated", "v9"), "3": ("Deleted", "v1")}


# memory


@pytest.mark.parametrize("in_place", [False, True])
def test_a_memory_is_read_as_it_was_written(tmp_path: Path, in_place: bool) -> None:
    assert read_memory(tmp_path) is None
    memory = Memory().after({"7": ("Created", "v1")}, epoch=4, process="p")
    write_memory(tmp_path, memory, in_place=in_place)
    assert read_memory(tmp_path) == memory
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_the_next_generation_forgets_nothing() -> None:
    first = Memory().after({"7": ("Created", "v1")}, epoch=1, process="p")
    second = first.after({"8": ("Created", "v1")}, epoch=2, process="q")
    assert (second.generation, second.epoch, set(second.entries)) == (2, 2, {"7", "8"})
    assert set(first.entries) == {"7"}


@pytest.mark.parametrize("text", ["", '{"generation": 3', "[]", '{"generation": 1, "entries": 3}'])
def test_a_torn_memory_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UnreadableMemory):
        read_memory(tmp_path)


def test_a_memory_torn_anywhere_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    write_memory(
        tmp_path, Memory().after({"7": ("Created", "v1")}, epoch=1, process="p"), in_place=True
    )
    whole = (tmp_path / FILE).read_text()
    for length in range(len(whole)):
        (tmp_path / FILE).write_text(whole[:length])
        with pytest.raises(UnreadableMemory):
            read_memory(tmp_path)


# folders


async def test_a_folder_shows_the_files_that_its_patterns_match(tmp_path: Path) -> None:
    for name in ("b.wav", "a.mp3", "c.txt", ".hidden.wav"):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.wav").mkdir()
    source = FolderSource(tmp_path, patterns="*.wav | *.mp3")
    assert [seen.subject for seen in await source.read()] == ["a.mp3", "b.wav"]
    assert source.values(Change("a.mp3", "Created", "1")) == {
        "event": "Created", "filename": "a.mp3", "filter": "*.mp3",
    }  # fmt: skip
    with pytest.raises(ValueError, match="--filter"):
        FolderSource(tmp_path, patterns=" | ")


def test_files_are_changed_as_asked_and_told(tmp_path: Path) -> None:
    first = change_files(tmp_path, add=3, update=0, delete=0, suffix=".wav")
    assert [one.event for one in first] == ["Created"] * 3
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(one.subject for one in first)
    second = change_files(tmp_path, add=0, update=1, delete=5, suffix=".wav")
    assert [one.event for one in second] == ["Updated", "Deleted", "Deleted"]
    assert second[0].version > max(one.version for one in first)
    assert [path.name for path in tmp_path.iterdir()] == [second[0].subject]


# names and options


@pytest.mark.parametrize(("host", "name"), [
    ("radio-table-news-7c9d8f5b6d-x2x4q", "radio-table-news"),
    ("laptop", "laptop"),
])  # fmt: skip
def test_a_component_without_a_name_is_called_after_its_deployment(host: str, name: str) -> None:
    assert component_name(host) == name


def test_the_operators_variables_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "DPE_SERVICE_ROOT": "https://radio-balancer/Dpe", "DPE_CA_FILE": "/ca/ca.crt",
        "DPE_SCHEDULE": "0 2 * * *", "DPE_TIME_ZONE": "Europe/Berlin", "DPE_COMPONENT": "nightly",
        "DPE_TITLE_TEMPLATE": "%filename%-%event%", "DPE_MEMORY_PATH": "/memory",
        "DPE_WORKFLOW_MEMBER": "2", "DPE_CLOCK_RATE": "60", "DPE_WATCH_FOLDER": "/in",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    parser = build_parser()
    scheduler = parser.parse_args(["scheduler"])
    assert (scheduler.schedule, scheduler.time_zone) == ("0 2 * * *", "Europe/Berlin")
    assert (scheduler.name, scheduler.member, scheduler.clock_rate) == ("nightly", "2", 60.0)
    watcher = parser.parse_args(["folder-watcher"])
    assert (watcher.title, watcher.memory, watcher.folder) == (
        "%filename%-%event%",
        "/memory",
        "/in",
    )
    assert (watcher.url, watcher.ca) == ("https://radio-balancer/Dpe", "/ca/ca.crt")


@pytest.mark.parametrize(("arguments", "word"), [
    (("scheduler", "--url", "http://h"), "DPE_SCHEDULE"),
    (("scheduler", "--schedule", "0 2 * * *"), "DPE_SERVICE_ROOT"),
    (("folder-watcher", "--url", "http://h"), "DPE_WATCH_FOLDER"),
    (("table-watcher", "--url", "http://h", "--table", "x; drop"), "--table"),
    (("table-watcher", "--url", "http://h", "--interval", "0"), "--interval"),
    (("worker", "--url", "http://h", "--quota", "0"), "--quota"),
    (("files",), "DPE_WATCH_FOLDER"),
])  # fmt: skip
def test_a_wrong_setting_is_told_with_its_cure(
    arguments: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("DPE_SERVICE_ROOT", "DPE_SCHEDULE", "DPE_WATCH_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    assert main(arguments) == 2
    assert word in capsys.readouterr().err


def test_the_memory_file_can_be_read_by_people(tmp_path: Path) -> None:
    write_memory(tmp_path, Memory(3, 2, "p", {"7": ("Updated", "v")}), in_place=False)
    assert json.loads((tmp_path / FILE).read_text()) == {
        "generation": 3, "epoch": 2, "process": "p", "entries": {"7": ["Updated", "v"]},
    }  # fmt: skip


def test_a_clock_shows_its_anchor() -> None:
    assert Clock(10.0, 500.0, 60.0).at(10.0) == 500.0


def test_what_takes_over_loads_no_database_driver_that_it_does_not_need() -> None:
    code = "import sys, dpe_simulator.cli, dpe_simulator.component_commands as c; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# a scheduler's start


class SlowToBegin(Scheduler):
    """One whose start takes a while, as on a busy machine; says what it fires."""

    def __init__(self, settings: SchedulerSettings) -> None:
        profile = RetryProfile(1, 0.01, 0.01, 0.1, 0.1, 0.1)
        common = ComponentSettings(Target("127.0.0.1", 1, "", None), profile, heartbeat=60.0)
        super().__init__(settings, common, identity=Identity("scheduler", None, "s-1", 1, "x"))
        self.fired: list[str] = []

    def describe(self) -> dict[str, Any]:
        time.sleep(0.6)
        return super().describe()

    async def start_workflow(self, body: Mapping[str, Any], **more: Any) -> bool:
        self.fired.append(body["title"])
        self.stop()
        return True


async def test_a_scheduler_fires_what_is_due_after_the_moment_of_its_start_line() -> None:
    # due while it starts; the checker asks for all that is due after the start line's moment
    clock = Clock(time.time() + 0.4, moment("2026-06-01T02:00"), 1.0)
    schedule = Schedule("0 2 * * *", "Europe/Berlin")
    scheduler = SlowToBegin(SchedulerSettings(schedule, clock, Template("x", "%trigger%")))
    await asyncio.wait_for(scheduler.run(), 5)
    assert scheduler.fired == ["2026-06-01T02:00+0200"]
