"""The journal in whole runs: each deletion is on the disk before it is sent."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.records import journal as journal_module
from acr_cleanup.records.journal_reader import read_journal
from tests.helpers.stage import OLD, REPOSITORY, shorten_pauses, staged, staged_over_tls
from tests.helpers.tool_processes import run_process, start_process, wait_for_end, wait_for_request, write_config


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def intents(path: Path) -> list[dict[str, Any]]:
    return [entry for entry in entries(path) if entry["kind"] == "intent"]


@dataclass
class DeletionObserver:
    """Checks at each deletion request whether the journal has its intent."""

    path: Path
    names: list[str] = field(default_factory=list)
    names_without_intent: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> None:
        name = request.path.rpartition("/")[2]
        self.names.append(name)
        journalled = {intent["digest"] for intent in intents(self.path)}
        journalled |= {tag["name"] for intent in intents(self.path) for tag in intent["tags"]}
        if name not in journalled:
            self.names_without_intent.append(name)


async def test_deletions_are_journalled_before_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(40):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        path = tmp_path / "report" / "journal.jsonl"
        observer = DeletionObserver(path)
        stage.fault(service="acr", method="DELETE", before=observer)
        ran = await stage.tool.apply(stage.config)

        assert ran.code == 0
        assert len(observer.names) == 42
        assert not observer.names_without_intent
        assert entries(path)[0]["registry"] == "contoso.azurecr.io"
        outcomes = {entry["of"]: entry["outcome"] for entry in entries(path) if entry["kind"] == "outcome"}
        assert outcomes == {intent["seq"]: "deleted" for intent in intents(path)}


async def test_run_without_deletions_does_not_touch_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither does a dry run."""
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.plan(stage.config)
        assert not list((tmp_path / "report").glob("journal*"))
        await stage.tool.apply(stage.config)
        before = (tmp_path / "report" / "journal.jsonl").read_bytes()
        await stage.tool.apply(stage.config)

        assert [path.name for path in (tmp_path / "report").glob("journal*")] == ["journal.jsonl"]
        assert (tmp_path / "report" / "journal.jsonl").read_bytes() == before


async def test_backup_journals_the_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        bodies = {manifest.digest: manifest.body for manifest in stage.repository.manifests.values()}
        await stage.tool.apply(stage.config, backup="true")

        contents = read_journal(tmp_path / "report" / "journal.jsonl")
        assert len(contents.deletions) == 2
        assert all(deletion.document == bodies[deletion.digest] for deletion in contents.deletions)


async def test_manifest_without_backup_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `backup`, a manifest that cannot be read is not deleted."""
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        digest = stage.digest("1.0")
        stage.fault(service="acr", method="GET", path=f"v2/.*/manifests/{digest}", status=500)
        ran = await stage.tool.apply(stage.config, backup="true", verify="false")

        assert (ran.code, set(stage.repository.tags)) == (1, {"1.0", "2.0"})
        assert ran.outcomes("1.0") == {"failed"}


async def test_journal_that_cannot_be_created_refuses_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a folder has the name of the journal."""
    async with staged(tmp_path, monkeypatch) as stage:
        (tmp_path / "report" / "journal.jsonl").mkdir(parents=True)
        ran = await stage.tool.apply(stage.config)

        assert ran.code == 3
        assert not stage.world.matching(service="acr", method="DELETE")
        assert "journal cannot be written" in ran.out


async def test_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier deletions are reported, and no further one is sent."""
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(40):
            stage.registry.push(REPOSITORY, f"old-{number:02}", age=OLD)
        write_line, calls = journal_module._write, 0

        def fail_after_20_intents(file: Any, line: bytes) -> None:
            nonlocal calls
            calls += b'"intent"' in line
            if calls > 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            write_line(file, line)

        monkeypatch.setattr(journal_module, "_write", fail_after_20_intents)
        ran = await stage.tool.apply(stage.config)

        assert ran.code == 1
        deleted = ran.report["counts"]["deleted"]
        assert 0 < deleted <= 20
        assert deleted == 43 - len(stage.repository.tags) == stage.world.count(service="acr", method="DELETE")
        assert "No space left" in ran.out


@pytest.mark.extended
async def test_killed_run_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After kill -9, both journals together contain each deletion, and each is counted once."""
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        for number in range(60):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        all_tags = set(stage.repository.tags)
        slow = stage.fault(service="acr", method="DELETE", latency=0.2)
        process = await start_process(stage, "apply", write_config(stage), "--concurrency", "4", "--backup", "true")
        await wait_for_request(stage, service="acr", method="DELETE", status=202)
        await asyncio.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        # The registry completes requests that were already sent.
        await asyncio.sleep(0.5)
        slow.latency = 0.0
        left = set(stage.repository.tags)
        folder = tmp_path / "acr-cleanup"
        killed = read_journal(folder / "journal.jsonl")
        assert {"2.0"} < left < all_tags
        assert not (folder / "report.json").exists()
        assert all_tags - left <= {name for deletion in killed.deletions for name in deletion.tags}

        done = await run_process(stage, "apply", "file.json", "--backup", "true")

        assert done.code == 0
        assert set(stage.repository.tags) == {"2.0"}
        assert done.report["counts"]["deleted"] == len(left) - 1
        assert set(done.report["deleted_tags"]) == {f"{REPOSITORY}:{name}" for name in left - {"2.0"}}
        (old_journal,) = folder.glob("journal-*.jsonl")
        assert read_journal(old_journal) == killed

        for path in (old_journal, folder / "journal.jsonl"):
            assert (await run_process(stage, "restore", str(path), "file.json")).code == 0
        assert set(stage.repository.tags) == all_tags


@pytest.mark.extended
async def test_concurrent_runs_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag that the other run deleted is gone; together they count each deletion once."""
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        for number in range(30):
            stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
        stage.world.faults.append(Fault(service="acr", method="DELETE", latency=0.05))
        name = write_config(stage)
        folders = ("first", "second")
        processes = [await start_process(stage, "apply", name, "--report-dir", folder) for folder in folders]
        runs = [await wait_for_end(stage, process) for process in processes]

        assert [ended.code for ended in runs] == [0, 0], [ended.out for ended in runs]
        assert set(stage.repository.tags) == {"2.0"}
        reports = [json.loads((tmp_path / folder / "report.json").read_text()) for folder in folders]
        assert all(report["counts"]["failed"] == 0 for report in reports)
        assert sum(report["counts"]["deleted"] for report in reports) == 32
