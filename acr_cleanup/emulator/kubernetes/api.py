"""
The Kubernetes API of one cluster for readers: discovery, paged lists, access reviews, refusals.
"""

from __future__ import annotations

import asyncio
import bisect
import gzip
import json
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.kubernetes import discovery
from acr_cleanup.emulator.kubernetes.discovery import Resource
from acr_cleanup.emulator.kubernetes.selectors import SelectorError, field_test, label_test
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP, ClusterState
from acr_cleanup.emulator.kubernetes.wire import (
    PlainRefusal,
    Refusal,
    accepts_aggregated,
    api_version_of,
    dump,
    form_of,
    limit_of,
    list_body,
    read_token,
    write_token,
)
from acr_cleanup.emulator.roles import CLUSTERS, AccessControl

JSON = dict[str, Any]

_NOT_FOUND = "the server could not find the requested resource"
_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
# A real server compresses answers of at least this size if the client accepts gzip.
_GZIP_FROM = 128 * 1024
_SNAPSHOTS = 16
_LOCAL_USERS = frozenset({"masterclient", "clusterUser", "system:serviceaccount:aks-command:default"})
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def kubernetes_app(
    cluster: ClusterState, authority: Authority, access: AccessControl, *, inside: bool = False
) -> web.Application:
    """
    Return the API server of `cluster`.

    `inside`: serve clients in the cluster's own network, which reach a private cluster too.
    """
    app = web.Application()
    server = ApiServer(cluster, authority, access, inside=inside)
    app.router.add_route("*", "/{path:.*}", server.handle)
    return app


