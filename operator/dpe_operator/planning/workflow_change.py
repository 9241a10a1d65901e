# SPDX-License-Identifier: Apache-2.0
"""In which order the pods of a workflow component may change, so that never two act as one.

Two promises hold at every step, whatever is changed half-way:

* Pods of one mode are made only when no pod of the other is left. A candidate that takes the Lease
  beside Concurrent members would do their work a second time.
* Two members act at the same time only if what they are declared to do keeps them apart: their
  schedules never meet, their titles are equal. What a pod does is read from the pod itself, so a
  member that still ends under its former schedule counts with that one.

Where all members have to change and none may go first (two that swap their schedules), one is taken
away, and made anew when the others are done. Nothing is remembered between reconciles.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.planning.objects import dig
from dpe_operator.planning.schedules import ScheduleError, clashes

_ANY_YEAR: Final = datetime(2024, 1, 1, tzinfo=UTC)
_CONTAINER: Final = "dpe"


@dataclass(frozen=True, slots=True)
class Declared:
    """What one member is declared to do; None: nothing is said."""

    schedule: str | None = None
    zone: str | None = None
    title: str | None = None


def declared_in(pod_spec: Any) -> Declared:
    """Read what a pod (or the template of one) is declared to do from its variables."""
    values: dict[str, str] = {}
    for container in dig(pod_spec, "containers", default=[]):
        if container.get("name") == _CONTAINER:
            for variable in container.get("env", []):
                values[variable["name"]] = str(variable.get("value", "")).replace("$$", "$")
    return Declared(
        values.get(constants.ENV_SCHEDULE),
        values.get(constants.ENV_TIME_ZONE),
        values.get(constants.ENV_TITLE_TEMPLATE),
    )


def kept_apart(one: Declared, two: Declared) -> bool:
    """Whether two members may act at the same time.

    Schedules of different zones are not compared but kept from running together: that is only ever
    asked while one zone replaces another.
    """
    if one.title != two.title:
        return False
    if one.schedule is None or two.schedule is None:
        return True
    if one.zone != two.zone:
        return False
    try:
        return not clashes((one.schedule, two.schedule), "UTC", now=_ANY_YEAR)
    except ScheduleError:
        return False


def mode_of(labels: Mapping[str, Any] | None) -> str | None:
    """Return the mode that labels name, in lower case."""
    found = dig(labels, constants.LABEL_MODE)
    return None if found is None else str(found)


@dataclass(frozen=True, slots=True)
class MemberView:
    """What is known of one member.

    `exists`: its Deployment is there and not on its way out. `leaving`: names of pods that belong
    to none, because that is not so. `pending`: it has another template than wanted. `healthy`: its
    pod has been ready for a while. `wanted` None: the member is not wanted any more. `acting`: what
    its pods and its Deployment are declared to do now.
    """

    number: int
    exists: bool
    pending: bool = False
    healthy: bool = False
    hard: bool = False
    troubles: str = ""
    leaving: tuple[str, ...] = ()
    wanted: Declared | None = None
    acting: frozenset[Declared] = frozenset()


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do now: `hold` are members that stay as they are (not there, or unchanged), `remove`
    those whose Deployment goes. `message` is empty when nothing waits. `stopped`: it goes on only
    after somebody has done something."""

    hold: frozenset[int] = frozenset()
    remove: frozenset[int] = frozenset()
    message: str = ""
    stopped: bool = False


class _Changes:
    """Works the steps out: who acts how is what is known, plus what has been decided so far."""

    def __init__(self, views: Sequence[MemberView]) -> None:
        self.views = views
        self.acting = {view.number: set(view.acting) for view in views}
        self.hold: set[int] = set()
        self.remove: set[int] = set()
        self.notes: list[str] = []
        self.stopped = False

    def fits(self, view: MemberView) -> bool:
        """Whether a member may begin with what is wanted of it."""
        assert view.wanted is not None
        return all(
            kept_apart(view.wanted, other)
            for number, found in self.acting.items()
            if number != view.number
            for other in found
        )

    def begin(self, view: MemberView) -> None:
        """A member begins with what is wanted of it; until its pod is replaced it may do both."""
        assert view.wanted is not None
        self.acting[view.number].add(view.wanted)

    def make_missing(self) -> None:
        """Make members that are not there, where nothing of them is left and nothing speaks
        against."""
        for view in self.views:
            if view.wanted is None or view.exists:
                continue
            if view.leaving:
                self.hold.add(view.number)
                self.notes.append(
                    f"member {view.number} is made when pod {', '.join(view.leaving)} is gone"
                )
            elif not self.fits(view):
                self.hold.add(view.number)
                self.notes.append(f"member {view.number} waits until the others have changed")
            else:
                self.begin(view)

    def change_pending(self) -> None:
        """Change those that are not well anyway, else one at a time."""
        pending = [view for view in self.views if view.exists and view.pending and view.wanted]
        if not pending:
            return
        sick = [view for view in pending if not view.healthy]
        unwell = [
            view
            for view in self.views
            if view.exists and view.wanted and not view.pending and not view.healthy
        ]
        chosen = self._first_that_fit(sick, all_of_them=True)
        if not chosen and not sick and not unwell:
            chosen = self._first_that_fit(pending[::-1], all_of_them=False)
        self.hold |= {view.number for view in pending if view not in chosen}
        if chosen:
            self.notes.insert(0, f"updating {_names(chosen)}, one member at a time")
        elif unwell and not sick:
            self._wait_for(unwell)
        else:
            self._take_away((sick or pending)[-1])

    def _first_that_fit(
        self, views: Iterable[MemberView], *, all_of_them: bool
    ) -> list[MemberView]:
        chosen: list[MemberView] = []
        for view in views:
            if (all_of_them or not chosen) and self.fits(view):
                self.begin(view)
                chosen.append(view)
        return chosen

    def _take_away(self, view: MemberView) -> None:
        self.remove.add(view.number)
        self.notes.insert(
            0,
            f"member {view.number} is taken away for a moment, because what is declared now and"
            " what the others still do would start the same workflow twice",
        )

    def _wait_for(self, unwell: Sequence[MemberView]) -> None:
        why = "; ".join(
            f"member {view.number}: {view.troubles or 'not ready yet'}" for view in unwell
        )
        self.stopped = any(view.hard for view in unwell)
        cure = "correct the spec or set it back" if self.stopped else "the others stay until then"
        self.notes.insert(0, f"waiting for {why} ({cure})")


def plan_members(views: Sequence[MemberView]) -> Steps:
    """Decide which members are made, changed or taken away now."""
    changes = _Changes(views)
    changes.make_missing()
    changes.change_pending()
    return Steps(
        frozenset(changes.hold),
        frozenset(changes.remove),
        "; ".join(changes.notes),
        changes.stopped,
    )


def _names(views: Sequence[MemberView]) -> str:
    numbers = " and ".join(str(view.number) for view in views)
    return f"{'member' if len(views) == 1 else 'members'} {numbers}"
