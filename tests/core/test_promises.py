"""Properties of the decision in every drawn repository, with any uses and policy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.inventory import Lock, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import nothing_to_delete, plan_repository
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.second_look import confirm
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import OPEN_USE, carried_out, policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import NOW, usage


def plan(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy | None = None
) -> RepositoryPlan:
    return plan_repository(repository, usage(*uses), policy or RetentionPolicy(), NOW)


def reached(start: Iterable[Digest], edges: Callable[[Digest], Iterable[Digest]]) -> set[Digest]:
    """Told here once more, so that the code and its test do not share a mistake."""
    planned: set[Digest] = set()
    pending = list(start)
    while pending:
        digest = pending.pop()
        if digest not in planned:
            planned.add(digest)
            pending.extend(edges(digest))
    return planned


def below(repository: RepositoryInventory, digest: Digest) -> set[Digest]:
    manifests = repository.manifests
    return reached([digest], lambda parent: manifests[parent].children if parent in manifests else ())


def above(repository: RepositoryInventory, digest: Digest) -> set[Digest]:
    manifests = repository.manifests.values()
    return reached([digest], lambda child: [parent.digest for parent in manifests if child in parent.children])


def deletions(planned: RepositoryPlan) -> tuple[set[str], set[Digest]]:
    return {decision.tag.name for decision in planned.deletions}, {decision.digest for decision in planned.manifests}


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=100, deadline=None)
def test_nothing_used_is_ever_deleted(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    """
    A use keeps the tag and its manifest, the digest and its index family.

    An open reference keeps the repository.
    """
    planned = plan(repository, uses, policy)
    left = carried_out(repository, planned)

    if OPEN_USE in uses:
        assert not planned.steps
    for use in uses:
        reference = use.reference
        needed = {reference.digest} if reference.digest else set()
        if reference.tag in {tag.name for tag in repository.tags}:
            assert reference.tag in {tag.name for tag in left.tags}
            needed |= {tag.digest for tag in repository.tags if tag.name == reference.tag}
        for digest in needed & repository.manifests.keys():
            assert below(repository, digest) & repository.manifests.keys() <= left.manifests.keys()
        if reference.digest is not None and reference.digest in repository.manifests:
            assert above(repository, reference.digest) <= left.manifests.keys()


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=150, deadline=None)
def test_graphs_stay_whole(repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy) -> None:
    """
    Every kept manifest keeps its children, subject, referrers and signatures.

    Every kept tag keeps its manifest.
    """
    planned = plan(repository, uses, policy)
    left = carried_out(repository, planned)
    names = {tag.name for tag in left.tags}

    for manifest in left.manifests.values():
        for needed in (*manifest.children, *([manifest.subject] if manifest.subject else [])):
            assert needed in left.manifests or needed not in repository.manifests
    for manifest in repository.manifests.values():
        if manifest.subject in left.manifests:
            assert manifest.digest in left.manifests
    for tag in repository.tags:
        if tag.subject in left.manifests:
            assert tag.name in names
        if tag.name in names and tag.subject in repository.manifests:
            assert tag.subject in left.manifests
    assert names == {decision.tag.name for decision in planned.kept}
    for decision in planned.kept:
        digest = decision.tag.digest
        assert digest in left.manifests or digest not in repository.manifests


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=100, deadline=None)
def test_deleted_items_are_old_unlocked_known_and_included(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    planned = plan(repository, uses, policy)

    for decision in planned.deletions:
        assert decision.tag.updated_at is not None
        assert NOW - decision.tag.updated_at >= timedelta(days=30)
        assert decision.tag.name != "latest"
    for untagged in planned.untagged_deletions:
        assert policy.delete_untagged
        assert untagged.manifest.digest not in repository.tags_of
        # A referrer is deleted with its subject at any age: the registry would delete it too.
        if untagged.manifest.subject not in deletions(planned)[1]:
            assert untagged.manifest.updated_at is not None
            assert NOW - untagged.manifest.updated_at >= timedelta(days=30)
    for step in planned.steps:
        assert not repository.locked
        items: list[Tag | Manifest] = [*step.tags, *([step.manifest] if isinstance(step, DeleteManifest) else [])]
        locked = [item for item in items if item.locked]
        assert policy.include_locked or not locked
        assert sorted(map(str, step.locks)) == sorted(
            str(
                Lock(item.name, item.lock_state.delete_enabled, item.lock_state.write_enabled)
                if isinstance(item, Tag)
                else Lock(None, item.delete_enabled, item.write_enabled)
            )
            for item in locked
        )
        assert all(item.lock is not None for item in locked)
        if isinstance(step, DeleteManifest):
            assert not repository.unknown


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=100, deadline=None)
def test_untagged_manifest_follows_a_tagged_one_or_is_decided(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    planned = plan(repository, uses, policy)
    _, gone = deletions(planned)
    manifests = repository.manifests
    along = reached(
        gone & repository.tags_of.keys(),
        lambda digest: (
            gone
            & {
                *manifests[digest].children,
                *(manifest.digest for manifest in manifests.values() if manifest.subject == digest),
            }
        ),
    )

    assert {decision.manifest.digest for decision in planned.untagged_deletions} == gone - along
    decided = {decision.manifest.digest for decision in planned.untagged}
    assert decided == (manifests.keys() - repository.tags_of.keys() - along if policy.delete_untagged else set())
    if not policy.delete_untagged:
        assert gone == along


@given(repositories(), drawn_uses(), drawn_uses(), policies())
@settings(max_examples=150, deadline=None)
def test_more_usage_never_deletes_more(
    repository: RepositoryInventory, uses: list[ImageUse], more: list[ImageUse], policy: RetentionPolicy
) -> None:
    before, now = deletions(plan(repository, uses, policy)), deletions(plan(repository, uses + more, policy))

    assert now[0] <= before[0]
    assert now[1] <= before[1]


STRICTER: dict[str, Any] = {
    "older_than": timedelta(days=400),
    "repositories": ("other/*",),
    "include_tags": ("1.*",),
    "exclude_tags": ("latest", "pr-*"),
    "keep_last": 1,
}


@given(repositories(), drawn_uses(), policies(), st.sets(st.sampled_from(sorted(STRICTER)), min_size=1))
@settings(max_examples=100, deadline=None)
def test_rules_only_add_reasons_to_keep(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, options: set[str]
) -> None:
    """Each option that selects, alone and together with others."""
    before = deletions(plan(repository, uses, policy))
    now = deletions(plan(repository, uses, replace(policy, **{name: STRICTER[name] for name in options})))

    assert now[0] <= before[0]
    assert now[1] <= before[1]


@pytest.mark.parametrize("option", ["delete_untagged", "include_locked"])
@given(repository=repositories(), uses=drawn_uses(), policy=policies())
@settings(max_examples=150, deadline=None)
def test_only_these_options_delete_more(
    option: str, repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    no: dict[str, Any] = {option: False}
    yes: dict[str, Any] = {option: True}
    off = deletions(plan(repository, uses, replace(policy, **no)))
    on = deletions(plan(repository, uses, replace(policy, **yes)))

    assert off[0] <= on[0]
    assert off[1] <= on[1]


@given(repositories(), drawn_uses(), policies(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_of_the_input_does_not_matter(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, shuffler: random.Random
) -> None:
    tags, manifests, mixed = list(repository.tags), list(repository.manifests.items()), list(uses)
    for manifest in (tags, manifests, mixed):
        shuffler.shuffle(manifest)
    other = replace(repository, tags=tuple(tags), manifests=dict(manifests))
    policy = replace(policy, keep_last=1)

    one, two = plan(repository, uses, policy), plan(other, mixed, policy)

    assert one.steps == two.steps
    assert [(decision.tag, decision.deletes) for decision in one.decisions] == [
        (decision.tag, decision.deletes) for decision in two.decisions
    ]
    assert [(decision.manifest, decision.deletes) for decision in one.untagged] == [
        (decision.manifest, decision.deletes) for decision in two.untagged
    ]


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=100, deadline=None)
def test_stopped_run_leaves_no_index_without_children(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    """After any step. Also, no subject is deleted before a referrer that has its own step."""
    planned = plan(repository, uses, policy)
    done: set[Digest] = set()
    coming = {step.digest for step in planned.steps if isinstance(step, DeleteManifest)}

    for count, step in enumerate(planned.steps, 1):
        assert not set(step.after) & coming
        if isinstance(step, DeleteManifest):
            coming.remove(step.digest)
            assert not set(repository.referrers_of.get(step.digest, ())) & coming
            done.add(step.digest)
        left = carried_out(repository, planned, planned.steps[:count])
        assert left.manifests.keys() == repository.manifests.keys() - done
        for manifest in left.manifests.values():
            assert all(child in left.manifests or child not in repository.manifests for child in manifest.children)


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=100, deadline=None)
def test_second_plan_has_no_steps(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    left = carried_out(repository, plan(repository, uses, policy))

    assert not plan(left, uses, policy).steps


@given(repositories(), drawn_uses(), policies())
@settings(max_examples=150, deadline=None)
def test_unneeded_bodies_change_no_decision(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy
) -> None:
    """An unread manifest that changes no decision gives no reason and no warning."""
    bare = {
        digest: structs.replace(manifest, known=False, children=(), subject=None)
        for digest, manifest in repository.manifests.items()
    }
    unread = replace(repository, manifests=bare)
    if nothing_to_delete(unread, usage(*uses), policy, NOW):
        assert not plan(repository, uses, policy).steps
        assert not plan(unread, uses, policy).steps
        assert not plan(unread, uses, policy).warnings


@given(repositories(), drawn_uses(), repositories(), drawn_uses(), policies())
@settings(max_examples=100, deadline=None)
def test_second_look_deletes_only_what_both_plans_delete(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    later: RepositoryInventory,
    later_uses: list[ImageUse],
    policy: RetentionPolicy,
) -> None:
    """Locks are the current ones. Every planned item has a step or an outcome."""
    planned = plan(repository, uses, policy)
    fresh = plan(later, uses + later_uses, policy)
    confirmed = confirm(planned.steps, fresh, later)

    done = {tag.name for step in confirmed.steps for tag in step.tags}
    assert done <= deletions(planned)[0] & deletions(fresh)[0]
    gone = {step.digest for step in confirmed.steps if isinstance(step, DeleteManifest)}
    assert gone <= deletions(planned)[1] & deletions(fresh)[1]
    for step in confirmed.steps:
        assert set(step.tags) <= set(later.tags)
        items: list[Tag | Manifest] = list(step.tags)
        if isinstance(step, DeleteManifest):
            assert {tag.name for tag in step.tags} == {tag.name for tag in later.tags if tag.digest == step.digest}
            items.append(later.manifests[step.digest])
        assert set(step.locks) == {item.lock for item in items if item.lock}
    reported = [outcome.tag for outcome in confirmed.outcomes if outcome.tag is not None]
    assert sorted([*reported, *done]) == sorted(decision.tag.name for decision in planned.deletions)
    reported_digests = {outcome.digest for outcome in confirmed.outcomes if outcome.tag is None}
    assert reported_digests | gone == deletions(planned)[1]
    assert not reported_digests & gone
