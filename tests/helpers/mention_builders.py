"""
Builders of worlds in which objects name images in the ways that people really write them.

X is the registry of the tests. Each row has objects, the tags of repositories, and the tags to keep. All other tags
must be deleted: a mention that keeps too much is a fault as well.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

X = "contoso.azurecr.io"
ALL = "*"
"""In place of tags: the whole repository is kept."""
SIGNATURE = f"sha256-{'d' * 64}.sig"


@dataclass(frozen=True)
class MentionWorld:
    """
    objects: with `apiVersion` and `kind`.
    tags: repository -> tags of the registry. stays: repository -> tags to keep.
    """

    title: str
    objects: Sequence[dict[str, Any]]
    tags: Mapping[str, Sequence[str]]
    stays: Mapping[str, Sequence[str] | str]
    mirrors: Mapping[str, str] = field(default_factory=dict)

    def must_stay(self, repository: str) -> set[str]:
        stays = self.stays.get(repository, ())
        return set(self.tags[repository]) if stays == ALL else set(stays)


def obj(
    kind: str, content: Mapping[str, Any], *, api: str = "example.com/v1", name: str = "x", **meta: Any
) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "ops", **meta}, **content}


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return obj("ConfigMap", {"data": data}, api="v1", name=name)


def deployment(
    image: str = "busybox:1", *, replicas: int = 1, meta: Mapping[str, Any] | None = None, **container: Any
) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": image, **container}]}
    return obj(
        "Deployment",
        {"spec": {"replicas": replicas, "template": {"metadata": {}, "spec": spec}}},
        api="apps/v1",
        **(meta or {}),
    )


def env(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def custom(**spec: Any) -> dict[str, Any]:
    return obj("Thing", {"spec": spec})


def row(
    title: str, objects: Any, tags: Mapping[str, Sequence[str]], stays: Mapping[str, Sequence[str] | str], **more: Any
) -> MentionWorld:
    return MentionWorld(title, objects if isinstance(objects, list) else [objects], tags, stays, **more)


def chart_archive(text: str) -> str:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        info = tarfile.TarInfo("web/values.yaml")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return base64.b64encode(data.getvalue()).decode()


def b64(data: str | bytes) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


HIDDEN_NAMES: Mapping[str, str] = {
    "behind a line break": "x\nweb:canary",
    "behind a tab": "x\tweb:canary",
    "behind a line break of DOS": "x\r\nweb:canary",
    "behind a form feed": "x\fweb:canary",
    "behind a line break in JSON": json.dumps({"x": "x\nweb:canary"}),
    "behind a line break in JSON in JSON": json.dumps({"x": json.dumps({"x": "x\nweb:canary"})}),
    "short base64 with padding": b64("web:canary"),
    "base64 without padding": b64("shop/web:canary"),
    "base64 of UTF-16": b64("web:canary".encode("utf-16")),
    "base64 of gzip": b64(gzip.compress(b"web:canary", mtime=0)),
    "base64 in lines": base64.encodebytes(b"image: shop/web\ntag: canary\n" * 4).decode(),
    "escapes of URLs": "https://example.com/?image=shop%2fweb%3acanary",
    "entities of HTML": "shop&#47;web&colon;canary",
    "escaped letters": "sho\\u0070\\u002f\\u0077eb:canary",
    "escaped bytes": "shop\\x2f\\x77eb:canary",
    "between other letters than ASCII": "\u00e9web:canary\U0001f4a5",
    "called a certificate": f"-----BEGIN CERTIFICATE-----\n{b64('image: shop/web:canary' * 3)}\n-----END CERTIFICATE-----",
    "in a short URL of data": f"source: data:,charset=utf-8;base64,{b64('web:canary')}",
    "in a longer text": f"data:text/plain;base64,{b64('image: shop/web:canary' * 2)} x",
}
"""The same name, `web:canary`, where a search for it in the JSON of the object may fail."""
