"""Limits: the most that one apply may delete, and the refusals of a plan beyond them."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.limits import Limits, TooLargeShare, TooManyDeletions
from acr_cleanup.core.plan import Obstacles, Plan, RepositoryPlan
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import Blocker
from tests.helpers.generated_inventories import (
    NOW,
    REPOSITORY,
    UNTAGGED,
    image,
    inventory,
    plan,
    tag,
    usage,
)


def whole_plan(*repositories: RepositoryPlan) -> Plan:
    return Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(), repositories)


def test_more_deletions_than_the_limit_are_refused() -> None:
    four = whole_plan(plan(inventory([tag(f"{number}", number) for number in range(1, 5)]))).tallies

    assert Limits(deletions=4).exceeded_by(four) == ()
    assert Limits(deletions=3).exceeded_by(four) == (TooManyDeletions(limit=3, tags=4, untagged=0),)
    assert Limits(deletions=0).exceeded_by(four) == (TooManyDeletions(limit=0, tags=4, untagged=0),)
    assert Limits(deletions=None).exceeded_by(four) == ()


def test_vanished_tags_of_a_reviewed_plan_count_for_no_limit() -> None:
    tags = [tag(f"{number}", number) for number in range(1, 5)]
    vanished = replace(plan(inventory([*tags, tag("new", "n", days=1)])), vanished=frozenset({"1", "2"}))
    tallies = whole_plan(vanished).tallies

    assert Limits(deletions=2).exceeded_by(tallies) == ()
    assert Limits(deletions=1).exceeded_by(tallies) == (TooManyDeletions(limit=1, tags=2, untagged=0),)
    assert Limits(None, percent=60).exceeded_by(tallies) == (TooLargeShare(60, REPOSITORY, planned=2, tags=3),)


def test_deletions_are_counted_over_all_repositories() -> None:
    one, two = plan(inventory([tag("1", 1)])), replace(plan(inventory([tag("2", 2)])), repository="shop/api")

    assert Limits(deletions=2).exceeded_by(whole_plan(one, two).tallies) == ()
    assert Limits(deletions=1).exceeded_by(whole_plan(one, two).tallies) == (TooManyDeletions(1, 2, 0),)


def test_untagged_manifests_count_as_deletions() -> None:
    planned = whole_plan(plan(inventory([tag("1", "a")], [image("a"), image("b"), image("c")]), policy=UNTAGGED))

    assert (planned.planned, planned.untagged, planned.manifests) == (1, 2, 3)
    assert Limits(deletions=3).exceeded_by(planned.tallies) == ()
    assert Limits(deletions=2).exceeded_by(planned.tallies) == (TooManyDeletions(limit=2, tags=1, untagged=2),)


def test_percentage_applies_to_each_repository() -> None:
    half = whole_plan(plan(inventory([tag("1", "a"), tag("2", "b"), tag("new", "c", days=1), tag("latest", "d")])))

    assert Limits(percent=50).exceeded_by(half.tallies) == ()
    assert Limits(percent=49).exceeded_by(half.tallies) == (TooLargeShare(49, REPOSITORY, planned=2, tags=4),)
    assert Limits(deletions=None, percent=50.0).exceeded_by(half.tallies) == ()


def test_every_exceeded_limit_is_a_refusal() -> None:
    half = whole_plan(plan(inventory([tag("1", "a"), tag("2", "b"), tag("latest", "c"), tag("new", "d", days=1)])))

    assert Limits(deletions=1, percent=12.5).exceeded_by(half.tallies) == (
        TooManyDeletions(limit=1, tags=2, untagged=0),
        TooLargeShare(limit=12.5, repository=REPOSITORY, planned=2, tags=4),
    )
    assert Limits(deletions=2, percent=None).exceeded_by(half.tallies) == ()


def test_default_limit_is_five_hundred_deletions() -> None:
    assert Limits() == Limits(deletions=500, percent=None)


def test_plan_without_blockers_within_limits_has_no_obstacles() -> None:
    within = whole_plan(plan(inventory([tag("1", "a")])))

    assert not within.obstacles(Limits(deletions=1))
    assert within.obstacles(Limits(deletions=1)) == Obstacles()


def test_blockers_and_refusals_are_obstacles() -> None:
    """Both are listed, so that a report can show every reason at once."""
    blocker = Blocker("production", "list pods", "403 Forbidden.", "Grant list on pods.", "pods")
    blocked = replace(whole_plan(plan(inventory([tag("1", "a")]))), blockers=(blocker,))

    assert blocked.obstacles(Limits(deletions=1)) == Obstacles(blockers=(blocker,))
    assert blocked.obstacles(Limits(deletions=0)) == Obstacles((blocker,), (TooManyDeletions(0, 1, 0),))
    assert bool(blocked.obstacles(Limits(deletions=1)))
    assert bool(replace(blocked, blockers=()).obstacles(Limits(deletions=0)))


def test_plan_has_changes_if_it_deletes_a_tag_or_a_manifest() -> None:
    stray = inventory([], [image("a")])

    assert whole_plan(plan(inventory([tag("1", "a")]))).has_changes
    assert whole_plan(plan(stray, policy=UNTAGGED)).has_changes
    assert not whole_plan(plan(stray)).has_changes
