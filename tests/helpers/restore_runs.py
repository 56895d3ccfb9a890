"""Runs restore in this process, on an emulated world without sockets."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acr_cleanup.commands.restore import read, restore
from acr_cleanup.emulator import World
from acr_cleanup.reports.restoration import RestorationReport
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.in_memory_world import run_in_virtual_time, serve_in_memory


@dataclass(frozen=True)
class RestoreRun:
    """The result of a restore."""

    code: int
    out: str
    report: RestorationReport


def run_restore(world: World, folder: Path, journal: Path) -> RestoreRun:
    """Restore a journal in virtual time. Call `connect_in_memory` before."""
    shown: list[RestorationReport] = []

    class Runtime(Terminal):
        def show(self, report: Any) -> None:
            shown.append(report)
            super().show(report)

    async def play() -> RestoreRun:
        async with serve_in_memory(world, folder) as tool:
            config = folder / "restore.json"
            config.write_text(json.dumps(tool.emulator.config()), encoding="utf-8")
            out = io.StringIO()
            runtime = Runtime(stdout=out, stderr=out, environ={})
            settings = load_settings(config, {}, os.environ, needs_clusters=False)
            code = await restore(journal, read(journal), settings, runtime, os.environ)
            [report] = shown
            return RestoreRun(code, out.getvalue(), report)

    return run_in_virtual_time(play)