@dataclass(frozen=True, slots=True)
class _Target:
    """The object or the list that a path below a group version names."""

    group: str
    version: str
    plural: str
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    @property
    def key(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The objects of a paged list. Later changes of the cluster do not change it, as in etcd."""

    version: int
    keys: list[str]
    objects: list[JSON]


class ApiServer:
    """Answer the requests to one cluster."""

    def __init__(self, cluster: ClusterState, authority: Authority, access: AccessControl, *, inside: bool) -> None:
        self._cluster = cluster
        self._authority = authority
        self._access = access
        self._inside = inside
        self._snapshots: OrderedDict[tuple[object, ...], _Snapshot] = OrderedDict()
        self._flow_schema = str(uuid.uuid4())
        self._priority_level = str(uuid.uuid4())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        if not self._inside and not self._cluster.is_reachable:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            user = self._user(request)
            accept = request.headers.get("Accept", "*/*")
            if request.method == "GET":
                return await self._get(request, user, accept)
            return await self._write(request, user)
        except Refusal as refusal:
            headers = {"X-Content-Type-Options": "nosniff"} if refusal.code == HTTPStatus.FORBIDDEN else {}
            return await self._send(request, dump(refusal.body) + b"\n", status=refusal.code, headers=headers)
        except PlainRefusal as refusal:
            headers = {"X-Content-Type-Options": "nosniff", "Content-Type": "text/plain; charset=utf-8"}
            return await self._send(request, f"{refusal}\n".encode(), status=refusal.code, headers=headers)

    # -- users -------------------------------------------------------------------------------------

    def _user(self, request: web.Request) -> str:
        """Return the name of the user. As on AKS, anonymous requests are refused."""
        cluster = self._cluster
        # The administrator's certificate and token of a cluster are local accounts.
        local = not (cluster.is_entra and cluster.disable_local_accounts)
        if local and cluster.auth != "token" and _common_name(request) == f"masterclient-{cluster.name}":
            return "masterclient"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            if token == cluster.inside_token:
                return "system:serviceaccount:aks-command:default"
            if local and token == cluster.token:
                return "clusterUser"
            claims = self._authority.check_token(token, AKS_SERVER_APP) if cluster.is_entra else None
            if claims is not None:
                return str(claims["oid"])
        raise Refusal(401, "Unauthorized")

    def _may(self, user: str, target: _Target) -> bool:
        """Whether the roles of a user allow reading. Only clusters with Azure RBAC ask for them."""
        cluster = self._cluster
        if not (cluster.is_entra and cluster.azure_rbac) or user in _LOCAL_USERS:
            return True
        # A role without Secrets does not allow "everything".
        plurals = (target.plural, "secrets") if target.plural == "*" else (target.plural,)
        group = f"{target.group}/" if target.group not in {"", "*"} else ""
        return all(
            self._access.allows(user, f"{CLUSTERS}/{group}{plural}/read", cluster.resource_id, data=True)
            for plural in plurals
        )

    def _refuse(self, user: str, verb: str, target: _Target) -> Refusal:
        where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        named = f' "{target.name}"' if target.name else ""
        message = (
            f'{target.key}{named} is forbidden: User "{user}" cannot {verb} resource "{target.plural}" '
            f'in API group "{target.group}" {where}'
        )
        details = {"name": target.name} if target.name else {}
        details |= {"group": target.group} if target.group else {}
        return Refusal(403, message, details={**details, "kind": target.plural})

    # -- reading -----------------------------------------------------------------------------------

    async def _get(self, request: web.Request, user: str, accept: str) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        match parts:
            case ["version"]:
                return await self._send(request, json.dumps(self._version(), indent=2).encode())
            case ["healthz" | "livez" | "readyz"]:
                return await self._send(request, b"ok", headers={"Content-Type": "text/plain; charset=utf-8"})
            case ["api" | "apis" as root]:
                return await self._discovery(request, accept, core=root == "api")
            case ["apis", group]:
                versions = self._groups().get(group)
                if versions is None:
                    raise PlainRefusal(404, "404 page not found")
                return await self._send(request, dump(discovery.api_group(group, versions)) + b"\n")
            case ["api", version, *rest]:
                return await self._group_version(request, user, accept, "", version, rest)
            case ["apis", group, version, *rest]:
                return await self._group_version(request, user, accept, group, version, rest)
        raise PlainRefusal(404, "404 page not found")

    def _version(self) -> JSON:
        major, minor, *_ = self._cluster.kubernetes_version.split(".")
        version = {"major": major, "minor": minor, "gitVersion": f"v{self._cluster.kubernetes_version}"}
        build = {"gitCommit": "$Format:%H$", "gitTreeState": "clean", "buildDate": "2026-08-21T00:00:00Z"}
        return version | build | {"goVersion": "go1.26.6", "compiler": "gc", "platform": "linux/amd64"}

    def _groups(self) -> dict[str, list[str]]:
        return discovery.groups_of(self._cluster.resources(), sorted(self._cluster.dead_apis))

    async def _discovery(self, request: web.Request, accept: str, *, core: bool) -> web.StreamResponse:
        resources = self._cluster.resources()
        if accepts_aggregated(accept):
            document = discovery.aggregated(resources, core=core, dead=sorted(self._cluster.dead_apis))
            headers = {"Content-Type": discovery.AGGREGATED, "Cache-Control": "public", "Vary": "Accept"}
            return await self._send(request, dump(document), headers=headers)
        document = discovery.api_versions(request.host) if core else discovery.api_group_list(self._groups())
        return await self._send(request, dump(document) + b"\n")

    async def _group_version(
        self, request: web.Request, user: str, accept: str, group: str, version: str, rest: list[str]
    ) -> web.StreamResponse:
        if f"{group}/{version}" in self._cluster.dead_apis:
            raise PlainRefusal(503, "service unavailable")
        if rest:
            return await self._object_or_list(request, user, accept, _target(group, version, rest))
        members = [r for r in self._cluster.resources() if r.group == group and version in r.versions]
        if not members:
            raise self._unknown(group)
        return await self._send(request, dump(discovery.api_resource_list(group, version, members)) + b"\n")

    def _unknown(self, group: str) -> Refusal | PlainRefusal:
        """Refuse a kind of a built-in group with a Status, and other groups in plain text."""
        if any(r.group == group and not r.custom for r in discovery.BUILTIN):
            return Refusal(404, _NOT_FOUND, details={})
        return PlainRefusal(404, "404 page not found")

    async def _object_or_list(
        self, request: web.Request, user: str, accept: str, target: _Target
    ) -> web.StreamResponse:
        cluster = self._cluster
        # Check rights first: without them a real server answers 403 for a missing group too.
        if target.key in cluster.forbidden or "*" in cluster.forbidden or not self._may(user, target):
            raise self._refuse(user, "get" if target.name else "list", target)
        resources = [r for r in cluster.resources() if r.group == target.group and r.plural == target.plural]
        resource = next((r for r in resources if target.version in r.versions), None)
        verb = "get" if target.name else "list"
        if resource is None or verb not in resource.verbs or target.subresource is not None:
            raise self._unknown(target.group)
        if target.namespace is not None and not resource.namespaced:
            raise self._unknown(target.group)
        if target.name is None:
            return await self._list(request, accept, resource, target)
        for obj in self._visible(resource):
            meta = obj["metadata"]
            if meta["name"] == target.name and meta.get("namespace") == target.namespace:
                shown = {"kind": resource.kind, "apiVersion": api_version_of(resource, target.version), **obj}
                return await self._send(request, dump(shown) + b"\n")
        details = {"name": target.name, **({"group": target.group} if target.group else {}), "kind": target.plural}
        raise Refusal(404, f'{target.key} "{target.name}" not found', details=details)

    def _visible(self, resource: Resource) -> list[JSON]:
        return [] if resource.key in self._cluster.hidden else self._cluster.objects.get(resource.key, [])

    async def _list(self, request: web.Request, accept: str, resource: Resource, target: _Target) -> web.StreamResponse:
        form = form_of(accept)
        query = request.query
        limit = limit_of(query.get("limit", ""))
        token = query.get("continue", "")
        # The answer comes from the watch cache, which ignores the limit.
        # https://kubernetes.io/docs/reference/using-api/api-concepts/
        if query.get("resourceVersion") == "0" and not token:
            limit = 0
        if token and query.get("resourceVersion", "0") not in {"", "0"}:
            raise Refusal(400, "specifying resource version is not allowed when using continue")

        selectors = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        scope = (resource.key, target.namespace, *selectors)
        version, start = read_token(token) if token else (-1, "")
        if token and version != -1:
            snapshot = self._resume(resource, scope, version, start)
        else:
            snapshot = self._snapshot(resource, target.namespace, selectors)
        first = bisect.bisect_left(snapshot.keys, start)
        if limit and self._cluster.page_cap:
            limit = min(limit, self._cluster.page_cap)
        last = first + limit if limit else len(snapshot.keys)

        metadata: JSON = {"resourceVersion": str(snapshot.version)}
        if last < len(snapshot.keys):
            self._keep((*scope, snapshot.version), snapshot)
            metadata["continue"] = write_token(snapshot.version, snapshot.keys[last - 1])
            if not any(selectors):
                metadata["remainingItemCount"] = len(snapshot.keys) - last
        body = list_body(resource, target.version, metadata, snapshot.objects[first:last], form)
        return await self._send(request, body)

    def _snapshot(self, resource: Resource, namespace: str | None, selectors: tuple[str, str]) -> _Snapshot:
        try:
            tests = [label_test(selectors[0])] if selectors[0] else []
            tests += [field_test(resource.key, selectors[1])] if selectors[1] else []
        except SelectorError as error:
            raise Refusal(400, str(error)) from error
        pairs = [
            (_key(obj), obj)
            for obj in self._visible(resource)
            if (namespace is None or obj["metadata"].get("namespace") == namespace) and all(test(obj) for test in tests)
        ]
        pairs.sort(key=lambda pair: pair[0])
        # Two lists never have the same resource version: on a real cluster, others write all the
        # time.
        self._cluster.resource_version += 1
        return _Snapshot(self._cluster.resource_version, [key for key, _ in pairs], [obj for _, obj in pairs])

    def _resume(self, resource: Resource, scope: tuple[object, ...], version: int, start: str) -> _Snapshot:
        expired = self._cluster.expire_continue.get(resource.key, 0)
        snapshot = self._snapshots.get((*scope, version))
        if expired > 0 or snapshot is None:
            if expired > 0:
                self._cluster.expire_continue[resource.key] = expired - 1
            raise Refusal(410, _EXPIRED, metadata={"continue": write_token(-1, start.removesuffix("\0"))})
        return snapshot

    def _keep(self, key: tuple[object, ...], snapshot: _Snapshot) -> None:
        self._snapshots[key] = snapshot
        self._snapshots.move_to_end(key)
        while len(self._snapshots) > _SNAPSHOTS:
            self._snapshots.popitem(last=False)

    # -- other requests ----------------------------------------------------------------------------

    async def _write(self, request: web.Request, user: str) -> web.StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        match parts:
            case ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] if request.method == "POST":
                return await self._review(request, user)
            case ["api", version, *rest] if rest:
                target = _target("", version, rest)
            case ["apis", group, version, *rest] if rest:
                target = _target(group, version, rest)
            case _:
                raise PlainRefusal(404, "404 page not found")
        # Refuse every change: a client that sends one has a bug.
        raise self._refuse(user, _VERBS.get(request.method, request.method.lower()), target)

    async def _review(self, request: web.Request, user: str) -> web.StreamResponse:
        try:
            spec = json.loads(await request.read())["spec"]
        except (ValueError, KeyError, TypeError):
            # Other clients send protobuf, which is not supported here.
            message = (
                "the body of the request was in an unknown format - accepted media types include: application/json"
            )
            raise Refusal(415, message) from None
        attributes = spec.get("resourceAttributes")
        allowed = True
        if attributes is not None:
            name, group = attributes.get("resource", ""), attributes.get("group", "")
            everything = name == "*" or group == "*"
            refused = self._cluster.forbidden | self._cluster.hidden
            allowed = self._cluster.may(attributes.get("verb", ""), f"{name}.{group}" if group else name)
            allowed = allowed and not (everything and refused) and self._may(user, _Target(group, "", name))
        status: JSON = {"allowed": allowed}
        if allowed:
            status["reason"] = 'RBAC: allowed by ClusterRoleBinding "acr-cleanup" of ClusterRole "reader"'
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
        body = dump({**review, "spec": spec, "status": status}) + b"\n"
        return await self._send(request, body, status=HTTPStatus.CREATED)

    async def _send(
        self, request: web.Request, body: bytes, *, status: int = HTTPStatus.OK, headers: JSON | None = None
    ) -> web.StreamResponse:
        all_headers: dict[str, str] = {
            "Audit-Id": str(uuid.uuid4()),
            "Cache-Control": "no-cache, private",
            "Content-Type": "application/json",
            "X-Kubernetes-Pf-Flowschema-Uid": self._flow_schema,
            "X-Kubernetes-Pf-Prioritylevel-Uid": self._priority_level,
            **(headers or {}),
        }
        if len(body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = await asyncio.to_thread(gzip.compress, body, 1)
            all_headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return web.Response(body=body, status=status, headers=all_headers)


def _common_name(request: web.Request) -> str | None:
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None


def _target(group: str, version: str, rest: list[str]) -> _Target:
    namespace = None
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *_ = [*rest, None, None]
    return _Target(group, version, str(plural), namespace, name, subresource)


def _key(obj: JSON) -> str:
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else str(meta["name"])
