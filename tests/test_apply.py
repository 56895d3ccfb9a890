"""Carrying out a plan against a registry that moves, refuses and fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from acr_cleanup import apply as applying
from acr_cleanup.apply import Applied, apply
from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan, plan_repository
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.core.references import Digest
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.errors import NotListed, RegistryError, RegistryForbidden
from acr_cleanup.journal import open_journal, read_journal
from tests.core.worlds import NOW, REPOSITORY, d, image, index, inventory, tag, usage, use

BLOCKER = Blocker("production", "list pods", "403 Forbidden.", "Grant list on pods.")


@dataclass
class FakeRegistry:
    """One repository in memory. `before` is called ahead of each deletion; what it raises, the deletion raises."""

    held: RepositoryInventory
    before: Callable[[str], Awaitable[None]] | None = None
    calls: list[str] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)
    names: dict[str, Digest | None] = field(default_factory=dict)
    """What a tag turns out to name when it is unlocked, where that is something else than expected."""

    async def list_repository(self, name: str) -> RepositoryInventory:
        self.calls.append(f"list {name}")
        return self.held

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        return inventory

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        return await self._delete(f"untag {tag}", lambda each: each.name == tag, None)

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        return await self._delete(f"delete {digest}", lambda each: each.digest == digest, digest)

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        return await self._set("unlock", digest, lock)

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        return await self._set("lock", digest, lock)

    async def _set(self, verb: str, digest: Digest, lock: Lock) -> Digest | None:
        call = f"{verb} {lock.tag or digest}"
        self.calls.append(call if verb == "unlock" else f"{call} {lock.delete_enabled} {lock.write_enabled}")
        if self.before:
            await self.before(call)
        return self.names.get(lock.tag or "", digest)

    async def read_document(self, repository: str, digest: Digest) -> None:
        return None

    async def _delete(self, call: str, matches: Callable[..., bool], digest: Digest | None) -> OutcomeKind:
        self.calls.append(call)
        if self.before:
            await self.before(call)
        if call in self.locked:
            return OutcomeKind.LOCKED
        tags = tuple(each for each in self.held.tags if not matches(each))
        gone = len(tags) == len(self.held.tags) and digest not in self.held.manifests
        manifests = {key: value for key, value in self.held.manifests.items() if key != digest}
        self.held = RepositoryInventory(self.held.name, tags, manifests)
        return OutcomeKind.GONE if gone else OutcomeKind.DELETED

    @property
    def deletions(self) -> list[str]:
        return [call for call in self.calls if not call.startswith("list")]


def planned(held: RepositoryInventory, uses: UsageIndex | None = None) -> Plan:
    policy = RetentionPolicy()
    uses = uses or usage()
    return Plan("contoso.azurecr.io", policy, NOW, uses, (plan_repository(held, uses, policy, NOW),))


async def run(
    plan: Plan,
    registry: FakeRegistry,
    *,
    now: UsageIndex | None = None,
    stop: asyncio.Event | None = None,
    report: Callable[[Sequence[Outcome]], None] = list,  # type: ignore[assignment]
) -> Applied:
    async def read() -> UsageIndex:
        return now or usage()

    return await apply(plan, registry, read, stop=stop or asyncio.Event(), concurrency=1, report=report)


def kinds(applied: Applied) -> dict[str, OutcomeKind]:
    return {outcome.tag or f"@{outcome.digest[-2:]}": outcome.kind for outcome in applied.outcomes}


async def test_the_whole_plan_is_done_with_one_call_per_manifest() -> None:
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "a"), tag("3", "b"), tag("latest", "b")]))

    applied = await run(planned(registry.held), registry)

    assert sorted(registry.deletions) == [f"delete {d('a')}", "untag 3"]
    assert kinds(applied) == dict.fromkeys(["1", "2", "3", f"@{d('a')[-2:]}"], OutcomeKind.DELETED)


async def test_blockers_at_the_second_look_forbid_the_first_deletion() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))

    applied = await run(planned(registry.held), registry, now=usage(blockers=(BLOCKER,)))

    assert applied == Applied((), (BLOCKER,))
    assert not registry.calls


async def test_an_image_deployed_between_plan_and_apply_is_in_use_now() -> None:
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))

    applied = await run(planned(registry.held), registry, now=usage(use("1")))

    assert registry.deletions == [f"delete {d('b')}"]
    assert kinds(applied)["1"] is OutcomeKind.IN_USE_NOW


async def test_a_tag_pushed_between_plan_and_apply_has_moved() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    plan = planned(registry.held)
    registry.held = inventory([tag("1", "b", days=0)], [image("a"), image("b")])

    applied = await run(plan, registry)

    assert not registry.deletions
    assert kinds(applied)["1"] is OutcomeKind.MOVED


@pytest.mark.parametrize("error", [RegistryError("500."), RuntimeError("a bug"), TimeoutError()])
async def test_one_failing_item_never_stops_or_miscounts_the_others(error: Exception) -> None:
    registry = FakeRegistry(inventory([tag(name, name) for name in ("p", "q", "r")]))

    async def fail_once(call: str) -> None:
        if call == f"delete {d('q')}":
            raise error

    registry.before = fail_once
    applied = await run(planned(registry.held), registry)

    assert {name: kind for name, kind in kinds(applied).items() if not name.startswith("@")} == {
        "p": OutcomeKind.DELETED,
        "q": OutcomeKind.FAILED,
        "r": OutcomeKind.DELETED,
    }
    assert {each.name for each in registry.held.tags} == {"q"}


async def test_children_stay_when_their_index_could_not_be_deleted() -> None:
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x"]), image("x")]))
    registry.locked.add(f"delete {d('i')}")

    applied = await run(planned(registry.held), registry)

    assert registry.deletions == [f"delete {d('i')}"]
    assert d("x") in registry.held.manifests
    assert kinds(applied) == {
        "1": OutcomeKind.LOCKED,
        f"@{d('i')[-2:]}": OutcomeKind.LOCKED,
        f"@{d('x')[-2:]}": OutcomeKind.NOT_ATTEMPTED,
    }


async def test_children_stay_when_the_second_look_keeps_their_index() -> None:
    before = inventory([tag("1", "i")], [index("i", ["x"]), image("x")])
    registry = FakeRegistry(replace(before, tags=(*before.tags, tag("new", "i", days=0))))

    await run(planned(before), registry)

    assert registry.deletions == ["untag 1"]


async def test_an_index_is_deleted_before_its_children_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x", "y"]), image("x"), image("y")]))

    await run(planned(registry.held), registry)

    assert registry.deletions == [f"delete {d('i')}", f"delete {d('x')}"][:1] + registry.deletions[1:]
    assert registry.deletions[0] == f"delete {d('i')}"


async def test_a_repository_that_cannot_be_looked_at_again_fails_and_the_others_go_on() -> None:
    class Unreadable(FakeRegistry):
        async def list_repository(self, name: str) -> RepositoryInventory:
            raise NotListed("page 2 of its tags answered 500.")

    registry = Unreadable(inventory([tag("1", "a")]))

    applied = await run(planned(registry.held), registry)

    assert not registry.deletions
    assert set(kinds(applied).values()) == {OutcomeKind.FAILED}


async def test_a_stop_starts_no_new_deletion_and_tells_what_was_done() -> None:
    registry = FakeRegistry(inventory([tag(f"{number:02}", number) for number in range(1, 30)]))
    stop = asyncio.Event()

    async def stop_at_the_third(call: str) -> None:
        if len(registry.deletions) == 3:
            stop.set()

    registry.before = stop_at_the_third
    applied = await run(planned(registry.held), registry, stop=stop)

    found = [kind for name, kind in kinds(applied).items() if not name.startswith("@")]
    assert found.count(OutcomeKind.DELETED) == 29 - len(registry.held.tags) == 3
    assert found.count(OutcomeKind.NOT_ATTEMPTED) == 26


async def test_a_deletion_that_hangs_after_a_stop_is_given_up_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "GRACE_AFTER_STOP", 0.01)
    registry = FakeRegistry(inventory([tag("1", "a")]))
    stop = asyncio.Event()

    async def hang(call: str) -> None:
        stop.set()
        await asyncio.sleep(60)

    registry.before = hang
    applied = await run(planned(registry.held), registry, stop=stop)

    assert kinds(applied)["1"] is OutcomeKind.FAILED
    assert "may be gone" in applied.outcomes[0].detail


async def test_a_long_apply_reads_the_clusters_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload deployed while a long apply goes on is seen before the next batch."""
    monkeypatch.setattr(applying, "USAGE_STAYS_FRESH", -1.0)
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))
    reads: list[int] = []

    async def read() -> UsageIndex:
        reads.append(len(registry.deletions))
        return usage(use("1"), use("2")) if registry.deletions else usage()

    applied = await apply(planned(registry.held), registry, read, stop=asyncio.Event(), concurrency=8, report=list)  # type: ignore[arg-type]

    assert len(registry.deletions) == 1
    assert sorted(kind for name, kind in kinds(applied).items() if not name.startswith("@")) == [
        OutcomeKind.DELETED,
        OutcomeKind.IN_USE_NOW,
    ]


