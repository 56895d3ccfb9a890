"""The parts of tags that are looked up in the words of large objects."""

from __future__ import annotations

from acr_cleanup.clusters.images.large_search import distinctive_parts, made_of


def test_parts_of_a_tag_are_contiguous_and_distinctive() -> None:
    assert {*distinctive_parts("1.4.2-alpine-3.19")} == {"1.4.2", "1.4.2-alpine", "alpine-3.19", "3.19"}
    assert [*distinctive_parts("1.4.2")] == []


def test_tag_is_made_of_words_of_which_one_is_distinctive() -> None:
    words, letters = {b"1.4.2", b"v7.0.1"}, {b"alpine", b"slim"}
    assert made_of("1.4.2-alpine", words, letters)
    assert made_of("alpine-7.0.1_slim", words, letters)
    for tag in ("1.4.2", "1.4.2-bookworm", "alpine-slim", "1.4.3-alpine"):
        assert not made_of(tag, words, letters), tag
