"""An ordinary world for tests that run the tool many times, and the checks of each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.commands import run as run_command
from acr_cleanup.emulator import World
from acr_cleanup.emulator.arm_shapes import describe_registry
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.runtimes.terminal import Terminal
from tests.helpers.in_memory_world import run_in_virtual_time, serve_in_memory
from tests.helpers.oracle import Policy, Uses, broken_references, expected_deletions
from tests.helpers.oracle_repository import Repository
from tests.helpers.stage import assert_invariants
from tests.helpers.tool_runs import RunResult, Tool

OLD, YOUNG = timedelta(days=100), timedelta(days=1)
DAY = timedelta(days=1)
POLICY = Policy(include_locked=True)
OPTIONS: dict[str, Any] = {"include_locked": True, "backup": True}
"""With these options a run makes every kind of request, such as unlock and read before deletion."""


class Shop:
    """
    Two running repositories, one that does not run, and two clusters.

    Old and unused: `shop/web:1.0` (with an untagged signature), `1.1`, `held` (locked), the index
    `multi` with two children, and `shop/api:v1`. In use: `shop/web:2.0`, and `shop/api:v2` by the
    digest of a child.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.world = World(face="proxy", clock=clock)
        self.uses = Uses(running={"shop/web", "shop/api"}, referenced={"shop/web", "shop/api"})
        registry = self.world.registry
        for name in ("1.0", "1.1", "held", "2.0"):
            registry.push("shop/web", name, age=OLD, content=name)
        registry.push_referrer("shop/web", self.digest("shop/web", "1.0"), age=OLD)
        registry.lock("shop/web", "held")
        children = [registry.push("shop/web", age=OLD, content=platform) for platform in ("amd64", "arm64")]
        registry.push_index("shop/web", "multi", children=children, age=OLD)
        registry.push("shop/api", "v1", age=OLD, content="v1")
        child = registry.push("shop/api", age=OLD, content="v2")
        registry.push_index("shop/api", "v2", children=[child], age=OLD)
        registry.push("shop/idle", "1.0", age=OLD, content="idle")
        for key in ("production", "test"):
            self.world.clusters[key] = ClusterState(f"aks-{key}", auth="token")
        web, api = registry.image("shop/web", "2.0"), registry.image("shop/api", "live")
        self.world.clusters["production"].add(build.deployment("shop", "web", [web]))
        self.world.clusters["production"].add(build.pod("shop", "web-1", [web], image_ids=[""]))
        self.world.clusters["test"].add(
            build.pod("shop", "api-1", [api], image_ids=[registry.image("shop/api", digest=child)])
        )
        self.uses.tags |= {("shop/web", "2.0"), ("shop/api", "live")}
        self.uses.digests.add(("shop/api", child))

    def digest(self, repository: str, tag: str) -> str:
        return self.world.registry.repositories[repository].tags[tag].digest

    def repositories(self) -> dict[str, Repository]:
        states = self.world.registry.repositories
        return {name: Repository.from_state(name, states.get(name)) for name in ("shop/web", "shop/api", "shop/idle")}


def now() -> datetime:
    return datetime.now(UTC)


async def apply(tool: Tool, **options: str) -> RunResult:
    """`options`: further keys of the configuration."""
    return await tool.apply({**tool.emulator.config(), **OPTIONS, **options})


class EvidenceShop(Shop):
    """
    A shop that also has services of Azure, a pull log, cache rules and a ledger.

    Each of `EVIDENCE` is a tag of `shop/web` that only one of these sources keeps.
    today: its moment, which `record_ledger` and the later run must share.
    """

    EVIDENCE = ("app", "inactive", "group", "slot", "sidecar", "job", "task", "pulled", "nightly", "waiting")
    OPTIONS: Mapping[str, str] = {"pulled_within": "60d", "used_within": "5d", "probation": "7d"}

    def __init__(self, today: datetime) -> None:
        self.time = today
        super().__init__(lambda: self.time)
        registry, services, logs = self.world.registry, self.world.services, self.world.logs
        for name in self.EVIDENCE:
            registry.push("shop/web", name, age=OLD, content=name)
        image = {name: registry.image("shop/web", name) for name in self.EVIDENCE}
        registry_id = describe_registry(registry)["id"]
        app = services.container_app("shop-app", image["app"])
        services.revision(app, "shop-app--0", image["inactive"], active=False)
        services.container_group("month-end", image["group"], state="Stopped")
        site = services.site("shop", "DOCKER|nginx")
        services.slot(site, "staging", f"DOCKER|{image['slot']}")
        services.sidecar(site, "agent", image["sidecar"])
        services.job("import", image["job"])
        services.task(registry_id, "weekly", script=f"steps:\n- cmd: {image['task']}\n", schedule="0 4 * * 0")
        rule = {"sourceRepository": "docker.io/library/api", "targetRepository": "shop/api"}
        services.add(f"{registry_id}/cacheRules/api", rule)
        logs.enable()
        logs.write("Push", self.time - 2 * OLD, "shop/web", "0.1")
        logs.write("Pull", self.time - 10 * DAY, "shop/web", "pulled", self.digest("shop/web", "pulled"))
        self.uses.tags |= {("shop/web", name) for name in self.EVIDENCE}


