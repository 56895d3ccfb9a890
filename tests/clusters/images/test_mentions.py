"""The truth table of mentions, by the six rules."""

from __future__ import annotations

import pytest

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from tests.helpers.cluster_objects import OURS, kept
from tests.helpers.mention_worlds import WORLDS, MentionWorld


def read(world: MentionWorld) -> Findings:
    names = Names.of(OURS, world.tags, world.mirrors)
    found = Findings()
    for obj in world.objects:
        group, _, version = obj["apiVersion"].rpartition("/")
        kind = next(
            (kind for kind in KINDS if (kind.api_version, kind.name) == (obj["apiVersion"], obj["kind"])),
            Kind(obj["kind"], f"{obj['kind'].lower()}s", group, version=version),
        )
        found.add(image_uses(obj, kind, "prod", names))
    return found


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.title)
def test_world_keeps_exactly_what_is_named(world: MentionWorld) -> None:
    found = read(world)
    assert {repository: kept(found, repository, *tags) for repository, tags in world.tags.items()} == {
        repository: world.must_stay(repository) for repository in world.tags
    }
