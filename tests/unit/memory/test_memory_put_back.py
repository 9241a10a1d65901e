# SPDX-License-Identifier: Apache-2.0
"""A lost memory that a person puts back: nobody starts with the part of it that is there already."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.memory.memory_site import Site, contents

from dpe_memory import run as runs
from dpe_memory.run import LOOK_SECONDS, QUIET_SECONDS, Stopped

QUIET_LOOKS = round(QUIET_SECONDS / LOOK_SECONDS)
MEMORY = {f"entries{number}": "seen" for number in range(8)}


@pytest.fixture
def site(root: Path) -> Site:
    """A site whose second memory was emptied, which has been told; the first has all files too."""
    made = Site(root)
    made.start()
    made.write(**MEMORY)
    made.start()
    for path in made.files(2).iterdir():
        path.unlink()
    assert made.stopped().status == runs.EXIT_LOST
    return made


def person(site: Site, steps: Iterator[Callable[[], object]]) -> list[float]:
    """Do one step in each pause of a start; returns the pauses."""
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        next(steps, lambda: None)()

    site.naps = nap
    return naps


def copying(site: Site, names: list[str]) -> Iterator[Callable[[], object]]:
    for name in names:
        yield lambda name=name: shutil.copy2(site.files(1) / name, site.files(2))


def test_files_that_are_copied_back_slowly_are_waited_for(site: Site) -> None:
    names = sorted(MEMORY)
    site.wait = 60.0
    naps = person(site, copying(site, names))
    site.start()
    assert site.seen() == MEMORY
    assert len(naps) == len(names) + QUIET_LOOKS
    assert site.report()["reason"] == "Carried"
    assert "token" not in site.report()


def test_who_waits_is_told_and_how_to_go_on_at_once(site: Site) -> None:
    token, puts = site.report()["token"], site.api.puts
    told: list[dict[str, Any]] = []
    names = sorted(MEMORY)
    shutil.copy2(site.files(1) / names[0], site.files(2))
    person(site, iter([lambda: told.append(site.report())] * 5))
    site.start()
    assert all((one["state"], one["reason"]) == ("Lost", "Restoring") for one in told)
    assert all((one["token"], one["lost"]) == (token, 2) for one in told)
    assert token in told[0]["message"] and "10 s" in told[0]["message"]
    assert site.api.puts == puts + 2, "said once, and that it goes on"


def test_the_other_pod_waits_too(site: Site) -> None:
    """Its first look finds files already: only the Lease says that there was a loss."""
    names = sorted(MEMORY)
    site.stopped("a")
    next(steps := copying(site, names))()
    naps = person(site, steps)
    site.start("b")
    assert site.seen() == MEMORY
    assert len(naps) == len(names) - 1 + QUIET_LOOKS


def test_a_failure_in_between_does_not_make_it_forget(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sorted(MEMORY)
    next(steps := copying(site, names))()

    def broken(*_words: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "files")

    with monkeypatch.context() as patch:
        patch.setattr("dpe_memory.volume.listing", broken)
        assert site.stopped().status == runs.EXIT_VOLUME
    assert (site.report()["state"], site.report()["reason"]) == ("Failed", "VolumeFailed")
    assert site.report()["lost"] == 2
    person(site, steps)
    site.start()
    assert site.seen() == MEMORY


def test_a_lease_that_cannot_be_written_does_not_make_it_forget(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.api.make_anew()
    monkeypatch.setattr("dpe_memory.report.with_report", lambda *_words, **_more: None)
    monkeypatch.setattr("dpe_memory.holding.with_report", lambda *_words, **_more: None)
    site.wait = 60.0
    person(site, copying(site, sorted(MEMORY)))
    site.start()
    assert site.seen() == MEMORY


def test_a_restored_epoch_whose_complete_comes_first_is_waited_for(site: Site) -> None:
    names = sorted(MEMORY)
    place = site.folder / "epoch-2"
    complete = (place / "COMPLETE").read_bytes()
    shutil.rmtree(place)
    assert site.stopped().status == runs.EXIT_LOST
    assert site.report()["reason"] == "Older"

    def steps() -> Iterator[Callable[[], object]]:
        yield place.mkdir
        yield lambda: (place / "COMPLETE").write_bytes(complete)
        yield site.files(2).mkdir
        yield from copying(site, names)

    site.wait = 60.0
    person(site, steps())
    site.start()
    assert site.seen() == MEMORY


def test_what_changes_without_end_is_waited_for_beyond_the_time_for_an_answer(
    site: Site,
) -> None:
    """The Lease is kept: the other pod would see no more than this one does."""
    target = site.files(2) / "entries0"
    target.write_text("")
    naps = person(site, iter([lambda: target.write_text(target.read_text() + "x")] * 100))
    site.start()
    assert len(naps) == 100 + QUIET_LOOKS
    assert site.seen() == {"entries0": "x" * 100}


def test_files_that_vanish_again_are_a_loss_again(site: Site) -> None:
    target = site.files(2) / "entries0"
    target.write_text("seen")
    person(site, iter([lambda: None, target.unlink]))
    assert site.stopped().status == runs.EXIT_LOST
    assert site.report()["reason"] == "Empty"


def test_an_accepted_loss_is_not_waited_for(site: Site) -> None:
    (site.files(2) / "entries0").write_text("seen")
    naps = person(site, iter([lambda: site.annotate("accept-memory-loss", site.report()["token"])]))
    site.start()
    assert len(naps) == 1
    assert site.seen() == {"entries0": "seen"}


def test_files_that_are_there_at_once_are_waited_for_no_longer_than_needed(site: Site) -> None:
    """As the message says: copied to another name, and renamed."""
    shutil.copytree(site.files(1), site.folder / "epoch-2" / "back")

    def rename() -> None:
        site.files(2).rmdir()
        (site.folder / "epoch-2" / "back").rename(site.files(2))

    site.wait = 60.0
    naps = person(site, iter([rename]))
    site.start()
    assert (site.seen(), len(naps)) == (MEMORY, 1 + QUIET_LOOKS)


def test_an_ordinary_take_over_waits_for_nothing(root: Path) -> None:
    site = Site(root)
    naps = person(site, iter([]))
    for pod in "abab":
        site.start(pod)
        site.write(entries="x")
    assert naps == []


def test_once_a_watcher_was_started_the_loss_is_over(site: Site) -> None:
    shutil.copytree(site.files(1), site.files(2), dirs_exist_ok=True)
    site.start()
    naps = person(site, iter([]))
    site.start("b")
    assert naps == []
    assert contents(site.link) == MEMORY


def test_a_folder_that_is_renamed_under_the_look_is_looked_at_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(site.files(1), site.files(2), dirs_exist_ok=True)
    away = site.folder / "epoch-2" / "away"
    real = runs.Volume.look

    def look(volume: runs.Volume) -> Any:
        view = real(volume)
        if not naps:
            site.files(2).rename(away)
        return view

    naps = person(site, iter([lambda: away.rename(site.files(2))]))
    monkeypatch.setattr(runs.Volume, "look", look)
    site.start()
    assert site.seen() == MEMORY


def test_not_even_a_start_that_is_no_holder_any_more_waits_on(site: Site) -> None:
    (site.files(2) / "entries0").write_text("seen")
    epoch = site.take("a")
    person(site, iter([lambda: site.take("b")]))
    with pytest.raises(Stopped) as stopped:
        site.run(epoch, "a").prepare()
    assert stopped.value.status == runs.EXIT_LEASE
