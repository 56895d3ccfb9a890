"""The command itself, in a process of its own: streams, exit codes, signals, and what must never be written."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.tokens import TokenSigner
from acr_cleanup.emulator.world import Face
from tests.helpers.paths import ROOT
from tests.helpers.stage import OLD, REPOSITORY, Stage, staged

BOTH = {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "acr-cleanup" / "report.json").read_text())  # type: ignore[no-any-return]


async def start(stage: Stage, *arguments: str, environ: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(stage.tool.folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        **(stage.tool.emulator.environment() if environ is None else environ),
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "acr_cleanup", *arguments,
        cwd=stage.tool.folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def finish(stage: Stage, process: asyncio.subprocess.Process) -> Finished:
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return Finished(process.returncode or 0, out.decode(), err.decode(), stage.tool.folder)


async def run(stage: Stage, *arguments: str, environ: Mapping[str, str] | None = None) -> Finished:
    return await finish(stage, await start(stage, *arguments, environ=environ))


def write(stage: Stage, name: str = "file.json", config: Mapping[str, Any] | None = None) -> str:
    path = stage.tool.folder / name
    content = config or stage.config or stage.tool.emulator.config()
    path.write_text(yaml.safe_dump(dict(content)) if path.suffix != ".json" else json.dumps(content))
    return name


@pytest.mark.parametrize(("face", "name"), [("proxy", "file.json"), ("direct", "file.yaml")])
async def test_apply_file_thirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face, name: str) -> None:
    """The first users' command, with their file unchanged."""
    async with staged(tmp_path, monkeypatch, face) as stage:
        done = await run(stage, "apply", write(stage, name), "30")

        assert done.code == 0
        assert set(done.report["deleted_tags"]) == BOTH
        assert set(stage.repository.tags) == {"2.0"}
        assert "shop/web" in done.out
        assert "clusters: 1 of 1" in done.err
        assert "clusters: 1 of 1" not in done.out
        assert "Deleted 2 tags" not in done.err
        assert {"report.json", "plan.json", "summary.md"} <= {
            each.name for each in (tmp_path / "acr-cleanup").iterdir()
        }


async def test_days_on_the_command_line_are_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.settings(older_than="1d")
        done = await run(stage, "apply", write(stage), "101")

        assert (done.code, done.report["planned_tags"]) == (0, [])


async def test_five_mistakes_are_five_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config()
        config["kubernetes_clusters"]["production"]["subscription_id"] = "prod"
        config["kubernetes_clusters"]["staging"] = {"name": "aks-staging"}
        config["container_registry"]["ulr"] = config["container_registry"].pop("url")
        config |= {"older_than": "soon", "keep_lats": 3}
        done = await run(stage, "apply", write(stage, config=config), "30x")

        assert done.code == 2
        assert done.out == ""
        for place in (
            "kubernetes_clusters.production.subscription_id",
            "kubernetes_clusters.staging.subscription_id",
            "container_registry.ulr",
            "older_than",
            "keep_lats",
        ):
            assert place in done.err
        assert "Traceback" not in done.err
        assert not stage.world.requests


# -- signals --------------------------------------------------------------------------------------------------


async def until(stage: Stage, **what: str) -> None:
    async with asyncio.timeout(30):
        while not stage.world.count(**what):  # type: ignore[arg-type]  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_while_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.fault(service=stage.service, path="/pods", hang=60)
        process = await start(stage, "apply", write(stage))
        await until(stage, service="arm", path="listClusterUserCredential")
        await asyncio.sleep(0.5)
        process.send_signal(sent)
        done = await finish(stage, process)

        assert done.code == code
        assert done.report["verdict"] == "cancelled"
        assert "Traceback" not in done.out + done.err
        assert stage.world.count(service="acr", method="DELETE") == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_while_deleting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, code: int
) -> None:
    """No new deletion starts; each that was sent is counted for what it was."""
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(60):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        stage.fault(service="acr", method="DELETE", latency=0.7)
        process = await start(stage, "apply", write(stage), "--concurrency", "4")
        await until(stage, service="acr", method="DELETE")
        process.send_signal(sent)
        done = await finish(stage, process)
        gone = stage.world.count(service="acr", method="DELETE", status=202)
        report = done.report

        assert done.code == code
        assert report["verdict"] == "cancelled"
        assert 4 <= gone <= 12
        assert report["counts"]["deleted"] == gone == 63 - len(stage.repository.tags)
        assert report["counts"]["failed"] == 0
        assert sum(each["outcome"] == "not attempted" for each in report["outcomes"] if each["tag"]) == 62 - gone


