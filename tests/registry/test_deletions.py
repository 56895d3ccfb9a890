"""Untag and delete manifests in the emulated registry."""

from __future__ import annotations

import asyncio

import pytest

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Budget, Fault, Hook
from acr_cleanup.errors import RegistryError, RegistryForbidden
from acr_cleanup.registry.pace import Pace
from tests.helpers.registry_clients import emulated_registry, world_with_tags

# -- untag and delete manifest ---------------------------------------------------------------------


async def test_untag_and_delete_manifest_remove_the_right_tags() -> None:
    world = world_with_tags(2)
    web = world.registry.repositories["shop/web"]
    first, second = (web.tags[name].digest for name in ("v0000", "v0001"))
    world.registry.tag("shop/web", "stable", first)
    async with emulated_registry(world) as connected:
        assert await connected.registry.untag("shop/web", "v0000") is OutcomeKind.DELETED
        assert (set(web.tags), set(web.manifests)) == ({"stable", "v0001"}, {first, second})
        assert await connected.registry.delete_manifest("shop/web", Digest(first)) is OutcomeKind.DELETED
        assert (set(web.tags), set(web.manifests)) == ({"v0001"}, {second})
        assert connected.sent("DELETE") == 2


async def test_deletion_reports_gone_and_locked() -> None:
    world = world_with_tags(1)
    digest = Digest(world.registry.repositories["shop/web"].tags["v0000"].digest)
    world.registry.lock("shop/web", "v0000")
    async with emulated_registry(world) as connected:
        assert await connected.registry.untag("shop/web", "missing") is OutcomeKind.GONE
        assert await connected.registry.untag("no/such", "missing") is OutcomeKind.GONE
        assert await connected.registry.delete_manifest("shop/web", Digest("sha256:" + "0" * 64)) is OutcomeKind.GONE
        assert await connected.registry.untag("shop/web", "v0000") is OutcomeKind.LOCKED
        assert await connected.registry.delete_manifest("shop/web", digest) is OutcomeKind.LOCKED


async def test_repeated_deletion_after_lost_answer_counts_as_deleted() -> None:
    """The first request deletes, then its connection is cut. The repeated one gets a 404."""
    world = world_with_tags(2)
    web = world.registry.repositories["shop/web"]
    digest = Digest(web.tags["v0001"].digest)
    async with emulated_registry(world) as connected:
        # Open the connections first: an HTTP client may silently repeat a request only on those.
        await connected.registry.list_repository("shop/web")
        world.faults[:] = [Fault(method="DELETE", times=1, before=_delete_before_answer(world, "v0000"), reset=True)]
        assert await connected.registry.untag("shop/web", "v0000") is OutcomeKind.DELETED
        assert "v0000" not in web.tags
        world.faults[:] = [Fault(method="DELETE", times=1, before=_delete_before_answer(world, digest), reset=True)]
        assert await connected.registry.delete_manifest("shop/web", digest) is OutcomeKind.DELETED
        assert connected.sent("DELETE") == 4


def _delete_before_answer(world: World, reference: str) -> Hook:
    async def delete(request: object) -> None:
        del request
        web = world.registry.repositories["shop/web"]
        if ":" in reference:
            web.delete_manifest(reference)
        else:
            web.untag(reference)

    return delete


async def test_repeated_deletion_after_502_counts_as_deleted() -> None:
    world = world_with_tags(1)
    world.faults[:] = [Fault(method="DELETE", times=1, before=_delete_before_answer(world, "v0000"), status=502)]
    async with emulated_registry(world) as connected:
        assert await connected.registry.untag("shop/web", "v0000") is OutcomeKind.DELETED


async def test_deletion_that_always_fails_names_the_cause() -> None:
    world = world_with_tags(1)
    world.faults[:] = [Fault(method="DELETE", reset=True)]
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryError, match=r"untagging shop/web:v0000: the connection was lost repeatedly"):
            await connected.registry.untag("shop/web", "v0000")
        world.faults[:] = [Fault(method="DELETE", status=503)]
        with pytest.raises(RegistryError, match=r"503 Service Unavailable\. Run again later"):
            await connected.registry.untag("shop/web", "v0000")


@pytest.mark.parametrize("tag", ["", "..", ".", "a/b", "a?b", "a#b", "%2e%2e", "ä", "-x"])
async def test_invalid_name_is_never_sent(tag: str) -> None:
    """`DELETE /acr/v1/shop/web/_tags/..` would delete the repository."""
    async with emulated_registry(world_with_tags()) as connected:
        with pytest.raises(RegistryError, match="no request was sent"):
            await connected.registry.untag("shop/web", tag)
        with pytest.raises(RegistryError, match="no request was sent"):
            await connected.registry.delete_manifest("shop/web", Digest(tag))
        with pytest.raises(RegistryError, match="no request was sent"):
            await connected.registry.untag(f"../{tag}", "v0000")
        assert connected.sent() == 0


@pytest.mark.parametrize(("challenges", "status"), [(False, 403), (True, 401)])
async def test_forbidden_deletion_names_the_missing_role(challenges: bool, status: int) -> None:
    world = world_with_tags(1)
    world.registry.challenges_missing_rights = challenges
    world.access.assign_only("AcrPull")
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryForbidden, match=rf"untagging shop/web:v0000.*{status}.*AcrDelete"):
            await connected.registry.untag("shop/web", "v0000")


async def test_firewall_refusal_names_the_firewall() -> None:
    world = world_with_tags(1)
    message = "client with IP '203.0.113.9' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
    world.faults.append(Fault(path="/_tags$", status=403, body={"errors": [{"code": "DENIED", "message": message}]}))
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryForbidden, match=r"firewall.*203\.0\.113\.9.*networking settings"):
            await connected.registry.list_repository("shop/web")


async def test_error_text_is_one_line_without_tokens() -> None:
    world = world_with_tags(1)
    message = "bad\n::error::x\r\x1b[31m eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln" + "y" * 2000
    world.faults.append(Fault(method="DELETE", status=400, body={"errors": [{"code": "X", "message": message}]}))
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryError) as caught:
            await connected.registry.untag("shop/web", "v0000")
    text = str(caught.value)
    assert text.isprintable()
    assert "eyJ" not in text
    assert len(text) < 600


# -- rate limits -----------------------------------------------------------------------------------


async def test_429_pauses_all_deletions_and_loses_none() -> None:
    world = world_with_tags(30)
    world.budgets["DataplaneDelete"] = Budget(10, seconds=1.0)
    async with emulated_registry(world, pace=Pace(8)) as connected:
        outcomes = await asyncio.gather(*(connected.registry.untag("shop/web", f"v{n:04}") for n in range(30)))
        assert set(outcomes) == {OutcomeKind.DELETED}
        # In each rate limit window, only requests already in flight get a 429.
        assert connected.sent("DELETE", status=429) <= 2 * 8


async def test_permanent_429_is_an_error() -> None:
    world = world_with_tags(1)
    world.faults.append(Fault(method="DELETE", status=429, headers={"Retry-After": "86400"}))
    async with emulated_registry(world) as connected:
        with pytest.raises(RegistryError, match=r"too busy.*429"):
            await connected.registry.untag("shop/web", "v0000")
