"""
The two charts of a job summary: tags by decision, and space by repository, for GitHub's mermaid.

Mermaid drops a whole chart for one character that it cannot read. So its text holds words of ours, plain numbers, and names with
everything removed that is not a letter, a digit or one of `. _ / -`. Colours are given, for those of the dark theme are black on
black; the oldest names of the charts are used, for nobody knows which version shows them.
https://mermaid.js.org/syntax/pie.html https://mermaid.js.org/syntax/xyChart.html
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from acr_cleanup.core.policy import ChartGroup, in_words, keep_rule
from acr_cleanup.reports import words
from acr_cleanup.reports.view import View

SLICES = 6
BARS = 10
_WIDTH = 20
"""Letters of a whole bar."""
LABEL = 40
"""Longest name beside a bar, in characters."""

_RED, _ORANGE, _BLUE, _TEAL, _PURPLE, _GREY = "#cf222e", "#bc4c00", "#0969da", "#1b7c83", "#8250df", "#6e7781"
# Every group has a slice of its own; `OTHER` collects the rare rules.
_COLOURS = {ChartGroup.IN_USE: _BLUE, ChartGroup.YOUNG: _TEAL, ChartGroup.NEWEST: _PURPLE, ChartGroup.OTHER: _GREY}


class Slice(NamedTuple):
    """Some of the tags, and what was decided about them."""

    label: str
    tags: int
    colour: str


def decisions(view: View) -> tuple[Slice, ...]:
    """Every tag in exactly one slice, by its strongest reason where it is kept; only slices that have any."""
    kept = Counter[ChartGroup]()
    for tally in view.result.plan.tallies:
        for rule, tags in tally.kept_by.items():
            kept[keep_rule(rule).group] += tags
    policy, total = view.result.plan.policy, view.total
    found = (
        Slice(view.gone_title, total.gone, _RED),
        Slice("Planned but not deleted", total.left, _ORANGE),
        *(Slice(f"Kept: {in_words(group, policy)}", kept[group], colour) for group, colour in _COLOURS.items()),
    )
    return tuple(each for each in found if each.tags > 0)


def pie(slices: Sequence[Slice]) -> str:
    """The decisions as a pie; nothing where there is nothing to compare."""
    if len(slices) < 2:
        return ""
    colours = {f"pie{number}": each.colour for number, each in enumerate(slices, start=1)}
    look = {"pieSectionTextColor": "#ffffff", "pieOpacity": "1", "pieOuterStrokeWidth": "1px", "pieStrokeWidth": "1px"}
    lines = (f'    "{each.label}" : {each.tags}' for each in slices)
    return _chart({"themeVariables": colours | look}, "pie showData title Tags by decision", *lines)


def table(slices: Sequence[Slice]) -> str:
    """The decisions as a table with bars of letters, for a page without mermaid; nothing where there is nothing to compare."""
    if len(slices) < 2:
        return ""
    total = sum(each.tags for each in slices)
    rows = (
        # What there is shows, be it ever so little.
        f"| {each.label} | {each.tags:,} | {'█' * max(1, round(_WIDTH * each.tags / total)):░<{_WIDTH}} |"
        for each in slices
    )
    return "\n".join(("| Tags by decision | Tags | Share |", "| :--- | ---: | :--- |", *rows))


def bars(view: View) -> str:
    """The space of each repository that frees any, most first; nothing for fewer than two."""
    rows = sorted((row for row in view.rows if row.bytes > 0), key=lambda row: (-row.bytes, row.repository))
    if len(rows) < 2:
        return ""
    sizes = [(row.repository, row.bytes) for row in rows[:BARS]]
    labels = _labels([name for name, _ in sizes])
    numbers = [size for _, size in sizes]
    if others := rows[BARS:]:
        labels.append("1 other" if len(others) == 1 else f"{len(others)} others")
        numbers.append(sum(row.bytes for row in others))
    unit, divisor = words.unit(max(numbers))
    values = [number / divisor for number in numbers]
    names = ", ".join(f'"{label}"' for label in labels)
    look = {
        "xyChart": {"width": 800, "height": 70 + 30 * len(values)},
        "themeVariables": {"xyChart": {"backgroundColor": "transparent", "plotColorPalette": _RED}},
    }
    bound = "" if view.exact else ", at most"
    return _chart(
        look,
        "xychart-beta horizontal",
        f'    title "Space {"freed" if view.acted else "that would be freed"} by repository{bound} ({unit})"',
        f"    x-axis [{names}]",
        f"    y-axis 0 --> {_top(max(values)):g}",
        f"    bar [{', '.join(f'{value:.2f}' for value in values)}]",
    )


def _chart(look: dict[str, Any], *lines: str) -> str:
    return "\n".join(["```mermaid", f"%%{{init: {json.dumps(look)}}}%%", *lines, "```"])


def _labels(names: Sequence[str]) -> list[str]:
    """Names that mermaid can read, each another: bars with the same name would lie on one another."""
    found: list[str] = []
    for name in names:
        shown = re.sub(r"[^A-Za-z0-9._/-]+", "_", name[: 4 * LABEL])
        if len(shown) > LABEL:
            half = (LABEL - 3) // 2
            shown = f"{shown[:half]}...{shown[-half:]}"
        found.append(f"{shown} ({len(found) + 1})" if shown in found or not shown else shown)
    return found


def _top(value: float) -> float:
    """Where the axis ends: a round number just above the longest bar."""
    step = 10.0 ** (len(str(int(value))) - 1)
    return next(
        step * factor for factor in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * factor >= value or factor == 10
    )
