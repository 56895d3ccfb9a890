"""How a Kubernetes API server writes things down: Status objects, continue tokens, list bodies, accepted forms."""

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
    """An answer that is a Status object."""

    def __init__(self, code: int, message: str, *, details: JSON | None = None, metadata: JSON | None = None) -> None:
        super().__init__(message)
        self.code = code
        body: JSON = {"kind": "Status", "apiVersion": "v1", "metadata": metadata or {}, "status": "Failure"}
        body |= {"message": message, "reason": _REASONS[code]}
        if details is not None:
            body["details"] = details
        self.body = body | {"code": code}


class PlainRefusal(Exception):
    """An answer in plain text, as a server gives for what no API group handles."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def dump(value: object) -> bytes:
    """Compact JSON. The standard library would take longer over a page of pods than a client to read it."""
    return msgspec.json.encode(value)


def api_version_of(resource: Resource, version: str) -> str:
    """The `apiVersion` under which a kind is served in one of its versions."""
    return f"{resource.group}/{version}" if resource.group else version


def accepts_aggregated(accept: str) -> bool:
    """Whether the client takes the aggregated form of discovery."""
    return any("apidiscovery.k8s.io" in part and "v=v2;" in f"{part.strip()};" for part in accept.split(","))


def form_of(accept: str) -> str:
    """`json` or `partial`, the first that the client would take; tables and protobuf are not spoken here."""
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media not in {"application/json", "application/*", "*/*"} or "as=Table" in parameters:
            continue
        return "partial" if _PARTIAL in parameters else "json"
    raise Refusal(406, "406: Not Acceptable\n\nAvailable representations: application/json", details={})


def limit_of(text: str) -> int:
    """The page size asked for; 0 for none, which is what a negative one means too."""
    try:
        return max(0, int(text)) if text else 0
    except ValueError:
        raise Refusal(400, f"strconv.ParseInt: parsing {json.dumps(text)}: invalid syntax") from None


def write_token(version: int, last: str) -> str:
    """A continue token: go on after the key `last` in the list of that resource version (-1: of any)."""
    text = dump({"v": "meta.k8s.io/v1", "rv": version, "start": f"{last}\0"})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, str]:
    """The resource version and the key to start from."""
    try:
        value = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        known, version, start = value["v"], int(value["rv"]), str(value["start"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise Refusal(400, f"invalid continue token: continue key is not valid: {error}") from error
    if known != "meta.k8s.io/v1":
        problem = f"server does not recognize this encoded version {known}"
        raise Refusal(400, f"invalid continue token: continue key is not valid: {problem}")
    return version, start


def list_body(resource: Resource, version: str, metadata: JSON, objects: Iterable[JSON], form: str) -> bytes:
    """One page. The forms of built-in, custom and partial lists differ, as they do on a real server."""
    api_version = api_version_of(resource, version)
    if form == "partial":
        part = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        items = [dump({**part, "metadata": obj["metadata"]}) for obj in objects]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    elif resource.custom:
        # Custom resources come sorted by key, each with its own kind, and say `continue` on the last page too.
        items = [dump({**obj, "apiVersion": api_version}) for obj in objects]
        head = {"kind": f"{resource.kind}List", "apiVersion": api_version, "metadata": {"continue": "", **metadata}}
    else:
        # The items of a built-in list do not say what they are.
        items = [dump({k: v for k, v in obj.items() if k not in {"apiVersion", "kind"}}) for obj in objects]
        head = {"kind": f"{resource.kind}List", "apiVersion": api_version, "metadata": metadata}
    return dump(head)[:-1] + b',"items":[' + b",".join(items) + b"]}\n"
