"""The stage on which scenarios play: one ordinary world, spoilt a little by each scenario, and what must come of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

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
from tests.helpers.tool_runs import RunResult, Tool, serving

REPOSITORY = "shop/web"
OLD = timedelta(days=100)
YOUNG = timedelta(days=1)

# Made once: checking the schema itself takes longer than any run here.
_REPORTS = jsonschema.Draft202012Validator(schema("report"))


@dataclass
class Stage:
    """
    The ordinary world: cluster `production` runs `shop/web:2.0`; `1.0` and `1.1` are old and unused, so that both would go.

    Tags in scenarios are those of `shop/web`, unless a repository stands before them.
    """

    tool: Tool
    options: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    # Tags whose names are known only when the world stands, and what the table calls them.
    called: dict[str, str] = field(default_factory=dict)

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
        """What the emulator calls the API server of the cluster."""
        return f"kubernetes/{self.cluster.name}"

    def digest(self, tag: str, repository: str = REPOSITORY) -> str:
        return self.registry.repositories[repository].tags[tag].digest

    def image(self, tag: str | None = None, digest: str | None = None, repository: str = REPOSITORY) -> str:
        return self.registry.image(repository, tag, digest)

    def pod(self, *images: str, **more: Any) -> dict[str, Any]:
        """One more pod, without an owner; returned as stored, to be spoilt."""
        made = build.pod("odd", f"odd-{len(self.cluster.pods())}", list(images), **more)
        self.cluster.add(made)
        return made

    def fault(self, **kind: Any) -> Fault:
        made = Fault(**kind)
        self.world.faults.append(made)
        return made

    def another(self, key: str, **state: Any) -> ClusterState:
        """One more cluster, which runs what the first runs."""
        made = ClusterState(f"aks-{key}", **state)
        self.world.clusters[key] = made
        made.run(build.deployment("shop", key, [self.image("2.0")]))
        return made

    def settings(self, **keys: Any) -> None:
        """Further keys of the configuration file."""
        self.config = {**(self.config or self.tool.emulator.config()), **keys}


@asynccontextmanager
async def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face = "proxy") -> AsyncIterator[Stage]:
    """Serve the ordinary world."""
    world = World(face=face)
    world.clusters["production"] = ClusterState("aks-prod")
    async with serving(world, tmp_path, monkeypatch) as tool:
        for name in ("1.0", "1.1", "2.0"):
            world.registry.push(REPOSITORY, name, age=OLD)
        stage = Stage(tool)
        two = stage.image(digest=stage.digest("2.0"))
        stage.cluster.run(build.deployment("shop", "web", [stage.image("2.0")]), image_ids={stage.image("2.0"): two})
        yield stage


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait between two tries is short; how often something is tried stays as it is."""
    monkeypatch.setattr(pace, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(scan_clusters, "Patience", lambda: Patience(pause=0.01, longest_pause=0.05))
    monkeypatch.setattr(resource_manager, "_POLL_SECONDS", 0.05)

    async def no_pause(*_: object, **__: object) -> None:
        """The SDK's own pause between two tries."""

    monkeypatch.setattr("azure.core.pipeline.policies.AsyncRetryPolicy.sleep", no_pause)


@dataclass(frozen=True)
class Expected:
    """
    What must come of a scenario: `gone` are the tags that are no longer in the registry, `outcomes` those of single tags.

    `says` must stand in what it writes, `silent` must not.
    """

    gone: frozenset[str] = frozenset({"1.0", "1.1"})
    code: int = 0
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    outcomes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """One hostile world and what must come of it; its name is the law."""

    name: str
    arrange: Callable[[Stage], object]
    expected: Expected
    roles: tuple[str | RoleDefinition, ...] = DEFAULT_ROLES
    """The roles of the identity, each assigned everywhere."""


class Table:
    """A table of scenarios, filled by decorating functions that spoil the stage."""

    def __init__(self) -> None:
        self.rows: list[Scenario] = []

    def __call__(self, name: str, *gone: str, **expected: Any) -> Callable[[Callable[[Stage], object]], None]:
        """
        A scenario after which just the tags `gone` are no longer there.

        roles (of `expected`): those that the identity has.
        """
        roles = expected.pop("roles", DEFAULT_ROLES)

        def add(arrange: Callable[[Stage], object]) -> None:
            self.rows.append(Scenario(name, arrange, Expected(frozenset(gone), **expected), roles))

        return add

    def parameters(self) -> list[Any]:
        # Both faces take their turn: what a scenario says does not depend on the names of the hosts.
        return [
            pytest.param(row, ("proxy", "direct")[place % 2], id=row.name.replace(" ", "-"))
            for place, row in enumerate(self.rows)
        ]


async def play(scenario: Scenario, face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    """Arrange the world, apply, and hold what came of it to what was expected and to what always holds."""
    impatient(monkeypatch)
    async with staged(tmp_path, monkeypatch, face) as stage:
        stage.world.access.assign_only(*scenario.roles)
        scenario.arrange(stage)
        before = tags_of(stage)
        ran = await stage.tool.apply(stage.config, **stage.options)
        check(ran, stage, before, scenario.expected)
    return ran


def check(ran: RunResult, stage: Stage, before: set[str], expected: Expected) -> None:
    shown = ran.out + ran.err
    assert (ran.code, before - tags_of(stage)) == (expected.code, set(expected.gone)), shown
    for words in expected.says:
        assert words in shown
    for words in expected.silent:
        assert words not in shown
    for tag, outcome in expected.outcomes.items():
        assert ran.outcomes(tag) == {outcome}, (tag, shown)
    for name, count in expected.counts.items():
        assert ran.report["counts"][name] == count, (name, ran.report["counts"])
    always(ran, stage)


def tags_of(stage: Stage) -> set[str]:
    """All tags of the registry; those of the one repository by their bare names."""
    return {
        stage.called.get(tag, tag) if name == REPOSITORY else f"{name}:{tag}"
        for name, state in stage.registry.repositories.items()
        for tag in state.tags
    }


class HasWorld(Protocol):
    """Whatever a run was made in."""

    @property
    def world(self) -> World: ...


def always(ran: RunResult, stage: HasWorld) -> None:
    """What holds in every world."""
    report, counts = ran.report, ran.report["counts"]
    _REPORTS.validate(report)
    assert "Traceback" not in ran.out + ran.err
    assert "Something unforeseen" not in ran.out + ran.err
    assert "Unexpected error" not in ran.out + ran.err
    tags = [each for each in report["outcomes"] if each["tag"]]
    assert counts["deleted"] == len(report["deleted_tags"]) == sum(each["outcome"] == "deleted" for each in tags)
    assert counts["failed"] == sum(each["outcome"] == "failed" for each in tags)
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
    "OLD", "REPOSITORY", "YOUNG", "Expected", "Fault", "Scenario", "Sequence", "Stage", "Table", "always", "build", "check",
    "impatient", "play", "replace", "staged", "tags_of",
]  # fmt: skip
