"""
Serve one emulated world until stdin is closed: `python -m tests.bench.serving WORLD`.

It prints its addresses at the start, and the requests that it received at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any
from unittest.mock import patch

from aiohttp.web_protocol import RequestHandler

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Budget, Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_MANIFEST
from acr_cleanup.emulator.services import SUBSCRIPTION
from tests.bench.rows import MALLOC

CLUSTERS = 100
SLOW, QUICK = 0.8, 0.05
"""Seconds per answer of the slowest cluster, and of the others."""
PODS_EACH = 500


def one_cluster(world: World) -> None:
    """The smallest useful run: 300 tags and one cluster."""
    for number in range(300):
        world.registry.push("shop/web", f"1.{number}", age=timedelta(days=100))
    cluster = world.clusters["production"] = ClusterState("aks-prod")
    cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "1.0")], replicas=3))


def busy_clusters(world: World) -> None:
    """100 clusters of 500 pods."""
    hundred_clusters(world)
    for cluster in world.clusters.values():
        for number in range(PODS_EACH // 10):
            images = [world.registry.image("shop/web", "2.0"), f"docker.io/library/app-{number}:1"]
            cluster.run(build.deployment("shop", f"app-{number}", images, replicas=10))


def hundred_clusters(world: World) -> None:
    """100 clusters that run the same few images; one of them is slow."""
    for tag in ("1.0", "2.0"):
        world.registry.push("shop/web", tag, age=timedelta(days=100))
    for number in range(CLUSTERS):
        cluster = ClusterState(f"aks-{number:03}")
        cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")], replicas=3))
        world.clusters[f"cluster-{number:03}"] = cluster
        world.faults.append(Fault(service=f"kubernetes/{cluster.name}", latency=QUICK if number else SLOW))


DELETIONS = 3_000
MINUTE = 15.0
"""
Seconds of one minute of the limited registry, which is shortened; the share that is used counts.
"""


def limited(world: World, per_minute: int, minute: float) -> None:
    """A registry that allows `per_minute` deletions in each window of `minute` seconds."""
    world.clusters["production"] = ClusterState("aks-prod")
    for name in ("shop/web", "shop/cart", "shop/pay"):
        for number in range(DELETIONS // 3):
            world.registry.push(name, f"1.{number}", age=timedelta(days=100))
        world.registry.push(name, "2.0", age=timedelta(days=1))
        world.clusters["production"].run(build.deployment("shop", name[5:], [world.registry.image(name, "2.0")]))
    world.budgets["DataplaneDelete"] = Budget(per_minute, seconds=minute)


READS, READ_MINUTE = 7_500, 60.0
"""
Lists in a registry with limited reads, two per repository; and its minute, which is a real one
here.
"""


def limited_reads(world: World, per_minute: int) -> None:
    """A registry that allows `per_minute` reads a minute. Each repository takes two lists."""
    cluster = world.clusters["production"] = ClusterState("aks-prod")
    for number in range(READS // 2):
        name = f"team/service-{number}"
        world.registry.push(name, "1.0", age=timedelta(days=100))
        cluster.add(build.pod("team", f"service-{number}", [world.registry.image(name, "1.0")]))
    world.budgets["DataplaneRead"] = Budget(per_minute, seconds=READ_MINUTE)


REPOSITORIES, MANIFESTS, OLD_MANIFESTS = 10, 125, 25
"""
The registry whose requests are counted.