# -- what must never be written -------------------------------------------------------------------------------


async def test_no_secret_is_ever_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in any output, log or report, at the highest level of detail, in good and in bad worlds."""
    issued: list[str] = []
    sign = TokenSigner.sign

    def listening(signer: TokenSigner, *arguments: Any, **named: Any) -> str:
        issued.append(sign(signer, *arguments, **named))
        return issued[-1]

    monkeypatch.setattr(TokenSigner, "sign", listening)
    keys: list[str] = []
    certificate = Authority.client_certificate

    def watched(authority: Authority, *arguments: Any) -> tuple[str, str]:
        made = certificate(authority, *arguments)
        keys.extend(made[1].splitlines()[1:-1])
        return made

    monkeypatch.setattr(Authority, "client_certificate", watched)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.another("exec", auth="entra-exec")
        stage.another("token", auth="token")
        stage.another("private", auth="entra", private=True)
        secrets = [stage.world.directory.client_secret, *(each.token for each in stage.world.clusters.values())]
        good = await run(stage, "plan", write(stage), "--log-level", "debug")
        # Its run command has shown nothing in the good world.
        stage.world.clusters["private"].disable_run_command = True
        stage.fault(service="kubernetes/aks-exec", path="/jobs", status=500, body="internal")
        stage.fault(service="acr", path="_tags", status=401, body={"errors": []})
        bad = await run(stage, "apply", write(stage), "--log-level", "debug")

        assert (good.code, bad.code) == (0, 3)
        assert len(issued) > 5
        assert keys
        written = "".join(
            [done.out + done.err for done in (good, bad)]
            + [each.read_text() for each in (tmp_path / "acr-cleanup").iterdir()]
        )
        for secret in (*secrets, *keys, *issued, *(token.rpartition(".")[2] for token in issued)):
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


async def test_foreign_text_is_never_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of pods and images and messages of servers, in the plan and in blockers."""
    async with staged(tmp_path, monkeypatch) as stage:
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
        done = await run(stage, "apply", write(stage), "--log-level", "debug")

        assert done.code == 3
        for text in (done.out, done.err):
            assert not re.search(r"^\s*::", text, re.MULTILINE)
            assert "##vso[" not in text
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text)
        summary = (tmp_path / "acr-cleanup" / "summary.md").read_text()
        assert "<script>" not in summary
        assert "](https://evil.example)" not in summary
        assert not re.search(r"^\s*(?:::|##vso)", summary, re.MULTILINE)


# -- outputs that cannot be written ---------------------------------------------------------------------------


async def test_a_closed_stdout_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        process = await start(stage, "apply", write(stage))
        assert process.stdout is not None
        process.stdout._transport.close()  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            assert process.stderr is not None
            err = (await process.stderr.read()).decode()
            await process.wait()

        assert set(stage.repository.tags) == {"2.0"}
        assert "Traceback" not in err
        assert json.loads((tmp_path / "acr-cleanup" / "report.json").read_text())["counts"]["deleted"] == 2


async def test_reports_that_cannot_be_written_are_said_before_anything_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        (tmp_path / "acr-cleanup").write_text("in the way")
        done = await run(stage, "apply", write(stage))

        assert done.code == 2
        assert "Traceback" not in done.err
        assert not stage.world.requests
