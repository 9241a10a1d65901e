# SPDX-License-Identifier: Apache-2.0
"""The figures as a picture: a bar from the median to the largest gap, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from dpe_bench.cases import subjects_with

_COLOURS = ("#0b6e4f", "#5aa469", "#c1666b", "#d4a24c")  # told apart by people who see no red too
_LEFT, _RIGHT, _ROW, _TOP = 250, 90, 16, 56
_WIDTH = 960
_MIN_MS = 1.0


def svg(results: Sequence[dict[str, Any]]) -> str:
    """Draw the gaps as seen from the cluster's own network; one row a scenario and subject."""
    rows = [one for one in results if one["entry"] == "cluster"]
    top_ms = 10 ** math.ceil(math.log10(max([one["gap_ms"]["max"] for one in rows] + [1000.0])))
    scenarios = list(dict.fromkeys(one["scenario"] for one in rows))
    height = _TOP + len(rows) * _ROW + len(scenarios) * 10 + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="11" role="img" '
        'aria-label="Longest time without an answer by scenario and subject">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_legend(),
        *_grid(top_ms, height),
    ]
    y = _TOP
    for scenario in scenarios:
        parts.append(f'<text x="8" y="{y + 12}" font-weight="bold">{escape(scenario)}</text>')
        for one in (row for row in rows if row["scenario"] == scenario):
            parts += _bar(one, y, top_ms)
            y += _ROW
        y += 10
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(milliseconds: float, top_ms: float) -> float:
    share = math.log10(max(milliseconds, _MIN_MS) / _MIN_MS) / math.log10(top_ms / _MIN_MS)
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _legend() -> list[str]:
    parts = ['<text x="8" y="18" font-size="13">Longest time without an answer, ms</text>']
    for number, name in enumerate(subjects_with("servers")):
        x = 250 + number * 175
        parts.append(f'<rect x="{x}" y="9" width="10" height="10" fill="{_COLOURS[number]}"/>')
        parts.append(f'<text x="{x + 15}" y="18">{name}</text>')
    return parts


def _grid(top_ms: float, height: int) -> list[str]:
    parts = []
    for power in range(round(math.log10(top_ms)) + 1):
        x = _x(10**power, top_ms)
        parts.append(
            f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 24}" stroke="#dddddd"/>'
            f'<text x="{x}" y="{height - 10}" text-anchor="middle">{10**power:,}</text>'
        )
    return parts


def _bar(one: dict[str, Any], y: int, top_ms: float) -> list[str]:
    colour = _COLOURS[list(subjects_with("servers")).index(one["subject"])]
    middle, end = (_x(one["gap_ms"][name], top_ms) for name in ("p50", "max"))
    bounds = one["gap_ms"]["at_least"]
    label = f"{one['gap_ms']['max']:,.0f}" + (" or more" if "max" in bounds else "")
    hollow = f'fill="#ffffff" stroke="{colour}" stroke-width="2"'
    dot = hollow if "p50" in bounds else f'fill="{colour}"'
    return [
        f'<rect x="{middle}" y="{y + 3}" width="{max(end - middle, 1):.1f}" height="9" '
        f'fill="{colour}" fill-opacity="0.45"/>',
        f'<circle cx="{middle}" cy="{y + 7.5}" r="4.5" {dot}/>',
        f'<text x="{end + 6:.1f}" y="{y + 11}">{label} ({one["runs"]})</text>',
    ]