async def test_a_cluster_lost_in_the_middle_stops_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "USAGE_STAYS_FRESH", -1.0)
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))

    async def read() -> UsageIndex:
        return usage(blockers=(BLOCKER,)) if registry.deletions else usage()

    applied = await apply(planned(registry.held), registry, read, stop=asyncio.Event(), concurrency=8, report=list)  # type: ignore[arg-type]

    assert len(registry.deletions) == 1
    assert applied.blockers == (BLOCKER,)
    assert OutcomeKind.NOT_ATTEMPTED in kinds(applied).values()


async def test_what_was_removed_by_others_is_gone_not_failed() -> None:
    registry = FakeRegistry(inventory([tag("1", "a"), tag("latest", "a")]))
    plan = planned(registry.held)

    async def others_were_quicker(call: str) -> None:
        registry.held = inventory([tag("latest", "a")])

    registry.before = others_were_quicker
    applied = await run(plan, registry)

    assert kinds(applied) == {"1": OutcomeKind.GONE}
    assert REPOSITORY in str(applied.outcomes[0])


# -- locks ----------------------------------------------------------------------------------------------------

UNLOCKING = RetentionPolicy(include_locked=True)


def locked_world() -> RepositoryInventory:
    """Manifest `a` (locked) with the tags 1 (locked) and 2 (open); manifest `b` with the locked tag 3, which stays."""
    held = inventory(
        [
            replace(tag("1", "a"), locked=True, delete_enabled=False, write_enabled=True),
            tag("2", "a"),
            tag("3", "b", days=0),
        ],
        [replace(image("a"), locked=True, delete_enabled=True, write_enabled=False), image("b")],
    )
    third = next(each for each in held.tags if each.name == "3")
    return replace(held, tags=(*(each for each in held.tags if each is not third), replace(third, locked=True)))


