"""Apply: which calls it sends, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.errors import RegistryError
from acr_cleanup.stages.apply import Applied
from tests.helpers.apply_runs import (
    UNLOCKING,
    apply_plan,
    details,
    distinct_details,
    kinds,
    manifest_name,
    planned,
    set_bound,
)
from tests.helpers.fake_registry import FakeRegistry
from tests.helpers.generated_inventories import d, image, index, inventory, tag

INDEX_WAS_KEPT = (OutcomeKind.NOT_ATTEMPTED, f"{d('i')} had to be deleted first, and was not")


async def test_apply_sends_one_call_per_manifest() -> None:
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "a"), tag("3", "b"), tag("latest", "b")]))

    applied = await apply_plan(planned(registry.inventory), registry)

    assert sorted(registry.changes) == [f"delete {d('a')}", "untag 3"]
    assert kinds(applied) == dict.fromkeys(["1", "2", "3", manifest_name("a")], OutcomeKind.DELETED)


async def test_apply_skips_a_repository_without_steps() -> None:
    """It is not even listed."""
    registry = FakeRegistry(inventory([tag("1", "a", days=0)]))

    applied = await apply_plan(planned(registry.inventory), registry)

    assert (registry.calls, applied) == ([], Applied(()))


async def test_apply_deletes_old_untagged_manifests_if_configured() -> None:
    """Their age is measured at the time of the plan."""
    listed = inventory([], [image("a"), image("young", days=29)])
    registry = FakeRegistry(listed)

    applied = await apply_plan(planned(listed, policy=RetentionPolicy(delete_untagged=True)), registry)

    assert registry.changes == [f"delete {d('a')}"]
    assert distinct_details(applied) == {(OutcomeKind.DELETED, "")}


async def test_index_is_deleted_before_its_children_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x", "y"]), image("x"), image("y")]))

    await apply_plan(planned(registry.inventory), registry)

    assert registry.changes[0] == f"delete {d('i')}"


async def test_children_are_kept_if_their_index_is_locked() -> None:
    """Their outcome names the index."""
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x"]), image("x")]))
    registry.locked_calls.add(f"delete {d('i')}")

    applied = await apply_plan(planned(registry.inventory), registry)

    assert registry.changes == [f"delete {d('i')}"]
    assert d("x") in registry.inventory.manifests
    assert details(applied) == {
        "1": (OutcomeKind.LOCKED, ""),
        manifest_name("i"): (OutcomeKind.LOCKED, ""),
        manifest_name("x"): INDEX_WAS_KEPT,
    }


async def test_children_of_a_newly_kept_index_are_kept() -> None:
    before = inventory([tag("1", "i")], [index("i", ["x"]), image("x")])
    registry = FakeRegistry(replace(before, tags=(*before.tags, tag("new", "i", days=0))))

    await apply_plan(planned(before), registry)

    assert registry.changes == ["untag 1"]


async def test_children_in_later_batches_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of these children could not be deleted in an earlier batch."""
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x", "y"]), image("x"), image("y")]))

    async def fail(call: str) -> None:
        if call == f"delete {d('i')}":
            raise RegistryError("500.")

    registry.before_change = fail
    applied = await apply_plan(planned(registry.inventory), registry)

    assert registry.changes == [f"delete {d('i')}"]
    assert [details(applied)[manifest_name(child)] for child in ("x", "y")] == [INDEX_WAS_KEPT, INDEX_WAS_KEPT]


async def test_children_of_a_newly_locked_index_are_kept() -> None:
    """
    The lock is not removed, although `include-locked` is set: it was set after the plan to keep the
    index.

    The index has no tag that could show the change.
    """
    before = inventory([tag("1", "o")], [index("o", ["i"]), index("i", ["x"]), image("x")])
    plan = planned(before, policy=UNLOCKING)
    registry = FakeRegistry(replace(before, manifests={**before.manifests, d("i"): index("i", ["x"], locked=True)}))

    applied = await apply_plan(plan, registry)

    assert registry.changes == [f"delete {d('o')}"]
    assert details(applied)[manifest_name("i")] == (OutcomeKind.LOCKED, "it was locked since the plan")
    assert details(applied)[manifest_name("x")] == INDEX_WAS_KEPT


async def test_children_are_deleted_if_their_index_is_already_gone() -> None:
    """Another client deleted the index before the second look."""
    before = inventory([tag("1", "i"), tag("x", "x")], [index("i", ["x"]), image("x")])
    registry = FakeRegistry(inventory([tag("x", "x")], [image("x")]))

    applied = await apply_plan(planned(before), registry)

    assert kinds(applied)[manifest_name("i")] is OutcomeKind.GONE
    assert registry.changes == [f"delete {d('x')}"]


async def test_children_are_deleted_if_their_index_disappears() -> None:
    """Another client deleted the index after the second look."""
    registry = FakeRegistry(inventory([tag("1", "i"), tag("x", "x")], [index("i", ["x"]), image("x")]))

    async def delete_first(call: str) -> None:
        if call == f"delete {d('i')}":
            registry.inventory = inventory([tag("x", "x")], [image("x")])

    registry.before_change = delete_first
    applied = await apply_plan(planned(registry.inventory), registry)

    assert kinds(applied)[manifest_name("i")] is OutcomeKind.GONE
    assert registry.changes == [f"delete {d('i')}", f"delete {d('x')}"]
