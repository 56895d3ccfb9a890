"""The Kubernetes object that uses or mentions an image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """A Kubernetes object that names or runs images. `namespace` is empty for cluster-scoped objects."""

    cluster: str
    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        inside = f"{self.namespace}/" if self.namespace else ""
        return f"{self.cluster}/{inside}{self.kind}/{self.name}"
