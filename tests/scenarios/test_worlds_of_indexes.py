"""Indexes of many kinds: manifests deleted with an index, and reasons to keep its children."""

from __future__ import annotations

import json

import pytest

from acr_cleanup.emulator.registry.repository import DOCKER_LIST, OCI_INDEX
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST
from tests.helpers.graph_world import GraphWorld, graph
from tests.helpers.registry_worlds import APP, OLD, YOUNG, Labels, RegistryWorld, WorldTable

pytestmark = pytest.mark.extended

__all__ = ["graph"]

worlds = WorldTable()
ABSENT = f"sha256:{'0' * 64}"


def platforms(make: Labels, prefix: str = "", **image: object) -> tuple[str, str]:
    """Push images of two platforms without a tag."""
    amd64 = make.image(f"{prefix}amd64", tag=None, architecture="amd64", **image)
    return amd64, make.image(f"{prefix}arm64", tag=None, architecture="arm64", **image)


@worlds.leaves()
def old_index_of_two_platforms(make: Labels) -> None:
    make.index("v1", *platforms(make))


@worlds.leaves()
def old_docker_list_of_two_platforms(make: Labels) -> None:
    make.index("v1", *platforms(make, media_type=DOCKER_MANIFEST), media_type=DOCKER_LIST)


@worlds.leaves("v1 amd64 arm64")
def child_of_an_old_index_runs(make: Labels) -> None:
    amd64, arm64 = platforms(make)
    make.index("v1", amd64, arm64)
    make.graph.run_image(digest=arm64)


@worlds.leaves("v1 inner amd64 arm64")
def child_of_a_nested_index_runs(make: Labels) -> None:
    amd64, arm64 = platforms(make)
    make.index("v1", make.index("inner", amd64, arm64, tag=None))
    make.graph.run_image(digest=arm64)


@worlds.leaves()
def old_nested_index(make: Labels) -> None:
    make.index("v1", make.index("inner", *platforms(make), tag=None))


@worlds.leaves("v2 amd64")
def child_shared_with_a_young_index(make: Labels) -> None:
    amd64, arm64 = platforms(make)
    make.index("v1", amd64, arm64)
    make.index("v2", amd64, age=YOUNG)


@worlds.leaves()
def child_shared_by_two_old_indexes(make: Labels) -> None:
    amd64, arm64 = platforms(make)
    make.index("v1", amd64, arm64)
    make.index("v2", amd64)


@worlds.leaves("v1-amd64")
def child_with_a_young_tag_of_its_own(make: Labels) -> None:
    make.index("v1", make.image("v1-amd64", age=YOUNG), make.image("v1-arm64"))


@worlds.leaves("v1", manifests="v1-amd64 v1-arm64")
def children_with_old_tags_of_a_young_index(make: Labels) -> None:
    make.index("v1", make.image("v1-amd64"), make.image("v1-arm64"), age=YOUNG)


@worlds.leaves("v1 v1-amd64 v1-arm64")
def children_with_tags_of_an_index_that_runs(make: Labels) -> None:
    make.graph.run_image(digest=make.index("v1", make.image("v1-amd64"), make.image("v1-arm64")))


@worlds.leaves(manifests="amd64")
def locked_child_of_an_old_index(make: Labels) -> None:
    amd64, arm64 = platforms(make)
    make.index("v1", amd64, arm64)
    make.registry.lock(APP, amd64)


@worlds.leaves("v1 amd64 arm64")
def locked_index(make: Labels) -> None:
    make.registry.lock(APP, make.index("v1", *platforms(make)), delete=False)


@worlds.leaves(manifests="arm64")
def sparse_index(make: Labels) -> None:
    """An index of which only one platform was copied."""
    make.index("v1", platforms(make)[0], ABSENT)
    make.index("v2", ABSENT)


@worlds.leaves("v2")
def empty_indexes(make: Labels) -> None:
    make.index("v1")
    make.index("v2", age=YOUNG, annotations={"empty": "yes"})


