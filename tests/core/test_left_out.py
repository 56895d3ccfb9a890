"""The repositories that a plan left out."""

from __future__ import annotations

from typing import Any

import pytest

from acr_cleanup.core.left_out import WhyLeftOut, planned_part
from acr_cleanup.core.policy import eligible_repositories
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.shard import Shard
from tests.helpers.generated_inventories import REPOSITORY, usage

CATALOG = [REPOSITORY, "shop/old", "tools/a", "tools/b", "tools/c", "tools/d", "csscpolicies/patch"]


@pytest.mark.parametrize(
    ("policy", "left_out"),
    [
        ({}, {"out-of-scope": 5, "of-azure": 1}),
        ({"scope": Scope.ALL}, {"of-azure": 1}),
        ({"scope": Scope.ALL, "repositories": ("tools/*",)}, {"unselected": 3}),
        ({"repositories": ("*", "!tools/*")}, {"unselected": 4, "of-azure": 1, "out-of-scope": 1}),
    ],
)
def test_each_repository_is_left_out_for_its_first_reason(policy: dict[str, Any], left_out: dict[str, int]) -> None:
    retention = RetentionPolicy(**policy)
    planned = eligible_repositories(usage(), retention, CATALOG)
    part = planned_part(CATALOG, planned, usage(), retention)

    assert {str(reason): group.number for reason, group in part.left_out.items()} == left_out
    assert part.repositories == len(planned) + sum(left_out.values()) == 7


def test_other_shards_are_left_out() -> None:
    policy = RetentionPolicy(scope=Scope.ALL, shard=Shard(1, 2), repositories=("tools/*", "shop/*"))
    planned = eligible_repositories(usage(), policy, CATALOG)
    part = planned_part(CATALOG, planned, usage(), policy)

    assert part.left_out[WhyLeftOut.OTHER_SHARD].number == 6 - len(planned)


def test_three_repositories_are_examples() -> None:
    part = planned_part(CATALOG, [REPOSITORY], usage(), RetentionPolicy())

    assert part.left_out[WhyLeftOut.OUT_OF_SCOPE].examples == ("shop/old", "tools/a", "tools/b")


def test_planned_repository_that_the_catalog_lacks_is_counted() -> None:
    """A reviewed plan may name one, and a catalog may be cut short."""
    assert planned_part([], ["gone"], usage(), RetentionPolicy()).repositories == 1
