"""Lists of patterns that cover others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.coverage import covers
from acr_cleanup.core.selection import patterns


@pytest.mark.parametrize(
    ("outer", "inner", "covered"),
    [
        (("*",), ("v*", "!v1"), True),
        (("v*",), ("v1.*",), True),
        (("v*",), ("*",), False),
        (("v*", "pr-*"), ("pr-1", "v2"), True),
        (("v*",), ("pr-1", "v2"), False),
        (("v?",), ("v*",), False),
        (("v?",), ("v1",), True),
        (("v*",), ("v?",), True),
        (("*-*",), ("pr-*",), True),
        (("*a*b*",), ("xa1b",), True),
        (("*a*b",), ("*b*a",), False),
        (("ab*ab",), ("ab",), False),
        (("ab*ab",), ("ab*",), False),
        (("ab*ab",), ("ab-ab",), True),
        (("v[0-9]",), ("v[0-9]",), True),
        (("v?",), ("v[0-9]",), True),
        (("v[0-9]",), ("v1",), False),
        (("!v*",), ("pr-*",), False),
        (("!v*",), ("pr-*", "!v*"), True),
        (("!v1*",), ("!v*",), True),
        (("!v*",), ("!v1*",), False),
        (("!v*",), ("*",), False),
        (("*",), ("!v*",), True),
    ],
)
def test_covering_list_selects_every_name_of_the_other(
    outer: tuple[str, ...], inner: tuple[str, ...], covered: bool
) -> None:
    assert covers(outer, inner, use_regex=False) is covered


def test_regular_expressions_cover_only_their_like() -> None:
    assert covers((r"v.*",), (r"v.*",), use_regex=True)
    assert covers(("*",), (r"v.*",), use_regex=True)
    assert not covers((r"v.*",), (r"v1",), use_regex=True)


GLOBS = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]"]), min_size=1, max_size=5).map("".join)
LISTS = st.lists(st.tuples(st.sampled_from(["", "", "!"]), GLOBS).map("".join), min_size=1, max_size=3).map(tuple)


@given(LISTS, LISTS, st.lists(st.text("abc", max_size=5), max_size=30))
@settings(max_examples=500, deadline=None)
def test_covered_name_is_selected(outer: tuple[str, ...], inner: tuple[str, ...], names: list[str]) -> None:
    if covers(outer, inner, use_regex=False):
        for name in names:
            assert patterns(outer).select(name) or not patterns(inner).select(name)
