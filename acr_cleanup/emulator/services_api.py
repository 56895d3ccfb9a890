"""Answers of the resource manager for other services of Azure, and of Resource Graph."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from acr_cleanup.emulator import services as state
from acr_cleanup.emulator.arm_error import ArmError
from acr_cleanup.emulator.arm_shapes import JSON, describe_registry
from acr_cleanup.emulator.world import World

_REGISTRIES = "microsoft.containerregistry/registries"


class ServiceApi:
    """Answers requests for the resources in `World.services`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def of_tenant(self, request: web.Request, claims: JSON) -> JSON | None:
        """Answer a query of Resource Graph, or with the list of subscriptions; None for another request."""
        if request.method == "GET" and request.path.lower().rstrip("/") == "/subscriptions":
            return {"value": self._subscriptions(str(claims["appid"]))}
        if request.method != "POST" or request.path.lower() != "/providers/microsoft.resourcegraph/resources":
            return None
        body = json.loads(await request.text())
        if body.get("query") != state.GRAPH_QUERY:
            raise ArmError(400, "BadRequest", "The emulator does not know this query.")
        return self._world.services.graph(body, self._readable(claims))

    def _subscriptions(self, identity: str) -> list[JSON]:
        """Return the subscriptions on which, or below which, the caller has any role."""
        world = self._world
        resources = [world.registry.resource_id, *(cluster.resource_id for cluster in world.clusters.values())]
        seen = {name.split("/")[2] for name in resources if any(world.access.roles_on(identity, name))}
        return [
            {"id": f"/subscriptions/{name}", "subscriptionId": name, "displayName": name, "state": "Enabled"}
            for name in sorted(seen)
        ]

    def answer(self, request: web.Request, claims: JSON) -> JSON | None:
        """Answer a GET of one resource or of a list; None for paths of other parts of the emulator."""
        services, path = self._world.services, request.path.lower().rstrip("/")
        parts = path.split("/")
        if request.method != "GET":
            return None
        if path == f"/subscriptions/{parts[2]}/providers/{_REGISTRIES}":
            return {"value": self._registries(claims, parts[2])}
        readable = self._readable(claims)
        if path in services.resources:
            resource = services.resources[path]
            if not readable(resource["type"], resource["id"]):
                message = (
                    f"The client '{claims['appid']}' does not have authorization to perform action "
                    f"'{resource['type']}/read' over scope '{resource['id']}' or the scope is invalid."
                )
                raise ArmError(403, "AuthorizationFailed", message)
            return resource
        below_registry = f"/providers/{_REGISTRIES}/" in path and len(parts) > 9
        if not below_registry and not any(f"/{provider.lower()}" in path for provider in state.PROVIDERS):
            return None
        if path.rpartition("/providers/")[2].count("/") % 2 == 0:
            raise ArmError(404, "ResourceNotFound", f"The resource {parts[-1]} could not be found.")
        items = services.listed(path, readable)
        if items is None:
            raise ArmError(
                404, "InvalidResourceType", f"The resource type '{'/'.join(parts[-2:])}' could not be found."
            )
        return _page(request, items)

    def _registries(self, claims: JSON, subscription: str) -> list[JSON]:
        """Return the visible registries of a subscription."""
        registry, readable = self._world.registry, self._readable(claims)
        items = [describe_registry(registry)] if registry.subscription_id.lower() == subscription else []
        items += [
            item
            for key, item in self._world.services.resources.items()
            if item["type"].lower() == _REGISTRIES and key.startswith(f"/subscriptions/{subscription}/")
        ]
        return [item for item in items if readable(item["type"], item["id"])]

    def _readable(self, claims: JSON) -> Callable[[str, str], bool]:
        """Return whether the caller may read a resource, by its type and id."""
        access, identity = self._world.access, str(claims["appid"])
        return lambda type_, resource_id: access.allows(identity, f"{type_}/read", resource_id)


def _page(request: web.Request, items: list[JSON]) -> JSON:
    start = int(request.query.get("$skipToken", "0"))
    end = start + state.PAGE_SIZE
    body: dict[str, Any] = {"value": items[start:end]}
    if end < len(items):
        query = {**request.query, "$skipToken": str(end)}
        body["nextLink"] = str(request.url.with_scheme("https").with_query(query))
    return body
