"""Apply with `include-locked`: removing locks, and restoring them if nothing was deleted."""

from __future__ import annotations

import asyncio

import pytest

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.errors import RegistryError, RegistryForbidden
from acr_cleanup.stages.apply import Applied
from tests.helpers.apply_runs import (
    RELOCKED,
    UNLOCKING,
    apply_plan,
    details,
    kinds,
    locked_inventory,
    planned,
    set_bound,
)
from tests.helpers.fake_registry import FakeRegistry
from tests.helpers.generated_inventories import REPOSITORY, d
from tests.helpers.in_memory_world import run_in_virtual_time


async def apply_to(registry: FakeRegistry, stop: asyncio.Event | None = None) -> Applied:
    """Plan and apply with `include-locked`."""
    return await apply_plan(planned(registry.inventory, policy=UNLOCKING), registry, stop=stop)


# -- removing locks ------------------------------------------------------------------------------


async def test_locks_are_kept_without_include_locked() -> None:
    registry = FakeRegistry(locked_inventory())

    await apply_plan(planned(registry.inventory), registry)

    assert not registry.changes


async def test_only_deleted_items_are_unlocked() -> None:
    """They are unlocked right before the deletion."""
    registry = FakeRegistry(locked_inventory())

    applied = await apply_to(registry)

    assert sorted(registry.changes[:-1]) == sorted(["unlock 1", f"unlock {d('a')}"])
    assert registry.changes[-1] == f"delete {d('a')}"
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert applied.warnings == ()


async def test_refused_unlock_is_not_reported_as_a_lost_lock() -> None:
    """The identity may not change locks, so no lock was removed, and no warning is shown."""
    registry = FakeRegistry(locked_inventory())

    async def refuse(call: str) -> None:
        if call.startswith(("unlock", "lock")):
            raise RegistryForbidden("403.")

    registry.before_change = refuse
    applied = await apply_to(registry)

    assert set(kinds(applied).values()) == {OutcomeKind.FAILED}
    assert not any("LOCKED" in outcome.detail for outcome in applied.outcomes)
    assert applied.warnings == ()
    assert not any(call.startswith("lock") for call in registry.changes)


# -- restoring locks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "error", "kind"),
    [
        ("delete", RegistryError("500."), OutcomeKind.FAILED),
        ("delete", RuntimeError("a bug"), OutcomeKind.FAILED),
        ("unlock", RegistryError("403."), OutcomeKind.FAILED),
        ("unlock", TimeoutError(), OutcomeKind.FAILED),
    ],
)
async def test_failed_deletion_restores_the_exact_locks(verb: str, error: Exception, kind: OutcomeKind) -> None:
    """A lock whose removal got no answer is restored too: it may have been removed."""
    registry = FakeRegistry(locked_inventory())
    failed_calls: list[str] = []

    async def fail(call: str) -> None:
        is_first_unlock = verb == "unlock" and not failed_calls and len(registry.changes) < 2
        if call.startswith(verb) and not is_first_unlock:
            failed_calls.append(call)
            raise error

    registry.before_change = fail
    applied = await apply_to(registry)

    assert failed_calls
    assert set(registry.changes) >= RELOCKED
    assert kinds(applied)["1"] is kind
    assert applied.warnings == ()


async def test_locked_answer_restores_the_locks() -> None:
    registry = FakeRegistry(locked_inventory())
    registry.locked_calls.add(f"delete {d('a')}")

    applied = await apply_to(registry)

    assert set(registry.changes) >= RELOCKED
    assert kinds(applied)["1"] is OutcomeKind.LOCKED


