"""How an object names a tag, as explanations tell it."""

from __future__ import annotations

from typing import Any

import pytest

from acr_cleanup.core.mentions import How, Mention
from tests.clusters.images.test_mention_kinds import D, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import mentions_of
from tests.helpers.mention_builders import X, config_map, custom

TAGS = ("gold", "1.4.2")


def test_mention_of_a_digest_beside_a_name_has_the_digest() -> None:
    found = read(world("", [config_map(i=f"shop/web@{D}")], {"shop/web": "gold |"}))
    (of_digest,) = mentions_of(found, "shop/web", *TAGS, digests=[D]).by_digest.values()
    assert {mention.word for mention in of_digest} == {D}


def mentions(*objects: dict[str, Any]) -> set[tuple[str, How, str]]:
    found = mentions_of(read(world("", [*objects], {"shop/web": "gold 1.4.2 |"})), "shop/web", *TAGS)
    listed: list[Mention] = [*found.of_any, *(mention for of_tag in found.by_tag.values() for mention in of_tag)]
    return {(mention.word, mention.how, mention.field) for mention in listed}


@pytest.mark.parametrize(
    ("obj", "name", "how", "field"),
    [
        (config_map(i=f"{X}/shop/web:gold"), "gold", How.BESIDE, "data.i"),
        (custom(a={"x": {"y": "shop/web"}}, b={"c": {"d": "1.4.2"}}), "1.4.2", How.OBJECT, "spec.a.x.y"),
        (custom(x={"image": "shop/web", "tag": "gold"}), "gold", How.NEAR, "spec.x.image"),
        (custom(registry=X, imagePath="shop", imageTag="gold"), "gold", How.FOLDER, "spec.imagePath"),
        (config_map(i=f"{X}/shop/web:$TAG"), "", How.OPEN, "data.i"),
    ],
    ids=lambda value: str(value) if isinstance(value, How) else "",
)
def test_mention_tells_how_and_where(obj: dict[str, Any], name: str, how: How, field: str) -> None:
    assert mentions(obj) == {(name, how, field)}
