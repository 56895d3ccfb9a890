"""Properties of the decision that must hold in every world, drawn from a deliberately small and nasty pool."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.plan import DeleteManifest, RepositoryPlan, Untag, plan_repository
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.core.references import Digest
from acr_cleanup.core.second_look import confirm
from acr_cleanup.core.usage import ImageUse
from tests.core.worlds import DOCKER_IMAGE, NOW, OCI_IMAGE, OCI_INDEX, REPOSITORY, d, usage, use

DIGESTS = [d(number) for number in range(1, 8)]
NAMES = ["1.0", "1.1", "latest", "pr-1", f"sha256-{DIGESTS[0][7:]}.sig", f"sha256-{DIGESTS[1][7:]}"]
AGES = st.sampled_from([None, -1, 0, 29, 30, 31, 400])


@st.composite
def inventories(draw: st.DrawFn) -> RepositoryInventory:
    """Repositories with shared, nested and unknown indexes, referrers, locks, ghosts and colliding ages."""
    manifests: dict[Digest, Manifest] = {}
    for place, digest in enumerate(DIGESTS[: draw(st.integers(0, len(DIGESTS)))]):
        earlier = DIGESTS[:place]
        kind = draw(st.sampled_from(["image", "image", "index", "ghost", "referrer"])) if earlier else "image"
        age = draw(AGES)
        manifest = Manifest(
            digest,
            DOCKER_IMAGE,
            size=100,
            updated_at=None if age is None else NOW - timedelta(days=age),
            locked=draw(st.sampled_from([False, False, False, True])),
            known=True,
        )
        if kind == "index":
            children = tuple(draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)))
            manifest = replace(manifest, media_type=OCI_INDEX, children=children)
        elif kind == "referrer":
            manifest = replace(manifest, media_type=OCI_IMAGE, subject=draw(st.sampled_from(earlier)))
        elif kind == "ghost":
            manifest = replace(manifest, media_type=OCI_INDEX, known=draw(st.booleans()))
        manifests[digest] = manifest
    tags = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        age = draw(AGES)
        tags.append(
            Tag(
                name,
                draw(st.sampled_from(DIGESTS)),
                None if age is None else NOW - timedelta(days=age),
                draw(st.sampled_from([False, False, False, True])),
            )
        )
    return RepositoryInventory(REPOSITORY, tuple(tags), manifests)


def some_uses() -> st.SearchStrategy[list[ImageUse]]:
    return st.lists(
        st.builds(
            lambda tag, digest: use(tag if tag or digest else "1.0", None if digest is None else digest),
            st.sampled_from([None, *NAMES]),
            st.sampled_from([None, *range(1, 8)]),
        ),
        max_size=3,
    )


def plan(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy | None = None
) -> RepositoryPlan:
    return plan_repository(repository, usage(*uses), policy or RetentionPolicy(), NOW)


def after(repository: RepositoryInventory, found: RepositoryPlan) -> RepositoryInventory:
    """The repository once the registry has done every step: deleting a manifest takes its tags and its referrers along."""
    tags = {tag.name: tag for tag in repository.tags}
    manifests = dict(repository.manifests)

    def remove(digest: Digest) -> None:
        manifests.pop(digest, None)
        for name in [name for name, tag in tags.items() if tag.digest == digest]:
            del tags[name]
        for referrer in repository.referrers_of.get(digest, ()):
            if referrer in manifests:
                remove(referrer)

    for step in found.steps:
        if isinstance(step, Untag):
            tags.pop(step.tag.name, None)
        else:
            remove(step.digest)
    return RepositoryInventory(REPOSITORY, tuple(tags.values()), manifests)


@given(inventories(), some_uses())
@settings(max_examples=400)
def test_nothing_used_is_ever_deleted(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    """Used means used: the tag and what it names, the digest and its whole index family."""
    left = after(repository, plan(repository, uses))

    for each in uses:
        reference = each.reference
        needed = {reference.digest} if reference.digest else set()
        if reference.tag in {tag.name for tag in repository.tags}:
            assert reference.tag in {tag.name for tag in left.tags}
            needed |= {tag.digest for tag in repository.tags if tag.name == reference.tag}
        for digest in needed & repository.manifests.keys():
            assert {digest, *repository.descendants(digest)} & repository.manifests.keys() <= left.manifests.keys()
        if reference.digest is not None and reference.digest in repository.manifests:
            assert repository.ancestors(reference.digest) <= left.manifests.keys()


@given(inventories(), some_uses())
@settings(max_examples=400)
def test_graphs_stay_whole(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    """Whatever stays keeps all of its children, its subject and its tags; a kept name keeps its manifest."""
    found = plan(repository, uses)
    left = after(repository, found)

    for manifest in left.manifests.values():
        for needed in (*manifest.children, *([manifest.subject] if manifest.subject else [])):
            assert needed in left.manifests or needed not in repository.manifests
    assert {tag.name for tag in left.tags} == {decision.tag.name for decision in found.kept}
    for decision in found.kept:
        digest = decision.tag.digest
        assert digest in left.manifests or digest not in repository.manifests


@given(inventories(), some_uses())
@settings(max_examples=300)
def test_what_goes_is_old_unlocked_known_and_not_excluded(
    repository: RepositoryInventory, uses: list[ImageUse]
) -> None:
    found = plan(repository, uses)

    for decision in found.deletions:
        assert decision.tag.updated_at is not None
        assert NOW - decision.tag.updated_at >= timedelta(days=30)
        assert not decision.tag.locked
        assert decision.tag.name != "latest"
    for step in found.steps:
        if isinstance(step, DeleteManifest):
            assert not step.manifest.locked
            assert not repository.unknown


@given(inventories(), some_uses(), some_uses())
@settings(max_examples=300)
def test_more_usage_never_deletes_more(
    repository: RepositoryInventory, uses: list[ImageUse], more: list[ImageUse]
) -> None:
    before, now = plan(repository, uses), plan(repository, uses + more)

    assert {each.tag for each in now.deletions} <= {each.tag for each in before.deletions}
    assert {each.digest for each in now.manifests} <= {each.digest for each in before.manifests}


@given(inventories(), some_uses(), st.integers(0, 3), st.sampled_from([(), ("pr-*",), ("1.*",)]), st.integers(30, 500))
@settings(max_examples=300)
def test_rules_only_add_reasons_to_keep(
    repository: RepositoryInventory, uses: list[ImageUse], keep_last: int, exclude: tuple[str, ...], days: int
) -> None:
    before = plan(repository, uses, RetentionPolicy())
    stricter = RetentionPolicy(timedelta(days=days), keep_last=keep_last, exclude_tags=("latest", *exclude))
    now = plan(repository, uses, stricter)

    assert {each.tag for each in now.deletions} <= {each.tag for each in before.deletions}
    assert {each.digest for each in now.manifests} <= {each.digest for each in before.manifests}


@given(inventories(), some_uses(), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_the_order_of_input_does_not_matter(
    repository: RepositoryInventory, uses: list[ImageUse], shuffler: random.Random
) -> None:
    tags, manifests, mixed = list(repository.tags), list(repository.manifests.items()), list(uses)
    for each in (tags, manifests, mixed):
        shuffler.shuffle(each)
    other = RepositoryInventory(REPOSITORY, tuple(tags), dict(manifests))

    one, two = plan(repository, uses, RetentionPolicy(keep_last=1)), plan(other, mixed, RetentionPolicy(keep_last=1))

    assert one.steps == two.steps
    assert [(each.tag, each.deletes) for each in one.decisions] == [(each.tag, each.deletes) for each in two.decisions]


@given(inventories(), some_uses())
@settings(max_examples=300)
def test_steps_never_run_ahead_of_what_they_wait_for(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    found = plan(repository, uses)
    coming = [step.digest for step in found.steps if isinstance(step, DeleteManifest)]

    for step in found.steps:
        if isinstance(step, DeleteManifest):
            coming.remove(step.digest)
        assert not set(step.after) & set(coming)


@given(inventories(), some_uses(), inventories(), some_uses())
@settings(max_examples=400)
def test_a_second_look_never_does_more_than_either_plan(
    repository: RepositoryInventory, uses: list[ImageUse], later: RepositoryInventory, later_uses: list[ImageUse]
) -> None:
    """However the world has changed, only tags that both plans delete go, and nothing is lost count of."""
    planned = plan(repository, uses)
    fresh = plan(later, uses + later_uses)
    confirmed = confirm(planned.steps, fresh, later)

    done = {tag for step in confirmed.steps for tag in step.tags}
    assert done <= {each.tag for each in planned.deletions} & {each.tag for each in fresh.deletions}
    assert {step.digest for step in confirmed.steps if isinstance(step, DeleteManifest)} <= {
        each.digest for each in planned.manifests
    } & {each.digest for each in fresh.manifests}
    for step in confirmed.steps:
        if isinstance(step, DeleteManifest):
            assert {tag.name for tag in step.tags} == {tag.name for tag in later.tags if tag.digest == step.digest}
    reported = [outcome.tag for outcome in confirmed.outcomes if outcome.tag is not None]
    assert sorted([*reported, *(tag.name for tag in done)]) == sorted(each.tag.name for each in planned.deletions)
