# SPDX-License-Identifier: Apache-2.0
"""What HAProxy answers on its command socket and what it is told there, as text: pure functions."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dpe_balancer.drain import EndWithAnswer, Fence
from dpe_balancer.model import (
    Action,
    CutSessions,
    Enable,
    HoldBack,
    KeepUp,
    Late,
    MemberState,
    Release,
    Seen,
    SetActive,
)

_GOOD = re.compile(r"proc\.good_(\d+): type=sint value=<(\d+)>")
# What `check_status` says where a connection was taken and then nothing came in time: the member is
# there. (L4TOUT is not among them: that is what a machine looks like that is gone.)
_LATE: Mapping[str, Late] = {"L6TOUT": "handshake", "L7TOUT": "answer"}
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class HaproxyFailure(Exception):
    """HAProxy did not answer on its socket, or refused a command; says which."""


@dataclass(frozen=True)
class Names:
    """How haproxy.cfg calls things: the table is `backend`, a member's own backend has its name
    appended, the frontend `-in`."""

    backend: str
    ids: Mapping[str, int]

    @property
    def frontend(self) -> str:
        """The frontend that clients come in by."""
        return f"{self.backend}-in"

    def server(self, member: str, *, first_in: str | None = None) -> str:
        """A member as `BACKEND/SERVER`: in its own backend, or as backup in another's."""
        return f"{self.backend}-{first_in or member}/{member}"


def read_seen(names: Names, stat: str, rest: str) -> Seen:
    """One look at HAProxy, from the answers to `show stat` (frontends, servers), and `show table`
    with the `get var` of each member's good checks. HaproxyFailure when a member is missing in it.
    """
    states: dict[str, MemberState] = {}
    late: dict[str, Late] = {}
    sessions, answers = dict.fromkeys(names.ids, 0), dict.fromkeys(names.ids, 0)
    disabled, held = set(), set()
    fenced = False
    rows = list(_rows(stat))
    for row in rows:
        proxy, member = row["pxname"], row["svname"]
        if member not in names.ids or not proxy.startswith(f"{names.backend}-"):
            continue
        sessions[member] += int(row["scur"] or 0)
        answers[member] += _answers(row)
        if proxy == f"{names.backend}-{member}":
            states[member] = member_state(row["status"], row["check_status"])
            late |= _late(member, row)
            if row["status"] == "MAINT":
                disabled.add(member)
        else:  # a backup
            if row["weight"] == "0":
                held.add(member)
            # taken out itself, and not with its own check
            fenced = fenced or row["status"] == "MAINT"
    missing = names.ids.keys() - states.keys()
    if missing:
        raise HaproxyFailure(f"HAProxy does not know {', '.join(sorted(missing))}")
    return Seen(
        states,
        sessions,
        _entry(names, rest),
        frozenset(disabled),
        held=frozenset(held),
        goods=_goods(names, rest),
        answers=answers,
        ends_with_answer=_word(rest, "gpt0") not in (None, "0"),
        fenced=fenced,
        full=_is_full(names, rows),
        late=late,
    )


def member_state(status: str, check: str) -> MemberState:
    """A member's health from the columns `status` and `check_status` of `show stat`.

    HAProxy takes a member as up until its first check, which we do not: UNKNOWN. A name that
    cannot be resolved is DOWN.
    """
    if "resolution" in status:
        return "DOWN"
    if status.startswith("MAINT") or check.lstrip("* ") in ("", "INI"):
        return "UNKNOWN"
    return "UP" if status.startswith("UP") else "DOWN"


def _late(member: str, row: Mapping[str, str]) -> dict[str, Late]:
    """The member and how it was late, if its last check failed so and it is UP still ("UP 1/3")."""
    kind = _LATE.get(row["check_status"].lstrip("* "))
    return {member: kind} if kind is not None and row["status"].startswith("UP ") else {}


