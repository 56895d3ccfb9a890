"""The texts of an object: the fields in which they are, and which of them only say what something is called."""

from __future__ import annotations

from typing import Any

import pytest

from acr_cleanup.clusters.images.far import image_tags
from acr_cleanup.clusters.images.fields import Value
from acr_cleanup.clusters.images.near import is_weak
from acr_cleanup.clusters.images.object_texts import ObjectTexts, Text


def text_of(obj: Any, value: str) -> Text:
    return next(text for text in ObjectTexts(obj).texts if text.text == value and not text.is_key)


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        ({"data": {"TAG": "1.2"}}, "data.TAG"),
        ({"data": {"nginx.conf": "1.2"}}, "data[nginx.conf]"),
        ({"spec": {"args": ["x", "1.2"]}}, "spec.args[1]"),
        ({"données": "1.2"}, "[données]"),
        ({"a\nb": {"x-" * 150: "1.2"}}, f"[a b][{('x-' * 50)[:99]}…]"),
        ({"data": '{"image": {"tag": "1.2"}}'}, "data.image.tag"),
    ],
)
def test_field_of_a_text_is_its_place_in_the_object(obj: Any, field: str) -> None:
    assert text_of(obj, "1.2").field == field


def test_middle_of_a_long_field_is_left_out() -> None:
    obj: Any = "1.2"
    for number in range(100, 0, -1):
        obj = {f"k{number}": obj}
    field = text_of(obj, "1.2").field
    assert field.startswith("k1.k2.k3.")
    assert field.endswith(".k98.k99.k100")
    assert field.count("[…]") == 1


LISTS = ("containers", "initContainers", "ephemeralContainers", "volumes", "volumeMounts", "ports", "imagePullSecrets")


@pytest.mark.parametrize(
    "obj",
    [
        *({key: [{"name": "web"}]} for key in LISTS),
        {"x": {"name": "web", "image": "y"}},
        *({key: {"app": "web"}} for key in ("labels", "matchLabels", "selector", "nodeSelector", "podSelector")),
        *({"spec": {key: "web"}} for key in ("serviceAccountName", "namespace")),
        {"secretRef": {"name": "web"}},
        {"metadata": {"name": "web"}},
        {"matchExpressions": [{"key": "web"}]},
    ],
    ids=str,
)
def test_name_of_a_thing_says_no_image(obj: Any) -> None:
    assert is_weak(text_of(obj, "web"))


@pytest.mark.parametrize(
    "obj",
    [
        {"sources": [{"name": "web"}]},
        {"imageRef": {"name": "shop/web"}},
        {"spec": {"image": "shop/web"}},
        {"imageRef": {"repository": "web"}},
    ],
    ids=str,
)
def test_other_field_may_say_an_image(obj: Any) -> None:
    value = "web" if "shop/web" not in str(obj) else "shop/web"
    assert not is_weak(text_of(obj, value))


@pytest.mark.parametrize(
    ("obj", "tag"),
    [
        ({"imageTag": "1.2"}, Value("imageTag", "1.2")),
        ({"webImage": {"tag": "1.2"}}, Value("webImage.tag", "1.2")),
        ({"image": {"digest": "1.2"}}, Value("image.digest", "1.2")),
        ({"env": [{"name": "IMAGE_TAG", "value": "1.2"}]}, Value("IMAGE_TAG", "1.2")),
        ({"image": {"version": "1.2"}}, None),
        ({"web": {"tag": "1.2"}}, None),
        ({"image": {"tag": "1.2", "repository": "shop/web"}}, None),
    ],
    ids=str,
)
def test_tag_of_an_image_named_elsewhere(obj: Any, tag: Value | None) -> None:
    assert list(image_tags(text_of(obj, "1.2"))) == ([tag] if tag else [])


def test_container_without_a_name_has_an_image() -> None:
    """`name: 7` is no text."""
    containers = [{"image": "shop/web:1"}, {"image": "shop/web:2", "name": 7}, {"image": "shop/web:3", "name": "main"}]
    images = ObjectTexts({"containers": containers}).images
    assert [(image.field, image.container, image.text) for image in images] == [
        ("containers[0].image", "", "shop/web:1"),
        ("containers[1].image", "", "shop/web:2"),
        ("containers[2].image", "main", "shop/web:3"),
    ]


def test_value_at_the_address_of_a_released_one_is_read() -> None:
    """Embedded documents are made while the object is read. A mapping without text is held by nothing else."""
    documents = [text for number in range(50) for text in ("{}", f'{{"tag": "v{number}", "port": 1}}')]
    texts = {text.text for text in ObjectTexts({"data": documents}).texts if not text.is_key}
    assert texts == {f"v{number}" for number in range(50)}
