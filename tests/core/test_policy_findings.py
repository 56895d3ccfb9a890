"""The findings of a plan about the policy itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from acr_cleanup.core.keep_list import KeepEntry
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
    findings,
)
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.shard import Shard
from acr_cleanup.core.tally import Tally
from tests.helpers.generated_inventories import NOW, REPOSITORY, image, inventory, plan, tag

WEB = KeepEntry("shop/web:1", REPOSITORY, "1")


def found(
    *entries: KeepEntry, catalog: Collection[str] | None = (REPOSITORY,), read: bool = True
) -> list[PolicyFinding]:
    policy = RetentionPolicy(keep=entries)
    planned = plan(inventory([tag("1", "a"), tag("2", "b")]), policy=policy)
    tally = planned.tally if read else Tally(REPOSITORY, error="not read")
    return list(findings(policy, [tally], catalog, NOW))


def test_every_entry_of_the_keep_list_has_its_finding() -> None:
    ended = replace(WEB, until=NOW.date() - timedelta(days=1))
    ending = replace(WEB, until=NOW.date())
    unmatched = KeepEntry("shop/web:x", REPOSITORY, "x")

    assert found(ended, ending, unmatched) == [EndedEntry(ended), EndingEntry(ending, 0), UnmatchedEntry(unmatched, "")]


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        (None, []),
        (date(2026, 12, 7), []),
        (date(2026, 12, 6), [13]),
        (date(2026, 11, 23), [0]),
    ],
)
def test_end_of_an_entry_is_announced_from_two_weeks_before(until: date | None, expected: list[int]) -> None:
    entry = replace(WEB, until=until)

    assert found(entry) == [EndingEntry(entry, days) for days in expected]


def test_entry_that_ended_keeps_nothing_and_is_shown() -> None:
    entry = replace(WEB, until=NOW.date() - timedelta(days=1))

    assert found(entry) == [EndedEntry(entry)]


@pytest.mark.parametrize(
    ("entry", "catalog", "unmatched"),
    [
        (replace(WEB, tag="1.0"), (REPOSITORY,), True),
        (replace(WEB, tag="", digest="sha256:00*"), (REPOSITORY,), False),
        (replace(WEB, tag="", digest="sha256:f*"), (REPOSITORY,), True),
        (replace(WEB, repository="shop/wbe"), (REPOSITORY,), True),
        # It may have the tag, and was not read.
        (replace(WEB, repository="shop/old"), (REPOSITORY, "shop/old"), False),
        (replace(WEB, repository="shop/*", tag="9"), (REPOSITORY, "shop/old"), False),
        (replace(WEB, repository="shop/*", tag="9"), (REPOSITORY,), True),
        # The names of the registry are not known.
        (replace(WEB, tag="9"), None, True),
        (replace(WEB, repository="shop/*", tag="9"), None, False),
    ],
)
def test_entry_that_matches_nothing_is_shown(
    entry: KeepEntry, catalog: Collection[str] | None, unmatched: bool
) -> None:
    kinds = [type(finding) for finding in found(entry, catalog=catalog)]

    assert (UnmatchedEntry in kinds) is unmatched


def test_unmatched_entry_names_a_similar_repository() -> None:
    entry = replace(WEB, repository="shop/wbe")

    assert found(entry) == [UnmatchedEntry(entry, REPOSITORY)]
    assert found(replace(WEB, tag="9")) == [UnmatchedEntry(replace(WEB, tag="9"))]


def test_unread_repository_leaves_an_entry_open() -> None:
    assert found(replace(WEB, tag="9"), read=False) == []


def test_same_entry_twice_is_shown_once() -> None:
    entry = replace(WEB, tag="9")

    assert found(entry, entry) == [UnmatchedEntry(entry)]


@pytest.mark.parametrize("tags", ["*", "?", "[0-9]"])
def test_entry_that_keeps_every_tag_is_shown(tags: str) -> None:
    entry = KeepEntry("any", "*", tags)

    assert found(entry) == [KeepsEverything(entry, 2, 1)]


def test_entry_of_an_untagged_manifest_matches() -> None:
    entry = KeepEntry("shop/web@*", REPOSITORY, digest="*")
    repository = plan(inventory([], [image("u")]), policy=RetentionPolicy(keep=(entry,)))

    assert repository.tally.kept_entries == {entry: 0}


# -- rules -----------------------------------------------------------------------------------------

ALL = PolicyRule("all")
ONES = PolicyRule("ones", tags=("1*",))


def rule_findings(*rules: PolicyRule, error: str = "", **values: Any) -> list[PolicyFinding]:
    policy = RetentionPolicy(rules=rules, **values)
    planned = plan(inventory([tag("1", "a"), tag("2", "b")]), policy=policy)
    tallies = [planned.tally, *([Tally("shop/api", error=error)] if error else [])]
    return list(findings(policy, tallies, (REPOSITORY, "shop/api"), NOW))


def test_rules_that_govern_tags_are_no_finding() -> None:
    assert rule_findings(ONES, ALL) == []


def test_rule_behind_one_that_covers_it_is_unreachable() -> None:
    later = replace(ONES, name="later", repositories=("shop/*",))

    assert rule_findings(ALL, ONES) == [UnreachableRule(ONES, ALL)]
    assert rule_findings(ONES, later) == [UnreachableRule(later, ONES)]
    assert UnreachableRule(ALL, ONES) not in rule_findings(ONES, ALL)


def test_rule_whose_tags_earlier_rules_govern_together_is_overshadowed() -> None:
    twos, both = PolicyRule("twos", tags=("2*",)), PolicyRule("both", tags=("1", "2"))

    assert rule_findings(ONES, twos, both) == [OvershadowedRule(both)]
    digits = PolicyRule("digits", tags=("[0-9]",))
    assert rule_findings(ONES, twos, digits) == [OvershadowedRule(digits)]


def test_rule_that_matches_no_tag_is_shown() -> None:
    nothing = PolicyRule("nothing", tags=("x*",))

    assert rule_findings(nothing) == [UnmatchedRule(nothing, 1)]
    elsewhere = PolicyRule("elsewhere", repositories=("shop/apii",))
    assert rule_findings(elsewhere) == [UnmatchedRule(elsewhere, 1)]


def test_rule_for_an_unread_repository_is_left_open() -> None:
    of_api = PolicyRule("api", repositories=("shop/api",))

    assert rule_findings(of_api, error="not read") == []
    assert rule_findings(of_api) == [UnmatchedRule(of_api, 1)]
    elsewhere = PolicyRule("elsewhere", repositories=("shop/apii",))
    assert rule_findings(elsewhere, error="not read") == [UnmatchedRule(elsewhere, 1)]


def test_rule_for_another_shard_is_left_open() -> None:
    of_api = PolicyRule("api", repositories=("shop/api",))
    nowhere = PolicyRule("nowhere", repositories=("nowhere",))

    assert rule_findings(of_api, nowhere, shard=Shard(1, 2)) == [UnmatchedRule(nowhere, 1)]


def test_second_rule_of_one_name_is_shown() -> None:
    twos = PolicyRule("ones (#2)", tags=("2",), name_taken="ones")

    assert rule_findings(ONES, twos) == [RepeatedName(twos)]


def test_rule_that_keeps_every_tag_is_shown() -> None:
    keeping = PolicyRule("keeping", keep=True)

    assert rule_findings(keeping) == [KeepsEverything(keeping, 2, 1)]
    assert rule_findings(replace(keeping, tags=("1",))) == []