def record_ledger(today: datetime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """
    Return the ledger of two earlier runs on an `EvidenceShop`, which saw pods that no longer run.

    `nightly` ran three days ago. `waiting` ran ten days ago, so it is a candidate for three days.
    Neither run reads services or pulls: what they keep is a candidate all the time.
    """
    shop, ledger = EvidenceShop(today), folder / "recorded.json"
    options = {"used_within": "5d", "probation": "7d", "services": "off", "ledger": str(ledger)}

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return shop.time

    async def plan() -> RunResult:
        async with serve_in_memory(shop.world, folder) as tool:
            return await tool.plan({**tool.emulator.config(), **OPTIONS, **options})

    with monkeypatch.context() as patched:
        patched.setattr(run_command, "datetime", Clock)
        for days, name in ((10, "waiting"), (3, "nightly")):
            shop.time = today - days * DAY
            pod = build.pod("batch", name, [shop.world.registry.image("shop/web", name)])
            shop.world.clusters["production"].add(pod)
            ran = run_in_virtual_time(plan)
            assert ran.code == 0, ran.out
            shop.world.clusters["production"].remove("pods", "batch", name)
    return ledger.read_bytes()


class PublishedResults:
    """The summaries and outputs that runs publish through the terminal."""

    def __init__(self, monkeypatch: Any) -> None:
        self.summaries: list[str] = []
        self.outputs: list[Any] = []
        monkeypatch.setattr(Terminal, "summary", lambda _, text: self.summaries.append(text))
        monkeypatch.setattr(Terminal, "outputs", lambda _, values: self.outputs.append(values))

    def clear(self) -> None:
        self.summaries.clear()
        self.outputs.clear()


def deleted_tags(before: dict[str, Repository], after: dict[str, Repository]) -> set[str]:
    """The tags that no longer exist, such as `shop/web:1.0`."""
    return {
        f"{name}:{tag}"
        for name, repository in before.items()
        for tag in repository.tags.keys() - after[name].tags.keys()
    }


def assert_sound_run(
    ran: RunResult,
    shop: Shop,
    published: PublishedResults,
    before: dict[str, Repository],
    *,
    false_404: bool = False,
    cancelled: int = 143,
) -> None:
    """
    Assert that nothing in use was lost, the counts are true, and the results were published.

    `false_404`: the registry answered 404 for an existing object. A manifest that the rule deletes
    may then remain with a missing part.
    `cancelled`: the exit code of a cancelled run.
    """
    assert_invariants(ran, shop)
    after = shop.repositories()
    for name, repository in before.items():
        expected = expected_deletions(repository, shop.uses, POLICY, now()).manifests
        left = after[name].excluding(expected) if false_404 else after[name]
        assert not broken_references(repository, left, shop.uses, expected), ran.out
    missing = deleted_tags(before, after)
    assert ran.deleted <= missing, ran.out
    # A deletion whose success was not confirmed must be reported as failed.
    failed = {
        f"{outcome['repository']}:{outcome['tag']}"
        for outcome in ran.report["outcomes"]
        if outcome["outcome"] == "failed" and outcome["tag"]
    }
    assert missing - ran.deleted <= failed, ran.out
    [summary] = published.summaries
    [outputs] = published.outputs
    assert summary
    assert outputs
    codes = {"applied": 0, "partial": 1, "refused": 3, "cancelled": cancelled}
    assert ran.code == codes[ran.report["verdict"]], ran.out
    if ran.code == 3:
        assert not missing


def has_unreported_unlock(ran: RunResult, shop: Shop) -> bool:
    """True if the run left an existing tag unlocked and did not say so."""
    held = shop.world.registry.repositories["shop/web"].tags.get("held")
    return held is not None and not held.attributes.locked and "IS NO LONGER LOCKED" not in ran.out