Each manifest has two tags; per repository, `OLD_MANIFESTS` are old and unused.
"""


def counted(world: World, *, abac: bool) -> None:
    """
    Ten repositories of 250 tags on 125 manifests; 500 tags and their 250 manifests are deleted.
    """
    world.registry.abac = abac
    cluster = world.clusters["production"] = ClusterState("aks-prod")
    for number in range(REPOSITORIES):
        name = f"team/service-{number}"
        for version in range(MANIFESTS):
            age = timedelta(days=100 if version < OLD_MANIFESTS else 1)
            digest = world.registry.push(name, f"{version}", age=age)
            world.registry.tag(name, f"{version}-alias", digest, age)
        cluster.run(build.deployment("team", f"service-{number}", [world.registry.image(name, f"{MANIFESTS - 1}")]))


KEPT_IMAGES, OLD_IMAGES = 100, 20


def subjects(world: World, kept: int, old: int, media_type: str) -> None:
    """One repository with so many kept and old images; any OCI image may have a subject."""
    cluster = world.clusters["production"] = ClusterState("aks-prod")
    for number in range(kept):
        world.registry.push("shop/web", f"2.{number}", age=timedelta(days=1), media_type=media_type)
    for number in range(old):
        world.registry.push("shop/web", f"1.{number}", age=timedelta(days=100), media_type=media_type)
    cluster.run(build.deployment("shop", "web", [world.registry.image("shop/web", "2.0")]))


def subjects_in_indexes(world: World, kept: int, old: int, *, shared: bool = False) -> None:
    """
    As `subjects`, with indexes of two platforms in place of images.

    shared: each old index shares a platform with a kept one, and has an attestation besides.
    """
    cluster = world.clusters["production"] = ClusterState("aks-prod")
    registry, young, before = world.registry, timedelta(days=1), timedelta(days=100)

    def push(age: timedelta, **image: Any) -> str:
        return registry.push("shop/web", None, age=age, media_type=OCI_MANIFEST, **image)

    common = []
    for number in range(kept):
        children = [push(young), push(young, architecture="arm64")]
        common.append(children[0])
        registry.push_index("shop/web", f"2.{number}", children=children, age=young)
    for number in range(old):
        image = common[number % kept] if shared else push(before)
        other = push(before, architecture="unknown", os="unknown", subject=image) if shared else push(before)
        registry.push_index("shop/web", f"1.{number}", children=[image, other], age=before)
    cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))


def distant(world: World, latency: float) -> None:
    """A registry without rate limits, in which every answer takes `latency` seconds."""
    limited(world, 1_000_000, 60)
    world.faults.append(Fault(service="acr", latency=latency))


def slowing(world: World) -> None:
    """
    A registry in which a third of the deletions takes ten times as long: 200 ms instead of 20.
    """
    distant(world, 0.020)
    world.faults.append(
        Fault(service="acr", method="DELETE", after=DELETIONS // 3, times=DELETIONS // 3, latency=0.180)
    )


SERVICE_APPS, SERVICE_SUBSCRIPTIONS, SERVICE_LATENCY = 500, 5, 0.03


def services(world: World) -> None:
    """Container Apps in several subscriptions."""
    for number in range(SERVICE_APPS):
        subscription = f"{number % SERVICE_SUBSCRIPTIONS}{SUBSCRIPTION[1:]}"
        image = f"{world.registry.login_server}/shop/app:{number}"
        world.services.container_app(f"app-{number}", image, subscription=subscription)
    world.latency = SERVICE_LATENCY


# Filled after the emulator has started: before that, the host of the registry is not known.
WORLDS: Mapping[str, Callable[[World], None]] = {
    "one-cluster": one_cluster,
    "hundred-clusters": hundred_clusters,
    "busy-clusters": busy_clusters,
    # The limits of Basic and Standard, and of Premium, for one identity.
    "500-a-minute": lambda world: limited(world, 500, MINUTE),
    "2000-a-minute": lambda world: limited(world, 2_000, MINUTE),
    "5000-reads-a-minute": lambda world: limited_reads(world, 5_000),
    "subjects-docker": lambda world: subjects(world, KEPT_IMAGES, OLD_IMAGES, DOCKER_MANIFEST),
    "subjects-oci": lambda world: subjects(world, KEPT_IMAGES, OLD_IMAGES, OCI_MANIFEST),
    "subjects-few-kept": lambda world: subjects(world, OLD_IMAGES, KEPT_IMAGES, OCI_MANIFEST),
    "subjects-indexes": lambda world: subjects_in_indexes(world, KEPT_IMAGES, OLD_IMAGES),
    "subjects-indexes-few-kept": lambda world: subjects_in_indexes(world, OLD_IMAGES, KEPT_IMAGES),
    "subjects-shared": lambda world: subjects_in_indexes(world, KEPT_IMAGES, OLD_IMAGES, shared=True),
    "counted": lambda world: counted(world, abac=False),
    "counted-abac": lambda world: counted(world, abac=True),
    "20-ms": lambda world: distant(world, 0.020),
    "50-ms": lambda world: distant(world, 0.050),
    "slowing": slowing,
    "services": services,
}


@dataclass
class Served:
    """
    A served world: its addresses and, after it has ended, the requests that the registry received.
    """

    config: dict[str, Any]
    environment: dict[str, str]
    requests: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    """Connections opened to the registry."""
    arrivals: list[float] = field(default_factory=list)
    """When each request to any service arrived, as `time.time` has it."""


@contextmanager
def served(name: str) -> Iterator[Served]:
    """Serve this world in its own process."""
    words = [sys.executable, "-m", "tests.bench.serving", name]
    with Popen(words, stdin=PIPE, stdout=PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            assert process.stdout is not None
            world = Served(**json.loads(process.stdout.readline()))
            yield world
        finally:
            assert process.stdin is not None
            process.stdin.close()
        world.connections = json.loads(process.stdout.readline())
        world.requests += json.loads(process.stdout.readline())
        world.arrivals += json.loads(process.stdout.readline())


def cpu_of_children() -> float:
    """CPU seconds of all child processes that have ended; a served world counts only then."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Usage:
    """The cost of one process: seconds, seconds of CPU, and peak bytes of memory."""

    seconds: float
    cpu: float
    memory: int


