"""Builders of Kubernetes objects, in the shape in which a real API server returns them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from acr_cleanup.emulator.kubernetes.object_parts import (
    CREATED,
    JSON,
    ImageIds,
    container,
    container_names,
    container_status,
    image_id,
    metadata,
    pod_spec,
    pod_template,
    uid,
)


def pod(
    namespace: str,
    name: str,
    images: Sequence[str],
    *,
    owner: tuple[str, str] | None = None,
    phase: str = "Running",
    init: Sequence[str] = (),
    ephemeral: Sequence[str] = (),
    image_ids: ImageIds = None,
    labels: Mapping[str, str] | None = None,
    node: str = "aks-nodepool1-12345678-vmss000000",
) -> JSON:
    """
    Return a pod with its status. A pending pod reports no image IDs.

    For a pod that is not scheduled, pass `phase="Pending", node=""`.
    """
    spec = pod_spec(images, init, restart="Never" if owner and owner[0] == "Job" else "Always")
    if ephemeral:
        debuggers = zip(container_names("debugger", len(ephemeral)), ephemeral, strict=True)
        # The API server refuses resource requests of ephemeral containers.
        spec["ephemeralContainers"] = [container(*pair) | {"resources": {}} for pair in debuggers]
    if node:
        spec["nodeName"] = node
    spec |= {"priority": 0, "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority"}

    by_image = dict(image_ids) if isinstance(image_ids, Mapping) else {}
    by_place = list(image_ids) if isinstance(image_ids, Sequence) else []

    def reported(image: str, place: int | None = None) -> str:
        if place is not None and place < len(by_place):
            return by_place[place]
        return by_image.get(image, "" if phase == "Pending" else image_id(image))

    ready = "True" if phase == "Running" else "False"
    conditions = [("Initialized", ready), ("Ready", ready), ("ContainersReady", ready), ("PodScheduled", "True")]
    status: JSON = {
        "phase": phase,
        "conditions": [
            {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": CREATED}
            for kind, value in conditions
        ],
    }
    if node:
        status |= {"hostIP": "10.224.0.4", "podIP": "10.244.0.10", "podIPs": [{"ip": "10.244.0.10"}]}
        status["startTime"] = CREATED
        if init:
            status["initContainerStatuses"] = [
                container_status(key, image, reported(image), phase, done=phase != "Pending")
                for key, image in zip(container_names("init", len(init)), init, strict=True)
            ]
        status["containerStatuses"] = [
            container_status(key, image, reported(image, place), phase)
            for place, (key, image) in enumerate(zip(container_names("main", len(images)), images, strict=True))
        ]
        if ephemeral:
            status["ephemeralContainerStatuses"] = [
                container_status(key, image, reported(image), phase)
                for key, image in zip(container_names("debugger", len(ephemeral)), ephemeral, strict=True)
            ]
    status["qosClass"] = "Burstable"
    meta = metadata("Pod", namespace, name, owner=owner, labels=labels or {"app": name})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _workload(api_version: str, kind: str, namespace: str, name: str, spec: JSON, status: JSON, **more: Any) -> JSON:
    meta = metadata(kind, namespace, name, labels={"app": name} | more.pop("labels", {}), **more)
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec, "status": status}


def _selector(name: str) -> JSON:
    return {"matchLabels": {"app": name}}


def deployment(
    namespace: str,
    name: str,
    images: Sequence[str],
    *,
    replicas: int = 1,
    init: Sequence[str] = (),
    paused: bool = False,
    revision: int = 1,
) -> JSON:
    """Return a Deployment. `ClusterState.run` adds its ReplicaSet and pods."""
    spec: JSON = {
        "replicas": replicas,
        "selector": _selector(name),
        "template": pod_template(images, init, {"app": name}),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    if paused:
        spec["paused"] = True
    status = {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas}
    notes = {"deployment.kubernetes.io/revision": str(revision)}
    return _workload("apps/v1", "Deployment", namespace, name, spec, status, annotations=notes)


def replicaset(
    namespace: str,
    name: str,
    images: Sequence[str],
    *,
    replicas: int = 1,
    init: Sequence[str] = (),
    owner: tuple[str, str] | None = None,
    revision: int = 1,
) -> JSON:
    """
    Return a ReplicaSet.

    With `replicas=0` and an owner it is the target of a rollback of its Deployment.
    """
    labels = {"app": owner[1] if owner else name, "pod-template-hash": name.rpartition("-")[2]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod_template(images, init, labels)}
    status = {"replicas": replicas, "observedGeneration": 1}
    notes = {"deployment.kubernetes.io/revision": str(revision)} if owner else None
    more: JSON = {"owner": owner, "annotations": notes, "labels": labels}
    return _workload("apps/v1", "ReplicaSet", namespace, name, spec, status, **more)


def statefulset(
    namespace: str, name: str, images: Sequence[str], *, replicas: int = 1, init: Sequence[str] = ()
) -> JSON:
    """Return a StatefulSet."""
    spec = {
        "replicas": replicas,
        "selector": _selector(name),
        "template": pod_template(images, init, {"app": name}),
        "serviceName": name,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 10,
    }
    status = {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "collisionCount": 0}
    return _workload("apps/v1", "StatefulSet", namespace, name, spec, status)


def daemonset(namespace: str, name: str, images: Sequence[str], *, init: Sequence[str] = ()) -> JSON:
    """Return a DaemonSet."""
    spec = {
        "selector": _selector(name),
        "template": pod_template(images, init, {"app": name}),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "revisionHistoryLimit": 10,
    }
    status = {"currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 2, "numberReady": 2}
    return _workload("apps/v1", "DaemonSet", namespace, name, spec, status)


def controllerrevision(
    namespace: str, name: str, images: Sequence[str], *, owner: tuple[str, str], revision: int = 1
) -> JSON:
    """Return one revision of a StatefulSet or DaemonSet: the target of a rollback."""
    template = {"$patch": "replace", **pod_template(images, (), {"app": owner[1]})}
    labels = {"app": owner[1], "controller-revision-hash": name.rpartition("-")[2]}
    meta = metadata("ControllerRevision", namespace, name, owner=owner, labels=labels)
    data = {"spec": {"template": template}}
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "data": data, "revision": revision}


def job(
    namespace: str,
    name: str,
    images: Sequence[str],
    *,
    init: Sequence[str] = (),
    suspend: bool = False,
    owner: tuple[str, str] | None = None,
) -> JSON:
    """Return a Job. Pass `owner=("CronJob", name)` if a CronJob created it."""
    labels = {"app": name, "batch.kubernetes.io/job-name": name, "job-name": name}
    spec = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 0,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid("Job", namespace, name)}},
        "template": pod_template(images, init, labels, "Never"),
        "completionMode": "NonIndexed",
        "suspend": suspend,
    }
    return _workload(
        "batch/v1", "Job", namespace, name, spec, {"startTime": CREATED, "ready": 0}, owner=owner, labels=labels
    )


def cronjob(
    namespace: str,
    name: str,
    images: Sequence[str],
    *,
    schedule: str = "15 3 * * *",
    suspend: bool = False,
    init: Sequence[str] = (),
) -> JSON:
    """Return a CronJob without a running Job."""
    job_spec = {"backoffLimit": 1, "template": pod_template(images, init, {"app": name}, "Never")}
    spec = {
        "schedule": schedule,
        "concurrencyPolicy": "Allow",
        "suspend": suspend,
        "jobTemplate": {"metadata": {}, "spec": job_spec},
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    }
    return _workload("batch/v1", "CronJob", namespace, name, spec, {"lastScheduleTime": CREATED})


def replicationcontroller(namespace: str, name: str, images: Sequence[str], *, replicas: int = 1) -> JSON:
    """Return a ReplicationController."""
    spec = {"replicas": replicas, "selector": {"app": name}, "template": pod_template(images, (), {"app": name})}
    return _workload("v1", "ReplicationController", namespace, name, spec, {"replicas": replicas})


def podtemplate(namespace: str, name: str, images: Sequence[str]) -> JSON:
    """Return a PodTemplate object."""
    meta = metadata("PodTemplate", namespace, name, labels={"app": name})
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": meta,
        "template": pod_template(images, (), {"app": name}),
    }


def configmap(namespace: str, name: str, data: Mapping[str, str]) -> JSON:
    """Return a ConfigMap."""
    meta = metadata("ConfigMap", namespace, name)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(data)}


def custom_object(api_version: str, kind: str, namespace: str | None, name: str, spec: JSON) -> JSON:
    """
    Return a custom resource.

    `ClusterState.add` adds a definition of its kind if the cluster has none.
    """
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata(kind, namespace, name), "spec": spec}


def definition(
    group: str, kind: str, plural: str, *, versions: Sequence[str] = ("v1",), namespaced: bool = True
) -> JSON:
    """Return a CustomResourceDefinition that serves `versions`; the first is the preferred one."""
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    spec = {
        "group": group,
        "names": names,
        "scope": "Namespaced" if namespaced else "Cluster",
        "versions": [{"name": name, "served": True, "storage": name == versions[0]} for name in versions],
        "conversion": {"strategy": "None"},
    }
    meta = metadata("CustomResourceDefinition", None, f"{plural}.{group}", manager="kube-apiserver")
    status = {"acceptedNames": names, "storedVersions": [versions[0]]}
    kind_of_definition = "CustomResourceDefinition"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": kind_of_definition,
        "metadata": meta,
        "spec": spec,
        "status": status,
    }


def helm_release(
    namespace: str,
    name: str,
    revision: int,
    manifest: str,
    *,
    status: str = "deployed",
    hooks: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    kind: Literal["Secret", "ConfigMap"] = "Secret",
) -> JSON:
    """
    Return the object in which Helm stores one revision of a release.

    The content is base64 of gzip of JSON. In a Secret it is encoded in base64 once more.
    `hooks`: the manifests of the hooks; `values`: the defaults of the chart; `config`: the values
    that the release overrides.
    https://github.com/helm/helm/blob/main/pkg/storage/driver/secrets.go
    """
    info = {
        "first_deployed": CREATED,
        "last_deployed": CREATED,
        "deleted": "",
        "description": "Upgrade complete",
        "status": status,
    }
    chart = {
        "metadata": {"name": name, "version": f"1.{revision}.0", "apiVersion": "v2", "type": "application"},
        "lock": None,
        "templates": [{"name": "templates/all.yaml", "data": base64.b64encode(manifest.encode()).decode()}],
        "values": dict(values or {}),
        "schema": None,
        "files": None,
    }
    release: JSON = {"name": name, "info": info, "chart": chart}
    if config:
        release["config"] = dict(config)
    if manifest:
        release["manifest"] = manifest
    if hooks:
        release["hooks"] = [
            {"name": f"{name}-{index}", "kind": "Job", "path": "templates/hook.yaml", "manifest": text, "last_run": {}}
            for index, text in enumerate(hooks)
        ]
    release |= {"version": revision, "namespace": namespace}
    labels = {"modifiedAt": "1767601800", "name": name, "owner": "helm", "status": status, "version": str(revision)}
    meta = metadata(kind, namespace, f"sh.helm.release.v1.{name}.v{revision}", labels=labels, manager="helm")
    packed = gzip.compress(json.dumps(release, separators=(",", ":")).encode(), mtime=0)
    stored: JSON = {"apiVersion": "v1", "kind": kind, "metadata": meta}
    text = base64.b64encode(packed)
    if kind == "ConfigMap":
        return stored | {"data": {"release": text.decode()}}
    return stored | {"data": {"release": base64.b64encode(text).decode()}, "type": "helm.sh/release.v1"}
