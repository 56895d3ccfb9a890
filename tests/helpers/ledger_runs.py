"""Runs that follow one another in simulated time and hand on a ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from acr_cleanup.commands import run as run_command
from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from tests.helpers.graph_world import APP, GraphWorld
from tests.helpers.in_memory_world import connect_in_memory
from tests.helpers.tool_runs import RunResult

START = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class LedgerWorld(GraphWorld):
    """
    A shop at a moment that the test moves: `app:live` runs in a cluster.

    machine: how far the clock of the machine is ahead of the registry's.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.time = START
        self.machine = timedelta()
        self.world.clock = lambda: self.time
        self.ledger = folder / "handed-on" / "ledger.json"
        # Its push is older than every run.
        self.push("live", age=timedelta(days=400))

    def at(self, day: float, **options: str) -> RunResult:
        """Apply on this day. `options`: inputs by name, with underscores."""
        return self.apply(**self._set(day, options))

    def plan_at(self, day: float, **options: str) -> RunResult:
        """A dry run on this day."""
        return self.plan(**self._set(day, options))

    def _set(self, day: float, options: dict[str, str]) -> dict[str, str]:
        self.time = START + day * DAY
        return {"ledger": str(self.ledger), **{name.replace("_", "-"): text for name, text in options.items()}}

    def nightly(self, tag: str | None = None, digest: str | None = None, repository: str = APP) -> Callable[[], None]:
        """Start a pod, as a pipeline does at night; return a function that ends it."""
        image = self.registry.image(repository, tag, digest)
        self.cluster.add(build.pod("batch", "nightly", [image]))
        return lambda: self.cluster.remove("pods", "batch", "nightly")

    def text(self) -> str:
        return self.ledger.read_text(encoding="utf-8")


@contextmanager
def moment(world: World, now: datetime) -> Iterator[None]:
    """Let a run in this block happen at this moment, for the world as well."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return now

    clock, world.clock = world.clock, lambda: now
    try:
        with patch.object(run_command, "datetime", Clock):
            yield
    finally:
        world.clock = clock


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerWorld:
    connect_in_memory(monkeypatch)
    world = LedgerWorld(tmp_path)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return world.time + world.machine

    monkeypatch.setattr(run_command, "datetime", Clock)
    return world


__all__ = ["DAY", "START", "LedgerWorld", "moment", "shop"]
