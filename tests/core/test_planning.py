"""The plan of one repository: which manifests are deleted, and which relatives keep them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.plan_warnings import UnknownLocks, UnknownSubjects, Unlisted, UnreadableManifests
from acr_cleanup.core.planning import leaves_untagged, nothing_to_delete
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import Untag
from tests.helpers.generated_inventories import (
    NOW,
    OCI_IMAGE,
    REPOSITORY,
    UNTAGGED,
    d,
    deleted_names,
    image,
    index,
    inventory,
    plan,
    referrer,
    signature_of,
    tag,
    usage,
    use,
    verbs,
)


def test_old_unused_tag_is_deleted_with_its_manifest() -> None:
    assert verbs(plan(inventory([tag("1.0", "a")]))) == ["delete a[1.0]"]


# -- indexes and children --------------------------------------------------------------------------


def test_index_is_deleted_before_its_children() -> None:
    repository = inventory([tag("1.0", "i")], [index("i", ["x", "y"]), image("x"), image("y")])

    planned = plan(repository)

    assert verbs(planned) == ["delete i[1.0]", "delete x[]", "delete y[]"]
    assert all(step.after == (d("i"),) for step in planned.steps[1:])


def test_children_of_a_kept_index_are_kept() -> None:
    repository = inventory(
        [tag("1.0", "i", days=1), tag("1.0-amd64", "x")], [index("i", ["x", "y"]), image("x"), image("y")]
    )

    assert verbs(plan(repository)) == ["untag 1.0-amd64"]


def test_child_shared_with_a_kept_index_is_kept() -> None:
    repository = inventory(
        [tag("old", "i"), tag("new", "j", days=1)],
        [index("i", ["x", "base"]), index("j", ["base"]), image("x"), image("base")],
    )

    assert verbs(plan(repository)) == ["delete i[old]", "delete x[]"]


def test_untagged_index_and_its_children_are_kept() -> None:
    repository = inventory([tag("1.0-amd64", "x")], [index("i", ["x"]), image("x")])

    assert verbs(plan(repository)) == ["untag 1.0-amd64"]


def test_nested_indexes_are_deleted_from_the_top() -> None:
    repository = inventory([tag("1.0", "o")], [index("o", ["i"]), index("i", ["x"]), image("x")])

    assert verbs(plan(repository)) == ["delete o[1.0]", "delete i[]", "delete x[]"]


# -- unknown locks --------------------------------------------------------------------------------


def test_unknown_locks_are_planned_with_a_warning() -> None:
    """There is no warning if nothing is deleted."""
    repository = replace(inventory([tag("1.0", "a")]), unknown_locks=2)
    planned = plan(repository)

    assert verbs(planned) == ["delete a[1.0]"]
    assert planned.warnings == (UnknownLocks(repository.name, 2),)
    young = replace(inventory([tag("1.0", "a", days=1)]), unknown_locks=2)
    assert plan(young).warnings == ()


# -- signatures and referrers ----------------------------------------------------------------------


def test_index_tagged_as_signature_of_its_child_is_deleted() -> None:
    strange = f"sha256-{d('x')[7:]}.sig"
    repository = inventory([tag(strange, "i")], [index("i", ["x"]), image("x")])

    assert verbs(plan(repository)) == [f"delete i[{strange}]", "delete x[]"]


def test_kept_referrer_keeps_its_subject() -> None:
    """The registry deletes referrers together with their subject."""
    repository = inventory([tag("1.0", "a"), tag("sbom", "r", days=1)], [image("a"), referrer("r", "a")])

    assert verbs(plan(repository)) == ["untag 1.0"]


def test_untagged_referrer_is_deleted_before_its_subject() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])

    assert verbs(plan(repository)) == ["delete r[]", "delete a[1.0]"]
    assert plan(repository).steps[1].after == (d("r"),)


def test_unread_artifact_keeps_every_possible_subject() -> None:
    """The registry deletes it together with its subject, so it would be neither counted nor journalled."""
    unread = structs.replace(referrer("r", "a"), subject=None, known=False)
    repository = inventory([tag("1.0", "a")], [image("a"), unread])

    planned = plan(repository)
    assert verbs(planned) == ["untag 1.0"]
    assert planned.warnings == (UnknownSubjects(REPOSITORY, 1, 1),)
    assert verbs(plan(replace(repository, asked=frozenset({d("a")})))) == ["delete a[1.0]"]


def test_kept_signature_keeps_its_manifest() -> None:
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "s", days=1)])

    assert verbs(plan(repository)) == ["untag 1.0"]


def test_tags_named_after_each_other_are_deleted() -> None:
    repository = inventory([tag(signature_of("a"), "b"), tag(signature_of("b"), "a")])

    assert len(plan(repository).deletions) == len(plan(repository).manifests) == 2


def test_referrers_are_deleted_before_their_subjects_at_any_depth() -> None:
    repository = inventory(
        [tag("1.0", "a")],
        [image("a"), index("r", ["x"], subject="a"), image("x"), referrer("s", "r")],
    )

    assert verbs(plan(repository)) == ["delete s[]", "delete r[]", "delete a[1.0]", "delete x[]"]


def test_kept_subject_keeps_a_referrer_of_a_deleted_index() -> None:
    repository = inventory(
        [tag("1.0", "a", days=1), tag("list", "i")], [image("a"), referrer("r", "a"), index("i", ["r"])]
    )

    assert verbs(plan(repository)) == ["delete i[list]"]


def test_untagged_manifests_do_not_delete_each_other() -> None:
    """An index that lists its own subject."""
    assert not plan(inventory([], [image("a"), index("i", ["a"], subject="a")])).steps


# -- which bodies to read --------------------------------------------------------------------------


def test_bodies_are_needed_only_if_a_tag_may_be_deleted() -> None:
    oci = Manifest(d("i"), OCI_IMAGE)
    repository = inventory([tag("1.0", "i")], [oci])

    assert repository.unread == (d("i"),)
    assert not nothing_to_delete(repository, usage(), RetentionPolicy(), NOW)
    assert nothing_to_delete(repository, usage(use("1.0")), RetentionPolicy(), NOW)
    assert nothing_to_delete(repository, usage(runs=False), RetentionPolicy(), NOW)


def test_bodies_are_not_needed_if_all_tags_are_kept() -> None:
    oci = Manifest(d("i"), OCI_IMAGE)
    ghost = inventory([tag("1.0", "i", days=1), tag("2.0", "a")], [oci, image("a")])

    assert not nothing_to_delete(ghost, usage(), RetentionPolicy(), NOW)
    assert nothing_to_delete(ghost, usage(use("2.0")), RetentionPolicy(), NOW)
    strays = inventory([tag("1.0", "i", days=1)], [oci, image("a")])
    assert nothing_to_delete(strays, usage(), RetentionPolicy(), NOW)
    assert not nothing_to_delete(strays, usage(), UNTAGGED, NOW)
    assert nothing_to_delete(inventory([]), usage(), UNTAGGED, NOW)


def test_unlisted_tagged_manifest_must_be_read() -> None:
    """Unlisted manifests (`listEnabled: false`) do not appear in the listing."""
    assert inventory([tag("1.0", "hidden")], []).unread == (d("hidden"),)


# -- warnings --------------------------------------------------------------------------------------


def test_unreadable_manifests_warn_with_three_examples() -> None:
    unreadable = [index(name, [], known=False) for name in ("d", "b", "a", "c")]
    repository = inventory([tag("1.0", "x")], [image("x"), *unreadable])

    assert plan(repository).warnings == (UnreadableManifests(REPOSITORY, 4, (d("a"), d("b"), d("c"))),)


def test_unlisted_manifests_warn_only_with_delete_untagged() -> None:
    repository = replace(inventory([], [image("a")]), hidden=1234)

    assert plan(repository).warnings == ()
    assert plan(repository, policy=UNTAGGED).warnings == (Unlisted(REPOSITORY, 1234),)
    assert not plan(repository, policy=UNTAGGED).steps


def test_unlisted_tag_may_be_on_any_manifest() -> None:
    repository = replace(inventory([tag("1.0", "a")], [image("a")]), hidden_tags=1)

    planned = plan(repository)

    assert planned.warnings == (Unlisted(REPOSITORY, 0, 1),)
    assert [type(step) for step in planned.steps] == [Untag]


@pytest.mark.parametrize("hidden", [0, 1])
def test_tag_of_an_unlisted_subject_is_kept(hidden: int) -> None:
    """A signature by name or by `subject`. If every manifest is listed, the subject does not exist."""
    signature = f"sha256-{d('lost')[7:]}.sig"
    referrers = [referrer("r", "lost"), referrer("s", "x")]
    repository = inventory(
        [tag("1.0", "x"), tag(signature, "b"), tag("sbom", "r")], [image("x"), image("b"), *referrers]
    )
    planned = plan(replace(repository, hidden=hidden))

    kept = {decision.tag.name: decision.reasons for decision in planned.decisions if not decision.deletes}
    assert kept.keys() == ({signature, "sbom"} if hidden else set())
    for reasons in kept.values():
        assert [reason.rule for reason in reasons] == [Rule.ATTACHED]
        assert reasons[0].detail.endswith("which is not listed and may exist")


def test_unreadable_and_unlisted_manifests_both_warn() -> None:
    repository = replace(inventory([tag("1.0", "x")], [image("x"), index("g", [], known=False)]), hidden=1)

    assert plan(repository, policy=UNTAGGED).warnings == (
        UnreadableManifests(REPOSITORY, 1, (d("g"),)),
        Unlisted(REPOSITORY, 1),
    )


def test_last_tag_of_a_kept_manifest_is_kept_if_untagged_manifests_expire() -> None:
    """A retention policy of the registry deletes what has no tag. The index is kept, and so its child."""
    repository = inventory(
        [tag("multi", "i", days=1), tag("amd64", "a"), tag("old", "b"), tag("alias", "i")],
        [index("i", ["a"]), image("a"), image("b")],
    )
    before = plan(repository)

    assert leaves_untagged(repository, before)
    assert deleted_names(before) == {"amd64", "old", "alias"}
    after = plan(replace(repository, untagged_expire=True))
    assert deleted_names(after) == {"old", "alias"}
    assert not leaves_untagged(repository, after)
    [reason] = next(decision.reasons for decision in after.decisions if decision.tag.name == "amd64")
    assert reason.rule is Rule.ATTACHED
    assert "retention policy" in reason.detail


def test_used_size_includes_everything_that_a_used_index_lists() -> None:
    """The registry lists an index with its own few bytes."""
    made = plan(
        inventory([tag("1", "list"), tag("2", "x")], [index("list", ("amd", "arm")), *map(image, ("amd", "arm", "x"))]),
        usage(use("1")),
    )

    sizes = {name: image(name).size for name in ("amd", "arm", "x")}
    listed = index("list", ("amd", "arm")).size
    assert made.used_size == listed + sizes["amd"] + sizes["arm"] > listed
    assert made.listed_size == made.used_size + sizes["x"]
    assert (made.tally.listed_size, made.tally.used_size) == (made.listed_size, made.used_size)
