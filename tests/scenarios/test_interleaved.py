"""
Others push, deploy, tag, lock and delete between any two requests of a run.

Hypothesis draws the events. A change before the second look must be respected as if it had always
been there. A change between that look and a deletion falls into the window of docs/decisions/0004.
Then still: nothing that was in use at the look is lost, nothing locked is deleted, the counts are
true, and no change is an error.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.registry.state import RegistryState
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.oracle import Uses, broken_references, expected_deletions
from tests.helpers.oracle_repository import Repository
from tests.helpers.shop import POLICY, PublishedResults, Shop, apply, now
from tests.helpers.stage import assert_invariants
from tests.helpers.tool_runs import RunResult

pytestmark = [pytest.mark.untraced, pytest.mark.extended]

RUNS = int(os.environ.get("ACR_CLEANUP_RACES", "30"))
# Read at import, because a fixture removes the variable from the environment of each test.
RANDOM_SEEDS = "ACR_CLEANUP_SEED" in os.environ
SEED = int(os.environ.get("ACR_CLEANUP_SEED", "1"))
BATCH = 100
NAMES = ("shop/web:1.0", "shop/web:1.1", "shop/web:held", "shop/web:multi", "shop/api:v1")
REQUESTS = 180
"""About as many requests as a run makes. The last forty follow the second look at the clusters."""
LISTS = ("_tags", "_manifests")


class Event(NamedTuple):
    """A change to this tag, right before the nth request."""

    request: int
    change: str
    name: str


class Others:
    """
    The other clients of the registry and the clusters. Records what the tool could have seen.

    `at_look`: each repository when the second look at it began.
    `in_use`: the uses when the second look at the clusters began; None before that.
    `locked`: tags that others locked after the plan.
    `touched`: tags and digests that others moved or removed after the second look, as
    `broken_references` writes them.
    """

    def __init__(self, shop: Shop, events: list[Event]) -> None:
        self.shop, self.events = shop, events
        self.requests = self.scans = 0
        self.lists: Counter[tuple[str, str]] = Counter()
        self.at_look: dict[str, Repository] = {}
        self.in_use: Uses | None = None
        self.locked: set[str] = set()
        self.touched: set[str] = set()
        shop.world.faults.append(Fault(before=self.before_request))

    async def before_request(self, request: web.Request) -> None:
        for event in self.events:
            if event.request == self.requests:
                self.apply(event)
        self.requests += 1
        if request.path == "/api" and "production" in request.host:
            self.scans += 1
            if self.scans == 2:
                self.in_use = deepcopy(self.shop.uses)
        for name in ("shop/web", "shop/api"):
            for kind in LISTS:
                if request.path == f"/acr/v1/{name}/{kind}":
                    if name not in self.at_look and self.was_listed(name):
                        self.at_look[name] = self.current(name)
                    self.lists[name, kind] += 1

    def current(self, repository: str) -> Repository:
        return Repository.from_state(repository, self.shop.world.registry.repositories.get(repository))

    def was_listed(self, repository: str) -> bool:
        return all(self.lists[repository, kind] for kind in LISTS)

    def apply(self, event: Event) -> None:
        repository, _, name = event.name.partition(":")
        state = self.shop.world.registry.repositories.get(repository)
        if state is None or name not in state.tags:
            return
        digest = state.tags[name].digest
        before = self.current(repository).tags
        CHANGES[event.change](self, repository, name, digest)
        if repository not in self.at_look:
            return
        # Also the tags that only this change names: signing new content moves the signature's tag.
        after = self.current(repository).tags
        for tag, entry in before.items():
            if tag not in after or after[tag].digest != entry.digest:
                self.touched.add(f"{repository}:{tag} ")
        if event.change in MOVING:
            self.touched |= {digest, *self.at_look[repository].subtree(digest)}
            self.touched |= self.at_look[repository].referrers(digest)


def deploy(others: Others, repository: str, name: str, digest: str) -> None:
    image = others.shop.world.registry.image(repository, name)
    others.shop.world.clusters["production"].add(build.cronjob("late", f"x{others.requests}", [image]))
    others.shop.uses.tags.add((repository, name))


def start(others: Others, repository: str, name: str, digest: str) -> None:
    """Start a pod that runs this digest under another tag."""
    image = others.shop.world.registry.image(repository, "other")
    pod = build.pod("late", f"p{others.requests}", [image], image_ids=[digest])
    others.shop.world.clusters["production"].add(pod)
    others.shop.uses.digests.add((repository, digest))


def lock(others: Others, repository: str, name: str, digest: str) -> None:
    if not others.shop.world.registry.repositories[repository].tags[name].attributes.locked and name != "held":
        others.shop.world.registry.lock(repository, name)
        if others.was_listed(repository):
            # The plan did not see this lock. A lock in the plan may be removed by `include-locked`.
            others.locked.add(f"{repository}:{name}")


def remove(others: Others, repository: str, name: str, digest: str) -> None:
    others.shop.world.registry.remove(repository, digest)
    others.locked.discard(f"{repository}:{name}")


def untag(others: Others, repository: str, name: str, digest: str) -> None:
    others.shop.world.registry.repositories[repository].untag(name)
    others.locked.discard(f"{repository}:{name}")


def registry(change: Callable[[RegistryState, str, str, str], object]) -> Callable[[Others, str, str, str], None]:
    def apply_change(others: Others, repository: str, name: str, digest: str) -> None:
        change(others.shop.world.registry, repository, name, digest)

    return apply_change


def stop(others: Others, *_: str) -> None:
    others.shop.world.clusters["test"].power_state = "Stopped"


CHANGES: dict[str, Callable[[Others, str, str, str], None]] = {
    "deploy it": deploy,
    "start it": start,
    "lock it": lock,
    "remove it": remove,
    "untag it": untag,
    "push new content": registry(lambda state, to, name, _: state.push(to, name)),
    "push the same content": registry(lambda state, to, name, digest: state.tag(to, name, digest)),
    "add a tag": registry(lambda state, to, name, digest: state.tag(to, f"{name}-x", digest)),
    "add an index": registry(lambda state, to, name, digest: state.push_index(to, f"{name}-i", children=[digest])),
    "sign it": registry(lambda state, to, name, digest: state.push_referrer(to, digest, tag=f"{name}-s")),
    "stop the cluster": stop,
}
MOVING = {"remove it", "untag it", "push new content"}


def assert_respected(ran: RunResult, others: Others) -> None:
    """Assert that the run deleted only what it was allowed to delete at its second look."""
    shop, after = others.shop, others.shop.repositories()
    assert_invariants(ran, shop)
    assert ran.code in {0, 1, 3}, ran.out
    assert not [outcome for outcome in ran.report["outcomes"] if outcome["outcome"] == "failed"], ran.out
    deletions = shop.world.matching(service="acr", method="DELETE", status=202)
    if ran.code == 3:
        assert not deletions
    for locked in others.locked:
        repository, _, name = locked.partition(":")
        assert name in after[repository].tags, (locked, ran.out)
    if others.in_use is None:
        assert not deletions
        return
    for repository, at_look in others.at_look.items():
        expected = expected_deletions(at_look, others.in_use, POLICY, now())
        problems = broken_references(at_look, after[repository], others.in_use, expected.manifests)
        problems = [problem for problem in problems if not any(text in f"{problem} " for text in others.touched)]
        assert not problems, "\n".join((*problems, ran.out))
        deleted = {tag.partition(":")[2] for tag in ran.deleted if tag.startswith(f"{repository}:")}
        assert deleted <= expected.tags, (deleted - expected.tags, ran.out)
        for name in deleted:
            ends = (f"/_tags/{name}", f"/manifests/{at_look.tags[name].digest}")
            assert any(request.path.endswith(ends) for request in deletions), f"the tool did not delete {name}"
            left = after[repository].tags.get(name)
            assert left is None or f"{repository}:{name} " in others.touched


EVENT = st.builds(
    Event,
    st.one_of(st.integers(0, REQUESTS), st.integers(REQUESTS - 50, REQUESTS - 10)),
    st.sampled_from(sorted(CHANGES)),
    st.sampled_from(NAMES),
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, RUNS // BATCH)))
def test_changes_before_the_second_look_are_respected(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_in_memory(monkeypatch)
    published = PublishedResults(monkeypatch)
    counts: Counter[str] = Counter()

    @hypothesis.seed(seed)
    @settings(
        max_examples=min(RUNS, BATCH),
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(EVENT, min_size=1, max_size=4))
    def respected(events: list[Event]) -> None:
        async def run() -> None:
            published.clear()
            shop = Shop()
            others = Others(shop, events)
            async with serve_in_memory(shop.world, tmp_path) as tool:
                ran = await apply(tool)
            assert_respected(ran, others)
            assert len(published.summaries) == len(published.outputs) == 1
            counts.update(outcome["outcome"] for outcome in ran.report["outcomes"] if outcome["tag"])
            counts[f"code {ran.code}"] += 1

        run_in_virtual_time(run)

    respected()
    sys.stdout.write(f"seed {seed}: {dict(sorted(counts.items()))}\n")
    if RANDOM_SEEDS:
        # A random batch may lack some of these. The line above shows its contents.
        return
    assert {"deleted", "moved", "in use now", "locked", "gone"} <= counts.keys(), counts
