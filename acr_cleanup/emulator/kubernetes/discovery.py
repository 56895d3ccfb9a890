"""The kinds of an emulated API server, and its discovery documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
# Custom resources list the same verbs in another order.
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object. `versions`: the served versions, the preferred one first."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ("status",)
    custom: bool = False

    @property
    def key(self) -> str:
        """The name in errors and in kubectl: `deployments.apps`, or `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """The preferred `apiVersion`."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]


def _core(plural: str, kind: str, *short: str, **more: Any) -> Resource:
    return Resource("", ("v1",), plural, kind, short_names=short, **more)


def _of(group: str, plural: str, kind: str, *short: str, **more: Any) -> Resource:
    return Resource(group, more.pop("versions", ("v1",)), plural, kind, short_names=short, **more)


_CREATE_ONLY: dict[str, Any] = {"verbs": ("create",), "subresources": ()}
_NOT_ALL = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
_PLAIN: dict[str, Any] = {"subresources": ()}

BUILTIN: tuple[Resource, ...] = (
    _core("bindings", "Binding", **_CREATE_ONLY),
    _core("componentstatuses", "ComponentStatus", "cs", namespaced=False, verbs=("get", "list"), subresources=()),
    _core("configmaps", "ConfigMap", "cm", **_PLAIN),
    _core("endpoints", "Endpoints", "ep", **_PLAIN),
    _core("events", "Event", "ev", **_PLAIN),
    _core("limitranges", "LimitRange", "limits", **_PLAIN),
    _core("namespaces", "Namespace", "ns", namespaced=False, verbs=_NOT_ALL, subresources=("finalize", "status")),
    _core("nodes", "Node", "no", namespaced=False, subresources=("proxy", "status")),
    _core("persistentvolumeclaims", "PersistentVolumeClaim", "pvc"),
    _core("persistentvolumes", "PersistentVolume", "pv", namespaced=False),
    _core("pods", "Pod", "po", subresources=("ephemeralcontainers", "eviction", "exec", "log", "status")),
    _core("podtemplates", "PodTemplate", **_PLAIN),
    _core("replicationcontrollers", "ReplicationController", "rc", subresources=("scale", "status")),
    _core("resourcequotas", "ResourceQuota", "quota"),
    _core("secrets", "Secret", **_PLAIN),
    _core("serviceaccounts", "ServiceAccount", "sa", subresources=("token",)),
    _core("services", "Service", "svc", subresources=("proxy", "status")),
    _of("apiregistration.k8s.io", "apiservices", "APIService", namespaced=False),
    _of("apps", "controllerrevisions", "ControllerRevision", **_PLAIN),
    _of("apps", "daemonsets", "DaemonSet", "ds"),
    _of("apps", "deployments", "Deployment", "deploy", subresources=("scale", "status")),
    _of("apps", "replicasets", "ReplicaSet", "rs", subresources=("scale", "status")),
    _of("apps", "statefulsets", "StatefulSet", "sts", subresources=("scale", "status")),
    _of("events.k8s.io", "events", "Event", "ev", **_PLAIN),
    _of("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", namespaced=False, **_CREATE_ONLY),
    _of("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview", **_CREATE_ONLY),
    _of(
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        namespaced=False,
        **_CREATE_ONLY,
    ),
    _of("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", versions=("v2", "v1")),
    _of("batch", "cronjobs", "CronJob", "cj"),
    _of("batch", "jobs", "Job"),
    _of("networking.k8s.io", "ingresses", "Ingress", "ing"),
    _of("networking.k8s.io", "networkpolicies", "NetworkPolicy", "netpol", **_PLAIN),
    _of("policy", "poddisruptionbudgets", "PodDisruptionBudget", "pdb"),
    _of("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding", namespaced=False, **_PLAIN),
    _of("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", namespaced=False, **_PLAIN),
    _of("rbac.authorization.k8s.io", "rolebindings", "RoleBinding", **_PLAIN),
    _of("rbac.authorization.k8s.io", "roles", "Role", **_PLAIN),
    _of("storage.k8s.io", "storageclasses", "StorageClass", "sc", namespaced=False, **_PLAIN),
    _of(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd",
        "crds",
        namespaced=False,
    ),
    _of("coordination.k8s.io", "leases", "Lease", **_PLAIN),
)
BUILTIN_BY_KIND = {(r.group, r.kind): r for r in BUILTIN}


def custom_resource(definition: JSON) -> Resource | None:
    """Return the kind of a CustomResourceDefinition, or None if it serves no version."""
    spec = definition["spec"]
    versions = tuple(v["name"] for v in spec["versions"] if v.get("served", True))
    if not versions:
        return None
    names = spec["names"]
    return Resource(
        group=spec["group"],
        versions=versions,
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec.get("scope") != "Cluster",
        short_names=tuple(names.get("shortNames", ())),
        verbs=CUSTOM_VERBS,
        custom=True,
    )


def groups_of(resources: Iterable[Resource], dead: Iterable[str] = ()) -> dict[str, list[str]]:
    """
    Return the versions of each group, the preferred version first.

    `dead`: aggregated APIs ("group/version") without a backend, which are listed all the same.
    """
    groups: dict[str, list[str]] = {}
    for resource in resources:
        versions = groups.setdefault(resource.group, [])
        versions += [version for version in resource.versions if version not in versions]
    for group_version in dead:
        group, _, version = group_version.partition("/")
        groups.setdefault(group, []).append(version)
    return groups


def api_versions(address: str) -> JSON:
    """Return the document of `GET /api`."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def _group(name: str, versions: Iterable[str]) -> JSON:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def api_group(name: str, versions: Iterable[str]) -> JSON:
    """Return the document of `GET /apis/<group>`."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def api_group_list(groups: dict[str, list[str]]) -> JSON:
    """Return the document of `GET /apis`."""
    entries = [_group(name, versions) for name, versions in groups.items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": entries}


def api_resource_list(group: str, version: str, resources: Iterable[Resource]) -> JSON:
    """Return the document of a group version, with subresources as on a real server."""
    entries: list[JSON] = []
    for resource in resources:
        entry: JSON = {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        entries.append(entry)
        entries.extend(
            {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": ["get", "patch", "update"],
            }
            for name in resource.subresources
        )
    group_version = f"{group}/{version}" if group else version
    document: JSON = {"kind": "APIResourceList", "groupVersion": group_version, "resources": entries}
    # The list of the core group has no apiVersion.
    return {"kind": "APIResourceList", "apiVersion": "v1", **document} if group else document


def aggregated(resources: Iterable[Resource], *, core: bool, dead: Iterable[str] = ()) -> JSON:
    """
    Return the document of `GET /api` (`core`) or `GET /apis` in the aggregated form.

    `dead`: aggregated APIs without a backend. Their entries are `Stale` and have no resources.
    """
    chosen = [resource for resource in resources if (resource.group == "") == core]
    stale = () if core else tuple(dead)
    items: list[JSON] = []
    for name, versions in groups_of(chosen, stale).items():
        entries: list[JSON] = []
        for version in versions:
            if f"{name}/{version}" in stale:
                entries.append({"version": version, "freshness": "Stale"})
                continue
            members = [r for r in chosen if r.group == name and version in r.versions]
            shown = [_aggregated_resource(member, version) for member in members]
            entries.append({"version": version, "resources": shown, "freshness": "Current"})
        items.append({"metadata": {"name": name} if name else {}, "versions": entries})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(resource: Resource, version: str) -> JSON:
    # In the entry of a built-in kind, group and version are empty; custom kinds name them.
    kind = {
        "group": resource.group if resource.custom else "",
        "version": version if resource.custom else "",
        "kind": resource.kind,
    }
    entry: JSON = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.kind.lower(),
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.subresources:
        entry["subresources"] = [
            {"subresource": name, "responseKind": kind, "verbs": ["get", "patch", "update"]}
            for name in resource.subresources
        ]
    return entry
