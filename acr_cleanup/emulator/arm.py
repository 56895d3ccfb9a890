"""Azure Resource Manager: managed clusters, their credentials, the run command, the registry."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.arm_error import ArmError
from acr_cleanup.emulator.arm_shapes import JSON, command_properties, describe_cluster, describe_registry
from acr_cleanup.emulator.authority import RESOURCE_MANAGER, Authority
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from acr_cleanup.emulator.kubernetes.state import Auth, ClusterState, CommandResult
from acr_cleanup.emulator.log_analytics import describe_logs
from acr_cleanup.emulator.roles import CLUSTERS, REGISTRIES
from acr_cleanup.emulator.services_api import ServiceApi
from acr_cleanup.emulator.tokens import read_claims
from acr_cleanup.emulator.world import World

# The number of clusters on one page of a list.
PAGE_SIZE = 100

_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
_FORMATS: dict[str, Auth] = {"exec": "entra-exec", "azure": "entra"}


def arm_app(world: World, authority: Authority, address_of: Callable[[ClusterState], str]) -> web.Application:
    """Return the resource manager of the world. `address_of`: the URL of a cluster's API server."""
    app = web.Application()
    service = ResourceManager(world, authority, address_of)
    app.router.add_route("*", "/{path:.*}", service.handle)
    app.on_cleanup.append(service.close)
    return app


@dataclass(slots=True)
class _Command:
    cluster: str
    task: asyncio.Task[CommandResult]
    polls_left: int


