"""The real registry SDK against the emulator, in both faces, without any adaptation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.containerregistry import ArtifactManifestOrder, ArtifactTagOrder
from azure.containerregistry.aio import ContainerRegistryClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity.aio import ClientSecretCredential

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from acr_cleanup.emulator.world import Face


@asynccontextmanager
async def sdk(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ContainerRegistryClient]:
    """Start an emulator; yield the SDK's client, configured as by a user of that face."""
    async with Emulator(world) as emulator:
        for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        direct = world.face == "direct"
        directory = world.directory
        credential = ClientSecretCredential(
            directory.tenant,
            directory.client_id,
            directory.client_secret,
            authority=emulator.authority_url if direct else "login.microsoftonline.com",
            disable_instance_discovery=direct,
            connection_verify=emulator.ca_file,
        )
        endpoint = f"https://{emulator.registry_url if direct else world.registry.login_server}"
        client = ContainerRegistryClient(endpoint, credential, connection_verify=emulator.ca_file)
        async with credential, client:
            yield client


@pytest.fixture(params=["direct", "proxy"])
def world(request: pytest.FixtureRequest) -> World:
    face: Face = request.param
    return World(face=face)


async def test_sdk_lists_more_than_1000_tags(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        for number in range(1100):
            world.registry.push("team/shop/web", f"1.{number}")
        assert [name async for name in client.list_repository_names()] == ["team/shop/web"]
        tags = client.list_tag_properties("team/shop/web", results_per_page=1000)
        assert len({tag.name async for tag in tags}) == 1100
        manifests = client.list_manifest_properties(
            "team/shop/web",
            results_per_page=1000,
            order_by=ArtifactManifestOrder.LAST_UPDATED_ON_DESCENDING,
        )
        assert len({manifest.digest async for manifest in manifests}) == 1100
        # The SDK sends four requests per page: probe, exchange, token, and the page.
        assert world.count(service="acr", path="_tags") == 2 * 2
        assert world.count(service="acr", path="/oauth2/exchange") == 1 + 2 + 2


async def test_sdk_reads_all_properties(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        digest = world.registry.push("shop/web", "1.0", size=12_345)
        world.registry.lock("shop/web", "1.0", delete=False)
        (tag,) = [
            tag
            async for tag in client.list_tag_properties("shop/web", order_by=ArtifactTagOrder.LAST_UPDATED_ON_ASCENDING)
        ]
        assert (tag.name, tag.digest, tag.can_delete, tag.can_write) == ("1.0", digest, False, True)
        manifest = await client.get_manifest_properties("shop/web", digest)
        assert (manifest.size_in_bytes, manifest.tags, manifest.architecture) == (12_345, ["1.0"], "amd64")
        repository = await client.get_repository_properties("shop/web")
        assert (repository.manifest_count, repository.tag_count) == (1, 1)


async def test_sdk_verifies_manifest_digests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        child = world.registry.push("shop/web", media_type=OCI_MANIFEST)
        index = world.registry.push_index("shop/web", "1.0", children=[child])
        result = await client.get_manifest("shop/web", "1.0")
        assert result.digest == index
        manifest: dict[str, Any] = result.manifest or {}
        assert [entry["digest"] for entry in manifest["manifests"]] == [child]


async def test_sdk_deletes_tags_and_manifests(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        digest = world.registry.push("shop/web", "1.0")
        world.registry.tag("shop/web", "also", digest)
        world.registry.push("shop/web", "2.0")
        await client.delete_tag("shop/web", "1.0")
        assert set(world.registry.repositories["shop/web"].tags) == {"also", "2.0"}
        await client.delete_manifest("shop/web", digest)
        assert set(world.registry.repositories["shop/web"].tags) == {"2.0"}
        # The SDK ignores a 404 for a deletion, but not for a read.
        await client.delete_tag("shop/web", "1.0")
        with pytest.raises(ResourceNotFoundError):
            await client.get_tag_properties("shop/web", "1.0")


async def test_sdk_reports_a_lock_as_405(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        world.registry.push("shop/web", "1.0")
        world.registry.lock("shop/web", "1.0")
        with pytest.raises(HttpResponseError) as caught:
            await client.delete_tag("shop/web", "1.0")
        assert caught.value.status_code == 405
        assert "REGISTRY_DISALLOWED_OPERATION" in str(caught.value)


async def test_sdk_needs_catalog_lister_in_abac_mode(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        world.registry.push("shop/web", "1.0")
        world.registry.abac = True
        world.access.assign_only("Container Registry Repository Reader")
        assert [tag.name async for tag in client.list_tag_properties("shop/web")] == ["1.0"]
        with pytest.raises(ClientAuthenticationError):
            _ = [name async for name in client.list_repository_names()]


async def test_wrong_secret_fails_before_the_registry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sdk(world, monkeypatch) as client:
        world.directory.client_secret = "changed later"
        with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
            _ = [name async for name in client.list_repository_names()]
        assert world.count(service="acr", path="/oauth2/") == 0
