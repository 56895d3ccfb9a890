"""
Worlds made by hypothesis, the whole tool run on each, and the registry afterwards judged by the rule written down once more.

`make test` makes 200 of them, `make soak` as many as it is asked for. A seed names each batch; the world that failed is shrunk and
shown, with a line that makes it again.
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from acr_cleanup.commands.collect import collect
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.generated_worlds import CLUSTERS, REPOSITORIES, STRICTER, Made, Place, worlds
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.oracle import Going, Policy, Repository, Uses, going, in_scope, refused, unsound
from tests.helpers.stage import always
from tests.helpers.tool_runs import RunResult, Tool

pytestmark = pytest.mark.untraced

WORLDS = int(os.environ.get("ACR_CLEANUP_WORLDS", "200"))
# Read here, for in a test nothing of it is left in the environment.
DRAWN = "ACR_CLEANUP_SEED" in os.environ
SEED = int(os.environ.get("ACR_CLEANUP_SEED", "1"))
BATCH = 50


class Trial:
    """One world, and the runs that are made in it."""

    def __init__(self, made: Made, tool: Tool, place: Place, seen: Counter[str]) -> None:
        self.made, self.tool, self.place, self.seen = made, tool, place, seen
        self.base = tool.emulator.config()

    async def run(self) -> None:
        policy, uses = self.made.policy, self.place.uses
        await self.read_beforehand()
        before = self.repositories()
        wanted = self.wanted(before, uses, policy)
        stopped = refused(wanted, before, policy)

        plan = await self.plan(policy)
        along = self.agree(plan, wanted, before)
        if not planned(plan):
            # What would be deleted of it by another rule, or in another order, says nothing.
            assert self.gone(before, self.repositories()) == set()
            self.count(wanted, before, plan.ran, stopped=False)
            return
        # Each world is varied or run a second time; with seeds drawn by chance, all are varied.
        again_too = bool(len(uses.tags) % 2)
        if DRAWN or not again_too:
            await self.vary(plan, before)

        ran = await self.tool.apply(self.config(policy))
        after = self.repositories()
        always(ran, self.place)
        problems = [each for name in before for each in unsound(before[name], after[name], name, uses)]
        assert not problems, "\n".join((*problems, ran.out))
        # The plan is what was done, and what was done is what is told.
        assert ran.code == (3 if stopped else 0), ran.out + ran.err
        gone = self.gone(before, after)
        assert gone == (set() if stopped else planned(plan) | along), ran.out
        assert ran.deleted == {each for each in gone if "@" not in each}
        assert ran.report["counts"]["deleted_manifests"] == sum("@" in each for each in gone - along)
        left = self.wanted(after, uses, policy)
        assert stopped or not any(each.tags or each.manifests for each in left.values())
        # What the rule says of it, and what the tool does, must agree; every other time is enough.
        if not stopped and again_too:
            again = await self.plan(policy)
            assert not planned(again), "a second run has something to do"
        self.count(wanted, before, ran, stopped=stopped)

    # -- runs ------------------------------------------------------------------------------------------------

    def config(self, policy: Policy) -> dict[str, Any]:
        return self.place.config(policy, self.base)

    async def plan(self, policy: Policy) -> Plan:
        ran = await self.tool.plan(self.config(policy))
        assert ran.code == 0, ran.out + ran.err
        written = json.loads((self.tool.folder / "report" / "plan.json").read_text(encoding="utf-8"))
        assert ran.planned == {each for each in planned(Plan(ran, written["steps"])) if "@" not in each}
        return Plan(ran, written["steps"])

    async def read_beforehand(self) -> None:
        """The cluster elsewhere, into a snapshot."""
        key = CLUSTERS[-1]
        if key not in self.place.world.clusters:
            return
        path, out = self.tool.folder / "collect.json", self.tool.folder / "usage.json"
        path.write_text(json.dumps(self.config(self.made.policy)), encoding="utf-8")
        terminal = Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={})
        code = await collect(load_settings(path, {}, os.environ), terminal, os.environ, out=out, only=[key])
        assert code == 0
        self.base["kubernetes_clusters"][key] = {"snapshot": str(out)}
        del self.place.world.clusters[key]

    # -- laws ------------------------------------------------------------------------------------------------

    async def vary(self, plan: Plan, before: dict[str, Repository]) -> None:
        """One more use, or one more rule, never deletes more; in which order, and on which pages, things come does not matter."""
        made, policy, uses = self.made, self.made.policy, self.place.uses
        match made.change:
            case "usage":
                more = [
                    replace(each, cluster=0)
                    for each in made.more
                    # What names a repository may put it in scope, and that is meant.
                    if in_scope(REPOSITORIES[each.repository], uses, policy)
                ]
                if more:
                    with self.undone():
                        for each in more:
                            self.place.use(each)
                        later = await self.plan(policy)
                        self.agree(later, self.wanted(before, self.place.uses, policy), before)
                    assert planned(later) <= planned(plan), "more usage deletes more"
                    self.seen["more usage kept more"] += planned(later) < planned(plan)
            case "rule":
                stricter = strictly(policy, made.stricter)
                later = await self.plan(stricter)
                self.agree(later, self.wanted(before, uses, stricter), before)
                assert planned(later) <= planned(plan), "one more rule deletes more"
                self.seen["one more rule kept more"] += planned(later) < planned(plan)
            case _:
                with self.undone():
                    self.shuffle()
                    later = await self.plan(policy)
                assert later.steps == plan.steps, "the order of input matters"
                self.seen["shuffled"] += bool(plan.steps)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What changes here is as it was, afterwards."""
        clusters, registry = self.place.world.clusters, self.place.registry
        objects = {key: {kind: list(each) for kind, each in state.objects.items()} for key, state in clusters.items()}
        uses, self.place.uses = self.place.uses, deepcopy(self.place.uses)
        repositories, largest = registry.repositories, registry.largest_page
        try:
            yield
        finally:
            for key, state in clusters.items():
                state.objects, state.page_cap = objects[key], None
            self.place.uses = uses
            registry.repositories, registry.largest_page = repositories, largest

    def shuffle(self) -> None:
        chance = random.Random(len(self.made.uses))
        for state in self.place.world.clusters.values():
            kinds = list(state.objects.items())
            chance.shuffle(kinds)
            state.objects = {kind: chance.sample(each, len(each)) for kind, each in kinds}
            state.page_cap = 3
        registry = self.place.registry
        registry.repositories = dict(reversed(registry.repositories.items()))
        registry.largest_page = 3

    def agree(self, plan: Plan, wanted: dict[str, Going], before: dict[str, Repository]) -> set[str]:
        """The plan is what the rule says; returns what the registry removes beside it."""
        expected = {f"{name}:{tag}" for name, each in wanted.items() for tag in each.tags}
        expected |= {f"{name}@{digest}" for name, each in wanted.items() for digest in each.manifests}
        found = planned(plan)
        # What is attached to something, and nobody reads, goes along with it in the registry alone.
        unread = {
            f"{name}@{digest}"
            for name, each in before.items()
            for digest in wanted[name].manifests
            if each.manifests[digest].subject is not None and not each.on(digest)
        }
        assert found <= expected, ("goes, and must not", found - expected, plan.ran.out)
        assert expected - found <= unread, ("must go, and does not", expected - found - unread, plan.ran.out)
        return expected - found

    # -- the registry ----------------------------------------------------------------------------------------

    def repositories(self) -> dict[str, Repository]:
        known = self.place.registry.repositories
        return {name: Repository.of(known.get(name)) for name in self.place.digests}

    def wanted(self, before: dict[str, Repository], uses: Uses, policy: Policy) -> dict[str, Going]:
        now = datetime.now(UTC)
        return {name: going(each, name, uses, policy, now) for name, each in before.items()}

    def gone(self, before: dict[str, Repository], after: dict[str, Repository]) -> set[str]:
        tags = {f"{name}:{tag}" for name, each in before.items() for tag in each.tags.keys() - after[name].tags.keys()}
        return tags | {
            f"{name}@{digest}"
            for name, each in before.items()
            for digest in each.manifests.keys() - after[name].manifests.keys()
        }

    def count(self, wanted: dict[str, Going], before: dict[str, Repository], ran: RunResult, *, stopped: bool) -> None:
        seen = self.seen
        seen["worlds"] += 1
        seen["worlds in which something goes"] += bool(ran.deleted)
        seen["worlds refused by a limit"] += stopped
        seen["worlds with something missing"] += bool(ran.report["missing"])
        seen["tags deleted"] += ran.report["counts"]["deleted"]
        seen["manifests deleted"] += ran.report["counts"]["deleted_manifests"]
        for source in {each.source for each in self.made.uses}:
            seen[f"worlds with {source}"] += 1
        for name, each in before.items():
            gone = set() if stopped else wanted[name].manifests
            seen["untagged, gone by themselves"] += 0 if stopped else len(wanted[name].alone)
            seen["indexes gone"] += sum(bool(each.manifests[digest].children) for digest in gone)
            seen["referrers gone"] += sum(each.manifests[digest].subject is not None for digest in gone)
            seen["nested indexes"] += any(
                each.manifests[child].children
                for manifest in each.manifests.values()
                for child in manifest.children
                if child in each.manifests
            )
            seen["signatures"] += sum(bool(each.signatures(digest)) for digest in each.manifests)
            seen["opaque repositories"] += each.opaque
            for why, count in wanted[name].kept.items():
                seen[f"kept: {why}"] += count


