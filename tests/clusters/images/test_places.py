"""The places of names, as whole chunks: the same in short and long texts, however many names there are."""

from __future__ import annotations

import pytest

from acr_cleanup.clusters.images.object_texts import Node, Text
from acr_cleanup.clusters.images.places import places_of

MANY = [f"shop/n{number}" for number in range(20)]
TEXT = "shop/n1 shop/n10: x/shop/n2 $shop/n3 'shop/n4' shop/n5-b shop/n6:1 (shop/n7) shop/n8:\nshop/n9"
FOUND = ["shop/n1", "shop/n10", "shop/n4", "shop/n7", "shop/n8", "shop/n9"]


@pytest.mark.parametrize(
    "padding", ["", " " + "x y " * 10_000, " " + "x é " * 10_000], ids=["short", "long", "not ASCII"]
)
@pytest.mark.parametrize("names", [MANY, FOUND], ids=["many", "few"])
def test_whole_chunks_are_found(names: list[str], padding: str) -> None:
    text = Text(TEXT + padding, Node(None, None, None), "key")
    found = [(start, chunk) for _, start, chunk in places_of(names, [text])]
    assert sorted(found) == [(TEXT.index(chunk), chunk) for chunk in FOUND]


def test_place_with_equal_surroundings_counts_once() -> None:
    """A log may repeat a line a thousand times. With few names, this is cheap to see."""
    text = Text(("x" * 500 + " shop/n1 ") * 9, Node(None, None, None), "key")
    assert [start for _, start, _ in places_of(["shop/n1"], [text])] == [501, 4573]
