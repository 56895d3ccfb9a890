"""
The text of an object with a pod spec, without what differs between replicas. Pure.

A run command blanks these differences, and transfers only some fields. Both ways of reading a cluster
use `readable`, so both find the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from acr_cleanup.clusters.images.object_texts import fields_of
from acr_cleanup.core.references import RegistryHost

STATUS_LISTS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
PARTS = ("spec", "data", "template")
"""The fields that a run command transfers besides the status and some of the metadata."""
_METADATA = ("namespace", "name", "labels", "annotations")
# Values that differ between the replicas of a workload, each after its key.
_OF_REPLICA = re.compile(
    r"(?:nodeName|hostname|claimName|.*/pod-name) [a-z0-9.-]*|.*/pod-index [0-9]*|name kube-api-access[a-z0-9-]*"
    r"|.*cni.* [0-9a-f.:/, ]*"
).fullmatch


def is_of_replica(key: object, value: object) -> bool:
    """Does this field differ between the replicas of a workload, and name no image?"""
    return _OF_REPLICA(f"{key} {value}") is not None


def readable(obj: Mapping[str, Any], registry: RegistryHost, *, is_pod: bool) -> dict[str, Any]:
    """
    Copy an object with a pod spec, without values that cannot be tags.

    In the status, only texts with a host name of the registry are kept, because phases, addresses and
    counts are not tags. The name of a controlled object is generated. `revision` counts rollouts.

    is_pod: remove the images of the status, which the exact reader reads.
    """
    parts = {key: value for key, value in obj.items() if key not in ("status", "revision")}
    if isinstance(metadata := obj.get("metadata"), Mapping):
        owners = metadata.get("ownerReferences")
        controlled = isinstance(owners, list) and any(
            isinstance(owner, Mapping) and owner.get("controller") is True for owner in owners
        )
        parts["metadata"] = {
            key: metadata[key] for key in _METADATA if metadata.get(key) and not (controlled and key == "name")
        }
    blanked = without_replica_values(parts)
    status = _blanked(
        obj.get("status"), lambda _, value: not isinstance(value, str) or not registry.mentioned_in(value)
    )
    if is_pod and isinstance(status, dict):
        for name in STATUS_LISTS:
            for container in status[name] if isinstance(status.get(name), list) else ():
                if isinstance(container, dict):
                    container.pop("image", None)
                    container.pop("imageID", None)
    return blanked | {"status": status} if status else blanked


def without_replica_values(parts: dict[str, Any]) -> dict[str, Any]:
    """Copy these parts of a workload without the values that differ between its replicas."""
    blanked: dict[str, Any] = _blanked(parts, is_of_replica)
    return blanked


def _blanked(tree: Any, is_blank: Callable[[object, object], bool]) -> Any:
    """Copy a tree without the scalars that `is_blank` selects by key and value."""
    holder = {"": tree}
    nodes: list[Any] = [holder]
    copies: dict[int, Any] = {}
    for node in nodes:
        # No field is added or removed, so the walk may change them.
        for key, child in fields_of(node) if isinstance(node, dict) else enumerate(node):
            if key == "matchFields":
                node[key] = None  # names of nodes
            elif isinstance(child, (dict, list)):
                if id(child) not in copies:
                    copies[id(child)] = child.copy()
                    nodes.append(copies[id(child)])
                node[key] = copies[id(child)]
            elif is_blank(key, child):
                node[key] = None
    return holder[""]
