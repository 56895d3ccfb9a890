"""
The data plane of one Azure container registry for clients that list, inspect, lock and delete.

https://learn.microsoft.com/rest/api/containerregistry/ (api-version 2021-07-01) and the OCI
distribution specification
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiohttp import web

from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.faults import category_of
from acr_cleanup.emulator.registry import lists
from acr_cleanup.emulator.registry.call import Call
from acr_cleanup.emulator.registry.repository import INDEX_TYPES, ManifestState, RepositoryState, TagState
from acr_cleanup.emulator.registry.rights import CATALOG, may_see_locks
from acr_cleanup.emulator.registry.shapes import (
    Refusal,
    deleted_json,
    disallowed,
    error,
    manifest_json,
    manifest_unknown,
    repository_json,
    tag_json,
)
from acr_cleanup.emulator.registry.state import digest_of
from acr_cleanup.emulator.registry.tokens import Need, TokenService
from acr_cleanup.emulator.world import World

# The limits of a Standard registry. A header shows them as calls per second if no budget is set.
# https://learn.microsoft.com/azure/container-registry/container-registry-skus
CALLS_PER_MINUTE = {"OAuth": 10_000, "DataplaneDelete": 500}

_Handler = Callable[[Call], Awaitable[web.Response]]


def acr_app(world: World, authority: Authority) -> web.Application:
    """Return the registry of the world."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", _Registry(world, authority).answer)
    return app


