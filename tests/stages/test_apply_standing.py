"""Apply in a large repository: later looks ask what has changed, and list everything in any doubt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.errors import RegistryError
from acr_cleanup.stages import looks, read_repository
from tests.helpers.apply_runs import apply_plan, kinds, planned, set_bound, tag_kinds
from tests.helpers.fake_registry import FakeRegistry
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, tag, usage, use
from tests.helpers.in_memory_world import run_in_virtual_time

LATER = NOW + timedelta(minutes=1)
CHANGES = "list changes of shop/web"


@pytest.fixture(autouse=True)
def _small_repositories_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LARGE", 0)
    set_bound(monkeypatch, "LOOK_EVERY", 1)


def large(count: int = 3) -> FakeRegistry:
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, count + 1)]))
    registry.clock = NOW
    return registry


def looked(registry: FakeRegistry) -> list[str]:
    """The calls, in short: `list`, `changes`, `delete`."""
    return ["changes" if call == CHANGES else call.partition(" ")[0] for call in registry.calls]


def after_first_deletion(registry: FakeRegistry, change: Callable[[RepositoryInventory], RepositoryInventory]) -> None:
    """Let another client change the repository once, right before the second look."""
    pending = [change]

    async def change_it(call: str) -> None:
        if registry.changes and pending and call.startswith("changes"):
            registry.inventory = pending.pop()(registry.inventory)

    registry.before_read = change_it


async def test_later_looks_ask_what_has_changed() -> None:
    registry = large()
    applied = await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete", "changes", "delete", "changes", "delete"]
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}


async def test_small_repository_is_listed_before_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LARGE", 3)
    registry = large()
    await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete"] * 3


async def test_registry_without_a_clock_is_listed_before_each_batch() -> None:
    registry = large()
    registry.clock = None
    await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete"] * 3


def with_tag(name: str, digest: str | int) -> Callable[[RepositoryInventory], RepositoryInventory]:
    def change(now: RepositoryInventory) -> RepositoryInventory:
        pushed = structs.replace(tag(name, digest), updated_at=LATER)
        manifests = {d(digest): structs.replace(image(digest), updated_at=LATER)} | dict(now.manifests)
        return replace(now, tags=(*(tag for tag in now.tags if tag.name != name), pushed), manifests=manifests)

    return change


async def test_push_of_another_image_needs_no_list() -> None:
    registry = large()
    after_first_deletion(registry, with_tag("new", "n"))
    await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete", "changes", "delete", "changes", "delete"]


@pytest.mark.parametrize(("name", "digest"), [("3", "n"), ("new", 3)], ids=["moved", "added"])
async def test_tag_of_a_planned_image_is_noticed(name: str, digest: str | int) -> None:
    registry = large()
    after_first_deletion(registry, with_tag(name, digest))
    applied = await apply_plan(planned(registry.inventory), registry)
    assert looked(registry)[:4] == ["list", "delete", "changes", "list"]
    assert d(3) in registry.inventory.manifests
    assert tag_kinds(applied)["2"] is OutcomeKind.DELETED


async def test_deletion_by_another_client_is_noticed() -> None:
    """The counts do not agree, twice, so the repository is listed."""
    registry = large()
    without = inventory([tag("2", 2)])
    after_first_deletion(registry, lambda _: without)
    applied = await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete", "changes", "changes", "list", "delete", "list"]
    assert tag_kinds(applied) == {"1": OutcomeKind.DELETED, "2": OutcomeKind.DELETED, "3": OutcomeKind.GONE}


async def test_failed_question_is_followed_by_a_list(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "acr_cleanup")
    registry = large(2)

    async def refuse(call: str) -> None:
        if call.startswith("changes"):
            raise RegistryError("400 Bad Request.", where="registry", remedy="")

    registry.before_read = refuse
    applied = await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete", "changes", "list", "delete"]
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert caplog.messages == ["asking what has changed in shop/web"]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[0] is RegistryError


async def test_refused_deletion_is_followed_by_a_list() -> None:
    """Manifests that it does not delete may keep other images."""
    registry = large()
    registry.locked_calls = {f"delete {d(1)}"}
    applied = await apply_plan(planned(registry.inventory), registry)
    assert looked(registry) == ["list", "delete", "list", "delete", "changes", "delete"]
    assert tag_kinds(applied)["1"] is OutcomeKind.LOCKED


async def test_usage_that_was_read_again_is_followed_by_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, "USAGE_STAYS_FRESH", -1.0)
    registry = large(2)

    async def read() -> UsageIndex:
        return usage(use("2")) if registry.changes else usage()

    applied = await apply_plan(planned(registry.inventory), registry, read_usage=read)
    assert looked(registry) == ["list", "delete", "list"]
    assert tag_kinds(applied)["2"] is OutcomeKind.IN_USE_NOW


async def test_relatives_are_deleted_after_a_list() -> None:
    """The index and its child come last, each right after a list."""
    registry = FakeRegistry(
        inventory([tag("1", "i"), tag("2", 2), tag("3", 3)], [index("i", ["c"]), image("c"), image(2), image(3)])
    )
    registry.clock = NOW
    plan = planned(registry.inventory)
    await apply_plan(plan, registry)
    assert registry.verbs.count("delete") == 4
    places = [place for place, call in enumerate(registry.calls) if call in {f"delete {d('i')}", f"delete {d('c')}"}]
    assert [looked(registry)[place - 1] for place in places] == ["list", "list"]
    assert "changes" in looked(registry)


@pytest.mark.parametrize(("seconds", "starts"), [(0, 3), (5, 2)])
def test_age_of_a_look_counts_from_its_first_request(
    seconds: float, starts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deletion takes 8 seconds. Its list takes 0 or 5 of the 20 seconds of a look."""
    set_bound(monkeypatch, "LOOK_EVERY", 10)
    monkeypatch.setattr(looks, "LARGE", 1000)
    registry = large()

    async def be_slow(call: str) -> None:
        await asyncio.sleep(seconds if call.startswith("list") else 8 if call.startswith("delete") else 0)

    registry.before_read = registry.before_change = be_slow
    run_in_virtual_time(lambda: apply_plan(planned(registry.inventory), registry, time_limit=500))
    assert looked(registry)[: starts + 2] == ["list", *["delete"] * starts, *["list"] * (starts < 3)]


