"""Objects with more text than is split into words: the same tags are kept as in small ones, in bounded time."""

from __future__ import annotations

import itertools
import string
import time
from dataclasses import replace
from typing import Any

import pytest

from acr_cleanup.clusters.images import mention_index, pod_specs
from acr_cleanup.clusters.images.mention_index import MentionIndex
from acr_cleanup.clusters.images.words import chunks_of
from acr_cleanup.core.mentions import ListedNames
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, b64, config_map, custom, row
from tests.helpers.mention_worlds import WORLDS, MentionWorld

FILLER = " ".join("".join(letters) for letters in itertools.islice(itertools.permutations("qzxjkvwyu", 7), 20_000))
REPEATED = "settings of nothing in particular\n" * 5_000


def with_text(world: MentionWorld, text: str) -> MentionWorld:
    objects: list[dict[str, Any]] = [{**value, "filler": text} for value in world.objects]
    return replace(world, objects=objects)


@pytest.mark.parametrize(
    ("world", "text"),
    [
        # Most of them run with the extended tests: all take seconds.
        pytest.param(
            world,
            text,
            id=f"{kind}-{world.title}",
            marks=[pytest.mark.extended] if number % 6 or kind != "distinct" else [],
        )
        for number, world in enumerate(WORLDS)
        for kind, text in (("distinct", FILLER), ("repeated", REPEATED))
    ],
)
def test_long_object_keeps_the_same_tags(world: MentionWorld, text: str) -> None:
    found = read(with_text(world, text))
    assert {repository: kept(found, repository, *tags) for repository, tags in world.tags.items()} == {
        repository: world.must_stay(repository) for repository in world.tags
    }


OBJECT = custom(a={"image": "shop/web"}, b={"c": {"version": "1.4.2"}}, d={"e": {"note": "of distroless"}})
REFERENCES = "\n".join(f"quay.io/x/y{letters}:1.4.1" for letters in itertools.islice(FILLER.split(), 9000))
TAGS = {"shop/web": ["1.4.2", "1.4.2-distroless", "1.4.2-slim", "1.4.1", "canary"]}
KEPT = {"1.4.2", "1.4.2-distroless"}


def tags_kept(text: str) -> set[str]:
    return kept(read(with_text(row("", OBJECT, TAGS, {}), text)), "shop/web", *TAGS["shop/web"])


@pytest.mark.parametrize("end", ["", ": pulled"])
def test_tag_of_another_reference_in_a_long_text_does_not_count(end: str) -> None:
    assert tags_kept(f"{FILLER} quay.io/x/y:1.4.1{end} {FILLER}") == KEPT


@pytest.mark.extended
def test_tags_of_other_references_in_a_long_text_do_not_count() -> None:
    assert tags_kept(f"{FILLER}\n{REFERENCES}") == KEPT


def test_packed_document_in_a_long_text_is_read() -> None:
    packed = b64(f"image: {X}/shop/web\nannotation: none\ntag: canary\n")
    assert packed not in (packed.lower(), packed.upper())
    found = read(row("", config_map(a=f"{FILLER} document: {packed} {FILLER}"), TAGS, {}))
    assert kept(found, "shop/web", *TAGS["shop/web"]) == {"canary"}


def test_reduced_object_takes_any_letters_as_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_specs, "MOST_HELD", -1)
    assert tags_kept(FILLER) == {*KEPT, "1.4.2-slim"}


def test_reduced_object_of_other_words_may_mean_any_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_specs, "MOST_HELD", -1)
    assert tags_kept("".join(f"{word}7 " for word in FILLER.split())) == set(TAGS["shop/web"])


def test_exhausted_search_of_large_objects_keeps_every_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mention_index, "_MOST_SEARCHED", -1)
    assert tags_kept(FILLER) == set(TAGS["shop/web"])


def test_object_with_many_names_is_unpacked_once() -> None:
    """The words of a large object are found for each of its many names."""
    names = ["".join(letters) for letters in itertools.islice(itertools.permutations("abcdefgh", 4), 200)]
    listed = config_map(a="\n".join(f"team/{name}" for name in names), b=f"1.4.2 {FILLER}")
    found = read(row("", listed, {f"team/{name}": ["1.4.2", "1.4.1"] for name in names}, {}))
    index = MentionIndex(found.mentions)
    began = time.process_time()
    for name in names:
        assert set(index.of(ListedNames(f"team/{name}", {"1.4.2": None, "1.4.1": None})).by_tag) == {"1.4.2"}
    assert time.process_time() - began < 5


@pytest.mark.extended
def test_many_tags_are_searched_in_many_large_objects_in_bounded_time() -> None:
    """A search costs one pass over each object, not one for each tag."""
    objects = [config_map(f"s-{number}", a=f"image: {X}/shop/web", b=f"{FILLER} 2.{number}.0") for number in range(60)]
    tags = [f"{major}.{number}.{patch}" for major in range(5) for number in range(60) for patch in range(5)]
    found = read(row("", objects, {"shop/web": tags}, {}))
    began = time.process_time()
    assert kept(found, "shop/web", *tags) == {f"2.{number}.0" for number in range(60)}
    assert time.process_time() - began < 10


@pytest.mark.extended
@pytest.mark.parametrize("letters", [string.ascii_lowercase, "/:@", "{}$", "%2F", "\\u002f", "&#47;", "AAAA"])
def test_text_of_one_mib_without_a_blank_is_read(letters: str) -> None:
    text = (letters * (1 << 20))[: 1 << 20]
    began = time.process_time()
    read(row("", config_map(a=f"{text}x", b=f"{X}/shop/web:1.2"), {"shop/web": ["1.2"]}, {}))
    assert time.process_time() - began < 5


HOSTILE = {
    "digests": [f"{number:064x}" for number in range(5_000)],
    "base64 in lines": [f"QUJD{number:056}" for number in range(5_000)],
    "names with tags": [f"team/n{number % 500}: 1.{number}" for number in range(15_000)],
    "one name in a log": [f"web {number}" for number in range(10_000)],
    "references without a tag": [f"image: {X}/team/n{number % 500}" for number in range(10_000)],
    "references of others": [f"image: quay.io/a/b{number}:1.{number}" for number in range(10_000)],
    "templates": [f"{X}/{{{{x{number}}}}}:1" for number in range(10_000)],
}


@pytest.mark.extended
@pytest.mark.parametrize("as_fields", [False, True], ids=["text", "fields"])
@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_object_with_many_of_a_kind_is_read_in_bounded_time(lines: list[str], as_fields: bool) -> None:
    data = {f"k{number}": line for number, line in enumerate(lines)} if as_fields else {"text": "\n".join(lines)}
    repositories = {f"team/n{number}": ["1.2"] for number in range(500)} | {"web": ["1.2"], "shop/web": ["1.2"]}
    began = time.process_time()
    read(row("", config_map(**data), repositories, {}))
    assert time.process_time() - began < 10


def test_repeated_lines_have_the_chunks_of_one() -> None:
    once = b"image: web:\n  tag: 1.2\nx/web:1.2, api: y\nweb:"
    chunks, special = chunks_of(once, {b"web"})
    repeated, special_repeated = chunks_of(b"\n".join([once] * 5_000), {b"web"})
    assert repeated == chunks
    assert sorted(special_repeated) == sorted(special)
