"""
The ways in which people write images outside pod specs, for generated worlds.

Each way writes one image (a repository and a tag) into one object, with a host that may be a variable, a
template or another host. It knows what was meant, and nothing of the rules that find it.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from acr_cleanup.emulator.kubernetes import objects as build

X = "contoso.azurecr.io"
HOSTS = (
    X,
    X.upper(),
    "contoso.westeurope.geo.azurecr.io",
    f"{X}:443",
    "$(REGISTRY)",
    "${REGISTRY}",
    f"${{REGISTRY:-{X}}}",
    "{{ .Values.global.registry }}",
    "%REGISTRY%",
    "<registry>",
    "registry.internal:5000",
)
"""Hosts before the repository. The cluster, a chart or a webhook puts the registry there."""


@dataclass(frozen=True)
class Written:
    """The image that an object means: `host/repository:tag`."""

    host: str
    repository: str
    tag: str

    @property
    def path(self) -> str:
        return f"{self.host}/{self.repository}"

    @property
    def image(self) -> str:
        return f"{self.path}:{self.tag}"


Object = dict[str, Any]
Way = Callable[[Written], Object]


def _config(text: Callable[[Written], str]) -> Way:
    """A text in a ConfigMap."""
    return lambda written: build.configmap("ns", "x", {"settings": text(written)})


def _custom(spec: Callable[[Written], dict[str, Any]]) -> Way:
    """Fields of a custom resource."""
    return lambda written: build.custom_object("contoso.example/v1", "Widget", "ns", "x", spec(written))


def _container(**fields: Callable[[Written], Any]) -> Way:
    """Fields of a container that runs another image."""

    def way(written: Written) -> Object:
        deployment = build.deployment("ns", "x", ["ghcr.io/other/operator:1"])
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container.update({name: value(written) for name, value in fields.items()})
        return deployment

    return way


def _annotation(written: Written) -> Object:
    deployment = build.deployment("ns", "x", ["ghcr.io/other/operator:1"])
    deployment["metadata"].setdefault("annotations", {})["sidecar/image"] = written.image
    return deployment


def _variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _quoted(text: str) -> str:
    return text.replace("/", "%2F").replace(":", "%3A")


def _split_host(written: Written) -> dict[str, Any]:
    """The folder of the repository belongs to the field of the host."""
    folder, _, name = written.repository.rpartition("/")
    return {"registry": f"{written.host}/{folder}".rstrip("/"), "image": name, "tag": written.tag}


TOGETHER: Mapping[str, Way] = {
    "a line of YAML": _config(lambda written: f"worker:\n  image: {written.image}\n  replicas: 2\n"),
    "a line of a script": _config(lambda written: f"set -e\ndocker run --rm {written.image} migrate\n"),
    "a program": _config(lambda written: f'image = f"{written.image}"\nrun(image, wait=True)\n'),
    "a list": _config(lambda written: f"ghcr.io/other/thing:1\n{written.image}\nquay.io/other/tool:2\n"),
    "a sentence": _config(lambda written: f"It runs {written.image}.\n"),
    "JSON in a text": _config(lambda written: json.dumps({"jobs": [{"image": written.image}]})),
    "JSON in JSON": _config(lambda written: json.dumps(json.dumps({"image": written.image}))),
    "base64": _config(lambda written: _packed(f"image: {written.image}\nreplicas: 2\n".encode())),
    "base64 of gzip": _config(lambda written: _packed(gzip.compress(f"image: {written.image}\n".encode()))),
    "a URL": _config(
        lambda written: f"https://portal.example/run?image={_quoted(written.repository + ':' + written.tag)}"
    ),
    "properties": _config(lambda written: f"worker.image={written.image}\nworker.size=2\n"),
    "a field": _custom(lambda written: {"worker": {"image": written.image}}),
    "a list of fields": _custom(lambda written: {"images": ["ghcr.io/other/thing:1", written.image]}),
    "an annotation": _annotation,
    "a variable": _container(env=lambda written: _variables(WORKER_IMAGE=written.image)),
    "an argument": _container(args=lambda written: ["--verbose", f"--worker-image={written.image}"]),
    "a command": _container(command=lambda written: ["sh", "-c", f"kubectl run x --image={written.image}"]),
}
"""The tag follows the name directly."""

SPLIT: Mapping[str, Way] = {
    "name and tag with a blank": _config(lambda written: f"{written.path} {written.tag}\n"),
    "name and tag with a comma": _config(lambda written: f"{written.path},{written.tag},linux\n"),
    "fields": _custom(lambda written: {"image": {"repository": written.path, "tag": written.tag}}),
    "three fields": _custom(
        lambda written: {"registry": written.host, "repository": written.repository, "tag": written.tag}
    ),
    "the folder with the host": _custom(_split_host),
    "a field below": _custom(lambda written: {"image": written.path, "deploy": {"tag": written.tag}}),
    "parameters": _custom(
        lambda written: {
            "parameters": [{"name": "image", "value": written.path}, {"name": "tag", "value": written.tag}]
        }
    ),
    "values of a chart": _config(
        lambda written: f"image:\n  repository: {written.path}\n  pullPolicy: Always\n  tag: {written.tag}\n"
    ),
    "HCL": _config(lambda written: f'repository = "{written.path}"\ntag        = "{written.tag}"\n'),
    "XML": _config(lambda written: f"<image><name>{written.path}</name><tag>{written.tag}</tag></image>"),
    "two variables": _container(env=lambda written: _variables(IMAGE=written.path, IMAGE_TAG=written.tag)),
    "two flags": _container(args=lambda written: ["--image", written.path, "--tag", written.tag]),
}
"""Name and tag stand apart, near each other."""

WAYS = {**TOGETHER, **SPLIT}