@worlds.leaves(manifests="amd64")
def young_child_of_an_old_index(make: Labels) -> None:
    """The same image was pushed again lately, for an index that is not pushed yet."""
    make.index("v1", make.image("amd64", tag=None, age=YOUNG), make.image("arm64", tag=None))


@worlds.leaves("cache")
def build_cache_of_buildkit(make: Labels) -> None:
    """A cache index lists layers and its configuration, which are no manifests."""
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": ABSENT, "size": 7}
    config = {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": f"sha256:{'1' * 64}", "size": 7}
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [layer, config]}
    make.digests["cache"] = make.registry.put(APP, "cache", json.dumps(body).encode(), OCI_INDEX, YOUNG)
    body["manifests"] = [config]
    make.registry.put(APP, "cache-old", json.dumps(body).encode(), OCI_INDEX, OLD)
    make.image("cache-image", config_media_type="application/vnd.buildkit.cacheconfig.v0")


@worlds.leaves("shop index one two")
def compose_application_with_a_running_image(make: Labels) -> None:
    application = make.attached("shop", ABSENT, tag="shop", artifact_type="application/vnd.docker.compose.project")
    one, two = make.image("one", tag=None), make.image("two", tag=None)
    make.index("index", one, two, tag=None, subject=application)
    make.graph.run_image(digest=two)


@worlds.leaves(manifests="v1 sbom amd64 arm64")
def index_with_an_artifact_that_is_locked(make: Labels) -> None:
    index = make.index("v1", *platforms(make))
    sbom = make.attached("sbom", index)
    make.registry.lock(APP, sbom)


@worlds.leaves("v2 shared", delete_untagged="true")
def old_index_without_a_tag(make: Labels) -> None:
    shared = make.image("shared", tag=None)
    make.index("old", shared, make.image("amd64", tag=None), tag=None)
    make.index("v2", shared, age=YOUNG)


@worlds.leaves(manifests="old amd64")
def index_without_a_tag_is_left_alone(make: Labels) -> None:
    make.index("old", make.image("amd64", tag=None), tag=None)


@worlds.leaves("v2 old amd64", delete_untagged="true")
def index_without_a_tag_in_a_young_index(make: Labels) -> None:
    make.index("v2", make.index("old", make.image("amd64", tag=None), tag=None), age=YOUNG)


@worlds.leaves("v3 v3-amd64 v3-arm64 v2 v2-amd64 v2-arm64", keep_last="3")
def newest_releases_of_two_platforms_each(make: Labels) -> None:
    """The running image is one of three. Tags of platforms count together with their index."""
    for number in range(3):
        release = f"v{number + 1}"
        age = OLD * (4 - number)
        children = (make.image(f"{release}-{name}", age=age, architecture=name) for name in ("amd64", "arm64"))
        make.index(release, *children, age=age)


@worlds.leaves("v2 v2-alias v2-other v1", keep_last="2", keep_last_of="images")
def newest_images_with_several_names(make: Labels) -> None:
    image = make.image("v2", age=OLD)
    for alias in ("v2-alias", "v2-other"):
        make.registry.tag(APP, alias, image, OLD * 2)
    make.image("v1", age=OLD * 2)
    make.image("v0", age=OLD * 3)
    make.graph.registry.repositories[APP].tags["live"].updated = make.registry.moment(OLD * 4)


@worlds.leaves("v2 v2.sig signature v1 v1.sig old-signature", keep_last="3")
def newest_images_with_signatures(make: Labels) -> None:
    for number, label in ((1, "old-signature"), (2, "signature")):
        make.companion(label, make.image(f"v{number}", age=OLD * (3 - number)), age=OLD)


@worlds.each
def test_world_keeps_and_deletes_as_listed(graph: GraphWorld, world: RegistryWorld) -> None:
    world.play(graph)
