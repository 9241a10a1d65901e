# SPDX-License-Identifier: Apache-2.0
"""A candidate without its command takes no Lease: the look, its child, and the rule."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.elector.elector_story import ME, Story, seen

from dpe_elector import clock, presence
from dpe_elector.presence import Presence, first_missing
from dpe_elector.probes import Health
from dpe_elector.settings import SettingsRefused, parse
from dpe_elector.steps import Able, CommandEnded, Found, Nothing, Read, Wait, Write, Wrote


@pytest.fixture
def program(tmp_path: Path) -> Path:
    made = tmp_path / "bin/watcher"
    made.parent.mkdir()
    made.touch(0o755)
    return made


def test_programs_are_found_as_at_the_start_of_the_command(program: Path) -> None:
    path = f"/nowhere:{program.parent}"
    assert first_missing(["watcher", str(program)], path) == 0
    assert first_missing(["watcher", "scheduler"], path) == 2
    assert first_missing(["watcher"], "/nowhere") == 1
    assert first_missing([str(program.parent)], "") == 0, "a folder that can be read"
    program.chmod(0o644)
    assert first_missing([str(program)], "") == 1, "nobody can start it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
def test_a_folder_that_cannot_be_read_is_missing(program: Path) -> None:
    program.parent.chmod(0)
    assert first_missing([str(program.parent)], "") == 1


def watch(command: str, *needs: str) -> Presence:
    return Presence([command, "argument"], needs, {"PATH": "/nowhere"})


def look(eye: Presence, seconds: float = 10.0) -> str | None:
    """Look until a child has said something; return what is missing."""
    eye.look()
    end = time.monotonic() + seconds
    while eye.descriptor >= 0:
        assert time.monotonic() < end
        time.sleep(0.005)
        eye.look()
    return eye.missing


def test_before_the_first_look_nothing_is_taken_for_granted(program: Path) -> None:
    eye = watch(str(program))
    assert eye.missing
    assert look(eye) is None
    assert 4 < eye.due - clock.boot() <= presence.PRESENT_SECONDS


def test_what_is_missing_is_named_and_looked_for_soon_again(program: Path) -> None:
    eye = watch(str(program), "/no/such/folder")
    assert look(eye) == "/no/such/folder is not there, or cannot be used"
    assert eye.due - clock.boot() <= presence.MISSING_SECONDS


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(presence, "DEADLINE_SECONDS", 0.2)
    monkeypatch.setattr(presence, "first_missing", lambda needs, path: time.sleep(60))
    yield


@pytest.mark.usefixtures("hanging")
def test_a_look_that_hangs_is_given_up_and_says_so(program: Path) -> None:
    eye = watch(str(program))
    assert look(eye) == f"{program} cannot be looked at: a volume does not answer"


@pytest.mark.usefixtures("hanging")
def test_there_is_never_more_than_one_child(program: Path) -> None:
    eye = watch(str(program))
    eye.look()
    child = eye._child
    for _ in range(5):
        eye.look()
    assert eye._child == child
    look(eye)


def test_the_child_has_no_files_of_the_elector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that hangs would keep the port of the probes from the next elector."""
    held = os.open("/dev/null", os.O_RDONLY)
    monkeypatch.setattr(
        presence, "first_missing", lambda needs, path: int(os.path.exists(f"/proc/self/fd/{held}"))
    )
    assert look(watch("x")) is None
    os.close(held)


def test_without_a_free_file_it_is_looked_later(program: Path) -> None:
    eye = watch(str(program))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        eye.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert eye.descriptor == -1
    assert 0 < eye.due - clock.boot() <= presence.MISSING_SECONDS
    time.sleep(max(0.0, eye.due - clock.boot()))
    assert look(eye) is None


# --- the rule


def test_a_candidate_without_its_command_looks_on_and_takes_nothing() -> None:
    story = Story()
    story.at(0, Able(False))
    story.at(0, Nothing())
    free = seen("", released=True)
    assert isinstance(story.at(1, Found(free)), Wait)
    assert story.at(3, Nothing()) == Read()
    assert isinstance(story.at(3, Found(free)), Wait)
    write = story.at(3.5, Able(True))
    assert isinstance(write, Write) and write.holder == ME


def test_a_lease_that_ran_out_is_not_taken_either() -> None:
    story = Story()
    story.at(0, Able(False))
    story.at(0, Nothing())
    story.at(1, Found(seen()))
    assert story.at(17, Nothing()) == Read()
    assert isinstance(story.at(17, Found(seen())), Wait)


def test_a_holder_goes_on_without_the_file_that_it_runs_from() -> None:
    story = Story().holding(100.0)
    story.at(101, Able(False))
    assert story.state.acting(101)
    renewal = story.at(102, Nothing())
    assert isinstance(renewal, Write) and renewal.holder == ME
    story.at(102.1, Wrote(seen(ME, "3", epoch=5)))
    story.at(103, CommandEnded())
    story.at(103.1, Wrote(seen("", "4", released=True, epoch=5)))
    assert isinstance(story.at(105.2, Nothing()), Read), "it does not take it again"


def test_readiness_names_what_is_missing() -> None:
    now = clock.boot()
    health = Health("x", 15.0, contact=now, missing="/bin/watcher is not there")
    assert health.not_ready(now) == "/bin/watcher is not there"
    assert "no contact" in health.not_ready(now + 16)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode", "hot", "--needs", "/x"], "--needs is for --mode exclusive"),
        (["--needs", "bin/x"], "--needs 'bin/x' is neither an absolute path nor"),
        (["--needs", ""], "--needs ''"),
    ],
)
def test_needs_that_cannot_be_looked_for_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsRefused, match=message):
        parse(["--lease", "x", "--namespace", "n", *flags, "--", "run"], {})


def test_needs_can_be_several() -> None:
    words = ["--lease", "x", "--namespace", "n", "--needs", "/a", "--needs", "b", "--", "run"]
    assert parse(words, {}).needs == ("/a", "b")
