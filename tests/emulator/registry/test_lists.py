"""The lists of the emulated registry, on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.registry.shapes import timestamp
from tests.helpers.emulator_clients import RegistryAnswer, RegistryClient

DAY = timedelta(days=1)


def next_page(answer: RegistryAnswer) -> str | None:
    """Return the path of the Link header, or None without one."""
    link = answer.headers.get("Link")
    if link is None:
        return None
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    return link[1 : link.index(">")]


async def pages(registry: RegistryClient, path: str) -> list[RegistryAnswer]:
    """Return all pages of a list."""
    answers = []
    current: str | None = path
    while current is not None:
        answer = await registry.get(current)
        assert answer.status == 200, answer
        answers.append(answer)
        current = next_page(answer)
    return answers


async def test_list_without_n_has_pages_of_100(world: World, registry: RegistryClient) -> None:
    for number in range(250):
        world.registry.push("shop/web", f"1.{number}")
    sizes = [len(page.json["tags"]) for page in await pages(registry, "/acr/v1/shop%2Fweb/_tags")]
    assert sizes == [100, 100, 50]


async def test_list_with_large_n_has_pages_of_1000(world: World, registry: RegistryClient) -> None:
    for number in range(1_200):
        world.registry.push("shop/web", f"1.{number}")
    for kind in ("tags", "manifests"):
        answers = await pages(registry, f"/acr/v1/shop/web/_{kind}?n=5000")
        assert [len(page.json[kind]) for page in answers] == [1000, 200]
        assert len({str(item) for page in answers for item in page.json[kind]}) == 1200


async def test_next_page_link_is_relative_and_escaped(world: World, registry: RegistryClient) -> None:
    for tag in ("a+b", "b", "c"):
        world.registry.push("team/shop/web", tag)
    link = next_page(await registry.get("/acr/v1/team%2Fshop%2Fweb/_tags?n=1&orderby=timeasc"))
    assert link is not None
    parts = urlsplit(link)
    assert (parts.netloc, parts.path) == ("", "/acr/v1/team%2Fshop%2Fweb/_tags")
    assert parse_qs(parts.query) == {"last": ["a+b"], "n": ["1"], "orderby": ["timeasc"]}
    assert parts.query == "last=a%2Bb&n=1&orderby=timeasc"


@pytest.mark.parametrize(
    ("order", "expected"),
    [("", ["a", "b", "c"]), ("timeasc", ["b", "c", "a"]), ("timedesc", ["a", "c", "b"]), ("none", ["a", "b", "c"])],
)
@pytest.mark.parametrize("n", [1, 2, 3])
async def test_tags_are_ordered_by_name_or_update(
    world: World, registry: RegistryClient, order: str, expected: list[str], n: int
) -> None:
    for tag, age in (("a", 1), ("b", 3), ("c", 2)):
        world.registry.push("web", tag, age=age * DAY)
    answers = await pages(registry, f"/acr/v1/web/_tags?n={n}&orderby={order}")
    assert [tag["name"] for page in answers for tag in page.json["tags"]] == expected


@pytest.mark.parametrize("order", ["", "timeasc", "timedesc"])
async def test_paging_continues_after_its_last_item_is_deleted(
    world: World, registry: RegistryClient, order: str
) -> None:
    """The next page leaves out no item, in any order."""
    for number in range(6):
        world.registry.push("web", f"t{number}", age=timedelta(days=number))
    first = await registry.get(f"/acr/v1/web/_tags?n=3&orderby={order}")
    await registry.delete(f"/acr/v1/web/_tags/{first.json['tags'][-1]['name']}")
    link = next_page(first)
    assert link is not None
    second = await registry.get(link)
    names = [tag["name"] for answer in (first, second) for tag in answer.json["tags"]]
    assert sorted(names) == [f"t{number}" for number in range(6)]


async def test_list_with_digest_has_only_its_tags(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.tag("web", "also-1.0", digest)
    world.registry.push("web", "2.0")
    answer = await registry.get(f"/acr/v1/web/_tags?digest={digest.replace(':', '%3A')}")
    assert [tag["name"] for tag in answer.json["tags"]] == ["1.0", "also-1.0"]


async def test_unlisted_items_are_readable_by_name(world: World, registry: RegistryClient) -> None:
    """A lock of `list` hides an item from lists, but not from requests that name it."""
    digest = world.registry.push("web", "1.0")
    world.registry.push("hidden", "1.0")
    world.registry.lock("web", "1.0", list=False)
    world.registry.lock("web", digest, list=False)
    world.registry.lock("hidden", list=False)
    assert (await registry.get("/acr/v1/web/_tags")).json["tags"] == []
    assert (await registry.get("/acr/v1/web/_manifests")).json["manifests"] == []
    assert (await registry.get("/acr/v1/_catalog")).json == {"repositories": ["web"]}
    assert (await registry.get("/acr/v1/web/_tags/1.0")).status == 200
    assert (await registry.get(f"/acr/v1/web/_manifests/{digest}")).status == 200


async def test_manifest_list_shows_at_most_ten_tags(world: World, registry: RegistryClient) -> None:
    """An untagged manifest has no `tags` field."""
    digest = world.registry.push("web", "t0")
    for number in range(1, 15):
        world.registry.tag("web", f"t{number}", digest)
    world.registry.push("web")
    by_digest = {m["digest"]: m for m in (await registry.get("/acr/v1/web/_manifests")).json["manifests"]}
    assert len(by_digest.pop(digest)["tags"]) == 10
    (untagged,) = by_digest.values()
    assert "tags" not in untagged


async def test_catalog_is_paged_by_name(world: World, registry: RegistryClient) -> None:
    for name in ("b", "a/b", "a"):
        world.registry.push(name, "1")
    for version in ("/acr/v1", "/v2"):
        answers = await pages(registry, f"{version}/_catalog?n=2")
        assert [page.json["repositories"] for page in answers] == [["a", "a/b"], ["b"]]


@pytest.mark.parametrize("n", ["0", "-1", "many"])
async def test_invalid_page_size_is_refused(world: World, registry: RegistryClient, n: str) -> None:
    world.registry.push("web", "1.0")
    answer = await registry.get(f"/acr/v1/web/_tags?n={n}")
    assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


def test_timestamps_have_up_to_seven_digits() -> None:
    def written(microsecond: int) -> str:
        return timestamp(datetime(2021, 5, 11, 21, 17, 46, microsecond, tzinfo=UTC))

    assert written(36567) == "2021-05-11T21:17:46.0365677Z"
    assert written(894000) == "2021-05-11T21:17:46.894Z"
    assert written(0) == "2021-05-11T21:17:46Z"
