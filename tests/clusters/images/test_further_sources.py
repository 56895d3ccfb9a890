"""Further places of an object that name images."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from acr_cleanup.clusters.images.pod_specs import Findings
from tests.clusters.images.test_sources import (
    CUSTOM,
    DOCKER_FILE_OF_YAML,
    HOST,
    META,
    OPEN,
    PODS,
    WEB,
    WORKLOADS,
    read,
    row,
)
from tests.helpers.cluster_objects import DIGEST

SPLIT = [
    row(f"split: {name}", "Thing", {"spec": value}, [("", field, reference)])
    for name, value, field, reference in (
        ("number", {"repository": WEB, "tag": 16}, "spec.{repository,tag}", f"{WEB}:16"),
        ("fraction", {"repository": WEB, "tag": 1.5}, "spec.{repository,tag}", f"{WEB}:1.5"),
        ("empty tag", {"repository": WEB, "tag": ""}, "spec.repository", f"{WEB}:latest"),
        ("null tag", {"repository": WEB, "tag": None}, "spec.repository", f"{WEB}:latest"),
        ("template", {"repository": WEB, "tag": "{{ .tag }}"}, "spec.{repository,tag}", OPEN),
        ("digest", {"repository": WEB, "tag": "", "digest": DIGEST}, "spec.{repository,digest}", f"{WEB}@{DIGEST}"),
        (
            "tag and digest",
            {"repository": WEB, "tag": "1", "digest": DIGEST},
            "spec.{repository,tag,digest}",
            f"{WEB}:1@{DIGEST}",
        ),
        ("digest in tag", {"repository": WEB, "tag": f"1@{DIGEST}"}, "spec.{repository,tag}", f"{WEB}:1@{DIGEST}"),
        ("sha256", {"image": WEB, "imageSha256": DIGEST[7:]}, "spec.{image,imageSha256}", f"{WEB}@{DIGEST}"),
        ("imageTag", {"image": WEB, "imageTag": "1"}, "spec.{image,imageTag}", f"{WEB}:1"),
        ("prefix", {"sidecarImage": WEB, "sidecarTag": "1"}, "spec.{sidecarImage,sidecarTag}", f"{WEB}:1"),
        ("name", {"name": WEB, "tag": "1"}, "spec.{name,tag}", f"{WEB}:1"),
        (
            "registry beside",
            {"registry": HOST, "repository": "shop/web", "tag": "1"},
            "spec.{repository,registry,tag}",
            f"{WEB}:1",
        ),
        ("registry beside image", {"registry": HOST, "image": "shop/web:1"}, "spec.{image,registry}", f"{WEB}:1"),
        (
            "registry above",
            {"global": {"imageRegistry": HOST}, "web": {"image": {"repository": "shop/web", "tag": "1"}}},
            "spec.web.image.{repository,tag}",
            f"{WEB}:1",
        ),
        (
            "registry above, under another name",
            {"global": {"image": {"registry": HOST}}, "image": {"registry": "docker.io", "repository": "shop/web"}},
            "spec.image.repository",
            f"{WEB}:latest",
        ),
    )
]

DOCUMENTS = [
    row(
        f"configmap: {name}",
        "ConfigMap",
        {"data": {"f": text}},
        [("", field, reference)],
    )
    for name, text, field, reference in (
        ("text", f"run {WEB}:1 now", "data.f", f"{WEB}:1"),
        ("shell", f"#!/bin/sh\nif true; then docker run '{WEB}:1'; fi\n", "data.f", f"{WEB}:1"),
        ("yaml", f"a: [\n'{WEB}:1']\n", "data.f", f"{WEB}:1"),
        ("yaml with a number", DOCKER_FILE_OF_YAML, "data.f.proxy.image.{repository,tag}", f"{WEB}:1.10"),
        ("json", json.dumps({"image": f"{WEB}:1"}).replace("/", "\\/"), "data.f", f"{WEB}:1"),
        ("json with a number", f'{{"image": "{WEB}", "tag": 1.10}}', "data.f.{image,tag}", f"{WEB}:1.10"),
        ("settings", f"WEB_IMAGE={WEB}\nWEB_TAG=1\n", "data.f.{WEB_IMAGE,WEB_TAG}", f"{WEB}:1"),
        ("template", f"{{{{ if }}}}\nrepository: {WEB}\ntag: 1.10\n", "data.f.{repository,tag}", f"{WEB}:1.10"),
        ("comment", f"# {WEB}:1\na: b\n", "data.f", f"{WEB}:1"),
    )
] + [
    row(
        "configmap: fields next to each other",
        "ConfigMap",
        {"data": {"web.repository": WEB, "web.tag": "1"}},
        [("", "data.{web.repository,web.tag}", f"{WEB}:1")],
    ),
    row(
        "configmap: binary data",
        "ConfigMap",
        {
            "binaryData": {
                "a": base64.b64encode(f"\0{WEB}:1".encode()).decode(),
                "b": base64.b64encode(gzip.compress(f"image: {WEB}:2\n".encode())).decode(),
            }
        },
        [("", "binaryData.a", f"{WEB}:1"), ("", "binaryData.b", f"{WEB}:2")],
    ),
]


@pytest.mark.parametrize(("of", "obj", "expected"), [*PODS, *WORKLOADS, *CUSTOM, *SPLIT, *DOCUMENTS])
def test_every_source_is_found(of: str, obj: dict[str, Any], expected: set[tuple[str, str, str]]) -> None:
    found = read(of, obj)
    assert {(use.container, use.field, str(use.reference)) for use in found.uses} == expected
    assert found.blockers == {}
    assert found.notes == {}


@pytest.mark.parametrize(
    "text",
    [
        HOST,
        f"https://{HOST}",
        f"https://{HOST}/v2/",
        f"https://{HOST}/shop/web",
        f"{HOST}/",
        f"{HOST}/*",
        f"{HOST}/shop/*",
        f"{HOST}:r1",
        f"{HOST}:5000/shop/web:1",
        f"{HOST}.evil.example/shop/web:1",
        f"not{HOST}/shop/web:1",
        f"x.{HOST}/shop/web:1",
        f"my_{HOST}/shop/web:1",
        f"evil.example/{HOST}/shop/web:1",
        f"evil.example/my_{HOST}/shop/web:1",
        f"https://evil.example/{HOST}/shop/web:1",
        f"someone@{HOST}/shop/web:1",
        "contoso.azurecr.us/shop/web:1",
        "contoso.evil.example.geo.azurecr.io/shop/web:1",
        "fabrikam.westeurope.geo.azurecr.io/shop/web:1",
        "shop/web:1",
        "nginx",
    ],
)
def test_what_only_looks_like_an_image_of_ours_is_nothing(text: str) -> None:
    for of, obj in (
        ("Thing", {"spec": {"image": text, "note": f"see {text}"}}),
        ("ConfigMap", {"data": {"a": f"image: '{text}'\n", "b": json.dumps([text])}}),
        ("Pod", {"spec": {"containers": [{"name": "c", "image": "nginx", "args": [f"--image={text}", text]}]}}),
    ):
        assert read(of, obj) == Findings()


def test_fields_that_only_repeat_others_are_not_read() -> None:
    managed: list[dict[str, Any]] = [{"fieldsV1": {f"k:{{{WEB}:1}}": {}}}]
    assert read("Thing", {"metadata": META | {"managedFields": managed}}) == Findings()


def test_only_containers_of_pods_run() -> None:
    obj = {"spec": {"containers": [{"name": "c", "image": f"{WEB}:1", "args": [f"{WEB}:2"]}]}}
    assert {use.reference.tag: use.running for use in read("Pod", obj).uses} == {"1": True, "2": False}


@pytest.mark.parametrize("text", ["{{x}}:1", "shop/$APP", "shop/web-${X}:1", "<app>:1", "%s:1", "Shop/Web:1"])
def test_unrecognisable_repository_is_noted(text: str) -> None:
    found = read("Thing", {"spec": {"image": f"{HOST}/{text}"}})
    (note,) = found.notes
    assert found.uses == {}
    assert "shop/Thing/x" in note
    assert "spec.image" in note
    assert text in note


def test_of_several_neighbours_all_are_taken() -> None:
    found = read("Thing", {"spec": {"image": WEB, "version": "1", "tags": ["2", "3"]}})
    assert {use.reference.tag for use in found.uses} == {"1", "2", "3"}
    found = read("Thing", {"spec": {"image": WEB, "version": "1"}})
    assert {use.reference.tag for use in found.uses} == {"1", "latest"}, "the version may be that of something else"


def test_a_tag_of_another_image_is_not_put_to_ours() -> None:
    spec = {"a": {"image": f"{WEB}:1"}, "b": {"image": "nginx", "tag": "2"}, "sideImage": "nginx", "sideTag": "3"}
    found = read("Thing", {"spec": {**spec, "mainImage": WEB}})
    assert {use.reference.tag for use in found.uses} == {"1", "latest"}


PARAMETERS = [{"name": "registry", "value": HOST}]
FAR_APART: dict[str, tuple[Any, str]] = {
    "hub and tag above": ({"global": {"hub": f"{HOST}/shop", "tag": "1", "proxy": {"image": "web"}}}, f"{WEB}:1"),
    "tag under global": ({"global": {"tag": "1"}, "web": {"image": {"repository": WEB}}}, f"{WEB}:1"),
    "tag above": ({"tag": "1", "web": {"image": WEB}}, f"{WEB}:1"),
    "tags below": ({"image": WEB, "versions": [{"tag": "0"}, {"tag": "1"}]}, f"{WEB}:1"),
    "tags by name": ({"repository": WEB, "tags": [{"name": "1"}]}, f"{WEB}:1"),
    "values and parameters": (
        {"values": f"image:\n  repository: {WEB}\n", "parameters": [{"name": "image.tag", "value": "1"}]},
        f"{WEB}:1",
    ),
    "registry of several fields": (
        {"registry": {"server": HOST}, "of": {"repository": "shop/web", "tag": "1"}},
        f"{WEB}:1",
    ),
    "repository is a folder": ({"repository": f"{HOST}/shop", "image": "web", "tag": "1"}, f"{WEB}:1"),
    "three parts": ({"registry": HOST, "repository": "shop", "name": "web", "tag": "1"}, f"{WEB}:1"),
    "registry next to a document": (
        {"ACR_LOGIN_SERVER": HOST, "values": "image:\n  repository: shop/web\n  tag: 1\n"},
        f"{WEB}:1",
    ),
    "registry in a variable": (
        [{"name": "REG", "value": HOST}, {"name": "IMAGE", "value": "$(REG)/shop/web:1"}],
        f"{WEB}:1",
    ),
    "registry in a parameter": ({"parameters": PARAMETERS, "image": "{{parameters.registry}}/shop/web:1"}, f"{WEB}:1"),
    "registry in a shell": (f"REGISTRY={HOST}\ndocker run ${{REGISTRY}}/shop/web:1\n", f"{WEB}:1"),
    "settings": ({"args": ["--set", f"image.repository={WEB}", "--set", "image.tag=1"]}, f"{WEB}:1"),
    "settings at once": ({"args": ["--set", f"image.repository={WEB},image.tag=1"]}, f"{WEB}:1"),
    "settings, registry apart": (
        {"args": ["--set", f"image.registry={HOST}", "--set", "image.repository=shop/web", "--set", "image.tag=1"]},
        f"{WEB}:1",
    ),
    "command line": (f"upgrade web --set image.repository={WEB} --set image.tag=1", f"{WEB}:1"),
    "flags": (f"run --image-repo {WEB} --image-tag 1", f"{WEB}:1"),
    "shell": (f"REPO={WEB} TAG=1; docker run $REPO:$TAG", f"{WEB}:1"),
    "dockerfile": (f"ARG REPO={WEB}\nARG TAG=1\nFROM ${{REPO}}:${{TAG}}\n", f"{WEB}:1"),
    "xml": (f"<image><repository>{WEB}</repository><tag>1</tag></image>", f"{WEB}:1"),
    "toml": (f'image = {{ repository = "{WEB}", tag = "1" }}\n', f"{WEB}:1"),
    "json with comments": (f'{{ // no JSON\n"repository": "{WEB}",\n"tag": "1",\n}}', f"{WEB}:1"),
    "json in json": (json.dumps(json.dumps({"repository": WEB, "tag": "1"})), f"{WEB}:1"),
    "columns": (f"name,repository,tag\nweb,{WEB},1\n", f"{WEB}:1"),
    "properties of Java": (f"image={WEB}\\:1\n".replace("\\\\", "\\"), f"{WEB}:1"),
    "a template around": (f'image: {{{{ .image | default "{WEB}" }}}}:{{{{ .version }}}}\n', OPEN),
    "code around": (f'"{WEB}" + ":" + version', OPEN),
    "more tags than the limit": ({"repository": WEB, "tags": [str(tag) for tag in range(10_001)]}, OPEN),
}


@pytest.mark.parametrize(("value", "expected"), FAR_APART.values(), ids=FAR_APART)
def test_the_parts_of_a_reference_may_stand_far_apart(value: Any, expected: str) -> None:
    """Where a tag may be an image's, it is: an image too many is kept, and none is missed."""
    found = read("Thing", {"spec": value})
    assert expected in {str(use.reference) for use in found.uses}
    assert found.blockers == {}


