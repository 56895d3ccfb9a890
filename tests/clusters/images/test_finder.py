"""The search that decides whether an object is read must never miss a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.clusters.images.finder import Finder
from acr_cleanup.clusters.images.names import Names
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import OURS, kept
from tests.helpers.mention_builders import HIDDEN_NAMES, config_map, row
from tests.helpers.mention_worlds import WORLDS, MentionWorld


def finds(world: MentionWorld, obj: Any, *, escapes: bool) -> bool:
    names = Names.of(OURS, world.tags, world.mirrors)
    return Finder(names).names_something(json.dumps(obj, ensure_ascii=escapes, separators=(",", ":")).encode())


@pytest.mark.parametrize("escapes", [True, False])
@pytest.mark.parametrize("text", HIDDEN_NAMES.values(), ids=HIDDEN_NAMES)
def test_hidden_name_is_found_and_kept(text: str, escapes: bool) -> None:
    world = row("hidden", config_map(x=text), {"shop/web": ["canary", "7"]}, {"shop/web": ["canary"]})
    assert finds(world, world.objects[0], escapes=escapes)
    assert kept(read(world), "shop/web", "canary", "7") == {"canary"}


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.title)
def test_object_that_keeps_a_tag_is_found(world: MentionWorld) -> None:
    for obj in world.objects:
        found = read(row("", obj, world.tags, {}, mirrors=world.mirrors))
        if found.uses or found.mentions or found.digests or found.foreign:
            assert finds(world, obj, escapes=False)


def test_search_rests_while_most_of_many_objects_match() -> None:
    finder = Finder(Names.of(OURS, ["shop/web"]))
    assert finder.may_name(b"image: shop/web")
    assert not finder.may_name(b"nothing"), "after one object, nothing is known of the others"
    assert all(finder.may_name(b"image: shop/web") for _ in range(100))
    rested = [finder.may_name(b"nothing") for _ in range(200)]
    assert rested == [True] * 7 + [False] * 193
    assert finder.may_name(b"image: shop/web"), "the search goes on"
