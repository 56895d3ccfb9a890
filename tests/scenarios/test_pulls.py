"""Pull logs end to end: what was pulled stays, and a log that is not whole refuses the run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator.logs import TABLE
from acr_cleanup.emulator.roles import DEFAULT_ROLES, LOCKS, SOFT_DELETE
from tests.helpers.explanations import run_explain
from tests.helpers.stage import (
    BOTH,
    OLD,
    REPOSITORY,
    ScenarioTable,
    Stage,
    play,
    remaining_tags,
    shorten_pauses,
    staged,
)

scenarios = ScenarioTable()
LONG_AGO = timedelta(days=200)


def logged(stage: Stage, options: Mapping[str, str] | None = None, *, reach: timedelta = LONG_AGO) -> None:
    """Log since `reach` ago, and keep what was pulled in 90 days."""
    stage.world.logs.enable()
    stage.world.logs.write("Push", datetime.now(UTC) - reach, "shop/web", "0.1")
    stage.options = {"pulled-within": "90d", **(options or {})}


def pulled(stage: Stage, tag: str = "", digest: str = "", *, days: float = 10, **more: Any) -> None:
    repository = more.pop("repository", "shop/web")
    stage.world.logs.write("Pull", datetime.now(UTC) - timedelta(days=days), repository, tag, digest, **more)


@scenarios.deletes("1.1", both_faces=True)
def pulled_tag_is_kept(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", stage.digest("1.0"))


@scenarios.deletes("1.0")
def pulled_digest_is_kept(stage: Stage) -> None:
    logged(stage)
    pulled(stage, digest=stage.digest("1.1"))


@scenarios.deletes(*BOTH)
def older_pull_keeps_nothing(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", days=91)


@scenarios.deletes(*BOTH)
def log_is_not_read_unless_asked_for(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0")
    stage.options = {}


@scenarios.deletes(*BOTH)
def other_operations_keep_nothing(stage: Stage) -> None:
    logged(stage)
    for operation in ("Push", "Untag", "Delete", "Purge"):
        stage.world.logs.write(operation, datetime.now(UTC) - timedelta(days=3), "shop/web", "1.0")


for name, row, gone in (
    ("capitals", {"tag": "1.0", "repository": "SHOP/Web"}, ("1.1",)),
    ("leading slash", {"tag": "1.0", "repository": "/shop/web"}, ("1.1",)),
    ("future", {"tag": "1.0", "days": -40}, ("1.1",)),
    ("far future", {"tag": "1.0", "days": -360}, ("1.1",)),
    ("neither tag nor digest", {}, ()),
    ("digest of no length", {"digest": "sha256:"}, ()),
    ("digest too long", {"digest": f"sha256:{'a' * 900}"}, ()),
    ("other repository", {"tag": "1.0", "repository": "shop/other"}, BOTH),
):

    @scenarios.deletes(*gone, case=name)
    def odd_row(stage: Stage, row: Any = row) -> None:
        logged(stage)
        pulled(stage, **row)


@scenarios.refuses("name no repository", 'waive: "azure: pull-log"')
def pull_of_no_repository_refuses(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", repository="")


# -- pulls that do not count -----------------------------------------------------------------------


@scenarios.deletes(*BOTH, says=("trivy/0.50",))
def ignored_user_agent_keeps_nothing(stage: Stage) -> None:
    logged(stage, {"ignore-pulls-by": "trivy/*"})
    for tag in BOTH:
        pulled(stage, tag, UserAgent="trivy/0.50 (linux)")


@scenarios.deletes("1.1")
def ignored_identity_does_not_hide_others(stage: Stage) -> None:
    """A scanner that pulls everything, and one who needs one image."""
    logged(stage, {"ignore-pulls-by": "5ca00000-*"})
    for tag in BOTH:
        pulled(stage, tag, days=1, Identity="5ca00000-1111-2222-3333-444444444444")
    pulled(stage, "1.0", days=80)


@scenarios.deletes(*BOTH)
def own_pulls_do_not_count(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", UserAgent="acr-cleanup/1.0 Python/3.12")


# -- logs that are not whole -----------------------------------------------------------------------


@scenarios.refuses("does not log its pulls", "az monitor diagnostic-settings create", TABLE, "waive:")
def no_setting_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.settings.clear()


for name, setting in (
    ("other category", {"logs": [{"category": "ContainerRegistryLoginEvents", "enabled": True}]}),
    ("disabled", {"logs": [{"category": TABLE, "enabled": False}]}),
    ("storage only", {"workspaceId": None, "storageAccountId": "/subscriptions/x"}),
    ("no logs", {"logs": None}),
):

    @scenarios.refuses("does not log its pulls", case=name)
    def setting_without_pulls_refuses(stage: Stage, setting: Any = setting) -> None:
        logged(stage)
        stage.world.logs.settings.clear()
        stage.world.logs.enable(**setting)


@scenarios.deletes("1.1")
def setting_for_all_logs_is_enough(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.settings.clear()
    stage.world.logs.enable(logs=[{"category": None, "categoryGroup": "allLogs", "enabled": True}])
    pulled(stage, "1.0")


@scenarios.refuses("reaches back to", "(12 days)", "at most 12d")
def young_log_refuses(stage: Stage) -> None:
    logged(stage, reach=timedelta(days=12, hours=1))


@scenarios.refuses("keeps rows for 30 days: raise its retention above 90d")
def short_retention_is_named(stage: Stage) -> None:
    logged(stage, reach=timedelta(days=29))
    stage.world.logs.retention_days = 30


@scenarios.refuses("has no row of this registry yet")
def empty_log_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.rows.clear()


@scenarios.refuses("has no table", "wait until the log is older")
def log_without_a_table_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.table_exists = False


@scenarios.refuses("which does not exist (moved or deleted)", "Correct the workspace")
def moved_workspace_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.settings.clear()
    stage.world.logs.enable(workspaceId=f"{stage.world.logs.workspace}-old")


@scenarios.refuses("in part only: a shard failed.", "Run again later")
def partial_answer_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.partial = "a shard failed"


@scenarios.refuses("exceed the set limit of 1 records", "Shorten pulled-within")
def too_many_rows_refuse(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.largest_rows = 1
    for tag in BOTH:
        pulled(stage, tag)


for status, body, says in (
    (429, {"error": {"code": "ThrottledError", "message": "too many"}}, ("throttles the queries", "Run again later")),
    (429, b"", ("throttles the queries",)),
    (413, b"too large", ("Shorten pulled-within",)),
    (504, b"<html>", ("takes too long",)),
    (401, {"error": {"message": "no"}}, ("cloud.log_analytics",)),
    (404, b"", ("no workspace has logs of it",)),
    (500, b"", ("Run again later",)),
):

    @scenarios.refuses(*says, "pull-log", case=f"{status} {len(body)}")
    def refused_query_refuses(stage: Stage, status: int = status, body: Any = body) -> None:
        logged(stage)
        stage.fault(service="logs", status=status, body=body)


@scenarios.refuses("Log Analytics cannot be reached", "`cloud.log_analytics`")
def unreachable_logs_refuse(stage: Stage) -> None:
    logged(stage)
    stage.fault(service="logs", reset=True)


for name, text in (
    ("not json", "<html>"),
    ("no table", "{}"),
    ("other columns", '{"tables":[{"columns":[],"rows":[]}]}'),
):

    @scenarios.refuses("pull-log", case=name)
    def malformed_answer_refuses(stage: Stage, text: str = text) -> None:
        logged(stage)
        stage.fault(service="logs", status=200, body=text)


@scenarios.refuses("pull-log", "Log Analytics Reader", roles=("AcrPull", "AcrDelete", *DEFAULT_ROLES[-4:]))
def missing_right_refuses(stage: Stage) -> None:
    logged(stage)


@scenarios.refuses("insufficient access", "on the workspace if that counts only rights on itself")
def right_on_the_registry_alone_refuses_where_the_workspace_decides(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.workspace_rights = True
    stage.world.access.assign_only(*(role for role in DEFAULT_ROLES if role.name != "Reader"), LOCKS, SOFT_DELETE)
    for scope in (
        stage.registry.resource_id,
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-aks",
    ):
        stage.world.access.assign("Reader", scope)
    stage.world.access.assign("Reader", stage.cluster.resource_id)


@scenarios.deletes("1.1", says=("pull-log is waived", "12 days"))
def waived_log_still_keeps_what_it_shows(stage: Stage) -> None:
    logged(stage, {"waive": "pull-log"}, reach=timedelta(days=12, hours=1))
    pulled(stage, "1.0")


@scenarios.deletes(*BOTH, says=("pull-log is waived",), silent=("the waiver of",))
def waived_log_that_cannot_be_read_blocks_nothing(stage: Stage) -> None:
    logged(stage)
    stage.settings(waive=[{"cluster": "azure", "kind": "pull-log"}])
    stage.fault(service="logs", status=500)


@scenarios.deletes("1.1")
def registry_is_found_without_its_group(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0")
    config = stage.tool.emulator.config()
    config["container_registry"] = {"url": config["container_registry"]["url"]}
    stage.config = config


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_pulls(scenario: Any, face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)


async def test_token_for_the_logs_is_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read. With a waiver, a refused token blocks nothing."""
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage)
        monkeypatch.setattr("acr_cleanup.emulator.entra.LOG_HOSTS", ())
        ran = await stage.tool.apply(**stage.options)
        assert ran.code == 3
        assert "The token was for Log Analytics." in ran.out
        assert not stage.world.count(service="acr", path="_tags")
        ran = await stage.tool.apply(**stage.options, waive="pull-log")
        assert (ran.code, remaining_tags(stage)) == (0, {"2.0"})
        assert "pull-log is waived" in ran.out


