"""The wire format of an API server: Status objects, continue tokens, list bodies, media types."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from acr_cleanup.emulator.kubernetes.discovery import Resource

JSON = dict[str, Any]

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    406: "NotAcceptable",
    410: "Expired",
    415: "UnsupportedMediaType",
}
_PARTIAL = "as=PartialObjectMetadataList"


class Refusal(Exception):
    """Refuse a request with a Status object as the body."""

    def __init__(self, code: int, message: str, *, details: JSON | None = None, metadata: JSON | None = None) -> None:
        super().__init__(message)
        self.code = code
        body: JSON = {"kind": "Status", "apiVersion": "v1", "metadata": metadata or {}, "status": "Failure"}
        body |= {"message": message, "reason": _REASONS[code]}
        if details is not None:
            body["details"] = details
        self.body = body | {"code": code}


class PlainRefusal(Exception):
    """Refuse a request in plain text, as a server does if no API group handles the path."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def dump(value: object) -> bytes:
    """
    Return compact JSON.

    With the standard library, writing a page of pods takes longer than reading it does in a client.
    """
    return msgspec.json.encode(value)


def api_version_of(resource: Resource, version: str) -> str:
    """Return the `apiVersion` of a kind in one of its versions."""
    return f"{resource.group}/{version}" if resource.group else version


def accepts_aggregated(accept: str) -> bool:
    """Return whether an Accept header allows the aggregated form of discovery."""
    return any("apidiscovery.k8s.io" in part and "v=v2;" in f"{part.strip()};" for part in accept.split(","))


def form_of(accept: str) -> str:
    """
    Return the first form that an Accept header allows: `json` or `partial` (metadata only).

    Tables and protobuf are not served. Raises Refusal (406) if the header allows no other form.
    """
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media not in {"application/json", "application/*", "*/*"} or "as=Table" in parameters:
            continue
        return "partial" if _PARTIAL in parameters else "json"
    raise Refusal(406, "406: Not Acceptable\n\nAvailable representations: application/json", details={})


def limit_of(text: str) -> int:
    """Return the page size of a `limit` parameter; 0 means no limit, and so does a negative one."""
    try:
        return max(0, int(text)) if text else 0
    except ValueError:
        raise Refusal(400, f"strconv.ParseInt: parsing {json.dumps(text)}: invalid syntax") from None


def write_token(version: int, last: str) -> str:
    """
    Return a continue token for the objects after the key `last`.

    `version`: the resource version of the list; -1 continues in the newest list.
    """
    text = dump({"v": "meta.k8s.io/v1", "rv": version, "start": f"{last}\0"})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, str]:
    """Return the resource version and the first key of a continue token."""
    try:
        value = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        form, version, start = value["v"], int(value["rv"]), str(value["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise Refusal(400, f"invalid continue token: continue key is not valid: {error}") from error
    if form != "meta.k8s.io/v1":
        problem = f"server does not recognize this encoded version {form}"
        raise Refusal(400, f"invalid continue token: continue key is not valid: {problem}")
    return version, start


def list_body(resource: Resource, version: str, metadata: JSON, objects: Iterable[JSON], form: str) -> bytes:
    """
    Return the body of one page.

    Lists of built-in kinds, of custom kinds and of partial objects differ, as on a real server.
    """
    api_version = api_version_of(resource, version)
    if form == "partial":
        part = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        items = [dump({**part, "metadata": obj["metadata"]}) for obj in objects]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    elif resource.custom:
        # Custom objects have their kind and sorted keys. Their last page has `continue` too.
        items = [dump({**obj, "apiVersion": api_version}) for obj in objects]
        head = {"kind": f"{resource.kind}List", "apiVersion": api_version, "metadata": {"continue": "", **metadata}}
    else:
        # The items of a built-in list have neither apiVersion nor kind.
        items = [dump({k: v for k, v in obj.items() if k not in {"apiVersion", "kind"}}) for obj in objects]
        head = {"kind": f"{resource.kind}List", "apiVersion": api_version, "metadata": metadata}
    return dump(head)[:-1] + b',"items":[' + b",".join(items) + b"]}\n"
