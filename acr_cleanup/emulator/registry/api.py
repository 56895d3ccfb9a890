"""
The data plane of one Azure container registry, as far as a client that lists, inspects, locks and deletes can see it.

https://learn.microsoft.com/rest/api/containerregistry/ (api-version 2021-07-01) and the OCI distribution specification
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from aiohttp import web

from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.faults import category_of
from acr_cleanup.emulator.registry.repository import INDEX_TYPES, OCI_INDEX, ManifestState, RepositoryState, TagState
from acr_cleanup.emulator.registry.shapes import (
    Page,
    deleted_json,
    deleted_tags_json,
    disallowed,
    error,
    manifest_json,
    name_unknown,
    paged,
    referrer_json,
    repository_json,
    tag_json,
    wanted_page,
)
from acr_cleanup.emulator.registry.state import DeletedManifest, digest_of
from acr_cleanup.emulator.registry.tokens import CATALOG, Need, TokenService
from acr_cleanup.emulator.world import World

# The limits of a Standard registry; shown as calls per second in a header while no budget says otherwise.
# https://learn.microsoft.com/azure/container-registry/container-registry-skus
CALLS_PER_MINUTE = {"OAuth": 10_000, "DataplaneDelete": 500}


def acr_app(world: World, authority: Authority) -> web.Application:
    """The registry of the world."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", _Registry(world, authority).answer)
    return app


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, taken apart. `reference` is the tag or digest in its path, if any."""

    request: web.Request
    name: str
    reference: str

    @property
    def host(self) -> str:
        return self.request.host


_Handler = Callable[[_Call], Awaitable[web.Response]]


class _Registry:
    def __init__(self, world: World, authority: Authority) -> None:
        self._world = world
        self._tokens = TokenService(world, authority)
        # Repository names are lower case and may have any number of segments, so the order matters.
        name, rest = r"(?P<name>[a-z0-9][a-z0-9._/-]*)", r"(?P<reference>[^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], str, _Handler]] = [
            (method, re.compile(pattern), action, handler)
            for method, pattern, action, handler in (
                ("GET", r"/acr/v1/_catalog", CATALOG, self.list_repositories),
                ("GET", r"/v2/_catalog", CATALOG, self.list_repositories),
                ("GET", r"/v2/", "", self.support),
                ("GET", rf"/acr/v1/_deleted/{name}/_manifests", "deleted_read", self.list_deleted_manifests),
                ("GET", rf"/acr/v1/_deleted/{name}/_tags", "deleted_read", self.list_deleted_tags),
                ("POST", rf"/acr/v1/_deleted/{name}/_manifests/{rest}", "deleted_restore", self.restore_manifest),
                ("GET", rf"/acr/v1/{name}/_tags", "metadata_read", self.list_tags),
                ("GET", rf"/acr/v1/{name}/_tags/{rest}", "metadata_read", self.get_tag),
                ("DELETE", rf"/acr/v1/{name}/_tags/{rest}", "delete", self.delete_tag),
                ("PATCH", rf"/acr/v1/{name}/_tags/{rest}", "metadata_write", self.update_tag),
                ("GET", rf"/acr/v1/{name}/_manifests", "metadata_read", self.list_manifests),
                ("GET", rf"/acr/v1/{name}/_manifests/{rest}", "metadata_read", self.get_manifest_properties),
                ("PATCH", rf"/acr/v1/{name}/_manifests/{rest}", "metadata_write", self.update_manifest),
                ("GET", rf"/acr/v1/{name}", "metadata_read", self.get_repository),
                ("DELETE", rf"/acr/v1/{name}", "delete", self.delete_repository),
                ("PATCH", rf"/acr/v1/{name}", "metadata_write", self.update_repository),
                ("GET", rf"/v2/{name}/manifests/{rest}", "pull", self.get_manifest),
                ("HEAD", rf"/v2/{name}/manifests/{rest}", "pull", self.get_manifest),
                ("PUT", rf"/v2/{name}/manifests/{rest}", "push", self.put_manifest),
                ("DELETE", rf"/v2/{name}/manifests/{rest}", "delete", self.delete_manifest),
                ("GET", rf"/v2/{name}/referrers/{rest}", "pull", self.list_referrers),
            )
        ]

    async def answer(self, request: web.Request) -> web.Response:
        """Finds the operation, checks the token, and gives every answer the registry's usual headers."""
        response = await self._dispatch(request)
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
        oauth = {
            ("POST", "/oauth2/exchange"): self._tokens.exchange,
            ("POST", "/oauth2/token"): self._tokens.token,
            ("GET", "/oauth2/token"): self._tokens.token_from_login,
        }.get((request.method, request.path))
        if oauth is not None:
            return await oauth(request)
        for method, pattern, action, handler in self._routes:
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match is None:
                continue
            parts = match.groupdict()
            name = parts.get("name", "")
            need = Need("repository", name, action) if name else Need("registry", CATALOG, "*")
            refusal = self._tokens.check(request, need if action else None)
            return refusal or await handler(_Call(request, name, parts.get("reference", "")))
        return web.Response(status=404, text="404 page not found\n")

    # -- the registry and its repositories ---------------------------------------------------------------------

    async def support(self, call: _Call) -> web.Response:
        del call
        return web.json_response({})

    async def list_repositories(self, call: _Call) -> web.Response:
        wanted = self._page(call)
        if isinstance(wanted, web.Response):
            return wanted
        names = sorted(
            name
            for name, state in self._world.registry.repositories.items()
            if state.attributes.list and name > (wanted.last or "")
        )
        page = names[: wanted.n]
        more = len(names) > wanted.n
        return paged({"repositories": page}, call.request, wanted, page[-1] if more else None)

    async def get_repository(self, call: _Call) -> web.Response:
        state = self._find(call)
        return state if isinstance(state, web.Response) else web.json_response(repository_json(call.host, state))

    async def update_repository(self, call: _Call) -> web.Response:
        state = self._find(call)
        return state if isinstance(state, web.Response) else await self._update(call, state, state)

    async def delete_repository(self, call: _Call) -> web.Response:
        state = self._find(call)
        if isinstance(state, web.Response):
            return state
        inside = [manifest.attributes for manifest in state.manifests.values()]
        inside += [tag.attributes for tag in state.tags.values()]
        if any(attributes.locked for attributes in (state.attributes, *inside)):
            return disallowed()
        del self._world.registry.repositories[call.name]
        return web.json_response(
            {"manifestsDeleted": sorted(state.manifests), "tagsDeleted": sorted(state.tags)}, status=202
        )

    # -- tags --------------------------------------------------------------------------------------------------

    async def list_tags(self, call: _Call) -> web.Response:
        state = self._find(call)
        wanted = self._page(call)
        if isinstance(state, web.Response):
            return state
        if isinstance(wanted, web.Response):
            return wanted
        if self._world.registry.tagless_is_unknown and not state.tags:
            return name_unknown(call.name)
        tags, more = state.page_of_tags(wanted.order, wanted.last, wanted.n, call.request.query.get("digest"))
        body = {"registry": call.host, "imageName": call.name, "tags": [tag_json(tag) for tag in tags]}
        return paged(body, call.request, wanted, tags[-1].name if more else None)

    async def get_tag(self, call: _Call) -> web.Response:
        state = self._find(call, tag=True)
        if isinstance(state, web.Response):
            return state
        tag = state.tags[call.reference]
        return web.json_response({"registry": call.host, "imageName": call.name, "tag": tag_json(tag)})

    async def update_tag(self, call: _Call) -> web.Response:
        state = self._find(call, tag=True)
        if isinstance(state, web.Response):
            return state
        return await self._update(call, state, state.tags[call.reference])

    async def delete_tag(self, call: _Call) -> web.Response:
        # Only locks of the tag itself and a write lock of the repository are known to forbid this; a lock of
        # the manifest alone is not, so the emulator allows it, which is the more dangerous reading.
        state = self._find(call, tag=True)
        if isinstance(state, web.Response):
            return state
        if not state.attributes.write or state.tags[call.reference].attributes.locked:
            return disallowed()
        tag = state.untag(call.reference)
        if self._world.registry.retention_days == 0 and not state.manifests[tag.digest].tags:
            self._world.registry.remove(call.name, tag.digest)
        return web.Response(status=202, headers={"X-Ms-Int-Docker-Content-Digest": tag.digest})

    # -- manifests ---------------------------------------------------------------------------------------------

    async def list_manifests(self, call: _Call) -> web.Response:
        state = self._find(call)
        wanted = self._page(call)
        if isinstance(state, web.Response):
            return state
        if isinstance(wanted, web.Response):
            return wanted
        manifests, more = state.page_of_manifests(wanted.order, wanted.last, wanted.n)
        body = {
            "registry": call.host,
            "imageName": call.name,
            "manifests": [self._describe(manifest) for manifest in manifests],
        }
        return paged(body, call.request, wanted, manifests[-1].digest if more else None)

    async def get_manifest_properties(self, call: _Call) -> web.Response:
        state = self._find(call)
        if isinstance(state, web.Response):
            return state
        manifest = state.manifests.get(call.reference)
        if manifest is None:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        properties = self._describe(manifest)
        if manifest.is_index:
            properties["references"] = [
                {"digest": child["digest"], **{key: child["platform"][key] for key in ("architecture", "os")}}
                for child in json.loads(manifest.body).get("manifests", ())
                if "platform" in child
            ]
        return web.json_response({"registry": call.host, "imageName": call.name, "manifest": properties})

    async def update_manifest(self, call: _Call) -> web.Response:
        state = self._find(call)
        if isinstance(state, web.Response):
            return state
        if call.reference not in state.manifests:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return await self._update(call, state, state.manifests[call.reference])

    async def get_manifest(self, call: _Call) -> web.Response:
        state = self._find(call)
        if isinstance(state, web.Response):
            return state
        manifest = state.resolve(call.reference)
        if manifest is None or manifest.ghost:
            return error(404, "MANIFEST_UNKNOWN", f"manifest {call.reference} is not found")
        if not (state.attributes.read and manifest.attributes.read):
            return disallowed()
        accept = call.request.headers.get("Accept", "*/*")
        if manifest.media_type not in accept and "*/*" not in accept and "oci" in manifest.media_type:
            return error(404, "MANIFEST_UNKNOWN", "OCI manifest found, but accept header does not support it")
        headers = {"Docker-Content-Digest": manifest.digest, "ETag": f'"{manifest.digest}"'}
        return web.Response(body=manifest.body, content_type=manifest.media_type, headers=headers)

    async def put_manifest(self, call: _Call) -> web.Response:
        registry = self._world.registry
        body = await call.request.read()
        known = registry.repositories.get(call.name)
        tag = None if ":" in call.reference else call.reference
        if known is not None:
            named = known.tags.get(call.reference)
            if not known.attributes.write or (named is not None and not named.attributes.write):
                return disallowed()
        try:
            media_type = str(json.loads(body).get("mediaType") or call.request.content_type)
        except (ValueError, AttributeError):
            return error(400, "MANIFEST_INVALID", "manifest invalid")
        image = media_type not in INDEX_TYPES
        digest = digest_of(body)
        if tag is None and digest != call.reference:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        if registry.soft_delete and digest in registry.deleted.get(call.name, {}):
            return error(409, "CONFLICT", f"manifest {digest} is soft deleted")
        if (missing := registry.missing_part(call.name, body)) is not None:
            kind, part = missing
            code = "MANIFEST_BLOB_UNKNOWN" if kind == "blob" else "MANIFEST_UNKNOWN"
            return error(404, code, f"{kind} unknown to registry", {"digest": part})
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

    async def delete_manifest(self, call: _Call) -> web.Response:
        state = self._find(call)
        if isinstance(state, web.Response):
            return state
        manifest = state.resolve(call.reference)
        if manifest is None:
            return error(404, "MANIFEST_UNKNOWN", f"manifest {call.reference} is not found")
        locked = manifest.attributes.locked or any(state.tags[tag].attributes.locked for tag in manifest.tags)
        if locked or not state.attributes.write:
            return disallowed()
        self._world.registry.remove(call.name, manifest.digest)
        return web.Response(status=202)

    async def list_referrers(self, call: _Call) -> web.Response:
        state = self._find(call)
        if isinstance(state, web.Response):
            return state
        wanted = call.request.query.get("artifactType")
        found = [state.manifests[digest] for digest in state.referrers.get(call.reference, ())]
        described = [referrer_json(m) for m in found if wanted is None or m.artifact_type == wanted]
        headers = {} if wanted is None else {"OCI-Filters-Applied": "artifactType"}
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": described}
        return web.Response(text=json.dumps(body), content_type=OCI_INDEX, headers=headers)

    # -- what soft delete holds ---------------------------------------------------------------------------------

    async def list_deleted_manifests(self, call: _Call) -> web.Response:
        held = self._held(call)
        if isinstance(held, web.Response):
            return held
        wanted = self._page(call)
        if isinstance(wanted, web.Response):
            return wanted
        digests = sorted(digest for digest in held if digest > (wanted.last or ""))
        page = digests[: wanted.n]
        body = {"registry": call.host, "imageName": call.name, "manifests": [deleted_json(held[each]) for each in page]}
        return paged(body, call.request, wanted, page[-1] if len(digests) > wanted.n else None)

    async def list_deleted_tags(self, call: _Call) -> web.Response:
        held = self._held(call)
        if isinstance(held, web.Response):
            return held
        tags = [tag for each in held.values() for tag in deleted_tags_json(each)]
        return web.json_response({"registry": call.host, "imageName": call.name, "tags": tags})

    async def restore_manifest(self, call: _Call) -> web.Response:
        held = self._held(call)
        if isinstance(held, web.Response):
            return held
        if call.reference not in held:
            return error(404, "MANIFEST_UNKNOWN", f"manifest {call.reference} is not found")
        try:
            tag = (await call.request.json()).get("tag")
        except (ValueError, AttributeError):
            return error(400, "UNSUPPORTED", "the body is not JSON")
        state = self._world.registry.repositories.get(call.name)
        forced = call.request.query.get("force", "").lower() == "true"
        if tag is not None and state is not None and tag in state.tags and not forced:
            return error(409, "CONFLICT", f"tag {tag} exists")
        described = deleted_json(held[call.reference])
        self._world.registry.restore(call.name, call.reference, tag)
        return web.json_response(described)

    def _held(self, call: _Call) -> dict[str, DeletedManifest] | web.Response:
        if not self._world.registry.soft_delete:
            return error(405, "UNSUPPORTED", "soft delete is not enabled on this registry")
        return self._world.registry.deleted.get(call.name, {})

    # -- helpers -----------------------------------------------------------------------------------------------

    def _find(self, call: _Call, *, tag: bool = False) -> RepositoryState | web.Response:
        """The repository of a call; with `tag`, one that has the tag named in its path."""
        state = self._world.registry.repositories.get(call.name)
        if tag and (state is None or call.reference not in state.tags):
            return error(404, "TAG_UNKNOWN", "the specified tag does not exist")
        return name_unknown(call.name) if state is None else state

    def _page(self, call: _Call) -> Page | web.Response:
        return wanted_page(call.request, self._world.registry.default_page, self._world.registry.largest_page)

    def _describe(self, manifest: ManifestState) -> dict[str, object]:
        return manifest_json(manifest, self._world.registry.truncate_tags_at)

    async def _update(
        self, call: _Call, state: RepositoryState, target: RepositoryState | ManifestState | TagState
    ) -> web.Response:
        try:
            body = await call.request.json()
        except ValueError:
            return error(400, "UNSUPPORTED", "the body is not JSON")
        changes = {
            key: bool(body[f"{key}Enabled"]) for key in ("delete", "write", "read", "list") if f"{key}Enabled" in body
        }
        target.attributes = replace(target.attributes, **changes)
        state.forget_orders()
        if isinstance(target, RepositoryState):
            return web.json_response(repository_json(call.host, target))
        described = {"tag": tag_json(target)} if isinstance(target, TagState) else {"manifest": self._describe(target)}
        return web.json_response({"registry": call.host, "imageName": call.name, **described})
