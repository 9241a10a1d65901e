# SPDX-License-Identifier: Apache-2.0
"""What a client saw, as figures: failures, gaps, members, switches. Pure functions over records."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

# The ways a client uses connections, measured apart: an outage looks different to each.
_NAMES = {"keepAlive": "kept connections", "fresh": "new connections", "slow": "slow requests"}
CLASSES = tuple(_NAMES)
# The classes whose gap is the client's; slow requests are a second apart by themselves.
GAP_CLASSES = ("keepAlive", "fresh")
# Two answers of a member belong together when this close: longer than a slow request takes.
_BRIDGE = 1.5
# So long, and for so many requests in a row, one member alone answers only if the load was switched
# to it: where two share the work, each soon gets a request again.
_TURN_SECONDS = 0.25
_TURN_REQUESTS = 10
# Before the first success and after the last one, so many seconds tell an outage from connections
# that are being opened, and from the pause between two requests.
_CUT_SHORT = 1.0


@dataclass(frozen=True)
class Record:
    """One request of the load, with all its attempts; times in seconds since the run began.

    `due` is when it was to be sent, `sent` when its last attempt was, `done` when it was over.
    """

    kind: str
    due: float
    sent: float
    done: float
    ok: bool
    attempts: int
    member: str = ""
    request_id: str = ""

    @property
    def retried(self) -> bool:
        """Whether it would have failed in a client that does not retry."""
        return self.attempts > 1 or not self.ok


@dataclass(frozen=True)
class Change:
    """The active member changed, as seen at `at` seconds."""

    at: float
    before: str
    after: str


@dataclass(frozen=True)
class Served:
    """A request that a member answered: when it was sent (or arrived) and when it was over."""

    sent: float
    done: float
    member: str


def member_changes(served: Iterable[Served], *, tolerance: float = 0.0) -> list[Change]:
    """Find the changes of the active member; a request to the former member shows as two more.

    A request counts for a change only when it was sent after the present member's first answer: one
    that was under way already says nothing about who is active. `tolerance` (seconds) is for clocks
    that do not agree.
    """
    changes: list[Change] = []
    active = ""
    for one in _in_charge(served, tolerance=tolerance):
        if active and one.member != active:
            changes.append(Change(one.done, active, one.member))
        active = one.member
    return changes


def overlap_seconds(served: Iterable[Served]) -> float:
    """Return the seconds in which two members answered requests sent after the other's answers.

    A member's answers are one stretch as long as not more than `_BRIDGE` lies between two of them,
    unless they are of two turns (`_is_turn`) with another member's turn between them. Answers to
    requests that were under way when another member took over do not count; so a clean switch, and
    the one back, overlap by exactly 0.
    """
    in_charge = _in_charge(served, tolerance=0.0)
    runs = [list(run) for _, run in groupby(in_charge, key=lambda one: one.member)]
    edges = sorted(
        edge
        for own in _pieces(runs).values()
        for begin, end in _stretches(own)
        for edge in ((begin, 1), (end, -1))
    )
    total, open_now, since = 0.0, 0, 0.0
    for at, step in edges:
        if open_now > 1:
            total += at - since
        open_now, since = open_now + step, at
    return total


@dataclass(frozen=True)
class _Piece:
    """Answers of one member, none of the others' turns between them; `turn`: it had one itself."""

    begin: float
    end: float
    turn: bool


def _pieces(runs: Sequence[Sequence[Served]]) -> dict[str, list[_Piece]]:
    """Put the runs of each member together over those of others that are no turns."""
    found: dict[str, list[_Piece]] = {}
    turns, turns_until = 0, dict[str, int]()
    for place, run in enumerate(runs):
        # The beginning and the end of the load cut a turn short.
        turn = place in (0, len(runs) - 1) or _is_turn(run, runs[place + 1])
        member, begin, end = run[0].member, run[0].done, run[-1].done
        own = found.setdefault(member, [])
        if own and begin - own[-1].end <= _BRIDGE and turns == turns_until[member]:
            own[-1] = _Piece(own[-1].begin, end, own[-1].turn or turn)
        else:
            own.append(_Piece(begin, end, turn))
        turns += turn
        turns_until[member] = turns
    return found


