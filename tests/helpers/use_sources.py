"""The sources of use of generated worlds: functions that add an object to a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState

OTHER_IMAGE = "ghcr.io/other/thing:1"


@dataclass(frozen=True)
class ObjectRequest:
    """
    An object to add to a cluster.

    `image`: the image that it names. `reported`: the imageID in the status, if it is a pod.
    """

    cluster: ClusterState
    name: str
    image: str
    reported: str


Source = Callable[[ObjectRequest], None]


def _workload(make: Callable[..., dict[str, Any]], **fields: Any) -> Source:
    return lambda wanted: wanted.cluster.add(make("ns", wanted.name, [wanted.image], **fields))


def _pod(**fields: Any) -> Source:
    return lambda wanted: wanted.cluster.add(
        build.pod("ns", wanted.name, [wanted.image], image_ids=[wanted.reported], **fields)
    )


def _other_container(kind: str) -> Source:
    """Name the image in an init or ephemeral container of a pod whose main image is another one."""

    def add(wanted: ObjectRequest) -> None:
        fields: dict[str, Any] = {kind: [wanted.image], "image_ids": {wanted.image: wanted.reported}}
        wanted.cluster.add(build.pod("ns", wanted.name, [OTHER_IMAGE], **fields))

    return add


def _volume(wanted: ObjectRequest) -> None:
    pod = build.pod("ns", wanted.name, [OTHER_IMAGE])
    pod["spec"]["volumes"] = [{"name": "model", "image": {"reference": wanted.image}}]
    wanted.cluster.add(pod)


def _argument(wanted: ObjectRequest) -> None:
    deployment = build.deployment("ns", wanted.name, ["ghcr.io/other/operator:1"])
    deployment["spec"]["template"]["spec"]["containers"][0]["args"] = [f"--sidecar={wanted.image}"]
    wanted.cluster.add(deployment)


def _history(wanted: ObjectRequest) -> None:
    wanted.cluster.run(build.deployment("ns", wanted.name, ["ghcr.io/other/thing:2"]), history=[[wanted.image]])


def _config_map(wanted: ObjectRequest) -> None:
    wanted.cluster.add(build.configmap("ns", wanted.name, {"x.yaml": f"x:\n  image: {wanted.image}\n"}))


def _widget(spec: Callable[[str], dict[str, Any]]) -> Source:
    """Add a custom resource. `spec`: makes its spec from the image."""
    return lambda wanted: wanted.cluster.add(
        build.custom_object("contoso.example/v1", "Widget", "ns", wanted.name, spec(wanted.image))
    )


def _helm(wanted: ObjectRequest) -> None:
    manifest = (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec:\n  containers:\n"
        f"  - name: x\n    image: {wanted.image}\n"
    )
    wanted.cluster.add(build.helm_release("ns", wanted.name, 1, manifest))


PODS: dict[str, Source] = {
    "pod": _pod(),
    "pending pod": _pod(phase="Pending"),
    "finished pod": _pod(phase="Succeeded"),
    "init container": _other_container("init"),
}
"""The sources that bring a repository into the scope `running`."""

SOURCES: dict[str, Source] = {
    **PODS,
    "ephemeral container": _other_container("ephemeral"),
    "image volume": _volume,
    "deployment": _workload(build.deployment, replicas=0),
    "stateful set": _workload(build.statefulset, replicas=0),
    "daemon set": _workload(build.daemonset),
    "replica set": _workload(build.replicaset, replicas=0),
    "replication controller": _workload(build.replicationcontroller, replicas=0),
    "job": _workload(build.job, suspend=True),
    "cron job": _workload(build.cronjob, suspend=True),
    "stored template": _workload(build.podtemplate),
    "stateful set's history": _workload(build.controllerrevision, owner=("StatefulSet", "x")),
    "deployment's history": _history,
    "argument": _argument,
    "custom resource": _widget(lambda image: {"run": {"with": ["--image", image]}}),
    "config map": _config_map,
    "template": _widget(lambda image: {"image": image}),
    "helm": _helm,
}

WITHOUT_SCOPE = [name for name in SOURCES if name not in PODS and name not in {"helm", "template"}]
"""The sources that use an image and do not bring its repository into the scope `running`."""

MENTIONS = {"argument", "custom resource", "config map"}
"""The sources in which an image is text. They keep its tag, and do not bring its repository into a scope."""