def test_host_alone_makes_no_images() -> None:
    found = read(
        "Thing",
        {"spec": {"parameters": PARAMETERS, "path": "$(HOME)/shop/web", "url": "https://{{ host }}/shop/web:1"}},
    )
    assert found == Findings()


def test_all_of_gzip_data_is_read() -> None:
    data = gzip.compress(b"nothing here\n") + gzip.compress(f"image: {WEB}:1\n".encode())
    found = read("ConfigMap", {"binaryData": {"a": base64.b64encode(data).decode()}})
    assert {str(use.reference) for use in found.uses} == {f"{WEB}:1"}


def test_what_flux_has_seen_in_the_registry_is_not_in_use() -> None:
    found = read("ImageRepository", {"spec": {"image": WEB}, "status": {"lastScanResult": {"latestTags": ["1", "2"]}}})
    assert {use.reference.tag for use in found.uses} == {"latest"}


def test_an_open_tag_elsewhere_is_found_in_any_order() -> None:
    """Servers and kubectl write the fields of an object in different orders."""
    fields = {"image": WEB, "a": {"tag": "$(A)"}, "b": {"tag": "1"}, "c": {"tag": "$(C)"}}
    assert read("Thing", {"spec": fields}) == read("Thing", {"spec": dict(reversed(fields.items()))})
