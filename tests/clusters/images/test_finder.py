"""The search that decides whether an object is read must never miss a name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acr_cleanup.clusters.images.finder import Finder, compiled
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.core.references import RegistryHost
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import OURS, kept
from tests.helpers.mention_builders import HIDDEN_NAMES, config_map, row
from tests.helpers.mention_worlds import WORLDS, MentionWorld

MANY_NAMES = Finder(Names.of(OURS, [f"team/n{number}" for number in range(5_000)]))


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image n4999.", True),
        ('{"image":"team/n1"}', True),
        ("image n6000 in n4999x", False),
        ("x" * 19, False),
        ("x" * 20, True),
        ("a\\b", True),
    ],
)
def test_more_names_than_an_automaton_holds_are_looked_up(text: str, found: bool) -> None:
    """Long words and escapes may hide a name."""
    assert MANY_NAMES.names_something(text.encode()) is found


@pytest.mark.parametrize(
    "text", ["CONTOSO.azurecr.io", "contoso.weu.geo.azurecr.io", "old.example.com", "x/team/y", "web.", "image=web"]
)
def test_hosts_folders_and_ends_are_found(text: str) -> None:
    finder = Finder(Names.of(RegistryHost("contoso.azurecr.io", frozenset({"old.example.com", ""})), ["team/web"]))
    assert finder.names_something(text.encode())
    assert not finder.names_something(b"webs contoso azurecr.io team y/teams x-web")


def test_expression_that_is_too_large_has_no_search(capfd: pytest.CaptureFixture[str]) -> None:
    assert compiled("((a{100}){100}){100}", "search") is None
    assert compiled("[", "search") is None
    assert capfd.readouterr() == ("", ""), "the library writes nothing into the log"


def test_names_are_looked_up_if_an_expression_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acr_cleanup.clusters.images.finder.compiled", lambda *_: None)
    finder = Finder(Names.of(OURS, ["shop/web"]))
    assert finder.names_something(b"image: web")
    assert not finder.names_something(b"nothing")
