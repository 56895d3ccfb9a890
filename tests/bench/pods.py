"""
Pages of realistic pods from an API server: 4 to 6 kB each, in Deployments of ten, of two
registries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

PAGE = 500
REGISTRY = "contoso.azurecr.io"
_REPLICAS = 10


def pages(count: int) -> Iterator[bytes]:
    """`count` pods, in pages of 500."""
    for first in range(0, count, PAGE):
        items = [_pod(number) for number in range(first, min(first + PAGE, count))]
        metadata: dict[str, Any] = {"resourceVersion": "774411"}
        if first + PAGE < count:
            metadata |= {"continue": f"page-{first + PAGE}", "remainingItemCount": count - first - PAGE}
        page = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}
        yield json.dumps(page, separators=(",", ":")).encode()


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _pod(number: int) -> dict[str, Any]:
    deployment = number // _REPLICAS
    team, name = f"team-{deployment % 40}", f"service-{deployment}"
    # Every tenth workload uses an image of another registry.
    host = "mcr.microsoft.com" if deployment % 10 == 0 else REGISTRY
    image = f"{host}/{team}/{name}:1.{deployment % 50}.0"
    proxy = f"{REGISTRY}/mesh/proxy:1.22.1"
    template_hash = hashlib.sha256(name.encode()).hexdigest()[:10]
    uid = hashlib.sha256(str(number).encode()).hexdigest()
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": f"{name}-production",
        "pod-template-hash": template_hash,
        "team": team,
    }
    return {
        "metadata": {
            "name": f"{name}-{template_hash}-{uid[:5]}",
            "generateName": f"{name}-{template_hash}-",
            "namespace": team,
            "uid": f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:32]}",
            "resourceVersion": str(700000 + number),
            "creationTimestamp": "2026-11-20T08:15:00Z",
            "labels": labels,
            "annotations": {"prometheus.io/scrape": "true", "checksum/config": uid},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{name}-{template_hash}",
                    "uid": uid[:36],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [_managed_fields("kube-controller-manager", labels), _managed_fields("kubelet", {})],
        },
        "spec": {
            "volumes": [
                {"name": "config", "configMap": {"name": f"{name}-config", "defaultMode": 420}},
                {
                    "name": "kube-api-access",
                    "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]},
                },
            ],
            "initContainers": [_container("wait", f"{REGISTRY}/tools/wait:2", 0)],
            "containers": [_container("main", image, 8), _container("proxy", proxy, 3)],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": name,
            "nodeName": f"aks-pool-{number % 300:06}",
            "tolerations": [
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            ],
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-11-20T08:15:03Z"}
                for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
            ],
            "hostIP": "10.240.0.4",
            "podIP": f"10.244.{number % 250}.{number % 240}",
            "startTime": "2026-11-20T08:15:00Z",
            "initContainerStatuses": [_status("wait", f"{REGISTRY}/tools/wait:2")],
            "containerStatuses": [_status("main", image), _status("proxy", proxy)],
            "qosClass": "Burstable",
        },
    }


def _container(name: str, image: str, variables: int) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{index}", "value": f"value-{index}"} for index in range(variables)],
        "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "50m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config", "readOnly": True}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }


def _status(name: str, image: str) -> dict[str, Any]:
    return {
        "name": name,
        "state": {"running": {"startedAt": "2026-11-20T08:15:02Z"}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": image,
        "imageID": f"{image.rpartition(':')[0]}@{_digest(image)}",
        "containerID": f"containerd://{_digest(name + image)[7:]}",
        "started": True,
    }


def _managed_fields(manager: str, labels: dict[str, str]) -> dict[str, Any]:
    fields = {"f:metadata": {"f:labels": {f"f:{label}": {} for label in labels}}, "f:spec": {"f:containers": {}}}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-11-20T08:15:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
