"""
The registry's token service: Entra ID token -> refresh token -> access token, and access checks.

https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.authority import RESOURCE_MANAGER, Authority
from acr_cleanup.emulator.registry.rights import CATALOG, may
from acr_cleanup.emulator.registry.shapes import Refusal, error
from acr_cleanup.emulator.roles import REGISTRIES
from acr_cleanup.emulator.world import World

DENIED = "authentication required, visit https://aka.ms/acr/authorization for more information."
FORBIDDEN = "requested access to the resource is denied"


@dataclass(frozen=True, slots=True)
class Need:
    """The right that a request needs: an action on a repository, or on the registry's catalog."""

    type: str
    name: str
    action: str

    @property
    def scope(self) -> str:
        """The scope that a client must ask for."""
        return f"{self.type}:{self.name}:{self.action}"

    @property
    def detail(self) -> list[dict[str, str]]:
        """The need, as the body of a refusal names it."""
        return [{"Type": self.type, "Name": self.name, "Action": self.action}]


class TokenService:
    """Issue and check the registry's own tokens. Basic authentication is refused."""

    def __init__(self, world: World, authority: Authority) -> None:
        self._world = world
        self._authority = authority

    async def exchange(self, request: web.Request) -> web.Response:
        """`POST /oauth2/exchange`: return a refresh token for an Entra ID token."""
        registry = self._world.registry
        form = await request.post()
        service = str(form.get("service", ""))
        if form.get("grant_type") not in {"access_token", "access_token_refresh_token"}:
            return error(400, "UNSUPPORTED", "grant_type is not supported")
        if not self._is_ours(request, service):
            return error(400, "INVALID_PARAMETER", f"service {service!r} is not this registry")
        audiences = {registry.audience}
        if registry.accepts_arm_audience:
            audiences.add(RESOURCE_MANAGER)
        claims = self._authority.check_token(str(form.get("access_token", "")), audiences)
        client = str(claims["appid"]) if claims is not None else ""
        if claims is None or not self._world.access.has_any(client, registry.resource_id, REGISTRIES):
            return error(401, "UNAUTHORIZED", DENIED)
        body = self._claims(client, service) | {
            "grant_type": "refresh_token",
            "permissions": {"actions": ["read", "write", "delete"], "notActions": None},
            "roles": [],
        }
        if registry.abac:
            # Clients recognise an ABAC registry by this claim.
            body["aad_identity"] = {"tenantId": self._world.directory.tenant, "objectId": client}
        return web.json_response({"refresh_token": self._authority.signer.sign(body, registry.refresh_token_lifetime)})

    async def token(self, request: web.Request) -> web.Response:
        """
        `POST /oauth2/token`: return an access token for the scopes that the client has rights to.
        """
        form = await request.post()
        service = str(form.get("service", ""))
        if not self._is_ours(request, service):
            return error(400, "INVALID_PARAMETER", f"service {service!r} is not this registry")
        if form.get("grant_type") == "password" and "username" not in form:
            return self._anonymous(service, form.getall("scope", []))
        if form.get("grant_type") != "refresh_token":
            return error(400, "UNSUPPORTED", "grant_type is not supported")
        claims = self._verified(str(form.get("refresh_token", "")), "refresh_token")
        if claims is None:
            return error(401, "UNAUTHORIZED", DENIED)
        return self._issue(str(claims["sub"]), service, form.getall("scope", []))

    async def token_from_login(self, request: web.Request) -> web.Response:
        """
        `GET /oauth2/token`: return a token for anonymous pulls.

        On a real registry this operation accepts Basic authentication, which is refused here.
        """
        if not self._is_ours(request, request.query.get("service", "")):
            return error(400, "INVALID_PARAMETER", "service is not this registry")
        return self._anonymous(request.query["service"], request.query.getall("scope", []))

    def check(self, request: web.Request, need: Need | None) -> str:
        """
        Return the client of the request's token.

        Raises Refusal: 401 with a challenge unless the token covers `need`, and 403 if the roles of
        the client do not grant it.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        claims = self._verified(token, "access_token") if scheme.lower() == "bearer" else None
        if claims is None:
            raise Refusal(_challenge(request, need, "invalid_token"))
        client = str(claims["sub"])
        if need is None:
            return client
        permitted = self._permitted(client, need)
        if not _covers(claims, need) or (not permitted and self._world.registry.challenges_missing_rights):
            raise Refusal(_challenge(request, need, "insufficient_scope"))
        if not permitted:
            raise Refusal(error(403, "DENIED", FORBIDDEN, need.detail))
        return client

    def _anonymous(self, service: str, scopes: list[Any]) -> web.Response:
        if not self._world.registry.anonymous_pull:
            return error(401, "UNAUTHORIZED", DENIED)
        return self._issue("", service, scopes)

    def _issue(self, client: str, service: str, scopes: list[Any]) -> web.Response:
        registry = self._world.registry
        access = [
            {"type": kind, "name": name, "actions": granted}
            for kind, name, actions in _parse(scopes)
            # A registry in ABAC mode silently grants nothing for a wildcard.
            if not (registry.abac and kind == "repository" and "*" in name)
            and (granted := self._granted(client, kind, name, actions))
        ]
        body = self._claims(client, service) | {"grant_type": "access_token", "access": access, "roles": []}
        return web.json_response({"access_token": self._authority.signer.sign(body, registry.access_token_lifetime)})

    def _granted(self, client: str, kind: str, name: str, actions: list[str]) -> list[str]:
        if kind == "registry":
            return actions if may(self._world, client, CATALOG) else []
        # Rights behind a wildcard are checked when the token is used.
        return [a for a in actions if "*" in (name, a) or self._permitted(client, Need(kind, name, a))]

    def _permitted(self, client: str, need: Need) -> bool:
        if need.type == "registry":
            return may(self._world, client, CATALOG)
        return may(self._world, client, need.action, need.name)

    def _claims(self, client: str, service: str) -> dict[str, Any]:
        return {
            "jti": str(uuid.uuid4()),
            "sub": client,
            "iss": "Azure Container Registry",
            "aud": service,
            "version": "1.0",
            # A change of the registry's mode invalidates its tokens.
            "mode": "rbac-abac" if self._world.registry.abac else "rbac",
        }

    def _verified(self, token: str, grant: str) -> dict[str, Any] | None:
        claims = self._authority.signer.verify(token)
        mode = "rbac-abac" if self._world.registry.abac else "rbac"
        if claims is None or claims.get("grant_type") != grant or claims.get("mode") != mode:
            return None
        return claims

    def _is_ours(self, request: web.Request, service: str) -> bool:
        registry = self._world.registry
        return service.lower() in {
            request.host.lower(),
            registry.login_server.lower(),
            *(alias.lower() for alias in registry.aliases),
        }


def _parse(scopes: list[Any]) -> Iterator[tuple[str, str, list[str]]]:
    for scope in " ".join(str(scope) for scope in scopes).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        yield kind, name, actions.split(",")


def _covers(claims: dict[str, Any], need: Need) -> bool:
    return any(
        entry["type"] == need.type
        and entry["name"] in (need.name, "*")
        and (need.action in entry["actions"] or "*" in entry["actions"])
        for entry in claims["access"]
    )


def _challenge(request: web.Request, need: Need | None, reason: str) -> web.Response:
    response = error(401, "UNAUTHORIZED", DENIED, None if need is None else need.detail)
    scope = "" if need is None else f',scope="{need.scope}",error="{reason}"'
    response.headers["Www-Authenticate"] = (
        f'Bearer realm="https://{request.host}/oauth2/token",service="{request.host}"{scope}'
    )
    return response