def unlocking(held: RepositoryInventory) -> Plan:
    return Plan("contoso.azurecr.io", UNLOCKING, NOW, usage(), (plan_repository(held, usage(), UNLOCKING, NOW),))


async def test_exactly_what_is_deleted_is_unlocked_right_before() -> None:
    registry = FakeRegistry(locked_world())

    applied = await run(unlocking(registry.held), registry)

    assert sorted(registry.deletions[:-1]) == sorted(["unlock 1", f"unlock {d('a')}"])
    assert registry.deletions[-1] == f"delete {d('a')}"
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert applied.warnings == ()


PUT_BACK = {"lock 1 False True", f"lock {d('a')} True False"}


@pytest.mark.parametrize(
    ("failing", "error", "kind"),
    [
        ("delete", RegistryError("500."), OutcomeKind.FAILED),
        ("delete", RuntimeError("a bug"), OutcomeKind.FAILED),
        ("unlock", RegistryError("403."), OutcomeKind.FAILED),
        ("unlock", TimeoutError(), OutcomeKind.FAILED),
    ],
)
async def test_locks_are_put_back_to_the_very_attributes_when_the_deletion_fails(
    failing: str, error: Exception, kind: OutcomeKind
) -> None:
    """Also that of which nobody knows whether it was taken off."""
    registry = FakeRegistry(locked_world())
    failed: list[str] = []

    async def fail(call: str) -> None:
        if call.startswith(failing) and not (failing == "unlock" and not failed and len(registry.deletions) < 2):
            failed.append(call)
            raise error

    registry.before = fail
    applied = await run(unlocking(registry.held), registry)

    assert failed
    assert set(registry.deletions) >= PUT_BACK
    assert kinds(applied)["1"] is kind
    assert applied.warnings == ()


