"""Serves one world until its stdin is closed (`python -m tests.bench.serving WORLD`), and prints how to reach it as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator import kubernetes_objects as build
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import ClusterState

CLUSTERS = 100
SLOW, QUICK = 0.8, 0.15
"""Seconds until each answer: of the slowest cluster, and of the others."""


def hundred_clusters() -> World:
    """A hundred clusters that run the same few images; one of them is slow."""
    world = World(face="direct")
    for tag in ("1.0", "2.0"):
        world.registry.push("shop/web", tag, age=timedelta(days=100))
    for number in range(CLUSTERS):
        cluster = ClusterState(f"aks-{number:03}")
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")], replicas=3))
        world.clusters[f"cluster-{number:03}"] = cluster
        world.faults.append(Fault(service=f"kubernetes/{cluster.name}", latency=QUICK if number else SLOW))
    return world


WORLDS: Mapping[str, Callable[[], World]] = {"hundred-clusters": hundred_clusters}


@contextmanager
def served(name: str) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The configuration and the environment that lead to this world, served by a process of its own."""
    words = [sys.executable, "-m", "tests.bench.serving", name]
    with Popen(words, stdin=PIPE, stdout=PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            reached = json.loads(process.stdout.readline())
            yield reached["config"], reached["environment"]
        finally:
            assert process.stdin is not None
            process.stdin.close()


async def main() -> None:
    async with Emulator(WORLDS[sys.argv[1]]()) as emulator:
        print(json.dumps({"config": emulator.config(), "environment": emulator.environment()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
