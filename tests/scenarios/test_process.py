"""The command in a new process: streams, exit codes, signals, secrets and hostile text."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.tokens import TokenSigner
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import OLD, REPOSITORY, staged_over_tls
from tests.helpers.tool_processes import run_process, start_process, wait_for_end, wait_for_request, write_config

pytestmark = pytest.mark.extended

BOTH = {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


@pytest.mark.parametrize(("face", "name"), [("proxy", "file.json"), ("direct", "file.yaml")])
async def test_apply_with_file_and_days_deletes_old_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face, name: str
) -> None:
    """
    This is the original command line, `apply FILE 30`.

    Progress is written to stderr, results to stdout.
    """
    async with staged_over_tls(tmp_path, monkeypatch, face) as stage:
        ended = await run_process(stage, "apply", write_config(stage, name), "30")

        assert ended.code == 0
        assert set(ended.report["deleted_tags"]) == BOTH
        assert set(stage.repository.tags) == {"2.0"}
        assert "shop/web" in ended.out
        assert "clusters: 1 of 1" in ended.err
        assert "clusters: 1 of 1" not in ended.out
        assert "Deleted 2 tags" not in ended.err
        assert {"report.json", "plan.json", "summary.md", "report.html"} <= {
            path.name for path in (tmp_path / "acr-cleanup").iterdir()
        }


async def test_days_argument_overrides_older_than(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        stage.settings(older_than="1d")
        ended = await run_process(stage, "apply", write_config(stage), "101")

        assert (ended.code, ended.report["planned_tags"]) == (0, [])


async def test_all_mistakes_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is sent before they are corrected."""
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config()
        config["kubernetes_clusters"]["production"]["subscription_id"] = "prod"
        config["kubernetes_clusters"]["staging"] = {"name": "aks-staging"}
        config["container_registry"]["ulr"] = config["container_registry"].pop("url")
        config |= {"older_than": "soon", "keep_lats": 3}
        ended = await run_process(stage, "apply", write_config(stage, config=config), "30x")

        assert ended.code == 2
        assert ended.out == ""
        for key in (
            "kubernetes_clusters.production.subscription_id",
            "kubernetes_clusters.staging.subscription_id",
            "container_registry.ulr",
            "older_than",
            "keep_lats",
        ):
            assert key in ended.err
        assert "Traceback" not in ended.err
        assert not stage.world.requests


# -- signals -------------------------------------------------------------------------------------


async def test_signal_while_settings_are_read_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        os.mkfifo(tmp_path / "never.yaml")
        process = await start_process(stage, "apply", "never.yaml")
        # Opened once the tool waits for the content, which never comes.
        writer = await asyncio.to_thread(os.open, tmp_path / "never.yaml", os.O_WRONLY)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        os.close(writer)
        ended = await wait_for_end(stage, process)

        assert ended.code == 143
        assert ended.err == "Cancelled. Nothing was deleted.\n"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
async def test_signal_during_reading_cancels_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        stage.fault(service=stage.service, path="/pods", hang=60)
        process = await start_process(stage, "apply", write_config(stage))
        await wait_for_request(stage, service="arm", path="listClusterUserCredential")
        await asyncio.sleep(0.5)
        process.send_signal(sent)
        ended = await wait_for_end(stage, process)

        assert ended.code == code
        assert ended.report["verdict"] == "cancelled"
        assert "Traceback" not in ended.out + ended.err
        assert stage.world.count(service="acr", method="DELETE") == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
async def test_signal_during_deletions_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    """No further deletion starts, and each sent deletion is counted with its actual outcome."""
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        for number in range(60):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        stage.fault(service="acr", method="DELETE", latency=0.7)
        process = await start_process(stage, "apply", write_config(stage), "--concurrency", "4")
        await wait_for_request(stage, service="acr", method="DELETE")
        process.send_signal(sent)
        ended = await wait_for_end(stage, process)
        deleted = stage.world.count(service="acr", method="DELETE", status=202)
        report = ended.report

        assert ended.code == code
        assert report["verdict"] == "cancelled"
        assert 4 <= deleted <= 12
        assert report["counts"]["deleted"] == deleted == 63 - len(stage.repository.tags)
        assert report["counts"]["failed"] == 0
        tag_outcomes = [outcome["outcome"] for outcome in report["outcomes"] if outcome["tag"]]
        assert tag_outcomes.count("not attempted") == 62 - deleted


