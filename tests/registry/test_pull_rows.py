"""Rows of the log -> pulls that count: odd values, ignored pulls, names for reports."""

from __future__ import annotations

import doctest
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.registry import pull_rows
from acr_cleanup.registry.pull_rows import PullRows
from acr_cleanup.registry.query_logs import QueryResult, _result

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RECENT = "2026-11-20T12:00:00.1234567Z"
ROW: dict[str, Any] = {
    "Repository": "shop/web",
    "Tag": "1.0",
    "Digest": "",
    "last": RECENT,
    "pulls": 2,
    "Identity": "kubelet",
    "UserAgent": "containerd/1.7",
}


def answer(*rows: dict[str, Any]) -> QueryResult:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = {"columns": [{"name": name} for name in names], "rows": [[row.get(name) for name in names] for row in rows]}
    return _result(json.dumps({"tables": [table]}).encode())


def read(*rows: dict[str, Any], ignore: tuple[str, ...] = ()) -> PullRows:
    collected = PullRows(RegistryHost("contoso.azurecr.io"), NOW - timedelta(days=90), NOW, ignore)
    collected.add(answer(*rows))
    return collected


def test_row_is_one_pull() -> None:
    (pull,) = read(ROW).pulls
    assert (pull.repository, pull.tag, pull.digest, pull.number) == ("shop/web", "1.0", "", 2)
    assert (pull.last, pull.by) == (datetime(2026, 11, 20, 12, 0, 0, 123456, UTC), ("kubelet (containerd/1.7)",))


@pytest.mark.parametrize("path", ["SHOP/web", "/shop/web", "shop/web/", " shop/web ", "contoso.azurecr.io/shop/web"])
def test_repository_is_written_as_in_the_registry(path: str) -> None:
    assert [pull.repository for pull in read(ROW | {"Repository": path}).pulls] == ["shop/web"]


@pytest.mark.parametrize("path", ["", "/", None, 7])
def test_pull_of_no_repository_is_counted(path: Any) -> None:
    collected = read(ROW | {"Repository": path})
    assert (collected.pulls, collected.unplaced) == ([], 2)


@pytest.mark.parametrize(
    "last", [None, "", "yesterday", 12, "2999-01-01T00:00:00Z", "2026-11-20", "9999-12-31T23:59:59-14:00"]
)
def test_row_with_an_odd_time_counts(last: Any) -> None:
    """A time that cannot be read is that of now."""
    assert len(read(ROW | {"last": last}).pulls) == 1


def test_row_before_the_window_does_not_count() -> None:
    assert read(ROW | {"last": "2026-01-01T00:00:00Z"}).pulls == []


@pytest.mark.parametrize(("pulls", "number"), [(None, 1), (-3, 1), ("many", 1), (0, 1), (5, 5)])
def test_odd_count_is_one_pull(pulls: Any, number: int) -> None:
    assert read(ROW | {"pulls": pulls}).pulls[0].number == number


@pytest.mark.parametrize("missing", ["Repository", "Tag", "Digest", "last"])
def test_answer_without_a_column_is_a_failure(missing: str) -> None:
    with pytest.raises(ReadFailure, match=f"no column {missing}"):
        read({name: value for name, value in ROW.items() if name != missing})


def test_columns_are_found_in_any_case_and_order() -> None:
    odd = {name.upper(): value for name, value in reversed(ROW.items())}
    assert [pull.tag for pull in read(odd).pulls] == ["1.0"]


# -- pulls that do not count -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "ignore", "counts"),
    [
        ({}, ("trivy/*",), True),
        ({"UserAgent": "trivy/0.50 (linux)"}, ("trivy/*",), False),
        ({"Identity": "scanner"}, ("scanner",), False),
        ({"Identity": "Scanner"}, ("scanner",), True),
        ({"UserAgent": "acr-cleanup/1.0 Python"}, (), False),
        ({"UserAgent": "not-acr-cleanup/1.0"}, (), True),
        ({"Identity": "", "UserAgent": ""}, ("a*",), True),
        ({"Identity": None, "UserAgent": None}, ("a*",), True),
        # Sets, as a summary without identities has them.
        ({"who": ["a1", "a2"]}, ("a*",), False),
        ({"who": '["a1", "a2"]'}, ("a*",), False),
        ({"who": ["a1", "b"]}, ("a*",), True),
        ({"who": [f"a{number}" for number in range(5)]}, ("a*",), True),
        ({"who": [], "agents": []}, ("a*",), True),
        ({"who": "not json"}, ("a*",), True),
        ({"who": {"a": 1}}, ("a*",), True),
    ],
)
def test_only_pulls_that_are_certainly_ignored_do_not_count(
    change: dict[str, Any], ignore: tuple[str, ...], counts: bool
) -> None:
    """A full set may have lost a name, so it proves nothing."""
    collected = read(ROW | change, ignore=ignore)
    assert bool(collected.pulls) is counts
    assert (collected.counted.total(), collected.ignored.total()) == ((2, 0) if counts else (0, 2))


def test_names_in_docstrings_are_true() -> None:
    assert doctest.testmod(pull_rows).failed == 0


@pytest.mark.parametrize("identity", ["10.0.0.4", "2001:db8::1", "[2001:db8::1]", "x 10.1.2.3 y", "alice@10.1.2.3"])
def test_name_has_no_address(identity: str) -> None:
    (pull,) = read(ROW | {"Identity": identity, "UserAgent": identity}).pulls
    assert not any(part in pull.by[0] for part in ("10.0.0.4", "10.1.2.3", "2001:"))


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=5), max_size=6)
)


@given(st.fixed_dictionaries(dict.fromkeys((*ROW, "who", "agents", "addresses"), values)))
def test_no_row_is_lost_or_fails(row: dict[str, Any]) -> None:
    collected = read(row)
    old = row["last"] and collected.counted.total() == 0 and collected.ignored.total() == 0
    assert len(collected.pulls) + bool(collected.unplaced) + bool(collected.ignored) + bool(old) == 1
