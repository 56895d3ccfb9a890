"""Rewriting that is learnt from pods: a template names another registry, and its pods pull from ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from acr_cleanup.clusters.images.mirrors import mirrored_mentions
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from tests.helpers.cluster_objects import OURS, kept
from tests.helpers.mention_builders import X, obj

Owner = tuple[str, str]


def pod(image: str, owner: Owner, *, container: str = "main", template_hash: str = "") -> dict[str, Any]:
    spec = {"containers": [{"name": container, "image": image}]}
    return obj(
        "Pod",
        {"spec": spec},
        api="v1",
        name=f"{owner[1]}-x",
        ownerReferences=[{"kind": owner[0], "name": owner[1], "controller": True}],
        labels={"pod-template-hash": template_hash},
    )


def workload(kind: str, name: str, image: str, owner: Owner | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}
    api = {"CronJob": "batch/v1", "Job": "batch/v1", "Rollout": "argoproj.io/v1alpha1"}.get(kind, "apps/v1")
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    content = {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec
    return obj(kind, {"spec": content}, api=api, name=name, ownerReferences=owners)


def read(objects: list[dict[str, Any]], names: Names) -> Findings:
    found = Findings()
    for value in objects:
        same = (kind for kind in KINDS if (kind.api_version, kind.name) == (value["apiVersion"], value["kind"]))
        group, _, version = value["apiVersion"].rpartition("/")
        kind = next(same, Kind(value["kind"], "things", group, version=version))
        found.add(image_uses(value, kind, "prod", names))
    found.mentions.extend(mirrored_mentions(found, names))
    return found


DEPLOYED = ("ReplicaSet", "web-abc")
DIGEST = "sha256:" + "7" * 64
REWRITTEN: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "a folder for a host": (
        [
            workload("Deployment", "web", "nginx:1.25"),
            pod(f"{X}/hub/library/nginx:1.25", DEPLOYED, template_hash="abc"),
        ],
        "docker.io/library/redis",
        "hub/library/redis",
    ),
    "without `library`": (
        [workload("Deployment", "web", "nginx:1.25"), pod(f"{X}/nginx:1.25", DEPLOYED, template_hash="abc")],
        "redis",
        "redis",
    ),
    "without an organisation": (
        [workload("StatefulSet", "db", "quay.io/org/db:1"), pod(f"{X}/db:1", ("StatefulSet", "db"))],
        "quay.io/org/tool",
        "tool",
    ),
    "the host as a folder": (
        [workload("StatefulSet", "db", "quay.io/org/db:1"), pod(f"{X}/quay.io/org/db:1", ("StatefulSet", "db"))],
        "quay.io/other/tool",
        "quay.io/other/tool",
    ),
    "a tag replaced by a digest": (
        [
            workload("Deployment", "web", "nginx:1"),
            pod(f"{X}/hub/library/nginx@{DIGEST}", DEPLOYED, template_hash="abc"),
        ],
        "redis",
        "hub/library/redis",
    ),
    "a tag replaced by that of a patched image": (
        [workload("Deployment", "web", "nginx:1"), pod(f"{X}/hub/library/nginx:1-a", DEPLOYED, template_hash="abc")],
        "redis",
        "hub/library/redis",
    ),
    "a Rollout, whose pods seem to be a Deployment's": (
        [workload("Rollout", "web", "quay.io/org/web:1"), pod(f"{X}/m/org/web:1", DEPLOYED, template_hash="abc")],
        "quay.io/org/tool",
        "m/org/tool",
    ),
    "a CronJob, whose pods are a Job's": (
        [workload("CronJob", "nightly", "quay.io/org/a:1"), pod(f"{X}/m/org/a:1", ("Job", "nightly-28391"))],
        "quay.io/org/tool",
        "m/org/tool",
    ),
    "a StatefulSet of an operator": (
        [
            workload("StatefulSet", "prometheus-k8s", "quay.io/org/a:1", ("Prometheus", "k8s")),
            pod(f"{X}/m/org/a:1", ("StatefulSet", "prometheus-k8s")),
        ],
        "quay.io/org/tool",
        "m/org/tool",
    ),
}


@pytest.mark.parametrize("title", REWRITTEN)
def test_learnt_rewriting_keeps_idle_workloads_image(title: str) -> None:
    objects, upstream, repository = REWRITTEN[title]
    names = Names.of(OURS, [repository])
    found = read([*objects, workload("CronJob", "idle", f"{upstream}:gold")], names)
    assert kept(found, repository, "gold", "tin") == {"gold"}


NOT_REWRITTEN: Mapping[str, list[dict[str, Any]]] = {
    "another container of the pod": [
        workload("Deployment", "web", "quay.io/shop/web:1"),
        pod(f"{X}/shop/web:1", DEPLOYED, container="side", template_hash="abc"),
    ],
    "another workload": [
        workload("Deployment", "web", "quay.io/shop/web:1"),
        pod(f"{X}/shop/web:1", ("ReplicaSet", "api-abc"), template_hash="abc"),
    ],
    "another image": [
        workload("Deployment", "web", "quay.io/shop/web:1"),
        pod(f"{X}/shop/other:1", DEPLOYED, template_hash="abc"),
    ],
    "another version of an image with the same last component": [
        workload("Deployment", "web", "quay.io/acme/web:1"),
        pod(f"{X}/shop/web:2", DEPLOYED, template_hash="abc"),
    ],
}


@pytest.mark.parametrize("title", NOT_REWRITTEN)
def test_coincidence_teaches_no_rewriting(title: str) -> None:
    names = Names.of(OURS, ["shop/tool"])
    idle = [workload("CronJob", "one", "quay.io/shop/tool:gold"), workload("CronJob", "two", "quay.io/acme/tool:gold")]
    assert kept(read([*NOT_REWRITTEN[title], *idle], names), "shop/tool", "gold", "tin") == set()
