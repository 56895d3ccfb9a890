"""Rule `locked`: locked tags, manifests and repositories are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import LockState
from acr_cleanup.core.policy import Rule, kept_by_lock
from acr_cleanup.core.retention import RetentionPolicy
from tests.helpers.generated_inventories import (
    UNTAGGED,
    d,
    image,
    index,
    inventory,
    plan,
    reasons,
    referrer,
    rules_of,
    tag,
    untagged_rules,
    verbs,
)

UNLOCKING = RetentionPolicy(include_locked=True)


def test_locked_tag_and_locked_manifest_are_kept() -> None:
    repository = inventory([tag("1.0", "a", locked=True), tag("2.0", "b")], [image("a"), image("b", locked=True)])

    planned = plan(repository)

    assert not planned.steps
    assert rules_of(planned, "1.0") == rules_of(planned, "2.0") == [Rule.LOCKED]


def test_reason_names_the_widest_lock() -> None:
    world = inventory(
        [tag("tag", "a", locked=True), tag("manifest", "b"), tag("both", "b", locked=True), tag("free", "a")],
        [image("a"), image("b", locked=True)],
    )
    of_tag, of_manifest = (Rule.LOCKED, "the tag is locked in the registry"), "its manifest is locked in the registry"

    assert reasons(world) == {"tag": [of_tag], "both": [of_tag], "manifest": [(Rule.LOCKED, of_manifest)]}
    whole = [(Rule.LOCKED, "the repository is locked in the registry")]
    assert reasons(replace(world, locked=True)) == dict.fromkeys(("both", "free", "manifest", "tag"), whole)


def test_include_locked_respects_locks_that_cannot_be_restored() -> None:
    strange = structs.replace(tag("1.0", "a"), lock_state=LockState(locked=True))
    unlocking = RetentionPolicy(include_locked=True)

    assert [kept_by_lock(digest, unlocking) for digest in (strange, tag("1.0", "a", locked=True), tag("1.0", "a"))] == [
        True,
        False,
        False,
    ]
    assert kept_by_lock(strange, RetentionPolicy())
    assert kept_by_lock(tag("1.0", "a", locked=True), RetentionPolicy())
    assert not kept_by_lock(tag("1.0", "a"), RetentionPolicy())


def test_lock_that_cannot_be_restored_is_never_removed() -> None:
    strange = structs.replace(tag("1.0", "a"), lock_state=LockState(locked=True))

    assert rules_of(plan(inventory([strange]), policy=UNLOCKING), "1.0") == [Rule.LOCKED]


@pytest.mark.parametrize("include_locked", [True, False])
def test_locked_repository_is_kept(include_locked: bool) -> None:
    """It is kept even with `include_locked`."""
    repository = replace(inventory([tag("1.0", "a")], [image("a"), image("stray")]), locked=True)

    planned = plan(repository, policy=replace(UNTAGGED, include_locked=include_locked))

    assert not planned.steps
    assert [decision.detail for decision in planned.decisions[0].reasons] == [
        "the repository is locked in the registry"
    ]
    assert untagged_rules(planned) == {d("stray"): ["locked"]}


def test_locked_index_keeps_its_children() -> None:
    """
    https://github.com/Azure/acr-cli/pull/462 skips a locked index before it reads its children.
    """
    repository = inventory([tag("1.0", "i"), tag("1.0-arm", "x")], [index("i", ["x"], locked=True), image("x")])

    assert verbs(plan(repository)) == ["untag 1.0-arm"]


def test_locked_referrer_keeps_its_subject() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a", locked=True)])

    assert verbs(plan(repository)) == ["untag 1.0"]
