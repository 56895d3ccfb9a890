"""
Scenarios of one run: an ordinary world, one change to it, and the expected result.

A `ScenarioTable` collects functions that change the world. `play` runs one of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jsonschema
import pytest

from acr_cleanup.access import resource_manager
from acr_cleanup.clusters import scan_clusters
from acr_cleanup.clusters.api_server.client import Patience
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.repository import RepositoryState
from acr_cleanup.emulator.registry.state import RegistryState
from acr_cleanup.emulator.roles import DEFAULT_ROLES, RoleDefinition
from acr_cleanup.emulator.world import Face
from acr_cleanup.records.schemas import schema
from acr_cleanup.registry import pace
from tests.emulator.kubernetes.run_command import run_command
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory, serving
from tests.helpers.tool_runs import RunResult, Tool, serving_over_tls
from tests.helpers.virtual_clock import use_virtual_clock

REPOSITORY = "shop/web"
OLD = timedelta(days=100)
YOUNG = timedelta(days=1)
BOTH = ("1.0", "1.1")
"""The tags that a run deletes in the unchanged world."""

# Made once, because checking the schema takes longer than a run.
REPORT_SCHEMA = jsonschema.Draft202012Validator(schema("report"))


# -- the world ------------------------------------------------------------------------------------


@dataclass
class Stage:
    """
    The ordinary world: a cluster runs `shop/web:2.0`; `1.0` and `1.1` are old and unused.

    The cluster is called `production`. A tag without a repository is one of `shop/web`.
    """

    tool: Tool
    options: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    # Tags that contain a digest, and the names by which the tables call them.
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.tool.world

    @property
    def registry(self) -> RegistryState:
        return self.world.registry

    @property
    def repository(self) -> RepositoryState:
        return self.registry.repositories[REPOSITORY]

    @property
    def cluster(self) -> ClusterState:
        return self.world.clusters["production"]

    @property
    def service(self) -> str:
        """The emulator's name for the API server of the cluster."""
        return f"kubernetes/{self.cluster.name}"

    def digest(self, tag: str, repository: str = REPOSITORY) -> str:
        return self.registry.repositories[repository].tags[tag].digest

    def image(self, tag: str | None = None, digest: str | None = None, repository: str = REPOSITORY) -> str:
        return self.registry.image(repository, tag, digest)

    def pod(self, *images: str, **fields: Any) -> dict[str, Any]:
        """Add a pod without an owner. Return the stored object, so that a test can damage it."""
        pod = build.pod("odd", f"odd-{len(self.cluster.pods())}", list(images), **fields)
        self.cluster.add(pod)
        return pod

    def fault(self, **fields: Any) -> Fault:
        fault = Fault(**fields)
        self.world.faults.append(fault)
        return fault

    def another(self, key: str, **state: Any) -> ClusterState:
        """Add a cluster that runs the same image as the first one."""
        cluster = ClusterState(f"aks-{key}", **state)
        self.world.clusters[key] = cluster
        cluster.run(build.deployment("shop", key, [self.image("2.0")]))
        return cluster

    def settings(self, **keys: Any) -> None:
        """Add keys to the configuration file."""
        self.config = {**(self.config or self.tool.emulator.config()), **keys}


def fill(stage: Stage) -> None:
    """Put the ordinary images and the ordinary workload into an empty world."""
    for name in ("1.0", "1.1", "2.0"):
        stage.registry.push(REPOSITORY, name, age=OLD)
    running = stage.image(digest=stage.digest("2.0"))
    stage.cluster.run(build.deployment("shop", "web", [stage.image("2.0")]), image_ids={stage.image("2.0"): running})


