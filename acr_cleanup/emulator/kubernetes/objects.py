"""Builds Kubernetes objects in the shape in which a real API server returns them, a line each."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

JSON = dict[str, Any]
# Image IDs of a pod: one per container, or by image for every kind of container.
ImageIds = Sequence[str] | Mapping[str, str] | None

CREATED = "2026-01-05T08:30:00Z"
_UIDS = uuid.UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")
_WITHOUT_GENERATION = {"ConfigMap", "ControllerRevision", "Namespace", "Node", "Secret"}
# The apiVersion of owners; those of the core group are not named.
_OWNERS = dict.fromkeys(("ReplicaSet", "StatefulSet", "DaemonSet", "Deployment"), "apps/v1")
_OWNERS |= dict.fromkeys(("Job", "CronJob"), "batch/v1")


def uid(kind: str, namespace: str | None, name: str) -> str:
    """The same object always has the same uid, so that owners can be named before they exist."""
    return str(uuid.uuid5(_UIDS, f"{kind}/{namespace or ''}/{name}"))


def template_hash(value: object) -> str:
    """A short stable hash, as controllers append to the names of what they create."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def image_id(image: str) -> str:
    """The imageID that a kubelet would report: the digest in the image, or one made up from its name."""
    name, _, digest = image.partition("@")
    path, slash, last = name.rpartition("/")
    repository = f"{path}{slash}{last.partition(':')[0]}"
    return f"{repository}@{digest or 'sha256:' + hashlib.sha256(image.encode()).hexdigest()}"


