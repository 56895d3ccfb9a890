"""
The whole tool on generated worlds; the oracle judges the registry afterwards.

`make worlds` makes 500 worlds, `make soak` 20,000 (`tests/soak.py`). Each batch has a seed. Hypothesis
shrinks a failing world, and prints it with a line that reproduces it. With ACR_CLEANUP_SOAK, a batch
instead runs to its end, and prints each failing world. ACR_CLEANUP_ONLY is the number of the only
world of a batch to run.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.helpers.collected_snapshots import collect_cluster, findings
from tests.helpers.generated_policies import with_stricter_rule
from tests.helpers.generated_worlds import CLUSTERS, REPOSITORIES, BuiltWorld, GeneratedWorld, deleted_tags, worlds
from tests.helpers.graph_world import assert_accounted
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.ledger_runs import moment
from tests.helpers.oracle import Deletions, Policy, Uses, broken_references, exceeds_limit, expected_deletions, in_scope
from tests.helpers.oracle_probation import expected_after
from tests.helpers.oracle_repository import Repository
from tests.helpers.stage import assert_invariants
from tests.helpers.tool_runs import RunResult, Tool
from tests.helpers.world_plans import Plan, deleted, planned, wanted

pytestmark = [pytest.mark.untraced, pytest.mark.extended]

WORLDS = int(os.environ.get("ACR_CLEANUP_WORLDS", "200"))
# Read at import, because a fixture removes the variable from the environment of each test.
RANDOM_SEEDS = "ACR_CLEANUP_SEED" in os.environ
SEED = int(os.environ.get("ACR_CLEANUP_SEED", "1"))
BATCH = 50
# From the eleventh example on, hypothesis would make five of six by copying parts of the one before.
ALIKE_AFTER = 10
SOAK = "ACR_CLEANUP_SOAK" in os.environ
ONLY = int(os.environ.get("ACR_CLEANUP_ONLY", "0"))

Bounds = tuple[dict[str, Deletions], dict[str, Deletions]]
"""The least and the most that a run may delete of each repository."""


class Trial:
    """
    One world, and the runs in it.

    `counts`: what the worlds of a batch contained. Shared by the trials of a batch.
    """

    def __init__(self, generated: GeneratedWorld, tool: Tool, built: BuiltWorld, counts: Counter[str]) -> None:
        self.generated, self.tool, self.built, self.counts = generated, tool, built, counts
        self.base = tool.emulator.config()
        # The apply makes the report for people.
        tool.plans_as_json = True

    async def run(self) -> None:
        policy, uses = self.generated.policy, self.built.uses
        await self.collect_snapshot()
        before = self.repositories()
        expected = self.expected(before, uses, policy)
        refused = exceeds_limit(expected, before, policy)

        plan = await self.plan(policy)
        self.assert_agreement(plan, before, policy)
        if not planned(plan):
            # Variations of a world say little if its plan is empty.
            assert deleted(before, self.repositories()) == set()
            self.count(expected, before, plan.ran, refused=False)
            return
        # Either vary the world or repeat the run. With random seeds, vary every world.
        repeat = bool(len(uses.tags) % 2)
        if RANDOM_SEEDS or not repeat:
            await self.vary(plan, before)

        ran = await self.tool.apply(self.config(policy))
        after = self.repositories()
        assert_invariants(ran, self.built)
        problems = [problem for name in before for problem in broken_references(before[name], after[name], uses)]
        assert not problems, "\n".join((*problems, ran.out))
        # The registry, the plan and the report must agree.
        assert ran.code == (3 if refused else 0), ran.out + ran.err
        missing = deleted(before, after)
        assert missing == (set() if refused else planned(plan)), ran.out
        assert ran.deleted == {item for item in missing if "@" not in item}
        # A manifest that is deleted with another is counted and journalled like it.
        assert_accounted(ran, missing, set(), self.tool.folder / "report" / "journal.jsonl")
        assert ran.report["counts"]["deleted_manifests"] == sum("@" in item for item in missing)
        remaining = self.expected(after, self.built.evidence.possible(uses), policy).values()
        assert refused or not any(deletions.tags or deletions.manifests for deletions in remaining)
        if not refused and repeat:
            again = await self.plan(policy)
            assert not planned(again), "a second run has something to do"
        self.count(expected, before, ran, refused=refused)

    # -- runs -------------------------------------------------------------------------------------

    def config(self, policy: Policy) -> dict[str, Any]:
        return self.built.config(policy, self.base)

    async def plan(self, policy: Policy, config: dict[str, Any] | None = None) -> Plan:
        ran = await self.tool.plan(config or self.config(policy))
        assert ran.code == 0, ran.out + ran.err
        document = json.loads((self.tool.folder / "report" / "plan.json").read_text(encoding="utf-8"))
        plan = Plan(ran, document["steps"])
        assert ran.planned == {item for item in planned(plan) if "@" not in item}
        return plan

    async def collect_snapshot(self) -> None:
        """Replace the last cluster with a usage snapshot of it. In some worlds, a run command must read the same."""
        key, config = CLUSTERS[-1], self.config(self.generated.policy)
        if key not in self.built.world.clusters:
            return
        snapshot = await collect_cluster(config, key, self.tool.folder)
        if by_command := self.built.added % 5 == 0:
            read_directly, snapshot = snapshot, await collect_cluster(config, key, self.tool.folder, "run-command")
            assert findings(snapshot) == findings(read_directly)
        self.counts["worlds with a run command"] += by_command
        self.base["kubernetes_clusters"][key] = {"snapshot": str(snapshot)}
        del self.built.world.clusters[key]

    # -- laws -------------------------------------------------------------------------------------

    async def vary(self, plan: Plan, before: dict[str, Repository]) -> None:
        """One more use or rule must not delete more. The order of the input must not matter."""
        policy, uses = self.generated.policy, self.built.uses
        match self.generated.change:
            case "usage":
                more = [
                    replace(use, cluster=0)
                    for use in self.generated.more
                    # A use may bring its repository into scope. Then it may rightly delete more.
                    if in_scope(REPOSITORIES[use.repository], uses, policy)
                ]
                if more:
                    with self.restored():
                        for use in more:
                            self.built.use(use)
                        later = await self.plan(policy)
                        self.assert_agreement(later, before, policy)
                    assert planned(later) <= planned(plan), "more usage deletes more"
                    self.counts["more usage kept more"] += planned(later) < planned(plan)
            case "rule":
                stricter = with_stricter_rule(policy, self.generated.stricter)
                later = await self.plan(stricter)
                self.assert_agreement(later, before, stricter)
                assert planned(later) <= planned(plan), "one more rule deletes more"
                self.counts["one more rule kept more"] += planned(later) < planned(plan)
            case "history":
                later = await self.plan_after_past_uses(policy, before)
                assert planned(later) <= planned(plan), "past uses delete more"
                self.counts["past uses kept more"] += planned(later) < planned(plan)
            case _:
                with self.restored():
                    self.shuffle()
                    later = await self.plan(policy)
                assert later.steps == plan.steps, "the order of input matters"
                self.counts["shuffled"] += bool(plan.steps)

    async def plan_after_past_uses(self, policy: Policy, before: dict[str, Repository]) -> Plan:
        """
        Run while the uses in `more` exist, and plan after they ended.

        They keep what a use keeps, but bring no repository into scope. The first run lets the ledger
        reach back far enough. In half of the worlds, the candidates of both runs are on probation.
        """
        ledger = self.tool.folder / "ledger.json"
        ledger.unlink(missing_ok=True)
        config = {**self.config(policy), "ledger": str(ledger)}
        if probation := len(self.generated.more) == 1:
            config["probation"] = "10d"
        first, second = (self.built.now - timedelta(days=days) for days in (15, 1))
        earlier: list[Bounds] = []
        with self.restored():
            scopes = deepcopy((self.built.uses.referenced, self.built.uses.running))
            with moment(self.built.world, first):
                ran = await self.tool.plan(config)
            assert not (probation and ran.planned), "nothing has waited"
            earlier.append(self.bounds(before, policy, first))
            with self.restored(), moment(self.built.world, second):
                for use in self.generated.more:
                    self.built.use(replace(use, cluster=0))
                uses = self.built.uses
                await self.tool.plan(config)
                earlier.append(self.bounds(before, policy, second))
            self.built.uses = uses
            uses.referenced, uses.running = scopes
            later = await self.plan(policy, {**config, "used_within": "14d"})
            self.assert_agreement(later, before, policy, earlier if probation else ())
        self.counts["worlds with probation"] += probation
        return later

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Undo all changes to the world at the end of the block."""
        clusters, registry = self.built.world.clusters, self.built.registry
        objects = {key: {kind: list(of) for kind, of in state.objects.items()} for key, state in clusters.items()}
        uses, self.built.uses = self.built.uses, deepcopy(self.built.uses)
        repositories, largest = registry.repositories, registry.largest_page
        try:
            yield
        finally:
            for key, state in clusters.items():
                state.objects, state.page_cap = objects[key], None
            self.built.uses = uses
            registry.repositories, registry.largest_page = repositories, largest

    def shuffle(self) -> None:
        """Change the order of all objects and repositories, and shorten the pages."""
        chance = random.Random(len(self.generated.uses))
        for state in self.built.world.clusters.values():
            kinds = list(state.objects.items())
            chance.shuffle(kinds)
            state.objects = {kind: chance.sample(objects, len(objects)) for kind, objects in kinds}
            state.page_cap = 3
        registry = self.built.registry
        registry.repositories = dict(reversed(registry.repositories.items()))
        registry.largest_page = 3

    def assert_agreement(
        self, plan: Plan, before: dict[str, Repository], policy: Policy, earlier: Sequence[Bounds] = ()
    ) -> None:
        """
        Assert that the plan is what the oracle expects; `earlier`: of runs whose candidates are on probation.

        That includes everything that the registry deletes together with a manifest. What a text may mean
        besides what was meant may be kept or not.
        """
        least, most = map(wanted, self.bounds(before, policy, datetime.now(UTC), earlier))
        items = planned(plan)
        assert items <= most, ("planned, but must be kept", items - most, plan.ran.out)
        assert least <= items, ("must be deleted, but is not planned", least - items, plan.ran.out)

    def bounds(
        self, before: dict[str, Repository], policy: Policy, now: datetime, earlier: Sequence[Bounds] = ()
    ) -> Bounds:
        """Return the least and the most that a run at this moment may plan."""
        uses = (self.built.evidence.possible(self.built.uses), self.built.uses)

        def bound(place: int) -> dict[str, Deletions]:
            return {
                name: expected_after([of[place][name] for of in earlier], repository, uses[place], policy, now)
                for name, repository in before.items()
            }

        return bound(0), bound(1)

    # -- the registry -----------------------------------------------------------------------------

    def repositories(self) -> dict[str, Repository]:
        states = self.built.registry.repositories
        return {name: Repository.from_state(name, states.get(name)) for name in self.built.digests}

    def expected(self, before: dict[str, Repository], uses: Uses, policy: Policy) -> dict[str, Deletions]:
        now = datetime.now(UTC)
        return {name: expected_deletions(repository, uses, policy, now) for name, repository in before.items()}

    def count(
        self, expected: dict[str, Deletions], before: dict[str, Repository], ran: RunResult, *, refused: bool
    ) -> None:
        counts = self.counts
        counts["worlds"] += 1
        counts["worlds with deletions"] += bool(ran.deleted)
        counts["worlds refused by a limit"] += refused
        counts["worlds with something missing"] += bool(ran.report["missing"])
        counts["tags deleted"] += ran.report["counts"]["deleted"]
        counts["manifests deleted"] += ran.report["counts"]["deleted_manifests"]
        for kind in fields(self.generated.evidence):
            counts[f"worlds with {kind.name}"] += bool(getattr(self.generated.evidence, kind.name))
        no_texts = replace(self.generated, evidence=replace(self.generated.evidence, texts=()))
        counts["worlds in which a text keeps a tag"] += deleted_tags(no_texts) != deleted_tags(self.generated)
        counts["worlds with rules"] += bool(self.generated.policy.rules)
        for source in {use.source for use in self.generated.uses}:
            counts[f"used by {source}"] += 1
        for name, repository in before.items():
            deletions = set() if refused else expected[name].manifests
            manifests = repository.manifests
            counts["untagged manifests deleted"] += 0 if refused else len(expected[name].untagged)
            counts["indexes deleted"] += sum(bool(manifests[digest].children) for digest in deletions)
            counts["referrers deleted"] += sum(manifests[digest].subject is not None for digest in deletions)
            counts["nested indexes"] += any(
                manifests[child].children
                for manifest in manifests.values()
                for child in manifest.children
                if child in manifests
            )
            counts["companion tags"] += sum(bool(repository.companion_tags(digest)) for digest in manifests)
            counts["repositories with unknown references"] += repository.may_hide_references
            for reason, count in expected[name].kept.items():
                counts[f"kept: {reason}"] += count