def _is_turn(run: Sequence[Served], following: Sequence[Served]) -> bool:
    """Whether the member of a run of answers was the only one that requests were sent to, for a
    while: from its first answer until the first request that another member answered next."""
    begin, end = run[0].done, following[0].sent
    asked = sum(begin <= one.sent < end for one in run)
    return end - begin >= _TURN_SECONDS and asked >= _TURN_REQUESTS


def _stretches(own: Sequence[_Piece]) -> list[tuple[float, float]]:
    """Put pieces of a member together over others' turns, unless it had turns before and after:
    those are switches there and back. Single answers amid another's turn are none."""
    found = [(own[0].begin, own[0].end)]
    for before, after in pairwise(own):
        if after.begin - before.end <= _BRIDGE and not (before.turn and after.turn):
            found[-1] = (found[-1][0], after.end)
        else:
            found.append((after.begin, after.end))
    return found


def _in_charge(served: Iterable[Served], *, tolerance: float) -> Iterator[Served]:
    """Yield, by the time of their answers, those that say who is active.

    A request that was under way when another member answered for the first time says nothing.
    """
    active, since = "", float("-inf")
    for one in sorted(served, key=lambda request: request.done):
        if one.member != active:
            if active and one.sent <= since + tolerance:
                continue
            active, since = one.member, one.done
        yield one


def longest_gap(successes: Sequence[float]) -> tuple[float, float]:
    """Return (length, begin) in seconds of the longest time between two successes, or (0, 0)."""
    times = sorted(successes)
    return max(((after - before, before) for before, after in pairwise(times)), default=(0.0, 0.0))


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below or at which `share` (0 to 1) of the values are; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(round(share * len(ordered), 6)) - 1)]


def gap_until(successes: Sequence[float], until: float) -> tuple[float, float, bool]:
    """Return (length, begin, over) of the longest gap of a run that ended at `until`.

    What lies before the first success counts too, and what follows the last one, if it is longer
    than a second: an outage at either end of the run must not look like none. After `until`
    nothing new is sent, so a success that comes later says nothing about the time between; it only
    ends an outage that was there before. Where none does, `over` is False: the gap is at least
    that long. Without any success the whole run is the gap.
    """
    if not successes:
        return until, 0.0, False
    in_time = [at for at in successes if at <= until]
    late = min((at for at in successes if at > until), default=None)
    first, last = min(in_time, default=0.0), max(in_time, default=0.0)
    gaps = [(*longest_gap(in_time), True)]
    if first > _CUT_SHORT:
        gaps.append((first, 0.0, True))
    if until - last > _CUT_SHORT:
        gaps.append(((until if late is None else late) - last, last, late is not None))
    return max(gaps, key=lambda gap: gap[0])


