"""The state of one AKS cluster: its description in ARM, its objects, and its failures."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.discovery import BUILTIN, BUILTIN_BY_KIND, Resource, custom_resource
from acr_cleanup.emulator.kubernetes.object_parts import JSON, ImageIds, metadata, template_hash, uid

Auth = Literal["certificate", "token", "entra", "entra-exec"]

# The application id of the AKS server in Entra ID: the audience of every token for an Entra ID
# cluster, in all clouds.
# https://azure.github.io/kubelogin/concepts/aks.html
AKS_SERVER_APP = "6dae42f8-4368-4678-94ff-3960e28e3630"

DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
_READ_VERBS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class CommandResult:
    """
    The result of a command, as ARM reports it.

    For a command that did not run, `reason` is set and `exit_code` is None.
    """

    exit_code: int | None
    logs: str
    started: datetime
    finished: datetime
    reason: str | None = None


@dataclass(slots=True)
class ClusterState:
    """
    One AKS cluster. A test may change it at any moment; the next request sees the change.

    `auth`: the credentials in its kubeconfig: a client certificate and a token, a token alone, or
    Entra ID in the older (`auth-provider: azure`) or the newer (`exec: kubelogin`) form.
    `reachable`: whether clients outside its network reach the API server. None means: unless it is
    private. The run command always reaches it. Nothing reaches the API server of a stopped cluster.
    """

    name: str
    resource_group: str = "rg-prod"
    subscription_id: str = "00000000-0000-0000-0000-000000000000"
    location: str = "westeurope"
    power_state: Literal["Running", "Stopped"] = "Running"
    provisioning_state: str = "Succeeded"
    kubernetes_version: str = "1.36.2"
    auth: Auth = "certificate"
    azure_rbac: bool = False
    disable_local_accounts: bool = False
    private: bool = False
    # The public name of a private cluster (enablePrivateClusterPublicFQDN).
    public_fqdn_of_private: bool = False
    reachable: bool | None = None
    disable_run_command: bool = False
    # The domain of the cluster's host names; other clouds have other domains.
    domain: str = "azmk8s.io"

    # By resource, named as in errors: "pods", "deployments.apps", "rollouts.argoproj.io".
    objects: dict[str, list[JSON]] = field(default_factory=dict)
    # Resources whose lists answer 403; "*" means all resources.
    forbidden: set[str] = field(default_factory=set)
    # Resources whose lists answer 200 without items. Only an access review shows the missing right.
    hidden: set[str] = field(default_factory=set)
    # Resource -> the number of its next continue tokens that answer 410.
    expire_continue: dict[str, int] = field(default_factory=dict)
    # The most objects on a page, also if `limit` asks for more.
    page_cap: int | None = None
    # Aggregated APIs ("custom.metrics.k8s.io/v1beta1") without a backend.
    dead_apis: set[str] = field(default_factory=set)
    resource_version: int = 1000

    # Changes that the run command makes to the log and the exit code of a command: see
    # run_command.py.
    truncate_log_at: int = 512 * 1024
    exit_code: int | None = None
    empty_log: bool = False
    prefix_line: str | None = None
    run_command_reason: str | None = None
    run_command_seconds: float = 60.0
    # Polls that are answered 202 Running before a result is given.
    run_command_polls: int = 1
    kubectl: Literal["stub", "real"] = "stub"

    # The static tokens of the kubeconfig and of the run command's pod.
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    inside_token: str = field(default_factory=lambda: secrets.token_hex(32))

    # -- names -------------------------------------------------------------------------------------

    @property
    def resource_id(self) -> str:
        """The ARM id. AKS spells `resourcegroups` in lower case."""
        provider = "providers/Microsoft.ContainerService/managedClusters"
        return f"/subscriptions/{self.subscription_id}/resourcegroups/{self.resource_group}/{provider}/{self.name}"

    @property
    def dns_prefix(self) -> str:
        """The first part of both host names."""
        return f"{self.name}-dns-{template_hash(self.resource_id.lower())[:8]}"

    @property
    def fqdn(self) -> str | None:
        """The public host name. A private cluster has one only with `public_fqdn_of_private`."""
        if self.private and not self.public_fqdn_of_private:
            return None
        return f"{self.dns_prefix}.hcp.{self.location}.{self.domain}"

    @property
    def private_fqdn(self) -> str | None:
        """The host name inside the network of a private cluster."""
        if not self.private:
            return None
        zone = uid("Zone", None, self.resource_id)
        return f"{self.dns_prefix}.{zone}.privatelink.{self.location}.{self.domain}"

    @property
    def is_reachable(self) -> bool:
        """Whether a client outside the cluster's network can connect."""
        reachable = not self.private if self.reachable is None else self.reachable
        return reachable and self.power_state == "Running"

    @property
    def is_entra(self) -> bool:
        """Whether users log in with Entra ID."""
        return self.auth in {"entra", "entra-exec"}

    # -- kinds -------------------------------------------------------------------------------------

    def resources(self) -> list[Resource]:
        """
        Return the kinds that the API server serves now: built-in, declared, and of stored objects.
        """
        declared = [custom_resource(definition) for definition in self.objects.get(DEFINITIONS, ())]
        known = [*BUILTIN, *(resource for resource in declared if resource is not None)]
        keys = {resource.key for resource in known}
        for key, objects in self.objects.items():
            if key not in keys and objects:
                known.append(_guess(objects[0], key.partition(".")[0]))
        return known

    def resource_of(self, obj: JSON, plural: str | None = None) -> Resource:
        """Return the kind of an object. The plural of an undeclared kind is made from its name."""
        group = obj["apiVersion"].rpartition("/")[0]
        if (group, obj["kind"]) in BUILTIN_BY_KIND:
            return BUILTIN_BY_KIND[group, obj["kind"]]
        for resource in self.resources():
            if resource.group == group and resource.kind == obj["kind"]:
                return resource
        return _guess(obj, plural or _plural(obj["kind"]))

    def may(self, verb: str, resource: str) -> bool:
        """
        Return whether the user has the right to `verb` on `resource`, such as "cronjobs.batch".
        """
        refused = self.forbidden | self.hidden
        return verb in _READ_VERBS and resource not in refused and "*" not in refused

    # -- objects -----------------------------------------------------------------------------------

    def add(self, *objects: JSON, plural: str | None = None) -> None:
        """Add objects of any kind, with the definitions and the namespaces that they need."""
        for obj in objects:
            resource = self.resource_of(obj, plural)
            if resource.custom and not self._is_declared(resource):
                self.add(
                    build.definition(
                        resource.group,
                        resource.kind,
                        resource.plural,
                        versions=resource.versions,
                        namespaced=resource.namespaced,
                    )
                )
            meta = obj["metadata"]
            if "namespace" in meta:
                self._make_namespace(meta["namespace"])
            self.resource_version += 1
            meta["resourceVersion"] = str(self.resource_version)
            stored = self.objects.setdefault(resource.key, [])
            stored.append(obj)

    def remove(self, resource: str, namespace: str | None, name: str) -> None:
        """Remove one object. Raises LookupError if it does not exist: that is an error of the test."""
        key = (namespace, name)
        kept = [o for o in self.objects[resource] if (o["metadata"].get("namespace"), o["metadata"]["name"]) != key]
        if len(kept) == len(self.objects[resource]):
            raise LookupError(f"{self.name} has no {resource} {namespace}/{name}")
        self.resource_version += 1
        self.objects[resource] = kept

    def pods(self) -> list[JSON]:
        """Return the stored list of pods, which a test may change."""
        return self.objects.setdefault("pods", [])

    def run(
        self,
        *workloads: JSON,
        history: Sequence[Sequence[str]] = (),
        image_ids: ImageIds = None,
        phase: str = "Running",
        nodes: int = 2,
    ) -> list[JSON]:
        """
        Add workloads and the objects that their controllers would create; return all added objects.

        A Deployment gets its ReplicaSet and pods, a StatefulSet or DaemonSet its ControllerRevision
        and pods, a Job or ReplicationController its pods. A CronJob gets nothing.
        `history`: the images of earlier rollouts, oldest first. They become ReplicaSets without
        replicas, or older ControllerRevisions.
        """
        added: list[JSON] = []
        for workload in workloads:
            objects = [workload, *_controlled(workload, history, image_ids, phase, nodes)]
            self.add(*objects)
            added += objects
        return added

    def _is_declared(self, resource: Resource) -> bool:
        names = {definition["metadata"]["name"] for definition in self.objects.get(DEFINITIONS, ())}
        return resource.key in names

    def _make_namespace(self, name: str) -> None:
        namespaces = self.objects.setdefault("namespaces", [])
        if all(namespace["metadata"]["name"] != name for namespace in namespaces):
            meta = metadata("Namespace", None, name, labels={"kubernetes.io/metadata.name": name})
            spec, status = {"finalizers": ["kubernetes"]}, {"phase": "Active"}
            self.add({"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "spec": spec, "status": status})


def _plural(kind: str) -> str:
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "ch", "sh")) else f"{word}s"