async def test_large_repository_is_decided_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its decision takes seconds: signals and other repositories must not wait for it."""
    threads: set[int] = set()

    def plan(*args: Any, **options: Any) -> RepositoryPlan:
        threads.add(threading.get_ident())
        return plan_repository(*args, **options)

    monkeypatch.setattr(read_repository, "plan_repository", plan)
    monkeypatch.setattr(read_repository, "MANY_TAGS", 1)
    registry = large(2)
    await apply_plan(planned(registry.inventory), registry)
    assert threads
    assert threading.get_ident() not in threads


def test_look_that_takes_longer_than_it_is_fresh_allows_some_deletions() -> None:
    """Otherwise a repository that takes a minute to list could never be cleaned up."""
    registry = large(2)

    async def be_slow(call: str) -> None:
        await asyncio.sleep(60 if call.startswith("list") else 0)

    registry.before_read = be_slow
    applied = run_in_virtual_time(lambda: apply_plan(planned(registry.inventory), registry, time_limit=500))
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}


# -- a look that begins before the batch ends ----------------------------------------------------


def overlapping(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """A registry in which the second deletion of a batch waits for the next look."""
    set_bound(monkeypatch, "LOOK_EVERY", 2)
    set_bound(monkeypatch, "BEGIN_NEXT_LOOK", 1)
    registry = large(4)

    async def wait(call: str) -> None:
        while call == f"delete {d(2)}" and CHANGES not in registry.calls:  # noqa: ASYNC110
            await asyncio.sleep(0)

    registry.before_change = wait
    return registry


async def test_next_look_begins_while_deletions_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = overlapping(monkeypatch)
    applied = await apply_plan(planned(registry.inventory), registry, concurrency=2)
    assert looked(registry) == ["list", "delete", "delete", "changes", "delete", "delete"]
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}


async def test_deletion_by_another_client_is_noticed_by_a_begun_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are read after the deletions in flight, and must agree exactly."""
    registry = overlapping(monkeypatch)
    wait = registry.before_change

    async def lose(call: str) -> None:
        assert wait is not None
        await wait(call)
        if call == f"delete {d(2)}":
            registry.lose(d(4))

    registry.before_change = lose
    applied = await apply_plan(planned(registry.inventory), registry, concurrency=2)
    assert looked(registry) == ["list", "delete", "delete", "changes", "changes", "list", "delete"]
    assert tag_kinds(applied)["4"] is OutcomeKind.GONE


async def test_begun_look_that_became_old_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "BEGUN_STAYS_FRESH", -1.0)
    registry = overlapping(monkeypatch)
    await apply_plan(planned(registry.inventory), registry, concurrency=2)
    assert looked(registry) == ["list", "delete", "delete", "changes", "changes", "delete", "delete"]


async def test_begun_look_is_given_up_after_a_refused_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = overlapping(monkeypatch)
    registry.locked_calls = {f"delete {d(2)}"}
    await apply_plan(planned(registry.inventory), registry, concurrency=2)
    assert looked(registry)[:5] == ["list", "delete", "delete", "changes", "list"]
