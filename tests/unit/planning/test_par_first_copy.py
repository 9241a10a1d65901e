# SPDX-License-Identifier: Apache-2.0
"""A copy of PAR files that never was: nobody must take it for one that is on its way."""

from datetime import UTC, datetime, timedelta

from tests.support.par_world import SYNC, ParWorld, par_store, stamp

SET_UP = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
# Due at 3 o'clock in Berlin, started an hour later at most, done an hour after that.
OVERDUE = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def set_up(**spec: object) -> ParWorld:
    """A ParStore whose CronJob was made at SET_UP, and that has never run."""
    world = ParWorld(par_store(**spec))
    world.work()
    world.bind()
    world.get("CronJob", SYNC)["metadata"]["creationTimestamp"] = stamp(SET_UP)
    world.work()
    return world


def test_a_first_copy_that_is_overdue_is_said_and_looked_for_at_that_moment() -> None:
    world = set_up()
    assert world.said("CopyFresh")[:2] == ("Unknown", "NoCopyYet")
    assert world.said("Ready")[0] == "True"

    world.now = datetime(2026, 11, 23, 3, 59, tzinfo=UTC)
    plan = world.work()
    assert world.said("CopyFresh")[0] == "Unknown"
    assert plan.requeue_after is not None and 60 <= plan.requeue_after <= 70

    world.now = OVERDUE
    world.work()
    status, reason, message = world.said("CopyFresh")
    assert (status, reason) == ("False", "NoCopyYet")
    assert "2026-11-22T12:00:00Z" in message
    assert world.said("Ready")[0] == "False" and world.said("Degraded")[0] == "True"

    world.ran()
    world.work()
    assert world.said("CopyFresh")[0] == "True" and world.said("Degraded")[0] == "False"


def test_nothing_is_overdue_while_the_schedule_is_suspended() -> None:
    world = set_up(
        sync={"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "suspend": True},
    )
    world.now = OVERDUE + timedelta(days=30)
    world.work()
    assert world.said("CopyFresh")[:2] == ("Unknown", "NoCopyYet")
    assert world.said("Ready")[0] == "True"
