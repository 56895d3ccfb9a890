"""The lists of the registry: repositories, tags, manifests, referrers, and soft-deleted content."""

from __future__ import annotations

from aiohttp import web

from acr_cleanup.emulator.registry.call import Call
from acr_cleanup.emulator.registry.repository import OCI_INDEX
from acr_cleanup.emulator.registry.shapes import (
    Refusal,
    deleted_json,
    deleted_tags_json,
    manifest_json,
    name_unknown,
    paged,
    referrer_json,
    tag_json,
)


async def list_repositories(call: Call) -> web.Response:
    """`GET /acr/v1/_catalog`."""
    page = call.page()
    names = sorted(
        name for name, state in call.registry.repositories.items() if state.attributes.list and name > (page.last or "")
    )
    last = names[page.n - 1] if len(names) > page.n else None
    return paged({"repositories": names[: page.n]}, call.request, page, last)


async def list_tags(call: Call) -> web.Response:
    """`GET /acr/v1/NAME/_tags`."""
    state = call.repository()
    page = call.page()
    if call.registry.tagless_is_unknown and not state.tags:
        raise Refusal(name_unknown(call.name))
    tags, more = state.page_of_tags(page.order, page.last, page.n, call.request.query.get("digest"))
    body = {
        "registry": call.host,
        "imageName": call.name,
        "tags": [tag_json(tag, locks=call.shows_locks) for tag in tags],
    }
    return paged(body, call.request, page, tags[-1].name if more else None)


async def list_manifests(call: Call) -> web.Response:
    """`GET /acr/v1/NAME/_manifests`."""
    state = call.repository()
    page = call.page()
    manifests, more = state.page_of_manifests(page.order, page.last, page.n)
    shown = [manifest_json(manifest, call.registry.truncate_tags_at, locks=call.shows_locks) for manifest in manifests]
    body = {"registry": call.host, "imageName": call.name, "manifests": shown}
    return paged(body, call.request, page, manifests[-1].digest if more else None)


async def list_referrers(call: Call) -> web.Response:
    """`GET /v2/NAME/referrers/DIGEST`."""
    state = call.repository()
    if not call.registry.referrers_api:
        raise Refusal(web.Response(status=404, text="404 page not found\n"))
    page = call.page()
    artifact_type = call.request.query.get("artifactType")
    digests = sorted(digest for digest in state.referrers.get(call.reference, ()) if digest > (page.last or ""))
    referrers = [state.manifests[digest] for digest in digests]
    matching = [m for m in referrers if artifact_type is None or m.artifact_type == artifact_type]
    shown = [referrer_json(manifest) for manifest in matching[: page.n]]
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}
    last = shown[-1]["digest"] if len(matching) > page.n else None
    response = paged(body, call.request, page, last)
    response.content_type = OCI_INDEX
    if artifact_type is not None:
        response.headers["OCI-Filters-Applied"] = "artifactType"
    return response


async def list_deleted_manifests(call: Call) -> web.Response:
    """`GET /acr/v1/_deleted/NAME/_manifests`."""
    deleted = call.deleted()
    page = call.page()
    digests = sorted(digest for digest in deleted if digest > (page.last or ""))
    last = digests[page.n - 1] if len(digests) > page.n else None
    shown = [deleted_json(deleted[digest]) for digest in digests[: page.n]]
    return paged({"registry": call.host, "imageName": call.name, "manifests": shown}, call.request, page, last)


async def list_deleted_tags(call: Call) -> web.Response:
    """`GET /acr/v1/_deleted/NAME/_tags`."""
    tags = [tag for manifest in call.deleted().values() for tag in deleted_tags_json(manifest)]
    return web.json_response({"registry": call.host, "imageName": call.name, "tags": tags})
