"""The emulated Log Analytics: its queries, statuses, limits and rights."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.monitor.query import LogsQueryPartialResult, LogsQueryResult
from azure.monitor.query.aio import LogsQueryClient

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.logs import TABLE, LogsState, QueryError
from tests.helpers.emulated_clusters import Edge, edge

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PULLS = (
    f"{TABLE}\n| where OperationName =~ 'Pull'\n| summarize last=max(TimeGenerated), pulls=count(), "
    "who=make_set(Identity, 5), agents=make_set(UserAgent, 5) by Repository, Tag, Digest"
)
OLDEST = f"{TABLE} | summarize oldest=min(TimeGenerated)"


def state() -> LogsState:
    logs = LogsState()
    logs.write("Pull", NOW - timedelta(days=3), "shop", "1.0", "sha256:aa", Identity="alice")
    logs.write("pull", NOW - timedelta(days=2), "shop", "1.0", "sha256:aa", Identity="bob", UserAgent="trivy/0.5")
    logs.write("Push", NOW - timedelta(days=1), "shop", "1.0", "sha256:aa")
    logs.write("Pull", NOW - timedelta(days=400), "shop", "0.1")
    return logs


def test_query_counts_pulls_by_image() -> None:
    (table,) = state().query(PULLS, None, NOW)["tables"]
    assert [column["name"] for column in table["columns"]] == [
        *("Repository", "Tag", "Digest"),
        *("last", "pulls", "who", "agents"),
    ]
    ((*key, last, pulls, who, agents),) = table["rows"]
    assert (key, last, pulls) == (["shop", "1.0", "sha256:aa"], "2026-11-21T12:00:00.0000000Z", 2)
    assert (json.loads(who), json.loads(agents)) == (["alice", "bob"], ["containerd/1.7.22", "trivy/0.5"])


def test_query_sees_its_timespan_and_the_retention_only() -> None:
    logs = state()
    (table,) = logs.query(PULLS, f"{(NOW - timedelta(hours=50)).isoformat()}/{NOW.isoformat()}", NOW)["tables"]
    assert [row[4] for row in table["rows"]] == [1]
    assert logs.query(OLDEST, None, NOW)["tables"][0]["rows"] == [["2026-11-20T12:00:00.0000000Z"]]
    logs.retention_days = 1000
    assert logs.query(OLDEST, None, NOW)["tables"][0]["rows"] == [["2025-10-19T12:00:00.0000000Z"]]
    assert LogsState().query(OLDEST, None, NOW)["tables"][0]["rows"] == [[None]]
    assert LogsState().query(PULLS, None, NOW)["tables"][0]["rows"] == []


@pytest.mark.parametrize(
    "query",
    [
        "Heartbeat | summarize n=count()",
        TABLE,
        f"{TABLE} | take 5",
        f"{TABLE} | where Tag startswith 'x' | summarize n=count()",
        f"{TABLE} | summarize n=dcount(Tag)",
        f"{TABLE} | summarize n=max(Nothing)",
        f"{TABLE} | summarize n=count() by Nothing",
    ],
)
def test_unknown_query_is_an_error(query: str) -> None:
    with pytest.raises(QueryError):
        state().query(query, None, NOW)


def test_answer_beyond_a_limit_is_partial() -> None:
    for name, limit in (("largest_rows", 1), ("largest_bytes", 200)):
        logs = state()
        logs.retention_days = 1000
        setattr(logs, name, limit)
        body = logs.query(PULLS, None, NOW)
        assert len(body["tables"][0]["rows"]) == 1
        assert body["error"]["code"] == "PartialError"
        assert f"limit of {limit}" in body["error"]["details"][0]["innererror"]["message"]


# -- with the SDK's own client ---------------------------------------------------------------------


async def ask(at: Edge, query: str = PULLS) -> Any:
    endpoint = "https://api.loganalytics.io"
    async with LogsQueryClient(
        at.azure.credential, endpoint=endpoint, transport=at.azure.make_transport(), retry_total=0
    ) as client:
        return await client.query_resource(at.world.registry.resource_id, query, timespan=None)


async def test_sdk_reads_success_and_partial() -> None:
    async with edge(in_memory=True) as at:
        logs = at.world.logs
        logs.write("Pull", datetime.now(UTC), "shop", "1.0")
        result = await ask(at)
        assert isinstance(result, LogsQueryResult)
        assert [row["Repository"] for row in result.tables[0].rows] == ["shop"]
        logs.partial = "a shard failed"
        assert isinstance(await ask(at), LogsQueryPartialResult)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda at: setattr(at.world.logs, "table_exists", False), 400, "BadArgumentError"),
        (lambda at: at.world.access.assign_only("AcrPull"), 403, "InsufficientAccessError"),
        (lambda at: setattr(at.world.registry, "resource_group", "rg-other"), 404, "ResourceNotFoundError"),
        (lambda at: at.world.faults.append(Fault(service="logs", status=429, body={"error": {}})), 429, None),
    ],
)
async def test_sdk_reads_failures(change: Any, status: int, code: str | None) -> None:
    async with edge(in_memory=True) as at:
        query = at.world.registry.resource_id
        change(at)
        async with LogsQueryClient(at.azure.credential, transport=at.azure.make_transport(), retry_total=0) as client:
            with pytest.raises(HttpResponseError) as caught:
                await client.query_resource(query, PULLS, timespan=None)
        assert caught.value.status_code == status
        assert code is None or code in str(caught.value.response.text())  # type: ignore[union-attr]


async def test_rights_on_the_registry_do_not_count_with_workspace_rights() -> None:
    async with edge(in_memory=True) as at:
        at.world.access.assign_only()
        at.world.access.assign("Log Analytics Reader", at.world.registry.resource_id)
        assert isinstance(await ask(at), LogsQueryResult)
        at.world.logs.workspace_rights = True
        with pytest.raises(HttpResponseError):
            await ask(at)
        at.world.access.assign("Log Analytics Reader", at.world.logs.workspace)
        assert isinstance(await ask(at), LogsQueryResult)
