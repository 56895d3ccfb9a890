"""Clusters with objects that are hard to transfer through a shell unchanged."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
import shutil
from typing import Any, Literal

import pytest

from acr_cleanup.clusters.images.pod_specs import KINDS
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from tests.helpers.cluster_objects import CORPUS, DIGEST, WEB
from tests.helpers.emulated_clusters import shop
from tests.helpers.mention_builders import HIDDEN_NAMES

# The real one if there is one, because hundreds of calls of the stub are slow.
KUBECTL: Literal["stub", "real"] = "stub" if shutil.which("kubectl") is None else "real"


KUBECTLS = [
    "stub",
    pytest.param(
        "real", marks=pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
    ),
]


def real_world() -> ClusterState:
    """
    Return a cluster with every captured object, including custom resources and Helm's Secrets.
    """
    cluster = ClusterState("aks-prod")
    for path in sorted((CORPUS / "responses" / "list").glob("*.json")):
        whole = re.fullmatch(r"(?:[a-z0-9.]+_)?v[a-z0-9]+_([a-z]+)(?:\.labelSelector)?\.json", path.name)
        if whole is None:
            continue
        page = json.loads(path.read_bytes())
        group = page["apiVersion"].rpartition("/")[0]
        cluster.objects[f"{whole[1]}.{group}" if group else whole[1]] = [
            {"apiVersion": page["apiVersion"], "kind": page["kind"].removesuffix("List"), **item}
            for item in page["items"]
        ]
    assert {"rollouts.argoproj.io", "configmaps", "secrets", *map(str, KINDS)} <= set(cluster.objects)
    return cluster


def random_world(seed: int) -> ClusterState:
    """
    Return workloads, custom resources and ConfigMaps with random texts that are hard to parse by
    sed.
    """
    chance = random.Random(seed)
    pieces = [
        f"{WEB}:{{n}}", "CONTOSO.azurecr.io/shop/up:{n}", "contoso.westeurope.geo.azurecr.io/shop/geo:{n}", WEB, "nginx:1",
        "contoso.azurecr.io", "contoso.azurecr.io.evil.example/x:1",
        '"', "\\", '\\"', '":"', '","', '"}],', "\n", "\t", "\x01", "\x1f",
        "é", "{{ .tag }}", "$(TAG)", "<b>&", "[]", "{}", ":", ",", "!", "1.10", "managedFields", '"name":"x"', "'",
        "kube-api-access-abcde", "web", "canary", "10.0.0.7",
        '{"image":"contoso.azurecr.io/shop/in-json:{n}"}', "#", " ", "",
    ]  # fmt: skip
    keys = [
        "image",
        "tag",
        "repository",
        "registry",
        "name",
        "value",
        "nodeName",
        "data",
        "x/y",
        "version",
        "IMAGE_TAG",
        "a b",
        "hostname",
        "claimName",
        "password",
        "restartCount",
        "cni.example/ip",
    ]

    def text() -> str:
        parts = chance.choices(pieces, k=chance.randint(0, 4))
        return "".join(parts).replace("{n}", str(chance.randint(0, 99)))

    def tree(depth: int = 0) -> Any:
        match chance.randint(0, 6 if depth < 3 else 3):
            case 0 | 1 | 2:
                return text()
            case 3:
                return chance.choice([None, True, 7, 1.5, 10**15, -0.25])
            case 4:
                return [tree(depth + 1) for _ in range(chance.randint(0, 3))]
            case _:
                return {chance.choice(keys): tree(depth + 1) for _ in range(chance.randint(0, 4))}

    def dress(spec: dict[str, Any]) -> None:
        for container in spec["containers"]:
            container["env"] = [{"name": chance.choice([*keys, text()]), "value": text()} for _ in range(3)]
            container["args"] = [text() for _ in range(2)]
        spec["volumes"] = [{"name": "m", "image": {"reference": text()}}, {"name": "kube-api-access-x1y2z"}]

    cluster = ClusterState("aks-prod")
    for n in range(4):
        name = f"w{n}"
        images = [chance.choice([f"{WEB}:{n}", "nginx:1", text()])]
        made = cluster.run(
            chance.choice([build.deployment, build.statefulset])("shop", name, images, replicas=2), history=[[text()]]
        )
        made += cluster.run(build.cronjob("shop", name, images), build.job("shop", f"j{n}", images))
        for obj in made:
            obj["metadata"]["annotations"] = {chance.choice(keys): text() for _ in range(3)}
            if obj["kind"] == "Pod":
                dress(obj["spec"])
                obj["status"] |= {"message": text(), "more": tree(2)}
                obj["spec"]["nodeName"] = "node-1.10"
                obj["metadata"] |= {"generateName": "web", "finalizers": [text()]}
            elif obj["kind"] in {"Deployment", "ReplicaSet", "StatefulSet"}:
                dress(obj["spec"]["template"]["spec"])
        cluster.add(build.configmap("shop", name, {f"k{m}": text() for m in range(3)}))
        cluster.add(build.custom_object("example.com/v1", "Thing", "shop", name, {"spec": tree(), "more": tree()}))
        cluster.add(build.custom_object("other.example/v1beta1", "Whole", None, name, {"x": tree()}))
    return cluster


def nasty_world() -> ClusterState:
    """Return a cluster with spaces, newlines, image volumes, owners and malformed statuses."""
    cluster = shop()
    spec: dict[str, Any] = {
        "containers": [{"name": "a", "image": f"{WEB}:1\n"}, {"name": "b"}],
        "initContainers": None,
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "model", "image": {"reference": f"{WEB}:model"}}],
    }
    template = {"metadata": {"name": "odd", "namespace": "shop"}, "spec": {"template": {"spec": spec}}}
    bad = {"containers": [{"name": "a", "image": "contoso.azurecr.io/Shop web:$(TAG)"}]}
    status = {"containerStatuses": [{"name": "a", "image": "sha256:1", "imageID": f"docker-pullable://x/y@{DIGEST}"}]}
    cluster.add(
        {"apiVersion": "apps/v1", "kind": "Deployment", **template},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": "shop"}, "spec": bad},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "odd", "namespace": "shop", "labels": None},
            "spec": spec,
            "status": status,
        },
        build.podtemplate("shop", "stored", [f"{WEB}:stored"]),
    )
    return cluster


def hidden_world() -> ClusterState:
    """Return a cluster whose objects each hide the same name in one way."""
    cluster = ClusterState("aks-prod")
    for n, text in enumerate(HIDDEN_NAMES.values()):
        annotated = build.pod("shop", f"pod-{n}", ["nginx:1"])
        annotated["metadata"]["annotations"] = {"note": text}
        cluster.add(
            build.deployment("shop", "web", [f"{WEB}:1"]),
            annotated,
            build.configmap("shop", f"text-{n}", {"x": text}),
            {**build.configmap("shop", f"binary-{n}", {}), "binaryData": {"x": b64(text.encode())}},
            build.custom_object("example.com/v1", "Thing", "shop", f"thing-{n}", {"spec": [{"x": text}]}),
        )
    return cluster


def manifest(*images: str) -> str:
    """Return the manifest that a chart renders."""
    return "\n---\n".join(f"kind: Deployment\nspec:\n  image: {image}" for image in images)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def rich_world() -> ClusterState:
    """Return a cluster with images in other kinds than workloads, and outside of image fields."""
    b64text = f"image: {WEB}:packed".encode()
    cluster = ClusterState("aks-prod")
    web = build.deployment("shop", "web", [f"{WEB}:1"], replicas=3)
    main = web["spec"]["template"]["spec"]["containers"][0]
    main["env"] = [
        {"name": "ACR", "value": "contoso.azurecr.io"},
        {"name": "WORKER", "value": "$(ACR)/shop/worker:1"},
        {"name": "SIDE", "value": "contoso.azurecr.io/shop/side"},
        {"name": "OPTIONS", "value": "--tag 7"},
        {"name": "SIDECAR", "value": f"{WEB}:sidecar"},
        {"name": "AGENT_REPOSITORY", "value": "contoso.azurecr.io/shop/agent"},
        {"name": "AGENT_TAG", "value": "7.1"},
        {"name": "PASSWORD", "value": "correct horse"},
        {"name": "FROM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    main["args"] = [
        "--helper-image=CONTOSO.azurecr.io/shop/helper:2",
        "--proxy-image",
        "contoso.azurecr.io/shop/proxy",
        "x",
    ]
    main["command"] = ["sh", "-c", f'echo "pull {WEB}:\\"quoted\\"" && run {WEB}:script\\n']
    web["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"image": f"{WEB}:applied", "q": 'a"b\\'}),
        "note": f"was {WEB}:note",
    }
    made = cluster.run(web, history=[[f"{WEB}:0"]])
    for obj in made:
        if obj["kind"] == "Pod":
            obj["spec"]["containers"][0] |= {key: main[key] for key in ("env", "args", "command")}
            obj["metadata"]["annotations"] = {
                "cni.projectcalico.org/podIP": obj["metadata"]["name"],
                "x": f"{WEB}:note",
            }
            obj["status"]["message"] = f'Back-off pulling image "{WEB}:waiting"'
    cluster.add(
        build.configmap("shop", "settings", {"values.yaml": "image:\n  repository: contoso.azurecr.io/shop/job\n  tag: '1.10'\n"}),
        build.configmap("shop", "script", {"run.sh": f'docker run {WEB}:from-script -t "x"\n'}),
        build.configmap("shop", "policy", {"allow": "contoso.azurecr.io/*", "v2": "https://contoso.azurecr.io/v2/"}),
        build.configmap("shop", "template", {"x": "contoso.azurecr.io/{{ .app }}:1", "y": f"{WEB}-open:$(TAG)"}),
        {**build.configmap("shop", "binary", {}), "binaryData": {"a.txt": b64(b"\xff\0"), "b.gz": b64(gzip.compress(b64text))}},
        {**build.configmap("shop", "plain-binary", {}), "binaryData": {"x": b64(b"image: CONTOSO.azurecr.io/shop/encoded:1")}},
        {**build.configmap("shop", "other-binary", {}), "binaryData": {"x": b64(b"image: nginx"), "y": b64(bytes(range(256)))}},
        build.configmap("shop", "foreign", {"image": "docker.io/library/nginx:1"}),
        *(
            build.custom_object("argoproj.io/v1alpha1", "Rollout", "shop", f"r{n}", {"template": {"image": f"{WEB}:r{n}"}})
            for n in range(3)
        ),
        build.custom_object(
            "helm.toolkit.fluxcd.io/v2", "HelmRelease", "flux", "hr",
            {"values": {"image": {"repository": "contoso.azurecr.io/shop/flux", "tag": 1.5}, "none": None}},
        ),
        build.custom_object("example.com/v1", "Big", None, "whole-cluster", {"n": 3, "images": [f"{WEB}:c", "x"]}),
        build.custom_object("example.com/v1", "Silent", None, "nothing", {"n": 3}),
    )  # fmt: skip
    return cluster


def helm_world() -> ClusterState:
    """
    Return releases with many revisions: deployed is not the newest, cannot be decoded, or use
    another registry.
    """
    cluster = rich_world()
    for n in range(1, 12):
        status = "deployed" if n == 3 else "superseded"
        cluster.add(build.helm_release("shop", "web", n, manifest(f"{WEB}:helm-{n}"), status=status))
        cluster.add(build.helm_release("shop", "other", n, manifest("docker.io/library/nginx:1"), status="deployed"))
    values = {"image": {"registry": "contoso.azurecr.io", "repository": "shop/values", "tag": "v1"}}
    cluster.add(
        build.helm_release("ops", "web", 1, manifest(f"{WEB}:ops"), hooks=[manifest(f"{WEB}:hook")], values=values)
    )
    cluster.add(build.helm_release("ops", "stored", 2, manifest(f"{WEB}:in-configmap"), kind="ConfigMap"))
    escaped = 'image: "\\x63ontoso.azurecr.io/shop/web:escaped"'
    cluster.add(build.helm_release("ops", "escaped", 1, escaped))
    broken = build.helm_release("ops", "broken", 1, "")
    broken["data"]["release"] = base64.b64encode(base64.b64encode(b"\x1f\x8b\x08broken")).decode()
    unlabelled = build.helm_release("ops", "unlabelled", 4, manifest(f"{WEB}:unlabelled"))
    del unlabelled["metadata"]["labels"]["version"]
    cluster.add(broken, unlabelled)
    return cluster
