"""Serves one world until its stdin is closed (`python -m tests.bench.serving WORLD`); says how to reach it, and what was asked."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator import kubernetes_objects as build
from acr_cleanup.emulator.faults import Budget, Fault
from acr_cleanup.emulator.kubernetes import ClusterState

CLUSTERS = 100
SLOW, QUICK = 0.8, 0.15
"""Seconds until each answer: of the slowest cluster, and of the others."""


def hundred_clusters(world: World) -> None:
    """A hundred clusters that run the same few images; one of them is slow."""
    for tag in ("1.0", "2.0"):
        world.registry.push("shop/web", tag, age=timedelta(days=100))
    for number in range(CLUSTERS):
        cluster = ClusterState(f"aks-{number:03}")
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")], replicas=3))
        world.clusters[f"cluster-{number:03}"] = cluster
        world.faults.append(Fault(service=f"kubernetes/{cluster.name}", latency=QUICK if number else SLOW))


DELETIONS = 3_000
MINUTE = 15.0
"""Seconds of a minute of the limited registry: what counts is how much of each is used."""


def limited(world: World, per_minute: int, minute: float) -> None:
    """A registry that lets `per_minute` deletions through in each of its minutes, which last `minute` seconds."""
    world.clusters["production"] = ClusterState("aks-prod")
    for name in ("shop/web", "shop/cart", "shop/pay"):
        for number in range(DELETIONS // 3):
            world.registry.push(name, f"1.{number}", age=timedelta(days=100))
        world.registry.push(name, "2.0", age=timedelta(days=1))
        world.clusters["production"].run(build.deployment("shop", name[5:], [world.registry.image(name, "2.0")]))
    world.budgets["DataplaneDelete"] = Budget(per_minute, seconds=minute)


# They are filled when they stand: before that, nobody knows the host of the registry.
WORLDS: Mapping[str, Callable[[World], None]] = {
    "hundred-clusters": hundred_clusters,
    # The limits of Basic and Standard, and of Premium, for one identity.
    "500-a-minute": lambda world: limited(world, 500, MINUTE),
    "2000-a-minute": lambda world: limited(world, 2_000, MINUTE),
}


@dataclass
class Served:
    """A world that is being served: how to reach it, and (when that is over) what was asked of the registry."""

    config: dict[str, Any]
    environment: dict[str, str]
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def served(name: str) -> Iterator[Served]:
    """This world, served by a process of its own."""
    words = [sys.executable, "-m", "tests.bench.serving", name]
    with Popen(words, stdin=PIPE, stdout=PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            world = Served(**json.loads(process.stdout.readline()))
            yield world
        finally:
            assert process.stdin is not None
            process.stdin.close()
        world.requests += json.loads(process.stdout.readline())


def run(verb: str, world: Served, folder: Path, **changes: Any) -> tuple[float, dict[str, Any]]:
    """Seconds that `acr-cleanup VERB` takes there with this configuration, and its report."""
    file = folder / "acr-cleanup.json"
    file.write_text(json.dumps({**world.config, **changes}), encoding="utf-8")
    words = [sys.executable, "-m", "acr_cleanup", verb, str(file), "--report-dir", str(folder / "report")]
    environment = {**os.environ, **world.environment}
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True, env=environment, cwd=Path(__file__).parents[2])
    took = time.monotonic() - began
    report: dict[str, Any] = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    return took, report


async def main() -> None:
    async with Emulator(World(face="direct")) as emulator:
        WORLDS[sys.argv[1]](emulator.world)
        print(json.dumps({"config": emulator.config(), "environment": emulator.environment()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        log = [asdict(record) for record in emulator.world.requests if record.service == "acr"]
        print(json.dumps(log), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
