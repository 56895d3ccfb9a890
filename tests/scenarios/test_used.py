"""Used means used: every way in which a cluster may need an image, and every name that may mean our registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acr_cleanup.emulator.kubernetes.object_parts import metadata
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Scenario, Stage, Table, build, play

world = Table()
BOTH = ("1.0", "1.1")


@world("the ordinary world loses both old tags", *BOTH)
def _(stage: Stage) -> None: ...


# -- places in objects ----------------------------------------------------------------------------------------


@world("an init container keeps its image", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), init=[stage.image("1.0")])


@world("an ephemeral container keeps its image", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), ephemeral=[stage.image("1.0")])


@world("an image volume keeps its image", "1.1")
def _(stage: Stage) -> None:
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


def all_kinds(stage: Stage, pinned: bool) -> None:
    for kind, make in MAKERS.items():
        digest = stage.registry.push(REPOSITORY, kind, age=OLD)
        stage.cluster.add(make(stage.image(digest=digest) if pinned else stage.image(kind)))
    for phase in PHASES:
        digest = stage.registry.push(REPOSITORY, phase, age=OLD)
        stage.pod(stage.image(digest=digest) if pinned else stage.image(phase), phase=phase)


@world("what is suspended, scaled to zero, finished or only stored keeps the tag it names", *BOTH)
def _(stage: Stage) -> None:
    all_kinds(stage, pinned=False)


@world("what is suspended, scaled to zero, finished or only stored keeps the digest it pins", *BOTH)
def _(stage: Stage) -> None:
    all_kinds(stage, pinned=True)


# -- anywhere else ----------------------------------------------------------------------------------------------


def resource(stage: Stage, spec: object) -> None:
    meta = metadata("Widget", "shop", "one")
    stage.cluster.add({"apiVersion": "contoso.example/v1", "kind": "Widget", "metadata": meta, "spec": spec})


def config_map(stage: Stage, text: str) -> None:
    meta = metadata("ConfigMap", "ops", "sidecar")
    stage.cluster.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"config.yaml": text}})


@world("a custom resource keeps what any text in it names", "1.1")
def _(stage: Stage) -> None:
    resource(stage, {"steps": [{"run": {"with": ["--image", stage.image("1.0")]}}]})


@world("a custom resource keeps what repository and tag side by side name", "1.1")
def _(stage: Stage) -> None:
    resource(stage, {"values": {"image": {"repository": f"{stage.registry.login_server}/{REPOSITORY}", "tag": "1.0"}}})


@world("a custom resource whose tag is a template keeps every tag of the repository")
def _(stage: Stage) -> None:
    resource(stage, {"image": f"{stage.registry.login_server}/{REPOSITORY}:$(TAG)"})


@world("a config map keeps what its text names", "1.1")
def _(stage: Stage) -> None:
    config_map(stage, f"sidecar:\n  image: {stage.image('1.0')}\n")


@world("an operator keeps what its environment and its arguments name")
def _(stage: Stage) -> None:
    container = stage.pod("ghcr.io/operator:1")["spec"]["containers"][0]
    container["env"] = [{"name": "WEB_IMAGE", "value": stage.image("1.0")}]
    container["args"] = [f"--image={stage.image('1.1')}"]


@world("what is named anywhere else does not make a repository run", *BOTH)
def _(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        stage.registry.push("team/api", tag, age=OLD)
    resource(stage, {"image": stage.image("2.0", repository="team/api")})


@world("what a node has in its cache, an event tells of or a secret holds is not in use", *BOTH)
def _(stage: Stage) -> None:
    for kind, namespace in (("Node", None), ("Event", "shop"), ("Secret", "shop")):
        meta = metadata(kind, namespace, "one")
        stage.cluster.add({"apiVersion": "v1", "kind": kind, "metadata": meta, "text": stage.image("1.0")})


# -- by digest ------------------------------------------------------------------------------------------------


@world("a pod that names a tag and a digest keeps both", "3.0")
def _(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "3.0", age=OLD)
    stage.pod(stage.image("1.0", stage.digest("1.1")), image_ids=[""])


@world("a tag that moved is kept, and so is every tag on the digest that still runs", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("live"), image_ids=[stage.image(digest=stage.digest("1.0"))])
    stage.registry.push(REPOSITORY, "live", age=OLD)


@world("a bare digest in the status belongs to the repository of the spec", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), image_ids=[stage.digest("1.0")])


@world("docker-pullable is a scheme and no host", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), image_ids=[f"docker-pullable://{stage.image(digest=stage.digest('1.0'))}"])


@world("what runs under the name of another repository of ours with the same content is in use here", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=stage.digest("1.0"), repository="other/name")])


@world("what another registry's pod reports to run from ours is in use", "1.1")
def _(stage: Stage) -> None:
    stage.pod("ghcr.io/shop/web:2.0", image_ids=[stage.image(digest=stage.digest("1.0"))])


@world("an alias of a digest that runs is kept", *BOTH)
def _(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("2.0"), OLD)


@world("of two names of one manifest the used one stays, with the manifest", "1.0", "alias")
def _(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.1"), OLD)
    stage.cluster.add(build.cronjob("a", "nightly", [stage.image("1.1")]))


def multi_arch(stage: Stage, tag: str | None = "multi") -> tuple[str, str, str]:
    amd, arm = (stage.registry.push(REPOSITORY, None, age=OLD, architecture=each) for each in ("amd64", "arm64"))
    return stage.registry.push_index(REPOSITORY, tag, children=[amd, arm], age=OLD), amd, arm


@world("an unused index goes with its children", "1.0", "1.1", "multi", counts={"deleted_manifests": 5})
def _(stage: Stage) -> None:
    multi_arch(stage)


@world("a pod that reports the child keeps the index", *BOTH)
def _(stage: Stage) -> None:
    _, amd, _ = multi_arch(stage)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=amd)])


@world("a pod that reports the index keeps it, whatever its tag", *BOTH)
def _(stage: Stage) -> None:
    index, _, _ = multi_arch(stage)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=index)])


@world("a tagged child of an index that runs is kept", *BOTH)
def _(stage: Stage) -> None:
    index, amd, _ = multi_arch(stage)
    stage.registry.tag(REPOSITORY, "multi-amd64", amd, OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=index)])


@world("the child of an outer index keeps what is nested in it", *BOTH)
def _(stage: Stage) -> None:
    inner, amd, _ = multi_arch(stage, "inner")
    stage.registry.push_index(REPOSITORY, "outer", children=[inner], age=OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=amd)])


# -- names of the registry ------------------------------------------------------------------------------------

HOSTS = {
    "in capitals": "CONTOSO.AzureCR.io",
    "with the port of https": "contoso.azurecr.io:443",
    "of a region": "contoso.westeurope.geo.azurecr.io",
    "of a region in capitals": "Contoso.WestEurope.GEO.azurecr.io",
}
for words, host in HOSTS.items():

    @world(f"the host {words} means our registry", "1.1")
    def _(stage: Stage, host=host) -> None:  # type: ignore[no-untyped-def]
        stage.settings(registry_aliases=[] if stage.world.face == "proxy" else [host])
        stage.pod(f"{host}/{REPOSITORY}:1.0", image_ids=[""])


@world("a custom domain means our registry when it is named as an alias", "1.1")
def _(stage: Stage) -> None:
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

    @world(f"{lookalike} is not our registry", *BOTH)
    def _(stage: Stage, lookalike=lookalike) -> None:  # type: ignore[no-untyped-def]
        stage.pod(f"{lookalike}/{REPOSITORY}:1.0", f"{lookalike}/{REPOSITORY}@{stage.digest('1.1')}")


@world("a host and a port without a slash are a name on Docker Hub", *BOTH)
def _(stage: Stage) -> None:
    stage.pod("contoso.azurecr.io:1.0", "shop/web:1.0", "web")


@world("an image without a tag is latest, by whatever rule latest could go", *BOTH)
def _(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "latest", age=OLD)
    stage.settings(exclude_tags=[])
    stage.pod(stage.image(), image_ids=[""])


@world("latest stays even if nobody uses it", *BOTH)
def _(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "latest", age=OLD)


@world("repositories nested in one another are different ones", "1.0", "1.1", "shop/web/api:1.0")
def _(stage: Stage) -> None:
    for repository in ("shop/web/api", "shop"):
        for tag in ("1.0", "2.0"):
            stage.registry.push(repository, tag, age=OLD)
    stage.pod(stage.image("2.0", repository="shop/web/api"))


@world("a repository of the same name in another registry does not make ours run", *BOTH)
def _(stage: Stage) -> None:
    stage.registry.push("team/api", "1.0", age=OLD)
    stage.pod("ghcr.io/team/api:1.0")


@world("an ephemeral container or a deployment of no replicas does not make a repository run", *BOTH)
def _(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        stage.registry.push("team/api", tag, age=OLD)
        stage.registry.push("team/debug", tag, age=OLD)
    stage.cluster.add(build.deployment("a", "x", [stage.image("2.0", repository="team/api")], replicas=0))
    stage.pod("busybox", ephemeral=[stage.image("2.0", repository="team/debug")])


# -- odd objects ----------------------------------------------------------------------------------------------


@world("null lists and absent parts are nothing", *BOTH)
def _(stage: Stage) -> None:
    for spoilt in (
        {"spec": None, "status": None},
        {"spec": {"containers": None, "initContainers": None, "volumes": None}},
        {"spec": {"containers": [None, 5, {"image": None}, {"image": 7}, {"name": ["a"], "image": ""}]}},
        {"status": {"containerStatuses": None, "initContainerStatuses": [{"imageID": None}]}},
    ):
        stage.pod("busybox").update(spoilt)


@world("a huge annotation is nothing", "1.1")
def _(stage: Stage) -> None:
    stage.pod(stage.image("1.0"))["metadata"]["annotations"] = {"last-applied": "contoso.azurecr.io/x:$ " * 20_000}


for words, image in {
    "with a variable": "{}/shop/web:$(TAG)",
    "with an empty tag": "{}/shop/web:",
    "with capitals in the repository": "{}/Shop/Web:1.0",
    "with a scheme": "https://{}/shop/web:1.0",
    "with a space": "{}/shop/web :1.0",
    "with a short digest": "{}/shop/web@sha256:abc",
    "with a trailing dot": "{}./shop/web:1.0",
    "without a repository": "{}/",
    "where a list should be": ["{}/shop/web:1.0"],
}.items():

    @world(f"an image {words} that names our registry blocks", code=3, says=("odd",))
    def _(stage: Stage, image=image) -> None:  # type: ignore[no-untyped-def]
        login_server = stage.registry.login_server
        named = image.format(login_server) if isinstance(image, str) else [image[0].format(login_server)]
        stage.pod("busybox")["spec"]["containers"][0]["image"] = named


@world("outer white space is no part of a reference", "1.1")
def _(stage: Stage) -> None:
    deployment = build.deployment("a", "x", [f"  {stage.image('1.0')}\n"], replicas=0)
    stage.cluster.add(deployment)


# -- the rule itself ------------------------------------------------------------------------------------------


@world("age is that of the last push, not of the first", "1.1")
def _(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "1.0", stage.registry.push(REPOSITORY, None, age=OLD), YOUNG)


@world("a young child stays when its old index goes", "1.0", "1.1", "multi", counts={"deleted_manifests": 3})
def _(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, None, age=YOUNG)
    stage.registry.push_index(REPOSITORY, "multi", children=[child], age=OLD)


@world("a child that a young index shares stays", "1.0", "1.1", "old", counts={"deleted_manifests": 4})
def _(stage: Stage) -> None:
    shared, own = (stage.registry.push(REPOSITORY, None, age=OLD) for _ in range(2))
    stage.registry.push_index(REPOSITORY, "old", children=[shared, own], age=OLD)
    stage.registry.push_index(REPOSITORY, "young", children=[shared], age=YOUNG, annotations={"a": "b"})


@world("a locked index keeps its child's manifest, and only the child's tag goes", "1.0", "1.1", "child")
def _(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, "child", age=OLD)
    index = stage.registry.push_index(REPOSITORY, "locked", children=[child], age=OLD)
    stage.registry.lock(REPOSITORY, index)


@world("an index that is not listed keeps its children", "1.0", "1.1", "child")
def _(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, "child", age=OLD)
    index = stage.registry.push_index(REPOSITORY, "hidden", children=[child], age=YOUNG)
    stage.registry.lock(REPOSITORY, index, list=False)


@world("an index that cannot be read keeps every manifest; names go", "1.0", "1.1", counts={"deleted_manifests": 0})
def _(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, None, age=OLD)
    stage.registry.ghost(REPOSITORY, stage.registry.push_index(REPOSITORY, "ghost", children=[child], age=OLD))


@world("an untagged manifest is left alone", *BOTH, counts={"deleted_manifests": 2})
def _(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, None, age=OLD)


@world("a signature stays with what it signs, and goes with it", "1.0", "1.1", "signature of 1.0")
def _(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        name = stage.digest(tag).replace(":", "-") + ".sig"
        stage.called[name] = f"signature of {tag}"
        stage.registry.push(REPOSITORY, name, age=OLD)


def attached(stage: Stage, *, to: str, tag: str | None = None, young: bool = False) -> str:
    """An artifact about another manifest, which the registry deletes together with that one."""
    return stage.registry.push_referrer(REPOSITORY, to, tag=tag, age=YOUNG if young else OLD)


@world("an artifact that a pod mounts by digest keeps what it is attached to", *BOTH, counts={"deleted_manifests": 1})
def _(stage: Stage) -> None:
    artifact = attached(stage, to=stage.digest("1.0"))
    stage.pod(stage.image("2.0"))["spec"]["volumes"] = [
        {"name": "model", "image": {"reference": stage.image(digest=artifact)}}
    ]


@world("a young signature of what is attached keeps all it hangs on", *BOTH, counts={"deleted_manifests": 1})
def _(stage: Stage) -> None:
    attached(stage, to=attached(stage, to=stage.digest("1.0")), tag="signature", young=True)


@world("an artifact that a kept index lists keeps what it is attached to", *BOTH, counts={"deleted_manifests": 1})
def _(stage: Stage) -> None:
    stage.registry.push_index(REPOSITORY, "young", children=[attached(stage, to=stage.digest("1.0"))], age=YOUNG)


@world("what is attached to an unused manifest goes with it", *BOTH, counts={"deleted_manifests": 2})
def _(stage: Stage) -> None:
    attached(stage, to=attached(stage, to=stage.digest("1.0")), young=True)


@world("a locked tag keeps its manifest; its other names go", "1.1", "alias", counts={"deleted_manifests": 1})
def _(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), OLD)
    stage.registry.lock(REPOSITORY, "1.0")


@pytest.mark.parametrize(("scenario", "face"), world.parameters())
async def test_used(scenario: Scenario, face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