async def test_stopped_run_restores_the_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so before it ends."""
    set_bound(monkeypatch, "GRACE_AFTER_STOP", 0.01)
    registry = FakeRegistry(locked_inventory())
    stop = asyncio.Event()

    async def hang(call: str) -> None:
        if call.startswith("delete"):
            stop.set()
            await asyncio.sleep(60)

    registry.before_change = hang
    applied = await apply_to(registry, stop)

    assert set(registry.changes) >= RELOCKED
    assert kinds(applied)["1"] is OutcomeKind.FAILED
    assert "may be deleted" in applied.outcomes[0].detail


async def test_cancelled_run_restores_the_locks() -> None:
    registry = FakeRegistry(locked_inventory())
    deleting = asyncio.Event()

    async def hang(call: str) -> None:
        if call.startswith("delete"):
            deleting.set()
            await asyncio.sleep(60)

    registry.before_change = hang
    task = asyncio.create_task(apply_to(registry))
    await deleting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert set(registry.changes) >= RELOCKED


@pytest.mark.parametrize(("seconds", "in_time"), [(2.9, True), (3.1, False)])
def test_stopped_run_restores_locks_within_three_seconds(seconds: float, in_time: bool) -> None:
    """All locks are restored at the same time, after the seconds that the deletion was given."""
    registry = FakeRegistry(locked_inventory())
    ends: list[float] = []

    async def work() -> Applied:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        async def be_slow(call: str) -> None:
            if call.startswith("delete"):
                stop.set()
                await asyncio.sleep(60)
            if call.startswith("lock"):
                await asyncio.sleep(seconds)

        registry.before_change = be_slow
        applied = await apply_to(registry, stop)
        ends.append(loop.time())
        return applied

    applied = run_in_virtual_time(work)

    assert ends == [pytest.approx(2 + min(seconds, 3))]
    assert bool(applied.warnings) is not in_time
    assert all("no answer before the run had to end" in warning for warning in applied.warnings)
    detail = "the run was stopped before the registry answered: it may be deleted"
    for outcome in applied.outcomes:
        assert outcome.detail == detail if in_time else outcome.detail.startswith(f"{detail}; ")


# -- locks that cannot be restored ---------------------------------------------------------------


async def test_lost_lock_is_a_warning_with_the_command() -> None:
    """Each outcome names it as well."""
    registry = FakeRegistry(locked_inventory())

    async def fail(call: str) -> None:
        if call.startswith("delete") or call == "lock 1":
            raise RegistryError("503.")

    registry.before_change = fail
    applied = await apply_to(registry)

    assert set(registry.changes) >= RELOCKED
    assert all("IS NO LONGER LOCKED" in outcome.detail for outcome in applied.outcomes)
    (warning,) = applied.warnings
    assert f"{REPOSITORY}:1 IS NO LONGER LOCKED" in warning
    assert "--delete-enabled false --write-enabled true" in warning


async def test_lost_locks_of_tag_and_manifest_have_own_commands(caplog: pytest.LogCaptureFixture) -> None:
    registry = FakeRegistry(locked_inventory())

    async def fail(call: str) -> None:
        if call.startswith(("delete", "lock")):
            raise RegistryError("503." if call != f"lock {d('a')}" else "")

    registry.before_change = fail
    caplog.set_level("DEBUG", "acr_cleanup")
    applied = await apply_to(registry)

    lost = "its lock was removed and could not be restored"
    no_answer = "no answer before the run had to end"
    by_hand = "Lock it by hand: az acr repository update --name contoso.azurecr.io --image"
    manifest = f"{REPOSITORY}@{d('a')}"
    of_tag, of_manifest = "--delete-enabled false --write-enabled true", "--delete-enabled true --write-enabled false"
    assert sorted(applied.warnings) == [
        f"{REPOSITORY}:1 IS NO LONGER LOCKED: {lost} (503.). {by_hand} {REPOSITORY}:1 {of_tag}",
        f"{manifest} IS NO LONGER LOCKED: {lost} ({no_answer}). {by_hand} {manifest} {of_manifest}",
    ]
    assert details(applied)["1"] == (
        OutcomeKind.FAILED,
        f"503.; the manifest IS NO LONGER LOCKED: {lost} ({no_answer}); the tag 1 IS NO LONGER LOCKED: {lost} (503.)",
    )
    assert sorted(caplog.messages) == [f"locking {REPOSITORY}:1 again", f"locking {manifest} again"]
    assert all(record.exc_info and record.exc_info[1] for record in caplog.records)


# -- items that changed in the meantime ----------------------------------------------------------


async def test_tag_that_moved_before_its_unlock_is_locked_again() -> None:
    """It is no longer the planned manifest, so nothing is deleted."""
    registry = FakeRegistry(locked_inventory(), digests_at_unlock={"1": d("c")})

    applied = await apply_to(registry)

    assert "lock 1 False True" in registry.changes
    assert not any(call.startswith(("delete", "untag")) for call in registry.changes)
    assert kinds(applied)["1"] is OutcomeKind.MOVED


async def test_tag_deleted_before_its_unlock_is_not_locked_again() -> None:
    registry = FakeRegistry(locked_inventory(), digests_at_unlock={"1": None})
    registry.locked_calls.add(f"delete {d('a')}")

    await apply_to(registry)

    assert "lock 1 False True" not in registry.changes
    assert f"lock {d('a')} True False" in registry.changes


async def test_manifest_deleted_by_another_client_loses_no_lock() -> None:
    registry = FakeRegistry(locked_inventory())
    plan = planned(registry.inventory, policy=UNLOCKING)

    async def delete_first(call: str) -> None:
        if call.startswith("delete"):
            registry.lose(d("a"))

    registry.before_change = delete_first
    applied = await apply_plan(plan, registry)

    assert kinds(applied)["1"] is OutcomeKind.GONE
    assert applied.warnings == ()


async def test_manifest_wrongly_reported_gone_is_locked_again() -> None:
    """A proxy or a lagging replica may answer so; the outcome is `failed`."""
    registry = FakeRegistry(locked_inventory(), denies_deletions=True)

    applied = await apply_to(registry)

    assert set(registry.changes) >= RELOCKED
    assert kinds(applied)["1"] is OutcomeKind.FAILED
    assert "it does not exist, but it does" in applied.outcomes[0].detail


@pytest.mark.parametrize("slower", ["lock 1", f"lock {d('a')}"])
async def test_manifest_wrongly_reported_gone_fails_if_its_tag_moved(slower: str) -> None:
    """The order of the answers does not matter: the manifest exists, although its tag has moved."""
    registry = FakeRegistry(locked_inventory(), denies_deletions=True)

    async def move_tag(call: str) -> None:
        if call.startswith("delete"):
            registry.digests_at_unlock["1"] = d("c")
        if call == slower:
            await asyncio.sleep(0.01)

    registry.before_change = move_tag
    applied = await apply_to(registry)

    expected = (OutcomeKind.FAILED, "the registry answered that it does not exist, but it does")
    assert {(outcome.kind, outcome.detail) for outcome in applied.outcomes} == {expected}