# -- secrets and hostile text --------------------------------------------------------------------


async def test_secrets_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Neither to outputs nor to reports, with debug logging, in a run that succeeds and one that
    fails.
    """
    tokens: list[str] = []
    sign = TokenSigner.sign

    def recording_sign(signer: TokenSigner, *arguments: Any, **named: Any) -> str:
        tokens.append(sign(signer, *arguments, **named))
        return tokens[-1]

    monkeypatch.setattr(TokenSigner, "sign", recording_sign)
    key_lines: list[str] = []
    client_certificate = Authority.client_certificate

    def recording_client_certificate(authority: Authority, *arguments: Any) -> tuple[str, str]:
        certificate, key = client_certificate(authority, *arguments)
        key_lines.extend(key.splitlines()[1:-1])
        return certificate, key

    monkeypatch.setattr(Authority, "client_certificate", recording_client_certificate)
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        stage.another("exec", auth="entra-exec")
        stage.another("token", auth="token")
        stage.another("private", auth="entra", private=True)
        secrets = [stage.world.directory.client_secret, *(cluster.token for cluster in stage.world.clusters.values())]
        succeeded = await run_process(stage, "plan", write_config(stage), "--log-level", "debug")
        stage.world.clusters["private"].disable_run_command = True
        stage.fault(service="kubernetes/aks-exec", path="/jobs", status=500, body="internal")
        stage.fault(service="acr", path="_tags", status=401, body={"errors": []})
        failed = await run_process(stage, "apply", write_config(stage), "--log-level", "debug")

        assert (succeeded.code, failed.code) == (0, 3)
        assert len(tokens) > 5
        assert key_lines
        written = "".join(
            [ended.out + ended.err for ended in (succeeded, failed)]
            + [path.read_text() for path in (tmp_path / "acr-cleanup").iterdir()]
        )
        signatures = [token.rpartition(".")[2] for token in tokens]
        for secret in (*secrets, *key_lines, *tokens, *signatures):
            assert secret not in written


HOSTILE = (
    "::error::pwned",
    "\n::set-output name=a::b",
    "##vso[task.setvariable variable=a]b",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "[link](https://evil.example) <script>alert(1)</script> | `x`",
    "\u202edetrevni\u2028::warning::next",
    "\r::error::return",
)


async def test_hostile_text_does_not_become_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Hostile are names of pods and images, and messages of servers, in the plan and in blockers.
    """
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        for number, text in enumerate(HOSTILE):
            stage.pod(stage.image("2.0"))["metadata"]["name"] = f"{text}{number}"
            stage.pod(f"{stage.image('2.0')}{text}")["metadata"]["namespace"] = text
            cluster = stage.another(f"c{number}")
            message = f"{text} {stage.registry.login_server}"
            stage.fault(
                service=f"kubernetes/{cluster.name}",
                path="/jobs",
                status=500,
                body={"kind": "Status", "message": message},
            )
        stage.fault(
            service="acr",
            path="_manifests",
            after=1,
            status=403,
            body={"errors": [{"code": "A", "message": HOSTILE[0]}]},
        )
        ended = await run_process(stage, "apply", write_config(stage), "--log-level", "debug")

        assert ended.code == 3
        for text in (ended.out, ended.err):
            assert not re.search(r"^\s*::", text, re.MULTILINE)
            assert "##vso[" not in text
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text)
        summary = (tmp_path / "acr-cleanup" / "summary.md").read_text()
        assert "<script>" not in summary
        assert "](https://evil.example)" not in summary
        assert not re.search(r"^\s*(?:::|##vso)", summary, re.MULTILINE)


# -- outputs that cannot be written --------------------------------------------------------------


async def test_closed_stdout_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        process = await start_process(stage, "apply", write_config(stage))
        assert process.stdout is not None
        process.stdout._transport.close()  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            assert process.stderr is not None
            err = (await process.stderr.read()).decode()
            await process.wait()

        assert set(stage.repository.tags) == {"2.0"}
        assert "Traceback" not in err
        assert json.loads((tmp_path / "acr-cleanup" / "report.json").read_text())["counts"]["deleted"] == 2


async def test_unwritable_report_folder_is_refused_before_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        (tmp_path / "acr-cleanup").write_text("in the way")
        ended = await run_process(stage, "apply", write_config(stage))

        assert ended.code == 2
        assert "Traceback" not in ended.err
        assert not stage.world.requests
