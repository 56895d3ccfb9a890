"""Verification: the comparison of a repository before and after its deletions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.comparison import UNTAGGED_ASKED, Comparison, compare
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import ImageUse, UsageIndex
from acr_cleanup.core.verification import (
    Baseline,
    Broken,
    Proof,
    missing_references,
)
from tests.helpers.drawn_inventories import carried_out, inventories, named_uses
from tests.helpers.fake_registry import names_of
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, index, inventory, referrer, tag, usage, use

STATUS = "status.containerStatuses[0].imageID"


def names(comparison: Comparison) -> set[str]:
    return {suspect.name for suspect in comparison.suspects}


def lacking(
    repository: RepositoryInventory, tags: Iterable[str] = (), manifests: Iterable[str | int] = ()
) -> RepositoryInventory:
    lost = {d(suspect) for suspect in manifests}
    return RepositoryInventory(
        REPOSITORY,
        tuple(suspect for suspect in repository.tags if suspect.name not in set(tags)),
        {digest: suspect for digest, suspect in repository.manifests.items() if digest not in lost},
    )


def compare_with(
    before: RepositoryInventory,
    after: RepositoryInventory,
    *uses: ImageUse,
    later: UsageIndex | None = None,
    deleted: dict[str, bool] | None = None,
    missing: Iterable[str] = (),
) -> Comparison:
    first = usage(*uses, runs=False)
    return compare(
        Baseline.of(before),
        names_of(after),
        first,
        later or first,
        missing=set(missing),
        deleted=deleted or {},
    )


# --- afterwards -----------------------------------------------------------------------------------


def test_planned_deletions_break_nothing() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    comparison = compare_with(
        before, lacking(before, ["1.0"], [1]), use("2.0"), use(digest=2), deleted={"1.0": True, d(1): True}
    )

    assert (comparison.references, comparison.suspects, comparison.absent, comparison.notes) == (2, (), (), ())


def test_lost_used_tag_is_broken_and_names_its_use() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    comparison = compare_with(
        before, lacking(before, ["1.0", "2.0"], [1]), use("2.0"), deleted={"1.0": True, d(1): True}
    )

    (broken,) = comparison.suspects
    assert (str(broken), broken.ours) == (f"{REPOSITORY}:2.0", False)
    assert [suspect.workload.name for suspect in broken.uses] == ["web"]


def test_used_tag_deleted_by_this_run_is_broken() -> None:
    """If the decision were ever wrong, this would find it."""
    before = inventory([tag("2.0", 2)])
    comparison = compare_with(before, lacking(before, ["2.0"], [2]), use("2.0"), deleted={"2.0": True, d(2): True})

    assert [(suspect.name, suspect.ours) for suspect in comparison.suspects] == [("2.0", True)]


def test_lost_used_digest_is_broken_for_spec_and_status() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    for used in (use(digest=2), replace(use(digest=2), field=STATUS)):
        assert d(2) in names(compare_with(before, lacking(before, ["2.0"], [2]), used))


def test_listed_tag_without_its_manifest_is_broken() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])

    assert names(compare_with(before, lacking(before, [], [2]), use("2.0"))) == {"2.0"}
    assert names(compare_with(before, lacking(before, [], [2]))) == {"2.0"}


def test_reference_missing_before_is_not_broken() -> None:
    before = inventory([tag("1.0", 1)])
    comparison = compare_with(
        before, lacking(before, ["1.0"], [1]), use("9"), deleted={"1.0": True, d(1): True}, missing=["9"]
    )

    assert (comparison.references, comparison.suspects) == (0, ())


def test_unlisted_used_digest_is_a_suspect() -> None:
    """`listEnabled: false`: only the registry can say whether it exists."""
    before = inventory([tag("1.0", 1)])
    comparison = compare_with(before, before, use(digest=7))

    assert (comparison.references, names(comparison)) == (1, {d(7)})


def test_use_found_after_the_plan_counts() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    comparison = compare_with(before, lacking(before, ["2.0"], [2]), later=usage(use("2.0", name="new"), runs=False))

    assert [use.workload.name for suspect in comparison.suspects for use in suspect.uses] == ["new"]


def test_lost_child_of_a_kept_index_is_broken() -> None:
    before = inventory([tag("multi", "index")], [index("index", [1, 2, 3]), image(1), image(2)])
    comparison = compare_with(before, lacking(before, [], [2]), use("multi"))

    (broken,) = comparison.suspects
    assert (broken.name, broken.seen) == (
        d(2),
        f"no longer exists, and {REPOSITORY}:multi, which was kept, lists it",
    )
    assert [suspect.workload.name for suspect in broken.uses] == ["web"]


def test_lost_nested_child_names_uses_of_the_top_index() -> None:
    manifests = [index("top", ["middle"]), index("middle", [1]), image(1)]
    before = inventory([tag("multi", "top")], manifests)
    (broken,) = compare_with(before, lacking(before, [], [1]), use(digest="top")).suspects

    assert (broken.name, len(broken.uses)) == (d(1), 1)


def test_lost_child_of_two_indexes_names_each_use_once() -> None:
    manifests = [index("top", ["one", "two"]), index("one", [1]), index("two", [1]), image(1)]
    before = inventory([tag("multi", "top")], manifests)
    (broken,) = compare_with(before, lacking(before, [], [1]), use(digest="top")).suspects

    assert (broken.name, len(broken.uses)) == (d(1), 1)


def test_lost_untagged_kept_index_is_broken() -> None:
    before = inventory([], [index("index", [1]), image(1)])

    assert names(compare_with(before, lacking(before, [], ["index"]))) == {d("index")}


def test_tagged_index_deleted_by_another_client_is_absent() -> None:
    before = inventory([tag("multi", "index")], [index("index", [1]), image(1)])
    comparison = compare_with(before, lacking(before, ["multi"], ["index"]))

    assert comparison.suspects == ()
    assert [(suspect.name, suspect.seen) for suspect in comparison.absent] == [
        ("multi", "no longer exists; this run did not delete it")
    ]


def test_untagged_index_deleted_with_its_subject_is_broken_unless_planned() -> None:
    """The registry deletes referrers together with their subject, so they are planned like it."""
    attached = structs.replace(index("index", [1]), subject=d("subject"))
    before = inventory([tag("1.0", "subject")], [image("subject"), attached, image(1), referrer("more", "index")])
    after = lacking(before, ["1.0"], ["subject", "index", "more"])

    planned = {"1.0": True, d("subject"): True}
    assert names(compare_with(before, after, deleted=planned)) == {d("index"), d("more")}
    assert compare_with(before, after, deleted={**planned, d("index"): True, d("more"): True}).suspects == ()


def test_kept_tag_lost_with_a_deleted_manifest_is_broken() -> None:
    before = inventory([tag("1.0", 1), tag("keep", 1)])
    comparison = compare_with(before, lacking(before, ["1.0", "keep"], [1]), deleted={"1.0": True, d(1): True})

    assert [(suspect.name, suspect.ours) for suspect in comparison.suspects] == [("keep", True)]


def test_kept_tag_moved_by_another_client_is_a_note() -> None:
    before = inventory([tag("1.0", 1), tag("keep", 2)])
    after = inventory([tag("keep", 3)])
    comparison = compare_with(before, after, deleted={"1.0": True, d(1): True})

    assert comparison.suspects == ()
    assert comparison.notes == (f"{REPOSITORY}:keep names {d(3)} now; it was pushed again during the run.",)


def test_used_tag_pushed_again_is_not_broken() -> None:
    comparison = compare_with(inventory([tag("2.0", 2)]), inventory([tag("2.0", 3)]), use("2.0"))

    assert (comparison.references, comparison.suspects) == (1, ())


@given(inventories(), named_uses())
@settings(max_examples=150)
def test_carried_out_plan_breaks_nothing(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    """No false alarm for any drawn repository."""
    index_ = usage(*uses)
    plan = plan_repository(repository, index_, RetentionPolicy(), NOW)
    deleted = {name: True for step in plan.steps for name in (suspect.name for suspect in step.tags)}
    deleted |= {step.digest: True for step in plan.steps if isinstance(step, DeleteManifest)}
    missing = {suspect.name for suspect in missing_references(repository, index_)}

    comparison = compare(
        Baseline.of(repository),
        names_of(carried_out(repository, plan)),
        index_,
        index_,
        missing=missing,
        deleted=deleted,
    )

    assert (comparison.suspects, comparison.absent, comparison.notes) == ((), (), ())


@given(inventories(), named_uses(), st.data())
@settings(max_examples=150)
def test_any_lost_used_tag_is_found(repository: RepositoryInventory, uses: list[ImageUse], data: st.DataObject) -> None:
    used = sorted({name for suspect in uses if (name := suspect.reference.tag) and name in repository.names})
    if not used:
        return
    victim = data.draw(st.sampled_from(used))
    after = lacking(repository, [victim])

    assert victim in names(compare_with(repository, after, *uses))


def described(comparison: Comparison) -> dict[str, tuple[str, list[str], bool]]:
    """Suspect -> its message, its workloads, and whether this run deleted it."""
    return {
        suspect.name: (suspect.seen, [use.workload.name for use in suspect.uses], suspect.ours)
        for suspect in comparison.suspects
    }


def test_proof_holds_if_nothing_is_broken_unproven_or_skipped() -> None:
    broken = Proof(broken=(Broken(REPOSITORY, "1.0", "is lost"),))

    assert Proof().holds
    assert Proof(notes=("another client pushed",)).holds
    assert [suspect.holds for suspect in (broken, Proof(unproven=("503",)), Proof(skipped=True))] == [False] * 3


def test_broken_reference_says_what_is_wrong_and_its_uses() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2), tag("3.0", 3), tag("4.0", 4)])
    after = lacking(before, ["2.0", "4.0"], [1, 2, 4])
    uses = (use("1.0", name="a"), use("2.0", name="b"), use(digest=2, name="c"))

    assert described(compare_with(before, after, *uses, deleted={d(4): True})) == {
        "1.0": ("names a manifest that no longer exists", ["a"], False),
        "2.0": ("can no longer be pulled", ["b"], False),
        d(2): ("can no longer be pulled", ["c"], False),
        "4.0": ("was kept, and was deleted together with its manifest", [], True),
    }
    assert described(compare_with(before, lacking(before, [], [3]))) == {
        "3.0": ("was kept, and names a manifest that no longer exists", [], False)
    }


def test_broken_reference_is_ours_if_planned_for_deletion() -> None:
    """The tag itself, or the manifest that it named."""
    before = inventory([tag("1.0", 1), tag("2.0", 2), tag("3.0", 3)])
    after = lacking(before, ["1.0", "2.0", "3.0"], [1, 2, 3])

    comparison = compare_with(
        before, after, use("1.0"), use("2.0"), use("3.0"), deleted={"1.0": True, d(2): True, d(3): False}
    )

    assert {suspect.name: suspect.ours for suspect in comparison.suspects} == {"1.0": True, "2.0": True, "3.0": False}


def test_lost_index_names_uses_of_indexes_above() -> None:
    manifests = [index("low", [1]), index("top", ["low"]), index("other", [2]), image(1)]
    before = inventory([tag("multi", "top")], manifests)
    comparison = compare_with(before, lacking(before, [], ["low"]), use("multi"), use(digest="low", name="direct"))

    assert described(comparison) == {d("low"): ("can no longer be pulled", ["direct", "web"], False)}
    comparison = compare_with(before, lacking(before, [], ["low"]), use("multi"))
    assert described(comparison) == {d("low"): ("is an index that was kept, and no longer exists", ["web"], False)}


def test_untagged_index_is_named_by_its_digest() -> None:
    before = inventory([], [index("i", [1]), image(1)])

    assert described(compare_with(before, lacking(before, [], [1]))) == {
        d(1): (f"no longer exists, and {REPOSITORY}@{d('i')}, which was kept, lists it", [], False)
    }


def test_lost_index_with_a_listed_tag_is_broken_as_its_tag() -> None:
    """The listed tag says that the manifest exists, so the tag must be requested."""
    before = inventory([tag("multi", "i")], [index("i", [1]), image(1)])

    assert names(compare_with(before, lacking(before, [], ["i"]))) == {"multi"}


def test_deleted_index_does_not_hide_a_lost_one() -> None:
    manifests = [index("ours", [1]), index("theirs", [2]), index("kept", [3]), *map(image, (1, 2, 3))]
    before = inventory([tag("a", "ours"), tag("b", "theirs"), tag("c", "kept")], manifests)
    after = lacking(before, ["a", "b"], ["ours", "theirs", 3])

    comparison = compare_with(before, after, deleted={"a": True, d("ours"): True})

    assert names(comparison) == {d(3)}
    assert [suspect.name for suspect in comparison.absent] == ["b"]


def test_only_moved_kept_tags_are_notes() -> None:
    before = inventory([tag("a", 1), tag("b", 2), tag("c", 3), tag("lost", 4)])
    after = inventory([tag("a", 9), tag("b", 2), tag("c", 8)])

    comparison = compare_with(before, after, deleted={"a": True, "lost": True, d(4): True})

    assert comparison.notes == (f"{REPOSITORY}:c names {d(8)} now; it was pushed again during the run.",)


def test_lost_nested_index_names_uses_of_the_lost_parent() -> None:
    before = inventory([], [index("low", [1]), index("top", ["low"]), image(1)])

    comparison = compare_with(before, lacking(before, [], ["low", "top"]), use(digest="top"))

    assert described(comparison) == {
        d("low"): ("is an index that was kept, and no longer exists", ["web"], False),
        d("top"): ("can no longer be pulled", ["web"], False),
    }


def test_lost_kept_tag_is_absent_and_not_a_note() -> None:
    before = inventory([tag("1.0", 1), tag("keep", 2)])
    comparison = compare_with(before, lacking(before, ["keep"]))

    assert comparison.notes == ()
    assert [(str(suspect), suspect.seen, suspect.ours) for suspect in comparison.absent] == [
        (f"{REPOSITORY}:keep", "no longer exists; this run did not delete it", False)
    ]


def test_tagged_index_must_survive_its_deleted_subject() -> None:
    """The registry does not delete it."""
    attached = structs.replace(index("i", [1]), subject=d("subject"))
    before = inventory([tag("1.0", "subject"), tag("sbom", "i")], [image("subject"), attached, image(1)])
    after = lacking(before, ["1.0"], ["subject", 1])

    assert names(compare_with(before, after, deleted={"1.0": True, d("subject"): True})) == {d(1)}


def test_lost_referrers_of_referrers_are_taken_along_unless_planned() -> None:
    far = structs.replace(index("i", [1]), subject=d("near"))
    before = inventory([tag("1.0", "a")], [image("a"), referrer("near", "a"), far, image(1)])

    after = lacking(before, ["1.0"], ["a", "near", "i", 1])
    planned = {"1.0": True, d("a"): True}

    lost = compare_with(before, after, deleted=planned).suspects
    assert {suspect.taken for suspect in lost} == {d("near"), d("i")}
    assert all(suspect.ours for suspect in lost)
    assert not names(compare_with(before, after, deleted={**planned, d("near"): True, d("i"): True}))


def test_subject_lost_with_its_last_tag_is_taken_along_with_its_referrer() -> None:
    """A retention policy of 0 days. The subject was kept for its referrer."""
    before = inventory([tag("1.0", "a"), tag("sbom", "near")], [image("a"), referrer("near", "a")])

    comparison = compare_with(before, lacking(before, ["1.0", "sbom"], ["a", "near"]), deleted={"1.0": True})

    assert {(suspect.name, suspect.taken) for suspect in comparison.suspects} == {
        (d("a"), d("a")),
        ("sbom", d("near")),
    }


def test_lost_untagged_manifests_are_absent_up_to_a_bound() -> None:
    before = inventory([], [image(number) for number in range(30)])

    absent = compare_with(before, lacking(before, [], range(30))).absent

    assert len(absent) == UNTAGGED_ASKED
    assert {broken.seen for broken in absent} == {"no longer exists; this run did not delete it"}
