# SPDX-License-Identifier: Apache-2.0
"""Findings about a workflow component: what its owner should know and may well leave as it is.

None of them counts for Ready.
"""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from dpe_operator.api import constants
from dpe_operator.api.workflow import SchedulerTemplate, WatcherTemplate
from dpe_operator.builders.workflow_memory import memory_of
from dpe_operator.planning import objects
from dpe_operator.planning.claims import state_claim_findings, state_reclaim_policy
from dpe_operator.planning.conditions import Conditions
from dpe_operator.planning.plan import Notice
from dpe_operator.planning.schedules import Clash, clashes, last_run
from dpe_operator.planning.titles import title_findings, title_notes
from dpe_operator.planning.triggers import latest_gap, missed_trigger
from dpe_operator.planning.workflow_status import Look, crash_message

TITLE_SAFE: Final = "TitleSafe"
SCHEDULES_APART: Final = "SchedulesApart"
DECLARED_VALUES: Final = "DeclaredValues"
TRIGGER_MISSED: Final = "TriggerMissed"
CRASH_LOOPING: Final = "CrashLooping"
_NOT_VERIFIED: Final = "declared, not verified in DPE"


def state_findings(conditions: Conditions, seen: Look) -> None:
    """State all findings that apply to the component."""
    situation, draft = seen.situation, seen.draft
    _declared_values(conditions, seen)
    if isinstance(draft.spec, WatcherTemplate):
        _title(conditions, seen, draft.spec)
    if isinstance(draft.spec, SchedulerTemplate):
        zone = draft.spec.time_zone or "UTC"
        if len(draft.schedules) > 1:
            _apart(conditions, draft.schedules, zone, situation.now)
        elif draft.standby and draft.schedules:
            _trigger(conditions, seen, draft.schedules[0], zone)
    if draft.standby:
        _crash_looping(conditions, seen)
    state_claim_findings(conditions, draft.claims, situation.observed)
    state_reclaim_policy(conditions, situation, draft.claim_refs(situation.namespace))


def _declared_values(conditions: Conditions, seen: Look) -> None:
    """Say which values are handed to DPE, which nobody can see it use."""
    spec = seen.draft.spec
    found = []
    if seen.draft.schedules:
        found.append(constants.ENV_SCHEDULE)
        found.append(constants.ENV_TIME_ZONE)
    if isinstance(spec, WatcherTemplate) and spec.title_template is not None:
        found.append(constants.ENV_TITLE_TEMPLATE)
    if memory_of(spec) is not None:
        found.append(constants.ENV_MEMORY_PATH)
    if found:
        text = f"{', '.join(found)}: {_NOT_VERIFIED}. See that DPE is configured with the same."
        conditions.set(DECLARED_VALUES, None, "NotVerified", text)


def _title(conditions: Conditions, seen: Look, spec: WatcherTemplate) -> None:
    title = spec.title_template
    if title is None:
        text = "No titleTemplate is declared, so whether doubles would be noticed is not known."
        conditions.set(TITLE_SAFE, None, "NotDeclared", text)
        return
    kind = seen.draft.kind
    warnings = list(title_findings(kind, title))
    if warnings:
        text = f"titleTemplate is {title}: {'; '.join(warnings)}"
        conditions.set(TITLE_SAFE, False, "TitleUnsafe", text)
        return
    limit = "It holds off a second workflow only while the first is scheduled or running"
    text = "; ".join([f"{title}: {_NOT_VERIFIED}. {limit}", *title_notes(kind, title)])
    conditions.set(TITLE_SAFE, None, "NotVerified", text)


def _apart(conditions: Conditions, schedules: tuple[str, ...], zone: str, now: datetime) -> None:
    """Say whether members meet when the clocks change; on other days they do not, or the spec
    would have been refused."""
    found = [clash for clash in clashes(schedules, zone, now=now) if clash.clocks_change]
    if not found:
        text = "The schedules never meet within the next 400 days, clock changes included."
        conditions.set(SCHEDULES_APART, True, "Apart", text)
        return
    text = "; ".join(_clash(clash, zone) for clash in found[:3])
    conditions.set(
        SCHEDULES_APART,
        False,
        "MeetWhenClocksChange",
        f"{text}: the clocks change that day, and a workflow may be started twice. Times outside"
        " the hour that is skipped or repeated avoid it",
    )


def _trigger(conditions: Conditions, seen: Look, schedule: str, zone: str) -> None:
    """Say whether a declared trigger fell into the last time in which nobody acted."""
    now = seen.situation.now
    gap = latest_gap(seen.holding)
    missed = None if gap is None else missed_trigger(schedule, zone, gap, now=now)
    if missed is None and _is_still_missed(conditions, schedule, zone, now):
        return
    if gap is None:
        text = "There was no take-over yet, or its elector does not tell when the one before ended."
        conditions.set(TRIGGER_MISSED, None, "NotKnown", text)
        return
    if missed is None:
        text = "No declared trigger fell into the last time in which nobody acted."
        conditions.set(TRIGGER_MISSED, False, "NoneMissed", text)
        return
    local = _local(missed.trigger, zone)
    if missed.came_since is not None:
        text = f"That of {local} was missed; the one of {_local(missed.came_since, zone)} came."
        conditions.set(TRIGGER_MISSED, False, "NextHasCome", text)
        return
    until = f"to {_local(gap.end, zone)}" if gap.end else "on, until now"
    text = (
        f"Nobody acted from {_local(gap.begin, zone)} {until}, so the trigger of {local} was most"
        " likely missed: start that workflow by hand if it is needed. Who cannot accept that takes"
        " mode Concurrent"
    )
    conditions.set(TRIGGER_MISSED, True, "TriggerInTakeOver", text)


def _is_still_missed(conditions: Conditions, schedule: str, zone: str, now: datetime) -> bool:
    """Repeat what was said of an earlier gap, until the next trigger has come: another hand-over
    in between, as an update makes one or two, does not bring the lost one back."""
    before = conditions.before(TRIGGER_MISSED)
    since = objects.moment(before.get("lastTransitionTime"))
    if before.get("status") != "True" or since is None:
        return False
    if last_run(schedule, zone, before=now, after=since) is not None:
        return False
    conditions.set(TRIGGER_MISSED, True, str(before["reason"]), str(before["message"]))
    return True


def _local(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}"


def _crash_looping(conditions: Conditions, seen: Look) -> None:
    if seen.holding.crash_looping:
        text = crash_message(seen.holding)
        conditions.set(CRASH_LOOPING, True, "CommandEnds", text[:1].upper() + text[1:])
    else:
        text = "The command does not keep ending by itself."
        conditions.set(CRASH_LOOPING, False, "Runs", text)


def finding_notices(conditions: Conditions) -> list[Notice]:
    """Return the events about findings that this reconcile makes for the first time."""
    return [
        Notice("Warning", kind, conditions.message(kind))
        for kind in (TRIGGER_MISSED, CRASH_LOOPING)
        if conditions.status(kind) == "True" and conditions.flipped(kind)
    ]


def _clash(clash: Clash, zone: str) -> str:
    local = clash.moment.astimezone(ZoneInfo(zone))
    return f"members {clash.first} and {clash.second} both fire at {local:%Y-%m-%d %H:%M %Z}"
