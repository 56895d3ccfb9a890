"""
The table of sources: every place where an object can name an image, with what has to be found there.

One row per source. A place that is missing here is a place where a running company's image may be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from tests.helpers.cluster_objects import DIGEST, OTHER_DIGEST, OURS

HOST = "contoso.azurecr.io"
WEB = f"{HOST}/shop/web"
OPEN = WEB  # as an open reference is written: a repository alone
META = {"name": "x", "namespace": "shop"}


def kind(name: str) -> Kind:
    """A kind we know, and otherwise a custom one of which nothing is known but its names."""
    return next((each for each in KINDS if each.name == name), Kind(name, f"{name.lower()}s", "example.com"))


def read(of: str, obj: dict[str, Any]) -> Findings:
    return image_uses({"metadata": META} | obj, kind(of), "prod", OURS)


def row(name: str, of: str, obj: dict[str, Any], expected: Iterable[tuple[str, str, str]]) -> Any:
    """`expected`: container, field and reference of each use."""
    return pytest.param(of, obj, set(expected), id=name)


def spec(image: str = f"{WEB}:1", **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": image}], **more}


def template(**more: Any) -> dict[str, Any]:
    return {"template": {"spec": spec(**more)}}


IN_TEMPLATE = [("c", "spec.template.spec.containers[0].image", f"{WEB}:1")]
DOCKER_FILE_OF_YAML = f"proxy:\n  image:\n    repository: {WEB}\n    tag: 1.10\n"

PODS = [
    *(
        row(
            f"pod {phase}",
            "Pod",
            {"spec": spec(), "status": {"phase": phase}},
            [("c", "spec.containers[0].image", f"{WEB}:1")],
        )
        for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown")
    ),
    row(
        "status image and imageID",
        "Pod",
        {
            "spec": spec(),
            "status": {
                "containerStatuses": [
                    {"name": "c", "image": f"{WEB}:old", "imageID": f"docker-pullable://{WEB}@{DIGEST}"}
                ]
            },
        },
        [
            ("c", "spec.containers[0].image", f"{WEB}:1"),
            ("c", "status.containerStatuses[0].image", f"{WEB}:old"),
            ("c", "status.containerStatuses[0].imageID", f"{WEB}@{DIGEST}"),
        ],
    ),
    row(
        "bare imageID",
        "Pod",
        {"spec": spec(), "status": {"containerStatuses": [{"name": "c", "image": DIGEST, "imageID": OTHER_DIGEST}]}},
        [
            ("c", "spec.containers[0].image", f"{WEB}:1"),
            ("c", "status.containerStatuses[0].image", f"{WEB}@{DIGEST}"),
            ("c", "status.containerStatuses[0].imageID", f"{WEB}@{OTHER_DIGEST}"),
        ],
    ),
    row(
        "init container and sidecar",
        "Pod",
        {
            "spec": {
                "initContainers": [
                    {"name": "i", "image": f"{WEB}:1"},
                    {"name": "s", "image": f"{WEB}:2", "restartPolicy": "Always"},
                ]
            }
        },
        [("i", "spec.initContainers[0].image", f"{WEB}:1"), ("s", "spec.initContainers[1].image", f"{WEB}:2")],
    ),
    row(
        "ephemeral container",
        "Pod",
        {"spec": {"ephemeralContainers": [{"name": "debug", "image": f"{WEB}:1"}]}},
        [("debug", "spec.ephemeralContainers[0].image", f"{WEB}:1")],
    ),
    row(
        "image volume",
        "Pod",
        {"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "m", "image": {"reference": f"{WEB}:1"}}]}},
        [("m", "spec.volumes[1].image.reference", f"{WEB}:1")],
    ),
    row("no tag", "Pod", {"spec": spec(WEB)}, [("c", "spec.containers[0].image", f"{WEB}:latest")]),
    row(
        "tag and digest",
        "Pod",
        {"spec": spec(f"{WEB}:1@{DIGEST}")},
        [("c", "spec.containers[0].image", f"{WEB}:1@{DIGEST}")],
    ),
    row(
        "env",
        "Pod",
        {"spec": {"containers": [{"name": "c", "image": "x", "env": [{"name": "I", "value": f"{WEB}:1"}]}]}},
        [("c", "spec.containers[0].env[0].value", f"{WEB}:1")],
    ),
    row(
        "env with repository and tag apart",
        "Pod",
        {
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "x",
                        "env": [{"name": "SIDE_REPO", "value": WEB}, {"name": "SIDE_TAG", "value": "1"}],
                    }
                ]
            }
        },
        [("c", "spec.containers[0].env[0].value", f"{WEB}:1")],
    ),
    row(
        "args and command",
        "Pod",
        {
            "spec": {
                "containers": [
                    {
                        "name": "c",
                        "image": "x",
                        "command": ["run", f"{WEB}:1"],
                        "args": ["-v", f"--images={WEB}:2,nginx,{WEB}@{DIGEST}"],
                    }
                ]
            }
        },
        [
            ("c", "spec.containers[0].command[1]", f"{WEB}:1"),
            ("c", "spec.containers[0].args[1]", f"{WEB}:2"),
            ("c", "spec.containers[0].args[1]", f"{WEB}@{DIGEST}"),
        ],
    ),
    row(
        "env with a variable as tag",
        "Pod",
        {
            "spec": {
                "containers": [{"name": "c", "image": "x", "env": [{"name": "I", "value": f"{WEB}:$(TAG)"}]}],
            }
        },
        [("c", "spec.containers[0].env[0].value", OPEN)],
    ),
    row(
        "annotation",
        "Pod",
        {"metadata": META | {"annotations": {"mesh.example/proxy": f"{WEB}:1"}}},
        [("", "metadata.annotations[mesh.example/proxy]", f"{WEB}:1")],
    ),
    row(
        "annotation with JSON",
        "Pod",
        {"metadata": META | {"annotations": {"a": json.dumps({"containers": [{"name": "p", "image": f"{WEB}:1"}]})}}},
        [("p", "metadata.annotations.a", f"{WEB}:1")],
    ),
]

WORKLOADS = [
    *(
        row(f"{name} at no replicas", name, {"spec": {"replicas": 0, **template()}}, IN_TEMPLATE)
        for name in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController")
    ),
    row("job", "Job", {"spec": template()}, IN_TEMPLATE),
    row(
        "suspended cron job",
        "CronJob",
        {"spec": {"suspend": True, "jobTemplate": {"spec": template()}}},
        [("c", "spec.jobTemplate.spec.template.spec.containers[0].image", f"{WEB}:1")],
    ),
    row(
        "controller revision",
        "ControllerRevision",
        {"data": {"spec": template()}},
        [("c", "data.spec.template.spec.containers[0].image", f"{WEB}:1")],
    ),
    row(
        "controller revision of another operator",
        "ControllerRevision",
        {"data": {"spec": {"image": f"{WEB}:1"}}},
        [("", "data.spec.image", f"{WEB}:1")],
    ),
    row(
        "pod template",
        "PodTemplate",
        {"template": {"spec": spec()}},
        [("c", "template.spec.containers[0].image", f"{WEB}:1")],
    ),
]

CUSTOM = [
    row("argo rollout", "Rollout", {"spec": template()}, IN_TEMPLATE),
    row(
        "argo workflow",
        "Workflow",
        {"spec": {"templates": [{"name": "a", "script": {"image": f"{WEB}:1", "source": f"docker pull {WEB}:2\nls"}}]}},
        [("", "spec.templates[0].script.image", f"{WEB}:1"), ("", "spec.templates[0].script.source", f"{WEB}:2")],
    ),
    row(
        "argo workflow parameters",
        "Workflow",
        {"spec": {"arguments": {"parameters": [{"name": "image", "value": WEB}, {"name": "tag", "value": "1"}]}}},
        [("", "spec.arguments.parameters[0].value", f"{WEB}:1")],
    ),
    row(
        "tekton task",
        "Task",
        {"spec": {"stepTemplate": {"image": f"{WEB}:1"}, "steps": [{"name": "s", "image": f"{WEB}:2"}]}},
        [("", "spec.stepTemplate.image", f"{WEB}:1"), ("s", "spec.steps[0].image", f"{WEB}:2")],
    ),
    row(
        "keda scaled job",
        "ScaledJob",
        {"spec": {"jobTargetRef": template()}},
        [("c", "spec.jobTargetRef.template.spec.containers[0].image", f"{WEB}:1")],
    ),
    row(
        "knative revision, in its status",
        "Revision",
        {"status": {"containerStatuses": [{"name": "c", "imageDigest": f"{WEB}@{DIGEST}"}]}},
        [("", "status.containerStatuses[0].imageDigest", f"{WEB}@{DIGEST}")],
    ),
    row(
        "flux helm release",
        "HelmRelease",
        {"spec": {"values": {"image": {"repository": WEB, "tag": "1"}}}},
        [("", "spec.values.image.{repository,tag}", f"{WEB}:1")],
    ),
    row(
        "flux oci repository",
        "OCIRepository",
        {"spec": {"url": f"oci://{WEB}", "ref": {"tag": "1"}}},
        [("", "spec.{url,ref}", f"{WEB}:1")],
    ),
    row(
        "flux oci repository, any version",
        "OCIRepository",
        {"spec": {"url": f"oci://{WEB}", "ref": {"semver": ">=1.0"}}},
        [("", "spec.{url,ref}", OPEN)],
    ),
    row(
        "argo cd application",
        "Application",
        {"spec": {"source": {"repoURL": f"{HOST}/charts", "chart": "web", "targetRevision": "1.2"}}},
        [
            ("", "spec.source.{repoURL,targetRevision}", f"{HOST}/charts:1.2"),
            ("", "spec.source.{chart,repoURL,targetRevision}", f"{HOST}/charts/web:1.2"),
        ],
    ),
    row(
        "kustomize images",
        "Kustomization",
        {"spec": {"images": [{"name": "web", "newName": WEB, "newTag": "1"}, {"name": WEB, "digest": DIGEST}]}},
        [
            ("", "spec.images[0].{newName,newTag}", f"{WEB}:1"),
            ("", "spec.images[1].{name,digest}", f"{WEB}@{DIGEST}"),
        ],
    ),
    row(
        "anything, at any depth, in a key as well",
        "Thing",
        {"a": [[{"b": {f"{WEB}:1": True}}]]},
        [("", f"a[0][0].b[{WEB}:1]", f"{WEB}:1")],
    ),
]