class Plan:
    """A dry run, and the steps that it wrote down."""

    def __init__(self, ran: RunResult, steps: list[dict[str, Any]]) -> None:
        self.ran, self.steps = ran, steps


def tags_of(step: dict[str, Any]) -> list[str]:
    return [each["name"] for each in step["tags"]]


def planned(plan: Plan) -> set[str]:
    """The tags and manifests that would go: `a:t1`, `a@sha256:...`."""
    found = {f"{each['repository']}:{tag}" for each in plan.steps for tag in tags_of(each)}
    return found | {
        f"{each['repository']}@{each['digest']}" for each in plan.steps if each["verb"] == "delete manifest"
    }


def strictly(policy: Policy, option: str) -> Policy:
    value = STRICTER[option]
    if option == "older_than":
        value = max(value, policy.older_than)
    elif option == "exclude_tags":
        value = (*policy.excluded, *value)
    elif option == "keep_last":
        value = policy.keep_last + value
    return replace(policy, **{option: value})


# What a batch of 50 must at least have in it, or the generator has lost its way.
LEAST = {
    "worlds in which something goes": 12,
    "worlds with something missing": 5,
    "tags deleted": 25,
    "manifests deleted": 15,
    "indexes gone": 1,
    "nested indexes": 5,
    "signatures": 15,
    **{f"kept: {why}": 3 for why in ("out of scope", "used by tag", "used by digest", "locked", "young", "excluded")},
}
RARE = (
    "kept: attached",
    "kept: maybe used",
    "kept: newest",
    "kept: unknown",
    "opaque repositories",
    "referrers gone",
    "untagged, gone by themselves",
    "worlds refused by a limit",
)
RARE_SEEN = 4
"""So many of these, at least: what a batch has not, others have."""
SOURCES_SEEN = 12
"""So many of the kinds of use, at least."""


