"""The registry edge against the emulated registry: what is listed, what is read, what is deleted, and with how many requests."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from azure.core.pipeline.transport import AioHttpTransport

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Budget, Fault, Hook
from acr_cleanup.emulator.registry.repository import Attributes
from acr_cleanup.errors import NotListed, RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.registry.acr import open_registry
from acr_cleanup.registry.pace import Pace
from acr_cleanup.registry.restoring import PartMissing
from acr_cleanup.registry.wire import Document
from tests.bench.serving import counting_connections
from tests.helpers.registry_clients import HOST, Login, connect, impatient

OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def a_shop(tags: int = 3) -> World:
    world = World()
    for number in range(tags):
        world.registry.push("shop/web", f"v{number:04}", age=timedelta(days=number))
    return world


# -- the target: one request per operation


async def test_one_request_per_operation() -> None:
    """10 repositories x 250 tags x 125 manifests, listed, and 500 tags deleted (half of them with their manifest)."""
    world = World()
    for repository in range(10):
        for number in range(125):
            digest = world.registry.push(f"team/app{repository}", f"a{number}", age=timedelta(days=9))
            world.registry.tag(f"team/app{repository}", f"b{number}", digest, timedelta(days=9))
    async with connect(world) as at:
        names = [f"team/app{repository}" for repository in range(10)]
        inventories = await asyncio.gather(*map(at.registry.list_repository, names))
        assert [(len(each.tags), len(each.manifests)) for each in inventories] == [(250, 125)] * 10
        assert [await at.registry.read_edges(each) for each in inventories] == inventories

        deletions = [
            at.registry.delete_manifest(inventory.name, digest)
            for inventory in inventories
            for digest in sorted(inventory.manifests)[:25]
        ]
        deletions += [
            at.registry.untag(inventory.name, tag.name)
            for inventory in inventories
            for tag in sorted(inventory.tags, key=lambda tag: tag.digest)[-25:]
        ]
        assert set(await asyncio.gather(*deletions)) == {OutcomeKind.DELETED}
        assert len(deletions) == 500
        pages = 20
        attributes = 10
        assert at.sent() <= pages + attributes + len(deletions) + 3
        assert at.sent(status=401) == 0


async def test_no_more_connections_are_opened_than_requests_may_run_at_once() -> None:
    """Lists, deletions and the tokens of both share them."""
    world = World(latency=0.01)
    world.registry.abac = True
    names = [f"team/app{number}" for number in range(12)]
    digests = [(name, Digest(world.registry.push(name, f"{tag}"))) for name in names for tag in range(2)]
    with counting_connections() as accepted:
        async with connect(world, pace=Pace(2)) as at:
            lists = [at.registry.list_repository(name) for name in names]
            deletions = [at.registry.delete_manifest(*each) for each in digests]
            await asyncio.gather(*lists, *deletions)
            assert (at.sent(path="/_tags$"), at.sent(method="DELETE", status=202)) == (12, 24)
            assert at.sent(path="^/oauth2/token$") > 1
            port = int(at.emulator.registry_url.rpartition(":")[2])
    assert accepted[port] <= 2


# -- listing


async def test_tags_and_manifests_are_listed_as_they_are() -> None:
    world = World()
    registry = world.registry
    image = registry.push("shop/web", "1.0", age=timedelta(days=40), size=1234, architecture="arm64")
    registry.tag("shop/web", "latest", image, timedelta(days=2))
    index = registry.push_index("shop/web", "multi", children=[image])
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
    tags = {tag.name: tag for tag in inventory.tags}
    assert {name: tag.digest for name, tag in tags.items()} == {"1.0": image, "latest": image, "multi": index}
    now = world.clock()
    assert tags["1.0"].updated_at is not None
    assert abs(now - timedelta(days=40) - tags["1.0"].updated_at) < timedelta(minutes=1)
    manifest = inventory.manifests[Digest(image)]
    assert (manifest.size, manifest.platform, manifest.is_image, manifest.known) == (1234, "linux/arm64", True, False)
    assert inventory.manifests[Digest(index)].media_type == OCI_INDEX


async def test_lists_longer_than_a_page_are_followed_to_their_end() -> None:
    world = a_shop(2345)
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
        assert len(inventory.tags) == len(inventory.manifests) == 2345
        assert at.sent(path="/_tags$") == at.sent(path="/_manifests$") == 3


async def test_a_full_last_page_without_a_link_is_not_believed_unasked() -> None:
    """A proxy that drops the Link header must not make a thousand tags look like all of them."""
    world = a_shop(1500)
    tags = list(world.registry.repositories["shop/web"].tags.values())
    page = {"tags": [{"name": tag.name, "digest": tag.digest} for tag in tags[:1000]]}
    world.faults.append(Fault(path="/_tags$", times=1, status=200, body=page))
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
        assert len(inventory.tags) == 1500
        assert at.sent(path="/_tags$") == 2


@pytest.mark.parametrize("names", [[], ["shop/api", "shop/web"], [f"app/{number:04}" for number in range(1234)]])
async def test_the_catalog_has_every_repository(names: list[str]) -> None:
    world = World()
    for name in names:
        world.registry.push(name, "1", content="the same")
    async with connect(world) as at:
        assert await at.registry.catalog() == tuple(names)


async def test_a_repository_that_is_not_there_is_empty() -> None:
    async with connect(World()) as at:
        inventory = await at.registry.list_repository("no/such")
    assert (inventory.name, inventory.tags, inventory.manifests) == ("no/such", (), {})


async def test_a_repository_without_tags_still_has_manifests() -> None:
    world = a_shop(1)
    world.registry.tagless_is_unknown = True
    world.registry.repositories["shop/web"].untag("v0000")
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
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
async def test_a_page_that_breaks_fails_the_whole_repository(which: str, harm: Fault) -> None:
    world = a_shop(1200)
    world.faults.append(replace(harm, path=f"/{which}$", query="last="))
    async with connect(world) as at:
        with pytest.raises(NotListed, match=f"registry localhost:.*listing the {which[1:]} of shop/web") as caught:
            await at.registry.list_repository("shop/web")
    assert caught.value.remedy


async def test_a_web_page_that_says_404_is_no_empty_repository() -> None:
    """Somebody else answers in the registry's place; to take that for an empty repository would hide it."""
    world = a_shop()
    world.faults.append(
        Fault(path="/_tags$", status=404, headers={"Content-Type": "text/html"}, body="<html>not here</html>")
    )
    async with connect(world) as at:
        with pytest.raises(NotListed, match=r"does not answer like.*container_registry\.url"):
            await at.registry.list_repository("shop/web")


