"""Foreign YAML becomes plain trees, or is refused; it never takes the process with it."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images import yaml_tree
from acr_cleanup.clusters.images.yaml_tree import NotPlain, documents_of

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=10)
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a: 1.10", [{"a": "1.10"}]),
        ("a: 1\n---\n- b\n- c\n--- d", [{"a": "1"}, ["b", "c"], "d"]),
        ("[~, null, Null, NULL, '', 'null', nil]", [[None, None, None, None, "", "null", "nil"]]),
        ("a:\nb: ''", [{"a": None, "b": ""}]),
        ("null: a\n? \n: b", [{"null": "a", "": "b"}]),
        ("a: true\nb: 0x10\nc: 2026-01-01", [{"a": "true", "b": "0x10", "c": "2026-01-01"}]),
        ("a: &x {b: c}\nd: *x", [{"a": {"b": "c"}, "d": {"b": "c"}}]),
        ("a: &x 1\nb: &x 2\nc: *x", [{"a": "1", "b": "2", "c": "2"}]),
        ("&k a: 1\nb: *k", [{"a": "1", "b": "a"}]),
        (
            "a: &x {r: 1, t: 1}\nb: {<<: *x, t: 2}\nc: {t: 3, <<: *x}",
            [
                {"a": {"r": "1", "t": "1"}, "b": {"r": "1", "t": "2"}, "c": {"r": "1", "t": "3"}},
            ],
        ),
        ("<<: [{a: 1}, {a: 2, b: 2}]", [{"a": "1", "b": "2"}]),
        ("<<: text", [{"<<": "text"}]),
        ("a: |\n  b\n  ---\n  c\n", [{"a": "b\n---\nc\n"}]),
        ("[" * 200 + "]" * 200, None),
    ],
)
def test_what_yaml_means(text: str, expected: Any) -> None:
    """The truth table; None: anything, but read."""
    documents = documents_of(text)
    assert expected is None or documents == expected


@pytest.mark.parametrize(
    "text",
    [
        "a: b: c",
        "a: [",
        "\tb: 1",
        "a: \x00",
        "a: \ud800",
        "[" * 100_000,
        "- " * 100_000,
        "[" * 201 + "]" * 201,
        "? [a]\n: b",
        "a: &a [1]\n*a : b",
        "a: *nobody",
        "a: &a [*a]",
        "a: &a 1\nb: &a [*a]",
        "a: &a 1\n---\nb: *a",
        LAUGHS,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_tree_that_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(NotPlain):
        documents_of(text)


@given(
    st.recursive(
        TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
    )
)
def test_what_was_written_is_read(value: Any) -> None:
    """Mappings, lists and quoted text come back as they were."""
    written = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    assert documents_of(written) == [value]


@given(st.text() | st.text("&*a[]{}<:-?|>'\"\\#%! \n", max_size=80))
def test_random_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(NotPlain):
        documents_of(text)


@pytest.mark.parametrize(
    ("text", "nodes"),
    [("a", 1), ("[a, b, [c]]", 5), ("a: b", 3), ("a: &x [1, 2]\nb: *x", 9), ("- &x 1\n- *x\n---\n- c", 5)],
)
def test_tree_has_as_many_nodes_as_its_aliases_stand_for(
    text: str, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_tree, "_MOST_NODES", nodes)
    assert documents_of(text)
    monkeypatch.setattr(yaml_tree, "_MOST_NODES", nodes - 1)
    with pytest.raises(NotPlain):
        documents_of(text)