def _class_figures(records: Sequence[Record], until: float) -> dict[str, Any]:
    good = [record for record in records if record.ok]
    gap, gap_at, over = gap_until([record.done for record in good], until)
    # From when it was due: a client that had to wait for an outage counts that too.
    latencies = [record.done - record.due for record in good]
    return {
        "requests": len(records),
        "succeeded": len(good),
        "failedWithoutRetry": sum(record.retried for record in records),
        "failedAfterRetries": len(records) - len(good),
        "longestGapMilliseconds": _ms(gap),
        "longestGapAtSecond": round(gap_at, 3),
        "longestGapIsOver": over,
        "p50Milliseconds": _ms(percentile(latencies, 0.50)),
        "p99Milliseconds": _ms(percentile(latencies, 0.99)),
        "maxMilliseconds": _ms(max(latencies, default=None)),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _undisturbed(records: Sequence[Record], seconds: float) -> dict[str, Any]:
    """The figures of the first `seconds` of a run, before anything was broken on purpose."""
    part = [record for record in records if record.done <= seconds]
    # Also of a kind of connection all of whose requests hung for the whole part.
    kinds = {record.kind for record in records if record.due < seconds}.intersection(GAP_CLASSES)
    gaps = [
        gap_until([record.done for record in part if record.ok and record.kind == kind], seconds)
        for kind in kinds
    ]
    return {
        "seconds": round(seconds, 3),
        "requests": len(part),
        "failedWithoutRetry": sum(record.retried for record in part),
        "failedAfterRetries": sum(not record.ok for record in part),
        "gapMilliseconds": _ms(max((length for length, _, _ in gaps), default=None)),
    }


def _classes(records: Sequence[Record], until: float) -> dict[str, dict[str, Any]]:
    by_kind = {kind: [record for record in records if record.kind == kind] for kind in CLASSES}
    return {kind: _class_figures(found, until) for kind, found in by_kind.items() if found}


def summarize(
    records: Sequence[Record],
    *,
    seconds: float,
    until: float | None = None,
    undisturbed: float = 0.0,
) -> dict[str, Any]:
    """Put the records of a run into figures, as docs/reference/prober.md describes them.

    Args:
        records: all requests of the run.
        seconds: how long it took, the last answers included.
        until: when it stopped sending; None: `seconds`.
        undisturbed: length of the first part that is reported apart, to compare with; 0: none.
    """
    until = seconds if until is None else until
    good = [record for record in records if record.ok]
    over_time: list[dict[str, int]] = [{} for _ in range(int(seconds) + 1)]
    for record in good:
        bucket = over_time[min(int(record.done), len(over_time) - 1)]
        bucket[record.member] = bucket.get(record.member, 0) + 1
    served = [Served(record.sent, record.done, record.member) for record in good]
    classes = _classes(records, until)
    counted = [classes[kind] for kind in GAP_CLASSES if kind in classes]
    return {
        "seconds": round(seconds, 3),
        "requests": len(records),
        "succeeded": len(good),
        "failedWithoutRetry": sum(record.retried for record in records),
        "failedAfterRetries": len(records) - len(good),
        "retries": sum(record.attempts - 1 for record in records),
        "gapMilliseconds": max((one["longestGapMilliseconds"] for one in counted), default=None),
        "gapIsOver": all(one["longestGapIsOver"] for one in counted),
        "overlapMilliseconds": _ms(overlap_seconds(served)),
        **({"undisturbed": _undisturbed(records, min(undisturbed, until))} if undisturbed else {}),
        "classes": classes,
        "members": dict(sorted(Counter(record.member for record in good).items())),
        "membersOverTime": [
            {"second": second, **counts} for second, counts in enumerate(over_time)
        ],
        "switches": [
            {"atSecond": round(change.at, 3), "from": change.before, "to": change.after}
            for change in member_changes(served)
        ],
    }


def _gap_text(summary: dict[str, Any]) -> str:
    """The gap that counts, of kept and new connections the larger, beside that of no fault."""
    text = _told(summary["gapMilliseconds"]) + ("" if summary["gapIsOver"] else " or more")
    if untouched := summary.get("undisturbed"):
        text += f"; {_told(untouched['gapMilliseconds'])} in the first {untouched['seconds']:g} s"
    return text


def _told(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:.0f} ms"


def table(summary: dict[str, Any]) -> str:
    """Lay the figures out for a person."""
    heads = (
        "",
        "requests",
        "failed once",
        "failed for good",
        "longest gap",
        "median",
        "99 %",
        "slowest",
    )
    rows: list[tuple[str, ...]] = [heads]
    for kind, figures in summary["classes"].items():
        rows.append((
            _NAMES[kind], str(figures["requests"]),
            str(figures["failedWithoutRetry"]), str(figures["failedAfterRetries"]),
            *(_told(figures[name]) for name in (
                "longestGapMilliseconds", "p50Milliseconds", "p99Milliseconds", "maxMilliseconds")),
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines.append(f"longest gap  {_gap_text(summary)}")
    members = (
        ", ".join(f"{name}: {count}" for name, count in summary["members"].items()) or "nobody"
    )
    lines.append(f"answered by  {members}")
    for change in summary["switches"]:
        lines.append(
            f"switch       at {change['atSecond']:.2f} s from {change['from']} to {change['to']}"
        )
    for kind, count in summary.get("errorKinds", {}).items():
        lines.append(f"error        {kind}: {count} attempt(s)")
    for error in summary.get("errors", [])[:3]:
        lines.append(f"             first at {error['at']}: {error['kind']} ({error['text']})")
    return "\n".join(lines)