@pytest.mark.parametrize(
    ("delete", "write", "locked"), [(True, True, False), (False, True, True), (True, False, True), (False, False, True)]
)
async def test_a_lock_on_deleting_or_on_writing_is_a_lock(delete: bool, write: bool, locked: bool) -> None:
    world = a_shop(1)
    digest = world.registry.repositories["shop/web"].tags["v0000"].digest
    # `read` makes the call say that it is about one of the others.
    if locked:
        world.registry.lock("shop/web", "v0000", delete=delete, write=write)
        world.registry.lock("shop/web", digest, delete=delete, write=write)
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
    assert [tag.locked for tag in inventory.tags] == [locked]
    assert [manifest.locked for manifest in inventory.manifests.values()] == [locked]


async def test_an_unlisted_tag_that_its_manifest_shows_is_known_and_of_unknown_age() -> None:
    """Deleting the manifest would take it along, so it must be there to be kept."""
    world = a_shop(1)
    digest = world.registry.repositories["shop/web"].tags["v0000"].digest
    world.registry.tag("shop/web", "hidden", digest)
    world.registry.lock("shop/web", "hidden", list=False)
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
    assert {(tag.name, tag.digest, tag.updated_at is None) for tag in inventory.tags} == {
        ("v0000", digest, False),
        ("hidden", digest, True),
    }


# -- edges


async def test_children_and_subjects_come_from_the_bodies_and_each_is_read_once() -> None:
    world = World()
    registry = world.registry
    children = [registry.push("shop/web", architecture=each) for each in ("amd64", "arm64")]
    index = registry.push_index("shop/web", "1.0", children=children)
    signature = registry.push_referrer("shop/web", index, tag="sig")
    registry.push_referrer("shop/web", index)
    async with connect(world) as at:
        inventory = await at.registry.read_edges(await at.registry.list_repository("shop/web"))
        assert inventory.manifests[Digest(index)].children == tuple(children)
        assert inventory.manifests[Digest(signature)].subject == index
        assert inventory.manifests[Digest(index)].known
        assert not inventory.unknown
        read = at.sent(path="/manifests/")
        # The untagged referrer goes with its subject and the images have no edges: two bodies.
        assert read == 2
        again = await at.registry.read_edges(await at.registry.list_repository("shop/web"))
        assert again == inventory
        assert at.sent(path="/manifests/") == read