def usage_of(words: Sequence[str], environment: Mapping[str, str]) -> Usage:
    """Run a program of Python to its end, and return its cost."""
    # Compiled modules are kept: a user compiles them only once.
    environment = {**os.environ, **MALLOC, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    with Popen(
        [sys.executable, *words], stdout=DEVNULL, stderr=DEVNULL, env=environment, cwd=Path(__file__).parents[2]
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    return Usage(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def usage_of_plan(world: Served, folder: Path, environment: Mapping[str, str] | None = None, **changes: Any) -> Usage:
    """Run `acr-cleanup plan` in this world, and return its cost."""
    file = folder / "acr-cleanup.json"
    file.write_text(json.dumps({**world.config, **changes}), encoding="utf-8")
    words = ["-m", "acr_cleanup", "plan", str(file), "--report-dir", str(folder / "report")]
    return usage_of(words, {**world.environment, **(environment or {})})


def run(verb: str, world: Served, folder: Path, **changes: Any) -> tuple[float, dict[str, Any]]:
    """Run `acr-cleanup VERB` in this world. Returns its seconds and its report."""
    file = folder / "acr-cleanup.json"
    file.write_text(json.dumps({**world.config, **changes}), encoding="utf-8")
    words = [sys.executable, "-m", "acr_cleanup", verb, str(file), "--report-dir", str(folder / "report")]
    environment = {**os.environ, **world.environment}
    began = time.monotonic()
    subprocess.run(words, check=True, capture_output=True, env=environment, cwd=Path(__file__).parents[2])
    took = time.monotonic() - began
    report: dict[str, Any] = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    return took, report


@contextmanager
def counting_connections() -> Iterator[Counter[int]]:
    """Count the connections that each port of this process accepts."""
    accepted: Counter[int] = Counter()
    original = RequestHandler.connection_made

    def connection_made(handler: RequestHandler, transport: asyncio.BaseTransport) -> None:
        accepted[transport.get_extra_info("sockname")[1]] += 1
        original(handler, transport)

    with patch.object(RequestHandler, "connection_made", connection_made):
        yield accepted


async def main() -> None:
    with counting_connections() as accepted:
        await serve(accepted)


async def serve(accepted: Mapping[int, int]) -> None:
    async with Emulator(World(face="direct")) as emulator:
        WORLDS[sys.argv[1]](emulator.world)
        print(json.dumps({"config": emulator.config(), "environment": emulator.environment()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        log = [asdict(record) for record in emulator.world.requests if record.service == "acr"]
        print(accepted.get(int(emulator.registry_url.rpartition(":")[2]), 0))
        print(json.dumps(log))
        print(json.dumps([record.at for record in emulator.world.requests]), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
