"""The parts of tags that are looked up in the words of large objects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.clusters.images.large_search import LargeSearch, Unpacked, distinctive_parts, made_of
from acr_cleanup.clusters.images.words import beginning, beginnings, plain_form, spellings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PARTS = st.text("v1.a", max_size=4) | st.sampled_from([COMMIT, "v1.2", "vv2", "alpine", "k3s1."])
TAGS = st.lists(st.tuples(PARTS, st.sampled_from("-_+")), min_size=1, max_size=4)


def test_parts_of_a_tag_are_contiguous_and_distinctive() -> None:
    assert {*distinctive_parts("1.4.2-alpine-3.19")} == {"1.4.2", "1.4.2-alpine", "alpine-3.19", "3.19"}
    assert [*distinctive_parts("1.4.2")] == []


def test_tag_is_made_of_words_of_which_one_is_distinctive() -> None:
    words, letters = {b"1.4.2", b"v7.0.1"}, {b"alpine", b"slim"}
    assert made_of("1.4.2-alpine", words, letters)
    assert made_of("alpine-7.0.1_slim", words, letters)
    for tag in ("1.4.2", "1.4.2-bookworm", "alpine-slim", "1.4.3-alpine"):
        assert not made_of(tag, words, letters), tag


def test_tag_is_not_made_of_more_parts_than_are_tried() -> None:
    parts = [f"a{letter}" for letter in "abcdefgh"]
    words, letters = {b"1.4.2"}, {part.encode() for part in parts}
    assert made_of("-".join(["1.4.2", *parts]), words, letters)
    assert not made_of("-".join(["1.4.2", *parts, "aa"]), words, letters)


def test_distinctive_word_may_be_any_part_of_a_tag() -> None:
    letters = {b"alpine", b"slim"}
    for tag in ("1.4.2-alpine-slim", "alpine-1.4.2-slim", "alpine-slim-1.4.2"):
        assert made_of(tag, {b"1.4.2"}, letters), tag
        assert made_of(tag, {b"1.4.2-alpine", b"slim-1.4.2", b"alpine-1.4.2"}, letters), tag
        assert not made_of(tag, {b"1.4.2"}, {b"alpine"}), tag


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x 1.4.2 y", ["1.4.2"]),
        ("v1.4.2 x", ["1.4.2"]),
        ("x 7.0.1_build.3", ["7.0.1_build.3"]),
        ("x 7.0.1+build.3.", ["7.0.1_build.3"]),
        ("alpine 1.4.2", ["1.4.2", "1.4.2-alpine"]),
        ("1.4.2-alpine x", ["1.4.2-alpine"]),
        ("1.4.2-slim 1.4.23 x1.4.2", []),
        ("alpine x", []),
    ],
)
def test_search_and_lookup_find_the_same_tags(text: str, found: list[str]) -> None:
    """One searches the text of a large object, the other has its words."""
    search = LargeSearch(["1.4.2", "1.4.2-alpine", "7.0.1_build.3", "2.0"])
    words = frozenset(text.encode().split())
    assert search.forms_in(text.encode(), lambda: (words, words)) == found
    assert search.forms_among(words, words) == found


def test_text_is_unpacked_only_for_a_part_of_a_tag() -> None:
    def unpacked() -> Unpacked:
        raise AssertionError

    search = LargeSearch(["1.4.2", "3.19-alpine"])
    assert search.forms_in(b"a 1.4.2 b", unpacked) == ["1.4.2"]
    with pytest.raises(AssertionError):
        search.forms_in(b"a 3.19 b", unpacked)


def test_too_many_tags_have_no_expression() -> None:
    """Each tag has four spellings. Without an expression, the words of the object are looked up."""
    tags = [f"1.{number}" for number in range(1_251)]
    assert LargeSearch(tags[:1_250]).expression is not None
    assert LargeSearch(tags).expression is None
    assert LargeSearch(tags).forms_among({b"1.7", b"1.9999"}, set()) == ["1.7"]


@given(TAGS)
def test_every_word_of_a_tag_has_a_beginning_of_the_tag(parts: list[tuple[str, str]]) -> None:
    """A tag without any of these beginnings is not looked up."""
    form = plain_form("".join(f"{part}{separator}" for part, separator in parts)[:-1])
    for part in (form, *distinctive_parts(form)):
        assert {beginning(word) for word in spellings(part)} <= {*beginnings(form)}
