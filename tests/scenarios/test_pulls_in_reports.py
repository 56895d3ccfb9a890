"""Pull logs end to end: what reports say, the second look, endpoints and tokens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from tests.helpers.explanations import run_explain
from tests.helpers.pull_logs import LONG_AGO, logged, pulled
from tests.helpers.stage import OLD, REPOSITORY, remaining_tags, shorten_pauses, staged

SOMEONE = "3f2a1b0c-1111-2222-3333-444444444444"


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


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ("azurecloud", "api.loganalytics.io"),
        ("azureusgovernment", "api.loganalytics.us"),
        ("azurechinacloud", "api.loganalytics.azure.cn"),
    ],
)
async def test_each_cloud_has_its_endpoint(
    environment: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens are for that host: the emulator refuses tokens for another one."""
    hosts = set()

    async def note(request: web.Request) -> None:
        hosts.add(request.host)

    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage, {"environment": environment})
        pulled(stage, "1.0")
        stage.fault(service="logs", before=note)
        ran = await stage.tool.plan(**stage.options)
        assert (ran.code, ran.planned, hosts) == (0, {"shop/web:1.1"}, {host})


# -- reports ---------------------------------------------------------------------------------------


async def test_reports_say_when_how_often_and_by_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity is shortened, and no address is shown unless log-level is debug."""
    async with staged(tmp_path, monkeypatch) as stage:
        logged(stage, {"ignore-pulls-by": "trivy/*"})
        began = datetime.now(UTC)
        for _ in range(3):
            pulled(stage, "1.0", Identity=SOMEONE, UserAgent="containerd/1.7.22 (linux)")
        pulled(stage, "1.1", Identity=SOMEONE, UserAgent="trivy/0.50")
        ran = await stage.tool.plan(**stage.options)
        log = ran.report["pull_log"]
        assert log["counted"] == [{"who": "3f2a1b0c… (containerd/1.7.22)", "pulls": 3}]
        assert log["ignored"] == [{"who": "3f2a1b0c… (trivy/0.50)", "pulls": 1}]
        assert datetime.fromisoformat(log["reaches_back_to"]).date() == (datetime.now(UTC) - LONG_AGO).date()
        last = [moment - timedelta(days=10) for moment in (began, datetime.now(UTC))]
        details = {
            f"pulled 3 times, last on {day:%Y-%m-%d %H:%M} UTC, by 3f2a1b0c… (containerd/1.7.22)" for day in last
        }
        summary = (tmp_path / "report" / "summary.md").read_text()
        for text in (ran.out, summary):
            assert "Pulls since" in text
            assert "no, ignored" in text
        explanation = await run_explain(stage, f"{REPOSITORY}:1.0", **stage.options)
        assert any(detail in explanation.out for detail in details)
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
