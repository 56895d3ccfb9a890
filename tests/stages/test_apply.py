"""Carrying out a plan against a registry that moves, refuses and fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import RetentionPolicy, Scope
from acr_cleanup.core.references import Digest
from acr_cleanup.core.steps import Step
from acr_cleanup.core.usage import Blocker, UsageIndex
from acr_cleanup.errors import NotListed, RegistryError, RegistryForbidden
from acr_cleanup.records.journal import JournalError, open_journal, read_journal
from acr_cleanup.stages import apply as applying
from acr_cleanup.stages.apply import Applied, apply
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, index, inventory, referrer, tag, usage, use
from tests.helpers.simulation import simulate

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
    lying: bool = False
    """Does it say of what is to be deleted that it is not there, although it is?"""

    async def list_repository(self, name: str) -> RepositoryInventory:
        assert name == self.held.name
        self.calls.append(f"list {name}")
        return self.held

    async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
        return inventory

    async def untag(self, repository: str, tag: str) -> OutcomeKind:
        assert repository == self.held.name
        return await self._delete(f"untag {tag}", lambda each: each.name == tag, None)

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        assert repository == self.held.name
        return await self._delete(f"delete {digest}", lambda each: each.digest == digest, digest)

    async def unlock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        assert repository == self.held.name
        return await self._set("unlock", digest, lock)

    async def lock(self, repository: str, digest: Digest, lock: Lock) -> Digest | None:
        assert repository == self.held.name
        return await self._set("lock", digest, lock)

    async def _set(self, verb: str, digest: Digest, lock: Lock) -> Digest | None:
        call = f"{verb} {lock.tag or digest}"
        self.calls.append(call if verb == "unlock" else f"{call} {lock.delete_enabled} {lock.write_enabled}")
        if self.before:
            await self.before(call)
        return self.names.get(lock.tag or "", digest) if digest in self.held.manifests else None

    async def read_document(self, repository: str, digest: Digest) -> None:
        return None

    async def _delete(self, call: str, matches: Callable[..., bool], digest: Digest | None) -> OutcomeKind:
        self.calls.append(call)
        if self.before:
            await self.before(call)
        if call in self.locked:
            return OutcomeKind.LOCKED
        if self.lying:
            return OutcomeKind.GONE
        tags = tuple(each for each in self.held.tags if not matches(each))
        gone = len(tags) == len(self.held.tags) and digest not in self.held.manifests
        manifests = {key: value for key, value in self.held.manifests.items() if key != digest}
        self.held = RepositoryInventory(self.held.name, tags, manifests)
        return OutcomeKind.GONE if gone else OutcomeKind.DELETED

    def lose(self, digest: Digest) -> None:
        """Somebody else deletes this manifest."""
        tags = tuple(each for each in self.held.tags if each.digest != digest)
        rest = {key: value for key, value in self.held.manifests.items() if key != digest}
        self.held = RepositoryInventory(self.held.name, tags, rest)

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


async def test_what_is_there_although_the_registry_says_it_is_gone_is_locked_again_and_failed() -> None:
    registry = FakeRegistry(locked_world(), lying=True)

    applied = await run(unlocking(registry.held), registry)

    assert set(registry.deletions) >= PUT_BACK
    assert kinds(applied)["1"] is OutcomeKind.FAILED
    assert "it is not there, and it is" in applied.outcomes[0].detail


@pytest.mark.parametrize("slower", ["lock 1", f"lock {d('a')}"])
async def test_what_is_there_is_there_whatever_else_has_moved(slower: str) -> None:
    """In whatever order the answers come: the manifest stands, and its tag names something else by now."""
    registry = FakeRegistry(locked_world(), lying=True)

    async def moves(call: str) -> None:
        if call.startswith("delete"):
            registry.names["1"] = d("c")
        if call == slower:
            await asyncio.sleep(0.01)

    registry.before = moves
    applied = await run(unlocking(registry.held), registry)

    told = (OutcomeKind.FAILED, "the registry said that it is not there, and it is")
    assert {(each.kind, each.detail) for each in applied.outcomes} == {told}


async def test_what_is_gone_is_gone_and_no_lock_of_it_is_missed() -> None:
    registry = FakeRegistry(locked_world())
    plan = unlocking(registry.held)

    async def delete_first(call: str) -> None:
        if call.startswith("delete"):
            registry.lose(d("a"))

    registry.before = delete_first
    applied = await run(plan, registry)

    assert kinds(applied)["1"] is OutcomeKind.GONE
    assert applied.warnings == ()


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


# -- what is said, and to whom -----------------------------------------------------------------------------------


def said(applied: Applied) -> dict[str, tuple[OutcomeKind, str]]:
    return {outcome.tag or f"@{outcome.digest[-2:]}": (outcome.kind, outcome.detail) for outcome in applied.outcomes}


def everything(applied: Applied) -> set[tuple[OutcomeKind, str]]:
    return set(said(applied).values())


STOPPED = (OutcomeKind.NOT_ATTEMPTED, "the run was stopped")


async def test_a_run_that_was_stopped_before_it_began_deletes_nothing() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    stop = asyncio.Event()
    stop.set()

    applied = await run(planned(registry.held), registry, stop=stop)

    assert registry.calls == []
    assert everything(applied) == {STOPPED}
    assert len(applied.outcomes) == 2


@pytest.mark.parametrize("where", ["usage", "listing", "edges"])
async def test_a_run_that_is_stopped_while_it_looks_deletes_nothing(where: str) -> None:
    stop = asyncio.Event()

    async def stopped_here(what: str) -> None:
        if what == where:
            stop.set()
            await asyncio.sleep(60)

    class Slow(FakeRegistry):
        async def list_repository(self, name: str) -> RepositoryInventory:
            await stopped_here("listing")
            return await super().list_repository(name)

        async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
            await stopped_here("edges")
            return inventory

    async def read() -> UsageIndex:
        await stopped_here("usage")
        return usage()

    registry = Slow(inventory([tag("1", "a")]))
    async with asyncio.timeout(20):
        applied = await apply(planned(registry.held), registry, read, stop=stop, concurrency=1, report=list)  # type: ignore[arg-type]

    assert registry.deletions == []
    assert everything(applied) == {STOPPED}
    assert applied.blockers == ()


@pytest.mark.parametrize("where", ["usage", "listing"])
async def test_a_run_that_is_cancelled_while_it_looks_is_cancelled(where: str) -> None:
    """That is no stop: nobody may take it for one."""
    reached = asyncio.Event()

    async def hang(what: str) -> None:
        if what == where:
            reached.set()
            await asyncio.sleep(60)

    class Slow(FakeRegistry):
        async def list_repository(self, name: str) -> RepositoryInventory:
            await hang("listing")
            return self.held

    async def read() -> UsageIndex:
        await hang("usage")
        return usage()

    registry = Slow(inventory([tag("1", "a")]))
    task = asyncio.create_task(
        apply(planned(registry.held), registry, read, stop=asyncio.Event(), concurrency=1, report=list)  # type: ignore[arg-type]
    )
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_could_not_be_read_for_a_reviewed_plan_fails_with_the_reason() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    plan = planned(registry.held)
    broken = replace(plan, repositories=(replace(plan.repository(REPOSITORY), error="503."),))

    applied = await run(broken, registry)

    assert registry.calls == []
    assert everything(applied) == {(OutcomeKind.FAILED, "its repository could not be read: 503.")}


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (NotListed("page 2 answered 500."), "could not be looked at once more: page 2 answered 500."),
        (ValueError("a bug"), "could not be looked at once more: unexpected: ValueError: a bug"),
    ],
)
async def test_a_look_that_fails_says_why(error: Exception, detail: str, caplog: pytest.LogCaptureFixture) -> None:
    class Unreadable(FakeRegistry):
        async def list_repository(self, name: str) -> RepositoryInventory:
            raise error

    registry = Unreadable(inventory([tag("1", "a")]))
    caplog.set_level("DEBUG", "acr_cleanup")

    applied = await run(planned(registry.held), registry)

    assert everything(applied) == {(OutcomeKind.FAILED, detail)}
    if isinstance(error, ValueError):
        assert caplog.messages == [f"looking at {REPOSITORY} once more"]
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].exc_info[1] is error


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (RegistryError("500."), "500."),
        (RegistryError("500.", where="the registry", remedy="Try again."), "the registry: 500. Try again."),
        (ValueError("a bug"), "unexpected: ValueError: a bug"),
    ],
)
async def test_a_deletion_that_fails_says_why(error: Exception, detail: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))

    async def fail(_: str) -> None:
        raise error

    registry.before = fail
    caplog.set_level("DEBUG", "acr_cleanup")
    applied = await run(planned(registry.held), registry)

    assert everything(applied) == {(OutcomeKind.FAILED, detail)}
    if isinstance(error, ValueError):
        assert caplog.messages == [f"deleting {d('a')} of {REPOSITORY}"]
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].exc_info[1] is error


async def test_what_waits_for_something_that_stayed_says_for_what() -> None:
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x"]), image("x")]))
    registry.locked.add(f"delete {d('i')}")

    applied = await run(planned(registry.held), registry)

    assert said(applied) == {
        "1": (OutcomeKind.LOCKED, ""),
        f"@{d('i')[-2:]}": (OutcomeKind.LOCKED, ""),
        f"@{d('x')[-2:]}": (OutcomeKind.NOT_ATTEMPTED, f"{d('i')} had to go first, and stayed"),
    }


async def test_what_waits_for_something_that_somebody_else_has_deleted_goes() -> None:
    """By another's hand before the second look, or after it."""
    world = inventory([tag("1", "i"), tag("x", "x")], [index("i", ["x"]), image("x")])
    registry = FakeRegistry(inventory([tag("x", "x")], [image("x")]))

    applied = await run(planned(world), registry)

    assert kinds(applied)[f"@{d('i')[-2:]}"] is OutcomeKind.GONE
    assert registry.deletions == [f"delete {d('x')}"]

    registry = FakeRegistry(world)

    async def others_were_quicker(call: str) -> None:
        if call == f"delete {d('i')}":
            registry.held = inventory([tag("x", "x")], [image("x")])

    registry.before = others_were_quicker
    applied = await run(planned(world), registry)

    assert kinds(applied)[f"@{d('i')[-2:]}"] is OutcomeKind.GONE
    assert registry.deletions == [f"delete {d('i')}", f"delete {d('x')}"]


