"""Apply with a journal: each deletion is journalled, with its backup, before it is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import Manifest, RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.core.usage import Blocker
from acr_cleanup.records.journal import NAME, JournalError, open_journal
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.stages import looks
from acr_cleanup.stages.apply import Applied
from acr_cleanup.stages.apply_repository import LOOK_STAYS_FRESH
from tests.helpers.apply_runs import UNLOCKING, apply_plan, details, kinds, locked_inventory, planned, set_bound
from tests.helpers.fake_registry import FakeDocument, FakeJournal, FakeRegistry, Hook
from tests.helpers.generated_inventories import NOW, OCI_CONFIG, OCI_IMAGE, REPOSITORY, d, image, inventory, tag

# -- intents and outcomes ------------------------------------------------------------------------


async def test_failure_to_journal_prevents_the_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    """It blocks all later deletions as well."""
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))
    failure = JournalError("it cannot be written.", where="journal.jsonl", remedy="Make room.")

    applied = await apply_plan(planned(registry.inventory), registry, journal=FakeJournal(failure))

    assert registry.changes == []
    assert applied.blockers == (Blocker("journal.jsonl", "write the journal", "it cannot be written.", "Make room."),)
    assert details(applied)["1"] == (
        OutcomeKind.NOT_ATTEMPTED,
        "it could not be written to the journal: it cannot be written.",
    )
    assert details(applied)["2"] == (OutcomeKind.NOT_ATTEMPTED, "it cannot be written.")


async def test_failed_deletion_has_its_outcome_in_the_journal() -> None:
    registry = FakeRegistry(locked_inventory())
    registry.locked_calls.add(f"delete {d('a')}")
    journal = FakeJournal()

    await apply_plan(planned(registry.inventory, policy=UNLOCKING), registry, journal=journal)

    assert journal.outcomes == [(1, OutcomeKind.LOCKED, "")]


async def test_cancelled_run_has_an_outcome_in_the_journal() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    journal = FakeJournal()
    deleting = asyncio.Event()

    async def hang(_call: str) -> None:
        deleting.set()
        await asyncio.sleep(60)

    registry.before_change = hang
    task = asyncio.create_task(apply_plan(planned(registry.inventory), registry, journal=journal))
    await deleting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert journal.outcomes == [(1, OutcomeKind.FAILED, "the run was cut short")]


# -- intents are written ahead -------------------------------------------------------------------


async def apply_journalled(
    folder: Path, registry: FakeRegistry, before_change: Hook, stop: asyncio.Event | None = None
) -> tuple[Applied, list[OutcomeKind | None]]:
    """
    Apply with a real journal, one deletion at a time; return also the outcomes in the journal.
    """
    plan = planned(registry.inventory)
    registry.before_change = before_change
    with open_journal(folder, plan, NOW, {}) as journal:
        applied = await apply_plan(plan, registry, stop=stop, journal=journal)
    return applied, [deletion.outcome for deletion in read_journal(folder / NAME).deletions]


async def until_both_are_journalled(folder: Path) -> None:
    """Wait until the journal has two intents; without writing ahead this never ends."""
    while (folder / NAME).read_text().count('"intent"') < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def registry_with_two_deletions() -> FakeRegistry:
    return FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("latest", "c")]))


async def test_next_deletion_is_journalled_while_one_is_in_flight(tmp_path: Path) -> None:
    """Otherwise each deletion would wait for the disk."""
    registry = registry_with_two_deletions()

    async def wait(_call: str) -> None:
        await until_both_are_journalled(tmp_path)

    applied, journalled = await apply_journalled(tmp_path, registry, wait)

    assert len(registry.changes) == 2
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert journalled == [OutcomeKind.DELETED] * 2


async def test_journalled_deletion_is_not_sent_after_a_stop(tmp_path: Path) -> None:
    registry = registry_with_two_deletions()
    stop = asyncio.Event()

    async def wait_and_stop(_call: str) -> None:
        await until_both_are_journalled(tmp_path)
        stop.set()

    _, journalled = await apply_journalled(tmp_path, registry, wait_and_stop, stop)

    assert len(registry.changes) == 1
    assert journalled == [OutcomeKind.DELETED, OutcomeKind.NOT_ATTEMPTED]


async def test_journalled_deletion_that_waited_too_long_is_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_with_two_deletions()

    async def restore_bound(call: str) -> None:
        if call.startswith("list"):
            set_bound(monkeypatch, "LOOK_STAYS_FRESH", LOOK_STAYS_FRESH)

    async def let_the_look_expire(_call: str) -> None:
        if len(registry.changes) == 1:
            await until_both_are_journalled(tmp_path)
            set_bound(monkeypatch, "LOOK_STAYS_FRESH", -1.0)

    registry.before_read = restore_bound
    applied, journalled = await apply_journalled(tmp_path, registry, let_the_look_expire)

    assert registry.verbs == ["list", "delete", "list", "delete"]
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    assert journalled == [OutcomeKind.DELETED, OutcomeKind.NOT_ATTEMPTED, OutcomeKind.DELETED]


# -- backup --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backup", [False, True])
async def test_backup_journals_deleted_manifests_only(backup: bool) -> None:
    """
    The content of an untagged manifest is not read; neither is any without `backup`.

    A manifest that the registry no longer has (`c`) is journalled without content.
    """
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("new", "b", days=0), tag("3", "c")]))
    registry.documents = {d(name): FakeDocument(f"all of {d(name)}".encode(), "a/b") for name in ("a", "b")}
    journal = FakeJournal()

    await apply_plan(planned(registry.inventory), registry, journal=journal, backup=backup)

    assert sorted(journal.intents) == [
        (REPOSITORY, d("a"), f"all of {d('a')}".encode() if backup else None, "a/b" if backup else ""),
        (REPOSITORY, d("b"), None, ""),
        (REPOSITORY, d("c"), None, ""),
    ]
    assert sorted(journal.outcomes) == [(number, OutcomeKind.DELETED, "") for number in (1, 2, 3)]
    reads = [call for call in registry.calls if call.startswith("read")]
    assert sorted(reads) == ([f"read {REPOSITORY} {d('a')}", f"read {REPOSITORY} {d('c')}"] if backup else [])


@pytest.mark.parametrize("few", [True, False], ids=["few", "many"])
async def test_backup_reads_referrers_that_the_registry_would_delete(
    few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The registry deletes referrers with their subject; without a backup they could not be restored.

    Without a backup, referrers that are deleted by their own rules are not read if they are many.
    """
    set_bound(monkeypatch, "FEW", looks.FEW if few else 0)
    unread = Manifest(d("r"), OCI_IMAGE, OCI_CONFIG)
    before = inventory([tag("1", "a"), tag("2", "r")], [image("a"), unread])

    class RegistryWithEdges(FakeRegistry):
        requested: tuple[Digest, ...] = ()

        async def read_subjects(
            self, inventory: RepositoryInventory, questions: SubjectQuestions
        ) -> RepositoryInventory:
            self.requested += questions.bodies
            return inventory.with_edges([structs.replace(unread, subject=d("a"), known=True)])

    for backup in (True, False):
        registry = RegistryWithEdges(before)
        await apply_plan(planned(before), registry, journal=FakeJournal(), backup=backup)
        assert registry.requested == ((d("r"),) if backup or few else ())
    registry = RegistryWithEdges(before)
    await apply_plan(planned(before), registry)
    assert registry.requested == ((d("r"),) if few else ()), "a backup is not the default"
