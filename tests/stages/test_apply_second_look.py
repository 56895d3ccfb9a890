"""Apply: the second look at clusters and repository, right before each batch of deletions."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import Manifest, RepositoryInventory
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.core.subjects import SubjectQuestions
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.errors import NotListed
from acr_cleanup.stages.apply import Applied
from tests.helpers.apply_runs import (
    BLOCKER,
    apply_plan,
    details,
    distinct_details,
    kinds,
    manifest_name,
    planned,
    planned_repositories,
    set_bound,
    tag_kinds,
)
from tests.helpers.fake_registry import FakeJournal, FakeRegistry
from tests.helpers.generated_inventories import (
    OCI_CONFIG,
    OCI_IMAGE,
    REPOSITORY,
    d,
    image,
    index,
    inventory,
    tag,
    usage,
    use,
)
from tests.helpers.in_memory_world import run_in_virtual_time

# -- what has changed since the plan -------------------------------------------------------------


async def test_apply_with_new_blockers_deletes_nothing() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))

    applied = await apply_plan(planned(registry.inventory), registry, usage_now=usage(blockers=(BLOCKER,)))

    assert applied == Applied((), (BLOCKER,))
    assert not registry.calls


async def test_tag_deployed_since_the_plan_is_in_use_now() -> None:
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))

    applied = await apply_plan(planned(registry.inventory), registry, usage_now=usage(use("1")))

    assert registry.changes == [f"delete {d('b')}"]
    assert kinds(applied)["1"] is OutcomeKind.IN_USE_NOW


async def test_tag_pushed_since_the_plan_has_moved() -> None:
    registry = FakeRegistry(inventory([tag("1", "a")]))
    plan = planned(registry.inventory)
    registry.inventory = inventory([tag("1", "b", days=0)], [image("a"), image("b")])

    applied = await apply_plan(plan, registry)

    assert not registry.changes
    assert kinds(applied)["1"] is OutcomeKind.MOVED


@pytest.mark.parametrize("exists", [True, False])
async def test_manifest_still_listed_without_its_tags_is_requested(
    exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client may have deleted it between the list of tags and that of manifests."""
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("3", "c")]))
    plan = planned(registry.inventory)
    registry.inventory = inventory([tag("2", "b"), tag("3", "b")], [image("a"), image("b"), image("c")])
    requested: list[tuple[str, str]] = []

    async def resolves(repository: str, name: str) -> bool:
        requested.append((repository, name))
        return exists

    monkeypatch.setattr(registry, "resolves", resolves)
    applied = await apply_plan(plan, registry)

    assert requested == [(REPOSITORY, d("a"))]
    untagged = "its tags were moved or deleted since the plan, and untagged manifests are kept"
    expected = (OutcomeKind.KEPT, untagged) if exists else (OutcomeKind.GONE, "")
    assert details(applied)[manifest_name("a")] == expected


@pytest.mark.parametrize("expire", [True, False])
async def test_last_tag_of_a_child_is_kept_if_untagged_manifests_expire(expire: bool) -> None:
    """The child of a new index is kept. Without a tag, a retention policy of the registry would delete it."""
    registry = FakeRegistry(inventory([tag("1", "a")]))
    plan = planned(registry.inventory)
    registry.inventory = inventory([tag("1", "a"), tag("multi", "i", days=0)], [image("a"), index("i", ["a"])])

    applied = await apply_plan(plan, registry, untagged_expire=expire)

    assert registry.changes == ([] if expire else ["untag 1"])
    assert kinds(applied)["1"] is (OutcomeKind.KEPT if expire else OutcomeKind.DELETED)


async def test_observer_gets_inventory_and_usage_before_the_first_deletion() -> None:
    """The verification compares the registry with what it was before."""
    registry = FakeRegistry(inventory([tag("1", "a")]))
    observations: list[object] = []

    def on_inventory(listed: RepositoryInventory, uses: UsageIndex) -> None:
        observations.append((listed.names, uses, list(registry.changes)))

    await apply_plan(planned(registry.inventory), registry, on_inventory=on_inventory)

    assert observations == [({"1"}, usage(), [])]


