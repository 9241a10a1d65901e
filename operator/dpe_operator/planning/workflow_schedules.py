# SPDX-License-Identifier: Apache-2.0
"""Which schedule each pod of a scheduler is given, from what its spec declares."""

from typing import Final

from dpe_operator.api.common import Duration
from dpe_operator.api.workflow import SchedulerTemplate, WorkflowTemplate
from dpe_operator.planning.schedules import check_schedule, staggered

DEFAULT_STAGGER: Final = Duration("30m")


def declared_schedules(spec: WorkflowTemplate) -> tuple[str, ...]:
    """Return the one schedule of Standby mode, or one for each Concurrent member.

    Empty for other components, and where DPE keeps its schedules itself.

    Raises:
        ScheduleError: one cannot be read or staggered; the message holds value and cure.
    """
    if not isinstance(spec, SchedulerTemplate):
        return ()
    if spec.schedules:
        own = tuple(entry.schedule for entry in spec.schedules)
        for line in own:
            check_schedule(line)
        return own
    if spec.schedule is None:
        return ()
    if spec.mode == "Standby":
        check_schedule(spec.schedule)
        return (spec.schedule,)
    stagger = spec.stagger or DEFAULT_STAGGER
    return staggered(spec.schedule, stagger=stagger.seconds, members=spec.wanted_replicas())
