"""The rules of the user: the first one that matches a tag governs it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.pulls import Pull, PullLog
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from tests.helpers.generated_inventories import (
    NOW,
    REPOSITORY,
    d,
    deleted_names,
    image,
    index,
    inventory,
    plan,
    reasons,
    referrer,
    rules_of,
    signature_of,
    tag,
    untagged_rules,
    usage,
    use,
    verbs,
)

WEEK, MONTH, QUARTER = timedelta(days=7), timedelta(days=30), timedelta(days=90)
PREVIEWS = PolicyRule("previews", tags=("pr-*",), older_than=WEEK)
RELEASES = PolicyRule("releases", tags=("v*",), keep=True)
EXAMPLE = RetentionPolicy(rules=(PREVIEWS, RELEASES))


def governing(policy: RetentionPolicy, repository: RepositoryInventory) -> dict[str, str]:
    return {decision.tag.name: decision.governed_by for decision in plan(repository, policy=policy).decisions}


def with_rules(*rules: PolicyRule, **values: Any) -> RetentionPolicy:
    return RetentionPolicy(rules=rules, **values)


def test_previews_go_after_a_week_releases_never_and_the_rest_after_a_month() -> None:
    repository = inventory(
        tag(name, number, days=days)
        for number, (name, days) in enumerate(
            [("pr-1", 8), ("pr-2", 6), ("v1.0", 400), ("main-1", 31), ("main-2", 29), ("latest", 400)], 1
        )
    )
    planned = plan(repository, policy=EXAMPLE)

    assert deleted_names(planned) == {"pr-1", "main-1"}
    assert rules_of(planned, "v1.0") == ["kept-by-rule"]
    assert {decision.tag.name: decision.governed_by for decision in planned.decisions} == {
        "pr-1": "previews",
        "pr-2": "previews",
        "v1.0": "releases",
        "main-1": "",
        "main-2": "",
        "latest": "",
    }
    assert planned.tally.governed == {"previews": 2, "releases": 1}
    assert planned.tally.governed_planned == {"previews": 1}


def test_first_rule_that_matches_governs() -> None:
    first, second = replace(PREVIEWS, name="first"), replace(PREVIEWS, name="second", tags=("*",))
    repository = inventory([tag("pr-1", 1), tag("x", 2)])

    assert governing(with_rules(first, second), repository) == {"pr-1": "first", "x": "second"}
    assert governing(with_rules(second, first), repository) == {"pr-1": "second", "x": "second"}


@pytest.mark.parametrize(
    ("repositories", "tags", "governs"),
    [
        (("shop/*",), ("*",), True),
        (("*", "!shop/web"), ("*",), False),
        (("*",), ("pr-*", "!pr-1"), False),
        (("*",), ("!v*",), True),
        (("web",), ("*",), False),
    ],
)
def test_rule_matches_by_repository_and_tag(
    repositories: tuple[str, ...], tags: tuple[str, ...], governs: bool
) -> None:
    rule = PolicyRule("r", repositories=repositories, tags=tags)

    assert governing(with_rules(rule), inventory([tag("pr-1", 1)])) == {"pr-1": "r" if governs else ""}


def test_rules_read_regular_expressions_with_use_regex() -> None:
    rule = PolicyRule("r", repositories=("shop/.+",), tags=(r"pr-\d+",))
    repository = inventory([tag("pr-1", 1), tag("pr-x", 2)])

    assert governing(with_rules(rule, use_regex=True, exclude_tags=()), repository) == {"pr-1": "r", "pr-x": ""}


def test_evidence_names_the_rule() -> None:
    rule = PolicyRule("nightly", tags=("n-*",), older_than=QUARTER, keep_last=1)
    repository = inventory([tag("n-1", 1, days=80), tag("n-2", 2, days=100)])

    assert reasons(repository, policy=with_rules(rule, RELEASES)) == {
        "n-1": [
            ("young", "pushed 2026-09-04, less than 90d ago (rule `nightly`)"),
            ("newest", "one of the newest 1 of its repository (rule `nightly`)"),
        ]
    }
    released = inventory([tag("v1", 1)])
    assert reasons(released, policy=EXAMPLE) == {"v1": [("kept-by-rule", "the rule `releases` keeps it")]}


def test_keep_last_counts_only_the_tags_of_its_rule() -> None:
    """Nothing is inherited from the top level, and other tags do not take a place."""
    rule = PolicyRule("previews", tags=("pr-*",), older_than=WEEK, keep_last=1)
    repository = inventory(
        [
            tag("main-1", 1, days=40),
            tag("main-2", 2, days=41),
            tag("pr-1", 3, days=50),
            tag("pr-2", 4, days=51),
            tag("main-3", 5, days=60),
        ]
    )

    assert deleted_names(plan(repository, policy=with_rules(rule, keep_last=2))) == {"pr-2", "main-3"}
    assert deleted_names(plan(repository, policy=with_rules(PREVIEWS, keep_last=2))) == {"pr-1", "pr-2", "main-3"}


def test_keep_last_by_counts_each_group_of_its_rule() -> None:
    rule = PolicyRule("previews", tags=("pr-*",), older_than=WEEK, keep_last=1, keep_last_by=r"^pr-(\w)")
    repository = inventory(
        [tag(f"pr-{name}{number}", f"{name}{number}", days=50 + number) for name in "ab" for number in (1, 2)]
    )

    assert deleted_names(plan(repository, policy=with_rules(rule))) == {"pr-a2", "pr-b2"}


def test_options_of_the_top_level_bound_every_rule() -> None:
    """A rule cannot delete what `exclude_tags`, `include_tags`, `repositories` or the scope keep."""
    everything = PolicyRule("all", older_than=timedelta())
    repository = inventory([tag("latest", 1), tag("v1", 2), tag("x", 3)])

    assert deleted_names(plan(repository, policy=with_rules(everything))) == {"v1", "x"}
    assert deleted_names(plan(repository, policy=with_rules(everything, include_tags=("v*",)))) == {"v1"}
    assert not plan(repository, policy=with_rules(everything, repositories=("other",))).deletions
    assert not plan(repository, usage(runs=False), with_rules(everything)).deletions


def test_children_are_as_old_as_the_rule_of_their_index_says() -> None:
    """Otherwise the children of a deleted preview would be kept for the month of the last rule."""
    children = [image("x", days=8), image("y", days=8)]
    repository = inventory([tag("pr-1", "i", days=8)], [index("i", "xy"), *children])

    assert verbs(plan(repository, policy=EXAMPLE)) == ["delete i[pr-1]", "delete x[]", "delete y[]"]


def test_shared_child_follows_the_rule_that_keeps_longest() -> None:
    repository = inventory(
        [tag("pr-1", "i", days=40), tag("q-1", "j", days=100)],
        [index("i", "x"), index("j", "x"), image("x", days=40)],
    )
    slow = PolicyRule("slow", tags=("q-*",), older_than=QUARTER)

    assert verbs(plan(repository, policy=with_rules(PREVIEWS, slow))) == ["delete i[pr-1]", "delete j[q-1]"]
    assert "delete x[]" in verbs(plan(repository, policy=with_rules(PREVIEWS, replace(slow, older_than=MONTH))))


@pytest.mark.parametrize("suffix", [".sig", ".att", ""])
def test_companion_is_governed_like_its_image(suffix: str) -> None:
    name = signature_of("a", suffix)
    repository = inventory([tag("pr-1", "a", days=8), tag(name, "s", days=8)])

    assert governing(EXAMPLE, repository)[name] == "previews"
    assert deleted_names(plan(repository, policy=EXAMPLE)) == {"pr-1", name}


def test_companion_of_a_child_is_governed_like_the_index() -> None:
    name = signature_of("x")
    repository = inventory(
        [tag("pr-1", "i", days=8), tag(name, "s", days=8)], [index("i", "x"), image("x", days=8), image("s", days=8)]
    )

    assert governing(EXAMPLE, repository)[name] == "previews"
    assert deleted_names(plan(repository, policy=EXAMPLE)) == {"pr-1", name}


def test_companion_of_a_companion_is_governed_like_the_image() -> None:
    signature = signature_of("a")
    second = signature_of("s")
    repository = inventory([tag("pr-1", "a"), tag(signature, "s"), tag(second, "t")])

    assert governing(EXAMPLE, repository)[second] == "previews"


def test_companions_of_each_other_are_governed_by_the_last_rule() -> None:
    first, second = signature_of("b"), signature_of("a")

    assert governing(EXAMPLE, inventory([tag(first, "a"), tag(second, "b")])) == {first: "", second: ""}


def test_rule_that_names_companions_governs_them() -> None:
    name = signature_of("a")
    rule = PolicyRule("signatures", tags=("*.sig",), keep=True)
    repository = inventory([tag("pr-1", "a", days=8), tag(name, "s", days=8)])

    assert governing(with_rules(PREVIEWS, rule), repository)[name] == "signatures"
    assert verbs(plan(repository, policy=with_rules(PREVIEWS, rule))) == ["untag pr-1"]


def test_tag_named_after_a_missing_digest_is_governed_by_its_name() -> None:
    name = signature_of("missing")

    assert governing(EXAMPLE, inventory([tag(name, "s")])) == {name: ""}


def test_companion_of_an_image_with_two_rules_follows_the_one_that_keeps_longest() -> None:
    name = signature_of("a")
    repository = inventory([tag("pr-1", "a"), tag("v1", "a"), tag(name, "s")])

    assert governing(EXAMPLE, repository)[name] == "releases"


def test_untagged_manifest_is_governed_by_the_first_rule_for_all_tags() -> None:
    repository = inventory([], [image("u", days=20)])
    keeping = PolicyRule("all", keep=True)
    fast = PolicyRule("fast", older_than=WEEK)

    def untagged(*rules: PolicyRule) -> list[str]:
        return untagged_rules(plan(repository, policy=with_rules(*rules, delete_untagged=True)))[d("u")]

    assert untagged() == ["young"]
    assert untagged(PREVIEWS) == ["young"]
    assert untagged(fast) == []
    assert untagged(keeping, fast) == ["kept-by-rule", "young"]
    assert untagged(replace(fast, repositories=("other",))) == ["young"]
    assert untagged(replace(fast, tags=("*", "!v*"))) == ["young"]


def test_untagged_referrer_is_governed_like_its_subject() -> None:
    repository = inventory([tag("pr-1", "a", days=8)], [image("a", days=8), referrer("r", "a")])

    assert verbs(plan(repository, policy=EXAMPLE)) == ["delete r[]", "delete a[pr-1]"]


def test_orphan_follows_the_shortest_rule() -> None:
    """
    This run deleted its index, and knew why.

    Only a push since then would be a reason to keep it.
    """
    orphan = inventory([tag("v1", "a")], [image("a"), image("x", days=8)])
    orphan = replace(orphan, orphans=frozenset({d("x")}))

    assert verbs(plan_repository(orphan, usage(), EXAMPLE, NOW)) == ["delete x[]"]
    pushed = replace(orphan, manifests={**orphan.manifests, d("x"): image("x", days=1)})
    assert not plan_repository(pushed, usage(), EXAMPLE, NOW).steps


def test_window_of_pulls_is_that_of_the_rule_or_of_the_top_level() -> None:
    """The log was read for the longest window; other tags do not profit from it."""
    names = ("pr-1", "v1", "x")
    repository = inventory([tag(name, name) for name in names])
    pulls = PullLog.of(Pull(REPOSITORY, name, "", NOW - timedelta(days=50)) for name in names)
    log = replace(usage(), pulls=pulls)
    wide = replace(PREVIEWS, pulled_within=QUARTER)

    def deleted(policy: RetentionPolicy) -> set[str]:
        return deleted_names(plan(repository, log, policy))

    assert deleted(with_rules(wide)) == {"v1", "x"}
    assert deleted(with_rules(replace(wide, pulled_within=MONTH))) == {"pr-1", "v1", "x"}
    assert deleted(with_rules(replace(wide, pulled_within=MONTH), pulled_within=QUARTER)) == set()
    assert deleted(with_rules(wide, pulled_within=MONTH)) == {"v1", "x"}
    assert deleted(with_rules(PREVIEWS, pulled_within=QUARTER)) == set()


def test_pull_of_a_child_counts_in_the_window_of_its_index() -> None:
    repository = inventory(
        [tag("pr-1", "i"), tag("x", "j")], [index("i", "a"), index("j", "b"), image("a"), image("b"), image("u")]
    )
    digests = [d(name) for name in "abu"]
    log = replace(
        usage(), pulls=PullLog.of(Pull(REPOSITORY, "", digest, NOW - timedelta(days=50)) for digest in digests)
    )
    policy = with_rules(replace(PREVIEWS, pulled_within=QUARTER), delete_untagged=True)

    assert set(verbs(plan(repository, log, policy))) == {"delete j[x]", "delete b[]", "delete u[]"}


def test_plan_names_rules_that_match_only_governed_tags() -> None:
    late = PolicyRule("late", tags=("pr-1",))
    other = PolicyRule("other", tags=("x-*",))
    repository = inventory([tag("pr-1", 1), tag("v1", 2)])

    assert plan(repository, policy=with_rules(PREVIEWS, late, other)).tally.unused_rules == {"late"}


def test_use_outweighs_every_rule() -> None:
    eager = PolicyRule("eager", older_than=timedelta())

    assert not plan(inventory([tag("1", "a")]), usage(use("1")), with_rules(eager)).steps
