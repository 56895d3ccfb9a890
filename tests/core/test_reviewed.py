"""A reviewed plan: nothing beyond it is deleted, and everything else has a reason."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import Decision, Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.reviewed import bound_to
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, inventory, tag, usage

POLICY = RetentionPolicy(delete_untagged=True)
WHY = "it is not in the reviewed plan, and no rule keeps it now"


def plan(repository: RepositoryInventory) -> RepositoryPlan:
    return plan_repository(repository, usage(), POLICY, NOW)


def as_reviewed(bound_plan: RepositoryPlan) -> RepositoryPlan:
    """The part of a plan that a plan file contains: the deletions."""
    return RepositoryPlan(bound_plan.repository, decisions=bound_plan.deletions, steps=bound_plan.steps)


def bound(reviewed: list[RepositoryPlan], *present: RepositoryPlan) -> list[RepositoryPlan]:
    fresh = Plan("contoso.azurecr.io", POLICY, NOW, usage(), present)
    whole = bound_to(reviewed, fresh)
    assert replace(whole, repositories=()) == replace(fresh, repositories=())
    return list(whole.repositories)


def test_only_reviewed_items_are_deleted() -> None:
    """
    An item that no rule keeps now is kept as unreviewed.

    Other kept items have their own reasons.
    """
    before = inventory([tag("b", "b")], [image("b"), image("stray")])
    present = inventory(
        [tag("c", "c"), tag("b", "b"), tag("a", "a"), tag("new", "n", days=1)],
        [*map(image, ("a", "b", "c", "n", "stray", "late")), image("fresh", days=1)],
    )
    reviewed, fresh = plan(before), plan(present)

    (bound_plan,) = bound([as_reviewed(reviewed)], fresh)

    assert bound_plan.steps == reviewed.steps
    kept_young = next(decision for decision in fresh.decisions if decision.tag.name == "new")
    unreviewed = (KeepReason(Rule.UNREVIEWED, WHY),)
    assert bound_plan.decisions == (
        Decision(tag("a", "a"), unreviewed),
        Decision(tag("b", "b")),
        Decision(tag("c", "c"), unreviewed),
        kept_young,
    )
    assert kept_young.reasons[0].rule is Rule.YOUNG
    reasons = {decision.manifest.digest: decision.reasons for decision in bound_plan.untagged}
    assert reasons[d("stray")] == ()
    assert reasons[d("late")] == (Reason(Rule.UNREVIEWED, WHY),)
    assert [reason.rule for reason in reasons[d("fresh")]] == [Rule.YOUNG]


def test_reviewed_tags_that_no_longer_exist_are_known() -> None:
    """A deleted tag and a moved one; of a repository that cannot be read, nothing is known."""
    reviewed = as_reviewed(plan(inventory([tag("gone", "a"), tag("moved", "b"), tag("there", "c")])))
    present = plan(inventory([tag("moved", "new"), tag("there", "c")]))

    (bound_plan,) = bound([reviewed], present)
    assert bound_plan.vanished == frozenset({"gone", "moved"})
    assert (bound_plan.tally.planned, bound_plan.tally.deletable) == (3, 1)
    (unread,) = bound([reviewed], RepositoryPlan(REPOSITORY, error="503."))
    assert unread.vanished == frozenset()


def test_unreviewed_repository_is_kept() -> None:
    (bound_plan,) = bound([], plan(inventory([tag("a", "a")], [image("a"), image("stray")])))

    assert not bound_plan.steps
    assert [decision.reasons[0].rule for decision in bound_plan.decisions] == [Rule.UNREVIEWED]
    assert {reason for decision in bound_plan.untagged for reason in decision.reasons} == {Reason(Rule.UNREVIEWED, WHY)}


def test_missing_repository_keeps_its_reviewed_steps() -> None:
    """`apply` reports for each of them that it no longer exists."""
    reviewed = replace(plan(inventory([tag("a", "a")])), repository="shop/old")
    present_plan = plan(inventory([]))

    bound_plan = bound([as_reviewed(reviewed)], present_plan)

    assert [plan.repository for plan in bound_plan] == ["shop/old", REPOSITORY]
    assert (bound_plan[0].steps, bound_plan[0].decisions) == (reviewed.steps, reviewed.decisions)
    assert bound_plan[1] == present_plan