# A batch of 50 worlds contains at least these. Otherwise the generator has become useless.
LEAST = {
    "worlds with deletions": 12,
    "worlds in which a text keeps a tag": 1,
    "worlds with a run command": 1,
    "worlds with something missing": 5,
    "tags deleted": 25,
    "manifests deleted": 15,
    "indexes deleted": 1,
    "nested indexes": 5,
    "companion tags": 15,
    **{f"kept: {why}": 3 for why in ("out of scope", "used by tag", "used by digest", "locked", "young", "excluded")},
}
RARE = (
    "kept: attached",
    "kept: maybe used",
    "kept: newest",
    "kept: unknown",
    "repositories with unknown references",
    "referrers deleted",
    "untagged manifests deleted",
    "worlds refused by a limit",
)
RARE_SEEN = 4
"""A batch contains at least as many of the rare ones. Other batches contain the rest."""
SOURCES_SEEN = 12
"""A batch contains at least as many sources of use."""


def batches() -> list[Any]:
    """The pytest parameters `(seed, count of worlds)`."""
    parameters = []
    for number, start in enumerate(range(0, WORLDS, BATCH)):
        count = min(BATCH, WORLDS - start)
        parameters.append(pytest.param(SEED + number, count, id=f"seed-{SEED + number}-{count}-worlds"))
    return parameters


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "count"), batches())
def test_tool_agrees_with_the_oracle(seed: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_in_memory(monkeypatch)
    counts: Counter[str] = Counter()
    numbers = itertools.count(1)
    failures: list[str] = []

    @settings(
        max_examples=ALIKE_AFTER,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.generate,) if SOAK else (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds())
    def agrees(generated: GeneratedWorld) -> None:
        async def run() -> None:
            built = BuiltWorld(generated)
            async with serve_in_memory(built.world, tmp_path) as tool:
                await Trial(generated, tool, built, counts).run()

        number = next(numbers)
        if ONLY not in (0, number):
            return
        try:
            run_in_virtual_time(run)
        except Exception as error:
            if not SOAK:
                raise
            # The other worlds of the batch must run as well.
            failures.append(f"seed {seed}, world {number}: {error!r}\n{generated}")

    for part in range(0, count, ALIKE_AFTER):
        hypothesis.seed(f"{seed} {part}")(agrees)()
    assert not failures, "\n\n".join(failures)
    if ONLY:
        return
    contents = ", ".join(f"{name}: {number:,}" for name, number in sorted(counts.items()))
    sys.stdout.write(f"seed {seed}: {contents}\n")
    assert counts["worlds"] >= count
    if RANDOM_SEEDS:
        # A random batch may lack some of these. The line above shows its contents.
        return
    few = {name: counts[name] for name, least in LEAST.items() if counts[name] < least * count / BATCH}
    assert not few, "too few of these for a meaningful test"
    assert len([name for name in RARE if counts[name]]) >= RARE_SEEN
    assert len([name for name in counts if name.startswith("used by ")]) >= SOURCES_SEEN
