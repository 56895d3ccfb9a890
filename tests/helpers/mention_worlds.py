"""The truth table of mentions: what objects write, and the tags to keep. All others must be deleted."""

from __future__ import annotations

import gzip
import json
import zlib

from tests.helpers.mention_builders import (
    ALL,
    SIGNATURE,
    MentionWorld,
    X,
    b64,
    chart_archive,
    config_map,
    custom,
    deployment,
    env,
    obj,
    row,
)
from tests.helpers.mention_limits import FOLDER, NOT, OPEN
from tests.helpers.mention_spellings import FAR, SPELLINGS

__all__ = ["WORLDS", "MentionWorld"]

LOST_BEFORE = [
    row(
        "variables of a container",
        deployment(env=env(REGISTRY=f"{X}/shop", WORKER_IMAGE="$(REGISTRY)/web:env")),
        {"shop/web": ["env", "old"]},
        {"shop/web": ["env"]},
    ),
    row(
        "parameters of a Tekton task",
        obj(
            "Task",
            {
                "spec": {
                    "params": [{"name": "registry", "default": f"{X}/shop"}],
                    "steps": [{"name": "s", "image": "$(params.registry)/web:task"}],
                }
            },
            api="tekton.dev/v1",
        ),
        {"shop/web": ["task", "old"]},
        {"shop/web": ["task"]},
    ),
    row(
        "a default in a shell variable",
        config_map(f=f"a: b\nimage: ${{REGISTRY:-{X}}}/app:cm\n"),
        {"app": ["cm", "old"]},
        {"app": ["cm"]},
    ),
    row(
        "a default in a command",
        deployment(command=["run", f"--image=${{REGISTRY:-{X}}}/app:cmd"]),
        {"app": ["cmd", "old"]},
        {"app": ["cmd"]},
    ),
    row(
        "a variable without braces",
        deployment(env=env(HUB=X, JOB="kubectl run x --image=$HUB/app:plain")),
        {"app": ["plain", "old"]},
        {"app": ["plain"]},
    ),
    row(
        "a version variable",
        deployment(env=env(REPO=f"{X}/app", SEM_VER="1.4.0-rc1")),
        {"app": ["1.4.0-rc1", "1.3.9"]},
        {"app": ["1.4.0-rc1"]},
    ),
    row(
        "Linkerd's version",
        config_map(
            values=f'linkerdVersion: stable-2.14.1\nproxy:\n  image:\n    name: {X}/linkerd/proxy\n    version: ""\n'
        ),
        {"linkerd/proxy": ["stable-2.14.1", "stable-2.13.0"]},
        {"linkerd/proxy": ["stable-2.14.1"]},
    ),
    row(
        "Velero's helper without a tag",
        config_map(image=f"{X}/velero/velero-restore-helper"),
        {"velero/velero-restore-helper": ["v1.12.0", "v1.13.0"]},
        {"velero/velero-restore-helper": ALL},
    ),
    row(
        "image and tag of a worker",
        config_map(IMAGE_WORKER=f"{X}/app", TAG_WORKER="pre"),
        {"app": ["pre", "old"]},
        {"app": ["pre"]},
    ),
    row("a commit", custom(image=f"{X}/app", gitSha="a1b2c3d"), {"app": ["a1b2c3d", "d3c2b1a"]}, {"app": ["a1b2c3d"]}),
    row("a registry and a list", custom(registry=X, images=["app:list"]), {"app": ["list", "old"]}, {"app": ["list"]}),
    row(
        "a registry and pairs",
        custom(registry=X, images=[{"name": "app", "tag": "pair"}]),
        {"app": ["pair", "old"]},
        {"app": ["pair"]},
    ),
    row(
        "a mirror that is configured",
        deployment("docker.io/library/nginx:1.25", replicas=0),
        {"dockerhub/library/nginx": ["1.25", "1.24"]},
        {"dockerhub/library/nginx": ["1.25"]},
        mirrors={"docker.io": "dockerhub"},
    ),
    row(
        "a StorageClass",
        obj(
            "StorageClass",
            {"provisioner": "csi.juicefs.com", "parameters": {"juicefs/mount-image": f"{X}/juicefs/mount:ee-5.0"}},
            api="storage.k8s.io/v1",
        ),
        {"juicefs/mount": ["ee-5.0", "ee-4.9"]},
        {"juicefs/mount": ["ee-5.0"]},
    ),
    row(
        "a registry in another object",
        [
            config_map(REGISTRY=X),
            deployment(envFrom=[{"configMapRef": {"name": "settings"}}], env=env(JOB_IMAGE="$(REGISTRY)/app:job")),
        ],
        {"app": ["job", "old"]},
        {"app": ["job"]},
    ),
    row(
        "code of a spawner",
        config_map(code="image = f\"{registry}/app:fstring\"\nother = '%s/app:percent' % registry\n"),
        {"app": ["fstring", "percent", "old"]},
        {"app": ["fstring", "percent"]},
    ),
    row(
        "a list of images to mirror",
        config_map(images=f"{X}/app main-a1b2c3d\n"),
        {"app": ["main-a1b2c3d", "main-0000000"]},
        {"app": ["main-a1b2c3d"]},
    ),
    row(
        "the default in a schema",
        obj(
            "CustomResourceDefinition",
            {
                "spec": {
                    "group": "jobs.example.com",
                    "scope": "Namespaced",
                    "names": {"plural": "workers", "singular": "worker", "kind": "Worker", "listKind": "WorkerList"},
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {
                                "openAPIV3Schema": {
                                    "properties": {
                                        "spec": {
                                            "properties": {"image": {"type": "string", "default": f"{X}/app:default"}}
                                        }
                                    }
                                }
                            },
                        }
                    ],
                }
            },
            api="apiextensions.k8s.io/v1",
        ),
        {"app": ["default", "old"]},
        {"app": ["default"]},
    ),
    row(
        "a chart of a HelmRepository",
        [
            obj("HelmRepository", {"spec": {"type": "oci", "url": f"oci://{X}"}}),
            obj(
                "HelmRelease",
                {
                    "spec": {
                        "chart": {
                            "spec": {
                                "chart": "web",
                                "version": "0.3.1",
                                "sourceRef": {"kind": "HelmRepository", "name": "acr"},
                            }
                        }
                    }
                },
            ),
        ],
        {"web": ["0.3.1", "0.3.0", "current"]},
        {"web": ["0.3.1"]},
    ),
    row(
        "a chart of Argo CD",
        obj("Application", {"spec": {"source": {"repoURL": f"{X}/charts", "chart": "web", "targetRevision": "1.2.2"}}}),
        {"charts/web": ["1.2.2", "1.2.1"]},
        {"charts/web": ["1.2.2"]},
    ),
    row(
        "signatures that a policy verifies",
        obj(
            "ClusterPolicy",
            {"spec": {"rules": [{"verifyImages": [{"imageReferences": ["*"], "repository": f"{X}/signatures"}]}]}},
        ),
        {"signatures": [SIGNATURE]},
        {"signatures": ALL},
    ),
    row(
        "a PersistentVolume",
        obj(
            "PersistentVolume",
            {"spec": {"csi": {"driver": "container-image.csi.k8s.io", "volumeHandle": f"{X}/app:volume"}}},
            api="v1",
        ),
        {"app": ["volume", "old"]},
        {"app": ["volume"]},
    ),
]
"""The inputs that a reader of references lost."""

