"""A job of either CI system, at a shop whose registry has two tags to delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.jobs import Job, install

J = TypeVar("J", bound=Job)
OLD = timedelta(days=100)
PROMPTLY = 20.0
"""
Seconds in which a cancelled step must end. The hanging request would take sixty.

The promise is five seconds on an idle machine, but tests share theirs. The agent of Azure Pipelines
leaves ten seconds (7.5 after SIGINT, 2.5 after SIGTERM).
"""
HOSTILE = (
    "::add-mask::contoso",
    "\n::set-output name=result::success",
    "\r\n  ::error::boo",
    "##[error]boo",
    "\r\n  ##[error]boo",
    "##vso[task.setvariable variable=PATH]evil",
    "\n##vso[task.complete result=Succeeded]",
    "x ##vso[task.uploadfile]/etc/passwd",
    "%0A::stop-commands::x",
    "\x1b[2J",
    "</details><script>alert(1)</script>",
    "a<br>\n===\n# b",
    "| a | `b` | [x](https://evil.example)",
)
"""Texts that a CI system, a terminal or Markdown would interpret."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The interpreter and the script of an installed package."""
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    return install(folder)


@asynccontextmanager
async def shop_job(kind: type[J], world: World, folder: Path, installed: tuple[Path, Path]) -> AsyncIterator[J]:
    """
    Open a job that may log in.

    `shop/web` has the old tags 1.0, 1.1, 2.0 and latest; 2.0 runs in the cluster `production`.
    """
    registry = world.registry
    for name in ("1.0", "1.1", "2.0", "latest"):
        registry.push("shop/web", name, age=OLD)
    cluster = ClusterState("aks-prod")
    world.clusters["production"] = cluster
    async with Emulator(world) as emulator:
        cluster.run(build.deployment("shop", "web", [registry.image("shop/web", "2.0")]))
        job = kind(emulator, folder, *installed)
        job.trust()
        yield job


def inline(job: Job, **more: str) -> dict[str, str]:
    """Return inputs that need no configuration file."""
    cluster = job.world.clusters["production"]
    resource_id = (
        f"/subscriptions/{cluster.subscription_id}/resourceGroups/{cluster.resource_group}"
        f"/providers/Microsoft.ContainerService/managedClusters/{cluster.name}"
    )
    inputs = {name.replace("_", "-"): value for name, value in more.items()}
    return {**job.login(), "registry": "contoso", "clusters": f"# production\n{resource_id}\n", **inputs}


def setting(event: asyncio.Event) -> Callable[[object], Awaitable[None]]:
    """Return a hook for `Fault.before` that sets the event."""

    async def reached(_: object) -> None:
        event.set()

    return reached
