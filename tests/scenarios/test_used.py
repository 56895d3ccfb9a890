"""Used means used: all places in which a cluster may need an image, and all names of the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from acr_cleanup.emulator.kubernetes.object_parts import metadata
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import BOTH, OLD, REPOSITORY, Scenario, ScenarioTable, Stage, build, play

pytestmark = pytest.mark.extended

scenarios = ScenarioTable(services="off")


@scenarios.deletes(*BOTH)
def unchanged_world_loses_both_old_tags(stage: Stage) -> None: ...


# -- places in pods and workloads -----------------------------------------------------------------


@scenarios.deletes("1.1")
def init_container_keeps_its_image(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), init=[stage.image("1.0")])


@scenarios.deletes("1.1")
def ephemeral_container_keeps_its_image(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), ephemeral=[stage.image("1.0")])


@scenarios.deletes("1.1")
def image_volume_keeps_its_image(stage: Stage) -> None:
    pod = stage.pod(stage.image("2.0"))
    pod["spec"]["volumes"] = [{"name": "model", "image": {"reference": stage.image("1.0")}}]


MAKERS: dict[str, Callable[[str], dict[str, object]]] = {
    "cronjob": lambda i: build.cronjob("a", "x", [i], suspend=True),
    "job": lambda i: build.job("a", "x", [i], suspend=True),
    "deployment": lambda i: build.deployment("a", "x", [i], replicas=0),
    "statefulset": lambda i: build.statefulset("a", "x", [i], replicas=0),
    "daemonset": lambda i: build.daemonset("a", "x", [i]),
    "replicationcontroller": lambda i: build.replicationcontroller("a", "x", [i], replicas=0),
    "replicaset": lambda i: build.replicaset("a", "x", [i], replicas=0),
    "podtemplate": lambda i: build.podtemplate("a", "x", [i]),
    "controllerrevision": lambda i: build.controllerrevision("a", "x-1", [i], owner=("StatefulSet", "x")),
}
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")


def add_inactive_workloads(stage: Stage, pinned: bool) -> None:
    """
    Add a workload of each kind and a pod of each phase, each with a separate old image.

    `pinned`: reference the image by digest instead of by tag.
    """
    for kind, make in MAKERS.items():
        digest = stage.registry.push(REPOSITORY, kind, age=OLD)
        stage.cluster.add(make(stage.image(digest=digest) if pinned else stage.image(kind)))
    for phase in PHASES:
        digest = stage.registry.push(REPOSITORY, phase, age=OLD)
        stage.pod(stage.image(digest=digest) if pinned else stage.image(phase), phase=phase)


@scenarios.deletes(*BOTH)
def inactive_workloads_keep_their_tags(stage: Stage) -> None:
    """Suspended, scaled to zero, finished, or only stored."""
    add_inactive_workloads(stage, pinned=False)


@scenarios.deletes(*BOTH)
def inactive_workloads_keep_their_digests(stage: Stage) -> None:
    add_inactive_workloads(stage, pinned=True)


# -- other objects --------------------------------------------------------------------------------


def add_custom_resource(stage: Stage, spec: object) -> None:
    meta = metadata("Widget", "shop", "one")
    stage.cluster.add({"apiVersion": "contoso.example/v1", "kind": "Widget", "metadata": meta, "spec": spec})


def add_config_map(stage: Stage, text: str) -> None:
    meta = metadata("ConfigMap", "ops", "sidecar")
    stage.cluster.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.yaml": text}})


@scenarios.deletes("1.1")
def custom_resource_keeps_image_in_any_text(stage: Stage) -> None:
    add_custom_resource(stage, {"steps": [{"run": {"with": ["--image", stage.image("1.0")]}}]})


@scenarios.deletes("1.1")
def custom_resource_keeps_separate_repository_and_tag(stage: Stage) -> None:
    repository = f"{stage.registry.login_server}/{REPOSITORY}"
    add_custom_resource(stage, {"values": {"image": {"repository": repository, "tag": "1.0"}}})


@scenarios.deletes()
def custom_resource_with_templated_tag_keeps_repository(stage: Stage) -> None:
    add_custom_resource(stage, {"image": f"{stage.registry.login_server}/{REPOSITORY}:$(TAG)"})


@scenarios.deletes("1.1")
def config_map_keeps_image_in_its_text(stage: Stage) -> None:
    add_config_map(stage, f"sidecar:\n  image: {stage.image('1.0')}\n")


@scenarios.deletes()
def operator_keeps_images_in_environment_and_arguments(stage: Stage) -> None:
    container = stage.pod("ghcr.io/operator:1")["spec"]["containers"][0]
    container["env"] = [{"name": "WEB_IMAGE", "value": stage.image("1.0")}]
    container["args"] = [f"--image={stage.image('1.1')}"]


@scenarios.deletes(*BOTH)
def mention_does_not_make_repository_run(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        stage.registry.push("team/api", tag, age=OLD)
    add_custom_resource(stage, {"image": stage.image("2.0", repository="team/api")})


@scenarios.deletes(*BOTH)
def node_event_and_secret_are_not_uses(stage: Stage) -> None:
    """A node lists cached images, an event reports the past, and Secrets are not read."""
    for kind, namespace in (("Node", None), ("Event", "shop"), ("Secret", "shop")):
        meta = metadata(kind, namespace, "one")
        stage.cluster.add({"apiVersion": "v1", "kind": kind, "metadata": meta, "text": stage.image("1.0")})


# -- digests --------------------------------------------------------------------------------------


@scenarios.deletes("3.0")
def pod_with_tag_and_digest_keeps_both(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "3.0", age=OLD)
    stage.pod(stage.image("1.0", stage.digest("1.1")), image_ids=[""])


@scenarios.deletes("1.1")
def moved_tag_and_running_digest_are_kept(stage: Stage) -> None:
    """The pod's tag now has another digest. Every tag of the running digest is kept as well."""
    stage.pod(stage.image("live"), image_ids=[stage.image(digest=stage.digest("1.0"))])
    stage.registry.push(REPOSITORY, "live", age=OLD)


