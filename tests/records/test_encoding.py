"""Documents that are encoded item by item equal those that are encoded at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
import pytest

from acr_cleanup.records.encoding import PAUSE, content_hash, hashed_pieces, lazy, lazy_groups, line, pieces
from tests.helpers.reviewed_plans import expected_hash

NAMES = ["web", "a\nb", "##vso[task]", "\x7f", "é", '"', ""]


class Item(msgspec.Struct):
    name: str
    number: int = 0


class Document(msgspec.Struct):
    zone: str
    few: list[str]
    items: list[Item]
    after: int
    hash: str = ""


def document(groups: list[list[Item]]) -> Document:
    return Document("z", lazy(lambda: ["b", "a"]), lazy_groups(lambda: groups), 1)


@pytest.mark.parametrize("sizes", [[], [0], [1], [0, 3, 0], [499], [500], [501], [1200, 0, 7]])
def test_streamed_hash_equals_the_hash_of_the_content(sizes: list[int]) -> None:
    groups = [[Item(NAMES[number % 7], number) for number in range(size)] for size in sizes]

    loaded = json.loads("".join(hashed_pieces(document(groups))))

    assert loaded["items"] == [msgspec.to_builtins(item) for group in groups for item in group]
    assert loaded["hash"] == expected_hash(loaded) == content_hash(document(groups)) == content_hash(loaded)


def test_every_group_ends_with_a_pause() -> None:
    groups = [[Item("a")] * 600, [], [Item("b")]]

    assert sum(piece == PAUSE for piece in pieces(document(groups))) == len(groups)


@pytest.mark.parametrize("name", [*NAMES, "\ud800"])
def test_batch_equals_its_items_one_by_one(name: str) -> None:
    """One hostile name among ordinary ones changes the encoding of no other item."""
    items = [Item("web"), Item(name), Item("app")]

    text = "".join(pieces(document([items])))

    assert f'"items": [\n    {line(items[0])},\n    {line(items[1])},\n    {line(items[2])}\n  ]' in text
    assert text.isascii()
    assert "##" not in text


def test_lone_surrogate_is_escaped_in_text_and_hash() -> None:
    loaded = json.loads("".join(hashed_pieces(document([[Item("web"), Item("\ud800")]]))))

    assert [item["name"] for item in loaded["items"]] == ["web", "\\ud800"]
    assert loaded["hash"] == expected_hash(loaded)


def test_streamed_items_are_made_once() -> None:
    made = 0

    def groups() -> Iterator[list[Item]]:
        nonlocal made
        made += 1
        yield [Item("web")]

    list(hashed_pieces(Document("z", [], lazy_groups(groups), 1)))

    assert made == 1
