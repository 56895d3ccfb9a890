"""A decision needs some bodies and lists of referrers, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.subjects import SubjectQuestions, open_questions
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import carried_out, policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import (
    NOW,
    OCI_CONFIG,
    OCI_IMAGE,
    UNTAGGED,
    d,
    image,
    index,
    inventory,
    tag,
    usage,
)


def questions(repository: RepositoryInventory, policy: RetentionPolicy | None = None) -> SubjectQuestions:
    return open_questions(Evidence(repository, usage(), policy or RetentionPolicy(), NOW))


def oci(digest: str, *, subject: str | None = None, known: bool = False) -> Manifest:
    found = None if subject is None else d(subject)
    return structs.replace(
        image(digest), media_type=OCI_IMAGE, config_media_type=OCI_CONFIG, subject=found, known=known
    )


def test_docker_images_raise_no_question() -> None:
    assert not questions(inventory([tag("1", "a"), tag("2", "b", days=1)], [image("a"), image("b")]))


def test_repository_that_loses_no_manifest_raises_no_question() -> None:
    assert not questions(inventory([tag("1", "a", days=1), tag("2", "b", days=1)], [oci("a"), oci("b")]))


@pytest.mark.parametrize("tags", [[tag("1", "a")], []], ids=["tag", "untagged"])
def test_candidate_on_probation_raises_no_question(tags: list[Tag]) -> None:
    """Its referrers are asked for when it may be deleted."""
    repository = inventory([*tags, tag("2", "k", days=1)], [image("a"), oci("k")])
    assert questions(repository, UNTAGGED)
    assert not questions(repository, replace(UNTAGGED, probation=timedelta(days=7)))


def test_smaller_side_is_asked() -> None:
    """The bodies of kept images, or the referrers of deleted ones, Docker images among them."""
    kept, old = [oci("k"), oci("l")], [oci("a"), oci("b"), image("c")]
    tags = [tag(name, name, days=100 if name in "abc" else 1) for name in "klabc"]

    assert questions(inventory(tags, [*kept, *old])) == SubjectQuestions(bodies=(d("k"), d("l")))
    assert questions(inventory(tags[:3], [*kept, old[0]])) == SubjectQuestions(referrers=(d("a"),))


def test_sibling_of_a_kept_child_is_asked_once() -> None:
    """An attestation of an image that another, kept index shares."""
    indexes = [index("old", ["image", "attestation"]), index("new", ["image"])]
    tags = [tag("old", "old"), tag("new", "new", days=1)]
    repository = inventory(tags, [*indexes, image("image"), oci("attestation")])

    assert questions(repository) == SubjectQuestions(bodies=(d("attestation"),))
    unreadable = replace(repository, unreadable=frozenset({d("attestation")}))
    assert not questions(unreadable)
    known = repository.with_edges([oci("attestation", subject="image", known=True)])
    assert not questions(known)
    assert {step.digest for step in plan_repository(known, usage(), RetentionPolicy(), NOW).steps} == {d("old")}


def test_children_of_a_completely_deleted_index_are_not_read() -> None:
    old = inventory(
        [tag("old", "old"), tag("x", "x", days=1)], [index("old", ["a", "b"]), oci("a"), oci("b"), image("x")]
    )

    assert not questions(old)


def test_unanswered_questions_are_not_repeated() -> None:
    repository = inventory([tag("1", "a"), tag("2", "k", days=1)], [oci("a"), oci("k")])

    unreadable = replace(repository, unreadable=frozenset({d("k")}))
    assert questions(repository).bodies == (d("k"),)
    assert questions(unreadable).referrers == (d("a"),)
    assert not questions(replace(unreadable, unlistable=frozenset({d("a")})))
    assert not questions(replace(repository, asked=frozenset({d("a")})))


def test_body_that_was_put_aside_is_not_requested() -> None:
    aside = structs.replace(oci("k"), locked=True, put_aside=True)

    assert questions(inventory([tag("1", "a"), tag("2", "k")], [oci("a"), aside])).referrers == (d("a"),)


@pytest.mark.parametrize("backup", [True, False])
def test_deleted_referrers_are_read_only_for_a_backup(backup: bool) -> None:
    repository = inventory([tag("1", "a"), tag("2", "b")], [oci("a"), oci("b")])

    assert bool(questions(replace(repository, all_referrers=backup))) is backup


# -- properties of drawn repositories --------------------------------------------------------------


@st.composite
def image_graphs(draw: st.DrawFn) -> RepositoryInventory:
    """Repositories in which images are referrers as well."""
    repository = draw(repositories())
    converted = {
        digest: structs.replace(manifest, config_media_type=OCI_CONFIG)
        for digest, manifest in repository.manifests.items()
        if manifest.media_type == OCI_IMAGE and draw(st.booleans())
    }
    return replace(repository, manifests={**repository.manifests, **converted})


def read(
    truth: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, *, backup: bool
) -> RepositoryInventory:
    """Return the inventory of this repository after the run has asked its questions."""
    hidden = {
        digest: structs.replace(manifest, subject=None, known=False) if manifest.may_have_subject else manifest
        for digest, manifest in truth.manifests.items()
    }
    known = prepare(replace(truth, manifests=hidden), usage(*uses), policy, NOW, all_referrers=backup)
    tried: set[Digest] = set()
    while pending := [digest for digest in known.unread if digest not in tried]:
        tried.update(pending)
        known = known.with_edges(truth.manifests[digest] for digest in pending if digest in truth.manifests)
    while asked := open_questions(Evidence(known, usage(*uses), policy, NOW)):
        referrers = [referrer for subject in asked.referrers for referrer in truth.referrers_of.get(subject, ())]
        known = known.with_edges(truth.manifests[digest] for digest in (*asked.bodies, *referrers))
        known = replace(known, asked=known.asked | set(asked.referrers))
    return known


def deleted(plan: RepositoryPlan) -> set[Digest]:
    return {manifest.digest for manifest in plan.manifests}


@pytest.mark.parametrize("backup", [True, False])
@pytest.mark.parametrize("days", [1, 100, None])
def test_kept_subject_does_not_lift_the_age_of_a_child(days: int | None, backup: bool) -> None:
    """A kept subject does not keep an image that only another index lists, and must not lift its age."""
    converted = structs.replace(oci("c", subject="k", known=True), updated_at=image("c", days=days).updated_at)
    truth = inventory([tag("1", "i"), tag("2", "k", days=1)], [index("i", ["c"]), converted, image("k")])

    for repository in (truth, read(truth, [], UNTAGGED, backup=backup)):
        plan = plan_repository(repository, usage(), UNTAGGED, NOW)
        assert deleted(plan) == ({d("i"), d("c")} if days == 100 else {d("i")})


@given(image_graphs(), drawn_uses(), policies(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_everything_deleted_with_a_manifest_is_a_step(
    truth: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, backup: bool
) -> None:
    """Promise 11: the registry deletes all referrers, and nothing is gone that was not planned."""
    known = read(truth, uses, policy, backup=backup)
    plan = plan_repository(known, usage(*uses), policy, NOW)
    left = carried_out(truth, plan)

    assert truth.manifests.keys() - left.manifests.keys() == deleted(plan)
    planned_tags = {decision.tag.name for decision in plan.deletions}
    assert {tag.name for tag in truth.tags} - {tag.name for tag in left.tags} == planned_tags


@given(image_graphs(), drawn_uses(), policies(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_unasked_questions_change_no_decision(
    truth: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, backup: bool
) -> None:
    """The plan is the same as if every body had been read."""
    known = read(truth, uses, policy, backup=backup)

    plan, full = (plan_repository(repository, usage(*uses), policy, NOW) for repository in (known, truth))
    assert deleted(plan) == deleted(full)
    assert [decision.deletes for decision in plan.decisions] == [decision.deletes for decision in full.decisions]


@given(image_graphs(), drawn_uses(), policies())
@settings(max_examples=200, deadline=None)
def test_backup_orders_every_referrer_before_its_subject(
    truth: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    """So that its content is journalled before the registry deletes it."""
    known = read(truth, uses, policy, backup=True)
    plan = plan_repository(known, usage(*uses), policy, NOW)
    place = {manifest.digest: number for number, manifest in enumerate(plan.manifests)}

    for digest, number in place.items():
        subject = truth.manifests[digest].subject
        assert subject not in place or number < place[subject]