# -- reports ---------------------------------------------------------------------------------------

SOMEONE = "3f2a1b0c-1111-2222-3333-444444444444"


async def test_reports_say_when_how_often_and_by_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity is shortened, and no address is shown unless log-level is debug."""
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage, {"ignore-pulls-by": "trivy/*"})
        for _ in range(3):
            pulled(stage, "1.0", Identity=SOMEONE, UserAgent="containerd/1.7.22 (linux)")
        pulled(stage, "1.1", Identity=SOMEONE, UserAgent="trivy/0.50")
        ran = await stage.tool.plan(**stage.options)
        log = ran.report["pull_log"]
        assert log["counted"] == [{"who": "3f2a1b0c… (containerd/1.7.22)", "pulls": 3}]
        assert log["ignored"] == [{"who": "3f2a1b0c… (trivy/0.50)", "pulls": 1}]
        assert datetime.fromisoformat(log["reaches_back_to"]).date() == (datetime.now(UTC) - LONG_AGO).date()
        day = datetime.now(UTC) - timedelta(days=10)
        detail = f"pulled 3 times, last on {day:%Y-%m-%d %H:%M} UTC, by 3f2a1b0c… (containerd/1.7.22)"
        summary = (tmp_path / "report" / "summary.md").read_text()
        for text in (ran.out, summary):
            assert "Pulls since" in text
            assert "no, ignored" in text
        explanation = await run_explain(stage, f"{REPOSITORY}:1.0", **stage.options)
        assert detail in explanation.out
        other = await run_explain(stage, f"{REPOSITORY}:1.1", **stage.options)
        assert other.has_line("not pulled the log, which reaches back to")
        assert not any(part in text for part in (SOMEONE, "203.0.113") for text in (ran.out, summary, explanation.out))
        debug = await run_explain(stage, f"{REPOSITORY}:1.0", **stage.options | {"log-level": "debug"})
        assert "203.0.113.7" in debug.out


async def test_image_pulled_after_the_plan_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look reads the log again."""
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage)

        async def pull(_: object) -> None:
            pulled(stage, "1.0", days=0)

        stage.fault(service="acr", path="shop/web/_tags$", before=pull, times=1)
        ran = await stage.tool.apply(**stage.options)
        assert remaining_tags(stage) == {"1.0", "2.0"}
        assert ran.outcomes("1.0") == {"kept"}