def _guess(obj: JSON, plural: str) -> Resource:
    group, _, version = obj["apiVersion"].rpartition("/")
    namespaced = "namespace" in obj["metadata"]
    return Resource(group, (version,), plural, obj["kind"], namespaced=namespaced, custom=True)


def _images(spec: JSON) -> tuple[list[str], list[str]]:
    return (
        [container["image"] for container in spec["containers"]],
        [container["image"] for container in spec.get("initContainers", ())],
    )


def _controlled(
    workload: JSON, history: Sequence[Sequence[str]], image_ids: ImageIds, phase: str, nodes: int
) -> list[JSON]:
    kind, meta = workload["kind"], workload["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    if kind == "CronJob":
        return []
    images, init = _images(workload["spec"]["template"]["spec"])
    hash_ = template_hash([images, init])
    made: list[JSON] = []
    owner = (kind, name)
    count = int(workload["spec"].get("replicas", 1))
    if kind == "Deployment":
        for revision, old in enumerate(history, 1):
            set_name = f"{name}-{template_hash([list(old), []])}"
            made.append(build.replicaset(namespace, set_name, old, replicas=0, owner=owner, revision=revision))
        made.append(
            build.replicaset(
                namespace, f"{name}-{hash_}", images, replicas=count, init=init, owner=owner, revision=len(history) + 1
            )
        )
        owner = ("ReplicaSet", f"{name}-{hash_}")
    if kind in {"StatefulSet", "DaemonSet"}:
        for revision, old in enumerate((*history, images), 1):
            revision_name = f"{name}-{template_hash([list(old), []])}"
            made.append(build.controllerrevision(namespace, revision_name, old, owner=owner, revision=revision))
    if kind == "DaemonSet":
        count = nodes
    if kind == "Job":
        count = 0 if workload["spec"]["suspend"] else 1
    labels = dict(workload["spec"]["template"]["metadata"]["labels"])
    if kind == "Deployment":
        labels["pod-template-hash"] = hash_
    details: dict[str, Any] = {"owner": owner, "phase": phase, "init": init, "image_ids": image_ids, "labels": labels}
    for place in range(count):
        suffix = str(place) if kind == "StatefulSet" else template_hash([name, namespace, place])[:5]
        made.append(build.pod(namespace, f"{owner[1]}-{suffix}", images, **details))
    return made