@pytest.mark.parametrize(
    "harm",
    [
        Fault(status=404, body={"errors": [{"code": "MANIFEST_UNKNOWN", "message": "gone"}]}),
        Fault(status=503),
        Fault(truncate=0.5),
        Fault(malformed=True),
        Fault(status=200, body=b'{"manifests": null}'),
        Fault(status=200, body=b"x" * (4 * 1024 * 1024 + 1)),
        Fault(status=405),
    ],
    ids=["404", "503", "truncated", "malformed", "another body", "too large", "may not be read"],
)
async def test_a_manifest_whose_body_cannot_be_had_stays_unknown(harm: Fault) -> None:
    world = World()
    registry = world.registry
    broken, fine = (
        registry.push_index("shop/web", name, children=[registry.push("shop/web")]) for name in ("broken", "fine")
    )
    world.faults.append(replace(harm, path=f"/manifests/{broken}"))
    async with connect(world) as at:
        inventory = await at.registry.read_edges(await at.registry.list_repository("shop/web"))
        assert inventory.unknown == {broken}
        assert inventory.manifests[Digest(fine)].known
        world.faults.clear()
        assert not (await at.registry.read_edges(inventory)).unknown, "what was unknown is asked for again"


async def test_a_ghost_stays_unknown_even_where_another_repository_has_its_content() -> None:
    world = World()
    children = [world.registry.push("a/web", content="the same")]
    index = world.registry.push_index("a/web", "1", children=children)
    world.registry.push("b/web", content="the same")
    assert world.registry.push_index("b/web", "1", children=children) == index
    world.registry.ghost("b/web", index)
    async with connect(world) as at:
        whole = await at.registry.read_edges(await at.registry.list_repository("a/web"))
        ghostly = await at.registry.read_edges(await at.registry.list_repository("b/web"))
    assert not whole.unknown
    assert ghostly.unknown == {index}


async def test_an_unlisted_manifest_that_a_tag_names_is_read_with_its_lock() -> None:
    world = World()
    child = world.registry.push("shop/web")
    index = world.registry.push_index("shop/web", "1.0", children=[child])
    world.registry.lock("shop/web", index, list=False, delete=False)
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
        assert set(inventory.manifests) == {child}
        inventory = await at.registry.read_edges(inventory)
    manifest = inventory.manifests[Digest(index)]
    assert (manifest.locked, manifest.children, manifest.known) == (True, (child,), True)
    assert not inventory.unknown


async def test_an_unlisted_manifest_whose_lock_cannot_be_read_stays_unknown() -> None:
    world = World()
    index = world.registry.push_index("shop/web", "1.0", children=[world.registry.push("shop/web")])
    world.registry.lock("shop/web", index, list=False)
    world.faults.append(Fault(path=f"/_manifests/{index}", status=500))
    async with connect(world) as at:
        inventory = await at.registry.read_edges(await at.registry.list_repository("shop/web"))
    assert inventory.unknown == {index}


async def test_when_no_body_may_be_read_the_missing_role_is_named() -> None:
    world = World()
    world.registry.push_index("shop/web", "1.0", children=[world.registry.push("shop/web")])
    world.registry.allowed = lambda _client, _repository, action: action != "pull"
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
        with pytest.raises(RegistryForbidden, match="AcrPull"):
            await at.registry.read_edges(inventory)


# -- the two verbs


async def test_untag_removes_one_name_and_delete_manifest_removes_all() -> None:
    world = a_shop(2)
    web = world.registry.repositories["shop/web"]
    first, second = (web.tags[name].digest for name in ("v0000", "v0001"))
    world.registry.tag("shop/web", "stable", first)
    async with connect(world) as at:
        assert await at.registry.untag("shop/web", "v0000") is OutcomeKind.DELETED
        assert (set(web.tags), set(web.manifests)) == ({"stable", "v0001"}, {first, second})
        assert await at.registry.delete_manifest("shop/web", Digest(first)) is OutcomeKind.DELETED
        assert (set(web.tags), set(web.manifests)) == ({"v0001"}, {second})
        assert at.sent("DELETE") == 2