async def test_log_that_fails_after_the_plan_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage)
        stage.fault(service="logs", status=500, after=2)
        ran = await stage.tool.apply(**stage.options)
        assert (ran.code, remaining_tags(stage)) == (3, {"1.0", "1.1", "2.0"})


async def test_repository_that_no_cluster_runs_is_cleaned_by_its_pulls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `scope: all`: a nightly job, and a scanner that pulls everything."""
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage, {"scope": "all", "ignore-pulls-by": "scanner-*"})
        for tag in ("1", "2", "3"):
            stage.registry.push("jobs/nightly", tag, age=OLD)
            pulled(stage, tag, repository="jobs/nightly", days=1, Identity="scanner-7", UserAgent="Go-http-client/2.0")
        pulled(stage, "2", repository="jobs/nightly", days=1)
        await stage.tool.apply(**stage.options)
        assert stage.tool.left("jobs/nightly") == {"2"}


async def test_own_reads_do_not_keep_images_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry logs the bodies that a run reads as pulls."""
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage)
        child = stage.registry.push(REPOSITORY, age=OLD)
        stage.registry.push_index(REPOSITORY, "1.2", children=[child], age=OLD)
        assert stage.digest("1.2") in str((await stage.tool.plan(**stage.options)).report)
        assert [row["Tag"] or row["Digest"] for row in stage.world.logs.rows if row["OperationName"] == "Pull"] == [
            stage.digest("1.2")
        ]
        await stage.tool.apply(**stage.options)
        assert remaining_tags(stage) == {"2.0"}
        operations = [row["OperationName"] for row in stage.world.logs.rows]
        assert operations.count("Delete") == 4


async def test_foreign_text_of_the_log_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage)
        hostile = "\x1b[31m::add-mask::x ##vso[task.complete] <script>|"
        pulled(stage, "1.0", Identity=hostile, UserAgent=hostile)
        pulled(stage, "1.1", Identity="10.0.0.4", UserAgent="10.0.0.4")
        ran = await stage.tool.plan(**stage.options)
        for text in (ran.out, ran.err, (tmp_path / "report" / "summary.md").read_text()):
            assert not any(bad in text for bad in ("\x1b[31m", "::add-mask::", "##vso[", "<script>", "10.0.0.4"))
