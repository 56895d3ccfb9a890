"""What a plan shows about the policy itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta

import pytest

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.policy_findings import (
    EndedEntry,
    EndingEntry,
    KeepsEverything,
    PolicyFinding,
    UnmatchedEntry,
    findings,
)
from acr_cleanup.core.retention import RetentionPolicy
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
