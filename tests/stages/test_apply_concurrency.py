"""Apply: how many repositories and deletions it works on at the same time."""

from __future__ import annotations

import asyncio

import pytest

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.stages.apply import AHEAD
from acr_cleanup.stages.registry_port import REPOSITORIES_AT_ONCE
from tests.helpers.apply_runs import apply_plan, kinds, planned, planned_repositories
from tests.helpers.fake_registry import FakeJournal, FakeRegistry
from tests.helpers.generated_inventories import inventory, tag
from tests.helpers.in_memory_world import run_in_virtual_time


@pytest.mark.parametrize("concurrency", [1, 3])
def test_deletions_in_flight_reach_concurrency_exactly(concurrency: int) -> None:
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 9)]))
    in_flight: list[int] = [0]

    async def be_slow(_call: str) -> None:
        in_flight.append(in_flight[-1] + 1)
        await asyncio.sleep(1)
        in_flight.append(in_flight[-1] - 1)

    registry.before_change = be_slow
    run_in_virtual_time(lambda: apply_plan(planned(registry.inventory), registry, concurrency=concurrency))

    assert max(in_flight) == concurrency


def test_repositories_in_progress_reach_their_bound_exactly() -> None:
    plan, registry = planned_repositories(*"abcdefghij")
    in_flight: list[str] = []
    most = 0

    async def be_slow(call: str) -> None:
        nonlocal most
        in_flight.append(call)
        most = max(most, len(set(in_flight)))
        await asyncio.sleep(1)
        in_flight.remove(call)

    registry.before_change = be_slow
    applied = run_in_virtual_time(lambda: apply_plan(plan, registry, concurrency=100))

    assert most == REPOSITORIES_AT_ONCE
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_intents_without_outcome_reach_their_bound_exactly(concurrency: int) -> None:
    """After a kill, each intent without an outcome is a deletion that may have happened."""
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 13)]))
    journal = FakeJournal()
    open_intents: list[int] = []

    async def be_slow(_call: str) -> None:
        await asyncio.sleep(1)
        open_intents.append(journal.open_intents)

    registry.before_change = be_slow
    run_in_virtual_time(
        lambda: apply_plan(planned(registry.inventory), registry, concurrency=concurrency, journal=journal)
    )

    assert max(open_intents) == AHEAD * concurrency
