"""Rule `in-use`: tags that a cluster uses, by name or by digest, are kept."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence, KeepReason, Rule, in_use, keep_reasons
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
    tag,
    untagged_rules,
    usage,
    use,
    verbs,
)


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = NOTHING_EXCLUDED, runs: bool = True
) -> Evidence:
    return Evidence(repository, usage(*uses, runs=runs), policy, NOW)


def described(kept: dict[str, tuple[KeepReason, ...]]) -> dict[str, list[tuple[Rule, str]]]:
    return {name: [(reason.rule, reason.detail) for reason in of_tag] for name, of_tag in sorted(kept.items())}


def workloads(uses: Iterable[ImageUse]) -> list[str]:
    return [use.workload.name for use in uses]


def test_tag_named_by_a_workload_is_kept() -> None:
    assert not plan(inventory([tag("1.0", "a")]), usage(use("1.0"))).deletions


def test_tag_is_kept_if_its_digest_runs_by_another_name() -> None:
    assert not plan(inventory([tag("1.0", "a")]), usage(use("gone", "a"))).deletions


def test_use_of_a_digest_keeps_all_its_tags() -> None:
    planned = plan(inventory([tag("1.0", "a"), tag("also-1.0", "a")]), usage(use(None, "a")))

    assert not planned.deletions


def test_unused_alias_is_untagged_and_its_manifest_kept() -> None:
    planned = plan(inventory([tag("1.0", "a"), tag("also-1.0", "a")]), usage(use("1.0")))

    assert verbs(planned) == ["untag also-1.0"]


def test_moved_tag_protects_old_and_new_digest() -> None:
    """
    The kubelet pulled 1.0 as `old`; the tag names `new` now.

    The pod needs `old` now, and `new` at its next pull.
    """
    planned = plan(inventory([tag("1.0", "new"), tag("before", "old")]), usage(use("1.0", "old")))

    assert not planned.deletions


def test_used_child_keeps_its_whole_index_family() -> None:
    repository = inventory(
        [tag("outer", "o"), tag("inner", "i"), tag("sibling", "y")],
        [index("o", ["i"]), index("i", ["x", "y"]), image("x"), image("y")],
    )

    assert not plan(repository, usage(use(None, "x"))).steps


def test_reason_says_how_each_use_reaches_the_tag() -> None:
    """
    By name, by digest, by another digest of the index, or by the repository alone.

    Each reason lists all of these uses.
    """
    world = inventory(
        [tag("multi", "i"), tag("arm", "x"), tag("other", "o"), tag("1.0", "a")],
        [index("i", ["x", "y"]), image("x"), image("y"), image("o"), image("a")],
    )
    uses = [use("1.0", name="named"), use(None, "a", name="pinned"), use(None, "y", name="sibling")]
    by_name, by_digest = "a workload names this tag", "a workload runs or pins its digest"

    kept = keep_reasons(evidence(world, *uses))
    assert described(kept) == {
        "1.0": [(Rule.IN_USE, by_name)],
        "arm": [(Rule.IN_USE, by_digest)],
        "multi": [(Rule.IN_USE, by_digest)],
    }
    assert {name: workloads(of_tag[0].uses) for name, of_tag in kept.items()} == {
        "1.0": ["named", "pinned"],
        "arm": ["sibling"],
        "multi": ["sibling"],
    }

    kept = keep_reasons(evidence(world, *uses, use(None, None, name="open")))
    assert described(kept)["other"] == [
        (Rule.IN_USE, "something names its repository without saying which image"),
    ]
    assert {name: workloads(of_tag[0].uses) for name, of_tag in kept.items()} == {
        "1.0": ["named", "pinned", "open"],
        "arm": ["sibling", "open"],
        "multi": ["sibling", "open"],
        "other": ["open"],
    }


def test_uses_of_an_index_are_ordered_by_digest() -> None:
    """The order does not depend on the order of a set."""
    world = inventory([tag("multi", "i")], [index("i", [1, 2, 3]), image(1), image(2), image(3)])
    uses = [use(None, number, name=f"of-{number}") for number in (3, 1, 2)]

    ((_, reason),) = in_use(evidence(world, *uses))

    assert workloads(reason.uses) == ["of-1", "of-2", "of-3"]


@pytest.mark.parametrize(
    "uses", [[use(None, "x")], [use(None, "i")], [use(None, None)]], ids=["child", "index", "open"]
)
def test_untagged_index_family_in_use_is_kept(uses: list[ImageUse]) -> None:
    repository = inventory([], [index("i", ["x", "y"]), image("x"), image("y")])

    planned = plan(repository, usage(*uses), UNTAGGED)

    assert not planned.steps
    assert all(rules_of_manifest for rules_of_manifest in untagged_rules(planned).values())
    assert untagged_rules(planned)[d("i")] == ["in-use"]
