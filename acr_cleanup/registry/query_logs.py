"""
Queries of Log Analytics, with rows that are decoded one by one.

The requests are raw, but use the SDK's own client: its endpoint, token, retries. `query_resource`
of the client makes two dictionaries for each row, and fails on an answer that is not JSON. See
docs/decisions/0012-pull-logs.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from acr_cleanup.access import roles
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.quoting import quoted
from acr_cleanup.registry.transport import TooLargeError, read_bounded

TABLE = "ContainerRegistryRepositoryEvents"
LARGEST_ANSWER = 128 * 1024 * 1024
"""
Bytes. Log Analytics answers with at most 100 MB and 500,000 rows:
https://learn.microsoft.com/azure/azure-monitor/service-limits#log-queries-and-language
"""
_SERVER_SECONDS = 10 * 60
"""The longest that Log Analytics works on a query."""
_LARGEST_ERROR = 64 * 1024
_RETRIES = 3
_CALL = "query the logs"
_SHORTEN = "Shorten pulled-within."

Timespan = tuple[datetime, datetime] | None
Ask = Callable[[str, str, Timespan], Awaitable["QueryResult"]]


class _Column(msgspec.Struct):
    name: str


class _Table(msgspec.Struct):
    columns: list[_Column]
    rows: list[msgspec.Raw]


class _Answer(msgspec.Struct):
    tables: list[_Table] = []
    error: Any = None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """
    The answer to a query.

    problem: why the answer is not whole; None if it is.
    """

    table: _Table = field(repr=False)
    problem: ReadFailure | None = None

    def rows(self, *names: str) -> Iterator[list[Any]]:
        """
        Yield the values of these columns, row by row.

        A name that ends with `?` is optional: its value is None if there is no such column.
        """
        places = {column.name.lower(): place for place, column in enumerate(self.table.columns)}
        chosen: list[int | None] = []
        for name in names:
            place = places.get(name.removesuffix("?").lower())
            if place is None and not name.endswith("?"):
                raise ReadFailure(
                    _CALL, f"the answer has no column {name}.", "Run again, and report it if it persists."
                )
            chosen.append(place)
        decode = msgspec.json.Decoder(list[Any]).decode
        for raw in self.table.rows:
            values = decode(raw)
            yield [None if place is None else values[place] for place in chosen]

    @staticmethod
    def time(value: Any) -> datetime | None:
        """Parse a time of the answer; None if it is not one."""
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            return None


@asynccontextmanager
async def open_logs(azure: Azure) -> AsyncIterator[Ask]:
    """
    Open Log Analytics. The value asks a query in the context of a resource.

    It raises `ReadFailure`, and `IdentityError` if there is no token.
    """
    from azure.core.exceptions import AzureError  # noqa: PLC0415  (the SDKs are slow to import)
    from azure.core.rest import HttpRequest  # noqa: PLC0415
    from azure.monitor.query.aio import LogsQueryClient  # noqa: PLC0415

    async with LogsQueryClient(
        azure.credential, endpoint=azure.log_analytics, transport=azure.make_transport(), retry_total=_RETRIES
    ) as client:

        async def ask(resource: str, query: str, timespan: Timespan) -> QueryResult:
            body = {
                "query": query,
                "timespan": timespan and "/".join(f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in timespan),
            }
            request = HttpRequest("POST", f"{resource}/query", json=body, headers={"Prefer": f"wait={_SERVER_SECONDS}"})
            try:
                response = await client.send_request(
                    request,
                    stream=True,
                    connection_timeout=10,
                    read_timeout=_SERVER_SECONDS + 10,
                    # A query changes nothing, but without this, a lost answer to a POST is not tried again.
                    retry_on_methods=("POST",),
                )
                whole = response.status_code == 200
                content = await read_bounded(response, LARGEST_ANSWER if whole else _LARGEST_ERROR)
            except TooLargeError as error:
                seen = f"the answer has more than {LARGEST_ANSWER // 1024 // 1024} MB."
                raise ReadFailure(_CALL, seen, _SHORTEN) from error
            except AzureError as error:
                seen = f"Log Analytics cannot be reached at {azure.log_analytics} ({quoted(error)})."
                remedy = "Check the network and the proxy, and `cloud.log_analytics` of the configuration."
                raise ReadFailure(_CALL, seen, remedy) from error
            if not whole:
                raise _refused(response.status_code, content, response.headers.get("Retry-After"))
            return _result(content)

        yield ask


def _result(content: bytes) -> QueryResult:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        seen = f"the answer is not that of a query ({quoted(error, 120)})."
        raise ReadFailure(_CALL, seen, "Run again, and check any proxy or gateway in front of Azure.") from error
    table = answer.tables[0] if answer.tables else _Table([], [])
    if answer.error is not None or not answer.tables:
        return QueryResult(table, _partial(answer.error))
    return QueryResult(table)


def _partial(error: Any) -> ReadFailure:
    message = _innermost(error) or "the answer has no table"
    seen = f"Log Analytics answered in part only: {quoted(message).rstrip('.')}."
    return ReadFailure(_CALL, seen, _SHORTEN if "limit" in message.lower() else "Run again later.")


def _refused(status: int, content: bytes, retry_after: str | None) -> ReadFailure:
    try:
        error = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = None
    message = _innermost(error.get("error") if isinstance(error, dict) else None)
    seen = f"{status}" + (f": {quoted(message).rstrip('.')}." if message else ".")
    if status == 400 and "resolve table" in message.lower():
        seen = f"The workspace has no table {TABLE}: it has received no event of any registry ({seen.rstrip('.')})."
        remedy = "Check the diagnostic setting of the registry, and wait until the log is older than pulled-within."
    elif status == 401:
        remedy = "Check that the login belongs to the tenant and the cloud, and `cloud.log_analytics`."
    elif status == 403:
        remedy = (
            f"Grant the identity the role {roles.LOG_READER} on the registry, or on the workspace if that counts only "
            "rights on itself."
        )
    elif status == 404:
        remedy = "Check the diagnostic setting of the registry: no workspace has logs of it."
    elif status == 429:
        wait = f" (after {quoted(retry_after, 20)} seconds)" if retry_after else ""
        seen, remedy = f"Log Analytics throttles the queries: {seen}", f"Run again later{wait}."
    elif status in {413, 504}:
        remedy = f"{_SHORTEN} The query is too large, or takes too long."
    else:
        remedy = "Run again later."
    return ReadFailure(_CALL, seen, remedy)


def _innermost(error: Any) -> str:
    """Return the message of the innermost error: the outer ones only say that there is one."""
    message = ""
    while isinstance(error, dict):
        message = str(error.get("message") or message)
        details = error.get("details")
        error = error.get("innererror") or (details[0] if isinstance(details, list) and details else None)
    return message
