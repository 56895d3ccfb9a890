"""
The outputs of a run for the later steps of a pipeline: names and strings, on every way out.

A pipeline bounds what its outputs may hold, measured as UTF-16 (see `dialect`). A list that would be longer is cut between two of
its tags, stays JSON, and its `-truncated` twin says so; report.json has all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

from acr_cleanup.core.outcome import OutcomeKind, Result, Verdict
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.view import View

NAMES = (
    "result",
    "deleted-tags",
    "deleted-tags-truncated",
    "planned-tags",
    "planned-tags-truncated",
    "deleted-count",
    "planned-count",
    "kept-count",
    "in-use-count",
    "failed-count",
    "deleted-manifests-count",
    "bytes-freed",
    "plan-path",
    "report-path",
)
"""Every output there is, on every path."""

_RESULTS = MappingProxyType(
    {
        Verdict.PLANNED: "dry-run",
        Verdict.APPLIED: "success",
        Verdict.PARTIAL: "partial",
        Verdict.REFUSED: "aborted",
        Verdict.CANCELLED: "aborted",
    }
)

# What a shell, a pipeline's log or a template could take for more than letters is written as JSON's escape, which means the same
# to a JSON reader: whoever echoes an output, or pastes it between quotes, must not run what somebody named a tag.
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._/:@+=,-]|:(?=:)")


def outputs(result: Result, context: Context | None = None, *, limit: int | None = None) -> dict[str, str]:
    """
    Every output of a run. `limit` bounds each list, in UTF-16 code units; by default as the dialect of the context does.

    `result` is `success`, `dry-run`, `partial` (something failed), `aborted` (refused or cancelled), or `failed` (nothing could be
    read at all). `bytes-freed` is an upper bound, and in a dry run what would be freed.
    """
    context, counts = context or Context(), result.counts
    limit = context.dialect.outputs if limit is None else limit
    deleted, deleted_cut = json_list(
        (str(each) for each in result.outcomes if each.tag is not None and each.kind is OutcomeKind.DELETED), limit
    )
    planned, planned_cut = json_list(
        (f"{plan.repository}:{each.tag.name}" for plan in result.plan.repositories for each in plan.deletions), limit
    )
    return {
        "result": "failed" if View(result).ended_early else _RESULTS[result.verdict],
        "deleted-tags": deleted,
        "deleted-tags-truncated": _boolean(deleted_cut),
        "planned-tags": planned,
        "planned-tags-truncated": _boolean(planned_cut),
        "deleted-count": str(counts.deleted),
        "planned-count": str(counts.planned),
        "kept-count": str(counts.kept),
        "in-use-count": str(counts.in_use),
        "failed-count": str(counts.failed),
        "deleted-manifests-count": str(counts.deleted_manifests),
        "bytes-freed": str(counts.bytes),
        "plan-path": context.file("plan.json"),
        "report-path": context.file("report.json"),
    }


def outputs_of_failure() -> dict[str, str]:
    """Every output of a run that never came to a result: a wrong configuration, no login."""
    values = dict.fromkeys(NAMES, "0")
    values |= {name: "" for name in NAMES if name.endswith("-path")}
    values |= {name: "[]" for name in NAMES if name.endswith("-tags")}
    values |= {name: "false" for name in NAMES if name.endswith("-truncated")}
    return values | {"result": "failed"}


def json_list(items: Iterable[str], limit: int) -> tuple[str, bool]:
    r"""
    As many of the strings as fit `limit` characters as a JSON array on one line, and whether any were left out.

    It is ASCII, so characters, bytes and UTF-16 code units are the same.

    >>> json_list(["shop/web:1.0", "shop/web:1.1"], 20)
    ('["shop/web:1.0"]', True)
    >>> json_list(["##[error]"], 99)
    ('["\\u0023\\u0023\\u005berror\\u005d"]', False)
    """
    shown: list[str] = []
    used = len("[]")
    for item in items:
        text = f'"{_UNSAFE.sub(_escaped, item)}"'
        used += len(text) + (1 if shown else 0)
        if used > limit:
            return f"[{','.join(shown)}]", True
        shown.append(text)
    return f"[{','.join(shown)}]", False


def _escaped(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def _boolean(value: bool) -> str:
    return "true" if value else "false"