class _Registry:
    def __init__(self, world: World, authority: Authority) -> None:
        self._world = world
        self._tokens = TokenService(world, authority)
        self._oauth = {
            ("POST", "/oauth2/exchange"): self._tokens.exchange,
            ("POST", "/oauth2/token"): self._tokens.token,
            ("GET", "/oauth2/token"): self._tokens.token_from_login,
        }

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request, with the headers that every answer of a registry has."""
        try:
            response = await self._dispatch(request)
        except Refusal as refusal:
            response = refusal.response
        response.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
        response.headers["Access-Control-Expose-Headers"] = (
            "Docker-Content-Digest, WWW-Authenticate, Link, X-Ms-Correlation-Request-Id"
        )
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Server"] = "openresty"
        category = category_of(request.method, request.path)
        if category in CALLS_PER_MINUTE and (response.status != 401 or category == "OAuth"):
            budget = self._world.budgets.get(category)
            left = CALLS_PER_MINUTE[category] if budget is None else budget.limit - budget.used
            response.headers["X-Ms-Ratelimit-Remaining-Calls-Per-Second"] = f"{left / 60:.6f}"
        return response

    async def _dispatch(self, request: web.Request) -> web.Response:
        method, path = request.method, request.path
        oauth = self._oauth.get((method, path))
        if oauth is not None:
            return await oauth(request)
        for pattern, action, handler in _ROUTES.get(method, ()):
            match = pattern.fullmatch(path)
            if match is None:
                continue
            parts = match.groupdict()
            name = parts.get("name", "")
            need = Need("repository", name, action) if name else Need("registry", CATALOG, "*")
            client = self._tokens.check(request, need if action else None)
            shows_locks = may_see_locks(self._world, client, name)
            call = Call(request, self._world.registry, name, parts.get("reference", ""), shows_locks)
            response = await handler(call)
            if (operation := _LOGGED.get(handler)) is not None and request.method != "HEAD":
                self._log(operation, call, response, client)
            return response
        return web.Response(status=404, text="404 page not found\n")

    def _log(self, operation: str, call: Call, response: web.Response, client: str) -> None:
        """Write an event into the log, as the diagnostic setting of the registry asks."""
        logs, reference = self._world.logs, call.reference
        if not logs.is_enabled:
            return
        by_digest = ":" in reference
        digest = next((response.headers[name] for name in _DIGESTS if name in response.headers), "")
        logs.write(
            operation,
            self._world.clock(),
            call.name,
            "" if by_digest else reference,
            reference if by_digest else "" if logs.names_as_asked else digest,
            Identity=client,
            UserAgent=call.request.headers.get("User-Agent", ""),
            LoginServer=call.registry.login_server,
            _ResourceId=call.registry.resource_id,
        )


_DIGESTS = ("Docker-Content-Digest", "X-Ms-Int-Docker-Content-Digest")


async def support(call: Call) -> web.Response:
    """`GET /v2/`."""
    del call
    return web.json_response({})


# -- repositories ----------------------------------------------------------------------------------


async def get_repository(call: Call) -> web.Response:
    """`GET /acr/v1/NAME`."""
    return web.json_response(repository_json(call.host, call.repository(), locks=call.shows_locks))


async def update_repository(call: Call) -> web.Response:
    """`PATCH /acr/v1/NAME`."""
    state = call.repository()
    await _update(call, state, state)
    return web.json_response(repository_json(call.host, state, locks=call.shows_locks))


async def delete_repository(call: Call) -> web.Response:
    """`DELETE /acr/v1/NAME`."""
    state = call.repository()
    contents = [manifest.attributes for manifest in state.manifests.values()]
    contents += [tag.attributes for tag in state.tags.values()]
    if any(attributes.locked for attributes in (state.attributes, *contents)):
        raise Refusal(disallowed())
    del call.registry.repositories[call.name]
    return web.json_response(
        {"manifestsDeleted": sorted(state.manifests), "tagsDeleted": sorted(state.tags)}, status=202
    )


# -- tags ------------------------------------------------------------------------------------------


async def get_tag(call: Call) -> web.Response:
    """`GET /acr/v1/NAME/_tags/TAG`."""
    _, tag = call.tag()
    return _tag_response(call, tag)


async def update_tag(call: Call) -> web.Response:
    """`PATCH /acr/v1/NAME/_tags/TAG`."""
    state, tag = call.tag()
    await _update(call, state, tag)
    return _tag_response(call, tag)


async def delete_tag(call: Call) -> web.Response:
    """`DELETE /acr/v1/NAME/_tags/TAG`: remove one tag and keep its manifest."""
    # A lock of the tag and a write lock of the repository are known to forbid this. Whether a lock
    # of the manifest does is not known. The emulator allows it, which is the more dangerous
    # reading.
    state, tag = call.tag()
    if not state.attributes.write or tag.attributes.locked:
        raise Refusal(disallowed())
    state.untag(tag.name)
    if call.registry.retention_days == 0 and not state.manifests[tag.digest].tags:
        call.registry.remove(call.name, tag.digest)
    return web.Response(status=202, headers={"X-Ms-Int-Docker-Content-Digest": tag.digest})


def _tag_response(call: Call, tag: TagState) -> web.Response:
    return web.json_response(
        {"registry": call.host, "imageName": call.name, "tag": tag_json(tag, locks=call.shows_locks)}
    )


# -- manifests -------------------------------------------------------------------------------------


async def get_manifest_properties(call: Call) -> web.Response:
    """`GET /acr/v1/NAME/_manifests/DIGEST`."""
    _, manifest = call.manifest()
    properties = manifest_json(manifest, call.registry.truncate_tags_at, locks=call.shows_locks)
    if manifest.is_index:
        properties["references"] = [
            {"digest": child["digest"], **{key: child["platform"][key] for key in ("architecture", "os")}}
            for child in json.loads(manifest.body).get("manifests", ())
            if "platform" in child
        ]
    return web.json_response({"registry": call.host, "imageName": call.name, "manifest": properties})


async def update_manifest(call: Call) -> web.Response:
    """`PATCH /acr/v1/NAME/_manifests/DIGEST`."""
    state, manifest = call.manifest()
    await _update(call, state, manifest)
    properties = manifest_json(manifest, call.registry.truncate_tags_at, locks=call.shows_locks)
    return web.json_response({"registry": call.host, "imageName": call.name, "manifest": properties})


async def get_manifest(call: Call) -> web.Response:
    """`GET /v2/NAME/manifests/REFERENCE`: the body of a manifest."""
    state = call.repository()
    manifest = state.resolve(call.reference)
    if manifest is None or manifest.ghost:
        raise Refusal(manifest_unknown(f"manifest {call.reference} is not found"))
    if not (state.attributes.read and manifest.attributes.read):
        raise Refusal(disallowed())
    accept = call.request.headers.get("Accept", "*/*")
    if manifest.media_type not in accept and "*/*" not in accept and "oci" in manifest.media_type:
        raise Refusal(manifest_unknown("OCI manifest found, but accept header does not support it"))
    headers = {"Docker-Content-Digest": manifest.digest, "ETag": f'"{manifest.digest}"'}
    return web.Response(body=manifest.body, content_type=manifest.media_type, headers=headers)


async def put_manifest(call: Call) -> web.Response:
    """`PUT /v2/NAME/manifests/REFERENCE`."""
    registry = call.registry
    body = await call.request.read()
    state = registry.repositories.get(call.name)
    tag = None if ":" in call.reference else call.reference
    if state is not None:
        old = state.tags.get(call.reference)
        if not state.attributes.write or (old is not None and not old.attributes.write):
            raise Refusal(disallowed())
    try:
        media_type = str(json.loads(body).get("mediaType") or call.request.content_type)
    except (ValueError, AttributeError):
        raise Refusal(error(400, "MANIFEST_INVALID", "manifest invalid")) from None
    image = media_type not in INDEX_TYPES
    digest = digest_of(body)
    if tag is None and digest != call.reference:
        raise Refusal(error(400, "DIGEST_INVALID", "provided digest did not match uploaded content"))
    if registry.soft_delete and digest in registry.deleted.get(call.name, {}):
        raise Refusal(error(409, "CONFLICT", f"manifest {digest} is soft deleted"))
    if (missing := registry.missing_part(call.name, body)) is not None:
        kind, part = missing
        code = "MANIFEST_BLOB_UNKNOWN" if kind == "blob" else "MANIFEST_UNKNOWN"
        raise Refusal(error(404, code, f"{kind} unknown to registry", {"digest": part}))
    registry.put(
        call.name,
        tag,
        body,
        media_type,
        architecture="amd64" if image else None,
        os="linux" if image else None,
    )
    location = f"/v2/{call.name}/manifests/{digest}"
    return web.Response(status=201, headers={"Docker-Content-Digest": digest, "Location": location})


async def delete_manifest(call: Call) -> web.Response:
    """`DELETE /v2/NAME/manifests/REFERENCE`: remove a manifest with all its tags."""
    state = call.repository()
    manifest = state.resolve(call.reference)
    if manifest is None:
        raise Refusal(manifest_unknown(f"manifest {call.reference} is not found"))
    locked = manifest.attributes.locked or any(state.tags[tag].attributes.locked for tag in manifest.tags)
    if locked or not state.attributes.write:
        raise Refusal(disallowed())
    call.registry.remove(call.name, manifest.digest)
    return web.Response(status=202)


async def restore_manifest(call: Call) -> web.Response:
    """`POST /acr/v1/_deleted/NAME/_manifests/DIGEST`: restore a soft-deleted manifest."""
    deleted = call.deleted()
    if call.reference not in deleted:
        raise Refusal(manifest_unknown(f"manifest {call.reference} is not found"))
    content = await call.json()
    if not isinstance(content, dict):
        raise Refusal(error(400, "UNSUPPORTED", "the body is not JSON"))
    tag = content.get("tag")
    state = call.registry.repositories.get(call.name)
    forced = call.request.query.get("force", "").lower() == "true"
    if tag is not None and state is not None and tag in state.tags and not forced:
        raise Refusal(error(409, "CONFLICT", f"tag {tag} exists"))
    shown = deleted_json(deleted[call.reference])
    call.registry.restore(call.name, call.reference, tag)
    return web.json_response(shown)


async def _update(call: Call, state: RepositoryState, target: RepositoryState | ManifestState | TagState) -> None:
    """Change the attributes of `target` that the body names."""
    body = await call.json()
    changes = {
        key: bool(body[f"{key}Enabled"]) for key in ("delete", "write", "read", "list") if f"{key}Enabled" in body
    }
    target.attributes = replace(target.attributes, **changes)
    state.forget_orders()


def _routes() -> dict[str, list[tuple[re.Pattern[str], str, _Handler]]]:
    """Return (path, action, handler) by method. Action: the right that the handler needs."""
    # Repository names are lower case and may have any number of segments, so the order matters.
    name, rest = r"(?P<name>[a-z0-9][a-z0-9._/-]*)", r"(?P<reference>[^/]+)"
    routes: dict[str, list[tuple[re.Pattern[str], str, _Handler]]] = {}
    for method, path, action, handler in (
        ("GET", r"/acr/v1/_catalog", CATALOG, lists.list_repositories),
        ("GET", r"/v2/_catalog", CATALOG, lists.list_repositories),
        ("GET", r"/v2/", "", support),
        ("GET", rf"/acr/v1/_deleted/{name}/_manifests", "deleted_read", lists.list_deleted_manifests),
        ("GET", rf"/acr/v1/_deleted/{name}/_tags", "deleted_read", lists.list_deleted_tags),
        ("POST", rf"/acr/v1/_deleted/{name}/_manifests/{rest}", "deleted_restore", restore_manifest),
        ("GET", rf"/acr/v1/{name}/_tags", "metadata_read", lists.list_tags),
        ("GET", rf"/acr/v1/{name}/_tags/{rest}", "metadata_read", get_tag),
        ("DELETE", rf"/acr/v1/{name}/_tags/{rest}", "delete", delete_tag),
        ("PATCH", rf"/acr/v1/{name}/_tags/{rest}", "metadata_write", update_tag),
        ("GET", rf"/acr/v1/{name}/_manifests", "metadata_read", lists.list_manifests),
        ("GET", rf"/acr/v1/{name}/_manifests/{rest}", "metadata_read", get_manifest_properties),
        ("PATCH", rf"/acr/v1/{name}/_manifests/{rest}", "metadata_write", update_manifest),
        ("GET", rf"/acr/v1/{name}", "metadata_read", get_repository),
        ("DELETE", rf"/acr/v1/{name}", "delete", delete_repository),
        ("PATCH", rf"/acr/v1/{name}", "metadata_write", update_repository),
        ("GET", rf"/v2/{name}/manifests/{rest}", "pull", get_manifest),
        ("HEAD", rf"/v2/{name}/manifests/{rest}", "pull", get_manifest),
        ("PUT", rf"/v2/{name}/manifests/{rest}", "push", put_manifest),
        ("DELETE", rf"/v2/{name}/manifests/{rest}", "delete", delete_manifest),
        ("GET", rf"/v2/{name}/referrers/{rest}", "pull", lists.list_referrers),
    ):
        routes.setdefault(method, []).append((re.compile(path), action, handler))
    return routes


_ROUTES = _routes()
# The events that are logged. Whether a HEAD counts as a pull is not known.
_LOGGED: dict[_Handler, str] = {
    get_manifest: "Pull",
    put_manifest: "Push",
    delete_tag: "Untag",
    delete_manifest: "Delete",
    delete_repository: "Delete",
}
