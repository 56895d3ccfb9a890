"""
Others push, tag, index, lock and delete between the looks of a run that asks what has changed.

The events and the rules are those of test_interleaved.py. Here every repository counts as a large
one, and a look follows each deletion.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.stages import apply_repository, looks
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.shop import OLD, Shop, apply
from tests.scenarios.test_interleaved import CHANGES, Event, Others, assert_respected

pytestmark = [pytest.mark.untraced, pytest.mark.extended]

RUNS = int(os.environ.get("ACR_CLEANUP_RACES", "60"))
SEED = int(os.environ.get("ACR_CLEANUP_SEED", "1"))
PLAIN = tuple(f"plain-{number}" for number in range(6))
NAMES = ("shop/web:1.0", "shop/web:1.1", "shop/web:multi", *(f"shop/web:{name}" for name in PLAIN))


def events(requests: int) -> st.SearchStrategy[list[Event]]:
    """Changes, mostly in the last half of a run of so many requests: after its first full look."""
    number = st.one_of(st.integers(0, requests), st.integers(requests // 2, requests))
    event = st.builds(Event, number, st.sampled_from(sorted(CHANGES)), st.sampled_from(NAMES))
    return st.lists(event, min_size=1, max_size=4)


def plain_shop() -> Shop:
    """The shop, with old images that have no relatives."""
    shop = Shop()
    for name in PLAIN:
        shop.world.registry.push("shop/web", name, age=OLD, content=name)
    return shop


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("steps", "unfinished"), [(1, 32), (2, 1)], ids=["one by one", "overlapping"])
def test_changes_between_looks_are_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, unfinished: int
) -> None:
    """Also if a look begins before the steps that the last one allowed are finished."""
    connect_in_memory(monkeypatch)
    monkeypatch.setattr(looks, "LARGE", 0)
    monkeypatch.setattr(apply_repository, "LOOK_EVERY", steps)
    monkeypatch.setattr(apply_repository, "BEGIN_NEXT_LOOK", unfinished)
    answers: Counter[bool] = Counter()
    ask = looks.Looks.still_stands

    async def counted(self: looks.Looks, usage: UsageIndex) -> float | None:
        began = await ask(self, usage)
        answers[began is not None] += 1
        return began

    monkeypatch.setattr(looks.Looks, "still_stands", counted)

    async def run(changes: list[Event]) -> int:
        shop = plain_shop()
        others = Others(shop, changes)
        async with serve_in_memory(shop.world, tmp_path) as tool:
            ran = await apply(tool)
        assert_respected(ran, others)
        return others.requests

    requests = run_in_virtual_time(lambda: run([]))

    @hypothesis.seed(SEED)
    @settings(
        max_examples=RUNS,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(events(requests))
    def respected(changes: list[Event]) -> None:
        run_in_virtual_time(lambda: run(changes))

    respected()
    sys.stdout.write(
        f"seed {SEED}, {requests} requests: the decision stood {answers[True]} times, and not {answers[False]} times\n"
    )
    assert answers[True] > answers[False] > 0