T = {"shop/web": ["1.4.2", "canary", "1.4.1", "old"]}
BESIDE = [
    row(f"beside: {title}", value, T, {"shop/web": ["canary"]})
    for title, value in {
        "host": custom(image=f"{X}/shop/web:canary"),
        "host in capitals": custom(image="CONTOSO.azurecr.io/shop/web:canary"),
        "regional host": custom(image="contoso.westeurope.geo.azurecr.io/shop/web:canary"),
        "port": custom(image=f"{X}:443/shop/web:canary"),
        "scheme": custom(image=f"docker://{X}/shop/web:canary"),
        "another host, which a webhook replaces": config_map(image="registry.internal:5000/shop/web:canary"),
        "Go template": config_map(t="image: {{ .Values.registry }}/web:canary"),
        "Terraform": config_map(t='image = "${var.registry}/shop/web:canary"'),
        "Jinja": config_map(t="image: {{ registry }}/shop/web:canary"),
        "placeholder in capitals": config_map(t="image: REGISTRY_HOST/web:canary"),
        "Windows variable": config_map(t="docker run %REGISTRY%/shop/web:canary"),
        "angle brackets": config_map(t="image: <registry>/shop/web:canary"),
        "comma": config_map(t="shop/web,canary,linux\n"),
        "tab": config_map(t="shop/web\tcanary\n"),
        "quotes": config_map(t='["shop/web", "canary"]x'),
        "key of YAML": config_map(t="images:\n  web: canary\n"),
        "key of YAML with a list": config_map(t="web: [canary]\n"),
        "equals": config_map(t="web=canary\n"),
        "kustomize": custom(images=["web=web:canary"]),
        "escaped slashes": config_map(j='x {"image":"contoso.azurecr.io\\/shop\\/web:canary"}'),
        "escaped unicode": config_map(j='x {"image":"contoso\\u002eazurecr.io/shop/web\\u003acanary"}'),
        "properties of Java": config_map(j="image=contoso.azurecr.io/shop/web\\:canary\n"),
        "URL": config_map(j=f"https://portal/run?image={X}%2Fshop%2Fweb%3Acanary"),
        "API of the registry": config_map(j=f"curl https://{X}/v2/shop/web/manifests/canary"),
        "JSON in JSON": config_map(j=json.dumps(json.dumps({"image": f"{X}/shop/web:canary"}))),
        "base64": obj("ConfigMap", {"binaryData": {"a": b64(f"image: {X}/shop/web:canary\n")}}, api="v1"),
        "base64 in text": config_map(j=f"payload: {b64('image: contoso.azurecr.io/shop/web:canary, and so on')}\n"),
        "base64 of gzip": config_map(j=b64(gzip.compress(f"image: {X}/shop/web:canary\n".encode()))),
        "base64 of base64": config_map(j=b64(b64(f"image: {X}/shop/web:canary and more"))),
        "UTF-16": obj(
            "ConfigMap", {"binaryData": {"a": b64(f"image: {X}/shop/web:canary\n".encode("utf-16-le"))}}, api="v1"
        ),
        "a chart archive": obj(
            "ConfigMap", {"binaryData": {"web.tgz": chart_archive(f"image: {X}/shop/web:canary\n")}}, api="v1"
        ),
        "annotation": deployment(meta={"annotations": {"sidecar/image": "shop/web:canary"}}),
        "end of a sentence": custom(note=f"Runs {X}/shop/web:canary."),
        "status of an application": obj("Application", {"status": {"summary": {"images": [f"{X}/shop/web:canary"]}}}),
    }.items()
]
OBJECT = [
    row(f"object: {title}", value, T, {"shop/web": ["1.4.2"]})
    for title, value in {
        "anywhere": custom(a={"b": [{"c": "shop/web"}]}, d={"e": {"f": {"g": "1.4.2"}}}),
        "leading v": custom(a={"image": "shop/web"}, d={"e": {"f": {"g": "v1.4.2"}}}),
        "the name in a key": custom(components={"web": {"replicas": 3}}, a={"b": {"c": {"version": "1.4.2"}}}),
        "in prose": custom(a={"b": {"c": "deploys web"}}, d={"e": {"f": "we roll out 1.4.2 today"}}),
        "KubeVirt style": custom(imageRegistry=X, imageName="web", a={"b": {"imageTag": "1.4.2"}}),
        "arguments": deployment(args=["--image", f"{X}/shop/web", "--verbose", "--level", "3", "--tag", "1.4.2"]),
    }.items()
] + [
    row(
        "object: joined words",
        custom(image="shop/web", a={"b": {"version": "1.22.0", "variant": "distroless"}}),
        {"shop/web": ["1.22.0-distroless", "1.22.0-alpine", "1.21.0-distroless"]},
        {"shop/web": ["1.22.0-distroless"]},
    ),
    row(
        "object: plus",
        custom(image="shop/web", a={"b": {"version": "1.2.3+build.7"}}),
        {"shop/web": ["1.2.3_build.7", "1.2.3_build.8"]},
        {"shop/web": ["1.2.3_build.7"]},
    ),
    row(
        "object: tag with v",
        custom(image="shop/web", a={"b": {"version": "1.2.3"}}),
        {"shop/web": ["v1.2.3", "v1.2.4"]},
        {"shop/web": ["v1.2.3"]},
    ),
    row(
        "object: the label of the own image",
        obj(
            "Deployment",
            {
                "spec": {
                    "template": {
                        "metadata": {"labels": {"app.kubernetes.io/version": "1.4.1"}},
                        "spec": {"containers": [{"name": "c", "image": f"{X}/shop/web:1.4.2"}]},
                    }
                }
            },
            api="apps/v1",
        ),
        {"shop/web": ["1.4.2", "1.4.1", "1.4.0"], "shop/api": ["1.4.1"]},
        {"shop/web": ["1.4.2", "1.4.1"]},
    ),
]
NEAR = [
    row(f"near: {title}", value, T, {"shop/web": ["canary"]})
    for title, value in {
        "same mapping": custom(repository=f"{X}/shop/web", channel="canary"),
        "above": custom(track="canary", image={"name": f"{X}/shop/web"}),
        "below": custom(image=f"{X}/shop/web", ref={"tag": "canary"}),
        "list below": custom(image=f"{X}/shop/web", tags=["canary"]),
        "list of mappings below": custom(image=f"{X}/shop/web", versions=[{"tag": "canary"}]),
        "variables": deployment(env=env(IMAGE=f"{X}/shop/web", CHANNEL="canary")),
        "parameters": custom(
            parameters=[{"name": "image", "value": f"{X}/shop/web"}, {"name": "tag", "value": "canary"}]
        ),
        "flags": deployment(args=["--image", f"{X}/shop/web", "--tag=canary"]),
        "values in a text": config_map(v=f"image:\n  repository: {X}/shop/web\n  pullPolicy: Always\n  tag: canary\n"),
        "properties": config_map(v="image=shop/web\nimage.channel=canary\n"),
        "HCL": config_map(v='repository = "shop/web"\ntag        = "canary"\n'),
        "TOML": config_map(v='[web]\nimage = "shop/web"\nversion = "canary"\n'),
        "one line of flags": config_map(v=f"run --image-repo {X}/shop/web --image-tag canary"),
        "XML": config_map(v=f"<image><repository>{X}/shop/web</repository><tag>canary</tag></image>"),
        "Dockerfile": config_map(v=f"ARG REPO={X}/shop/web\nARG TAG=canary\nFROM ${{REPO}}:${{TAG}}x\n"),
        "JSON in a text": config_map(v=json.dumps({"image": f"{X}/shop/web", "tag": "canary"})),
        "name as a key": custom(web="canary"),
        "name as a key of a mapping": custom(web={"tag": "canary"}),
    }.items()
] + [
    row("near: a number", custom(image=f"{X}/shop/db", tag=16), {"shop/db": ["16", "15"]}, {"shop/db": ["16"]}),
    row("near: a fraction", custom(image=f"{X}/shop/db", tag=1.5), {"shop/db": ["1.5", "1.4"]}, {"shop/db": ["1.5"]}),
    row(
        "near: each variable its own",
        deployment(env=env(WEB_IMAGE="shop/web", WEB_TAG="blue", API_IMAGE="shop/api", API_TAG="green")),
        {"shop/web": ["blue", "green"], "shop/api": ["blue", "green"]},
        {"shop/web": ["blue"], "shop/api": ["green"]},
    ),
    row(
        "near: each block its own",
        config_map(v="web:\n  image: shop/web\n  tag: blue\napi:\n  image: shop/api\n  tag: green\n"),
        {"shop/web": ["blue", "green"], "shop/api": ["blue", "green"]},
        {"shop/web": ["blue"], "shop/api": ["green"]},
    ),
]
IN_PARTS = [
    row(f"in parts: {title}", value, T, {"shop/web": ["canary"]})
    for title, value in {
        "zlib": config_map(j=b64(zlib.compress(f"image: {X}/shop/web:canary, and further text".encode()))),
        "HTML": config_map(j="<a>contoso.azurecr.io&#47;shop&#47;web&#58;canary</a>"),
        "folder beside the host": custom(registry=f"{X}/", imagePath="shop", imageTag="canary"),
        "folder and a variable": config_map(j=f"docker pull {X}/shop/${{NAME}}:canary"),
        "value of a chart set elsewhere": custom(
            set=[{"name": "image.tag", "value": "canary"}], a={"values": {"image": {"repository": "shop/web"}}}
        ),
        "variable of a unit": config_map(j="Environment=IMAGE=shop/web\nEnvironment=TAG=canary\n"),
    }.items()
] + [
    row(
        "in parts: a policy that compares beginnings",
        obj(
            "ConstraintTemplate",
            {"spec": {"rego": f'startswith(image, "{X}/shop/web")'}},
            api="templates.gatekeeper.sh/v1",
        ),
        T,
        {},
    ),
]
WORLDS = [*LOST_BEFORE, *SPELLINGS, *FAR, *IN_PARTS, *BESIDE, *OBJECT, *NEAR, *FOLDER, *OPEN, *NOT]
