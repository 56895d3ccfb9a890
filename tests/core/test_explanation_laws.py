"""Explanations agree with the plan, in every drawn repository."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.explanation import (
    decide,
    deleted_manifests,
    excluding_uses,
    explain_manifest,
    explain_tag,
)
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ClusterScan, ImageUse, UsageIndex
from tests.helpers.drawn_inventories import DIGESTS, NAMES, OPEN_USE, carried_out, inventories, named_uses
from tests.helpers.generated_inventories import NOW, d, usage


def evidence(repository: RepositoryInventory, *uses: ImageUse, runs: bool = True) -> Evidence:
    used = usage(*uses, runs=runs)
    return Evidence(repository.used_by(used.digests(repository.name)), used, RetentionPolicy(), NOW)


def uses_and_open() -> st.SearchStrategy[list[ImageUse]]:
    return st.builds(lambda uses, more: [*uses, *more], named_uses(), st.sampled_from([[], [], [OPEN_USE]]))


def unprotected(repository: RepositoryInventory) -> RepositoryInventory:
    """The same repository with nothing young, locked or unreadable."""
    old = NOW - timedelta(days=100)
    manifests = {
        digest: structs.replace(manifest, known=True, locked=False, updated_at=old)
        for digest, manifest in repository.manifests.items()
    }
    tags = tuple(
        structs.replace(tag, lock_state=tag.lock_state._replace(locked=False), updated_at=old)
        for tag in repository.tags
        if tag.digest in repository.manifests
    )
    return RepositoryInventory(repository.name, tags, manifests)


def repositories() -> st.SearchStrategy[RepositoryInventory]:
    return st.one_of(inventories(), inventories().map(unprotected))


@given(repositories(), uses_and_open(), st.booleans())
@settings(max_examples=100)
def test_tag_without_its_uses_is_decided_as_by_a_plan_without_them(
    repository: RepositoryInventory, uses: list[ImageUse], runs: bool
) -> None:
    """The plan is made from a usage index that never contained these uses."""
    all_evidence = evidence(repository, *uses, runs=runs)
    for tag in repository.tags:
        explanation = explain_tag(all_evidence, tag.name)
        planned = {decision.tag.name: decision for decision in decide(all_evidence).decisions}[tag.name]
        assert explanation.decision is not None
        assert explanation.decision.deletes == planned.deletes
        assert [reason.rule for reason in explanation.decision.reasons] == [reason.rule for reason in planned.reasons]
        used = {use for reason in planned.reasons for use in reason.uses}
        excluded = {linked.use for linked in explanation.uses}
        assert used <= excluded
        if explanation.without_uses is None:
            assert explanation.decision.deletes or not explanation.uses
            continue

        rest = tuple(use for use in all_evidence.usage.scans[0].uses if use not in excluded)
        other = UsageIndex.of([ClusterScan("production", rest)], NOW)
        plan = plan_repository(repository.used_by(other.digests(repository.name)), other, all_evidence.policy, NOW)
        deletes = {decision.tag.name: decision.deletes for decision in plan.decisions}
        assert explanation.without_uses.decision.deletes == deletes[tag.name]


@given(repositories(), uses_and_open(), st.booleans())
@settings(max_examples=100)
def test_manifest_is_deleted_if_it_is_gone_after_the_plan(
    repository: RepositoryInventory, uses: list[ImageUse], runs: bool
) -> None:
    """A manifest that remains has a reason."""
    all_evidence = evidence(repository, *uses, runs=runs)
    plan = decide(all_evidence)
    left = carried_out(repository, plan)
    assert deleted_manifests(repository, plan) == repository.manifests.keys() - left.manifests.keys()
    for digest in repository.manifests:
        explanation = explain_manifest(all_evidence, digest)
        assert explanation.decision is not None
        assert explanation.decision.deletes == (digest not in left.manifests)


@given(repositories(), uses_and_open())
@settings(max_examples=100)
def test_explanation_lists_every_use_that_keeps_the_manifest(
    repository: RepositoryInventory, uses: list[ImageUse]
) -> None:
    """A manifest that is deleted without all uses is deleted without the listed ones."""
    all_evidence = evidence(repository, *uses)
    all_uses = [use for use in all_evidence.usage.scans[0].uses if use.workload.name != "unrelated"]
    unused = excluding_uses(all_evidence, all_uses)
    deleted = deleted_manifests(unused.inventory, decide(unused))
    for digest in repository.manifests:
        explanation = explain_manifest(all_evidence, digest)
        if explanation.without_uses is not None and digest in deleted:
            assert explanation.without_uses.decision.deletes
        if explanation.decision is not None and not explanation.decision.deletes and not explanation.uses:
            assert digest not in deleted


@given(repositories(), uses_and_open())
@settings(max_examples=100)
def test_each_use_of_a_tag_keeps_it_alone(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    all_evidence = evidence(repository, *uses)
    for tag in repository.tags:
        explanation = explain_tag(all_evidence, tag.name)
        decision = explanation.decision
        if explanation.without_uses is not None and decision and decision.reasons[0].rule is Rule.IN_USE:
            assert explanation.without_uses.each_alone


@given(repositories(), uses_and_open(), st.sampled_from([*NAMES, "9.9"]), st.sampled_from([*DIGESTS, d(99)]))
@settings(max_examples=100)
def test_any_tag_and_digest_can_be_explained(
    repository: RepositoryInventory, uses: list[ImageUse], name: str, digest: str
) -> None:
    all_evidence = evidence(repository, *uses)
    assert explain_tag(all_evidence, name).exists == (name in repository.names)
    tagged = {tag.digest for tag in repository.tags}
    assert explain_manifest(all_evidence, digest).exists == (digest in repository.manifests or digest in tagged)  # type: ignore[arg-type]
