"""
The Log Analytics workspace of the registry: its events, and a small engine for the queries about them.

The columns are those of https://learn.microsoft.com/azure/azure-monitor/reference/tables/containerregistryrepositoryevents
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

JSON = dict[str, Any]

TABLE = "ContainerRegistryRepositoryEvents"
COLUMNS: dict[str, str] = {"TimeGenerated": "datetime"} | dict.fromkeys(
    (
        *("OperationName", "Repository", "Tag", "Digest", "Identity", "UserAgent", "CallerIpAddress", "LoginServer"),
        *("MediaType", "ArtifactType", "ResultType", "ResultDescription", "Region", "_ResourceId"),
    ),
    "string",
)


class QueryError(Exception):
    """The engine does not know this query."""


@dataclass(slots=True)
class LogsState:
    """
    The workspace, and the diagnostic settings of the registry.

    Without a setting, nothing is logged.

    settings: as ARM shows them; `enable` adds the usual one.
    exists: whether the workspace exists; it may have been deleted or moved.
    workspace_rights: whether only rights on the workspace count, not those on the registry.
    names_as_asked: whether a pull is logged with the name that was asked for only, without its digest.
    table_exists: whether the workspace has ever received an event.
    partial: the message with which queries are answered in part; "" if they succeed.
    """

    workspace: str = (
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-logs"
        "/providers/Microsoft.OperationalInsights/workspaces/logs"
    )
    settings: list[JSON] = field(default_factory=list)
    rows: list[JSON] = field(default_factory=list)
    retention_days: int = 365
    exists: bool = True
    workspace_rights: bool = False
    names_as_asked: bool = False
    table_exists: bool = True
    partial: str = ""
    largest_rows: int = 500_000
    largest_bytes: int = 100 * 1024 * 1024

    def enable(self, **setting: Any) -> JSON:
        """Add a diagnostic setting; return it, so that a test can damage it. `setting`: its properties."""
        properties = {
            "workspaceId": self.workspace,
            "logs": [{"category": TABLE, "categoryGroup": None, "enabled": True}],
            "metrics": [],
            "logAnalyticsDestinationType": None,
            **setting,
        }
        name = f"to-logs-{len(self.settings)}"
        self.settings.append(
            {"id": name, "name": name, "type": "Microsoft.Insights/diagnosticSettings", "properties": properties}
        )
        return self.settings[-1]

    @property
    def is_enabled(self) -> bool:
        return bool(self.settings)

    def write(
        self, operation: str, at: datetime, repository: str = "", tag: str = "", digest: str = "", **more: str
    ) -> JSON:
        """Add one event. `more`: further columns."""
        row = dict.fromkeys(COLUMNS, "") | {
            "TimeGenerated": at,
            "OperationName": operation,
            "Repository": repository,
            "Tag": tag,
            "Digest": digest,
            "Identity": "99999999-aaaa-bbbb-cccc-000000000001",
            "UserAgent": "containerd/1.7.22",
            "CallerIpAddress": "203.0.113.7",
            "ResultType": "HttpStatusCode",
            "ResultDescription": "200",
            **more,
        }
        self.rows.append(row)
        return row

    def query(self, text: str, timespan: str | None, now: datetime) -> JSON:
        """
        Return the body of the answer. Raises `QueryError`.

        timespan: `BEGIN/END` in ISO 8601, as clients send it.
        """
        if not (self.exists and self.table_exists):
            raise QueryError(f"Failed to resolve table or column expression named '{TABLE}'")
        begin, end = _parse_timespan(timespan)
        begin = max(begin, now - timedelta(days=self.retention_days))
        rows = [row for row in self.rows if begin <= row["TimeGenerated"] <= end]
        table = run(text, rows)
        body: JSON = {"tables": [table]}
        limit, kind = self.largest_rows, "records"
        whole = len(table["rows"])
        del table["rows"][limit:]
        if (size := len(json.dumps(table["rows"]))) > self.largest_bytes:
            del table["rows"][max(1, whole * self.largest_bytes // size) :]
            limit, kind = self.largest_bytes, "bytes"
        message = (
            f"The results of this query exceed the set limit of {limit} {kind}." if len(table["rows"]) < whole else ""
        )
        if message := self.partial or message:
            inner = {"code": "-2133196797", "message": message, "severity": 2, "severityName": "Error"}
            detail = {
                "code": "EngineError",
                "message": "Something went wrong processing your query.",
                "innererror": inner,
            }
            text = "There were some errors when processing your query."
            body["error"] = {"code": "PartialError", "message": text, "details": [detail]}
        return body


def _parse_timespan(text: str | None) -> tuple[datetime, datetime]:
    if not text:
        return datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    try:
        begin, end = (datetime.fromisoformat(part) for part in text.split("/"))
    except ValueError:
        raise QueryError(f"The timespan {text} is not known.") from None
    return begin, end


# -- the engine ------------------------------------------------------------------------------------

_WHERE = re.compile(r"where\s+(\w+)\s*(=~|==)\s*'([^']*)'")
_SUMMARIZE = re.compile(r"summarize\s+(.+?)(?:\s+by\s+([\w\s,]+))?", re.DOTALL)
_AGGREGATE = re.compile(r"(\w+)\s*=\s*(max|min|count|make_set)\(\s*(\w*)\s*(?:,\s*(\d+)\s*)?\)")


def run(text: str, rows: Iterable[JSON]) -> JSON:
    """Run `TABLE | where COLUMN =~ 'TEXT' | summarize NAME=FUNCTION(COLUMN), … by COLUMN, …`."""
    first, *stages = (stage.strip() for stage in text.split("|"))
    if first != TABLE:
        raise QueryError(f"Failed to resolve table or column expression named '{first[:50]}'")
    for stage in stages[:-1]:
        match = _WHERE.fullmatch(stage)
        if match is None:
            raise QueryError(f"The emulator does not know `{stage[:80]}`")
        rows = [row for row in rows if _is_equal(row[_column(match[1])], match[3], match[2])]
    match = _SUMMARIZE.fullmatch(stages[-1]) if stages else None
    if match is None:
        raise QueryError("The query must end with `summarize`")
    aggregates = list(_AGGREGATE.finditer(match[1]))
    if re.sub(r"[\s,]", "", _AGGREGATE.sub("", match[1])):
        raise QueryError(f"The emulator does not know `{match[1][:80]}`")
    keys = [_column(key.strip()) for key in (match[2] or "").split(",") if key.strip()]
    return _summarize(list(rows), aggregates, keys)


def _column(name: str) -> str:
    if name not in COLUMNS:
        raise QueryError(f"Failed to resolve table or column expression named '{name}'")
    return name


def _is_equal(value: Any, text: str, operator: str) -> bool:
    return str(value).lower() == text.lower() if operator == "=~" else str(value) == text


def _summarize(rows: Sequence[JSON], aggregates: Sequence[re.Match[str]], keys: Sequence[str]) -> JSON:
    groups: dict[tuple[Any, ...], list[JSON]] = {} if keys else {(): []}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    columns = [{"name": key, "type": COLUMNS[key]} for key in keys]
    columns += [{"name": each[1], "type": _FUNCTIONS[each[2]][0]} for each in aggregates]
    answer = [
        [
            *map(_shown, group),
            *(_FUNCTIONS[each[2]][1](members, each[3], int(each[4] or 1_000_000)) for each in aggregates),
        ]
        for group, members in groups.items()
    ]
    return {"name": "PrimaryResult", "columns": columns, "rows": answer}


def _shown(value: Any) -> Any:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z" if isinstance(value, datetime) else value


def _set(rows: Sequence[JSON], column: str, most: int) -> str:
    # Dynamic values are sent as text.
    return json.dumps(list(dict.fromkeys(row[_column(column)] for row in rows))[:most])


_Function = Callable[[Sequence[JSON], str, int], Any]
_FUNCTIONS: dict[str, tuple[str, _Function]] = {
    "max": ("datetime", lambda rows, column, _: _shown(max((row[_column(column)] for row in rows), default=None))),
    "min": ("datetime", lambda rows, column, _: _shown(min((row[_column(column)] for row in rows), default=None))),
    "count": ("long", lambda rows, _, __: len(rows)),
    "make_set": ("dynamic", _set),
}
