"""Further places of an object that name images."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import pytest

from tests.clusters.images.test_sources import (
    CUSTOM,
    DOCKER_FILE_OF_YAML,
    HOST,
    META,
    OPEN,
    PODS,
    SPLIT,
    WEB,
    WORKLOADS,
    read,
    row,
)
from tests.helpers.cluster_objects import DIGEST, OTHER_DIGEST, kept, mentions_of

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
        "configmap: neighbouring fields",
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


OTHERS = ("old", "9.9.9")


@pytest.mark.parametrize(("of", "obj", "expected"), [*PODS, *WORKLOADS, *CUSTOM, *SPLIT, *DOCUMENTS])
def test_every_source_is_found(of: str, obj: dict[str, Any], expected: set[tuple[str, str, str]]) -> None:
    """Each tag and digest of the table is kept, and no other tag, unless the whole repository is kept."""
    found = read(of, obj)
    references = [reference.removeprefix(f"{HOST}/") for _, _, reference in expected]
    for repository in {re.split("[:@]", reference)[0] for reference in references}:
        own = [
            reference.removeprefix(repository)
            for reference in references
            if re.split("[:@]", reference)[0] == repository
        ]
        tags = {tag for text in own if (tag := text.partition("@")[0].removeprefix(":"))}
        stays = kept(found, repository, *tags, *OTHERS)
        assert stays == (tags | set(OTHERS) if "" in own else tags), repository
        digests = {text.partition("@")[2] for text in own} - {""}
        used = {use.reference.digest for use in found.uses if use.reference.repository == repository}
        assert digests <= {*mentions_of(found, repository, digests=[DIGEST, OTHER_DIGEST]).by_digest, *used}
    assert found.blockers == {}
    assert found.notes == {}


EXACT = [
    row
    for row in (*PODS, *WORKLOADS)
    if all(
        field.startswith("status")
        or ("containers[" in field.lower() and field.endswith("].image"))
        or field.endswith("reference")
        for _, field, _ in row.values[2]
    )
]


@pytest.mark.parametrize(("of", "obj", "expected"), EXACT)
def test_images_of_pod_specs_are_uses(of: str, obj: dict[str, Any], expected: set[tuple[str, str, str]]) -> None:
    assert {(use.container, use.field, str(use.reference)) for use in read(of, obj).uses} == expected


LOOKALIKES = [
    f"{HOST}:5000/shop/web:1", f"{HOST}.evil.example/shop/web:1", f"not{HOST}/shop/web:1", f"x.{HOST}/shop/web:1",
    f"my_{HOST}/shop/web:1", f"evil.example/{HOST}/shop/web:1", f"https://evil.example/{HOST}/shop/web:1",
    "contoso.azurecr.us/shop/web:1", "contoso.evil.example.geo.azurecr.io/shop/web:1",
    "fabrikam.westeurope.geo.azurecr.io/shop/web:1", "shop/web:1", "nginx",
]  # fmt: skip


@pytest.mark.parametrize("text", LOOKALIKES)
def test_images_of_other_registries_are_no_uses(text: str) -> None:
    for of, obj in (
        ("Thing", {"spec": {"image": text, "containers": [{"name": "c", "image": text}]}}),
        ("ConfigMap", {"data": {"a": f"image: '{text}'\n", "b": json.dumps([text])}}),
        ("Pod", {"spec": {"containers": [{"name": "c", "image": "nginx", "args": [f"--image={text}", text]}]}}),
    ):
        found = read(of, obj)
        assert (found.uses, found.blockers, found.notes) == ({}, {}, {})


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
    ],
)
def test_host_without_an_image_names_nothing(text: str) -> None:
    for of, obj in (
        ("Thing", {"spec": {"image": text, "note": f"see {text}"}}),
        ("ConfigMap", {"data": {"a": f"image: '{text}'\n", "b": json.dumps([text])}}),
        ("Pod", {"spec": {"containers": [{"name": "c", "image": "nginx", "args": [f"--image={text}", text]}]}}),
    ):
        found = read(of, obj)
        assert (found.uses, found.blockers, found.notes) == ({}, {}, {})
        assert kept(found, "shop/web", "1", "r1", "latest", "v2") == set()


def test_fields_that_only_repeat_others_are_not_read() -> None:
    managed: list[dict[str, Any]] = [{"fieldsV1": {f"k:{{{WEB}:1}}": {}}}]
    assert kept(read("Thing", {"metadata": META | {"managedFields": managed}}), "shop/web", "1") == set()


def test_only_containers_of_pods_run() -> None:
    obj = {"spec": {"containers": [{"name": "c", "image": f"{WEB}:1", "args": [f"{WEB}:2"]}]}}
    assert {use.reference.tag: use.running for use in read("Pod", obj).uses} == {"1": True}
    assert kept(read("Pod", obj), "shop/web", "1", "2") == {"1", "2"}


@pytest.mark.parametrize("text", ["{{x}}:1", "shop/$APP", "shop/web-${X}:1", "<app>:1", "%s:1", "Shop/Wob:1"])
def test_unrecognisable_repository_is_noted(text: str) -> None:
    found = read("Thing", {"spec": {"image": f"{HOST}/{text}"}})
    (note,) = found.notes
    assert found.uses == {}
    assert note == (
        "shop/Thing/x names our registry in spec.image, but no recognisable repository: "
        f"'{HOST}/{text}'. Nothing is kept for it."
    )


def test_note_on_an_object_without_a_namespace_has_none() -> None:
    (note,) = read("Thing", {"metadata": {"name": "x"}, "spec": {"image": f"{HOST}/{{{{x}}}}:1"}}).notes
    assert note.startswith("Thing/x names our registry in spec.image,")


def test_of_several_neighbours_all_are_taken() -> None:
    found = read("Thing", {"spec": {"image": WEB, "version": "1", "tags": ["2", "3"]}})
    assert kept(found, "shop/web", "1", "2", "3", "old") == {"1", "2", "3"}
    found = read("Thing", {"spec": {"image": WEB, "version": "1"}})
    assert kept(found, "shop/web", "1", "old") == {"1"}


def test_a_tag_of_another_image_is_not_put_to_ours() -> None:
    spec = {"a": {"image": f"{WEB}:1"}, "b": {"image": "nginx", "tag": "2"}, "sideImage": "nginx", "sideTag": "3"}
    found = read("Thing", {"spec": {**spec, "mainImage": WEB}})
    assert kept(found, "shop/web", "1", "2", "3") == {"1"}


def test_a_tag_under_global_counts_for_images_far_below() -> None:
    found = read("Thing", {"spec": {"global": {"tag": "1"}, "web": {"main": {"image": {"repository": WEB}}}}})
    assert kept(found, "shop/web", "1", "2") == {"1"}


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
    "more tags than are read": ({"repository": WEB, "tags": [str(tag) for tag in range(10_001)]}, OPEN),
}


@pytest.mark.parametrize(("value", "expected"), FAR_APART.values(), ids=FAR_APART)
def test_the_parts_of_a_reference_may_stand_far_apart(value: Any, expected: str) -> None:
    """Where a tag may be an image's, it is: an image too many is kept, and none is missed."""
    found = read("Thing", {"spec": value})
    repository, _, tag = expected.removeprefix(f"{HOST}/").partition(":")
    assert kept(found, repository, *([tag] if tag else ["1", "2"])) == ({tag} if tag else {"1", "2"})
    assert found.blockers == {}


