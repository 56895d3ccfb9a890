"""Lists, locks, policies and names of real registries: what they change, and what they must not."""

from __future__ import annotations

import json

import pytest

from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_EMPTY
from tests.helpers.graph_world import GraphWorld, graph
from tests.helpers.registry_worlds import APP, OLD, YOUNG, Labels, RegistryWorld, WorldTable, named_after, signed

pytestmark = pytest.mark.extended

__all__ = ["graph"]

worlds = WorldTable()
KEPT = "kept-1 kept-2 kept-3 kept-4 kept-5 kept-6"
HELM = "application/vnd.cncf.helm.config.v1+json"


def alias(make: Labels, digest: str, *names: str, age: object = OLD) -> None:
    for name in names:
        make.registry.tag(APP, name, digest, age)


# -- tags ------------------------------------------------------------------------------------------


@worlds.leaves("v1-used", manifests="v1")
def one_of_two_tags_is_used(make: Labels) -> None:
    alias(make, make.image("v1"), "v1-used")
    make.graph.run_image(tag="v1-used")


@worlds.leaves()
def more_tags_than_the_list_of_manifests_shows(make: Labels) -> None:
    """https://github.com/Azure/acr/issues/529"""
    alias(make, make.image("v1"), *(f"alias-{number:02}" for number in range(12)))


@worlds.leaves("z", manifests="v1")
def young_tag_that_the_list_of_manifests_does_not_show(make: Labels) -> None:
    image = make.image("v1")
    alias(make, image, *(f"alias-{number:02}" for number in range(12)))
    alias(make, image, "z", age=YOUNG)


@worlds.leaves("z", manifests="v1")
def unlisted_tag_that_the_list_of_manifests_does_not_show(make: Labels) -> None:
    """It is old and unused, but it is in no list at all. Only the count of tags tells of it."""
    alias(make, make.image("v1"), *(f"alias-{number:02}" for number in range(12)), "z")
    make.registry.lock(APP, "z", list=False)


@worlds.leaves("hidden", manifests="v1")
def unlisted_tag(make: Labels) -> None:
    alias(make, make.image("v1"), "hidden")
    make.registry.lock(APP, "hidden", list=False)


@worlds.leaves("latest", manifests="v1")
def latest_names_an_old_image(make: Labels) -> None:
    alias(make, make.image("v1"), "latest")


@worlds.leaves("v1")
def tags_that_differ_in_case(make: Labels) -> None:
    make.image("V1")
    make.image("v1", age=YOUNG)


@worlds.leaves("v1")
def locked_tag(make: Labels) -> None:
    make.image("v1")
    make.registry.lock(APP, "v1", delete=False)


@worlds.leaves("v1-locked", manifests="v1")
def one_of_two_tags_is_locked(make: Labels) -> None:
    alias(make, make.image("v1"), "v1-locked")
    make.registry.lock(APP, "v1-locked")


@worlds.leaves("v1")
def locked_manifest(make: Labels) -> None:
    make.registry.lock(APP, make.image("v1"), write=False)


@worlds.leaves("v1")
def manifest_that_was_put_aside(make: Labels) -> None:
    make.graph.put_aside(make.image("v1"))


@worlds.leaves("one two one two", keep_last="2", exclude_tags="live")
def images_that_were_copied_by_digest(make: Labels) -> None:
    """`skopeo sync` and others name a copy after its digest. `keep-last` counts it."""
    make.graph.repository.tags["live"].updated = make.registry.moment(OLD * 9)
    for number, label in enumerate(("one", "two", "three"), 1):
        alias(make, make.image(label, tag=None, age=OLD * number), named_after(make.digests[label]), age=OLD * number)


# -- artifacts that are no images ------------------------------------------------------------------


@worlds.leaves("0.2.0_build.1")
def helm_charts(make: Labels) -> None:
    """A plus in the version of a chart is an underscore in its tag."""
    make.image("0.1.0_build.1", config_media_type=HELM, architecture=None, os=None)
    make.image("0.2.0_build.1", config_media_type=HELM, architecture=None, os=None, age=YOUNG)