@asynccontextmanager
async def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Serve the ordinary world in memory."""
    async with _staged("proxy", lambda world: serving(world, tmp_path, monkeypatch)) as stage:
        yield stage


@asynccontextmanager
async def staged_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face = "proxy"
) -> AsyncIterator[Stage]:
    """Serve the ordinary world on sockets, for tests of connections and of other processes."""
    async with _staged(face, lambda world: serving_over_tls(world, tmp_path, monkeypatch)) as stage:
        yield stage


@asynccontextmanager
async def staged_in_memory(tmp_path: Path) -> AsyncIterator[Stage]:
    """Serve the ordinary world without sockets. Call it within `run_in_virtual_time`."""
    async with _staged("proxy", lambda world: serve_in_memory(world, tmp_path)) as stage:
        yield stage


@asynccontextmanager
async def _staged(face: Face, serve: Callable[[World], AbstractAsyncContextManager[Tool]]) -> AsyncIterator[Stage]:
    world = World(face=face, run_command=run_command)
    world.clusters["production"] = ClusterState("aks-prod")
    async with serve(world) as tool:
        stage = Stage(tool)
        fill(stage)
        yield stage


def shorten_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten every pause between two attempts. The number of attempts remains."""
    monkeypatch.setattr(pace, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(scan_clusters, "Patience", lambda: Patience(pause=0.01, longest_pause=0.05))
    monkeypatch.setattr("acr_cleanup.clusters.api_server.scan._SETTLING", (0.01,))
    monkeypatch.setattr(resource_manager, "_POLL_SECONDS", 0.05)

    async def no_pause(*_: object, **__: object) -> None:
        """The SDK's own pause between two attempts."""

    monkeypatch.setattr("azure.core.pipeline.policies.AsyncRetryPolicy.sleep", no_pause)


# -- tables of scenarios --------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """
    The expected result of a run.

    `deleted`: the tags that the registry no longer has.
    `says`, `silent`: texts that the output contains, and texts that it does not contain.
    `outcomes`: by tag. `counts`: some of the report's counts.
    """

    deleted: frozenset[str]
    code: int = 0
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    outcomes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


Arrange = TypeVar("Arrange", bound=Callable[..., object])


@dataclass(frozen=True)
class Scenario:
    """A change to the ordinary world, and the expected result."""

    name: str
    arrange: Callable[[Stage], object]
    expected: Expected
    faces: tuple[Face | None, ...] = (None,)
    roles: tuple[str | RoleDefinition, ...] = DEFAULT_ROLES
    """The roles of the identity, each assigned everywhere."""
    services: str = "auto"


class ScenarioTable:
    """
    Scenarios, collected by decorators. The name of a function is the name of its scenario.

    `case`: added to the name, for functions that are defined in a loop.
    `both_faces`, `over_tls`: run it over TLS, with the proxy and directly, or with the proxy only.
    Other scenarios run in memory.
    `roles`: those of the identity, assigned everywhere; by default those of all commands.
    `services`: which ones every run reads. Their lists are half the requests of a run.
    """

    def __init__(self, *, services: str = "auto") -> None:
        self.services = services
        self.rows: list[Scenario] = []

    def deletes(
        self, *deleted: str, case: str = "", both_faces: bool = False, over_tls: bool = False, **expected: Any
    ) -> Callable[[Arrange], Arrange]:
        """A scenario after which exactly the tags `deleted` no longer exist."""
        roles = expected.pop("roles", DEFAULT_ROLES)
        faces: tuple[Face | None, ...] = ("proxy", "direct") if both_faces else ("proxy" if over_tls else None,)

        def add(arrange: Arrange) -> Arrange:
            name = f"{arrange.__name__}-{case}" if case else arrange.__name__
            row = Scenario(name, arrange, Expected(frozenset(deleted), **expected), faces, roles, self.services)
            self.rows.append(row)
            return arrange

        return add

    def refuses(self, *says: str, case: str = "", **expected: Any) -> Callable[[Arrange], Arrange]:
        """A scenario that deletes nothing and exits with 3. The output contains `says`."""
        return self.deletes(case=case, code=3, says=says, **expected)

    def parameters(self) -> list[Any]:
        """The pytest parameters `(scenario, face)`. Without a face, it runs in memory."""
        return [
            pytest.param(row, face, id=f"{row.name}-{face or 'memory'}".replace(" ", "-"))
            for row in self.rows
            for face in row.faces
        ]

    def parameters_in_memory(self) -> list[Any]:
        """The pytest parameters `(scenario)`."""
        return [pytest.param(row, id=row.name.replace(" ", "-")) for row in self.rows]


async def play(scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    """Run a scenario, over TLS if it has a face, and assert its expected result."""
    shorten_pauses(monkeypatch)
    served = staged_over_tls(tmp_path, monkeypatch, face) if face else staged(tmp_path, monkeypatch)
    async with served as stage:
        return await _play(scenario, stage)


def play_in_virtual_time(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    """Run a scenario whose result depends on time, independently of the machine's load."""
    connect_in_memory(monkeypatch)
    use_virtual_clock(monkeypatch)

    async def run() -> RunResult:
        async with staged_in_memory(tmp_path) as stage:
            return await _play(scenario, stage)

    return run_in_virtual_time(run)


async def _play(scenario: Scenario, stage: Stage) -> RunResult:
    stage.world.access.assign_only(*scenario.roles)
    stage.options["services"] = scenario.services
    scenario.arrange(stage)
    before = remaining_tags(stage)
    ran = await stage.tool.apply(stage.config, **stage.options)
    assert_expected(ran, stage, before, scenario.expected)
    return ran


# -- checks ---------------------------------------------------------------------------------------


def assert_expected(ran: RunResult, stage: Stage, before: set[str], expected: Expected) -> None:
    """Assert the expected result and the invariants. `before`: the tags before the run."""
    shown = ran.out + ran.err
    assert (ran.code, before - remaining_tags(stage)) == (expected.code, set(expected.deleted)), shown
    for text in expected.says:
        assert text in shown
    for text in expected.silent:
        assert text not in shown
    for tag, outcome in expected.outcomes.items():
        assert ran.outcomes(tag) == {outcome}, (tag, shown)
    for name, count in expected.counts.items():
        assert ran.report["counts"][name] == count, (name, ran.report["counts"])
    assert_invariants(ran, stage)


def remaining_tags(stage: Stage) -> set[str]:
    """All tags of the registry. Those of `shop/web` have no repository in front."""
    return {
        stage.aliases.get(tag, tag) if name == REPOSITORY else f"{name}:{tag}"
        for name, state in stage.registry.repositories.items()
        for tag in state.tags
    }


class HasWorld(Protocol):
    """An object with the world of a run, such as a `Stage` or a `Shop`."""

    @property
    def world(self) -> World: ...


def assert_invariants(ran: RunResult, stage: HasWorld) -> None:
    """Assert that the report is valid and consistent, and that there is no traceback."""
    report, counts = ran.report, ran.report["counts"]
    REPORT_SCHEMA.validate(report)
    assert "Traceback" not in ran.out + ran.err
    assert "Unexpected error" not in ran.out + ran.err
    outcomes = [outcome for outcome in report["outcomes"] if outcome["tag"]]
    deletions = sum(outcome["outcome"] == "deleted" for outcome in outcomes)
    assert counts["deleted"] == len(report["deleted_tags"]) == deletions
    assert counts["failed"] == sum(outcome["outcome"] == "failed" for outcome in outcomes)
    assert set(report["deleted_tags"]) <= set(report["planned_tags"])
    assert counts["planned"] == len(report["planned_tags"])
    if ran.code == 3:
        assert report["verdict"] == "refused"
        assert report["blockers"] or report["refusals"]
        assert not stage.world.matching(service="acr", method="DELETE")
        for blocker in report["blockers"]:
            assert blocker["where"]
            assert blocker["seen"]


__all__ = [
    "BOTH", "OLD", "REPORT_SCHEMA", "REPOSITORY", "YOUNG", "Expected", "Fault", "Scenario", "ScenarioTable", "Stage",
    "assert_invariants", "build", "play", "play_in_virtual_time", "remaining_tags", "shorten_pauses", "staged",
    "staged_in_memory", "staged_over_tls",
]  # fmt: skip
