"""The registry's wire format: JSON objects, timestamps, pages with their Link header, errors."""

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


class Refusal(Exception):
    """The registry refuses a request; `response` is its answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def error(status: int, code: str, message: str, detail: Any = None) -> web.Response:
    """Return an answer with the registry's error body."""
    body = {"code": code, "message": message} | ({} if detail is None else {"detail": detail})
    return web.json_response({"errors": [body]}, status=status)


def disallowed() -> web.Response:
    """Return the 405 for anything that a lock forbids."""
    return error(405, "REGISTRY_DISALLOWED_OPERATION", DISALLOWED, {})


def name_unknown(name: str) -> web.Response:
    """Return the 404 for a repository that does not exist."""
    return error(404, "NAME_UNKNOWN", "repository name not known to registry", {"name": name})


def manifest_unknown(message: str) -> web.Response:
    """Return the 404 for a manifest that does not exist or must not be shown."""
    return error(404, "MANIFEST_UNKNOWN", message)


def timestamp(moment: datetime) -> str:
    """Return a time with up to seven fractional digits (as .NET) and no trailing zeros (as Go)."""
    utc = moment.astimezone(UTC)
    # Python has six digits, so the seventh is made up. A whole second has no fraction.
    fraction = f"{utc.microsecond:06d}{utc.microsecond % 10}".rstrip("0")
    return f"{utc:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"


def attributes_json(attributes: Attributes) -> dict[str, Any]:
    """Return the `changeableAttributes` object."""
    return {
        "deleteEnabled": attributes.delete,
        "writeEnabled": attributes.write,
        "readEnabled": attributes.read,
        "listEnabled": attributes.list,
    }


def tag_json(tag: TagState, *, locks: bool = True) -> dict[str, Any]:
    """Return a tag, as listed. `locks`: whether to show its attributes."""
    return {
        "name": tag.name,
        "digest": tag.digest,
        "createdTime": timestamp(tag.created),
        "lastUpdateTime": timestamp(tag.updated),
        "signed": False,
        **({"changeableAttributes": attributes_json(tag.attributes)} if locks else {}),
    }


def repository_json(host: str, state: RepositoryState, *, locks: bool = True) -> dict[str, Any]:
    """Return a repository. `locks`: whether to show its attributes."""
    attributes = attributes_json(state.attributes) | {"teleportEnabled": False}
    return {
        "registry": host,
        "imageName": state.name,
        "createdTime": timestamp(state.created),
        "lastUpdateTime": timestamp(state.updated),
        "manifestCount": len(state.manifests),
        "tagCount": len(state.tags),
        **({"changeableAttributes": attributes} if locks else {}),
    }


def manifest_json(manifest: ManifestState, truncate_tags_at: int, *, locks: bool = True) -> dict[str, Any]:
    """
    Return a manifest, as listed. Without tags there is no `tags` field.

    `truncate_tags_at`: the most tags that are shown. `locks`: whether to show its attributes.
    An index has neither platform nor config, and no quarantine state.
    """
    attributes = attributes_json(manifest.attributes)
    if not manifest.is_index:
        attributes["quarantineState"] = "Passed"
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
        "changeableAttributes": attributes if locks else None,
    }
    return {key: value for key, value in properties.items() if value is not None}


def deleted_json(deleted: DeletedManifest) -> dict[str, Any]:
    """Return a soft-deleted manifest."""
    return {"digest": deleted.manifest.digest, "deletedAt": timestamp(deleted.deleted_at)}


def deleted_tags_json(deleted: DeletedManifest) -> list[dict[str, Any]]:
    """Return the tags that a soft-deleted manifest had."""
    return [
        {"tag": tag, "digest": deleted.manifest.digest, "deletedAt": timestamp(deleted.deleted_at)}
        for tag in deleted.tags
    ]


def referrer_json(manifest: ManifestState) -> dict[str, Any]:
    """Return a manifest, as the referrers API shows it."""
    shown: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "size": len(manifest.body),
        "digest": manifest.digest,
        "artifactType": manifest.artifact_type or manifest.config_media_type,
        "annotations": manifest.annotations or None,
    }
    return {key: value for key, value in shown.items() if value is not None}


@dataclass(frozen=True, slots=True)
class PageRequest:
    """
    The page of a list that a client asks for.

    `n`: the most items; `last`: the last item of the page before; `order`: of the whole list.
    """

    n: int
    last: str | None
    order: Order


def page_request(request: web.Request, default: int, largest: int) -> PageRequest:
    """
    Return the page that `n`, `last` and `orderby` ask for.

    An `n` above `largest` is silently reduced. Raises Refusal for values that are not valid.
    """
    text = request.query.get("n", str(default))
    if not text.isdecimal() or int(text) == 0:
        raise Refusal(error(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", {"n": text}))
    order = request.query.get("orderby") or "none"
    if order not in {"none", "timeasc", "timedesc"}:
        raise Refusal(error(400, "UNSUPPORTED", f"orderby {order!r} is not supported"))
    return PageRequest(min(int(text), largest), request.query.get("last") or None, cast("Order", order))


def paged(body: dict[str, Any], request: web.Request, page: PageRequest, last: str | None) -> web.Response:
    """
    Return one page of a list, with a relative Link to the next page if there is one.

    `last`: the last name on the page, or None on the last page.
    """
    response = web.json_response(body)
    if last is not None:
        query = {"last": last, "n": str(page.n), "orderby": request.query.get("orderby", "")}
        if "digest" in request.query:
            query["digest"] = request.query["digest"]
        # In the Link, the slashes of the repository name are escaped.
        head, _, rest = request.path.partition("/acr/v1/")
        name, slash, kind = rest.rpartition("/")
        path = f"{head}/acr/v1/{quote(name, safe='')}{slash}{kind}" if rest else request.path
        response.headers["Link"] = f'<{path}?{urlencode(query)}>; rel="next"'
    return response
