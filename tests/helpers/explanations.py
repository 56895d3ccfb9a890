"""Runs `acr-cleanup explain` on a stage, and reads what it prints."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields

from acr_cleanup.commands.connections import Connections, connect
from acr_cleanup.commands.explain import explain, explain_report
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.runtimes.base import Progress
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from acr_cleanup.stages.read import ConfiguredClusters
from tests.helpers.stage import Stage

EditScans = Callable[[tuple[ClusterScan, ...]], tuple[ClusterScan, ...]]
"""Changes the scans of the clusters before they are used."""


@dataclass(frozen=True)
class Explanation:
    """A printed explanation."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> str:
        """The first line."""
        return self.out.splitlines()[0]

    @property
    def lines(self) -> list[str]:
        """All lines, with runs of spaces reduced to one."""
        return [" ".join(line.split()) for line in self.out.splitlines()]

    def has_line(self, start: str) -> bool:
        """True if a line starts so."""
        return any(line.startswith(start) for line in self.lines)


async def run_explain(
    stage: Stage, target: str, edit_scans: EditScans = lambda scans: scans, /, **options: str
) -> Explanation:
    """Explain a target; check that the command deletes nothing."""
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.config or stage.tool.emulator.config()), encoding="utf-8")
    settings = load_settings(path, options, os.environ)
    out, err = io.StringIO(), io.StringIO()
    runtime = Terminal(stdout=out, stderr=err, environ={})

    @dataclass(frozen=True)
    class EditedClusters(ConfiguredClusters):
        async def scan(self, progress: Progress, repositories: Collection[str]) -> tuple[ClusterScan, ...]:
            return edit_scans(await super().scan(progress, repositories))

    @asynccontextmanager
    async def open_connections() -> AsyncIterator[Connections]:
        async with connect(settings, runtime, os.environ) as real:
            assert isinstance(real.sources, ConfiguredClusters)
            values = {field.name: getattr(real.sources, field.name) for field in fields(real.sources)}
            yield Connections(real.registry, EditedClusters(**values))

    code = await explain(target, settings, runtime, os.environ, open_connections=open_connections)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    assert not stage.world.matching(service="acr", method="DELETE")
    return Explanation(code, out.getvalue(), err.getvalue())


def run_explain_report(stage: Stage, target: str) -> Explanation:
    """Explain a target from the report of the stage's last run."""
    out, err = io.StringIO(), io.StringIO()
    report = stage.tool.folder / "report" / "report.json"
    code = explain_report(target, report, Terminal(stdout=out, stderr=err, environ={}))
    return Explanation(code, out.getvalue(), err.getvalue())
