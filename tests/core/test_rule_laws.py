"""Laws of the rules of the user, in every drawn repository."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import (
    NOW,
    deleted_names,
    untagged_rules,
    usage,
)

WEEK, MONTH, QUARTER = timedelta(days=7), timedelta(days=30), timedelta(days=90)
AGES = st.sampled_from([timedelta(), WEEK, MONTH, QUARTER, timedelta(days=400)])
TAGS = st.sampled_from([("*",), ("v*",), ("1*",), ("!v*",), ("latest",), ("sha256-*",), ("a*", "b*"), ("nothing",)])


@st.composite
def rules(draw: st.DrawFn, keep: bool | None = None) -> PolicyRule:
    by = draw(st.sampled_from(["", "^(.)"]))
    return PolicyRule(
        f"rule-{draw(st.integers(0, 10**9))}",
        draw(st.sampled_from([("*",), ("shop/*",), ("other",)])),
        draw(TAGS),
        draw(AGES),
        draw(st.integers(0, 3)),
        by,
        draw(st.booleans()) if keep is None else keep,
    )


def decided(repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy) -> RepositoryPlan:
    return plan_repository(repository, usage(*uses), policy, NOW)


def kept_for(planned: RepositoryPlan) -> dict[str, list[str]]:
    return {decision.tag.name: [str(reason.rule) for reason in decision.reasons] for decision in planned.decisions}


def deletions(planned: RepositoryPlan) -> tuple[set[str], set[str]]:
    return deleted_names(planned), {manifest.digest for manifest in planned.manifests}


DRAWN: dict[str, Any] = {"max_examples": 120, "deadline": None}


@given(repositories(), drawn_uses(), policies(), rules(keep=False), st.lists(rules(), max_size=3))
@settings(**DRAWN)
def test_one_rule_for_all_tags_equals_the_single_policy(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    rule: PolicyRule,
    others: list[PolicyRule],
) -> None:
    """Rules after it, and the values of the top level, have no effect."""
    rule = replace(rule, repositories=("*",), tags=("*",))
    single = replace(
        policy, older_than=rule.older_than, keep_last=rule.keep_last, keep_last_by=rule.keep_last_by, rules=()
    )
    by_rule = decided(repository, uses, replace(policy, rules=(rule, *others)))
    alone = decided(repository, uses, single)

    assert kept_for(by_rule) == kept_for(alone)
    assert by_rule.steps == alone.steps
    assert untagged_rules(by_rule) == untagged_rules(alone)


@given(repositories(), drawn_uses(), policies(), st.lists(rules(), max_size=3))
@settings(**DRAWN)
def test_rules_that_match_nothing_change_nothing(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, others: list[PolicyRule]
) -> None:
    none = tuple(replace(rule, repositories=("other",)) for rule in others)

    assert decided(repository, uses, replace(policy, rules=none)) == decided(repository, uses, policy)


@given(repositories(), drawn_uses(), policies(), st.lists(rules(), max_size=3), rules(keep=True), st.integers(0, 3))
@settings(**DRAWN)
def test_rule_that_keeps_never_deletes_more(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    others: list[PolicyRule],
    keeping: PolicyRule,
    place: int,
) -> None:
    """
    Wherever it stands.

    Tags that it governs leave the groups of `keep_last`, so that older tags are counted: it keeps
    more, and may not free another tag.
    """
    before = decided(repository, uses, replace(policy, rules=tuple(others)))
    after = decided(repository, uses, replace(policy, rules=(*others[:place], keeping, *others[place:])))

    for more, fewer in zip(deletions(before), deletions(after), strict=True):
        assert fewer <= more


@given(repositories(), drawn_uses(), policies(), rules(), rules())
@settings(**DRAWN)
def test_order_of_rules_without_a_common_tag_does_not_matter(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    first: PolicyRule,
    second: PolicyRule,
) -> None:
    first, second = replace(first, tags=("v*",)), replace(second, name="second", tags=("1*",))
    one = decided(repository, uses, replace(policy, rules=(first, second)))
    other = decided(repository, uses, replace(policy, rules=(second, first)))

    assert one == other


@given(repositories(), drawn_uses(), policies(), st.lists(rules(), min_size=1, max_size=4))
@settings(**DRAWN)
def test_deleted_tags_are_as_old_as_their_rule_says(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, drawn: list[PolicyRule]
) -> None:
    policy = replace(policy, rules=tuple(drawn))
    evidence = Evidence(repository, usage(*uses), policy, NOW)
    for decision in decided(repository, uses, policy).deletions:
        rule = evidence.rules.of(decision.tag)
        assert decision.governed_by == rule.name
        assert not rule.keep
        assert decision.tag.updated_at is not None
        assert NOW - decision.tag.updated_at >= rule.older_than


@given(repositories(), drawn_uses(), policies(), st.lists(rules(), max_size=2), st.sets(st.integers(0, 9)))
@settings(**DRAWN)
def test_a_plan_about_some_tags_only_leaves_out_decisions_that_keep_others(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    drawn: list[PolicyRule],
    places: set[int],
) -> None:
    policy = replace(policy, rules=tuple(drawn))
    asked = {tag.name for place, tag in enumerate(repository.tags) if place in places}
    whole = decided(repository, uses, policy)
    plan = plan_repository(repository, usage(*uses), policy, NOW, asked=asked)

    shown = tuple(decision for decision in whole.decisions if decision.deletes or decision.tag.name in asked)
    assert plan == replace(whole, decisions=shown)
