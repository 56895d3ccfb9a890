"""The newest entries of an emulated repository, and what makes them no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from acr_cleanup.core.references import Digest
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from acr_cleanup.errors import NotListed
from acr_cleanup.registry.requests import NEWEST
from tests.helpers.registry_clients import HttpAnswer, ReceivedRequest, emulated_registry, scripted_registry

OLD = timedelta(days=100)
NAME = "shop/web"


def since(minutes: int = 5) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def settled() -> asyncio.Event:
    """No deletion is in flight, so the counts may be read."""
    event = asyncio.Event()
    event.set()
    return event


def world_of(old: int) -> World:
    world = World()
    for number in range(old):
        world.registry.push(NAME, f"1.{number}", age=OLD + timedelta(minutes=number))
    return world


async def test_changes_are_read_with_three_requests() -> None:
    world = world_of(1_500)
    async with emulated_registry(world) as connected:
        known = (await connected.registry.list_repository(NAME)).manifests.keys()
        before = connected.sent()
        pushed = world.registry.push(NAME, "new")
        world.registry.tag(NAME, "1.0", pushed)
        changes = await connected.registry.read_changes(NAME, since(), known, settled())
        assert changes is not None
        assert {tag.name: tag.digest for tag in changes.tags} == {"new": pushed, "1.0": pushed}
        assert [manifest.digest for manifest in changes.manifests] == [pushed]
        assert (changes.tag_count, changes.manifest_count, changes.locked) == (1_501, 1_501, False)
        assert connected.sent() - before == 3


async def test_further_pages_are_read_while_their_entries_are_new() -> None:
    """The first page has 100 entries, each further one 1,000."""
    world = world_of(1_500)
    for number in range(1_200):
        world.registry.push(NAME, f"new-{number}")
    async with emulated_registry(world) as connected:
        changes = await connected.registry.read_changes(NAME, since(), {Digest(d) for d in digests(world)}, settled())
        assert changes is not None
        assert len(changes.tags) == len(changes.manifests) == 1_200
        assert connected.sent(path="/_tags$") == connected.sent(path="/_manifests$") == 3


async def test_counts_are_read_only_when_settled() -> None:
    """The lists are read before: the next look begins while deletions are in flight."""
    world = world_of(3)
    async with emulated_registry(world) as connected:
        event = asyncio.Event()
        reading = asyncio.ensure_future(connected.registry.read_changes(NAME, since(), (), event))
        while connected.sent(path="/_(tags|manifests)$") < 2:  # noqa: ASYNC110  (requests raise no event)
            await asyncio.sleep(0.01)
        world.registry.push(NAME, "later")
        assert connected.sent(path=f"{NAME}$") == 0
        event.set()
        changes = await reading
        assert changes is not None
        assert (changes.tags, changes.tag_count) == ((), 4)


def digests(world: World) -> set[str]:
    return set(world.registry.repositories[NAME].manifests)


async def test_edges_of_new_manifests_are_read() -> None:
    world = world_of(3)
    old = sorted(digests(world))
    child = next(iter(old))
    index = world.registry.push_index(NAME, "list", children=[child])
    signature = world.registry.push_referrer(NAME, child)
    converted = world.registry.push(NAME, "converted", media_type=OCI_MANIFEST)
    async with emulated_registry(world) as connected:
        changes = await connected.registry.read_changes(NAME, since(), {Digest(digest) for digest in old}, settled())
        assert changes is not None
        manifests = {manifest.digest: manifest for manifest in changes.manifests}
        assert manifests[Digest(index)].children == (child,)
        assert manifests[Digest(signature)].subject == child
        assert all(manifests[Digest(digest)].known for digest in (index, signature, converted))
        assert connected.sent(path="^/v2/.*/manifests/") == 3


async def test_locked_repository_is_told() -> None:
    world = world_of(3)
    world.registry.lock(NAME)
    async with emulated_registry(world) as connected:
        changes = await connected.registry.read_changes(NAME, since(), (), settled())
        assert changes is not None
        assert changes.locked


@pytest.mark.parametrize("what", ["index without a body", "unlisted tag"])
async def test_new_manifest_that_is_not_shown_completely_is_no_answer(what: str) -> None:
    world = world_of(3)
    known = {Digest(digest) for digest in digests(world)}
    world.registry.push_index(NAME, "list", children=sorted(known)[:1])
    if what == "unlisted tag":
        world.registry.lock(NAME, "list", list=False)
    else:
        world.faults.append(Fault(service="acr", path="^/v2/.*/manifests/", status=500))
    async with emulated_registry(world) as connected:
        assert await connected.registry.read_changes(NAME, since(), known, settled()) is None


def listed(*entries: tuple[str, str | None]) -> Callable[[ReceivedRequest, Any], HttpAnswer]:
    """A registry whose list of tags has these names and times, in this order."""
    digest = "sha256:" + "a" * 64

    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        if received.path.endswith("/_tags"):
            tags = [{"name": name, "digest": digest, "lastUpdateTime": moment} for name, moment in entries]
            return HttpAnswer(request, 200, {"tags": tags})
        if received.path.endswith("/_manifests"):
            return HttpAnswer(request, 200, {"manifests": []})
        return HttpAnswer(request, 200, {"imageName": NAME, "manifestCount": 0, "tagCount": len(entries)})

    return answer


@pytest.mark.parametrize(
    "entries",
    [
        [("old", "2020-01-01T00:00:00Z"), ("new", "2026-01-01T00:00:00Z")],
        [("new", "2026-01-01T00:00:00Z"), ("none", None)],
        [("none", "0001-01-01T00:00:00Z")],
    ],
    ids=["not in order", "no time", "no time at all"],
)
async def test_list_that_is_not_in_the_order_of_its_times_is_no_answer(entries: list[tuple[str, str | None]]) -> None:
    """The registry does not know this order: the newest entries may be on any page."""
    async with scripted_registry(listed(*entries)) as (registry, _):
        assert await registry.read_changes(NAME, datetime(2025, 1, 1, tzinfo=UTC), (), settled()) is None


@pytest.mark.parametrize("what", ["tags", "manifests"])
async def test_newest_list_that_cannot_be_decoded_is_an_error(what: str) -> None:
    world = world_of(1)
    world.faults.append(Fault(service="acr", path=f"/_{what}$", status=200, body=b"[]"))
    async with emulated_registry(world) as connected:
        with pytest.raises(NotListed) as caught:
            await connected.registry.read_changes(NAME, since(), (), settled())
    assert f": listing the newest {what} of {NAME}: the response is not a valid list: " in str(caught.value)
    assert "Expected `object`, got `array`." in str(caught.value)


async def test_entries_before_the_time_are_left_out() -> None:
    entries = [("new", "2026-01-01T00:00:00Z"), ("old", "2020-01-01T00:00:00Z")]
    async with scripted_registry(listed(*entries)) as (registry, transport):
        changes = await registry.read_changes(NAME, datetime(2025, 1, 1, tzinfo=UTC), (), settled())
        assert changes is not None
        assert [tag.name for tag in changes.tags] == ["new"]
        assert all("orderby=timedesc" in request.url for request in transport.received if "?n=" in request.url)


async def test_full_first_page_without_a_link_is_followed_by_another_request() -> None:
    """A proxy may drop the Link header: a page of 100 new tags must not look like all of them."""
    entries = [(f"new-{number}", "2026-01-01T00:00:00Z") for number in range(NEWEST + 20)]

    def answer(received: ReceivedRequest, request: Any) -> HttpAnswer:
        shown = entries[NEWEST:] if "last=" in received.url else entries[:NEWEST]
        return listed(*shown)(received, request)

    async with scripted_registry(answer) as (registry, _):
        changes = await registry.read_changes(NAME, datetime(2025, 1, 1, tzinfo=UTC), (), settled())
        assert changes is not None
        assert len(changes.tags) == NEWEST + 20
