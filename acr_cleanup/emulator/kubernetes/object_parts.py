"""The parts that Kubernetes objects share: names, metadata, pod specs and container statuses."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]
# Image IDs of a pod: one for each main container in order, or by image for containers of any type.
ImageIds = Sequence[str] | Mapping[str, str] | None

CREATED = "2026-01-05T08:30:00Z"
_UIDS = uuid.UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")
_WITHOUT_GENERATION = {"ConfigMap", "ControllerRevision", "Namespace", "Node", "Secret"}
# The apiVersion of owners. Owners that are not listed are of the core group.
_OWNERS = dict.fromkeys(("ReplicaSet", "StatefulSet", "DaemonSet", "Deployment"), "apps/v1")
_OWNERS |= dict.fromkeys(("Job", "CronJob"), "batch/v1")


def uid(kind: str, namespace: str | None, name: str) -> str:
    """
    Return a uid that depends on kind, namespace and name alone.

    So an object can name an owner that does not exist yet.
    """
    return str(uuid.uuid5(_UIDS, f"{kind}/{namespace or ''}/{name}"))


def template_hash(value: object) -> str:
    """Return a short stable hash, such as controllers append to the names of their objects."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


def image_id(image: str) -> str:
    """Return the imageID of a kubelet: with the digest in the image, else a hash of its name."""
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
    """
    Return the metadata of an object, with uid and managedFields.

    `owner`: the kind and the name of its controller.
    """
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


def container(name: str, image: str) -> JSON:
    """Return the spec of one container."""
    return {
        "name": name,
        "image": image,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def container_names(prefix: str, count: int) -> list[str]:
    """Return `prefix`, `prefix-1`, `prefix-2`, and so on."""
    return [prefix if index == 0 else f"{prefix}-{index}" for index in range(count)]


def pod_spec(images: Sequence[str], init: Sequence[str] = (), *, restart: str = "Always") -> JSON:
    """
    Return a pod spec.

    `init`: the images of the init containers; `restart`: the restart policy.
    """
    spec: JSON = {}
    if init:
        spec["initContainers"] = [
            container(*pair) for pair in zip(container_names("init", len(init)), init, strict=True)
        ]
    spec["containers"] = [container(*pair) for pair in zip(container_names("main", len(images)), images, strict=True)]
    return spec | {
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }


def pod_template(
    images: Sequence[str], init: Sequence[str], labels: Mapping[str, str], restart: str = "Always"
) -> JSON:
    """Return a pod template."""
    return {"metadata": {"labels": dict(labels)}, "spec": pod_spec(images, init, restart=restart)}


def container_status(name: str, image: str, reported: str, phase: str, *, done: bool = False) -> JSON:
    """
    Return the status of one container;

    `done`: it has succeeded, also in a pod that still runs.
    """
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
