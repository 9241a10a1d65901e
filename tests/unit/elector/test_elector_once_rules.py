# SPDX-License-Identifier: Apache-2.0
"""A single run under the Lease (--once): its rules, its flags, its exit status."""

from dataclasses import replace

import pytest
from tests.unit.elector.elector_story import ME, OTHER, Story, seen

from dpe_elector import clock, exits
from dpe_elector.settings import Settings, SettingsRefused, parse
from dpe_elector.single_run import SingleRun
from dpe_elector.steps import (
    CommandEnded,
    Conflict,
    Finish,
    Found,
    Nothing,
    Read,
    Stop,
    Unreachable,
    Wait,
    Woken,
    Write,
    Wrote,
)

FREE = seen("", released=True)
ENVIRONMENT = {"POD_NAMESPACE": "radio", "POD_UID": "u-1", "POD_NAME": "w-0"}


def once(give_up_at: float = 130.0) -> Story:
    return Story(once=True, give_up_at=give_up_at)


def test_it_takes_the_lease_runs_gives_it_back_and_ends() -> None:
    story = once().holding(100.0)
    assert story.state.started
    release = story.at(140, CommandEnded())
    assert isinstance(release, Write) and release.holder == ""
    assert story.at(140.1, Wrote(seen("", "3", released=True, epoch=5))) == Finish()


def test_the_deadline_says_nothing_about_a_command_that_runs() -> None:
    story = once(give_up_at=101.0).holding(100.0)
    renewal = story.at(102, Nothing())
    assert isinstance(renewal, Write) and renewal.holder == ME
    story.at(102.1, Wrote(seen(ME, "3", epoch=5)))
    assert story.state.acting(111.9)


def test_a_lease_that_stays_held_is_given_up_at_the_deadline() -> None:
    story = once(give_up_at=112.0)
    story.at(100, Nothing())
    assert isinstance(story.at(100, Found(seen())), Wait)
    assert isinstance(story.at(111.9, Nothing()), Read)
    assert story.at(112.0, Found(seen(version="2"))) == Finish()
    assert not story.state.started


@pytest.mark.parametrize("last", [Unreachable(), Conflict(), Found(None), Woken()])
def test_whatever_comes_last_the_deadline_holds(last: Unreachable | Conflict | Found) -> None:
    story = once(give_up_at=112.0)
    story.at(100, Nothing())
    story.at(111, Found(FREE))
    assert story.at(112.1, last) == Finish()


def test_a_take_over_begun_in_time_counts() -> None:
    story = once(give_up_at=112.0)
    story.at(100, Nothing())
    assert isinstance(story.at(111.9, Found(FREE)), Write)
    assert isinstance(story.at(113.0, Wrote(seen(ME, "2", epoch=5))), Wait)
    assert story.state.acting(113.0) and story.state.started


def test_taken_too_late_to_act_it_is_given_back_by_one_attempt() -> None:
    for answer in (Wrote(seen("", "3", released=True, epoch=5)), Unreachable(), Conflict()):
        story = once(give_up_at=112.0)
        story.at(100, Nothing())
        story.at(111.0, Found(FREE))
        release = story.at(122.0, Wrote(seen(ME, "2", epoch=5)))
        assert isinstance(release, Write) and release.holder == ""
        assert not story.state.started
        assert story.at(123.0, answer) == Finish()


def test_it_does_not_run_again_after_a_loss() -> None:
    story = once(give_up_at=500.0).holding(100.0)
    story.at(101, Woken())
    story.at(101.1, Found(seen(OTHER, "9")))
    assert story.at(101.3, CommandEnded()) == Finish()


def test_a_loss_before_the_command_was_started_is_not_the_end() -> None:
    story = once(give_up_at=500.0)
    story.at(100, Nothing())
    story.at(101, Found(FREE))
    story.at(112, Wrote(seen(ME, "2", epoch=5)))
    assert not story.state.started
    story.at(112.1, Conflict())
    story.at(112.2, Found(seen(OTHER, "9")))
    assert isinstance(story.at(112.4, CommandEnded()), Read), "it stays a candidate"
    assert isinstance(story.at(128, Found(replace(FREE, version="10", epoch=5))), Write)


def test_stop_is_as_in_exclusive_mode() -> None:
    waiting = once()
    waiting.at(100, Nothing())
    waiting.at(100.1, Found(seen()))
    assert waiting.at(101, Stop()) == Finish()
    running = once().holding(100.0)
    renewal = running.at(101, Stop())
    assert isinstance(renewal, Write) and renewal.holder == ME
    running.at(101.1, Wrote(seen(ME, "3", epoch=5)))
    release = running.at(102, CommandEnded())
    assert isinstance(release, Write) and release.holder == ""


# --- flags


def single(*flags: str) -> Settings:
    return parse(["--lease", "x", *flags, "--", "run"], ENVIRONMENT)


def test_the_deadline_is_counted_from_the_start() -> None:
    assert single("--once").give_up_at - clock.boot() == pytest.approx(60, abs=2)
    assert single("--once", "--once-deadline", "5").give_up_at - clock.boot() < 5
    assert single().give_up_at == float("inf") and not single().once


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--once", "--mode", "hot"], "use --mode exclusive"),
        (["--once-deadline", "5"], "add --once"),
        (["--once", "--once-deadline", "0"], "--once-deadline 0 is not within 1 to 86400"),
        (["--once", "--once-deadline", "nan"], "--once-deadline nan"),
        (["--once", "--once-deadline", "soon"], "--once-deadline"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsRefused, match=message):
        single(*flags)


# --- exit status


def run() -> SingleRun:
    return SingleRun(single("--once", "--once-deadline", "5"))


def test_the_status_is_the_commands_own() -> None:
    for code, status in ((0, 0), (3, 3), (127, 127), (-9, 137)):
        outcome = run()
        outcome.ended(code)
        assert outcome.status == status


def test_the_statuses_that_are_not_the_commands() -> None:
    outcome = run()
    assert outcome.status == exits.NOT_TAKEN == 69
    outcome.stopped(15)
    assert outcome.status == 143, "stopped before it ran: no success"
    outcome.ended(0)
    assert outcome.status == 0, "stopped while it ran: what the command made of it"
    outcome.lost()
    outcome.ended(-9)
    outcome.stopped(15)
    assert outcome.status == exits.PERMIT_ENDED == 75


@pytest.mark.parametrize("code", [0, 3])
def test_a_stop_after_the_command_has_ended_changes_nothing(code: int) -> None:
    """What it left behind is still being killed, but the work is done, or has failed."""
    outcome = run()
    outcome.ended(code)
    outcome.stopped(15)
    assert outcome.status == code


def test_only_an_elector_that_gave_up_ends_the_wait_before_the_guard_does() -> None:
    outcome = run()
    assert outcome.gave_up(69, starts=0)
    assert not outcome.gave_up(1, starts=0), "it crashed: the guard starts another"
    assert not outcome.gave_up(69, starts=1)
    now = clock.boot()
    assert not outcome.overdue(now + 5.1, starts=0), "the elector itself gives up first"
    assert outcome.overdue(now + 17, starts=0)
    assert not outcome.overdue(now + 17, starts=1)