def _is_full(names: Names, rows: Iterable[Mapping[str, str]]) -> bool:
    """Whether the clients' frontend has as many connections as its `maxconn`: HAProxy accepts no
    more until one is closed."""
    return any(
        0 < int(row["slim"] or 0) <= int(row["scur"] or 0)
        for row in rows
        if (row["pxname"], row["svname"]) == (names.frontend, "FRONTEND")
    )


def frontend_sessions(names: Names, stat: str) -> int:
    """Open client connections, from the answer to `show stat` (frontends).

    Raises HaproxyFailure when the frontend is missing in it.
    """
    for row in _rows(stat):
        if row["pxname"] == names.frontend:
            return int(row["scur"] or 0)
    raise HaproxyFailure(f"HAProxy does not know {names.frontend}")


def commands(names: Names, action: Action | EndWithAnswer | Fence) -> list[str]:
    """The runtime commands that carry out an action."""
    if isinstance(action, SetActive):
        return [f"set table {names.backend} key 1 data.server_id {names.ids[action.member]}"]
    if isinstance(action, CutSessions):
        return [
            f"shutdown sessions server {names.server(action.member, first_in=owner)}"
            for owner in names.ids
        ]
    if isinstance(action, HoldBack | Release):
        weight = 0 if isinstance(action, HoldBack) else 1
        owner = next(name for name in names.ids if name != action.member)
        return [f"set server {names.server(action.member, first_in=owner)} weight {weight}"]
    if isinstance(action, EndWithAnswer):
        return [f"set table {names.backend} key 1 data.gpt0 {int(action.on)}"]
    if isinstance(action, Fence):
        state = "maint" if action.on else "ready"
        pairs = [(owner, other) for owner in names.ids for other in names.ids if other != owner]
        return [
            f"set server {names.server(other, first_in=owner)} state {state}"
            for owner, other in pairs
        ]
    assert isinstance(action, Enable | KeepUp)
    what = "state ready" if isinstance(action, Enable) else "health up"
    return [f"set server {names.server(action.member)} {what}"]


def _rows(stat: str) -> Iterable[dict[str, str]]:
    for row in csv.DictReader(io.StringIO(stat.lstrip("# "))):
        if None in row.values():  # it has fewer columns than the first line
            raise HaproxyFailure("HAProxy ended within its answer")
        yield row


def _entry(names: Names, table: str) -> str | None:
    number = _word(table, "server_id")
    return next((name for name, id in names.ids.items() if str(id) == number), None)


def _word(table: str, key: str) -> str | None:
    """The value of `key=value` in the answer to `show table`."""
    words = (word.partition("=") for word in table.split())
    return next((value for name, _, value in words if name == key), None)


def older_than(names: Names, sessions: str, seconds: float) -> list[str]:
    """Ids of the clients' sessions that are open for at least `seconds`, from the answer to
    `show sess`. HAProxy counts whole seconds."""
    found = []
    for line in sessions.splitlines():
        words = line.split()
        fields = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        if fields.get("fe") == names.frontend and _seconds(fields.get("age", "")) >= int(seconds):
            found.append(words[0].rstrip(":"))
    return found


def _seconds(age: str) -> float:
    """Seconds of an age as HAProxy writes it, `1h5m` or `7s`."""
    parts = re.findall(r"([0-9]+)([dhms])", age)
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))


def _answers(row: Mapping[str, str]) -> int:
    """Answers of a member to clients, those that say "I am broken" left out; in TCP mode, where
    HAProxy sees none, its connections."""
    counted = [row.get(f"hrsp_{kind}xx") or "" for kind in (1, 2, 3, 4)]
    return sum(map(int, counted)) if all(counted) else int(row.get("stot") or 0)


def _goods(names: Names, text: str) -> dict[str, int]:
    """Good checks so far: haproxy.cfg counts them in a variable for each member."""
    found = {int(number): int(count) for number, count in _GOOD.findall(text)}
    return {name: found.get(number, 0) for name, number in names.ids.items()}