async def test_what_is_not_there_is_gone_and_what_is_locked_stays() -> None:
    world = a_shop(1)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.lock("shop/web", "v0000")
    async with connect(world) as at:
        assert await at.registry.untag("shop/web", "nobody") is OutcomeKind.GONE
        assert await at.registry.untag("no/such", "nobody") is OutcomeKind.GONE
        assert await at.registry.delete_manifest("shop/web", Digest("sha256:" + "0" * 64)) is OutcomeKind.GONE
        assert await at.registry.untag("shop/web", "v0000") is OutcomeKind.LOCKED
        assert await at.registry.delete_manifest("shop/web", digest) is OutcomeKind.LOCKED


async def test_a_deletion_whose_answer_was_lost_is_still_ours() -> None:
    """Carried out, connection cut, repeated, 404: that is not somebody else's doing."""
    world = a_shop(2)
    web = world.registry.repositories["shop/web"]
    digest = Digest(web.tags["v0001"].digest)
    async with connect(world) as at:
        # The connections are in use already: an HTTP client may repeat a request by itself only on those.
        await at.registry.list_repository("shop/web")
        world.faults[:] = [Fault(method="DELETE", times=1, before=_delete_then_cut(world, "v0000"), reset=True)]
        assert await at.registry.untag("shop/web", "v0000") is OutcomeKind.DELETED
        assert "v0000" not in web.tags
        world.faults[:] = [Fault(method="DELETE", times=1, before=_delete_then_cut(world, digest), reset=True)]
        assert await at.registry.delete_manifest("shop/web", digest) is OutcomeKind.DELETED
        assert at.sent("DELETE") == 4


def _delete_then_cut(world: World, reference: str) -> Hook:
    async def delete(request: object) -> None:
        del request
        web = world.registry.repositories["shop/web"]
        if ":" in reference:
            web.delete_manifest(reference)
        else:
            web.untag(reference)

    return delete


async def test_a_deletion_that_a_failing_registry_carried_out_is_ours() -> None:
    world = a_shop(1)
    world.faults[:] = [Fault(method="DELETE", times=1, before=_delete_then_cut(world, "v0000"), status=502)]
    async with connect(world) as at:
        assert await at.registry.untag("shop/web", "v0000") is OutcomeKind.DELETED


async def test_a_deletion_that_never_succeeds_fails_with_a_sentence() -> None:
    world = a_shop(1)
    world.faults[:] = [Fault(method="DELETE", reset=True)]
    async with connect(world) as at:
        with pytest.raises(RegistryError, match=r"untagging shop/web:v0000: the connection was lost repeatedly"):
            await at.registry.untag("shop/web", "v0000")
        world.faults[:] = [Fault(method="DELETE", status=503)]
        with pytest.raises(RegistryError, match=r"503 Service Unavailable\. Run again later"):
            await at.registry.untag("shop/web", "v0000")


@pytest.mark.parametrize("tag", ["", "..", ".", "a/b", "a?b", "a#b", "%2e%2e", "ä", "-x"])
async def test_what_is_no_tag_never_becomes_a_path(tag: str) -> None:
    """`DELETE /acr/v1/shop/web/_tags/..` would be the repository's end."""
    async with connect(a_shop()) as at:
        with pytest.raises(RegistryError, match="no request was sent"):
            await at.registry.untag("shop/web", tag)
        with pytest.raises(RegistryError, match="no request was sent"):
            await at.registry.delete_manifest("shop/web", Digest(tag))
        with pytest.raises(RegistryError, match="no request was sent"):
            await at.registry.untag(f"../{tag}", "v0000")
        assert at.sent() == 0


async def test_a_missing_right_to_delete_is_named_by_role() -> None:
    world = a_shop(1)
    world.registry.allowed = lambda _client, _repository, action: action != "delete"
    async with connect(world) as at:
        with pytest.raises(RegistryForbidden, match=r"untagging shop/web:v0000.*401.*AcrDelete"):
            await at.registry.untag("shop/web", "v0000")


async def test_the_firewall_of_the_registry_is_named() -> None:
    world = a_shop(1)
    message = "client with IP '203.0.113.9' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
    world.faults.append(Fault(path="/_tags$", status=403, body={"errors": [{"code": "DENIED", "message": message}]}))
    async with connect(world) as at:
        with pytest.raises(RegistryForbidden, match=r"firewall.*203\.0\.113\.9.*networking settings"):
            await at.registry.list_repository("shop/web")