class ResourceManager:
    """Answer the requests to ARM."""

    def __init__(self, world: World, authority: Authority, address_of: Callable[[ClusterState], str]) -> None:
        self._world = world
        self._authority = authority
        self._address_of = address_of
        self._services = ServiceApi(world)
        self._commands: dict[str, _Command] = {}
        # Bound but not listening: connections are refused, and no other process can take the port.
        self._refusing_socket = socket.socket()
        self._refusing_socket.bind(("127.0.0.1", 0))

    async def close(self, _: web.Application) -> None:
        """Cancel the commands that still run."""
        tasks = [command.task for command in self._commands.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._refusing_socket.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        try:
            return await self._answer(request, self._claims(request))
        except ArmError as error:
            return self._reply(error.body, status=error.status, headers=error.headers, charset=True)

    def _claims(self, request: web.Request) -> JSON:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        claims = self._authority.check_token(token, RESOURCE_MANAGER) if scheme == "Bearer" else None
        if claims is not None:
            return claims
        if not token:
            code, message = "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
        elif (unverified := read_claims(token)) is None or unverified.get("aud") is None:
            code, message = "InvalidAuthenticationToken", "The access token is invalid."
        elif self._authority.check_token(token, str(unverified["aud"])) is None:
            code, message = "InvalidAuthenticationToken", "The access token is invalid or has expired."
        else:
            code = "InvalidAuthenticationTokenAudience"
            message = f"The access token has been obtained for wrong audience or resource '{unverified['aud']}'."
        uri = f"https://login.microsoftonline.com/{self._world.directory.tenant}"
        challenge = f'Bearer authorization_uri="{uri}", error="invalid_token", error_description="{message}"'
        raise ArmError(401, code, message, headers={"WWW-Authenticate": challenge})

    async def _answer(self, request: web.Request, claims: JSON) -> web.StreamResponse:
        """Answer an authenticated request. Names in its path match in any case, as in ARM."""
        if not request.query.get("api-version"):
            message = "The api-version query parameter (?api-version=) is required for all requests."
            raise ArmError(400, "MissingApiVersionParameter", message)
        parts = [part for part in request.path.split("/") if part]
        low = [part.lower() for part in parts]
        provider = ["providers", *CLUSTERS.lower().split("/")]
        if (body := await self._services.of_tenant(request, claims)) is not None:
            return self._reply(body)
        if low[:1] != ["subscriptions"] or len(parts) < 2:
            raise ArmError(404, "NotFound", f"No HTTP resource was found that matches the request URI '{request.url}'.")
        subscription = parts[1]
        self._check_subscription(subscription)
        if low[2:] == provider:
            return self._list(request, claims, subscription, None)
        if low[-3:] == ["providers", "microsoft.authorization", "permissions"] and request.method == "GET":
            return self._reply({"value": self._permissions(claims, "/".join(("", *parts[:-3])))})
        registries = ["providers", "microsoft.containerregistry", "registries"]
        body = describe_logs(self._world, request, claims) or self._services.answer(request, claims)
        if body is not None:
            return self._reply(body)
        if low[2:3] == ["resourcegroups"] and low[4:7] == registries and request.method == "GET":
            self._check_group(subscription, parts[3])
            return self._registries(claims, subscription, parts[3], low[7:])
        if low[2:3] != ["resourcegroups"] or len(parts) < 4 or low[4:7] != provider:
            kind = "/".join(parts[-2:])
            raise ArmError(404, "InvalidResourceType", f"The resource type '{kind}' could not be found.")
        group = parts[3]
        self._check_group(subscription, group)
        if len(parts) == 7:
            return self._list(request, claims, subscription, group)
        cluster = self._cluster(subscription, group, parts[7])
        return await self._operate(request, claims, cluster, low[8:])

    async def _operate(
        self, request: web.Request, claims: JSON, cluster: ClusterState, operation: list[str]
    ) -> web.StreamResponse:
        match request.method, operation:
            case "GET", []:
                self._check_right(claims, f"{CLUSTERS}/read", cluster.resource_id)
                return self._reply(describe_cluster(cluster))
            case "POST", ["listclusterusercredential"]:
                self._check_right(claims, f"{CLUSTERS}/listClusterUserCredential/action", cluster.resource_id)
                return self._credential(cluster, request, "clusterUser")
            case "POST", ["listclusteradmincredential"]:
                self._check_right(claims, f"{CLUSTERS}/listClusterAdminCredential/action", cluster.resource_id)
                return self._credential(cluster, request, "clusterAdmin")
            case "POST", ["runcommand"]:
                self._check_right(claims, f"{CLUSTERS}/runcommand/action", cluster.resource_id)
                return await self._start_command(cluster, request)
            case "GET", ["commandresults", command]:
                self._check_right(claims, f"{CLUSTERS}/commandResults/read", cluster.resource_id)
                return self._command_result(cluster, request, command)
        raise ArmError(405, "MethodNotAllowed", f"The requested resource does not support {request.method}.")

    # -- resources and rights ----------------------------------------------------------------------

    def _check_subscription(self, subscription: str) -> None:
        try:
            uuid.UUID(subscription)
        except ValueError:
            message = f"The provided subscription identifier '{subscription}' is malformed or invalid."
            raise ArmError(400, "InvalidSubscriptionId", message) from None
        known = {cluster.subscription_id.lower() for cluster in self._world.clusters.values()}
        known.add(self._world.registry.subscription_id.lower())
        if subscription.lower() not in known and not self._world.services.has(f"/subscriptions/{subscription}"):
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")

    def _check_group(self, subscription: str, group: str) -> None:
        registry = self._world.registry
        known = {(c.subscription_id.lower(), c.resource_group.lower()) for c in self._world.clusters.values()}
        known.add((registry.subscription_id.lower(), registry.resource_group.lower()))
        known |= self._world.services.groups
        if (subscription.lower(), group.lower()) not in known:
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")

    def _cluster(self, subscription: str, group: str, name: str) -> ClusterState:
        key = (subscription.lower(), group.lower(), name.lower())
        for cluster in self._world.clusters.values():
            if (cluster.subscription_id.lower(), cluster.resource_group.lower(), cluster.name.lower()) == key:
                return cluster
        message = (
            f"The Resource '{CLUSTERS}/{name}' under resource group '{group}' was not found. "
            "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        )
        raise ArmError(404, "ResourceNotFound", message, headers={"x-ms-failure-cause": "gateway"})

    def _may(self, claims: JSON, action: str, scope: str) -> bool:
        return self._world.access.allows(str(claims["appid"]), action, scope)

    def _check_right(self, claims: JSON, action: str, scope: str) -> None:
        if not self._may(claims, action, scope):
            message = (
                f"The client '{claims['appid']}' with object id '{claims['oid']}' does not have authorization to perform "
                f"action '{action}' over scope '{scope}' or the scope is invalid. "
                "If access was recently granted, please refresh your credentials."
            )
            raise ArmError(403, "AuthorizationFailed", message, headers={"x-ms-failure-cause": "gateway"})

    def _permissions(self, claims: JSON, scope: str) -> list[JSON]:
        """Return what the roles of the caller grant on a subscription or a resource."""
        return [
            {
                "actions": list(role.actions),
                "notActions": list(role.not_actions),
                "dataActions": list(role.data_actions),
                "notDataActions": list(role.not_data_actions),
            }
            for role in self._world.access.roles_on(str(claims["appid"]), scope)
        ]

    def _list(self, request: web.Request, claims: JSON, subscription: str, group: str | None) -> web.StreamResponse:
        # The list silently leaves out clusters that the caller has no right to read.
        clusters = [
            cluster
            for cluster in self._world.clusters.values()
            if cluster.subscription_id.lower() == subscription.lower()
            and (group is None or cluster.resource_group.lower() == group.lower())
            and self._may(claims, f"{CLUSTERS}/read", cluster.resource_id)
        ]
        start = int(request.query.get("$skipToken", "0"))
        body: JSON = {"value": [describe_cluster(cluster) for cluster in clusters[start : start + PAGE_SIZE]]}
        if start + PAGE_SIZE < len(clusters):
            query = {"api-version": request.query["api-version"], "$skipToken": str(start + PAGE_SIZE)}
            body["nextLink"] = str(_here(request).with_query(query))
        return self._reply(body)

    def _registries(self, claims: JSON, subscription: str, group: str, name: list[str]) -> web.StreamResponse:
        """Answer with the registry, alone or in the list of its resource group."""
        registry = self._world.registry
        here = (registry.subscription_id.lower(), registry.resource_group.lower()) == (
            subscription.lower(),
            group.lower(),
        )
        # The list silently leaves out a registry that the caller has no right to read.
        visible = here and self._may(claims, f"{REGISTRIES}/read", registry.resource_id)
        registries = [describe_registry(registry)] if visible else []
        if not name:
            return self._reply({"value": registries})
        if here and not visible:
            self._check_right(claims, f"{REGISTRIES}/read", registry.resource_id)
        if not registries or registries[0]["name"].lower() != name[0]:
            raise ArmError(404, "ResourceNotFound", f"The Resource '{name[0]}' was not found.")
        return self._reply(registries[0])

    # -- credentials -------------------------------------------------------------------------------

    def _credential(self, cluster: ClusterState, request: web.Request, role: str) -> web.StreamResponse:
        auth: Auth = cluster.auth
        if role == "clusterAdmin":
            if cluster.disable_local_accounts:
                message = (
                    "Getting static credential is not allowed because this cluster is set to disable local accounts."
                )
                raise ArmError(400, "BadRequest", message, flat=True)
            auth = "certificate" if cluster.is_entra else cluster.auth
        elif cluster.is_entra:
            auth = _FORMATS.get(request.query.get("format", "").lower(), cluster.auth)
        text = kubeconfig(
            cluster,
            server=self._server_of(cluster, request.query.get("server-fqdn", "")),
            ca_pem=self._authority.ca_pem,
            role=role,
            auth=auth,
            tenant=self._world.directory.tenant,
            certificate=self._authority.client_certificate(cluster),
        )
        value = base64.b64encode(text.encode()).decode()
        return self._reply({"kubeconfigs": [{"name": role, "value": value}]}, writes=True)

    def _server_of(self, cluster: ClusterState, server_fqdn: str) -> str:
        if self._world.face == "direct":
            if cluster.is_reachable:
                return self._address_of(cluster)
            return f"https://localhost:{self._refusing_socket.getsockname()[1]}"
        names = (
            (cluster.fqdn, cluster.private_fqdn) if server_fqdn == "public" else (cluster.private_fqdn, cluster.fqdn)
        )
        return f"https://{next(name for name in names if name)}:443"

    # -- run command -------------------------------------------------------------------------------

    async def _start_command(self, cluster: ClusterState, request: web.Request) -> web.StreamResponse:
        if cluster.power_state == "Stopped":
            message = (
                f"managed cluster is in Provisioning State({cluster.provisioning_state}) and Power State(Stopped), "
                "run command cannot be performed"
            )
            raise ArmError(400, "OperationNotAllowed", message, flat=True)
        if cluster.disable_run_command:
            raise ArmError(400, "RunCommandDisabled", "Run command is disabled on this managed cluster.", flat=True)
        if self._world.run_command is None:
            raise ArmError(400, "OperationNotAllowed", "The clusters of this emulator run no commands.", flat=True)
        try:
            payload = json.loads(await request.text())
            command = payload["command"]
        except (ValueError, KeyError, TypeError):
            raise ArmError(400, "InvalidParameter", "Required parameter command is missing.", flat=True) from None
        work = self._world.run_command(
            self._world,
            cluster,
            self._authority,
            command=str(command),
            context=payload.get("context") or "",
            token=payload.get("clusterToken") or "",
        )
        key = uuid.uuid4().hex
        task = asyncio.create_task(work)
        self._commands[key] = _Command(cluster.name, task, cluster.run_command_polls)
        headers = {"Location": self._location(request, cluster, key)}
        return self._reply(None, status=202, headers=headers, writes=True)

    def _command_result(self, cluster: ClusterState, request: web.Request, key: str) -> web.StreamResponse:
        command = self._commands.get(key)
        if command is None or command.cluster != cluster.name:
            raise ArmError(404, "NotFound", f"Could not find command {key}.", flat=True)
        command.polls_left -= 1
        if command.polls_left >= 0 or not command.task.done():
            headers = {"Location": self._location(request, cluster, key)}
            body = {"id": key, "properties": {"provisioningState": "Running"}}
            return self._reply(body, status=202, headers=headers)
        return self._reply({"id": key, "properties": command_properties(command.task.result())})

    def _location(self, request: web.Request, cluster: ClusterState, key: str) -> str:
        # In the recordings the address of the result spells `managedclusters` in lower case.
        scope = f"/subscriptions/{cluster.subscription_id}/resourceGroups/{cluster.resource_group}"
        path = f"{scope}/providers/Microsoft.ContainerService/managedclusters/{cluster.name}"
        url = _here(request).with_path(f"{path}/commandResults/{key}")
        return str(url.with_query({"api-version": request.query["api-version"]}))

    def _reply(
        self,
        body: JSON | None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        writes: bool = False,
        charset: bool = False,
    ) -> web.Response:
        all_headers = {**_HEADERS, "x-ms-request-id": str(uuid.uuid4()), **(headers or {})}
        all_headers[f"x-ms-ratelimit-remaining-subscription-{'writes' if writes else 'reads'}"] = "1199"
        if body is None:
            return web.Response(status=status, headers=all_headers)
        all_headers["Content-Type"] = "application/json; charset=utf-8" if charset else "application/json"
        return web.Response(body=json.dumps(body, indent=1).encode(), status=status, headers=all_headers)


def _here(request: web.Request) -> Any:
    """Return the URL of the request, with the scheme that clients use."""
    return request.url.with_scheme("https")