def test_registry_alone_makes_no_images() -> None:
    found = read(
        "Thing",
        {"spec": {"parameters": PARAMETERS, "path": "$(HOME)/shop/web", "url": "https://{{ host }}/shop/web:1"}},
    )
    assert (found.uses, found.blockers, found.notes) == ({}, {}, {})


def test_all_of_gzip_data_is_read() -> None:
    data = gzip.compress(b"nothing here\n") + gzip.compress(f"image: {WEB}:1\n".encode())
    found = read("ConfigMap", {"binaryData": {"a": base64.b64encode(data).decode()}})
    assert kept(found, "shop/web", "1", "2") == {"1"}


def test_what_flux_has_seen_in_the_registry_is_not_in_use() -> None:
    found = read("ImageRepository", {"spec": {"image": WEB}, "status": {"lastScanResult": {"latestTags": ["1", "2"]}}})
    assert kept(found, "shop/web", "1", "2", "latest") == {"latest"}


def test_an_open_tag_elsewhere_is_found_in_any_order() -> None:
    """Servers and kubectl write the fields of an object in different orders."""
    fields = {"image": WEB, "a": {"tag": "$(A)"}, "b": {"tag": "1"}, "c": {"tag": "$(C)"}}
    one, other = read("Thing", {"spec": fields}), read("Thing", {"spec": dict(reversed(fields.items()))})
    assert mentions_of(one, "shop/web", "1", "2") == mentions_of(other, "shop/web", "1", "2")
