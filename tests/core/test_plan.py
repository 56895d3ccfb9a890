"""The totals of a plan, of one repository and of all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from acr_cleanup.core.highlights import PlannedTag
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.plan_warnings import Unlisted
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.space import Content, measure
from acr_cleanup.core.tally import Tally
from acr_cleanup.core.verification import Missing
from tests.helpers.generated_inventories import (
    NOW,
    REPOSITORY,
    UNTAGGED,
    d,
    image,
    inventory,
    plan,
    tag,
    usage,
    use,
)

LONG_AGO = NOW - timedelta(days=100)


def whole_plan(*repositories: RepositoryPlan) -> Plan:
    return Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(), repositories)


def test_size_is_the_sum_of_the_deleted_manifests() -> None:
    assert plan(inventory([tag("1", "a"), tag("2", "a"), tag("3", "b"), tag("latest", "b")])).size == 1000


def test_tally_counts_kept_tags_by_strongest_reason() -> None:
    """
    A tag in use counts as in use, even if another rule keeps it too.

    Tags kept only by a lock are counted apart.
    """
    repository = inventory(
        [
            tag("old", "a"),
            tag("also-old", "a"),
            tag("used", "b", locked=True),
            tag("locked", "c", locked=True),
            tag("locked-too", "c", locked=True),
            tag("young-and-locked", "c", days=1, locked=True),
            tag("young", "d", days=1),
            tag("latest", "e", days=1),
        ],
        [*map(image, ("a", "b", "c", "d", "e", "stray")), image("fresh", days=1)],
    )

    planned = plan(repository, usage(use("used")), UNTAGGED).tally

    assert planned == Tally(
        repository=REPOSITORY,
        tags=8,
        planned=2,
        kept_by={Rule.IN_USE: 1, Rule.LOCKED: 3, Rule.YOUNG: 2},
        locked_alone=2,
        untagged=1,
        untagged_decided=2,
        steps=2,
        manifests=2,
        size=2000,
        exact=False,
        listed_size=7000,
        used_size=1000,
        highlights=tuple(PlannedTag(name, LONG_AGO, 1000, "", is_new=False) for name in ("old", "also-old")),
    )
    assert (planned.kept, planned.in_use) == (6, 1)
    unread = RepositoryPlan(REPOSITORY, warnings=(Unlisted(REPOSITORY, 1),), error="503.").tally
    assert unread == Tally(REPOSITORY, warnings=(Unlisted(REPOSITORY, 1),), error="503.")


def test_tally_counts_used_tags_out_of_scope_as_in_use() -> None:
    planned = plan(inventory([tag("1.0", "a"), tag("2.0", "b")]), usage(use("1.0", running=False), runs=False))

    assert planned.tally.kept_by == {Rule.IN_USE: 1, Rule.OUT_OF_SCOPE: 1}
    assert [decision.in_use for decision in planned.decisions] == [True, False]


def test_size_is_exact_only_if_every_deletion_was_measured() -> None:
    contents = {d("a"): Content(5, {"x": 900}), d("b"): Content(3, {"x": 900})}
    measured = measure(contents, {d("a")}, read=2)
    planned = plan(inventory([tag("1", "a"), tag("latest", "b")]))

    exact = replace(planned, space=measured)
    assert (exact.size, exact.exact, exact.tally.read_for_sizes) == (5, True, 2)
    for doubtful in (measure({**contents, d("b"): None}, {d("a")}), measure(contents, {d("b")})):
        listed = replace(planned, space=doubtful)
        assert (listed.size, listed.exact, listed.tally.read_for_sizes) == (1000, False, 0)
    assert (planned.exact, planned.tally.read_for_sizes) == (False, None)
    nothing = replace(plan(inventory([tag("latest", "b")])), space=doubtful)
    assert (nothing.size, nothing.exact) == (0, True)


def test_plan_totals_sum_its_repositories() -> None:
    one = plan(inventory([tag("1", "a"), tag("2", "b"), tag("used", "c")]), usage(use("used")))
    two = replace(
        plan(inventory([tag("3", "d"), tag("new", "n", days=1)], [*map(image, ("d", "n", "stray"))]), policy=UNTAGGED),
        repository="shop/api",
        missing=(Missing("shop/api", "9", (use("9"),)),),
    )
    planned = whole_plan(one, two)

    assert (planned.planned, planned.kept, planned.in_use, planned.untagged) == (3, 2, 1, 1)
    assert (planned.manifests, planned.size) == (4, 4000)
    assert planned.missing == two.missing
    assert [tally.repository for tally in planned.tallies] == [REPOSITORY, "shop/api"]
    assert planned.repository("shop/api") is two
    with pytest.raises(KeyError):
        planned.repository("other")


def test_plan_is_exact_only_if_every_deletion_was_measured() -> None:
    one, nothing = plan(inventory([tag("1", "a")])), plan(inventory([tag("latest", "a")]))
    space = measure({d("a"): Content(5)}, {d("a")}, read=3)

    assert not whole_plan().exact
    assert not whole_plan(nothing).exact
    assert (whole_plan(one).exact, whole_plan(one).measured, whole_plan(one).read_for_sizes) == (False, False, 0)
    exact = replace(one, space=space)
    assert (
        whole_plan(exact, nothing).exact,
        whole_plan(exact, nothing).measured,
        whole_plan(exact, exact).read_for_sizes,
    ) == (
        True,
        True,
        6,
    )
    assert not whole_plan(exact, one).exact
    assert whole_plan(exact, one).read_for_sizes == 3
