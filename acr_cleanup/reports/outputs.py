"""
The outputs of a run for later steps of a pipeline.

Every output is set, also when the run fails. Pipelines limit the size of outputs, measured as
UTF-16 (see `dialect`). A list that is too long is cut between two tags, so that it is still valid
JSON, and its `-truncated` output is true. report.json has all tags.
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
    "has-changes",
    "deleted-tags",
    "deleted-tags-truncated",
    "planned-tags",
    "planned-tags-truncated",
    "deleted-count",
    "planned-count",
    "planned-manifests-count",
    "kept-count",
    "in-use-count",
    "failed-count",
    "deleted-manifests-count",
    "bytes-freed",
    "plan-path",
    "report-path",
)
"""The names of all outputs."""

_RESULTS = MappingProxyType(
    {
        Verdict.PLANNED: "dry-run",
        Verdict.APPLIED: "success",
        Verdict.PARTIAL: "partial",
        Verdict.REFUSED: "aborted",
        Verdict.CANCELLED: "aborted",
    }
)

# Characters that a shell, a pipeline's log or a template could interpret. They are written as JSON
# escapes, which a JSON reader decodes. Without this, a step that echoes an output, or pastes it
# between quotes, could execute the name of a tag.
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._/:@+=,-]|:(?=:)")


def outputs(result: Result, context: Context | None = None, *, limit: int | None = None) -> dict[str, str]:
    """
    Return every output of a run.

    `result` is `success`, `dry-run`, `partial` (items failed), `aborted` (refused or cancelled) or
    `failed` (nothing could be read). `bytes-freed` is an upper bound; in a dry run, of the space
    that would be freed.

    `limit`: maximum length of each list, in UTF-16 code units; by default that of the dialect.
    """
    context, counts = context or Context(), result.counts
    limit = context.dialect.outputs if limit is None else limit
    deleted, deleted_cut = json_list(
        (str(item) for item in result.outcomes if item.tag is not None and item.kind is OutcomeKind.DELETED), limit
    )
    planned, planned_cut = json_list(
        (f"{plan.repository}:{item.tag.name}" for plan in result.plan.repositories for item in plan.deletions), limit
    )
    return {
        "result": "failed" if View(result).ended_early else _RESULTS[result.verdict],
        "has-changes": _boolean(result.plan.has_changes),
        "deleted-tags": deleted,
        "deleted-tags-truncated": _boolean(deleted_cut),
        "planned-tags": planned,
        "planned-tags-truncated": _boolean(planned_cut),
        "deleted-count": str(counts.deleted),
        "planned-count": str(counts.planned),
        "planned-manifests-count": str(result.plan.manifests),
        "kept-count": str(counts.kept),
        "in-use-count": str(counts.in_use),
        "failed-count": str(counts.failed),
        "deleted-manifests-count": str(counts.deleted_manifests),
        "bytes-freed": str(counts.bytes),
        "plan-path": context.file("plan.json"),
        "report-path": context.file("report.json"),
    }


def outputs_of_failure() -> dict[str, str]:
    """Return every output of a run without a result, for example after a failed login."""
    values = dict.fromkeys(NAMES, "0")
    values |= {name: "" for name in NAMES if name.endswith("-path")}
    values |= {name: "[]" for name in NAMES if name.endswith("-tags")}
    values |= {name: "false" for name in NAMES if name.endswith(("-truncated", "-changes"))}
    return values | {"result": "failed"}


def json_list(items: Iterable[str], limit: int) -> tuple[str, bool]:
    r"""
    Return a JSON array on one line with as many strings as fit, and whether any were omitted.

    `limit`: maximum length of the array. The array is ASCII, so characters, bytes and UTF-16 code
    units are the same number.

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