def batches() -> list[Any]:
    """Seeds, each with so many worlds."""
    found = []
    for number, start in enumerate(range(0, WORLDS, BATCH)):
        count = min(BATCH, WORLDS - start)
        found.append(pytest.param(SEED + number, count, id=f"seed-{SEED + number}-{count}-worlds"))
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "count"), batches())
def test_whatever_the_world_the_rule_holds(
    seed: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_in_memory(monkeypatch)
    seen: Counter[str] = Counter()

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds())
    def the_rule_holds(made: Made) -> None:
        async def run() -> None:
            place = Place(made)
            async with serve_in_memory(place.world, tmp_path) as tool:
                await Trial(made, tool, place, seen).run()

        run_in_virtual_time(run)

    the_rule_holds()
    told = ", ".join(f"{name}: {each:,}" for name, each in sorted(seen.items()))
    sys.stdout.write(f"seed {seed}: {told}\n")
    assert seen["worlds"] >= count
    if DRAWN:
        # Of seeds drawn by chance some batches are dull; what they held is told.
        return
    few = {name: seen[name] for name, least in LEAST.items() if seen[name] < least * count / BATCH}
    assert not few, "too few of these to show anything"
    assert len([name for name in RARE if seen[name]]) >= RARE_SEEN
    assert len([name for name in seen if name.startswith("worlds with ")]) >= SOURCES_SEEN
