"""Rule `excluded`: tags that a pattern excludes, or that no pattern includes, are kept."""

from __future__ import annotations

from acr_cleanup.core.policy import Rule
from acr_cleanup.core.retention import RetentionPolicy
from tests.helpers.generated_inventories import (
    deleted_names,
    inventory,
    plan,
    reasons,
    signature_of,
    tag,
    verbs,
)


def test_latest_is_kept_by_default() -> None:
    repository = inventory([tag("latest", "a"), tag("1.0", "a")])

    assert verbs(plan(repository)) == ["untag 1.0"]
    assert verbs(plan(repository, policy=RetentionPolicy(exclude_tags=()))) == ["delete a[1.0,latest]"]


def test_include_and_exclude_patterns_select_tags() -> None:
    repository = inventory([tag("v1", "a"), tag("pr-7", "b"), tag("pr-8-keep", "c")])
    policy = RetentionPolicy(include_tags=("pr-*",), exclude_tags=("*-keep",))

    assert deleted_names(plan(repository, policy=policy)) == {"pr-7"}


def test_reason_names_the_pattern() -> None:
    """`exclude-tags` before the `!` patterns of `include-tags`."""
    policy = RetentionPolicy(include_tags=("*", "!v*"), exclude_tags=("v1", "latest"))
    world = inventory([tag(name, "a") for name in ("v1", "v2", "latest", "x")])

    assert reasons(world, policy=policy) == {
        "latest": [(Rule.EXCLUDED, "excluded by `latest`")],
        "v1": [(Rule.EXCLUDED, "excluded by `v1`")],
        "v2": [(Rule.EXCLUDED, "excluded by `!v*`")],
    }


def test_reason_of_a_tag_that_is_not_included() -> None:
    policy = RetentionPolicy(include_tags=("v*", "!v2"))
    world = inventory([tag(name, "a") for name in ("v1", "v2", "x", "latest")])
    assert reasons(world, policy=policy) == {
        "latest": [(Rule.EXCLUDED, "excluded by `latest`")],
        "v2": [(Rule.EXCLUDED, "excluded by `!v2`")],
        "x": [(Rule.EXCLUDED, "not among the included tags")],
    }


def test_signature_is_excluded_only_by_its_own_name() -> None:
    """
    Also by a `!` pattern.

    A signature of itself or of a missing manifest is a tag like any other.
    """
    signature, stray, itself = signature_of("a"), signature_of("gone"), signature_of("i")
    world = inventory([tag(signature, "s"), tag(stray, "t"), tag(itself, "i"), tag("1.0", "a")])
    not_included = [(Rule.EXCLUDED, "not among the included tags")]

    policy = RetentionPolicy(include_tags=("1.*",), exclude_tags=())
    assert reasons(world, policy=policy) == {stray: not_included, itself: not_included}
    policy = RetentionPolicy(include_tags=("*", "!*.sig"), exclude_tags=())
    by_pattern = [(Rule.EXCLUDED, "excluded by `!*.sig`")]
    assert reasons(world, policy=policy) == dict.fromkeys(sorted([signature, stray, itself]), by_pattern)


def test_signature_need_not_be_included() -> None:
    """
    Otherwise no signed image could be deleted with `include-tags: pr-*`.

    `exclude-tags` can keep signatures.
    """
    repository = inventory(
        [tag("pr-7", "a"), tag(signature_of("a"), "s"), tag("1.0", "b"), tag(signature_of("b"), "t")]
    )
    names = f"delete s[{signature_of('a')}]"

    assert verbs(plan(repository, policy=RetentionPolicy(include_tags=("pr-*",)))) == [names, "delete a[pr-7]"]
    kept = RetentionPolicy(include_tags=("pr-*",), exclude_tags=("*.sig",))
    assert verbs(plan(repository, policy=kept)) == ["untag pr-7"]
