"""
The table of report formats.

A new format is a module with a renderer, and one entry here. `files` writes every entry into the
report folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from acr_cleanup.core.outcome import Result
from acr_cleanup.reports import html, json, markdown
from acr_cleanup.reports.context import Context


@dataclass(frozen=True, slots=True)
class Format:
    """One format of the report of a run."""

    name: str
    """Its name, such as `markdown`."""
    file_name: str
    """Its file in the report folder."""
    render: Callable[[Result, Context], Iterable[str]]
    """Return the text of the file in pieces, in order."""
    input_of_apply: bool = False
    """Can an apply read this file? Then the next run replaces it, but does not remove it first."""


PLAN = Format("plan", "plan.json", lambda result, _: json.render_plan(result), input_of_apply=True)

FORMATS = (
    Format("json", "report.json", lambda result, _: json.render(result)),
    PLAN,
    Format("markdown", "summary.md", lambda result, context: [markdown.render(result, context)]),
    Format("html", "report.html", html.render),
)