@worlds.leaves("0.3.0 0.2.0 0.2.0.sig signature", keep_last="3")
def newest_helm_charts_with_signatures(make: Labels) -> None:
    for number in (1, 2, 3):
        make.image(f"0.{number}.0", config_media_type=HELM, architecture=None, os=None, age=OLD * (5 - number))
    make.companion("signature", make.digests["0.2.0"])


@worlds.leaves("policy", delete_untagged="true")
def artifacts_of_other_types(make: Labels) -> None:
    """WebAssembly, Flux sources, policies, ORAS files: OCI manifests with any configuration."""
    for name in ("application/vnd.wasm.config.v0+json", "application/vnd.cncf.flux.config.v1+json", OCI_EMPTY):
        label = name.split(".")[-2] + name[-10:]
        tag = label.replace("+", "_").replace("/", "_")
        make.image(tag, config_media_type=name, architecture=None, os=None)
    make.image("untagged", tag=None, config_media_type=OCI_EMPTY, architecture=None, os=None)
    make.image("policy", config_media_type="application/vnd.cncf.openpolicyagent.config.v1+json", age=YOUNG)


@worlds.leaves("strange", manifests="v1", tells="media type")
def manifest_of_an_unknown_type(make: Labels) -> None:
    """Nothing is known about what it refers to, so the repository loses names only."""
    make.image("v1")
    body = json.dumps({"mediaType": "application/vnd.example.manifest.v9+json"}).encode()
    make.digests["strange"] = make.registry.put(APP, "strange", body, "application/vnd.example.manifest.v9+json", OLD)


@worlds.leaves(backup="true")
def image_of_the_first_docker_schema(make: Labels) -> None:
    """Its digest is that of its payload, without the signatures."""
    body = json.dumps({"schemaVersion": 1, "name": APP, "tag": "v1", "architecture": "amd64"}, indent=3).encode()
    digest = make.registry.put(APP, "v1", body, "application/vnd.docker.distribution.manifest.v1+prettyjws", OLD)
    make.graph.repository.manifests[digest].body = signed(body.decode())


# -- what cannot be read ---------------------------------------------------------------------------


@worlds.leaves("ghost", manifests="v1", tells="cannot show")
def listed_index_that_answers_404(make: Labels) -> None:
    make.image("v1")
    make.registry.ghost(APP, make.index("ghost", make.image("amd64", tag=None)))
    make.graph.registry.remove(APP, make.digests.pop("amd64"))


@worlds.leaves(manifests="v1 amd64 index", tells="more than it lists")
def unlisted_index_without_a_tag(make: Labels) -> None:
    """https://github.com/Azure/azure-cli/issues/28260"""
    make.image("v1")
    index = make.index("index", make.image("amd64", tag=None), tag=None)
    make.registry.lock(APP, index, list=False)


@worlds.leaves("index amd64")
def unlisted_index_with_a_tag(make: Labels) -> None:
    """Its tag is listed, so it is asked for. It is locked, and keeps what it lists."""
    make.image("v1")
    index = make.index("index", make.image("amd64", tag=None))
    make.registry.lock(APP, index, list=False, delete=False)


@worlds.leaves(manifests="v1 converted", tells="more than it lists")
def unlisted_conversion_of_an_old_image(make: Labels) -> None:
    converted = make.image("converted", tag=None, subject=make.image("v1"))
    make.registry.lock(APP, converted, list=False, delete=False)


@worlds.leaves(f"{KEPT} v1-nydus", manifests="v1")
def list_of_referrers_without_an_end(make: Labels) -> None:
    """Each page names the same next page. Bodies answer instead."""
    kept_images(make)
    make.image("v1-nydus", subject=make.image("v1"), age=YOUNG)
    make.image("v0")
    link = {"Link": f'</v2/{APP}/referrers/{make.digests["v1"]}?n=1>; rel="next"'}
    make.graph.world.faults.append(
        Fault(service="acr", path="/referrers/", status=200, headers=link, body={"manifests": []})
    )


