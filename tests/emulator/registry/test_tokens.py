"""Tokens and rights in the emulated registry."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator

import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.tokens import read_claims
from tests.helpers.emulator_clients import REGISTRY_AUDIENCE, RegistryAnswer, RegistryClient, registry_client


@pytest.fixture
def world() -> World:
    world = World()
    world.registry.push("shop/web", "1.0")
    world.registry.push("shop/api", "1.0")
    return world


@pytest.fixture
async def registry(world: World) -> AsyncIterator[RegistryClient]:
    async with registry_client(world, login=False) as client:
        yield client


def challenge(answer: RegistryAnswer) -> dict[str, str]:
    scheme, _, rest = answer.headers["Www-Authenticate"].partition(" ")
    assert scheme == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/acr/v1/_catalog", "registry:catalog:*"),
        ("GET", "/acr/v1/shop%2Fweb/_tags", "repository:shop/web:metadata_read"),
        ("GET", "/acr/v1/shop%2Fweb/_manifests", "repository:shop/web:metadata_read"),
        ("PATCH", "/acr/v1/shop%2Fweb", "repository:shop/web:metadata_write"),
        ("DELETE", "/acr/v1/shop%2Fweb/_tags/1.0", "repository:shop/web:delete"),
        ("DELETE", "/v2/shop%2Fweb/manifests/1.0", "repository:shop/web:delete"),
        ("GET", "/v2/shop%2Fweb/manifests/1.0", "repository:shop/web:pull"),
        ("GET", "/v2/shop%2Fweb/referrers/sha256:00", "repository:shop/web:pull"),
    ],
)
async def test_challenge_names_the_required_scope(registry: RegistryClient, method: str, path: str, scope: str) -> None:
    """A token for that scope is accepted."""
    answer = await registry.call(method, path)
    host = registry.emulator.registry_url
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert challenge(answer) == {
        "realm": f"https://{host}/oauth2/token",
        "service": host,
        "scope": scope,
        "error": "invalid_token",
    }
    kind, name, action = scope.split(":")
    assert answer.json["errors"][0]["detail"] == [{"Type": kind, "Name": name, "Action": action}]
    await registry.login(scope)
    assert (await registry.call(method, path, json={})).status != 401


async def test_token_for_another_repository_or_action_is_refused(registry: RegistryClient) -> None:
    await registry.login("repository:shop/api:metadata_read,delete", "repository:shop/web:pull")
    answer = await registry.get("/acr/v1/shop/web/_tags")
    assert answer.status == 401
    assert challenge(answer)["error"] == "insufficient_scope"
    assert (await registry.get("/acr/v1/shop/api/_tags")).status == 200
    assert (await registry.get("/v2/shop/web/manifests/1.0")).status == 200


async def test_wildcard_token_is_empty_in_abac_mode(world: World, registry: RegistryClient) -> None:
    """Otherwise one token covers every repository."""
    await registry.login("registry:catalog:*", "repository:*:*")
    assert (await registry.get("/acr/v1/shop/web/_tags")).status == 200
    # A change of the mode invalidates the token.
    world.registry.abac = True
    assert challenge(await registry.get("/acr/v1/shop/web/_tags"))["error"] == "invalid_token"
    await registry.login("registry:catalog:*", "repository:*:*")
    assert challenge(await registry.get("/acr/v1/shop/web/_tags"))["error"] == "insufficient_scope"
    await registry.login("repository:shop/web:metadata_read", "repository:shop/api:metadata_read")
    assert (await registry.get("/acr/v1/shop/web/_tags")).status == 200
    assert (await registry.get("/acr/v1/shop/api/_tags")).status == 200


async def test_abac_catalog_requires_the_catalog_lister(world: World, registry: RegistryClient) -> None:
    """The refresh token shows that the registry is in ABAC mode."""
    assert "aad_identity" not in (read_claims(await registry.refresh_token()) or {})
    world.registry.abac = True
    assert "aad_identity" in (read_claims(await registry.refresh_token()) or {})
    await registry.login("registry:catalog:*")
    assert (await registry.get("/acr/v1/_catalog")).status == 200
    world.access.assign_only("Container Registry Repository Contributor")
    await registry.login("registry:catalog:*")
    assert (await registry.get("/acr/v1/_catalog")).status == 401


async def test_token_leaves_out_missing_rights(world: World, registry: RegistryClient) -> None:
    """The token is issued; the request that needs the right is refused."""
    world.access.assign_only("AcrPull")
    await registry.login("repository:shop/web:metadata_read,delete")
    assert (await registry.get("/acr/v1/shop/web/_tags")).status == 200
    answer = await registry.delete("/acr/v1/shop/web/_tags/1.0")
    assert challenge(answer)["error"] == "insufficient_scope"
    assert "1.0" in world.registry.repositories["shop/web"].tags


@pytest.mark.parametrize(("challenges", "status", "code"), [(False, 403, "DENIED"), (True, 401, "UNAUTHORIZED")])
async def test_wildcard_token_is_refused_without_the_role(
    world: World, registry: RegistryClient, challenges: bool, status: int, code: str
) -> None:
    """The body names the repository and the action."""
    world.access.assign_only("AcrPull")
    world.registry.challenges_missing_rights = challenges
    await registry.login("repository:*:*")
    assert (await registry.get("/acr/v1/shop/web/_tags")).status == 200
    answer = await registry.delete("/acr/v1/shop/web/_tags/1.0")
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["errors"][0]["detail"] == [{"Type": "repository", "Name": "shop/web", "Action": "delete"}]
    assert "1.0" in world.registry.repositories["shop/web"].tags


async def test_exchange_refuses_client_without_any_role(world: World, registry: RegistryClient) -> None:
    world.access.assign_only()
    with pytest.raises(AssertionError, match="UNAUTHORIZED"):
        await registry.refresh_token()


async def test_token_lifetimes_have_real_defaults(world: World, registry: RegistryClient) -> None:
    """A test can set them; an expired token is refused."""
    refresh = read_claims(await registry.refresh_token()) or {}
    await registry.login()
    access = read_claims(registry.token or "") or {}
    assert refresh["exp"] - refresh["iat"] == 3 * 3600
    assert access["exp"] - access["iat"] == 75 * 60
    world.registry.access_token_lifetime = 1
    await registry.login()
    assert (await registry.get("/acr/v1/_catalog")).status == 200
    await asyncio.sleep(1.05)
    assert challenge(await registry.get("/acr/v1/_catalog"))["error"] == "invalid_token"


async def test_other_token_types_are_refused(world: World, registry: RegistryClient) -> None:
    """Refresh tokens, Entra ID tokens and Basic authentication."""
    registry.token = await registry.refresh_token()
    assert (await registry.get("/acr/v1/_catalog")).status == 401
    registry.token = registry.emulator.authority.issue_token(REGISTRY_AUDIENCE, world.directory.client_id)
    assert (await registry.get("/acr/v1/_catalog")).status == 401
    registry.token = None
    basic = "Basic " + base64.b64encode(b"admin:password").decode()
    assert (await registry.call("GET", "/v2/", headers={"Authorization": basic})).status == 401


@pytest.mark.parametrize(
    ("audience", "arm", "status"),
    [
        (REGISTRY_AUDIENCE, True, 200),
        ("https://management.azure.com", True, 200),
        ("https://management.azure.com", False, 401),
        ("https://graph.microsoft.com", True, 401),
    ],
)
async def test_exchange_requires_a_token_for_the_registry(
    world: World, registry: RegistryClient, audience: str, arm: bool, status: int
) -> None:
    world.registry.accepts_arm_audience = arm
    form = {
        "grant_type": "access_token",
        "service": registry.emulator.registry_url,
        "access_token": registry.emulator.authority.issue_token(audience, "any-client"),
    }
    assert (await registry.call("POST", "/oauth2/exchange", data=form)).status == status
    assert (await registry.call("POST", "/oauth2/exchange", data={**form, "service": "other.io"})).status == 400
    expired = registry.emulator.authority.issue_token(audience, "any-client", lifetime=-1)
    assert (await registry.call("POST", "/oauth2/exchange", data={**form, "access_token": expired})).status == 401


async def test_anonymous_pull_allows_reading_only(world: World, registry: RegistryClient) -> None:
    """Without `anonymous_pull`, anonymous clients get no token."""
    form = {
        "grant_type": "password",
        "service": registry.emulator.registry_url,
        "scope": "repository:shop/web:pull,delete",
    }
    query = f"service={registry.emulator.registry_url}&scope=repository:shop/web:pull"
    assert (await registry.call("POST", "/oauth2/token", data=form)).status == 401
    assert (await registry.get(f"/oauth2/token?{query}")).status == 401
    world.registry.anonymous_pull = True
    assert (await registry.get(f"/oauth2/token?{query}")).status == 200
    registry.token = (await registry.call("POST", "/oauth2/token", data=form)).json["access_token"]
    assert (await registry.get("/v2/shop/web/manifests/1.0")).status == 200
    assert (await registry.delete("/v2/shop/web/manifests/1.0")).status == 401
