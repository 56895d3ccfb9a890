"""One ordinary shop for tests that run through it again and again, and what must hold of every run there, however it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.runtimes.terminal import Terminal
from tests.helpers.oracle import Policy, Repository, Uses, going, unsound
from tests.helpers.stage import always
from tests.helpers.tool_runs import RunResult, Tool

OLD, YOUNG = timedelta(days=100), timedelta(days=1)
POLICY = Policy(include_locked=True)
OPTIONS: dict[str, Any] = {"include_locked": True, "backup": True}
"""With these a run makes every kind of request: it unlocks, locks again, and reads what it deletes."""


class Shop:
    """
    Two repositories that run, one that does not, and two clusters.

    Old and unused are `shop/web:1.0` (with an untagged signature), `1.1`, `held` (locked), the index `multi` with two children,
    and `shop/api:v1`. In use are `shop/web:2.0`, and `shop/api:v2` by the digest of a child.
    """

    def __init__(self) -> None:
        self.world = World(face="proxy")
        self.uses = Uses(running={"shop/web", "shop/api"}, named={"shop/web", "shop/api"})
        registry = self.world.registry
        for name in ("1.0", "1.1", "held", "2.0"):
            registry.push("shop/web", name, age=OLD, content=name)
        registry.push_referrer("shop/web", self.digest("shop/web", "1.0"), age=OLD)
        registry.lock("shop/web", "held")
        children = [registry.push("shop/web", age=OLD, content=each) for each in ("amd64", "arm64")]
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
        known = self.world.registry.repositories
        return {name: Repository.of(known.get(name)) for name in ("shop/web", "shop/api", "shop/idle")}


def now() -> datetime:
    return datetime.now(UTC)


async def apply(tool: Tool) -> RunResult:
    return await tool.apply({**tool.emulator.config(), **OPTIONS})


class Told:
    """What a run told in other places than its files: the summary and the outputs."""

    def __init__(self, monkeypatch: Any) -> None:
        self.summaries: list[str] = []
        self.outputs: list[Any] = []
        monkeypatch.setattr(Terminal, "summary", lambda _, text: self.summaries.append(text))
        monkeypatch.setattr(Terminal, "outputs", lambda _, values: self.outputs.append(values))

    def forget(self) -> None:
        self.summaries.clear()
        self.outputs.clear()


def gone(before: dict[str, Repository], after: dict[str, Repository]) -> set[str]:
    """The tags that are not there any more: `shop/web:1.0`."""
    return {f"{name}:{tag}" for name, each in before.items() for tag in each.tags.keys() - after[name].tags.keys()}


def honest(ran: RunResult, shop: Shop, told: Told, before: dict[str, Repository], *, lied: bool = False) -> None:
    """
    Whatever happened: nothing in use is lost, the counts are those of the registry, and everything has been told.

    If the registry has `lied`, and said of something that was to go that it is not there, that has not to be whole any more.
    """
    always(ran, shop)
    after = shop.repositories()
    for name, each in before.items():
        leaving = going(each, name, shop.uses, POLICY, now()).manifests
        left_over = after[name].without(leaving) if lied else after[name]
        assert not unsound(each, left_over, name, shop.uses, leaving), ran.out
    left = gone(before, after)
    assert ran.deleted <= left, ran.out
    # What went, and was not seen to go, is called a failure.
    failed = {
        f"{each['repository']}:{each['tag']}"
        for each in ran.report["outcomes"]
        if each["outcome"] == "failed" and each["tag"]
    }
    assert left - ran.deleted <= failed, ran.out
    [summary] = told.summaries
    [outputs] = told.outputs
    assert summary
    assert outputs
    verdicts = {"applied": 0, "partial": 1, "refused": 3, "cancelled": 143}
    assert ran.code == verdicts[ran.report["verdict"]], ran.out
    if ran.code == 3:
        assert not left


def left_unlocked(ran: RunResult, shop: Shop) -> bool:
    """Has a lock been taken off, without a word, of what is still there?"""
    held = shop.world.registry.repositories["shop/web"].tags.get("held")
    return held is not None and not held.attributes.locked and "IS NO LONGER LOCKED" not in ran.out