async def test_what_the_registry_writes_stays_on_one_line_and_shows_no_token() -> None:
    world = a_shop(1)
    message = "bad\n::error::x\r\x1b[31m eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln" + "y" * 2000
    world.faults.append(Fault(method="DELETE", status=400, body={"errors": [{"code": "X", "message": message}]}))
    async with connect(world) as at:
        with pytest.raises(RegistryError) as caught:
            await at.registry.untag("shop/web", "v0000")
    text = str(caught.value)
    assert text.isprintable()
    assert "eyJ" not in text
    assert len(text) < 600


# -- the pace, on the wire


async def test_429_pauses_everybody_and_loses_nothing() -> None:
    world = a_shop(30)
    world.budgets["DataplaneDelete"] = Budget(10, seconds=1.0)
    async with connect(world, pace=Pace(8)) as at:
        outcomes = await asyncio.gather(*(at.registry.untag("shop/web", f"v{n:04}") for n in range(30)))
        assert set(outcomes) == {OutcomeKind.DELETED}
        # Each window is met by no more than what was in flight already.
        assert at.sent("DELETE", status=429) <= 2 * 8


async def test_a_registry_that_stays_too_busy_is_an_error_and_not_a_hang() -> None:
    world = a_shop(1)
    world.faults.append(Fault(method="DELETE", status=429, headers={"Retry-After": "86400"}))
    async with connect(world) as at:
        with pytest.raises(RegistryError, match=r"too busy.*429"):
            await at.registry.untag("shop/web", "v0000")


# -- no registry at all


async def test_a_certificate_nobody_trusts_is_said_so() -> None:
    async with connect(a_shop(), trust=False) as at:
        with pytest.raises(RegistryUnreachable, match=r"registry localhost:\d+: its TLS certificate.*SSL_CERT_FILE"):
            await at.registry.list_repository("shop/web")
        assert at.sent() == 0


async def test_a_registry_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with (
            aiohttp.ClientSession() as session,
            open_registry(
                f"127.0.0.1:{port}", Login(), AioHttpTransport(session=session, session_owner=False), pace=impatient()
            ) as registry,
        ):
            with pytest.raises(RegistryUnreachable, match=rf"registry 127\.0\.0\.1:{port}: no connection"):
                await registry.catalog()
            assert not session.closed
        assert session.closed


async def test_no_such_host_is_one_clear_sentence() -> None:
    class Nowhere(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
            raise OSError(None, "Name or service not known")

        async def close(self) -> None:
            """Nothing is open."""

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nowhere())) as session,
        open_registry(
            HOST, Login(), AioHttpTransport(session=session, session_owner=False), pace=impatient()
        ) as registry,
    ):
        with pytest.raises(RegistryUnreachable) as caught:
            await registry.list_repository("shop/web")
    assert str(caught.value).startswith(f"registry {HOST}: no such host. Check container_registry.url")


@pytest.mark.parametrize("name", ["", "contoso azurecr", "https://x", "a/b", "x" * 64 + ".azurecr.io", "{x}", "ä.io"])
async def test_what_is_no_host_name_is_refused(name: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(RegistryUnreachable, match="is not a host name"):
            async with open_registry(name, Login(), AioHttpTransport(session=session, session_owner=False)):
                pass


async def test_a_proxy_that_refuses_is_named() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        aiohttp.ClientSession(proxy=f"http://127.0.0.1:{port}") as session,
        open_registry(
            HOST, Login(), AioHttpTransport(session=session, session_owner=False), pace=impatient()
        ) as registry,
    ):
        with pytest.raises(RegistryUnreachable, match=r"the proxy refused the connection \(407.*HTTPS_PROXY"):
            await registry.catalog()


async def test_compressed_pages_are_read() -> None:
    """The shared session may leave decompression to the SDK."""
    import zlib  # noqa: PLC0415

    world = a_shop(1)
    page = {"tags": [{"name": "z", "digest": "sha256:" + "1" * 64}]}
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    body = packer.compress(json.dumps(page).encode()) + packer.flush()
    world.faults.append(Fault(path="/_tags$", status=200, headers={"Content-Encoding": "gzip"}, body=body))
    async with connect(world) as at:
        inventory = await at.registry.list_repository("shop/web")
    assert "z" in {tag.name for tag in inventory.tags}


