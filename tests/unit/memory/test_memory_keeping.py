# SPDX-License-Identifier: Apache-2.0
"""Which epochs are kept, and that removing them is careful."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_memory.decision import Epoch
from dpe_memory.keeping import removable, seconds_of, text_of
from dpe_memory.layout import Mark, Memory
from dpe_memory.removal import Removal

DAY = 86400.0
NOW = seconds_of("2025-11-25T12:00:00Z")


def epoch(number: int, digest: str = "", *, days: float = 0.0, source: int | None = None) -> Epoch:
    """An epoch that was started `days` ago with what `digest` stands for."""
    at = text_of(NOW - days * DAY)
    start = number - 1 if source is None else source
    return Epoch(number, Mark(Memory(number, start, 1, 1, digest or f"d{number}", at), "o"))


def kept(epochs: Sequence[Epoch], own: int, now: float = NOW) -> list[int]:
    gone = removable(epochs, own, now)
    return sorted(one.number for one in epochs if one.number not in gone)


def test_the_newest_five_are_kept() -> None:
    assert kept([epoch(number, days=30) for number in range(1, 12)], 11) == [7, 8, 9, 10, 11]


def test_before_this_start_s_own_is_there_five_older_ones_are_kept() -> None:
    assert kept([epoch(number, days=30) for number in range(1, 12)], 12) == [7, 8, 9, 10, 11]


def test_one_a_day_is_kept_for_a_week() -> None:
    # three starts a day for twenty days; a memory's last state is told by the next start
    epochs = [epoch(60 - index, days=index / 3) for index in range(60)]
    found = kept(epochs, 60)
    assert found[-5:] == [56, 57, 58, 59, 60]
    days = [int((NOW - (59 - number) / 3 * DAY) // DAY) for number in found[:-1]]
    assert len(set(days[:-4])) == len(days[:-4])
    assert int((NOW - 6.9 * DAY) // DAY) in days
    assert all(day >= (NOW - 7 * DAY) // DAY for day in days)


def test_epochs_that_ended_alike_count_once() -> None:
    # 1, 2, 3 differ; from 4 on the watcher changed nothing: each start found the same
    epochs = [epoch(number, f"d{min(number, 5)}") for number in range(1, 30)]
    # 29 runs now, 28 is the newest of the equal ones
    assert kept(epochs, 29) == [1, 2, 3, 28, 29]


def test_equal_ones_with_another_between_them_count_once_too() -> None:
    epochs = [epoch(number, "ab"[number % 2], days=30) for number in range(1, 30)]
    assert kept(epochs, 29) == [27, 28, 29]


def test_what_nothing_was_copied_from_is_like_nothing_else() -> None:
    epochs = [epoch(1, "x"), epoch(2, "x", source=0), epoch(3, "x", source=0)]
    assert kept(epochs, 3) == [1, 2, 3]


@given(st.integers(0, 2**32))
def test_times_are_read_as_they_are_written(seconds: int) -> None:
    assert seconds_of(text_of(seconds)) == seconds


@pytest.mark.parametrize(
    "at", ["", "yesterday", "2025-11-25T20:15:00+00:00", "2025-11-25T20:15:00Z "]
)
def test_a_time_that_cannot_be_read_removes_nothing_more(at: str) -> None:
    assert seconds_of(at) > NOW
    epochs = [
        Epoch(number, Mark(Memory(number, number - 1, 1, 1, f"d{number}", at), "o"))
        for number in range(1, 8)
    ]
    assert kept(epochs, 7)[-5:] == [3, 4, 5, 6, 7]


def test_a_clock_that_was_set_ahead_leaves_the_newest() -> None:
    epochs = [epoch(number) for number in range(1, 12)]
    assert kept(epochs, 11, NOW + 1000 * DAY) == [7, 8, 9, 10, 11]


def test_an_incomplete_one_goes_when_five_newer_ones_are_complete() -> None:
    epochs = [*(epoch(number, days=30) for number in (1, 3, 4, 5)), Epoch(2, None)]
    assert 2 in kept(epochs, 5)
    assert 2 in kept([*epochs, epoch(6, days=30)], 6)
    assert kept([*epochs, epoch(6, days=30), epoch(7, days=30)], 7) == [3, 4, 5, 6, 7]


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.floats(-1, 12), st.booleans()), max_size=40
    ),
    st.integers(1, 45),
)
def test_never_what_is_newer_nor_the_newest_complete_ones(
    drawn: list[tuple[bool, int, float, bool]], own: int
) -> None:
    epochs = [
        epoch(number, f"d{digest}", days=days, source=None if copied else 0)
        if complete
        else Epoch(number, None)
        for number, (complete, digest, days, copied) in enumerate(drawn, 1)
    ]
    gone = removable(epochs, own, NOW)
    assert all(number < own for number in gone)
    older = [one.number for one in epochs if one.mark and one.number < own]
    assert not set(older[-1:]) & set(gone), "the newest complete one below one's own"
    # whatever goes is equal to one that stays, or five different ones stay
    if any(one.mark for one in epochs if one.number in gone):
        assert set(older) - set(gone)


# --- removing


def test_a_folder_is_removed_with_everything_in_it_and_nothing_behind_links(root: Path) -> None:
    outside = root / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    doomed = root / "epoch-1"
    (doomed / "files" / "deep" / "deeper").mkdir(parents=True)
    (doomed / "files" / "link").symlink_to(outside)
    (doomed / "files" / "deep" / "up").symlink_to("..")
    (doomed / "files" / "deep" / "x").touch()
    os.mkfifo(doomed / "pipe")
    (doomed / "files" / "deep").chmod(0o500)
    said: list[str] = []
    assert Removal(None, said.append).remove(str(doomed), str(root / ".epoch-1.removed"))
    assert sorted(path.name for path in root.iterdir()) == ["outside"]
    assert (outside / "precious").read_text() == "x"
    assert said == []


def test_a_link_in_place_of_a_folder_is_not_followed(root: Path) -> None:
    outside = root / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (root / "epoch-1").symlink_to(outside)
    removal = Removal(None, lambda _: None)
    assert not removal.remove(str(root / "epoch-1"), str(root / ".epoch-1.removed"))
    assert not removal.clear(str(root / "epoch-1"))
    assert (outside / "precious").exists()


def test_without_time_it_is_half_done_and_never_taken_for_a_memory(root: Path) -> None:
    (root / "epoch-1").mkdir()
    for number in range(10):
        (root / "epoch-1" / str(number)).touch()
    said: list[str] = []
    assert not Removal(0.0, said.append).remove(
        str(root / "epoch-1"), str(root / ".epoch-1.removed")
    )
    assert [path.name for path in root.iterdir()] == [".epoch-1.removed"]
    assert "later start" in said[0]
    assert Removal(None, said.append).clear(str(root / ".epoch-1.removed"))
    assert list(root.iterdir()) == []
