"""The names of a registry: as listed, and joined with those of further repositories."""

from __future__ import annotations

from datetime import UTC, datetime

from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.records.names import NamedRepository, RegistryNames
from tests.helpers.generated_inventories import d

EARLY, LATE = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)
WEB, API = NamedRepository("shop/web", ["1.0"], [d("a")]), NamedRepository("shop/api", [], [])


def test_names_list_the_tags_and_digests_of_each_repository() -> None:
    assert list(RegistryNames("contoso.azurecr.io", EARLY, (WEB, API)).listed()) == [
        ListedNames("shop/web", {"1.0": None}, frozenset({d("a")})),
        ListedNames("shop/api", {}, frozenset()),
    ]


def test_further_repositories_are_joined_by_name() -> None:
    """The time of the first reading counts: what was pushed after it may be missing."""
    known, further = RegistryNames("contoso.azurecr.io", EARLY, (WEB,)), RegistryNames("other", LATE, (API,))

    assert known.with_repositories(further) == RegistryNames("contoso.azurecr.io", EARLY, (API, WEB))