async def test_locks_are_put_back_when_the_registry_says_locked_all_the_same() -> None:
    registry = FakeRegistry(locked_world())
    registry.locked.add(f"delete {d('a')}")

    applied = await run(unlocking(registry.held), registry)

    assert set(registry.deletions) >= PUT_BACK
    assert kinds(applied)["1"] is OutcomeKind.LOCKED


async def test_locks_are_put_back_when_the_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the seconds that are left, before the run ends."""
    monkeypatch.setattr(applying, "GRACE_AFTER_STOP", 0.01)
    registry = FakeRegistry(locked_world())
    stop = asyncio.Event()

    async def hang(call: str) -> None:
        if call.startswith("delete"):
            stop.set()
            await asyncio.sleep(60)

    registry.before = hang
    applied = await run(unlocking(registry.held), registry, stop=stop)

    assert set(registry.deletions) >= PUT_BACK
    assert kinds(applied)["1"] is OutcomeKind.FAILED
    assert "may be gone" in applied.outcomes[0].detail


async def test_locks_are_put_back_when_the_run_itself_is_cancelled() -> None:
    registry = FakeRegistry(locked_world())
    reached = asyncio.Event()

    async def hang(call: str) -> None:
        if call.startswith("delete"):
            reached.set()
            await asyncio.sleep(60)

    registry.before = hang
    task = asyncio.create_task(run(unlocking(registry.held), registry))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert set(registry.deletions) >= PUT_BACK


async def test_a_lock_that_cannot_be_put_back_is_said_loudly() -> None:
    """In the outcome, and as a warning that says what to type."""
    registry = FakeRegistry(locked_world())

    async def fail(call: str) -> None:
        if call.startswith("delete") or call == "lock 1":
            raise RegistryError("503.")

    registry.before = fail
    applied = await run(unlocking(registry.held), registry)

    assert set(registry.deletions) >= PUT_BACK
    assert all("IS NO LONGER LOCKED" in each.detail for each in applied.outcomes)
    (warning,) = applied.warnings
    assert f"{REPOSITORY}:1 IS NO LONGER LOCKED" in warning
    assert "--delete-enabled false --write-enabled true" in warning


async def test_a_lock_that_nobody_may_take_off_is_not_said_to_be_lost() -> None:
    """Without the right to change locks, none was taken off, and none can be put back: an alarm would be false."""
    registry = FakeRegistry(locked_world())

    async def fail(call: str) -> None:
        if call.startswith(("unlock", "lock")):
            raise RegistryForbidden("403.")

    registry.before = fail
    applied = await run(unlocking(registry.held), registry)

    assert set(kinds(applied).values()) == {OutcomeKind.FAILED}
    assert not any("LOCKED" in each.detail for each in applied.outcomes)
    assert applied.warnings == ()
    assert not any(call.startswith("lock") for call in registry.deletions)


async def test_a_tag_that_names_something_else_when_it_is_unlocked_is_locked_again() -> None:
    """It is not what was planned, so nothing is deleted at all."""
    registry = FakeRegistry(locked_world(), names={"1": d("c")})

    applied = await run(unlocking(registry.held), registry)

    assert "lock 1 False True" in registry.deletions
    assert not any(call.startswith(("delete", "untag")) for call in registry.deletions)
    assert kinds(applied)["1"] is OutcomeKind.MOVED


async def test_a_tag_that_is_gone_when_it_is_unlocked_has_no_lock_to_put_back() -> None:
    registry = FakeRegistry(locked_world(), names={"1": None})
    registry.locked.add(f"delete {d('a')}")

    await run(unlocking(registry.held), registry)

    assert "lock 1 False True" not in registry.deletions
    assert f"lock {d('a')} True False" in registry.deletions


async def test_without_include_locked_nothing_is_ever_unlocked() -> None:
    registry = FakeRegistry(locked_world())

    await run(planned(registry.held), registry)

    assert not registry.deletions


async def journalled(
    folder: Path, registry: FakeRegistry, before: Callable[[str], Awaitable[None]], stop: asyncio.Event
) -> tuple[Applied, list[OutcomeKind | None]]:
    """One deletion at a time, with `before` ahead of each; what came of it, and what the journal tells of it."""
    plan = planned(registry.held)
    registry.before = before

    async def read() -> UsageIndex:
        return usage()

    with open_journal(folder, plan, NOW, {}) as journal:
        async with asyncio.timeout(20):
            applied = await apply(plan, registry, read, stop=stop, concurrency=1, report=list, journal=journal)  # type: ignore[arg-type]
    return applied, [each.outcome for each in read_journal(folder / "journal.jsonl").deletions]


async def both_written(folder: Path) -> None:
    """Until the intents of both deletions are in the journal; else whoever waits here waits for ever."""
    while (folder / "journal.jsonl").read_text().count('"intent"') < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_while_a_deletion_is_on_its_way_the_next_is_written_down(tmp_path: Path) -> None:
    """Else each deletion would wait for the disk before it is sent."""
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("latest", "c")]))

    async def before(_: str) -> None:
        await both_written(tmp_path)

    applied, told = await journalled(tmp_path, registry, before, asyncio.Event())

    assert len(registry.deletions) == 2
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert told == [OutcomeKind.DELETED] * 2


async def test_what_is_written_down_and_waits_for_its_turn_does_not_start_after_a_stop(tmp_path: Path) -> None:
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("latest", "c")]))
    stop = asyncio.Event()

    async def before(_: str) -> None:
        await both_written(tmp_path)
        stop.set()

    _, told = await journalled(tmp_path, registry, before, stop)

    assert len(registry.deletions) == 1
    assert told == [OutcomeKind.DELETED, OutcomeKind.NOT_ATTEMPTED]


async def test_what_is_written_down_and_waits_too_long_for_its_turn_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = applying.LOOK_STAYS_FRESH

    class Looked(FakeRegistry):
        async def list_repository(self, name: str) -> RepositoryInventory:
            monkeypatch.setattr(applying, "LOOK_STAYS_FRESH", fresh)
            return await super().list_repository(name)

    registry = Looked(inventory([tag("1", "a"), tag("2", "b"), tag("latest", "c")]))

    async def before(_: str) -> None:
        if len(registry.deletions) == 1:
            await both_written(tmp_path)
            monkeypatch.setattr(applying, "LOOK_STAYS_FRESH", -1.0)

    applied, told = await journalled(tmp_path, registry, before, asyncio.Event())

    assert [call.partition(" ")[0] for call in registry.calls] == ["list", "delete", "list", "delete"]
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert told == [OutcomeKind.DELETED, OutcomeKind.NOT_ATTEMPTED, OutcomeKind.DELETED]
