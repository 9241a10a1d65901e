# SPDX-License-Identifier: Apache-2.0
"""Breaking a Lease early, rule by rule; under everything at once: test_elector_early_model.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.elector.elector_story import ME, Story, seen

from dpe_elector.election import Mode
from dpe_elector.peer import NO_SIGN, read_sign
from dpe_elector.settings import SettingsRefused, parse
from dpe_elector.steps import Conflict, Found, Nothing, Read, Silent, Unreachable, Wait, Write

POD, HOLDER = "uid-1", "uid-1_0a1b"


def standing_by(*, holder: str = HOLDER, mode: Mode = Mode.HOT) -> Story:
    """It has seen the holder for 40 s; version 9 for the first time at 140."""
    story = Story(mode)
    story.state = story.state.__class__(able=True)
    story.at(99, Nothing())
    story.at(100, Found(seen(holder, "1", duration=6.0)))
    story.at(139.9, Nothing())
    story.at(140, Found(seen(holder, "9", duration=6.0)))
    return story


def look(story: Story, now: float, version: str = "9", holder: str = HOLDER) -> object:
    story.at(now, Nothing())
    return story.at(now, Found(seen(holder, version, duration=6.0)))


def test_on_both_signs_it_is_broken_after_three_left_out_renewals() -> None:
    story = standing_by()
    story.at(140.2, Silent(POD, 145.0))
    assert story.action == Wait(140.5)
    assert look(story, 140.5) == Wait(141.0)
    assert look(story, 141.0) == Wait(141.5)
    write = story.at(141.5, Nothing())
    assert isinstance(write, Write)
    assert (write.base.version, write.holder, write.epoch) == ("9", ME, 5)
    assert write.fresh and write.early


def test_a_sign_that_comes_late_counts_at_once() -> None:
    story = standing_by()
    look(story, 141.9)
    write = story.at(142.0, Silent(POD, 144.0))
    assert isinstance(write, Write) and write.early


def test_without_the_sign_it_waits_for_the_whole_time() -> None:
    story = standing_by()
    for now in (142.0, 144.0, 145.9):
        assert isinstance(look(story, now), Wait)
    write = story.at(146.0, Nothing())
    assert isinstance(write, Write) and not write.early


@pytest.mark.parametrize("sign", [Silent("uid-2", 200.0), Silent("uid", 200.0), NO_SIGN])
def test_another_pods_silence_is_no_sign(sign: Silent) -> None:
    story = standing_by()
    story.at(143, sign)
    assert isinstance(look(story, 143.1), Wait)


def test_a_renewal_begins_it_anew() -> None:
    story = standing_by()
    story.at(140.2, Silent(POD, 200.0))
    assert look(story, 141.4, version="10") == Wait(141.9)
    assert isinstance(look(story, 142.8, version="10"), Wait)
    assert isinstance(story.at(142.9, Nothing()), Write)


def test_a_renewal_that_it_did_not_see_makes_the_write_fail() -> None:
    story = standing_by()
    assert isinstance(story.at(142.0, Silent(POD, 152.0)), Write), "it was cut off itself"
    assert story.at(142.1, Conflict()) == Read()
    assert story.at(142.2, Found(seen(HOLDER, "30"))) == Wait(142.7)


def after_an_outage(sign: Silent = NO_SIGN) -> Story:
    """At 160 the API server answers the first time since 140: nobody has renewed meanwhile."""
    story = standing_by()
    for now in (140.5, 145.0, 150.0, 155.0, 159.0):
        assert story.at(now, sign) == Read()
        assert isinstance(story.at(now + 0.3, Unreachable()), Wait)
    assert isinstance(look(story, 160.0), Wait)
    return story


def test_after_an_outage_a_holder_that_lives_goes_on() -> None:
    story = after_an_outage()
    assert isinstance(look(story, 160.5), Wait)
    assert isinstance(look(story, 161.0, version="10"), Wait), "renewed"
    for now in (161.6, 162.2, 163.0, 165.0, 166.9):
        assert isinstance(look(story, now, version="10"), Wait), now


def test_after_an_outage_a_holder_that_is_gone_is_followed() -> None:
    story = after_an_outage()
    for now in (160.5, 161.0):
        assert isinstance(look(story, now), Wait)
    write = story.at(161.5, Nothing())
    assert isinstance(write, Write) and not write.early, "three renewals were left out"


def test_who_was_cut_off_does_not_break_a_lease_at_its_first_look() -> None:
    story = after_an_outage(Silent(POD, 200.0))
    assert isinstance(look(story, 161.0), Wait)
    assert isinstance(story.at(161.5, Nothing()), Write)


def test_one_call_that_fails_is_no_outage() -> None:
    story = standing_by()
    story.at(140.2, Silent(POD, 200.0))
    assert story.at(140.5, Nothing()) == Read()
    assert isinstance(story.at(141.8, Unreachable()), Wait)
    assert isinstance(look(story, 142.0), Write), "not read for 2 s, and that proves the write"


def test_a_lease_that_was_given_back_during_an_outage_is_taken_at_once() -> None:
    story = standing_by()
    assert story.at(140.5, Nothing()) == Read()
    assert isinstance(story.at(141.8, Unreachable()), Wait)
    story.at(160.0, Nothing())
    assert isinstance(story.at(160.1, Found(seen("", "10", duration=6.0))), Write)


def test_an_old_sign_is_none_and_costs_no_calls() -> None:
    story = standing_by()
    story.at(140.2, Silent(POD, 141.4))
    assert isinstance(look(story, 141.9), Wait)
    assert story.state.silent == ""


def test_not_within_30_seconds_of_the_last_change_of_the_holder() -> None:
    story = standing_by()
    assert isinstance(look(story, 141.0, version="10", holder="uid-3_ff"), Wait)
    story.at(141.1, Silent("uid-3", 300.0))
    version = 10
    for half_seconds in range(59):
        version += half_seconds % 8 == 0  # renewed every 4 s: never long enough for the full time
        now = 141.5 + half_seconds / 2
        assert isinstance(look(story, now, str(version), "uid-3_ff"), Wait), now
    assert isinstance(story.at(171.0, Nothing()), Write)


def test_never_in_exclusive_mode() -> None:
    story = standing_by(mode=Mode.EXCLUSIVE)
    story.at(143, Silent(POD, 200.0))
    assert isinstance(look(story, 143.5), Wait)


def test_who_is_not_fit_takes_nothing() -> None:
    story = standing_by()
    story.state = story.state.__class__(**{**vars(story.state), "able": False})
    assert story.at(143.0, Silent(POD, 145.0)) == Read()
    assert isinstance(story.at(143.1, Found(seen(HOLDER, "9"))), Wait)


def test_the_sign_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "peer.json"
    assert read_sign(str(path), 50.0) == NO_SIGN
    path.write_text(json.dumps({"pod": POD, "at": 50.0}))
    assert read_sign(str(path), 51.9) == Silent(POD, 52.0)
    assert read_sign(str(path), 52.0) == NO_SIGN
    assert read_sign(str(path), 49.9) == NO_SIGN, "from another machine's clock"
    for broken in ("", "{", "[]", '{"pod": "x"}', '{"pod": "x", "at": "soon"}'):
        path.write_text(broken)
        assert read_sign(str(path), 50.0) == NO_SIGN


def test_the_flag_is_for_hot_mode() -> None:
    environment = {"POD_NAMESPACE": "radio", "POD_UID": "u"}
    flags = ["--lease", "x", "--peer-file", "/run/peer", "--", "run"]
    assert parse(["--mode", "hot", *flags], environment).peer_file == "/run/peer"
    with pytest.raises(SettingsRefused, match="--peer-file /run/peer is for --mode hot"):
        parse(flags, environment)