def test_the_default_context_verifies() -> None:
    """Guards the tests above: were verification off by default, they would prove nothing."""
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED


# -- locks, and the way back ----------------------------------------------------------------------------------


async def test_a_lock_is_taken_off_and_put_back_to_the_very_attributes() -> None:
    """Of just the tag, or just the manifest; what else its attributes say stays as it is."""
    world = a_shop(2)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.lock("shop/web", "v0000", delete=False, list=False)
    world.registry.lock("shop/web", digest, write=False)
    state = world.registry.repositories["shop/web"]
    async with connect(world) as at:
        tag, manifest = Lock("v0000", False, True), Lock(None, True, False)
        assert await at.registry.unlock("shop/web", digest, tag) == digest
        assert not state.tags["v0000"].attributes.locked
        assert not state.tags["v0000"].attributes.list
        assert state.manifests[digest].attributes.locked
        assert await at.registry.unlock("shop/web", digest, manifest) == digest
        assert not state.manifests[digest].attributes.locked

        assert await at.registry.lock("shop/web", digest, tag) == digest
        assert await at.registry.lock("shop/web", digest, manifest) == digest
        assert state.tags["v0000"].attributes == Attributes(delete=False, write=True, list=False)
        assert state.manifests[digest].attributes == Attributes(delete=True, write=False)
        assert at.sent("PATCH") == 4


async def test_what_is_not_there_or_has_moved_is_told_when_it_is_unlocked() -> None:
    world = a_shop(1)
    old = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.lock("shop/web", "v0000", delete=False)
    new = world.registry.push("shop/web", "v0000")
    async with connect(world) as at:
        assert await at.registry.unlock("shop/web", old, Lock("v0000", False, True)) == new
        assert await at.registry.unlock("shop/web", old, Lock("nobody", False, True)) is None
        assert await at.registry.unlock("no/such", old, Lock(None, False, True)) is None


async def test_who_may_not_change_locks_is_told_which_role_it_takes() -> None:
    world = a_shop(1)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.allowed = lambda _client, _repository, action: action != "metadata_write"
    async with connect(world) as at:
        with pytest.raises(RegistryForbidden, match="AcrPush"):
            await at.registry.unlock("shop/web", digest, Lock("v0000", False, True))


async def test_a_document_is_read_and_pushed_byte_for_byte() -> None:
    world = a_shop(1)
    state = world.registry.repositories["shop/web"]
    digest = Digest(state.tags["v0000"].digest)
    stored = state.manifests[digest]
    async with connect(world) as at:
        document = await at.registry.read_document("shop/web", digest)
        assert document == Document(stored.body, stored.media_type)
        await at.registry.delete_manifest("shop/web", digest)
        assert await at.registry.read_document("shop/web", digest) is None

        await at.restorer.push_document("shop/web", digest, document)
        await at.restorer.push_document("shop/web", digest, document, "again")
        back = world.registry.repositories["shop/web"]
        assert back.manifests[digest].body == stored.body
        assert back.manifests[digest].media_type == stored.media_type
        assert list(back.tags) == ["again"]

        with pytest.raises(RegistryError, match="no request was sent"):
            await at.restorer.push_document("shop/web", Digest("sha256:" + "0" * 64), document)


async def test_a_manifest_without_its_layers_or_children_cannot_be_pushed() -> None:
    world = World()
    child = world.registry.push("shop/web", age=timedelta(days=1))
    index = Digest(world.registry.push_index("shop/web", "multi", children=[child]))
    async with connect(world) as at:
        of_index = await at.registry.read_document("shop/web", index)
        of_child = await at.registry.read_document("shop/web", Digest(child))
        assert of_index is not None
        assert of_child is not None
        await at.registry.delete_manifest("shop/web", index)
        await at.registry.delete_manifest("shop/web", Digest(child))
        with pytest.raises(PartMissing, match="MANIFEST_UNKNOWN"):
            await at.restorer.push_document("shop/web", index, of_index)
        world.registry.collect_garbage()
        with pytest.raises(PartMissing, match="MANIFEST_BLOB_UNKNOWN"):
            await at.restorer.push_document("shop/web", Digest(child), of_child)


