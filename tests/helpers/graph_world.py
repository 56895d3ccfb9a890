"""A small shop whose registry holds image graphs, for tests that run the whole tool in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.repository import OPEN, Attributes, RepositoryState
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from acr_cleanup.records.journal_reader import read_journal
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.tool_runs import RunResult, Tool

OLD, YOUNG = timedelta(days=100), timedelta(days=1)
APP = "app"


class GraphWorld:
    """
    Cluster `production` runs `app:live`. Everything else is pushed by the test.

    A tag without a repository is one of `app`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(face="proxy")
        self.cluster = self.world.clusters["production"] = ClusterState("aks-prod", auth="token")
        self.registry = self.world.registry
        self.config: dict[str, Any] = {}
        self.push("live", age=YOUNG)
        self.run_image(tag="live")

    # -- the registry ------------------------------------------------------------------------------

    def push(self, tag: str | None, *, age: timedelta = OLD, repository: str = APP, **image: Any) -> str:
        """Push an OCI image; return its digest."""
        return self.registry.push(repository, tag, age=age, **{"media_type": OCI_MANIFEST, **image})

    @property
    def repository(self) -> RepositoryState:
        return self.registry.repositories[APP]

    @property
    def tags(self) -> set[str]:
        return set(self.repository.tags)

    @property
    def manifests(self) -> set[str]:
        return set(self.repository.manifests)

    def put_aside(self, reference: str, **attributes: bool) -> None:
        """Disable reading of a tag or a digest."""
        self.registry.lock(APP, reference, read=False, **attributes)

    def when(self, do: Callable[[], object], **fault: Any) -> None:
        """Do this right before the first matching request to the registry is answered."""

        async def hook(_: web.Request) -> None:
            do()

        self.world.faults.append(Fault(**{"service": "acr", "before": hook, "times": 1, **fault}))

    def requests(self, method: str, path: str) -> int:
        """The number of requests to the registry."""
        return self.world.count(service="acr", method=method, path=path)

    # -- the cluster -------------------------------------------------------------------------------

    def run_image(self, *, tag: str | None = None, digest: str | None = None, repository: str = APP) -> None:
        """Add a pod that runs this tag or digest."""
        image = self.registry.image(repository, tag, digest)
        name = f"pod-{len(self.cluster.pods())}"
        self.cluster.add(build.pod("shop", name, [image], image_ids=[f"{digest or ''}"]))

    # -- runs --------------------------------------------------------------------------------------

    def play(self, work: Callable[[Tool], Awaitable[RunResult]]) -> RunResult:
        async def run() -> RunResult:
            async with serve_in_memory(self.world, self.folder) as tool:
                # Lists of services are half the requests of a run, and no graph depends on them.
                self.config = {"services": "off", **tool.emulator.config(), **self.config}
                return await work(tool)

        return run_in_virtual_time(run)

    def plan(self, **options: str) -> RunResult:
        return self.play(lambda tool: tool.plan(self.config, **options))

    def apply(self, **options: str) -> RunResult:
        """
        Apply, and check promise 11.

        Every manifest and tag that is gone was planned, is counted as deleted, and is in the journal.
        """
        before = contents(self.registry.repositories)
        ran = self.play(lambda tool: tool.apply(self.config, **options))
        assert_accounted(ran, before, contents(self.registry.repositories), self.folder / "report" / "journal.jsonl")
        return ran


def contents(repositories: Mapping[str, RepositoryState]) -> set[str]:
    """Every tag and manifest of the registry: `app:1.0`, `app@sha256:…`."""
    tags = {f"{name}:{tag}" for name, state in repositories.items() for tag in state.tags}
    return tags | {f"{name}@{digest}" for name, state in repositories.items() for digest in state.manifests}


def assert_accounted(ran: RunResult, before: set[str], after: set[str], journal: Path) -> None:
    """Check that exactly the removed tags and manifests are reported as deleted, and journalled."""
    removed = before - after
    outcomes = ran.report["outcomes"]
    reported = {
        f"{outcome['repository']}:{outcome['tag']}"
        if outcome["tag"]
        else f"{outcome['repository']}@{outcome['digest']}"
        for outcome in outcomes
        if outcome["outcome"] == "deleted"
    }
    assert reported == removed, (reported ^ removed, ran.out)
    assert ran.report["counts"]["deleted"] == sum("@" not in name for name in removed)
    assert ran.report["counts"]["deleted_manifests"] == sum("@" in name for name in removed)
    deletions = read_journal(journal).deletions if journal.exists() else ()
    journalled = {f"{entry.repository}:{tag}" for entry in deletions for tag in entry.tags}
    journalled |= {f"{entry.repository}@{entry.digest}" for entry in deletions if entry.deletes_manifest}
    assert removed <= journalled, (removed - journalled, ran.out)


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GraphWorld:
    connect_in_memory(monkeypatch)
    return GraphWorld(tmp_path)


__all__ = ["APP", "OLD", "OPEN", "YOUNG", "Attributes", "GraphWorld", "assert_accounted", "contents", "graph"]
