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
    """The path of the Link header."""
    link = answer.headers.get("Link")
    if link is None:
        return None
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    return link[1 : link.index(">")]


async def pages(registry: RegistryClient, path: str) -> list[RegistryAnswer]:
    """Every page of a list."""
    found = []
    here: str | None = path
    while here is not None:
        answer = await registry.get(here)
        assert answer.status == 200, answer
        found.append(answer)
        here = next_page(answer)
    return found


async def test_a_list_ends_after_a_hundred_unless_more_are_asked_for(world: World, registry: RegistryClient) -> None:
    for number in range(250):
        world.registry.push("shop/web", f"1.{number}")
    sizes = [len(page.json["tags"]) for page in await pages(registry, "/acr/v1/shop%2Fweb/_tags")]
    assert sizes == [100, 100, 50]


async def test_no_page_is_longer_than_a_thousand(world: World, registry: RegistryClient) -> None:
    for number in range(1_200):
        world.registry.push("shop/web", f"1.{number}")
    for kind in ("tags", "manifests"):
        found = await pages(registry, f"/acr/v1/shop/web/_{kind}?n=5000")
        assert [len(page.json[kind]) for page in found] == [1000, 200]
        assert len({str(item) for page in found for item in page.json[kind]}) == 1200


async def test_the_link_is_relative_and_escaped(world: World, registry: RegistryClient) -> None:
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
async def test_tags_come_by_name_or_by_last_update(
    world: World, registry: RegistryClient, order: str, expected: list[str], n: int
) -> None:
    for tag, age in (("a", 1), ("b", 3), ("c", 2)):
        world.registry.push("web", tag, age=age * DAY)
    found = await pages(registry, f"/acr/v1/web/_tags?n={n}&orderby={order}")
    assert [tag["name"] for page in found for tag in page.json["tags"]] == expected


@pytest.mark.parametrize("order", ["", "timeasc", "timedesc"])
async def test_paging_goes_on_where_it_stood_when_the_last_item_is_deleted(
    world: World, registry: RegistryClient, order: str
) -> None:
    for number in range(6):
        world.registry.push("web", f"t{number}", age=timedelta(days=number))
    first = await registry.get(f"/acr/v1/web/_tags?n=3&orderby={order}")
    await registry.delete(f"/acr/v1/web/_tags/{first.json['tags'][-1]['name']}")
    link = next_page(first)
    assert link is not None
    second = await registry.get(link)
    names = [tag["name"] for answer in (first, second) for tag in answer.json["tags"]]
    assert sorted(names) == [f"t{number}" for number in range(6)]


async def test_the_tags_of_one_digest_can_be_asked_for(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "1.0")
    world.registry.tag("web", "also-1.0", digest)
    world.registry.push("web", "2.0")
    answer = await registry.get(f"/acr/v1/web/_tags?digest={digest.replace(':', '%3A')}")
    assert [tag["name"] for tag in answer.json["tags"]] == ["1.0", "also-1.0"]


async def test_what_is_not_listed_can_still_be_named(world: World, registry: RegistryClient) -> None:
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


async def test_a_manifest_shows_ten_of_its_tags_and_no_field_for_none(world: World, registry: RegistryClient) -> None:
    digest = world.registry.push("web", "t0")
    for number in range(1, 15):
        world.registry.tag("web", f"t{number}", digest)
    world.registry.push("web")
    by_digest = {m["digest"]: m for m in (await registry.get("/acr/v1/web/_manifests")).json["manifests"]}
    assert len(by_digest.pop(digest)["tags"]) == 10
    (untagged,) = by_digest.values()
    assert "tags" not in untagged


async def test_the_catalog_pages_like_everything_else(world: World, registry: RegistryClient) -> None:
    for name in ("b", "a/b", "a"):
        world.registry.push(name, "1")
    for version in ("/acr/v1", "/v2"):
        found = await pages(registry, f"{version}/_catalog?n=2")
        assert [page.json["repositories"] for page in found] == [["a", "a/b"], ["b"]]


@pytest.mark.parametrize("n", ["0", "-1", "many"])
async def test_nonsense_for_a_page_is_refused(world: World, registry: RegistryClient, n: str) -> None:
    world.registry.push("web", "1.0")
    answer = await registry.get(f"/acr/v1/web/_tags?n={n}")
    assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


def test_timestamps_have_up_to_seven_digits() -> None:
    def of(microsecond: int) -> str:
        return timestamp(datetime(2021, 5, 11, 21, 17, 46, microsecond, tzinfo=UTC))

    assert of(36567) == "2021-05-11T21:17:46.0365677Z"
    assert of(894000) == "2021-05-11T21:17:46.894Z"
    assert of(0) == "2021-05-11T21:17:46Z"
