"""The sentences and tables about the keep list, the rules and the scope."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from rich.table import Table

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.left_out import LeftOutPart, PlannedPart, WhyLeftOut
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.policy_findings import (
    EndedEntry,
    EndingEntry,
    KeepsEverything,
    OvershadowedRule,
    PolicyFinding,
    RepeatedName,
    UnmatchedEntry,
    UnmatchedRule,
    UnreachableRule,
)
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.reports.policy_tables import rule_blocks, rule_table, scope_line
from acr_cleanup.reports.policy_words import finding_text, governed_text, rule_patterns, rule_text, rules_sentence
from tests.helpers.generated_inventories import NOW, inventory, plan, tag, usage

ENTRY = KeepEntry("shop/web:1", "shop/web", "1", reason="audit", owner="ana", until=date(2026, 12, 31))
PREVIEWS = PolicyRule("previews", tags=("pr-*",), older_than=timedelta(days=7))
RELEASES = PolicyRule("releases", repositories=("shop/*",), tags=("v*",), keep=True)
LATE = PolicyRule("late", keep_last=3, keep_last_by="^(a)")
PLAIN = KeepEntry("shop/web:1", "shop/web", "1", until=date(2026, 12, 31))


@pytest.mark.parametrize(
    ("finding", "sentences"),
    [
        (
            EndedEntry(ENTRY),
            (
                "The entry `shop/web:1` of the keep list ended on 2026-12-31 and keeps nothing any more. Reason: audit. "
                "Owner: ana. Remove it, or write a later date as its until."
            ),
        ),
        (
            EndingEntry(PLAIN, 1),
            (
                "The entry `shop/web:1` of the keep list ends in 1 day (2026-12-31). From the next day on, its images may be "
                "deleted. To keep them, write a later date as its until."
            ),
        ),
        (
            EndingEntry(PLAIN, 0),
            (
                "The entry `shop/web:1` of the keep list ends today (2026-12-31). From the next day on, its images may be "
                "deleted. To keep them, write a later date as its until."
            ),
        ),
        (
            KeepsEverything(PLAIN, 380, 8),
            (
                "The entry `shop/web:1` of the keep list keeps every tag that was read (380 tags in 8 repositories), so nothing "
                "can be deleted. Is that meant? Otherwise name only the images that must stay."
            ),
        ),
        (
            UnmatchedEntry(ENTRY, "shop/api"),
            (
                "The entry `shop/web:1` of the keep list matches no image of the registry. Owner: ana. Did you mean the "
                "repository shop/api?"
            ),
        ),
        (
            UnreachableRule(LATE, PREVIEWS),
            (
                "The rule `late` never applies: the rule `previews`, before it, matches everything that it matches. Move it "
                "before that rule, or remove it."
            ),
        ),
        (
            OvershadowedRule(LATE),
            (
                "The rule `late` governs no tag: an earlier rule governs every tag that it matches. Move it further up, or "
                "remove it."
            ),
        ),
        (
            UnmatchedRule(LATE, 1),
            "The rule `late` matches no tag of the 1 repository in scope. Check its patterns, or remove it.",
        ),
        (
            RepeatedName(PolicyRule("late (#3)", name_taken="late")),
            "Two rules have the name `late`. Reports call the second one `late (#3)`. Rename one of them.",
        ),
        (
            KeepsEverything(PolicyRule("all", keep=True), 1, 1),
            (
                "The rule `all` keeps every tag that was read (1 tag in 1 repository), so nothing can be deleted. Is that "
                "meant? Otherwise name only the images that must stay."
            ),
        ),
        (UnmatchedEntry(PLAIN), "The entry `shop/web:1` of the keep list matches no image of the registry."),
    ],
)
def test_finding_names_entry_or_rule_and_what_to_do(finding: PolicyFinding, sentences: str) -> None:
    assert finding_text(finding) == sentences


@pytest.mark.parametrize(
    ("rule", "matches", "says"),
    [
        (PREVIEWS, "tags pr-*", "older than 7d"),
        (RELEASES, "tags v* of shop/*", "always kept"),
        (LATE, "all tags", "older than 30d; the newest 3 of each group (^(a)) are kept"),
        (RetentionPolicy(keep_last=2).top, "all other tags", "older than 30d; the newest 2 are kept"),
    ],
)
def test_rule_in_words(rule: PolicyRule, matches: str, says: str) -> None:
    assert rule_patterns(rule) == matches
    assert rule_text(rule) == says


def test_governing_rule_is_named_with_what_it_says() -> None:
    policy = RetentionPolicy(rules=(PREVIEWS, RELEASES))

    assert governed_text(policy, "previews") == "rule previews: older than 7d"
    assert governed_text(policy, "") == "no rule, so the top-level options: older than 30d"
    assert governed_text(RetentionPolicy(), "") == ""


def test_sentence_names_the_first_rules() -> None:
    assert rules_sentence(RetentionPolicy()) == ""
    sentence = rules_sentence(RetentionPolicy(rules=tuple(PolicyRule(f"#{number}") for number in range(1, 501))))
    assert sentence.startswith(
        " The first of these rules that matches a tag governs it: `#1` (all tags): older than 30d; "
    )
    assert sentence.endswith("; 490 more.")


def planned(policy: RetentionPolicy, part: PlannedPart | None = None) -> Plan:
    repository = plan(inventory([tag("pr-1", 1), tag("pr-2", 2, days=1), tag("v1", 3), tag("x", 4)]), policy=policy)
    return Plan("contoso.azurecr.io", policy, NOW, usage(), (repository,), part=part)


def test_tables_count_the_tags_of_each_rule() -> None:
    policy = RetentionPolicy(rules=(PREVIEWS, RELEASES))
    (block,) = rule_blocks(planned(policy))
    (table,) = rule_table(planned(policy))

    assert isinstance(block.renderable, Table)
    cells = ([str(cell) for cell in column.cells] for column in block.renderable.columns)
    assert list(zip(*cells, strict=True)) == [
        ("previews", "tags pr-*", "older than 7d", "2", "1"),
        ("releases", "tags v* of shop/*", "always kept", "1", "0"),
        ("(no rule)", "all other tags", "older than 30d", "1", "1"),
    ]
    assert "| `previews` | `tags pr-*` | older than 7d | 2 | 1 |" in table


def test_policy_without_rules_has_no_table() -> None:
    assert not [*rule_blocks(planned(RetentionPolicy())), *rule_table(planned(RetentionPolicy()))]


def left_out(**numbers: int) -> PlannedPart:
    reasons = {WhyLeftOut(reason.replace("_", "-")): number for reason, number in numbers.items()}
    parts = {
        reason: LeftOutPart(number, tuple(f"{reason}/{example}" for example in range(min(number, 3))))
        for reason, number in reasons.items()
    }
    return PlannedPart(1 + sum(numbers.values()), parts)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        (None, "1 repository; the registry does not list its other repositories"),
        (left_out(), "the only repository of the registry"),
        (
            left_out(out_of_scope=1),
            "1 of 2 repositories. Left out, with all its tags kept: 1 not running in any cluster (out-of-scope/0)",
        ),
        (
            left_out(unselected=5, other_shard=1),
            (
                "1 of 7 repositories. Left out, with all their tags kept: 5 not selected by repositories (unselected/0, "
                "unselected/1, unselected/2, 2 more); 1 in other shards (other-shard/0)"
            ),
        ),
    ],
)
def test_scope_line_says_what_was_left_out(part: PlannedPart | None, line: str) -> None:
    assert scope_line(planned(RetentionPolicy(), part)) == line


def test_plan_without_a_repository_says_what_was_left_out() -> None:
    nothing = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage())

    assert scope_line(nothing) == ""
    assert scope_line(replace(nothing, part=PlannedPart(1, left_out(out_of_scope=1).left_out))) == (
        "0 of 1 repository. Left out, with all its tags kept: 1 not running in any cluster (out-of-scope/0)"
    )
