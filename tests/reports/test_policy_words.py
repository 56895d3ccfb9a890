"""The sentences about the keep list."""

from __future__ import annotations

from datetime import date

import pytest

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.policy_findings import EndedEntry, EndingEntry, KeepsEverything, PolicyFinding, UnmatchedEntry
from acr_cleanup.reports.policy_words import finding_text

ENTRY = KeepEntry("shop/web:1", "shop/web", "1", reason="audit", owner="ana", until=date(2026, 12, 31))
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
                "can be deleted. Is that meant? Otherwise name the images that must stay."
            ),
        ),
        (
            UnmatchedEntry(ENTRY, "shop/api"),
            (
                "The entry `shop/web:1` of the keep list matches no image of the registry. Owner: ana. Did you mean the "
                "repository shop/api?"
            ),
        ),
        (UnmatchedEntry(PLAIN), "The entry `shop/web:1` of the keep list matches no image of the registry."),
    ],
)
def test_finding_names_the_entry_and_what_to_do(finding: PolicyFinding, sentences: str) -> None:
    assert finding_text(finding) == sentences