def metadata(
    kind: str,
    namespace: str | None,
    name: str,
    *,
    owner: tuple[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    manager: str = "kube-controller-manager",
    owner_api_version: str | None = None,
) -> JSON:
    """Object metadata with uid and managedFields; `owner` is (kind, name) of its controller."""
    result: JSON = {"name": name}
    if namespace is not None:
        result["namespace"] = namespace
    result["uid"] = uid(kind, namespace, name)
    if kind not in _WITHOUT_GENERATION:
        result["generation"] = 1
    result["creationTimestamp"] = CREATED
    if labels:
        result["labels"] = dict(labels)
    if annotations:
        result["annotations"] = dict(annotations)
    if owner is not None:
        owner_kind, owner_name = owner
        result["ownerReferences"] = [
            {
                "apiVersion": owner_api_version or _OWNERS.get(owner_kind, "v1"),
                "kind": owner_kind,
                "name": owner_name,
                "uid": uid(owner_kind, namespace, owner_name),
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    fields = {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {}}}
    result["managedFields"] = [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": CREATED,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
    ]
    return result


def _container(name: str, image: str) -> JSON:
    return {
        "name": name,
        "image": image,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def _names(prefix: str, count: int) -> list[str]:
    return [prefix if index == 0 else f"{prefix}-{index}" for index in range(count)]


def pod_spec(images: Sequence[str], init: Sequence[str] = (), *, restart: str = "Always") -> JSON:
    """The spec of a pod template."""
    spec: JSON = {}
    if init:
        spec["initContainers"] = [_container(*pair) for pair in zip(_names("init", len(init)), init, strict=True)]
    spec["containers"] = [_container(*pair) for pair in zip(_names("main", len(images)), images, strict=True)]
    return spec | {
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def _template(images: Sequence[str], init: Sequence[str], labels: Mapping[str, str], restart: str = "Always") -> JSON:
    return {"metadata": {"labels": dict(labels)}, "spec": pod_spec(images, init, restart=restart)}


def _status(name: str, image: str, reported: str, phase: str, *, done: bool = False) -> JSON:
    state: JSON
    if phase == "Pending":
        state = {"waiting": {"reason": "ImagePullBackOff"}}
    elif done or phase in {"Succeeded", "Failed"}:
        code, reason = (1, "Error") if phase == "Failed" and not done else (0, "Completed")
        times = {"startedAt": CREATED, "finishedAt": CREATED}
        state = {"terminated": {"exitCode": code, "reason": reason, **times}}
    else:
        state = {"running": {"startedAt": CREATED}}
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": "running" in state,
        "restartCount": 0,
        "image": image,
        "imageID": reported,
        "started": "running" in state,
    }


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
    """A pod with status. A pending one reports no image IDs; an unscheduled one is `phase="Pending", node=""`."""
    spec = pod_spec(images, init, restart="Never" if owner and owner[0] == "Job" else "Always")
    if ephemeral:
        debuggers = zip(_names("debugger", len(ephemeral)), ephemeral, strict=True)
        # Ephemeral containers may not ask for resources.
        spec["ephemeralContainers"] = [_container(*pair) | {"resources": {}} for pair in debuggers]
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
                _status(key, image, reported(image), phase, done=phase != "Pending")
                for key, image in zip(_names("init", len(init)), init, strict=True)
            ]
        status["containerStatuses"] = [
            _status(key, image, reported(image, place), phase)
            for place, (key, image) in enumerate(zip(_names("main", len(images)), images, strict=True))
        ]
        if ephemeral:
            status["ephemeralContainerStatuses"] = [
                _status(key, image, reported(image), phase)
                for key, image in zip(_names("debugger", len(ephemeral)), ephemeral, strict=True)
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
    """A Deployment; `ClusterState.run` adds its ReplicaSet and pods."""
    spec: JSON = {
        "replicas": replicas,
        "selector": _selector(name),
        "template": _template(images, init, {"app": name}),
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
    """A ReplicaSet; with `replicas=0` and an owner it is what a rollback of its Deployment would start."""
    labels = {"app": owner[1] if owner else name, "pod-template-hash": name.rpartition("-")[2]}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": _template(images, init, labels)}
    status = {"replicas": replicas, "observedGeneration": 1}
    notes = {"deployment.kubernetes.io/revision": str(revision)} if owner else None
    more: JSON = {"owner": owner, "annotations": notes, "labels": labels}
    return _workload("apps/v1", "ReplicaSet", namespace, name, spec, status, **more)


def statefulset(
    namespace: str, name: str, images: Sequence[str], *, replicas: int = 1, init: Sequence[str] = ()
) -> JSON:
    """A StatefulSet."""
    spec = {
        "replicas": replicas,
        "selector": _selector(name),
        "template": _template(images, init, {"app": name}),
        "serviceName": name,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 10,
    }
    status = {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas, "collisionCount": 0}
    return _workload("apps/v1", "StatefulSet", namespace, name, spec, status)


def daemonset(namespace: str, name: str, images: Sequence[str], *, init: Sequence[str] = ()) -> JSON:
    """A DaemonSet."""
    spec = {
        "selector": _selector(name),
        "template": _template(images, init, {"app": name}),
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "revisionHistoryLimit": 10,
    }
    status = {"currentNumberScheduled": 2, "numberMisscheduled": 0, "desiredNumberScheduled": 2, "numberReady": 2}
    return _workload("apps/v1", "DaemonSet", namespace, name, spec, status)


def controllerrevision(
    namespace: str, name: str, images: Sequence[str], *, owner: tuple[str, str], revision: int = 1
) -> JSON:
    """One step in the history of a StatefulSet or DaemonSet: what a rollback would start."""
    template = {"$patch": "replace", **_template(images, (), {"app": owner[1]})}
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
    """A Job; `owner=("CronJob", name)` when a CronJob made it."""
    labels = {"app": name, "batch.kubernetes.io/job-name": name, "job-name": name}
    spec = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 0,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid("Job", namespace, name)}},
        "template": _template(images, init, labels, "Never"),
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
    """A CronJob that is not running now."""
    job_spec = {"backoffLimit": 1, "template": _template(images, init, {"app": name}, "Never")}
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
    """A ReplicationController."""
    spec = {"replicas": replicas, "selector": {"app": name}, "template": _template(images, (), {"app": name})}
    return _workload("v1", "ReplicationController", namespace, name, spec, {"replicas": replicas})


def podtemplate(namespace: str, name: str, images: Sequence[str]) -> JSON:
    """A stored PodTemplate."""
    meta = metadata("PodTemplate", namespace, name, labels={"app": name})
    return {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": meta,
        "template": _template(images, (), {"app": name}),
    }


def configmap(namespace: str, name: str, data: Mapping[str, str]) -> JSON:
    """A ConfigMap."""
    meta = metadata("ConfigMap", namespace, name)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": dict(data)}


def custom_object(api_version: str, kind: str, namespace: str | None, name: str, spec: JSON) -> JSON:
    """Any custom resource; `ClusterState.add` declares its kind when no definition does."""
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata(kind, namespace, name), "spec": spec}


def definition(
    group: str, kind: str, plural: str, *, versions: Sequence[str] = ("v1",), namespaced: bool = True
) -> JSON:
    """A CustomResourceDefinition that serves `versions`, the preferred one first."""
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
    The object in which Helm stores one revision of a release: base64 of gzip of JSON, and that once more in base64 for a Secret.

    `hooks` are the hooks' manifests, `values` the defaults of the chart, `config` what the release overrides of them.
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