async def test_outcomes_are_told_as_they_come_and_in_order_at_the_end() -> None:
    registry = FakeRegistry(inventory([tag("2", "b"), tag("1", "a"), tag("3", "b"), tag("moved", "c")]))
    plan = planned(registry.held)
    registry.held = inventory([tag("2", "b"), tag("1", "a"), tag("3", "b"), tag("moved", "d", days=0)])
    told: list[list[str]] = []

    applied = await run(plan, registry, report=lambda found: told.append([each.tag or "" for each in found]))

    assert told == [["moved", ""], ["1", ""], ["2", "3", ""]]
    assert [(each.tag, each.digest, each.size) for each in applied.outcomes] == [
        (None, d("a"), 1000),
        (None, d("b"), 1000),
        (None, d("c"), 0),
        ("1", d("a"), 0),
        ("2", d("b"), 0),
        ("3", d("b"), 0),
        ("moved", d("c"), 0),
    ]
    assert {each.repository for each in applied.outcomes} == {REPOSITORY}


async def test_what_was_seen_right_before_is_told_before_anything_is_done() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    seen: list[object] = []

    async def read() -> UsageIndex:
        return usage()

    def looked(inventory: RepositoryInventory, index_of_uses: UsageIndex) -> None:
        seen.append((inventory.names, index_of_uses, list(registry.deletions)))

    await apply(
        planned(registry.held),
        registry,
        read,
        stop=asyncio.Event(),
        concurrency=1,
        report=list,  # type: ignore[arg-type]
        looked=looked,
    )

    assert seen == [({"1"}, usage(), [])]