@scenarios.deletes("1.1")
def bare_digest_in_status_belongs_to_spec_repository(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), image_ids=[stage.digest("1.0")])


@scenarios.deletes("1.1")
def docker_pullable_is_a_scheme_not_a_host(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), image_ids=[f"docker-pullable://{stage.image(digest=stage.digest('1.0'))}"])


@scenarios.deletes("1.1")
def digest_reported_under_other_repository_is_used(stage: Stage) -> None:
    """The status may name another repository that has the same content."""
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=stage.digest("1.0"), repository="other/name")])


@scenarios.deletes("1.1")
def digest_reported_for_foreign_image_is_used(stage: Stage) -> None:
    """The spec names another registry, but the status reports a digest in ours."""
    stage.pod("ghcr.io/shop/web:2.0", image_ids=[stage.image(digest=stage.digest("1.0"))])


@scenarios.deletes(*BOTH)
def second_tag_of_running_digest_is_kept(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("2.0"), OLD)


@scenarios.deletes("1.0", "alias")
def used_tag_keeps_manifest_but_not_other_tag(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.1"), OLD)
    stage.cluster.add(build.cronjob("a", "nightly", [stage.image("1.1")]))


# -- names of the registry ------------------------------------------------------------------------

HOSTS = {
    "capitals": "CONTOSO.AzureCR.io",
    "https port": "contoso.azurecr.io:443",
    "region": "contoso.westeurope.geo.azurecr.io",
    "region in capitals": "Contoso.WestEurope.GEO.azurecr.io",
}
for form, host in HOSTS.items():

    @scenarios.deletes("1.1", case=form)
    def other_form_of_host_is_our_registry(stage: Stage, host: str = host) -> None:
        stage.settings(registry_aliases=[] if stage.world.face == "proxy" else [host])
        stage.pod(f"{host}/{REPOSITORY}:1.0", image_ids=[""])


@scenarios.deletes("1.1")
def custom_domain_listed_as_alias_is_our_registry(stage: Stage) -> None:
    stage.settings(registry_aliases=["images.contoso.com"])
    stage.pod(f"Images.Contoso.com/{REPOSITORY}:1.0", image_ids=[""])


for lookalike in (
    "notcontoso.azurecr.io",
    "contoso.azurecr.io.evil.example",
    "contoso.azurecr.us",
    "contoso-azurecr.io",
    "ghcr.io",
    "registry.example:5000",
):

    @scenarios.deletes(*BOTH, case=lookalike)
    def similar_host_is_not_our_registry(stage: Stage, lookalike: str = lookalike) -> None:
        stage.pod(f"{lookalike}/{REPOSITORY}:1.0", f"{lookalike}/{REPOSITORY}@{stage.digest('1.1')}")


@scenarios.deletes(*BOTH)
def host_without_slash_is_a_docker_hub_name(stage: Stage) -> None:
    stage.pod("contoso.azurecr.io:1.0", "shop/web:1.0", "web")


@scenarios.deletes(*BOTH)
def image_without_tag_keeps_latest(stage: Stage) -> None:
    """Even if no exclusion protects `latest`."""
    stage.registry.push(REPOSITORY, "latest", age=OLD)
    stage.settings(exclude_tags=[])
    stage.pod(stage.image(), image_ids=[""])


@scenarios.deletes(*BOTH)
def unused_latest_is_kept(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "latest", age=OLD)


@scenarios.deletes("1.0", "1.1", "shop/web/api:1.0")
def nested_repository_names_are_independent(stage: Stage) -> None:
    for repository in ("shop/web/api", "shop"):
        for tag in ("1.0", "2.0"):
            stage.registry.push(repository, tag, age=OLD)
    stage.pod(stage.image("2.0", repository="shop/web/api"))


@scenarios.deletes(*BOTH)
def same_repository_in_other_registry_does_not_run(stage: Stage) -> None:
    stage.registry.push("team/api", "1.0", age=OLD)
    stage.pod("ghcr.io/team/api:1.0")


@scenarios.deletes(*BOTH)
def ephemeral_container_and_zero_replicas_do_not_run(stage: Stage) -> None:
    """Neither brings its repository into the scope `running`."""
    for tag in ("1.0", "2.0"):
        stage.registry.push("team/api", tag, age=OLD)
        stage.registry.push("team/debug", tag, age=OLD)
    stage.cluster.add(build.deployment("a", "x", [stage.image("2.0", repository="team/api")], replicas=0))
    stage.pod("busybox", ephemeral=[stage.image("2.0", repository="team/debug")])


# -- malformed objects ----------------------------------------------------------------------------


@scenarios.deletes(*BOTH)
def null_lists_and_missing_fields_are_ignored(stage: Stage) -> None:
    for damage in (
        {"spec": None, "status": None},
        {"spec": {"containers": None, "initContainers": None, "volumes": None}},
        {"spec": {"containers": [None, 5, {"image": None}, {"image": 7}, {"name": ["a"], "image": ""}]}},
        {"status": {"containerStatuses": None, "initContainerStatuses": [{"imageID": None}]}},
    ):
        stage.pod("busybox").update(damage)


@scenarios.deletes("1.1")
def huge_annotation_is_ignored(stage: Stage) -> None:
    stage.pod(stage.image("1.0"))["metadata"]["annotations"] = {"last-applied": "contoso.azurecr.io/x:$ " * 20_000}


for flaw, image in {
    "variable": "{}/shop/web:$(TAG)",
    "empty tag": "{}/shop/web:",
    "capitals in the repository": "{}/Shop/Web:1.0",
    "scheme": "https://{}/shop/web:1.0",
    "space": "{}/shop/web :1.0",
    "short digest": "{}/shop/web@sha256:abc",
    "trailing dot": "{}./shop/web:1.0",
    "no repository": "{}/",
    "list": ["{}/shop/web:1.0"],
}.items():

    @scenarios.refuses("odd", case=flaw)
    def malformed_image_of_our_registry_blocks(stage: Stage, image: Sequence[str] = image) -> None:
        login_server = stage.registry.login_server
        value = image.format(login_server) if isinstance(image, str) else [image[0].format(login_server)]
        stage.pod("busybox")["spec"]["containers"][0]["image"] = value


@scenarios.deletes("1.1")
def white_space_around_reference_is_ignored(stage: Stage) -> None:
    deployment = build.deployment("a", "x", [f"  {stage.image('1.0')}\n"], replicas=0)
    stage.cluster.add(deployment)


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_used(scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
