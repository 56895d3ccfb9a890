"""
Others push, deploy, tag, lock and delete between any two requests of a run, as hypothesis has it.

What happens before the second look must be respected as if it had always been so. What happens between that look and a deletion
falls into the window that docs/decisions/0004 speaks of: then, too, nothing that was in use at the look is lost, nothing locked
goes, the counts are true, and nothing of it is an error.
"""

from __future__ import annotations

import os
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
from tests.helpers.oracle import Repository, Uses, going, unsound
from tests.helpers.shop import POLICY, Shop, Told, apply, now
from tests.helpers.stage import always
from tests.helpers.tool_runs import RunResult

pytestmark = pytest.mark.untraced

RUNS = int(os.environ.get("ACR_CLEANUP_RACES", "30"))
SEED = int(os.environ.get("ACR_CLEANUP_SEED", "1"))
BATCH = 100
NAMES = ("shop/web:1.0", "shop/web:1.1", "shop/web:held", "shop/web:multi", "shop/api:v1")
REQUESTS = 130
"""About as many as there are in a run; the last forty of them come after the second look at the clusters."""


class Event(NamedTuple):
    """What somebody does to this tag right before the nth request."""

    at: int
    what: str
    name: str


class Others:
    """Everybody else, and a note of what the tool could have seen."""

    def __init__(self, shop: Shop, events: list[Event]) -> None:
        self.shop, self.events = shop, events
        self.requests = self.scans = 0
        self.looks: Counter[tuple[str, str]] = Counter()
        # Each repository, and what was in use, when the tool began to look once more.
        self.at_look: dict[str, Repository] = {}
        self.in_use: Uses | None = None
        self.locked: set[str] = set()
        self.touched: set[str] = set()
        """What others moved or removed when it had been looked at, in words that a complaint of it would hold."""
        shop.world.faults.append(Fault(before=self.before_each))

    async def before_each(self, request: web.Request) -> None:
        for each in self.events:
            if each.at == self.requests:
                self.do(each)
        self.requests += 1
        if request.path == "/api" and "production" in request.host:
            self.scans += 1
            if self.scans == 2:
                self.in_use = deepcopy(self.shop.uses)
        for name in ("shop/web", "shop/api"):
            for kind in ("_tags", "_manifests"):
                if request.path == f"/acr/v1/{name}/{kind}":
                    if name not in self.at_look and all(self.looks[name, each] for each in ("_tags", "_manifests")):
                        self.at_look[name] = Repository.of(self.shop.world.registry.repositories.get(name))
                    self.looks[name, kind] += 1

    def do(self, event: Event) -> None:
        repository, _, name = event.name.partition(":")
        state = self.shop.world.registry.repositories.get(repository)
        if state is None or name not in state.tags:
            return
        digest = state.tags[name].digest
        if repository in self.at_look and event.what in MOVING:
            self.touched |= {f"{repository}:{name} ", digest, *self.at_look[repository].below(digest)}
            self.touched |= self.at_look[repository].referrers(digest)
        EVENTS[event.what](self, repository, name, digest)


def deploy(others: Others, repository: str, name: str, digest: str) -> None:
    image = others.shop.world.registry.image(repository, name)
    others.shop.world.clusters["production"].add(build.cronjob("late", f"x{others.requests}", [image]))
    others.shop.uses.tags.add((repository, name))


def start(others: Others, repository: str, name: str, digest: str) -> None:
    """A pod that runs this content, under whatever name."""
    image = others.shop.world.registry.image(repository, "whatever")
    pod = build.pod("late", f"p{others.requests}", [image], image_ids=[digest])
    others.shop.world.clusters["production"].add(pod)
    others.shop.uses.digests.add((repository, digest))


def lock(others: Others, repository: str, name: str, digest: str) -> None:
    if not others.shop.world.registry.repositories[repository].tags[name].attributes.locked and name != "held":
        others.shop.world.registry.lock(repository, name)
        if all(others.looks[repository, kind] for kind in ("_tags", "_manifests")):
            # Planned without it. What was locked before may be unlocked: that is what `include-locked` is for.
            others.locked.add(f"{repository}:{name}")


