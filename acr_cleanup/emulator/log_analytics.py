"""The query endpoint of Log Analytics, and what the resource manager shows of the registry's logs."""

from __future__ import annotations

import json
import uuid
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.arm_error import ArmError
from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.logs import TABLE, QueryError
from acr_cleanup.emulator.roles import LOG_TABLES, WORKSPACES
from acr_cleanup.emulator.world import World

JSON = dict[str, Any]
_SETTINGS = "Microsoft.Insights/diagnosticSettings"


def log_analytics_app(world: World, authority: Authority) -> web.Application:
    """Return the query endpoint of the world."""
    app = web.Application()
    app.router.add_post("/v1/{resource:subscriptions/.+}/query", _Queries(world, authority).answer)
    return app


class _Queries:
    def __init__(self, world: World, authority: Authority) -> None:
        self._world = world
        self._authority = authority

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a query in the context of the registry."""
        logs, registry = self._world.logs, self._world.registry
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # The audience is the endpoint itself.
        claims = self._authority.check_token(token, f"https://{request.host}") if scheme == "Bearer" else None
        if claims is None:
            return _error(401, "InvalidTokenError", "The provided authentication is not valid for this resource")
        if f"/{request.match_info['resource']}".lower() != registry.resource_id.lower():
            return _error(404, "ResourceNotFoundError", "The resource was not found, or has no logs")
        if not self._may_query(str(claims["appid"])):
            message = "The provided credentials have insufficient access to perform the requested operation"
            return _error(403, "InsufficientAccessError", message)
        try:
            body = json.loads(await request.text())
            return web.json_response(logs.query(str(body.get("query")), body.get("timespan"), self._world.clock()))
        except QueryError as error:
            inner = {
                "code": "SemanticError",
                "message": "A semantic error occurred.",
                "innererror": {"message": str(error)},
            }
            return _error(400, "BadArgumentError", "The request had some invalid properties", innererror=inner)

    def _may_query(self, client: str) -> bool:
        access, logs = self._world.access, self._world.logs
        if access.allows(client, f"{WORKSPACES}/query/read", logs.workspace):
            return True
        in_context = access.allows(client, f"{LOG_TABLES}/{TABLE}/read", self._world.registry.resource_id)
        return in_context and not logs.workspace_rights


def _error(status: int, code: str, message: str, **more: Any) -> web.Response:
    error = {"message": message, "code": code, "correlationId": str(uuid.uuid4()), **more}
    return web.json_response({"error": error}, status=status)


def describe_logs(world: World, request: web.Request, claims: JSON) -> JSON | None:
    """Answer a request to ARM for diagnostic settings or the workspace; None for another request."""
    logs, path = world.logs, request.path.rstrip("/")
    if request.method != "GET":
        return None
    if path.lower() == f"{world.registry.resource_id}/providers/{_SETTINGS}".lower():
        _check(world, claims, f"{_SETTINGS}/read", world.registry.resource_id)
        return {"value": logs.settings}
    if f"/providers/{WORKSPACES}/".lower() not in path.lower():
        return None
    _check(world, claims, f"{WORKSPACES}/read", path)
    if path.lower() != logs.workspace.lower() or not logs.exists:
        raise ArmError(404, "ResourceNotFound", f"The Resource '{path.rpartition('/')[2]}' was not found.")
    properties = {
        "retentionInDays": logs.retention_days,
        "customerId": str(uuid.uuid5(uuid.NAMESPACE_URL, logs.workspace)),
    }
    return {
        "id": logs.workspace,
        "name": logs.workspace.rpartition("/")[2],
        "type": WORKSPACES,
        "properties": properties,
    }


def _check(world: World, claims: JSON, action: str, scope: str) -> None:
    if not world.access.allows(str(claims["appid"]), action, scope):
        message = f"The client '{claims['appid']}' does not have authorization to perform action '{action}' over scope '{scope}'."
        raise ArmError(403, "AuthorizationFailed", message)