# -- a look that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (NotListed("page 2 answered 500."), "could not be checked again: page 2 answered 500."),
        (ValueError("a bug"), "could not be checked again: unexpected error: ValueError: a bug"),
    ],
)
async def test_unlistable_repository_fails_with_the_reason(
    error: Exception, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An unexpected exception is logged with its traceback."""
    registry = FakeRegistry(inventory([tag("1", "a")]))

    async def fail(_call: str) -> None:
        raise error

    registry.before_read = fail
    caplog.set_level("DEBUG", "acr_cleanup")

    applied = await apply_plan(planned(registry.inventory), registry)

    assert not registry.changes
    assert distinct_details(applied) == {(OutcomeKind.FAILED, detail)}
    if isinstance(error, ValueError):
        assert caplog.messages == [f"checking {REPOSITORY} again"]
        assert caplog.records[0].exc_info is not None
        assert caplog.records[0].exc_info[1] is error


async def test_repository_unreadable_at_plan_time_fails_with_the_reason() -> None:
    """Only a reviewed plan can have steps for such a repository."""
    registry = FakeRegistry(inventory([tag("1", "a")]))
    plan = planned(registry.inventory)
    broken = replace(plan, repositories=(replace(plan.repository(REPOSITORY), error="503."),))

    applied = await apply_plan(broken, registry)

    assert registry.calls == []
    assert distinct_details(applied) == {(OutcomeKind.FAILED, "its repository could not be read: 503.")}


# -- how long a look is valid --------------------------------------------------------------------


async def test_repository_is_listed_again_after_a_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, "LOOK_EVERY", 2)
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 6)]))

    await apply_plan(planned(registry.inventory), registry)

    assert registry.verbs == [
        *("list", "delete", "delete"),
        *("list", "delete", "delete"),
        *("list", "delete"),
    ]


@pytest.mark.parametrize(
    ("seconds", "verbs"),
    [(10, ["list", "delete", "delete", "delete", "list", "delete"]), (25, ["list", "delete"] * 4)],
)
def test_repository_is_listed_again_before_a_late_deletion(seconds: float, verbs: list[str]) -> None:
    """
    A look is valid for 20 seconds; a registry that throttles can stretch a batch to minutes.

    An intent that was already journalled gets the outcome `not attempted`.
    """
    registry = FakeRegistry(inventory([tag(f"{number}", number) for number in range(1, 5)]))
    journal = FakeJournal()

    async def be_slow(_call: str) -> None:
        await asyncio.sleep(seconds)

    registry.before_change = be_slow
    applied = run_in_virtual_time(
        lambda: apply_plan(planned(registry.inventory), registry, journal=journal, time_limit=200)
    )

    assert registry.verbs == verbs
    assert set(kinds(applied).values()) == {OutcomeKind.DELETED}
    postponed = [(kind, detail) for _, kind, detail in journal.outcomes if kind is not OutcomeKind.DELETED]
    assert postponed
    assert set(postponed) == {(OutcomeKind.NOT_ATTEMPTED, "the last check is too old")}


# -- clusters are read again ---------------------------------------------------------------------


async def test_long_apply_reads_the_clusters_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that is deployed during a long apply is found before the next batch."""
    set_bound(monkeypatch, "USAGE_STAYS_FRESH", -1.0)
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b")]))

    async def read() -> UsageIndex:
        return usage(use("1"), use("2")) if registry.changes else usage()

    applied = await apply_plan(planned(registry.inventory), registry, read_usage=read, concurrency=8)

    assert len(registry.changes) == 1
    assert sorted(tag_kinds(applied).values()) == [OutcomeKind.DELETED, OutcomeKind.IN_USE_NOW]


async def test_cluster_lost_during_apply_stops_the_other_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that noticed it and all later ones say so; the blocker is reported once."""
    set_bound(monkeypatch, "USAGE_STAYS_FRESH", -1.0)
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    registry = FakeRegistry(inventory([tag("1", "a"), tag("2", "b"), tag("3", "c")]))

    async def read() -> UsageIndex:
        return usage(blockers=(BLOCKER,)) if registry.changes else usage()

    applied = await apply_plan(planned(registry.inventory), registry, read_usage=read, concurrency=8)

    assert len(registry.changes) == 1
    assert applied.blockers == (BLOCKER,)
    assert details(applied)["1"] == (OutcomeKind.DELETED, "")
    assert details(applied)["2"] == (OutcomeKind.NOT_ATTEMPTED, "a cluster can no longer be read completely")
    assert details(applied)["3"] == (OutcomeKind.NOT_ATTEMPTED, BLOCKER.seen)


async def test_blocker_met_by_several_repositories_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_bound(monkeypatch, "USAGE_STAYS_FRESH", -1.0)
    plan, registry = planned_repositories("a", "b")
    reads: list[int] = []

    async def read() -> UsageIndex:
        reads.append(1)
        return usage() if len(reads) == 1 else usage(blockers=(BLOCKER,))

    applied = await apply_plan(plan, registry, read_usage=read)

    assert applied.blockers == (BLOCKER,)
    assert {outcome.kind for outcome in applied.outcomes} == {OutcomeKind.NOT_ATTEMPTED}


async def test_lost_manifest_makes_the_next_look_read_all_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry may have deleted it with its subject: so any other one may have a subject, too."""
    set_bound(monkeypatch, "FEW", 0)
    set_bound(monkeypatch, "LOOK_EVERY", 1)
    requested: list[tuple[Digest, ...]] = []

    class Asked(FakeRegistry):
        async def read_subjects(
            self, inventory: RepositoryInventory, questions: SubjectQuestions
        ) -> RepositoryInventory:
            requested.append(questions.bodies)
            return inventory.with_edges(
                structs.replace(inventory.manifests[body], known=True) for body in questions.bodies
            )

    unread = [Manifest(d(name), OCI_IMAGE, OCI_CONFIG) for name in ("a", "b", "c")]
    registry = Asked(inventory([tag(name, name) for name in ("a", "b", "c")], unread))

    async def lose_first(call: str) -> None:
        if call == f"delete {d('a')}":
            registry.lose(d("a"))

    registry.before_change = lose_first
    applied = await apply_plan(planned(registry.inventory), registry)

    assert requested[:1] == [(d("b"), d("c"))]
    assert kinds(applied)[manifest_name("a")] is OutcomeKind.GONE
    assert kinds(applied)[manifest_name("c")] is OutcomeKind.DELETED
