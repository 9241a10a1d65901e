# SPDX-License-Identifier: Apache-2.0
"""The election step by step: each rule of election.py as one short story."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.elector.elector_story import ME, OTHER, Story, seen

from dpe_elector import lease
from dpe_elector.election import LISTEN_SECONDS, Mode
from dpe_elector.lease import LeaseView
from dpe_elector.steps import (
    Able,
    CommandEnded,
    Conflict,
    Create,
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


def test_it_begins_with_a_look() -> None:
    assert Story().at(0, Nothing()) == Read()


def test_a_released_lease_is_taken_at_once_with_the_next_epoch() -> None:
    story = Story()
    story.at(0, Nothing())
    free = seen("", released=True)
    assert story.at(10, Found(free)) == Write(free, holder=ME, epoch=5, fresh=True)


def test_a_release_of_before_a_later_holding_is_not_believed() -> None:
    """Somebody has put an old version of the Lease back while the holder acts."""
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen(OTHER, "7", epoch=6)))
    old = seen("", "8", released=True, epoch=4)
    story.at(12, Found(old))
    story.at(26.9, Found(old))
    assert not isinstance(story.action, Write)
    write = story.at(27.1, Found(old))
    assert isinstance(write, Write) and write.epoch == 7


def test_the_permission_counts_from_the_start_of_the_write() -> None:
    story = Story().holding(100.0)
    assert story.state.until == 110.0
    assert story.state.running
    assert story.state.acting(109.9) and not story.state.acting(110.0)
    assert story.action == Wait(102.0)


def test_an_answer_that_comes_too_late_permits_nothing_and_is_renewed() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen("", released=True)))
    action = story.at(25, Wrote(seen(ME, "2", epoch=5)))
    assert not story.state.acting(25)
    assert isinstance(action, Write) and action.epoch == 5 and not action.fresh
    story.at(25.1, Wrote(seen(ME, "3", epoch=5)))
    assert story.state.acting(34.9)


def test_an_unchanged_version_is_waited_for_from_when_it_was_first_seen() -> None:
    story = Story()
    story.at(0, Nothing())
    assert story.at(10, Found(seen())) == Wait(12.0)
    assert story.at(12, Nothing()) == Read()
    assert story.at(12.5, Found(seen())) == Wait(14.5)
    story.at(24.0, Nothing())
    assert story.at(24.1, Found(seen())) == Wait(25.0), "not later than the Lease is free"
    write = story.at(25.0, Nothing())
    assert isinstance(write, Write) and write.base.version == "1" and write.epoch == 5


def test_a_renewal_starts_the_wait_anew() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen()))
    story.at(12, Nothing())
    story.at(12, Found(seen(version="2")))
    assert story.state.since == 12
    story.at(25.5, Nothing())
    assert story.at(25.5, Found(seen(version="2"))) == Wait(27.0)


@pytest.mark.parametrize(("written", "free_at"), [(40.0, 50.0), (6.0, 25.0)])
def test_the_longer_of_the_holders_and_the_own_duration_counts(
    written: float, free_at: float
) -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen(duration=written)))
    story.at(free_at - 0.1, Nothing())
    assert story.at(free_at - 0.1, Found(seen(duration=written))) == Wait(free_at)
    assert isinstance(story.at(free_at, Nothing()), Write)


def test_a_duration_shortened_by_hand_does_not_count_for_the_same_holder() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen(duration=40.0)))
    story.at(12, Nothing())
    story.at(12, Found(seen(version="2", duration=1.0)))
    story.at(51, Nothing())
    assert story.at(51, Found(seen(version="2", duration=1.0))) == Wait(52.0)


def test_a_new_holders_duration_replaces_the_old_one() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen(duration=40.0)))
    story.at(12, Nothing())
    story.at(12, Found(seen("third", "2", duration=6.0)))
    story.at(26.9, Nothing())
    assert story.at(26.9, Found(seen("third", "2", duration=6.0))) == Wait(27.0)


@pytest.mark.parametrize("lease_epoch", [0, 4])
def test_a_lease_that_is_new_or_cleared_by_hand_is_waited_for(lease_epoch: int) -> None:
    story = Story()
    story.at(0, Nothing())
    cleared = seen("", epoch=lease_epoch)
    assert story.at(10, Found(cleared)) == Wait(12.0)
    story.at(25, Nothing())
    assert isinstance(story.at(25, Found(cleared)), Write)


def test_a_conflict_is_followed_by_a_look() -> None:
    story = Story().holding(100.0)
    story.at(102, Nothing())
    assert story.at(102.1, Conflict()) == Read()
    assert story.state.acting(102.1)
    action = story.at(102.2, Found(seen(ME, "9", epoch=5)))
    assert isinstance(action, Write) and action.base.version == "9" and action.holder == ME


@pytest.mark.parametrize("found", [seen(OTHER, "9"), seen("", "9"), None])
def test_another_name_no_name_or_no_lease_is_a_loss(found: LeaseView | None) -> None:
    story = Story().holding(100.0)
    story.at(101, Woken())
    story.at(101.1, Found(found))
    assert story.state.epoch == 0 and not story.state.acting(101.1)
    assert story.state.running, "until the guard says that the command is dead"


def test_nothing_is_taken_while_the_old_command_lives() -> None:
    story = Story().holding(100.0)
    story.at(101, Woken())
    story.at(101.1, Found(seen("", "9", released=True, epoch=6)))
    story.at(103.2, Nothing())
    assert isinstance(story.at(103.2, Found(seen("", "9", released=True, epoch=6))), Wait)
    write = story.at(103.5, CommandEnded())
    assert isinstance(write, Write) and write.epoch == 7


def test_failed_calls_change_nothing_until_the_deadline() -> None:
    story = Story().holding(100.0)
    story.at(102, Nothing())
    assert story.at(105.3, Unreachable()) == Wait(105.3 + LISTEN_SECONDS), "the period has passed"
    assert isinstance(story.at(105.3 + LISTEN_SECONDS, Nothing()), Write)
    assert story.at(105.4, Unreachable()) == Wait(107.3 + LISTEN_SECONDS)
    assert story.state.until == 110.0


def test_guard_and_watch_are_heard_between_two_calls_however_slow_they_are() -> None:
    """Nobody would know that this process is alive, and nothing that happens would reach it."""
    standby = Story()
    standby.at(0, Nothing())
    now = 0.0
    for _ in range(10):  # each call takes longer than the time between two
        now += 3.4
        action = standby.at(now, Unreachable())
        assert isinstance(action, Wait) and now < action.until < now + 0.1
        now = action.until
        assert isinstance(standby.at(now, Nothing()), Read)
    holder = Story().holding(100.0)
    holder.at(102, Nothing())
    slow = holder.at(105.0, Wrote(seen(ME, "3", epoch=5)))
    assert isinstance(slow, Wait) and 105.0 < slow.until < 105.1
    release = holder.at(slow.until, CommandEnded())
    assert isinstance(release, Write) and release.holder == ""


def test_a_command_that_exits_releases_and_backs_off() -> None:
    story = Story().holding(100.0)
    release = story.at(101, CommandEnded())
    assert isinstance(release, Write) and release.holder == "" and release.epoch == 5
    free = seen("", "3", released=True, epoch=5)
    story.at(101.1, Wrote(free))
    assert story.state.epoch == 0
    assert story.action == Wait(102.0), "its own back-off of a second"
    again = story.at(102.0, Nothing())
    assert isinstance(again, Write) and again.epoch == 6


def test_the_back_off_does_not_hold_for_a_holder_that_is_gone() -> None:
    story = Story().holding(100.0)
    for _ in range(8):
        story.state = replace(story.state, failures=20)
    story.at(101, CommandEnded())
    story.at(101.1, Wrote(seen("", "3", released=True, epoch=5)))
    assert story.state.not_before == 161.0
    story.at(103, Woken())
    story.at(103, Found(seen(OTHER, "4", epoch=6)))
    story.at(118.0, Nothing())
    assert isinstance(story.at(118.0, Found(seen(OTHER, "4", epoch=6))), Write)


def test_a_healthy_minute_makes_the_next_failure_the_first() -> None:
    story = Story().holding(100.0)
    story.state = replace(story.state, failures=5)
    story.at(161, CommandEnded())
    assert story.state.failures == 1


def test_a_release_that_was_refused_is_tried_again_until_it_is_done() -> None:
    story = Story().holding(100.0)
    story.at(101, CommandEnded())
    assert story.at(101.1, Conflict()) == Read()
    again = story.at(101.2, Found(seen(ME, "8", epoch=5)))
    assert isinstance(again, Write) and again.holder == "" and again.base.version == "8"
    story.at(104, Unreachable())
    once_more = story.at(104 + LISTEN_SECONDS, Nothing())
    assert isinstance(once_more, Write) and once_more.holder == ""


def test_stop_keeps_renewing_until_the_command_is_dead() -> None:
    story = Story().holding(100.0)
    renewal = story.at(101, Stop())
    assert isinstance(renewal, Write) and renewal.holder == ME
    story.at(101.1, Wrote(seen(ME, "3", epoch=5)))
    assert story.state.until == 111.0
    release = story.at(102, CommandEnded())
    assert isinstance(release, Write) and release.holder == ""
    assert story.at(102.1, Wrote(seen("", "4", released=True, epoch=5))) == Finish()


def test_stop_of_a_standby_is_the_end() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen()))
    assert story.at(11, Stop()) == Finish()


def test_stop_after_a_loss_waits_for_the_command() -> None:
    story = Story().holding(100.0)
    story.at(101, Woken())
    story.at(101.1, Found(seen()))
    assert isinstance(story.at(101.2, Stop()), Wait)
    assert story.at(101.5, CommandEnded()) == Finish()


def test_a_take_over_whose_answer_was_lost_is_recognised() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen("", released=True)))
    story.at(13.3, Unreachable())
    assert story.at(13.35, Nothing()) == Read()
    mine = seen(ME, "2", epoch=5, written_by=(ME, 5))
    action = story.at(13.4, Found(mine))
    assert action == Write(mine, holder=ME, epoch=5, fresh=False)
    story.at(13.5, Wrote(replace(mine, version="3")))
    assert story.state.epoch == 5 and story.state.until == pytest.approx(23.4)


def test_a_lost_take_over_is_not_mixed_up_with_a_name_put_in_by_hand() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen("", released=True)))
    story.at(13.3, Unreachable())
    assert story.at(13.35, Nothing()) == Read()
    by_hand = seen(ME, "2", epoch=5, written_by=(OTHER, 5))
    assert isinstance(story.at(13.4, Found(by_hand)), Wait)


def _lost_take_over(until: float) -> tuple[Story, LeaseView]:
    """A take-over with epoch 5 that was carried out at 10 s; nothing is heard of it up to `until`.
    Returns the story and the Lease as it left it."""
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen("", released=True)))
    story.at(13.3, Unreachable())
    assert story.at(until, Nothing()) == Read()
    return story, seen(ME, "2", epoch=5, written_by=(ME, 5))


def test_a_lost_take_over_put_back_from_a_dump_is_waited_for() -> None:
    """Somebody else holds the Lease since then, and acts for as long as its permit lasts. On a
    machine that was paused it looks as if hardly any time had gone by."""
    story, mine = _lost_take_over(13.4)
    story.at(13.4, Found(seen(OTHER, "7", epoch=6)))
    put_back = replace(mine, version="8")
    story.at(15.5, Nothing())
    assert isinstance(story.at(15.5, Found(put_back)), Wait)
    story.at(30.4, Nothing())
    assert not isinstance(story.at(30.4, Found(put_back)), Write)
    write = story.at(30.6, Found(put_back))
    assert isinstance(write, Write) and write.epoch == 7 and write.fresh


@pytest.mark.parametrize("fields", [{"version": "8"}, {"version": "8", "uid": "made again"}])
def test_a_lost_take_over_that_is_found_late_is_waited_for(fields: dict[str, str]) -> None:
    """Somebody may have held the Lease meanwhile without being seen, and this one been put back."""
    story, mine = _lost_take_over(60.0)
    late = replace(mine, **fields)
    assert isinstance(story.at(60.1, Found(late)), Wait)
    story.at(75.0, Nothing())
    assert not isinstance(story.at(75.0, Found(late)), Write)
    write = story.at(75.2, Found(late))
    assert isinstance(write, Write) and write.epoch == 6 and write.fresh


@pytest.mark.parametrize("written_by", [(OTHER, 4), (ME, 4)])
def test_the_own_name_written_by_somebody_else_is_waited_for(written_by: tuple[str, int]) -> None:
    story = Story()
    story.at(0, Nothing())
    assert isinstance(story.at(10, Found(seen(ME, written_by=written_by))), Wait)
    assert story.state.epoch == 0


def test_the_epoch_goes_above_every_one_that_was_seen() -> None:
    story = Story()
    story.at(0, Nothing())
    story.at(10, Found(seen(epoch=9)))
    story.at(12, Nothing())
    story.at(12, Found(seen("", "2", epoch=0, uid="new")))
    story.at(27, Nothing())
    write = story.at(27, Found(seen("", "2", epoch=0, uid="new")))
    assert isinstance(write, Write) and write.epoch == 10


def test_a_holder_does_not_let_the_epoch_be_lowered_or_lower_it() -> None:
    for found, expected in ((0, 5), (100, 100)):
        story = Story().holding(100.0)
        story.at(101, Woken())
        write = story.at(101.1, Found(seen(ME, "7", epoch=found)))
        assert isinstance(write, Write) and write.epoch == expected
        story.at(101.2, Wrote(seen(ME, "8", epoch=expected)))
        assert story.state.epoch == 5, "the command keeps the epoch that it was started with"


def test_a_missing_lease_is_looked_for_or_created() -> None:
    story = Story()
    story.at(0, Nothing())
    assert story.at(1, Found(None)) == Wait(3.0)
    assert story.at(3, Nothing()) == Read()
    creating = Story(create_lease=True)
    creating.at(0, Nothing())
    assert creating.at(1, Found(None)) == Create()
    assert creating.at(1.1, Wrote(seen("", epoch=0))) == Wait(3.1), "nobody vouches for it"
    beaten = Story(create_lease=True)
    beaten.at(0, Nothing())
    beaten.at(1, Found(None))
    assert beaten.at(1.1, Conflict()) == Read()


# --- hot mode


def test_hot_takes_an_empty_lease_once_the_command_is_able() -> None:
    story = Story(Mode.HOT)
    story.at(0, Nothing())
    assert isinstance(story.at(1, Found(seen("", epoch=0))), Wait)
    write = story.at(1.2, Able(True))
    assert isinstance(write, Write) and write.epoch == 1
    story.at(1.3, Wrote(seen(ME, "2", epoch=1)))
    assert not story.state.running, "its command does not depend on the Lease"


def test_hot_does_not_wait_for_itself() -> None:
    story = Story(Mode.HOT)
    story.at(0, Nothing())
    story.at(0.5, Able(True))
    write = story.at(1, Found(seen(ME)))
    assert isinstance(write, Write) and write.epoch == 5


def test_hot_waits_for_another_holder() -> None:
    story = Story(Mode.HOT)
    story.at(0, Nothing())
    story.at(0.5, Able(True))
    assert story.at(1, Found(seen(duration=6.0))) == Wait(1.5)


def test_hot_releases_on_stop_before_anything_else() -> None:
    story = Story(Mode.HOT).holding(100.0)
    release = story.at(101, Stop())
    assert isinstance(release, Write) and release.holder == ""
    assert story.at(101.1, Wrote(seen("", "3", released=True, epoch=5))) == Finish()


def test_hot_releases_when_the_command_ends_and_takes_part_again_later() -> None:
    story = Story(Mode.HOT).holding(100.0)
    release = story.at(101, CommandEnded())
    assert isinstance(release, Write) and release.holder == ""
    story.at(101.1, Wrote(seen("", "3", released=True, epoch=5)))
    assert isinstance(story.action, Wait), "not able"
    write = story.at(101.3, Able(True))
    assert isinstance(write, Write) and write.epoch == 6


def test_hot_follows_an_epoch_that_somebody_lifted() -> None:
    story = Story(Mode.HOT).holding(100.0)
    story.at(100.6, Nothing())
    story.at(101, Conflict())
    story.at(101.1, Found(seen(ME, "7", epoch=30)))
    assert story.state.epoch == 30


def test_hot_keeps_the_lease_while_its_command_is_not_ready() -> None:
    story = Story(Mode.HOT).holding(100.0)
    story.at(100.6, Able(False))
    assert story.state.epoch == 5 and not story.state.releasing


# --- the record


def test_written_and_read_again() -> None:
    before = lease.empty("ns", "x")
    before["metadata"] |= {"uid": "u", "resourceVersion": "3", "managedFields": [{}]}
    before["metadata"]["annotations"] = {"keep": "me"}
    before["spec"] = {"strategy": "kept"}
    writing = lease.Writing(ME, holder=ME, epoch=6, duration=15, fresh=True, pod="radio-0")
    after = lease.written(before, writing, 1_700_000_000.25)
    assert after["spec"] == {
        "strategy": "kept",
        "holderIdentity": ME,
        "leaseDurationSeconds": 15,
        "leaseTransitions": 6,
        "renewTime": "2023-11-14T22:13:20.250000Z",
        "acquireTime": "2023-11-14T22:13:20.250000Z",
    }
    assert after["metadata"]["annotations"]["keep"] == "me"
    assert "managedFields" not in after["metadata"] and "managedFields" in before["metadata"]
    assert '"pod":"radio-0"' in after["metadata"]["annotations"][lease.RECORD]
    read = lease.view(after)
    assert (read.holder, read.epoch, read.duration, read.version) == (ME, 6, 15.0, "3")
    assert read.written_by == (ME, 6) and not read.released
    renewed = lease.written(after, replace(writing, fresh=False), 1_700_000_001)
    assert renewed["spec"]["acquireTime"] == after["spec"]["acquireTime"]
    assert renewed["spec"]["renewTime"] == "2023-11-14T22:13:21.000000Z"
    released = lease.view(lease.written(after, replace(writing, holder=""), 1_700_000_002))
    assert released.released and released.holder == "" and released.epoch == 6


def test_a_release_counts_only_for_the_epoch_it_was_written_with() -> None:
    writing = lease.Writing(ME, holder="", epoch=6, duration=15, fresh=False)
    released = lease.written(lease.empty("ns", "x"), writing, 0.0)
    edited = {**released, "spec": {**released["spec"], "leaseTransitions": 7}}
    assert lease.view(released).released
    assert not lease.view(edited).released


def test_a_release_counts_only_for_the_lease_it_was_written_into() -> None:
    """One that is made again from a dump has another uid; its creator may vouch for epoch 0 only."""
    writing = lease.Writing(ME, holder="", epoch=6, duration=15, fresh=False)
    first = {**lease.empty("ns", "x"), "metadata": {"name": "x", "uid": "first"}}
    released = lease.written(first, writing, 0.0)
    assert lease.view(released).released
    again = {**released, "metadata": {**released["metadata"], "uid": "second"}}
    assert not lease.view(again).released
    assert lease.view(lease.written(again, writing, 1.0)).released
    for epoch, believed in ((0, True), (6, False)):
        record = json.dumps({"state": "released", "epoch": epoch})
        made = {
            "metadata": {"uid": "new", "annotations": {lease.RECORD: record}},
            "spec": {"leaseTransitions": epoch},
        }
        assert lease.view(made).released is believed


@pytest.mark.parametrize("holder", [ME, ""])
def test_an_epoch_that_leaves_no_room_for_another_was_put_in_by_hand(holder: str) -> None:
    writing = lease.Writing(ME, holder=holder, epoch=6, duration=15, fresh=True)
    made = lease.written(lease.empty("ns", "x"), writing, 0.0)
    edited = lease.view({**made, "spec": {**made["spec"], "leaseTransitions": 2**31 - 1}})
    assert (edited.epoch, edited.released) == (6, False), "and is waited for, like any edit"
    assert lease.view({"spec": {"leaseTransitions": 2**31 - 1}}).epoch == 0
    far = lease.written(made, replace(writing, epoch=2**31 - 9), 0.0)
    assert lease.view(far).epoch == 2**31 - 9, "an elector came so far"


def test_the_record_remembers_a_duration_that_was_edited() -> None:
    writing = lease.Writing(ME, holder=ME, epoch=6, duration=15, fresh=False)
    held = lease.written(lease.empty("ns", "x"), writing, 0.0)
    assert lease.view({**held, "spec": {**held["spec"], "leaseDurationSeconds": 1}}).duration == 15
    assert lease.view({**held, "spec": {"leaseDurationSeconds": 10**9}}).duration == 600


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"metadata": None, "spec": None},
        {"metadata": {"annotations": {lease.RECORD: "not json"}}, "spec": {}},
        {"metadata": {"annotations": {lease.RECORD: "[1]"}}, "spec": {"leaseTransitions": "x"}},
        {"spec": {"holderIdentity": None, "leaseDurationSeconds": None, "leaseTransitions": -3}},
        {"metadata": {"annotations": {lease.RECORD: '{"epoch":true,"state":"released"}'}}},
        {"metadata": {"annotations": {lease.RECORD: '{"state":' + "[" * 100_000}}},
        {"metadata": {"annotations": {lease.RECORD: '{"epoch":' + "9" * 5000 + "}"}}},
    ],
)
def test_a_lease_full_of_junk_reads_as_empty(junk: dict[str, Any]) -> None:
    read = lease.view(junk)
    assert (read.holder, read.epoch, read.duration, read.released) == ("", 0, 0.0, False)