async def test_a_cluster_lost_in_the_middle_says_so_to_every_step_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that noticed it, and those after it; and it is told once."""
    monkeypatch.setattr(applying, "USAGE_STAYS_FRESH", -1.0)
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("3", "c")]))

    async def read() -> UsageIndex:
        return usage(blockers=(BLOCKER,)) if registry.deletions else usage()

    applied = await apply(planned(registry.held), registry, read, stop=asyncio.Event(), concurrency=8, report=list)  # type: ignore[arg-type]

    assert applied.blockers == (BLOCKER,)
    found = said(applied)
    assert found["1"] == (OutcomeKind.DELETED, "")
    assert found["2"] == (OutcomeKind.NOT_ATTEMPTED, "a cluster can no longer be read completely")
    assert found["3"] == (OutcomeKind.NOT_ATTEMPTED, BLOCKER.seen)


# -- looking again -----------------------------------------------------------------------------------------------


async def test_one_look_stands_for_so_many_steps_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "LOOK_EVERY", 2)
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 6)]))

    await run(planned(registry.held), registry)

    assert [call.partition(" ")[0] for call in registry.calls] == [
        *("list", "delete", "delete"),
        *("list", "delete", "delete"),
        *("list", "delete"),
    ]


def test_usage_is_read_again_when_it_was_asked_for_longer_ago_than_it_stays_fresh() -> None:
    """Counted from before the reading: what was deployed while it went on may have been missed. Many ask, one reads."""
    reads: list[float] = []

    async def ask() -> list[float]:
        async def read() -> UsageIndex:
            reads.append(asyncio.get_running_loop().time())
            await asyncio.sleep(100)
            return usage()

        fresh = applying.FreshUsage(read)
        first = await asyncio.gather(fresh.get(), fresh.get())
        assert first[0] is first[1]
        await asyncio.sleep(200)
        assert await fresh.get() is first[0]
        await asyncio.sleep(0.1)
        second = await fresh.get()
        assert second is not first[0]
        await asyncio.sleep(199)
        assert await fresh.get() is second
        return reads

    assert simulate(ask) == [0.0, pytest.approx(300.1)]


def test_usage_that_is_blocked_says_what_blocks_it() -> None:
    async def ask() -> None:
        async def read() -> UsageIndex:
            return usage(blockers=(BLOCKER,))

        with pytest.raises(applying.UsageBlockedError, match=r"^usage is blocked$") as caught:
            await applying.FreshUsage(read).get()
        assert caught.value.blockers == (BLOCKER,)

    simulate(ask)


@pytest.mark.parametrize(
    ("seconds", "looks"),
    [(10, ["list", "delete", "delete", "delete", "list", "delete"]), (25, ["list", "delete"] * 4)],
)
def test_a_look_that_is_too_old_is_taken_once_more_before_the_next_deletion(seconds: float, looks: list[str]) -> None:
    """To the second: a registry that slows us down stretches a batch to minutes. What was written down already says so."""
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 5)]))
    journal = FakeJournal()

    async def slow(_: str) -> None:
        await asyncio.sleep(seconds)

    registry.before = slow
    applied = simulate(lambda: kept_in(journal, registry, planned(registry.held), patience=200))

    assert [call.partition(" ")[0] for call in registry.calls] == looks
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    put_off = [each[1:] for each in journal.written if len(each) == 3 and each[1] is not OutcomeKind.DELETED]
    assert put_off
    assert set(put_off) == {(OutcomeKind.NOT_ATTEMPTED, "it is looked at once more first")}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_deletions_are_in_flight_and_no_more(concurrency: int) -> None:
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 9)]))
    flying: list[int] = [0]

    async def slow(_: str) -> None:
        flying.append(flying[-1] + 1)
        await asyncio.sleep(1)
        flying.append(flying[-1] - 1)

    registry.before = slow

    async def work() -> Applied:
        async def read() -> UsageIndex:
            return usage()

        return await apply(
            planned(registry.held),
            registry,
            read,
            stop=asyncio.Event(),
            concurrency=concurrency,
            report=list,  # type: ignore[arg-type]
        )

    simulate(work)

    assert max(flying) == concurrency


# -- several repositories ----------------------------------------------------------------------------------------


class Several(FakeRegistry):
    """One repository of many, at a time."""

    def __init__(self, *held: RepositoryInventory) -> None:
        super().__init__(held[0])
        self.all = {each.name: FakeRegistry(each, calls=self.calls) for each in held}

    async def list_repository(self, name: str) -> RepositoryInventory:
        return await self.all[name].list_repository(name)

    async def delete_manifest(self, repository: str, digest: Digest) -> OutcomeKind:
        if self.before:
            await self.before(f"delete {repository}")
        return await self.all[repository].delete_manifest(repository, digest)


def of_several(*names: str) -> tuple[Plan, Several]:
    worlds = [replace(inventory([tag("1", "a"), tag("2", "b")]), name=name) for name in names]
    policy = RetentionPolicy(scope=Scope.ALL)
    plans = tuple(plan_repository(world, usage(), policy, NOW) for world in worlds)
    return Plan("contoso.azurecr.io", policy, NOW, usage(), plans), Several(*worlds)


async def test_what_comes_of_each_repository_is_told_of_that_one() -> None:
    plan, registry = of_several("b", "a")

    async def fail(call: str) -> None:
        if call == "delete b":
            raise RegistryError("500.")

    registry.before = fail
    applied = await run(plan, registry)

    assert [(each.repository, each.tag) for each in applied.outcomes] == [
        (name, each) for name in ("a", "b") for each in (None, None, "1", "2")
    ]
    assert {(each.repository, each.kind, each.detail) for each in applied.outcomes} == {
        ("a", OutcomeKind.DELETED, ""),
        ("b", OutcomeKind.FAILED, "500."),
    }


def test_repositories_are_done_side_by_side_but_no_more_than_eight() -> None:
    plan, registry = of_several(*"abcdefghij")
    flying: list[str] = []
    most = 0

    async def slow(call: str) -> None:
        nonlocal most
        flying.append(call)
        most = max(most, len(set(flying)))
        await asyncio.sleep(1)
        flying.remove(call)

    registry.before = slow

    async def work() -> Applied:
        async def read() -> UsageIndex:
            return usage()

        return await apply(plan, registry, read, stop=asyncio.Event(), concurrency=100, report=list)  # type: ignore[arg-type]

    applied = simulate(work)

    assert most == applying.REPOSITORIES_AT_ONCE
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}


async def test_a_blocker_that_several_repositories_meet_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "USAGE_STAYS_FRESH", -1.0)
    plan, registry = of_several("a", "b")
    reads: list[int] = []

    async def read() -> UsageIndex:
        reads.append(1)
        return usage() if len(reads) == 1 else usage(blockers=(BLOCKER,))

    applied = await apply(plan, registry, read, stop=asyncio.Event(), concurrency=1, report=list)  # type: ignore[arg-type]

    assert applied.blockers == (BLOCKER,)
    assert {each.kind for each in applied.outcomes} == {OutcomeKind.NOT_ATTEMPTED}


async def test_a_repository_in_which_nothing_goes_is_not_looked_at() -> None:
    registry = FakeRegistry(inventory([tag("1", "a", days=0)]))

    applied = await run(planned(registry.held), registry)

    assert (registry.calls, applied) == ([], Applied(()))


# -- journal and backup ------------------------------------------------------------------------------------------


@dataclass
class FakeDocument:
    content: bytes
    media_type: str


@dataclass
class FakeJournal:
    """What is written down, in memory; with `failure` nothing can be."""

    failure: JournalError | None = None
    written: list[tuple[Any, ...]] = field(default_factory=list)

    async def intend(self, repository: str, step: Step, document: bytes | None = None, media_type: str = "") -> int:
        if self.failure:
            raise self.failure
        self.written.append((repository, step.digest, document, media_type))
        return sum(len(each) == 4 for each in self.written)

    def outcome(self, number: int, kind: OutcomeKind, detail: str = "") -> None:
        self.written.append((number, kind, detail))


async def kept_in(
    journal: FakeJournal,
    registry: FakeRegistry,
    plan: Plan,
    *,
    backup: bool = False,
    stop: asyncio.Event | None = None,
    patience: float = 20,
) -> Applied:
    async def read() -> UsageIndex:
        return usage()

    async with asyncio.timeout(patience):
        return await apply(
            plan,
            registry,
            read,
            stop=stop or asyncio.Event(),
            concurrency=1,
            report=list,  # type: ignore[arg-type]
            journal=journal,  # type: ignore[arg-type]
            backup=backup,
        )


@pytest.mark.parametrize("backup", [False, True])
async def test_with_backup_a_manifest_is_written_down_whole_before_it_goes_and_a_name_is_not(backup: bool) -> None:
    class Readable(FakeRegistry):
        async def read_document(self, repository: str, digest: Digest) -> FakeDocument | None:  # type: ignore[override]
            self.calls.append(f"read {repository} {digest}")
            return FakeDocument(f"all of {digest}".encode(), "a/b") if digest != d("c") else None

    registry = Readable(inventory([tag("1", "a"), tag("2", "b"), tag("new", "b", days=0), tag("3", "c")]))
    journal = FakeJournal()

    await kept_in(journal, registry, planned(registry.held), backup=backup)

    intents = {each[1]: each for each in journal.written if len(each) == 4}
    assert intents == {
        d("a"): (REPOSITORY, d("a"), f"all of {d('a')}".encode() if backup else None, "a/b" if backup else ""),
        d("b"): (REPOSITORY, d("b"), None, ""),
        d("c"): (REPOSITORY, d("c"), None, ""),
    }
    assert sorted(each for each in journal.written if len(each) == 3) == [
        (number, OutcomeKind.DELETED, "") for number in (1, 2, 3)
    ]
    reads = [call for call in registry.calls if call.startswith("read")]
    assert sorted(reads) == ([f"read {REPOSITORY} {d('a')}", f"read {REPOSITORY} {d('c')}"] if backup else [])


async def test_with_backup_what_the_registry_would_remove_by_itself_is_read_and_deleted_one_by_one() -> None:
    """Otherwise nobody could bring it back."""
    unread = replace(referrer("r", "a"), subject=None, known=False)
    world = inventory([tag("1", "a")], [image("a"), unread])

    class Readable(FakeRegistry):
        asked: tuple[Digest, ...] = ()

        async def read_edges(self, inventory: RepositoryInventory) -> RepositoryInventory:
            self.asked += inventory.unread
            return inventory.with_edges([referrer("r", "a")] if inventory.unread else [])

    for backup in (True, False):
        registry = Readable(world)
        await kept_in(FakeJournal(), registry, planned(world), backup=backup)
        assert registry.asked == ((d("r"),) if backup else ())
    registry = Readable(world)
    await run(planned(world), registry)
    assert registry.asked == (), "nobody asked for a backup"


async def test_what_cannot_be_written_down_is_not_deleted_and_blocks_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))
    failure = JournalError("it cannot be written.", where="journal.jsonl", remedy="Make room.")

    applied = await kept_in(FakeJournal(failure), registry, planned(registry.held))

    assert registry.deletions == []
    assert applied.blockers == (Blocker("journal.jsonl", "write the journal", "it cannot be written.", "Make room."),)
    found = said(applied)
    assert found["1"] == (
        OutcomeKind.NOT_ATTEMPTED,
        "it could not be written into the journal: it cannot be written.",
    )
    assert found["2"] == (OutcomeKind.NOT_ATTEMPTED, "it cannot be written.")


async def test_what_was_written_down_and_failed_is_told_there_too() -> None:
    registry = FakeRegistry(locked_world())
    registry.locked.add(f"delete {d('a')}")
    journal = FakeJournal()

    await kept_in(journal, registry, unlocking(registry.held))

    assert journal.written[1:] == [(1, OutcomeKind.LOCKED, "")]


async def test_a_run_that_is_cut_short_says_so_in_the_journal() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    journal = FakeJournal()
    reached = asyncio.Event()

    async def hang(_: str) -> None:
        reached.set()
        await asyncio.sleep(60)

    registry.before = hang
    task = asyncio.create_task(kept_in(journal, registry, planned(registry.held)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert journal.written[1:] == [(1, OutcomeKind.FAILED, "the run was cut short")]


async def test_a_backup_that_is_still_being_read_when_the_run_is_stopped_was_never_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(applying, "GRACE_AFTER_STOP", 0.01)
    stop = asyncio.Event()

    class Slow(FakeRegistry):
        async def read_document(self, repository: str, digest: Digest) -> None:
            stop.set()
            await asyncio.sleep(60)

    registry = Slow(inventory([tag("1", "a")]))
    journal = FakeJournal()

    applied = await kept_in(journal, registry, planned(registry.held), backup=True, stop=stop)

    assert (registry.deletions, journal.written) == ([], [])
    assert everything(applied) == {STOPPED}


# -- locks in words ----------------------------------------------------------------------------------------------


async def test_a_lost_lock_says_what_to_type_for_the_tag_and_for_the_manifest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = FakeRegistry(locked_world())

    async def fail(call: str) -> None:
        if call.startswith(("delete", "lock")):
            raise RegistryError("503." if call != f"lock {d('a')}" else "")

    registry.before = fail
    caplog.set_level("DEBUG", "acr_cleanup")
    applied = await run(unlocking(registry.held), registry)

    lost = "its lock was taken off and could not be put back"
    no_answer = "no answer before the run had to end"
    by_hand = "Lock it by hand: az acr repository update --name contoso.azurecr.io --image"
    manifest = f"{REPOSITORY}@{d('a')}"
    of_tag, of_manifest = "--delete-enabled false --write-enabled true", "--delete-enabled true --write-enabled false"
    assert sorted(applied.warnings) == [
        f"{REPOSITORY}:1 IS NO LONGER LOCKED: {lost} (503.). {by_hand} {REPOSITORY}:1 {of_tag}",
        f"{manifest} IS NO LONGER LOCKED: {lost} ({no_answer}). {by_hand} {manifest} {of_manifest}",
    ]
    assert said(applied)["1"] == (
        OutcomeKind.FAILED,
        f"503.; the manifest IS NO LONGER LOCKED: {lost} ({no_answer}); the tag 1 IS NO LONGER LOCKED: {lost} (503.)",
    )
    assert sorted(caplog.messages) == [f"locking {REPOSITORY}:1 again", f"locking {manifest} again"]
    assert all(record.exc_info and record.exc_info[1] for record in caplog.records)


# -- giving up ---------------------------------------------------------------------------------------------------


def test_work_is_given_up_so_long_after_a_stop() -> None:
    async def work() -> None:
        async def takes(seconds: float) -> str:
            await asyncio.sleep(seconds)
            return "done"

        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        assert await applying.unless_stopped(takes(1000), stop) == "done"
        loop.call_later(5, stop.set)
        began = loop.time()
        assert await applying.unless_stopped(takes(7), stop, grace=2) == "done"
        assert loop.time() - began == 7
        began = loop.time()
        with pytest.raises(asyncio.CancelledError):
            await applying.unless_stopped(takes(2.1), stop, grace=2)
        assert loop.time() - began == pytest.approx(2)
        with pytest.raises(asyncio.CancelledError):
            await applying.unless_stopped(takes(0.1), stop)
        assert loop.time() - began == pytest.approx(2)
        assert len(asyncio.all_tasks()) == 1, "nothing is left behind"

    simulate(work)


@pytest.mark.parametrize(("seconds", "in_time"), [(2.9, True), (3.1, False)])
def test_after_a_stop_putting_locks_back_may_take_so_long(seconds: float, in_time: bool) -> None:
    """All of them at the same time, and after the time that the deletion was given."""
    registry = FakeRegistry(locked_world())
    ended: list[float] = []

    async def work() -> Applied:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        async def slow(call: str) -> None:
            if call.startswith("delete"):
                stop.set()
                await asyncio.sleep(60)
            if call.startswith("lock"):
                await asyncio.sleep(seconds)

        registry.before = slow
        applied = await run(unlocking(registry.held), registry, stop=stop)
        ended.append(loop.time())
        return applied

    applied = simulate(work)

    assert ended == [pytest.approx(2 + min(seconds, 3))]
    assert bool(applied.warnings) is not in_time
    assert all("no answer before the run had to end" in each for each in applied.warnings)
    told = "the run was stopped before the registry answered: it may be gone"
    assert all(each.detail == told if in_time else each.detail.startswith(f"{told}; ") for each in applied.outcomes)


@pytest.mark.parametrize(("seconds", "written_down"), [(1.9, True), (2.1, False)])
def test_after_a_stop_a_backup_may_take_so_long(seconds: float, written_down: bool) -> None:
    """And then nothing is deleted all the same."""

    async def work() -> tuple[FakeRegistry, FakeJournal, Applied]:
        stop = asyncio.Event()

        class Slow(FakeRegistry):
            async def read_document(self, repository: str, digest: Digest) -> None:
                stop.set()
                await asyncio.sleep(seconds)

        registry, journal = Slow(inventory([tag("1", "a")])), FakeJournal()
        return registry, journal, await kept_in(journal, registry, planned(registry.held), backup=True, stop=stop)

    registry, journal, applied = simulate(work)

    assert registry.deletions == []
    assert everything(applied) == {STOPPED}
    assert journal.written == ([(REPOSITORY, d("a"), None, ""), (1, *STOPPED)] if written_down else [])


async def test_a_stop_says_more_than_what_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))
    stop = asyncio.Event()

    class Stopping(FakeJournal):
        async def intend(self, *_: object, **__: object) -> int:
            stop.set()
            raise JournalError("it cannot be written.")

    applied = await kept_in(Stopping(), registry, planned(registry.held), stop=stop)

    assert said(applied)["2"] == STOPPED
    assert len(applied.blockers) == 1


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_much_is_written_down_ahead_of_its_turn_and_no_more(concurrency: int) -> None:
    """What is written down may have been deleted, for whoever reads the journal of a run that was killed."""
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 13)]))
    journal = FakeJournal()
    open_: list[int] = []

    async def slow(_: str) -> None:
        await asyncio.sleep(1)
        intents = sum(len(each) == 4 for each in journal.written)
        open_.append(2 * intents - len(journal.written))

    async def work() -> None:
        async def read() -> UsageIndex:
            return usage()

        registry.before = slow
        await apply(
            planned(registry.held),
            registry,
            read,
            stop=asyncio.Event(),
            concurrency=concurrency,
            report=list,  # type: ignore[arg-type]
            journal=journal,  # type: ignore[arg-type]
        )

    simulate(work)

    assert max(open_) == applying.AHEAD * concurrency


# -- what waits for what has stayed --------------------------------------------------------------------------------


async def test_children_stay_in_a_later_batch_than_the_index_that_could_not_be_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(applying, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "i")], [index("i", ["x", "y"]), image("x"), image("y")]))

    async def fail(call: str) -> None:
        if call == f"delete {d('i')}":
            raise RegistryError("500.")

    registry.before = fail
    applied = await run(planned(registry.held), registry)

    assert registry.deletions == [f"delete {d('i')}"]
    waits = (OutcomeKind.NOT_ATTEMPTED, f"{d('i')} had to go first, and stayed")
    assert [said(applied)[f"@{d(each)[-2:]}"] for each in ("x", "y")] == [waits, waits]


async def test_children_stay_when_their_index_was_locked_since_the_plan() -> None:
    """Its lock might be taken off, but whoever has set it since wants to keep it; and it has no tag that could tell."""
    before = inventory([tag("1", "o")], [index("o", ["i"]), index("i", ["x"]), image("x")])
    plan = unlocking(before)
    registry = FakeRegistry(
        replace(before, manifests={**before.manifests, d("i"): index("i", ["x"], locked=True)}),
    )

    applied = await run(plan, registry)

    assert registry.deletions == [f"delete {d('o')}"]
    assert said(applied)[f"@{d('i')[-2:]}"] == (OutcomeKind.LOCKED, "it was locked since the plan")
    assert said(applied)[f"@{d('x')[-2:]}"] == (OutcomeKind.NOT_ATTEMPTED, f"{d('i')} had to go first, and stayed")


async def test_manifests_without_tags_go_where_that_was_asked_for() -> None:
    """By their age at the time of the plan."""
    held = inventory([], [image("a"), image("young", days=29)])
    policy = RetentionPolicy(delete_untagged=True)
    registry = FakeRegistry(held)

    applied = await run(
        Plan("contoso.azurecr.io", policy, NOW, usage(), (plan_repository(held, usage(), policy, NOW),)), registry
    )

    assert registry.deletions == [f"delete {d('a')}"]
    assert everything(applied) == {(OutcomeKind.DELETED, "")}