def remove(others: Others, repository: str, name: str, digest: str) -> None:
    others.shop.world.registry.remove(repository, digest)
    others.locked.discard(f"{repository}:{name}")


def untag(others: Others, repository: str, name: str, digest: str) -> None:
    others.shop.world.registry.repositories[repository].untag(name)
    others.locked.discard(f"{repository}:{name}")


def registry(do: Callable[[RegistryState, str, str, str], object]) -> Callable[[Others, str, str, str], None]:
    def done(others: Others, repository: str, name: str, digest: str) -> None:
        do(others.shop.world.registry, repository, name, digest)

    return done


def stop(others: Others, *_: str) -> None:
    others.shop.world.clusters["test"].power_state = "Stopped"


EVENTS: dict[str, Callable[[Others, str, str, str], None]] = {
    "deploy it": deploy,
    "start it": start,
    "lock it": lock,
    "remove it": remove,
    "untag it": untag,
    "push it anew": registry(lambda held, to, name, _: held.push(to, name)),
    "push the same again": registry(lambda held, to, name, digest: held.tag(to, name, digest)),
    "give it another name": registry(lambda held, to, name, digest: held.tag(to, f"{name}-x", digest)),
    "list it in an index": registry(lambda held, to, name, digest: held.push_index(to, f"{name}-i", children=[digest])),
    "sign it": registry(lambda held, to, name, digest: held.push_referrer(to, digest, tag=f"{name}-s")),
    "stop the cluster": stop,
}
MOVING = {"remove it", "untag it", "push it anew"}


def judge(ran: RunResult, others: Others, before: dict[str, Repository]) -> None:
    shop, after = others.shop, others.shop.repositories()
    always(ran, shop)
    assert ran.code in {0, 1, 3}, ran.out
    assert not [each for each in ran.report["outcomes"] if each["outcome"] == "failed"], ran.out
    sent = shop.world.matching(service="acr", method="DELETE", status=202)
    if ran.code == 3:
        assert not sent
    # What is locked by somebody since the plan is not taken off.
    for each in others.locked:
        repository, _, name = each.partition(":")
        assert name in after[repository].tags, (each, ran.out)
    if others.in_use is None:
        assert not sent
        return
    for repository, seen in others.at_look.items():
        wanted = going(seen, repository, others.in_use, POLICY, now())
        problems = unsound(seen, after[repository], repository, others.in_use, wanted.manifests)
        problems = [each for each in problems if not any(word in f"{each} " for word in others.touched)]
        assert not problems, "\n".join((*problems, ran.out))
        deleted = {each.partition(":")[2] for each in ran.deleted if each.startswith(f"{repository}:")}
        assert deleted <= wanted.tags, (deleted - wanted.tags, ran.out)
        for name in deleted:
            ends = (f"/_tags/{name}", f"/manifests/{seen.tags[name].digest}")
            assert any(each.path.endswith(ends) for each in sent), f"{repository}:{name} was not deleted by us"
            again = after[repository].tags.get(name)
            assert again is None or f"{repository}:{name} " in others.touched


EVENT = st.builds(
    Event,
    st.one_of(st.integers(0, REQUESTS), st.integers(REQUESTS - 50, REQUESTS - 10)),
    st.sampled_from(sorted(EVENTS)),
    st.sampled_from(NAMES),
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(SEED, SEED + max(1, RUNS // BATCH)))
def test_whatever_others_do_meanwhile_what_was_seen_is_respected(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_in_memory(monkeypatch)
    told = Told(monkeypatch)
    seen: Counter[str] = Counter()

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
            told.forget()
            shop = Shop()
            others = Others(shop, events)
            before = shop.repositories()
            async with serve_in_memory(shop.world, tmp_path) as tool:
                ran = await apply(tool)
            judge(ran, others, before)
            assert len(told.summaries) == len(told.outputs) == 1
            seen.update(each["outcome"] for each in ran.report["outcomes"] if each["tag"])
            seen[f"code {ran.code}"] += 1

        run_in_virtual_time(run)

    respected()
    assert {"deleted", "moved", "in use now", "locked", "gone"} <= seen.keys(), seen
