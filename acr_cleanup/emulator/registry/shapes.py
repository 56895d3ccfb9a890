"""The registry's wire shapes: its JSON objects, its timestamps, its pages with their Link header, its errors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote, urlencode

from aiohttp import web

from acr_cleanup.emulator.registry.repository import Attributes, ManifestState, Order, RepositoryState, TagState
from acr_cleanup.emulator.registry.state import DeletedManifest

DISALLOWED = (
    "The operation is disallowed on this registry, repository or image. View troubleshooting steps at "
    "https://aka.ms/acr/faq/#why-does-my-pull-or-push-request-fail-with-disallowed-operation"
)


def error(status: int, code: str, message: str, detail: Any = None) -> web.Response:
    """An answer with the registry's error body."""
    body = {"code": code, "message": message} | ({} if detail is None else {"detail": detail})
    return web.json_response({"errors": [body]}, status=status)


def disallowed() -> web.Response:
    """The 405 for whatever a lock forbids."""
    return error(405, "REGISTRY_DISALLOWED_OPERATION", DISALLOWED, {})


def name_unknown(name: str) -> web.Response:
    """The 404 for a repository that does not exist."""
    return error(404, "NAME_UNKNOWN", "repository name not known to registry", {"name": name})


def timestamp(moment: datetime) -> str:
    """Up to seven fractional digits, as .NET counts time, without trailing zeros, as Go writes it."""
    utc = moment.astimezone(UTC)
    # The seventh digit is invented; a whole second stays one.
    fraction = f"{utc.microsecond:06d}{utc.microsecond % 10}".rstrip("0")
    return f"{utc:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"


def attributes_json(attributes: Attributes) -> dict[str, Any]:
    """`changeableAttributes`."""
    return {
        "deleteEnabled": attributes.delete,
        "writeEnabled": attributes.write,
        "readEnabled": attributes.read,
        "listEnabled": attributes.list,
    }


def tag_json(tag: TagState) -> dict[str, Any]:
    """One tag, as listed."""
    return {
        "name": tag.name,
        "digest": tag.digest,
        "createdTime": timestamp(tag.created),
        "lastUpdateTime": timestamp(tag.updated),
        "signed": False,
        "changeableAttributes": attributes_json(tag.attributes),
    }


def repository_json(host: str, state: RepositoryState) -> dict[str, Any]:
    """One repository."""
    return {
        "registry": host,
        "imageName": state.name,
        "createdTime": timestamp(state.created),
        "lastUpdateTime": timestamp(state.updated),
        "manifestCount": len(state.manifests),
        "tagCount": len(state.tags),
        "changeableAttributes": attributes_json(state.attributes) | {"teleportEnabled": False},
    }


def manifest_json(manifest: ManifestState, truncate_tags_at: int) -> dict[str, Any]:
    """
    One manifest, as listed: without `tags` where there is none, and never with all of very many.

    An index has neither platform nor config, and no quarantine state.
    """
    attributes = attributes_json(manifest.attributes)
    properties: dict[str, Any] = {
        "digest": manifest.digest,
        "imageSize": manifest.size,
        "createdTime": timestamp(manifest.created),
        "lastUpdateTime": timestamp(manifest.updated),
        "architecture": manifest.architecture,
        "os": manifest.os,
        "mediaType": manifest.media_type,
        "configMediaType": manifest.config_media_type,
        "tags": list(manifest.tags)[:truncate_tags_at] or None,
        "changeableAttributes": attributes if manifest.is_index else attributes | {"quarantineState": "Passed"},
    }
    return {key: value for key, value in properties.items() if value is not None}


def deleted_json(held: DeletedManifest) -> dict[str, Any]:
    """One manifest that soft delete holds."""
    return {"digest": held.manifest.digest, "deletedAt": timestamp(held.deleted_at)}


def deleted_tags_json(held: DeletedManifest) -> list[dict[str, Any]]:
    """The tags with which it was deleted."""
    return [{"tag": tag, "digest": held.manifest.digest, "deletedAt": timestamp(held.deleted_at)} for tag in held.tags]


def referrer_json(manifest: ManifestState) -> dict[str, Any]:
    """One referrer, as the referrers API describes it."""
    described: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "size": len(manifest.body),
        "digest": manifest.digest,
        "artifactType": manifest.artifact_type or manifest.config_media_type,
        "annotations": manifest.annotations or None,
    }
    return {key: value for key, value in described.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list a client asks for."""

    n: int
    last: str | None
    order: Order


def wanted_page(request: web.Request, default: int, largest: int) -> Page | web.Response:
    """What `n`, `last` and `orderby` say. A larger `n` is silently clamped, nonsense is refused."""
    text = request.query.get("n", str(default))
    if not text.isdecimal() or int(text) == 0:
        return error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", {"n": text})
    order = request.query.get("orderby") or "none"
    if order not in {"none", "timeasc", "timedesc"}:
        return error(400, "UNSUPPORTED", f"orderby {order!r} is not supported")
    return Page(min(int(text), largest), request.query.get("last") or None, cast("Order", order))


def paged(body: dict[str, Any], request: web.Request, page: Page, last: str | None) -> web.Response:
    """One page; `last` is the last name on it when there are more, and becomes part of the relative Link."""
    response = web.json_response(body)
    if last is not None:
        query = {"last": last, "n": str(page.n), "orderby": request.query.get("orderby", "")}
        if "digest" in request.query:
            query["digest"] = request.query["digest"]
        # A repository name is one path segment here, its slashes escaped.
        head, _, rest = request.path.partition("/acr/v1/")
        name, slash, kind = rest.rpartition("/")
        path = f"{head}/acr/v1/{quote(name, safe='')}{slash}{kind}" if rest else request.path
        response.headers["Link"] = f'<{path}?{urlencode(query)}>; rel="next"'
    return response
