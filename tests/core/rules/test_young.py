"""Rule `young`: tags pushed less than `older_than` ago are kept."""

from __future__ import annotations

import pytest

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence, Rule, keep_reasons
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ImageUse
from tests.helpers.generated_inventories import (
    NOTHING_EXCLUDED,
    NOW,
    UNTAGGED,
    d,
    image,
    index,
    inventory,
    plan,
    reasons,
    tag,
    untagged_rules,
    usage,
    verbs,
)


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = NOTHING_EXCLUDED, runs: bool = True
) -> Evidence:
    return Evidence(repository, usage(*uses, runs=runs), policy, NOW)


@pytest.mark.parametrize(
    ("days", "deleted_now"), [(29.999, False), (30, True), (30.001, True), (-1, False), (None, False)]
)
def test_tag_is_deleted_from_exactly_older_than_on(days: float | None, deleted_now: bool) -> None:
    """A push in the future or at an unknown time keeps the tag."""
    assert bool(plan(inventory([tag("1.0", "a", days=days)])).deletions) is deleted_now


def test_young_tag_keeps_its_manifest_but_not_older_tags() -> None:
    assert verbs(plan(inventory([tag("old", "a"), tag("new", "a", days=1)]))) == ["untag old"]


def test_reason_says_when_the_tag_was_pushed() -> None:
    repository = inventory(
        [
            tag("a", "a", days=1),
            tag("b", "b", days=1.5),
            tag("c", "c", days=20),
            tag("old", "d"),
            tag("?", "e", days=None),
        ]
    )

    assert reasons(repository) == {
        "?": [(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")],
        "a": [(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")],
        "b": [(Rule.YOUNG, "pushed 2026-11-21, less than 30d ago")],
        "c": [(Rule.YOUNG, "pushed 2026-11-03, less than 30d ago")],
    }


def test_tags_pushed_on_one_day_share_a_reason() -> None:
    """There may be a million tags."""
    kept = keep_reasons(evidence(inventory([tag("a", "a", days=1), tag("b", "b", days=0.9)])))

    assert kept["a"][0] is kept["b"][0]


def test_young_child_of_a_deleted_index_is_kept() -> None:
    repository = inventory([tag("1.0", "i")], [index("i", ["x", "y"]), image("x", days=1), image("y")])

    assert verbs(plan(repository)) == ["delete i[1.0]", "delete y[]"]


@pytest.mark.parametrize(("days", "deleted_now"), [(29.999, False), (30, True), (-1, False), (None, False)])
def test_untagged_manifest_is_deleted_by_its_age(days: float | None, deleted_now: bool) -> None:
    """Only with `delete_untagged`."""
    repository = inventory([], [image("a", days=days)])

    assert not plan(repository).steps
    assert not plan(repository).untagged
    planned = plan(repository, policy=UNTAGGED)
    assert verbs(planned) == (["delete a[]"] if deleted_now else [])
    assert untagged_rules(planned) == {d("a"): [] if deleted_now else ["unknown-age" if days is None else "young"]}