async def test_what_answers_with_other_bytes_is_no_document() -> None:
    world = a_shop(1)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.faults.append(Fault(service="acr", path="manifests/sha256", status=200, body={"schemaVersion": 2}))
    async with connect(world) as at:
        with pytest.raises(RegistryError, match="digest"):
            await at.registry.read_document("shop/web", digest)


async def test_soft_delete_gives_back_what_it_holds() -> None:
    world = a_shop(3)
    world.registry.soft_delete = True
    world.registry.largest_page = 1
    tags = {name: Digest(tag.digest) for name, tag in world.registry.repositories["shop/web"].tags.items()}
    async with connect(world) as at:
        assert await at.restorer.deleted_manifests("shop/web") == frozenset()
        for digest in tags.values():
            await at.registry.delete_manifest("shop/web", digest)
        assert await at.restorer.deleted_manifests("shop/web") == frozenset(tags.values())

        assert await at.restorer.undelete("shop/web", tags["v0000"], "v0000")
        assert await at.restorer.undelete("shop/web", tags["v0001"])
        assert not await at.restorer.undelete("shop/web", tags["v0000"], "v0000")
        state = world.registry.repositories["shop/web"]
        assert list(state.tags) == ["v0000"]
        assert set(state.manifests) == {tags["v0000"], tags["v0001"]}


async def test_without_soft_delete_nothing_is_held() -> None:
    async with connect(a_shop(1)) as at:
        assert await at.restorer.deleted_manifests("shop/web") == frozenset()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a?b", "md5:0"])
async def test_no_name_leads_elsewhere(name: str) -> None:
    digest = Digest("sha256:" + "0" * 64)
    async with connect(a_shop(1)) as at:
        for call in (
            at.registry.unlock("shop/web", digest, Lock(name, False, True)),
            at.restorer.undelete("shop/web", digest, name),
            at.registry.lock("shop/web", Digest(name), Lock(None, False, True)),
            at.registry.read_document("shop/web", Digest(name)),
        ):
            with pytest.raises(RegistryError, match="not a valid"):
                await call
        assert at.sent() == 0


# -- what can be pulled, and what it takes up


async def test_what_can_be_pulled_resolves_whether_it_is_listed_or_not() -> None:
    world = a_shop(1)
    state = world.registry.repositories["shop/web"]
    digest = state.tags["v0000"].digest
    state.tags["v0000"].attributes = Attributes(list=False)
    async with connect(world) as at:
        assert await at.registry.resolves("shop/web", "v0000")
        assert await at.registry.resolves("shop/web", digest)
        assert not await at.registry.resolves("shop/web", "v0001")
        assert not await at.registry.resolves("shop/nowhere", "v0001")
        with pytest.raises(RegistryError):
            await at.registry.resolves("shop/web", "../x")
        world.faults.append(Fault(service="acr", path="/manifests/v0000", status=403))
        with pytest.raises(RegistryForbidden):
            await at.registry.resolves("shop/web", "v0000")


async def test_contents_take_one_request_for_each_manifest_that_no_listing_or_earlier_reading_tells_of() -> None:
    world = a_shop(2)
    children = [world.registry.push("shop/web", architecture=each) for each in ("amd64", "arm64")]
    index = world.registry.push_index("shop/web", "multi", children=children)
    async with connect(world) as at:
        inventory = await at.registry.read_edges(await at.registry.list_repository("shop/web"))
        before = at.sent("GET")
        found, read = await at.registry.read_contents(inventory)

        assert read == at.sent("GET") - before == 4
        assert found.keys() == inventory.manifests.keys()
        told = found[Digest(index)]
        assert told is not None
        assert (told.document, told.blobs) == (inventory.manifests[Digest(index)].size, {})
        image = found[Digest(children[0])]
        assert image is not None
        assert sum(image.blobs.values()) == inventory.manifests[Digest(children[0])].size


async def test_a_body_that_cannot_be_read_has_no_known_content() -> None:
    world = a_shop(2)
    digest = world.registry.repositories["shop/web"].tags["v0001"].digest
    world.faults.append(Fault(service="acr", path=digest, malformed=True))
    async with connect(world) as at:
        found, _ = await at.registry.read_contents(await at.registry.list_repository("shop/web"))

        assert found[Digest(digest)] is None
        assert sum(content is not None for content in found.values()) == 1
