"""The clusters of a golden scenario: workloads that name the manifests of its registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acr_cleanup.emulator import World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.object_parts import image_id
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.roles import CLUSTERS
from tests.helpers.golden_registry import JSON, GoldenRegistry

# The emulator makes the pods or revisions of these kinds, as their controllers would.
_WITH_CONTROLLER = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"})
_DIGEST_BY_NAME = re.compile(r"([a-z0-9][a-z0-9._/-]*[a-z0-9])?((?::[\w.-]+)?)(@?)\{([^{}]+)\}")


@dataclass
class GoldenClusters:
    """
    Adds the clusters of a folder and their workloads to the world.

    `unconfigured`: clusters that exist and that no input names.
    """

    world: World
    registry: GoldenRegistry
    unconfigured: set[str] = field(default_factory=set)

    def add(
        self,
        key: str,
        *,
        workloads: Sequence[JSON] = (),
        stopped: bool = False,
        configured: bool = True,
        forbidden: Sequence[str] = (),
        hidden: Sequence[str] = (),
        denied: Sequence[str] = (),
        **state: Any,
    ) -> None:
        """Add one cluster, as golden/README.md describes its members."""
        cluster = ClusterState(state.pop("name", f"aks-{key}"), resource_group=state.pop("resource_group", f"rg-{key}"))
        for name, value in state.items():
            if not hasattr(cluster, name):
                raise KeyError(f"{self.registry.folder}: a cluster has no attribute {name!r}")
            setattr(cluster, name, value)
        cluster.power_state = "Stopped" if stopped else "Running"
        cluster.forbidden, cluster.hidden = set(forbidden), set(hidden)
        for action in denied:
            self.world.access.withhold(f"{CLUSTERS}/{action}", cluster.resource_id)
        self.world.clusters[key] = cluster
        if not configured:
            self.unconfigured.add(key)
        for workload in workloads:
            self.deploy(key, **workload)

    def deploy(
        self,
        key: str,
        *,
        kind: str,
        name: str,
        images: Sequence[str] = (),
        reports: Mapping[str, str] | None = None,
        history: Sequence[Sequence[str]] = (),
        volumes: Sequence[str] = (),
        api: str = "",
        spec: JSON | None = None,
        data: Mapping[str, str] | None = None,
        revisions: Sequence[Sequence[str]] = (),
        phase: str = "Running",
        **fields: Any,
    ) -> None:
        """Add one workload to a cluster, with the objects that its controller would make."""
        cluster = self.world.clusters[key]
        namespace, _, short = name.rpartition("/")
        images = [self.text(image) for image in images]
        for containers in ("init", "ephemeral"):
            if containers in fields:
                fields[containers] = [self.text(image) for image in fields[containers]]
        reported = {self.text(image): self.text(digest) for image, digest in (reports or {}).items()}
        all_images = (*images, *fields.get("init", ()), *fields.get("ephemeral", ()))
        ids = {image: reported.get(image, self._current_id(image)) for image in all_images}
        if kind == "Pod":
            pod = build.pod(namespace, short, images, image_ids=ids, phase=phase, **fields)
            if volumes:
                pod["spec"]["volumes"] = [
                    {"name": f"volume-{place}", "image": {"reference": self.text(image)}}
                    for place, image in enumerate(volumes)
                ]
            cluster.add(pod)
        elif kind == "ConfigMap":
            cluster.add(build.configmap(namespace, short, {key: self.text(text) for key, text in (data or {}).items()}))
        elif kind == "HelmRelease":
            for number, revision in enumerate(revisions, 1):
                status = "deployed" if number == len(revisions) else "superseded"
                manifest = "\n---\n".join(_helm_manifest(short, self.text(image)) for image in revision)
                cluster.add(build.helm_release(namespace, short, number, manifest, status=status))
        elif api:
            cluster.add(build.custom_object(api, kind, namespace or None, short, self._texts(spec or {})))
        else:
            make = getattr(build, kind.lower())
            earlier = [[self.text(image) for image in revision] for revision in history]
            workload = make(namespace, short, images, **fields)
            if kind in _WITH_CONTROLLER:
                cluster.run(workload, history=earlier, image_ids=ids, phase=phase)
            else:
                cluster.add(workload)

    def _current_id(self, image: str) -> str:
        """The imageID that a kubelet would report if it pulled the image now."""
        host, _, rest = image.partition("/")
        if host != self.registry.state.login_server or "@" in rest:
            return image_id(image)
        repository, _, name = rest.partition(":")
        state = self.registry.state.repositories.get(repository)
        tag = state.tags.get(name or "latest") if state is not None else None
        return f"{host}/{repository}@{tag.digest}" if tag is not None else image_id(image)

    def text(self, written: str) -> str:
        """
        Return a text of a cluster with its digests filled in.

        `REPOSITORY@{name}` and `{repository@name}` are replaced by a digest.
        """

        def digest(match: re.Match[str]) -> str:
            path, tag, at, name = match.groups()
            repository, explicit, other = name.rpartition("@")
            if not explicit:
                repository = (path or "").partition("/")[2]
            return f"{path or ''}{tag}{at}{self.registry.digest(repository, other)}"

        return _DIGEST_BY_NAME.sub(digest, written)

    def _texts(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._texts(item) for key, item in value.items()}
        return [self._texts(item) for item in value] if isinstance(value, list) else value


def _helm_manifest(name: str, image: str) -> str:
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  template:\n    spec:\n"
        f"      containers:\n        - name: main\n          image: {image}\n"
    )
