"""
Benchmarks of one large repository, on a registry that costs little CPU (`light_registry`): requests,
deletions at a distance beside the requests of acr-cli, CPU and memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from tests.bench.rows import MALLOC, Row
from tests.helpers.paths import ROOT

WIDTH = 32
DELETIONS = 3_000
TAGS, OLD, NARROW, DISTANCE = 200_000, 2_000, 8, 20
TURNS = "turns.json"
LIGHT = 0.0005
"""Seconds of CPU a request, above which the registry and not its client may be the limit."""


@dataclass(frozen=True)
class Measured:
    """One client on one registry: its seconds, CPU and memory, and the requests that were received."""

    seconds: float
    cpu: float
    peak: int
    log: list[tuple[float, str, str, int]]
    cost: float
    turns: list[tuple[float, str]]
    """The longest turns of the event loop, if they were measured, in CPU seconds."""

    @property
    def deleting(self) -> float:
        """Seconds from the first deletion sent to the last one sent."""
        moments = [moment for moment, method, _, _ in self.log if method == "DELETE"]
        return max(moments) - min(moments)

    def lists(self, kind: str) -> int:
        return sum(method == "GET" and path.endswith(kind) for _, method, path, _ in self.log)


def ours(world: dict[str, Any], folder: Path, width: int = WIDTH) -> list[str]:
    file = folder / "acr-cleanup.json"
    config = {**world["config"], "max_deletions": 0, "concurrency": width, "services": "off"}
    file.write_text(json.dumps(config), encoding="utf-8")
    return ["acr_cleanup", "apply", str(file), "--report-dir", str(folder / "report")]


def ours_timed(world: dict[str, Any], folder: Path) -> list[str]:
    return ["tests.bench.turns", str(folder / TURNS), *ours(world, folder, NARROW)]


def planning(world: dict[str, Any], folder: Path) -> list[str]:
    module, _, *words = ours(world, folder)
    return [module, "plan", *words]


def peer(world: dict[str, Any], _: Path) -> list[str]:
    return ["tests.bench.peer", str(WIDTH), world["config"]["container_registry"]["url"]]


def measure(words: Callable[[dict[str, Any], Path], list[str]], tags: int, old: int, milliseconds: int = 0) -> Measured:
    """Run a client on a registry with so many tags, and an added latency."""
    serving = [sys.executable, "-m", "tests.bench.light_registry", str(tags), str(old), str(milliseconds / 1000)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Popen(serving, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) as registry,
    ):
        assert registry.stdin is not None
        assert registry.stdout is not None
        world = json.loads(registry.stdout.readline())
        command = [sys.executable, "-m", *words(world, Path(folder))]
        began = time.monotonic()
        # Modules are compiled once, as in the image, and not in each run.
        environment = {**os.environ, **MALLOC, "PYTHONDONTWRITEBYTECODE": "", **world["environment"]}
        client = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(client.pid, 0)
        client.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        registry.stdin.close()
        received = json.loads(registry.stdout.readline())
        file = Path(folder) / TURNS
        turns = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    assert client.returncode == 0
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024
    return Measured(seconds, cpu, peak, received["log"], received["cost"], turns)


def one_repository() -> list[Row]:
    """A repository of 200,000 tags, one of 3,500, and 3,000 deletions at a distance."""
    return [*_large(), _lists(), *_distance(50, 2.0), *_distance(20, 1.8)]


def _large() -> list[Row]:
    run, plan = measure(ours_timed, TAGS, OLD, DISTANCE), measure(planning, TAGS, OLD)
    # Without the start and the reports, during which nothing is in flight.
    turn = max((seconds for seconds, callback in run.turns if "coro=<run()" not in callback), default=0.0)
    # Plan, one look and proof list tags and manifests; the attributes are read for the first two. The
    # login takes two requests.
    pages = TAGS // 1_000
    fewest = 2 + 2 * (2 * pages + 1) + 2 * (TAGS - OLD) // 1_000 + OLD
    claim = f"{OLD:,} of {TAGS:,} tags deleted in one repository"
    ideal = OLD * DISTANCE / 1000 / NARROW
    return [
        Row(
            f"from first to last deletion: {claim}, at {DISTANCE} ms, {NARROW} at once",
            f"{run.deleting:.2f} s",
            f"{OLD:,} × {DISTANCE} ms / {NARROW}: {ideal:.2f} s{_limit(run)}",
            f"{run.deleting / ideal:.2f} ×",
            "≤ 1.3 ×",
            run.deleting <= 1.3 * ideal,
        ),
        Row(
            f"requests: {claim}",
            f"{len(run.log):,}",
            f"plan, one look, deletions and proof: {fewest:,}",
            f"{len(run.log) / fewest:.3f} ×",
            "≤ 1.05 ×",
            len(run.log) <= 1.05 * fewest,
        ),
        Row(f"CPU: {claim}", f"{run.cpu:.1f} s", "", f"{run.cpu:.1f} s", "≤ 20 s", run.cpu <= 20),
        Row(
            f"memory: {claim}",
            f"{run.peak / 1e6:.0f} MB",
            "",
            f"{run.peak / 1e6:.0f} MB",
            "≤ 200 MB",
            run.peak <= 200e6,
        ),
        Row(
            f"memory: a plan of {TAGS:,} tags in one repository",
            f"{plan.peak / 1e6:.0f} MB",
            "",
            f"{plan.peak / 1e6:.0f} MB",
            "≤ 200 MB",
            plan.peak <= 200e6,
        ),
        Row(
            f"longest turn of the event loop: {claim}",
            f"{turn * 1e3:.0f} ms of CPU",
            "",
            f"{turn * 1e3:.0f} ms",
            "≤ 100 ms",
            turn <= 0.1,
        ),
    ]


def _lists() -> Row:
    tags = 3_500
    run = measure(ours, tags, tags - 10)
    lists = run.lists("/_tags")
    return Row(
        f"pages of tags: {tags:,} tags deleted in one repository",
        f"{lists}",
        "listed before each of 7 batches: 23",
        f"{lists}",
        "≤ 16",
        lists <= 16,
    )


def _limit(run: Measured) -> str:
    return "" if run.cost < LIGHT else f"; the registry is the limit: {run.cost * 1e3:.2f} ms of CPU a request"


def _distance(milliseconds: int, goal: float) -> list[Row]:
    run, other = (measure(words, DELETIONS + 1, DELETIONS, milliseconds) for words in (ours, peer))
    ideal = DELETIONS * milliseconds / 1000 / WIDTH
    limit = _limit(run)
    claim = f"{DELETIONS:,} manifests in one repository at {milliseconds} ms, {WIDTH} at once"
    return [
        Row(
            f"from first to last deletion: {claim}",
            f"{run.deleting:.2f} s",
            f"{DELETIONS:,} × {milliseconds} ms / {WIDTH}: {ideal:.2f} s{limit}",
            f"{run.deleting / ideal:.2f} ×",
            "≤ 1.15 ×" if milliseconds == 50 else "shown, no goal",
            milliseconds != 50 or run.deleting <= 1.15 * ideal,
        ),
        Row(
            f"the whole run: {claim}",
            f"{run.seconds:.1f} s, {len(run.log):,} requests",
            f"requests of acr-cli `--untagged`, replayed: {other.seconds:.1f} s, {len(other.log):,} requests{limit}",
            f"{other.seconds / run.seconds:.2f} × faster",
            f"≥ {goal} ×",
            other.seconds >= goal * run.seconds,
        ),
    ]
