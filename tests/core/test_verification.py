"""What is missing already, and what a look afterwards makes of a repository in which something was deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import ImageUse, UsageIndex
from acr_cleanup.core.verification import (
    Baseline,
    Broken,
    Comparison,
    Proof,
    compare,
    full_name,
    lacks,
    missing_references,
    pulled_name,
)
from tests.helpers.drawn_inventories import carried_out, inventories, named_uses
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, index, inventory, referrer, tag, usage, use

STATUS = "status.containerStatuses[0].imageID"


def names(found: Comparison) -> set[str]:
    return {each.name for each in found.suspects}


def without(
    repository: RepositoryInventory, tags: Iterable[str] = (), manifests: Iterable[str | int] = ()
) -> RepositoryInventory:
    gone = {d(each) for each in manifests}
    return RepositoryInventory(
        REPOSITORY,
        tuple(each for each in repository.tags if each.name not in set(tags)),
        {digest: each for digest, each in repository.manifests.items() if digest not in gone},
    )


def looked(
    before: RepositoryInventory,
    after: RepositoryInventory,
    *uses: ImageUse,
    later: UsageIndex | None = None,
    deleted: dict[str, bool] | None = None,
    missing: Iterable[str] = (),
) -> Comparison:
    first = usage(*uses, runs=False)
    return compare(Baseline.of(before), after, first, later or first, missing=set(missing), deleted=deleted or {})


# --- missing already ----------------------------------------------------------------------------------------------------


def test_a_tag_and_a_digest_that_the_registry_does_not_have_are_missing_with_who_uses_them() -> None:
    repository = inventory([tag("1.0", 1)])
    found = missing_references(repository, usage(use("1.0"), use("2.0", name="b"), use(digest=9), runs=False))

    assert [(each.name, str(each)) for each in found] == [
        ("2.0", f"{REPOSITORY}:2.0"),
        (d(9), f"{REPOSITORY}@{d(9)}"),
    ]
    assert [each.workload.name for each in found[0].uses] == ["b"]


def test_a_repository_that_is_not_there_lacks_all_that_is_used_of_it() -> None:
    found = missing_references(RepositoryInventory(REPOSITORY), usage(use("1.0"), use("2.0"), runs=False))

    assert [each.name for each in found] == ["1.0", "2.0"]


def test_a_status_pulls_nothing() -> None:
    """The imageID of a running pod may be the digest of a configuration, which no registry lists."""
    running = replace(use(digest=9), field=STATUS)

    assert pulled_name(running) is None
    assert missing_references(inventory([tag("1.0", 1)]), usage(running, runs=False)) == ()


def test_a_digest_outranks_the_tag_beside_it() -> None:
    """`web:gone@sha256:…` is pulled by its digest: that the tag is gone hurts nobody."""
    repository = inventory([tag("1.0", 1)])

    assert missing_references(repository, usage(use("gone", 1), runs=False)) == ()
    (found,) = missing_references(repository, usage(use("1.0", 9), runs=False))
    assert found.name == d(9)


def test_an_unlisted_manifest_that_a_tag_names_is_there() -> None:
    repository = RepositoryInventory(REPOSITORY, (tag("1.0", 1),), {})

    assert missing_references(repository, usage(use(digest=1), runs=False)) == ()


# --- afterwards ---------------------------------------------------------------------------------------------------------


def test_what_was_deleted_as_planned_breaks_nothing() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    found = looked(before, without(before, ["1.0"], [1]), use("2.0"), use(digest=2), deleted={"1.0": True, d(1): True})

    assert (found.references, found.suspects, found.absent, found.notes) == (2, (), (), ())


def test_a_used_tag_that_is_gone_is_broken_and_its_user_named() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    found = looked(before, without(before, ["1.0", "2.0"], [1]), use("2.0"), deleted={"1.0": True, d(1): True})

    (broken,) = found.suspects
    assert (str(broken), broken.ours) == (f"{REPOSITORY}:2.0", False)
    assert [each.workload.name for each in broken.uses] == ["web"]


def test_what_we_deleted_ourselves_is_no_excuse() -> None:
    """Should the decision ever be wrong, this is what finds it."""
    before = inventory([tag("2.0", 2)])
    found = looked(before, without(before, ["2.0"], [2]), use("2.0"), deleted={"2.0": True, d(2): True})

    assert [(each.name, each.ours) for each in found.suspects] == [("2.0", True)]


def test_a_used_digest_that_is_gone_is_broken_by_spec_and_by_status() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    for used in (use(digest=2), replace(use(digest=2), field=STATUS)):
        assert d(2) in names(looked(before, without(before, ["2.0"], [2]), used))


def test_a_tag_whose_manifest_is_gone_is_broken_although_it_is_listed() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])

    assert names(looked(before, without(before, [], [2]), use("2.0"))) == {"2.0"}
    assert names(looked(before, without(before, [], [2]))) == {"2.0"}


def test_what_was_missing_before_is_not_broken_by_us() -> None:
    before = inventory([tag("1.0", 1)])
    found = looked(before, without(before, ["1.0"], [1]), use("9"), deleted={"1.0": True, d(1): True}, missing=["9"])

    assert (found.references, found.suspects) == (0, ())


def test_what_could_be_pulled_and_was_never_listed_is_asked_for_again() -> None:
    """`listEnabled: false`: only the registry itself can say."""
    before = inventory([tag("1.0", 1)])
    found = looked(before, before, use(digest=7))

    assert (found.references, names(found)) == (1, {d(7)})


def test_a_use_that_came_after_the_plan_counts_too() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2)])
    found = looked(before, without(before, ["2.0"], [2]), later=usage(use("2.0", name="new"), runs=False))

    assert [use.workload.name for each in found.suspects for use in each.uses] == ["new"]


def test_a_kept_index_without_one_of_its_children_is_broken() -> None:
    before = inventory([tag("multi", "index")], [index("index", [1, 2, 3]), image(1), image(2)])
    found = looked(before, without(before, [], [2]), use("multi"))

    (broken,) = found.suspects
    assert (broken.name, broken.seen) == (d(2), f"no longer exists, and {REPOSITORY}:multi, which was kept, lists it")
    assert [each.workload.name for each in broken.uses] == ["web"]


def test_a_nested_child_names_who_uses_the_index_above() -> None:
    manifests = [index("top", ["middle"]), index("middle", [1]), image(1)]
    before = inventory([tag("multi", "top")], manifests)
    (broken,) = looked(before, without(before, [], [1]), use(digest="top")).suspects

    assert (broken.name, len(broken.uses)) == (d(1), 1)


def test_a_child_that_is_reached_in_two_ways_names_each_user_once() -> None:
    manifests = [index("top", ["one", "two"]), index("one", [1]), index("two", [1]), image(1)]
    before = inventory([tag("multi", "top")], manifests)
    (broken,) = looked(before, without(before, [], [1]), use(digest="top")).suspects

    assert (broken.name, len(broken.uses)) == (d(1), 1)


def test_an_untagged_index_that_was_to_stay_and_is_gone_is_broken() -> None:
    before = inventory([], [index("index", [1]), image(1)])

    assert names(looked(before, without(before, [], ["index"]))) == {d("index")}


def test_an_index_that_was_deleted_with_its_tags_by_somebody_else_is_no_failure() -> None:
    before = inventory([tag("multi", "index")], [index("index", [1]), image(1)])
    found = looked(before, without(before, ["multi"], ["index"]))

    assert found.suspects == ()
    assert [(each.name, each.seen) for each in found.absent] == [
        ("multi", "no longer exists; this run did not delete it")
    ]


def test_an_index_that_goes_with_its_subject_need_not_stay() -> None:
    """The registry removes what is attached to a manifest, and has no tag, together with it."""
    attached = replace(index("index", [1]), subject=d("subject"))
    before = inventory([tag("1.0", "subject")], [image("subject"), attached, image(1), referrer("more", "index")])
    after = without(before, ["1.0"], ["subject", "index", "more"])

    assert looked(before, after, deleted={"1.0": True, d("subject"): True}).suspects == ()


def test_a_kept_tag_that_went_with_a_manifest_of_ours_is_broken() -> None:
    before = inventory([tag("1.0", 1), tag("keep", 1)])
    found = looked(before, without(before, ["1.0", "keep"], [1]), deleted={"1.0": True, d(1): True})

    assert [(each.name, each.ours) for each in found.suspects] == [("keep", True)]


def test_a_kept_tag_that_somebody_else_moved_is_a_note() -> None:
    before = inventory([tag("1.0", 1), tag("keep", 2)])
    after = inventory([tag("keep", 3)])
    found = looked(before, after, deleted={"1.0": True, d(1): True})

    assert found.suspects == ()
    assert found.notes == (f"{REPOSITORY}:keep names {d(3)} now; it was pushed again during the run.",)


def test_a_used_tag_that_was_pushed_again_can_still_be_pulled() -> None:
    found = looked(inventory([tag("2.0", 2)]), inventory([tag("2.0", 3)]), use("2.0"))

    assert (found.references, found.suspects) == (1, ())


@given(inventories(), named_uses())
@settings(max_examples=150)
def test_whatever_a_plan_deletes_nothing_is_broken(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    """No false alarm in any world: what is carried out as planned stands the proof."""
    index_ = usage(*uses)
    plan = plan_repository(repository, index_, RetentionPolicy(), NOW)
    deleted = {name: True for step in plan.steps for name in (each.name for each in step.tags)}
    deleted |= {step.digest: True for step in plan.steps if isinstance(step, DeleteManifest)}
    missing = {each.name for each in missing_references(repository, index_)}

    found = compare(
        Baseline.of(repository), carried_out(repository, plan), index_, index_, missing=missing, deleted=deleted
    )

    assert (found.suspects, found.absent, found.notes) == ((), (), ())


@given(inventories(), named_uses(), st.data())
@settings(max_examples=150)
def test_whatever_used_tag_is_taken_away_is_found(
    repository: RepositoryInventory, uses: list[ImageUse], data: st.DataObject
) -> None:
    used = sorted({each.reference.tag for each in uses if each.reference.tag in repository.names} - {None})
    if not used:
        return
    victim = data.draw(st.sampled_from(used))
    after = without(repository, [str(victim)])

    assert victim in names(looked(repository, after, *uses))


# --- in words -----------------------------------------------------------------------------------------------------------


def seen(found: Comparison) -> dict[str, tuple[str, list[str], bool]]:
    """What is said of each suspect: what was seen, who uses it, and whether it was ours."""
    return {each.name: (each.seen, [use.workload.name for use in each.uses], each.ours) for each in found.suspects}


def test_a_use_lacks_what_it_would_pull_and_only_that() -> None:
    world = inventory([tag("1.0", 1)])

    assert not any(lacks(world, each) for each in (use("1.0"), use(digest=1), use("gone", 1), use(None, None)))
    assert all(lacks(world, each) for each in (use("2.0"), use(digest=9), use("1.0", 9)))
    assert not lacks(world, replace(use(digest=9), field=STATUS))


def test_a_proof_holds_where_nothing_is_broken_unproven_or_skipped() -> None:
    broken = Proof(broken=(Broken(REPOSITORY, "1.0", "is gone"),))

    assert Proof().holds
    assert Proof(notes=("somebody pushed",)).holds
    assert [each.holds for each in (broken, Proof(unproven=("503",)), Proof(skipped=True))] == [False] * 3


def test_what_is_broken_says_what_was_seen_of_it_and_who_uses_it() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2), tag("3.0", 3), tag("4.0", 4)])
    after = without(before, ["2.0", "4.0"], [1, 2, 4])
    uses = (use("1.0", name="a"), use("2.0", name="b"), use(digest=2, name="c"))

    assert seen(looked(before, after, *uses, deleted={d(4): True})) == {
        "1.0": ("names a manifest that no longer exists", ["a"], False),
        "2.0": ("can no longer be pulled", ["b"], False),
        d(2): ("can no longer be pulled", ["c"], False),
        "4.0": ("was kept, and was deleted together with its manifest", [], True),
    }
    assert seen(looked(before, without(before, [], [3]))) == {
        "3.0": ("was kept, and names a manifest that no longer exists", [], False)
    }


def test_it_was_ours_if_this_run_was_to_delete_it_or_what_it_named() -> None:
    before = inventory([tag("1.0", 1), tag("2.0", 2), tag("3.0", 3)])
    after = without(before, ["1.0", "2.0", "3.0"], [1, 2, 3])

    found = looked(before, after, use("1.0"), use("2.0"), use("3.0"), deleted={"1.0": True, d(2): True, d(3): False})

    assert {each.name: each.ours for each in found.suspects} == {"1.0": True, "2.0": True, "3.0": False}


def test_a_lost_index_says_so_with_who_uses_what_is_above_it() -> None:
    manifests = [index("low", [1]), index("top", ["low"]), index("other", [2]), image(1)]
    before = inventory([tag("multi", "top")], manifests)
    found = looked(before, without(before, [], ["low"]), use("multi"), use(digest="low", name="direct"))

    assert seen(found) == {d("low"): ("can no longer be pulled", ["direct", "web"], False)}
    found = looked(before, without(before, [], ["low"]), use("multi"))
    assert seen(found) == {d("low"): ("is an index that was kept, and no longer exists", ["web"], False)}


def test_an_index_without_a_tag_is_called_by_its_digest() -> None:
    before = inventory([], [index("i", [1]), image(1)])

    assert seen(looked(before, without(before, [], [1]))) == {
        d(1): (f"no longer exists, and {REPOSITORY}@{d('i')}, which was kept, lists it", [], False)
    }


def test_an_index_that_is_gone_while_its_tag_is_listed_is_broken_as_its_tag() -> None:
    """A tag that is listed says that its manifest is there: it is the tag that must be asked for."""
    before = inventory([tag("multi", "i")], [index("i", [1]), image(1)])

    assert names(looked(before, without(before, [], ["i"]))) == {"multi"}


def test_one_index_that_goes_or_is_gone_hides_no_other() -> None:
    manifests = [index("ours", [1]), index("theirs", [2]), index("kept", [3]), *map(image, (1, 2, 3))]
    before = inventory([tag("a", "ours"), tag("b", "theirs"), tag("c", "kept")], manifests)
    after = without(before, ["a", "b"], ["ours", "theirs", 3])

    found = looked(before, after, deleted={"a": True, d("ours"): True})

    assert names(found) == {d(3)}
    assert [each.name for each in found.absent] == ["b"]


def test_a_tag_that_moved_hides_no_other_and_one_that_was_to_go_is_no_news() -> None:
    before = inventory([tag("a", 1), tag("b", 2), tag("c", 3), tag("gone", 4)])
    after = inventory([tag("a", 9), tag("b", 2), tag("c", 8)])

    found = looked(before, after, deleted={"a": True, "gone": True, d(4): True})

    assert found.notes == (f"{REPOSITORY}:c names {d(8)} now; it was pushed again during the run.",)


def test_a_lost_index_below_another_lost_one_names_who_uses_that() -> None:
    before = inventory([], [index("low", [1]), index("top", ["low"]), image(1)])

    found = looked(before, without(before, [], ["low", "top"]), use(digest="top"))

    assert seen(found) == {
        d("low"): ("is an index that was kept, and no longer exists", ["web"], False),
        d("top"): ("can no longer be pulled", ["web"], False),
    }


def test_a_kept_tag_that_is_gone_was_not_pushed_again() -> None:
    before = inventory([tag("1.0", 1), tag("keep", 2)])
    found = looked(before, without(before, ["keep"]))

    assert found.notes == ()
    assert [(str(each), each.seen, each.ours) for each in found.absent] == [
        (f"{REPOSITORY}:keep", "no longer exists; this run did not delete it", False)
    ]


def test_what_is_attached_and_has_a_tag_stays_whole_although_its_subject_goes() -> None:
    """The registry leaves it alone."""
    attached = replace(index("i", [1]), subject=d("subject"))
    before = inventory([tag("1.0", "subject"), tag("sbom", "i")], [image("subject"), attached, image(1)])
    after = without(before, ["1.0"], ["subject", 1])

    assert names(looked(before, after, deleted={"1.0": True, d("subject"): True})) == {d(1)}


def test_what_is_attached_to_what_is_attached_goes_along_too() -> None:
    far = replace(index("i", [1]), subject=d("near"))
    before = inventory([tag("1.0", "a")], [image("a"), referrer("near", "a"), far, image(1)])

    assert (
        names(looked(before, without(before, ["1.0"], ["a", "near", "i", 1]), deleted={"1.0": True, d("a"): True}))
        == set()
    )


def test_a_digest_of_either_algorithm_is_written_as_one() -> None:
    assert full_name("a", "sha512:0") == "a@sha512:0"
    assert full_name("a", "sha256-0") == "a:sha256-0"
