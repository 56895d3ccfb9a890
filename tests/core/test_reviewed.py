"""A reviewed plan, seen from now: nothing beyond it, and a reason for everything else."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import Decision, Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import KeepReason, RetentionPolicy, Rule
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.reviewed import bound_to
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, inventory, tag, usage

POLICY = RetentionPolicy(delete_untagged=True)
WHY = "it is not in the reviewed plan, and no rule keeps it now"


def plan(repository: RepositoryInventory) -> RepositoryPlan:
    return plan_repository(repository, usage(), POLICY, NOW)


def told(found: RepositoryPlan) -> RepositoryPlan:
    """What a reviewed plan tells of a repository: what goes."""
    return RepositoryPlan(found.repository, decisions=found.deletions, steps=found.steps)


def bound(then: list[RepositoryPlan], *now: RepositoryPlan) -> list[RepositoryPlan]:
    fresh = Plan("contoso.azurecr.io", POLICY, NOW, usage(), now)
    whole = bound_to(then, fresh)
    assert replace(whole, repositories=()) == replace(fresh, repositories=())
    return list(whole.repositories)


def test_only_what_was_reviewed_goes_and_everything_else_says_why_it_stays() -> None:
    """What may go by now is kept as unreviewed; what stays anyway stays for its own reasons."""
    before = inventory([tag("b", "b")], [image("b"), image("stray")])
    now = inventory(
        [tag("c", "c"), tag("b", "b"), tag("a", "a"), tag("new", "n", days=1)],
        [*map(image, ("a", "b", "c", "n", "stray", "late")), image("fresh", days=1)],
    )
    then, fresh = plan(before), plan(now)

    (found,) = bound([told(then)], fresh)

    assert found.steps == then.steps
    kept_young = next(each for each in fresh.decisions if each.tag.name == "new")
    unreviewed = (KeepReason(Rule.UNREVIEWED, WHY),)
    assert found.decisions == (
        Decision(tag("a", "a"), unreviewed),
        Decision(tag("b", "b")),
        Decision(tag("c", "c"), unreviewed),
        kept_young,
    )
    assert kept_young.reasons[0].rule is Rule.YOUNG
    reasons = {each.manifest.digest: each.reasons for each in found.untagged}
    assert reasons[d("stray")] == ()
    assert reasons[d("late")] == (Reason(Rule.UNREVIEWED, WHY),)
    assert [reason.rule for reason in reasons[d("fresh")]] == [Rule.YOUNG]


def test_a_repository_that_nobody_reviewed_keeps_everything() -> None:
    (found,) = bound([], plan(inventory([tag("a", "a")], [image("a"), image("stray")])))

    assert not found.steps
    assert [each.reasons[0].rule for each in found.decisions] == [Rule.UNREVIEWED]
    assert {reason for each in found.untagged for reason in each.reasons} == {Reason(Rule.UNREVIEWED, WHY)}


def test_a_repository_that_is_no_more_looked_at_keeps_its_steps_for_their_outcomes() -> None:
    """`apply` says of each that it is gone."""
    then = replace(plan(inventory([tag("a", "a")])), repository="shop/old")
    here = plan(inventory([]))

    found = bound([told(then)], here)

    assert [each.repository for each in found] == ["shop/old", REPOSITORY]
    assert (found[0].steps, found[0].decisions) == (then.steps, then.decisions)
    assert found[1] == here
