"""List repositories, tags and manifests of the emulated registry, with few requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.errors import NotListed
from acr_cleanup.registry import requests
from acr_cleanup.registry.pace import Pace
from tests.bench.serving import counting_connections
from tests.helpers.registry_clients import HttpAnswer, emulated_registry, scripted_registry, world_with_tags

OCI_INDEX = "application/vnd.oci.image.index.v1+json"


# -- number of requests ----------------------------------------------------------------------------


async def test_list_and_delete_need_one_request_each() -> None:
    """
    10 repositories x 250 tags x 125 manifests are listed, then 500 tags are deleted.

    Half of them are deleted with their manifest.
    """
    world = World()
    for repository in range(10):
        for number in range(125):
            digest = world.registry.push(f"team/app{repository}", f"a{number}", age=timedelta(days=9))
            world.registry.tag(f"team/app{repository}", f"b{number}", digest, timedelta(days=9))
    async with emulated_registry(world) as connected:
        names = [f"team/app{repository}" for repository in range(10)]
        inventories = await asyncio.gather(*map(connected.registry.list_repository, names))
        assert [(len(inventory.tags), len(inventory.manifests)) for inventory in inventories] == [(250, 125)] * 10
        assert [await connected.registry.read_edges(inventory) for inventory in inventories] == inventories

        deletions = [
            connected.registry.delete_manifest(inventory.name, digest)
            for inventory in inventories
            for digest in sorted(inventory.manifests)[:25]
        ]
        deletions += [
            connected.registry.untag(inventory.name, tag.name)
            for inventory in inventories
            for tag in sorted(inventory.tags, key=lambda tag: tag.digest)[-25:]
        ]
        assert set(await asyncio.gather(*deletions)) == {OutcomeKind.DELETED}
        assert len(deletions) == 500
        pages = 20
        attributes = 10
        assert connected.sent() <= pages + attributes + len(deletions) + 3
        assert connected.sent(status=401) == 0


async def test_connections_never_exceed_the_concurrency() -> None:
    """Lists, deletions and the token requests of both share the connections."""
    world = World(latency=0.01)
    world.registry.abac = True
    names = [f"team/app{number}" for number in range(12)]
    digests = [(name, Digest(world.registry.push(name, f"{tag}"))) for name in names for tag in range(2)]
    with counting_connections() as accepted:
        async with emulated_registry(world, pace=Pace(2)) as connected:
            lists = [connected.registry.list_repository(name) for name in names]
            deletions = [connected.registry.delete_manifest(name, digest) for name, digest in digests]
            await asyncio.gather(*lists, *deletions)
            assert (connected.sent(path="/_tags$"), connected.sent(method="DELETE", status=202)) == (12, 24)
            assert connected.sent(path="^/oauth2/token$") > 1
            port = int(connected.emulator.registry_url.rpartition(":")[2])
    assert accepted[port] <= 2


# -- lists -----------------------------------------------------------------------------------------


async def test_list_repository_returns_tags_and_manifests() -> None:
    world = World()
    registry = world.registry
    image = registry.push("shop/web", "1.0", age=timedelta(days=40), size=1234, architecture="arm64")
    registry.tag("shop/web", "latest", image, timedelta(days=2))
    index = registry.push_index("shop/web", "multi", children=[image])
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
    tags = {tag.name: tag for tag in inventory.tags}
    assert {name: tag.digest for name, tag in tags.items()} == {"1.0": image, "latest": image, "multi": index}
    now = world.clock()
    assert tags["1.0"].updated_at is not None
    assert abs(now - timedelta(days=40) - tags["1.0"].updated_at) < timedelta(minutes=1)
    manifest = inventory.manifests[Digest(image)]
    assert (manifest.size, manifest.platform, manifest.is_image, manifest.known) == (1234, "linux/arm64", True, False)
    assert inventory.manifests[Digest(index)].media_type == OCI_INDEX


async def test_list_of_several_pages_is_complete() -> None:
    world = world_with_tags(2345)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
        assert len(inventory.tags) == len(inventory.manifests) == 2345
        assert connected.sent(path="/_tags$") == connected.sent(path="/_manifests$") == 3


async def test_full_page_without_link_asks_for_another() -> None:
    """A proxy may drop the Link header: a page of 1,000 tags must not look like all of them."""
    world = world_with_tags(1500)
    tags = list(world.registry.repositories["shop/web"].tags.values())
    page = {"tags": [{"name": tag.name, "digest": tag.digest} for tag in tags[:1000]]}
    world.faults.append(Fault(path="/_tags$", times=1, status=200, body=page))
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
        assert len(inventory.tags) == 1500
        assert connected.sent(path="/_tags$") == 2


@pytest.mark.parametrize("names", [[], ["shop/api", "shop/web"], [f"app/{number:04}" for number in range(1234)]])
async def test_catalog_returns_every_repository(names: list[str]) -> None:
    world = World()
    for name in names:
        world.registry.push(name, "1", content="the same")
    async with emulated_registry(world) as connected:
        assert await connected.registry.catalog() == tuple(names)


async def test_catalog_that_does_not_exist_is_not_empty() -> None:
    world = World()
    world.faults.append(Fault(path="/_catalog$", status=404, body={"errors": []}))
    async with emulated_registry(world) as connected:
        with pytest.raises(NotListed, match=r"listing the repositories.*404"):
            await connected.registry.catalog()


async def test_missing_repository_lists_as_empty() -> None:
    async with emulated_registry(World()) as connected:
        inventory = await connected.registry.list_repository("no/such")
    assert (inventory.name, inventory.tags, inventory.manifests) == ("no/such", (), {})


async def test_repository_without_tags_lists_its_manifests() -> None:
    world = world_with_tags(1)
    world.registry.tagless_is_unknown = True
    world.registry.repositories["shop/web"].untag("v0000")
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
    assert (len(inventory.tags), len(inventory.manifests)) == (0, 1)


@pytest.mark.parametrize("which", ["_tags", "_manifests"])
@pytest.mark.parametrize(
    "harm",
    [
        Fault(status=500),
        Fault(truncate=0.5),
        Fault(malformed=True),
        Fault(status=404, body={"errors": [{"code": "NAME_UNKNOWN", "message": "gone"}]}),
        Fault(reset=True),
    ],
    ids=["500", "truncated", "malformed", "404 in the middle", "reset"],
)
async def test_broken_page_fails_the_whole_repository(which: str, harm: Fault) -> None:
    world = world_with_tags(1200)
    world.faults.append(replace(harm, path=f"/{which}$", query="last="))
    async with emulated_registry(world) as connected:
        with pytest.raises(NotListed, match=f"registry localhost:.*listing the {which[1:]} of shop/web") as caught:
            await connected.registry.list_repository("shop/web")
    assert caught.value.remedy


async def test_404_web_page_is_not_an_empty_repository() -> None:
    """The page comes from a proxy or another host; the repository may well have tags."""
    world = world_with_tags()
    world.faults.append(
        Fault(path="/_tags$", status=404, headers={"Content-Type": "text/html"}, body="<html>not here</html>")
    )
    async with emulated_registry(world) as connected:
        with pytest.raises(NotListed, match=r"does not answer like.*container_registry\.url"):
            await connected.registry.list_repository("shop/web")


@pytest.mark.parametrize(
    ("delete", "write", "locked"), [(True, True, False), (False, True, True), (True, False, True), (False, False, True)]
)
async def test_disabled_delete_or_write_counts_as_locked(delete: bool, write: bool, locked: bool) -> None:
    world = world_with_tags(1)
    digest = world.registry.repositories["shop/web"].tags["v0000"].digest
    if locked:
        world.registry.lock("shop/web", "v0000", delete=delete, write=write)
        world.registry.lock("shop/web", digest, delete=delete, write=write)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
    assert [tag.locked for tag in inventory.tags] == [locked]
    assert [manifest.locked for manifest in inventory.manifests.values()] == [locked]


async def test_unlisted_tag_of_manifest_has_unknown_age() -> None:
    """Deleting the manifest would delete this tag, so the inventory must contain it."""
    world = world_with_tags(1)
    digest = world.registry.repositories["shop/web"].tags["v0000"].digest
    world.registry.tag("shop/web", "hidden", digest)
    world.registry.lock("shop/web", "hidden", list=False)
    async with emulated_registry(world) as connected:
        inventory = await connected.registry.list_repository("shop/web")
    assert {(tag.name, tag.digest, tag.updated_at is None) for tag in inventory.tags} == {
        ("v0000", digest, False),
        ("hidden", digest, True),
    }


# -- locks ------------------------------------------------------------------------------------------


async def test_entries_without_attributes_have_unknown_locks() -> None:
    """One tag and one manifest are listed without `changeableAttributes`; they are not unlocked."""
    world = world_with_tags(1)
    async with emulated_registry(world) as connected:
        assert (await connected.registry.list_repository("shop/web")).unknown_locks == 0
        world.registry.hides_locks = True
        world.access.assign_only("AcrPull")
        assert (await connected.registry.list_repository("shop/web")).unknown_locks == 2


async def test_endless_empty_pages_fail_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page names a new next page, so that no link repeats."""
    monkeypatch.setattr(requests, "EMPTY_PAGES", 3)

    def answer(received: Any, request: Any) -> HttpAnswer:
        number = received.url.partition("last=")[2][:1] or "0"
        link = f'<{received.path}?last={int(number) + 1}>; rel="next"'
        return HttpAnswer(request, 200, {"tags": [], "manifests": None}, {"Link": link})

    async with scripted_registry(answer) as (registry, _):
        with pytest.raises(NotListed, match="4 pages in a row are empty"):
            await registry.list_repository("shop/web")
