"""Runs plan and apply in this process, on an emulated world, and reads their reports."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.commands.run import run
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.records.reviewed_plan import read
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.secret_leaks import assert_none_leaked, files_below


@dataclass(frozen=True)
class RunResult:
    """The result of a run."""

    code: int
    report: Mapping[str, Any]
    """The content of report.json."""
    out: str
    err: str

    @property
    def deleted(self) -> set[str]:
        return set(self.report["deleted_tags"])

    @property
    def planned(self) -> set[str]:
        return set(self.report["planned_tags"])

    @property
    def blockers(self) -> list[Mapping[str, str]]:
        return list(self.report["blockers"])

    def outcomes(self, tag: str) -> set[str]:
        """Return the outcomes of a tag, in all repositories."""
        return {outcome["outcome"] for outcome in self.report["outcomes"] if outcome["tag"] == tag}


@dataclass
class Tool:
    """
    The tool, configured for an emulated world.

    `plans_as_json`: a dry run prints report.json, which is much cheaper than the report for people.
    """

    emulator: Emulator
    folder: Path
    plans_as_json: bool = False

    @property
    def world(self) -> World:
        return self.emulator.world

    async def plan(self, config: Mapping[str, Any] | None = None, /, **options: str) -> RunResult:
        return await self.run(config, dry_run=True, **options)

    async def apply(self, config: Mapping[str, Any] | None = None, /, **options: str) -> RunResult:
        return await self.run(config, dry_run=False, **options)

    async def run(self, config: Mapping[str, Any] | None = None, /, *, dry_run: bool, **options: str) -> RunResult:
        """
        Run the tool, and check that its output and its files contain no secret.

        `config`: the configuration file, by default that of the emulator. `options`: inputs by
        name.
        """
        path = self.folder / "acr-cleanup.json"
        path.write_text(json.dumps(config or self.emulator.config()), encoding="utf-8")
        report_dir = self.folder / "report"
        report_dir.mkdir(exist_ok=True)
        (report_dir / "report.json").unlink(missing_ok=True)
        settings = load_settings(path, {"report-dir": str(report_dir), **options}, os.environ)
        reviewed = None if settings.apply_plan is None else read(settings.apply_plan, "apply-plan")
        out, err = io.StringIO(), io.StringIO()
        terminal = Terminal(stdout=out, stderr=err, environ={})
        print_json = terminal.write if dry_run and self.plans_as_json else None
        code = await run(settings, terminal, os.environ, dry_run=dry_run, reviewed=reviewed, print_json=print_json)
        streams = {"stdout": out.getvalue(), "stderr": err.getvalue()}
        assert_none_leaked(self.emulator, streams | files_below(report_dir))
        report = json.loads((report_dir / "report.json").read_text(encoding="utf-8"))
        return RunResult(code, report, out.getvalue(), err.getvalue())

    def left(self, repository: str) -> set[str]:
        """Return the tags that the repository still has."""
        state = self.world.registry.repositories.get(repository)
        return set(state.tags) if state else set()


@asynccontextmanager
async def serving_over_tls(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """
    Serve an emulated world on sockets, and set the environment variables that lead the tool to it.

    It takes four times as long as `in_memory_world.serving`: for tests of certificates, of connections
    and of other processes.
    """
    async with Emulator(world) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield Tool(emulator, folder)
