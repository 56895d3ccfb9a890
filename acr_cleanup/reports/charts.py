"""
Renders the charts of a job summary for GitHub's mermaid: tags by decision, and space by repository.

Mermaid drops a whole chart because of one character that it cannot parse. Therefore a chart
contains only our own words, plain numbers, and names in which every character except letters,
digits and `. _ / -` is replaced. Colours are set, because the default text of the dark theme is
black on black. The oldest names of the chart types are used, because GitHub's mermaid version is
not documented.
https://mermaid.js.org/syntax/pie.html https://mermaid.js.org/syntax/xyChart.html
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from acr_cleanup.core.policy import keep_rule
from acr_cleanup.core.rule_words import ChartGroup, in_words
from acr_cleanup.reports import words
from acr_cleanup.reports.view import View

SLICES = 6
BARS = 10
_WIDTH = 20
"""Length of a full bar in a table, in characters."""
LABEL = 40
"""Maximum length of a bar's label, in characters."""

_RED, _ORANGE, _BLUE, _TEAL, _PURPLE, _GREY = "#cf222e", "#bc4c00", "#0969da", "#1b7c83", "#8250df", "#6e7781"
_LIGHT_BLUE, _GREEN = "#54aeff", "#4d7c0f"
# Every group has one slice. `OTHER` collects the rules that rarely keep a tag.
_COLOURS = {
    ChartGroup.IN_USE: _BLUE,
    ChartGroup.MENTIONED: _LIGHT_BLUE,
    ChartGroup.PULLED: _GREEN,
    ChartGroup.YOUNG: _TEAL,
    ChartGroup.NEWEST: _PURPLE,
    ChartGroup.OTHER: _GREY,
}


class Slice(NamedTuple):
    """One slice: the tags with the same decision."""

    label: str
    tags: int
    colour: str


def decisions(view: View) -> tuple[Slice, ...]:
    """
    Count every tag in exactly one slice: kept tags by their strongest reason. Empty slices are
    omitted.
    """
    kept = Counter[ChartGroup]()
    for tally in view.result.plan.tallies:
        for rule, tags in tally.kept_by.items():
            kept[keep_rule(rule).group] += tags
    policy, total = view.result.plan.policy, view.total
    slices = (
        Slice(view.gone_title, total.gone, _RED),
        Slice("Planned but not deleted", total.left, _ORANGE),
        *(Slice(f"Kept: {in_words(group, policy)}", kept[group], colour) for group, colour in _COLOURS.items()),
    )
    return tuple(part for part in slices if part.tags > 0)


def pie(slices: Sequence[Slice]) -> str:
    """Render the decisions as a pie chart; "" for fewer than two slices."""
    if len(slices) < 2:
        return ""
    colours = {f"pie{number}": part.colour for number, part in enumerate(slices, start=1)}
    look = {"pieSectionTextColor": "#ffffff", "pieOpacity": "1", "pieOuterStrokeWidth": "1px", "pieStrokeWidth": "1px"}
    lines = (f'    "{part.label}" : {part.tags}' for part in slices)
    return _chart({"themeVariables": colours | look}, "pie showData title Tags by decision", *lines)


def table(slices: Sequence[Slice]) -> str:
    """
    Render the decisions as a table with bars, for pages without mermaid; "" for fewer than two
    slices.
    """
    if len(slices) < 2:
        return ""
    total = sum(part.tags for part in slices)
    rows = (
        # Even the smallest slice shows at least one block.
        f"| {part.label} | {part.tags:,} | {'█' * max(1, round(_WIDTH * part.tags / total)):░<{_WIDTH}} |"
        for part in slices
    )
    return "\n".join(("| Tags by decision | Tags | Share |", "| :--- | ---: | :--- |", *rows))


def bars(view: View) -> str:
    """Render the freed space by repository, largest first; "" for fewer than two repositories."""
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
    """
    Make labels that mermaid can parse. They are distinct, because it draws bars with equal labels
    on top of each other.
    """
    labels: list[str] = []
    for name in names:
        shown = re.sub(r"[^A-Za-z0-9._/-]+", "_", name[: 4 * LABEL])
        if len(shown) > LABEL:
            half = (LABEL - 3) // 2
            shown = f"{shown[:half]}...{shown[-half:]}"
        labels.append(f"{shown} ({len(labels) + 1})" if shown in labels or not shown else shown)
    return labels


def _top(value: float) -> float:
    """The end of the axis: a round number just above the longest bar."""
    step = 10.0 ** (len(str(int(value))) - 1)
    return next(
        step * factor for factor in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * factor >= value or factor == 10
    )