@worlds.leaves(f"{KEPT} v1-nydus", manifests="v1")
def list_of_referrers_that_is_no_json(make: Labels) -> None:
    kept_images(make)
    make.image("v1-nydus", subject=make.image("v1"), age=YOUNG)
    make.image("v0")
    make.graph.world.faults.append(Fault(service="acr", path="/referrers/", status=200, body="<html>"))


def kept_images(make: Labels) -> None:
    """Push so many kept images that lists of referrers are cheaper than bodies."""
    for label in KEPT.split():
        make.image(label, age=YOUNG)


# -- policies and kinds of registries --------------------------------------------------------------


@worlds.leaves("v1-amd64 v1", tells="retention policy")
def retention_policy_and_a_child_with_a_tag(make: Labels) -> None:
    make.registry.retention_days = 0
    make.index("v1", make.image("v1-amd64"), age=YOUNG)


@worlds.leaves()
def soft_delete_is_on(make: Labels) -> None:
    make.registry.soft_delete = True
    make.attached("signature", make.image("v1"))


@worlds.leaves("v2", tells="does not show whether tags and manifests are locked")
def locks_that_no_list_shows(make: Labels) -> None:
    make.registry.hides_locks = True
    make.graph.world.access.withhold("Microsoft.ContainerRegistry/registries/metadata/read", make.registry.resource_id)
    make.image("v1")
    make.image("v2")
    make.registry.lock(APP, "v2")


@worlds.leaves("v1")
def locked_repository(make: Labels) -> None:
    make.image("v1")
    make.registry.lock(APP)


@worlds.leaves()
def conversion_without_a_referrers_api(make: Labels) -> None:
    make.registry.referrers_api = False
    make.image("v1-nydus", subject=make.image("v1"))


@worlds.leaves("v1-nydus", manifests="v1")
def young_conversion_without_a_referrers_api(make: Labels) -> None:
    make.registry.referrers_api = False
    make.image("v1-nydus", subject=make.image("v1"), age=YOUNG)


@worlds.leaves("v1", delete_untagged="true")
def registry_of_docker_images(make: Labels) -> None:
    make.image("v1", media_type=DOCKER_MANIFEST, age=YOUNG)
    make.image("v0", media_type=DOCKER_MANIFEST)
    make.image("untagged", tag=None, media_type=DOCKER_MANIFEST)


@worlds.each
def test_world_keeps_and_deletes_as_listed(graph: GraphWorld, world: RegistryWorld) -> None:
    world.play(graph)


# -- worlds of several repositories ----------------------------------------------------------------


def test_repository_without_tags_is_left_alone(graph: GraphWorld) -> None:
    graph.registry.tagless_is_unknown = True
    digest = graph.push(None, repository="tagless")
    graph.run_image(digest=digest, repository="tagless")
    graph.push("v1")

    ran = graph.apply(scope="all")

    assert ran.code == 0
    assert graph.tags == {"live"}
    assert digest in graph.registry.repositories["tagless"].manifests


@pytest.mark.parametrize("qualified", [True, False])
def test_cached_image_is_used_under_its_upstream_name(graph: GraphWorld, qualified: bool) -> None:
    """A cache rule fills `hub/*` from docker.io. A pod may name either of them."""
    graph.config["mirrors"] = {"docker.io": "hub"}
    for tag in ("1.25", "1.26"):
        graph.push(tag, repository="hub/library/nginx")
    image = "docker.io/library/nginx:1.25" if qualified else "nginx:1.25"
    graph.cluster.add(build.pod("shop", "nginx", [image]))

    ran = graph.apply(scope="all")

    assert ran.code == 0
    assert set(graph.registry.repositories["hub/library/nginx"].tags) == {"1.25"}
