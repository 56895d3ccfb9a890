"""The words of a long text: the tags of references belong to these alone, wherever they stand in the text."""

from __future__ import annotations

from acr_cleanup.clusters.images.long_texts import long_runs, read_long
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.words import Written
from tests.helpers.cluster_objects import OURS

DISTINCT = " ".join(f"word{number}" for number in range(9000))
REFERENCE = Written(is_reference=True)


def test_references_at_both_ends_of_a_long_text_are_whole_chunks() -> None:
    names = Names.of(OURS, ["q", "shop/web"])
    for text, chunks in (
        (f" shop/web:1.0 {DISTINCT} shop/web:2.0", {"shop/web:1.0", "shop/web:2.0"}),
        (f"shop/web:1.0, {DISTINCT} end q", {"shop/web:1.0", "q"}),
        (f"{DISTINCT} 'shop/web:1.0' x q y", {"shop/web:1.0", "q"}),
    ):
        long = read_long(text.encode(), names)
        assert long is not None
        assert set(long.chunks.decode().split()) == chunks
        words = long.words({chunk.encode(): REFERENCE for chunk in chunks}).split()
        assert not {b"1.0", b"2.0", b"q"} & set(words)
        assert {b"word0", b"word8999"} <= set(words)


def test_first_chunk_of_a_long_text_may_be_one_character() -> None:
    long = read_long(f"q {DISTINCT}".encode(), Names.of(OURS, ["q"]))
    assert long is not None
    assert long.chunks == b"q"


def test_ends_of_words_in_a_long_text_are_words() -> None:
    """`suffix: -alpine`, `prefix: release-`"""
    long = read_long(f"suffix: -alpine {DISTINCT} prefix: release- a-b".encode(), Names.of(OURS, ["web"]))
    assert long is not None
    assert {b"alpine", b"release", b"a-b"} <= set(long.words({}).split())


def test_runs_are_long_and_of_any_characters_of_a_reference() -> None:
    run = "AZaz09_.-/:@+$%" * 3
    data = f"{run[:39]} {run[:40]} ({'A' * 40}) {'b' * 40}: {'é' * 40}"
    assert long_runs(data.encode()) == {run[:40], "A" * 40, "b" * 40}
