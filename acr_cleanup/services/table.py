"""
The table of services: types of resources that name images, their lists, and the fields that hold the
images.

A further service is one more row. Field names are those of the vendor's management SDKs, of the API
versions given here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServiceGroup(StrEnum):
    """The groups of services that the option `services` names."""

    CONTAINER_APPS = "container-apps"
    APP_SERVICE = "app-service"
    CONTAINER_INSTANCES = "container-instances"
    MACHINE_LEARNING = "machine-learning"
    BATCH = "batch"
    REGISTRY_TASKS = "registry-tasks"
    CONNECTED_REGISTRIES = "connected-registries"


@dataclass(frozen=True, slots=True)
class Note:
    """
    A sentence for the report. `{name}`: of the resource, `{parent}`: of the one above, `{a.b}`: one of its fields.

    about: only if one of these fields names our registry.
    unless: not if one of these fields is the id, or the URL, of a configured cluster.
    """

    text: str
    about: str = ""
    unless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    The parts of one resource to read.

    images: the fields with images. `[]` is a list: `properties.containers[].image`.
    required: without an image, the resource is unreadable.
    pair: a field with a host and one with a path, which together name an image.
    encoded: fields with text in base64.
    children: the lists below it.
    """

    images: tuple[str, ...] = ()
    required: bool = False
    pair: tuple[str, str] | None = None
    encoded: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Child(Item):
    """
    A list below a resource, at `{id of the resource}/{path}`.

    word: names one of its items in a report: `shop-api (revision shop-api--7)`.
    inactive: the field that is False for an item that does not run (`container-app-revisions`).
    """

    path: str
    word: str
    query: tuple[tuple[str, str], ...] = ()
    inactive: str = ""


@dataclass(frozen=True, slots=True)
class ServiceType(Item):
    """
    One type of resource. `kind` is its name in reports.

    group: the value of `services` that selects it; None if only `auto` does.
    """

    type: str
    api_version: str
    kind: str
    group: ServiceGroup | None = None


_APPS, _ML, _ACI = ServiceGroup.CONTAINER_APPS, ServiceGroup.MACHINE_LEARNING, ServiceGroup.CONTAINER_INSTANCES
_IN_TEMPLATE = ("properties.template.containers[].image", "properties.template.initContainers[].image")
_IN_GROUP = ("properties.containers[].properties.image", "properties.initContainers[].properties.image")
_VM = "properties.deploymentConfiguration.virtualMachineConfiguration.containerConfiguration"
_REVISIONS = Child("revisions", "revision", images=_IN_TEMPLATE, required=True, inactive="properties.active")
# An execution may override the image of its job.
_EXECUTIONS = Child("executions", "execution", images=_IN_TEMPLATE)
# Archived environments can be used again, and are listed only on request.
_ALL = (("listViewType", "All"),)
_VERSIONS = Child("versions", "version", images=("properties.image",), query=_ALL)
_ENVIRONMENTS = Child("environments", "environment", children=(_VERSIONS,), query=_ALL)
_ENDPOINTS = Child("onlineEndpoints", "endpoint", children=(Child("deployments", "deployment"),))
_POOLS = Child(
    "pools", "pool", images=(f"{_VM}.containerImageNames[]", "properties.startTask.containerSettings.imageName"),
    notes=(Note("BatchAccount {parent} (pool {name}) pulls from the registry. Its tasks may name further images.",
                about=f"{_VM}.containerRegistries[].registryServer"),),
)  # fmt: skip
_UNSEEN = "Tasks of the Batch account {name} may name images, which Azure Resource Manager does not show. Exclude them."
_SPRING = ("properties.source.customContainer.server", "properties.source.customContainer.containerImage")

SITES = ServiceType("Microsoft.Web/sites", "2025-05-01", "WebApp", ServiceGroup.APP_SERVICE)
WORKSPACES = ServiceType("Microsoft.MachineLearningServices/workspaces", "2025-12-01", "MachineLearningWorkspace", _ML,
                         children=(_ENVIRONMENTS, _ENDPOINTS))  # fmt: skip
ML_REGISTRIES = ServiceType(
    "Microsoft.MachineLearningServices/registries", "2025-12-01", "MachineLearningRegistry", _ML
)

TYPES: tuple[ServiceType, ...] = (
    ServiceType("Microsoft.App/containerApps", "2026-07-01", "ContainerApp", _APPS,
                images=_IN_TEMPLATE, required=True, children=(_REVISIONS,)),
    ServiceType("Microsoft.App/jobs", "2026-07-01", "ContainerAppJob", _APPS,
                images=_IN_TEMPLATE, required=True, children=(_EXECUTIONS,)),
    ServiceType("Microsoft.App/sessionPools", "2026-07-01", "SessionPool", _APPS,
                images=("properties.customContainerTemplate.containers[].image",)),
    SITES,
    # Stopped and terminated groups are listed too: they keep their definition and can be started.
    ServiceType("Microsoft.ContainerInstance/containerGroups", "2023-05-01", "ContainerGroup", _ACI,
                images=_IN_GROUP, required=True),
    WORKSPACES,
    ML_REGISTRIES,
    ServiceType("Microsoft.Batch/batchAccounts", "2025-06-01", "BatchAccount", ServiceGroup.BATCH,
                children=(_POOLS,), notes=(Note(_UNSEEN),)),
    ServiceType("Microsoft.AppPlatform/Spring", "2023-12-01", "SpringApp",
                children=(Child("deployments", "deployment", pair=_SPRING),)),
)  # fmt: skip
"""Every type that is read in each subscription."""

_OUTSIDE = "is not in the configuration. Images that only it uses count as unused."
_COLLECT = "Collect a usage snapshot on its site (`acr-cleanup collect`), and add it with `snapshot`."
_URL, _MEMBER = "properties.apiserverProfile.url", "properties.clusterResourceId"
_OPEN_SHIFT = Note(f"The OpenShift cluster {{name}} ({{{_URL}}}) {_OUTSIDE} Add it to `kubernetes_clusters` with a "
                   "`kubeconfig`.", unless=("id", _URL))  # fmt: skip
_ARC = Note(f"The Arc cluster {{name}} {_OUTSIDE} {_COLLECT}", unless=("id",))
_FLEET = Note(f"The cluster {{{_MEMBER}}} of fleet {{parent}} {_OUTSIDE} Add it to `kubernetes_clusters`.",
              unless=(_MEMBER,))  # fmt: skip
_SOURCE, _TARGET = "properties.sourceRepository", "properties.targetRepository"
_CACHES = Note(f"The registry {{parent}} caches {{{_SOURCE}}} from this registry. Images that only its users pull count as "
               "unused.", about=_SOURCE)  # fmt: skip
REGISTRIES = ServiceType("Microsoft.ContainerRegistry/registries", "2025-11-01", "Registry",
                         children=(Child("cacheRules", "cache rule", notes=(_CACHES,)),))  # fmt: skip
TOLD: tuple[ServiceType, ...] = (
    ServiceType("Microsoft.RedHatOpenShift/openShiftClusters", "2025-07-25", "OpenShift cluster", notes=(_OPEN_SHIFT,)),
    ServiceType("Microsoft.Kubernetes/connectedClusters", "2026-05-01", "Arc cluster", notes=(_ARC,)),
    ServiceType("Microsoft.ContainerService/fleets", "2025-03-01", "Fleet",
                children=(Child("members", "member", notes=(_FLEET,)),)),
    REGISTRIES,
)  # fmt: skip
"""Types of resources that are recognised and reported. They name no image."""

_BELOW, _PREVIEW = REGISTRIES.type, "2023-11-01-preview"
_TASK_TEXT = ("properties.step.encodedTaskContent", "properties.step.encodedValuesContent")
_RUN_TEXT = ("properties.runRequest.encodedTaskContent", "properties.runRequest.encodedValuesContent")
_TRANSFERS = Note("The pipeline {name} transfers images by tag or digest when it runs. Images that only it needs count as "
                  "unused.")  # fmt: skip
_REFILLS = Note(f"The artifact cache fills {{{_TARGET}}} from {{{_SOURCE}}}. A deleted image comes back only if it still "
                "exists there, and soft delete does not cover it.")  # fmt: skip
_TASKS_GROUP, _EDGE_GROUP = ServiceGroup.REGISTRY_TASKS, ServiceGroup.CONNECTED_REGISTRIES
TASKS = ServiceType(f"{_BELOW}/tasks", "2025-03-01-preview", "RegistryTask", _TASKS_GROUP, encoded=_TASK_TEXT)
TASK_RUNS = ServiceType(f"{_BELOW}/taskRuns", "2025-03-01-preview", "RegistryTaskRun", _TASKS_GROUP, encoded=_RUN_TEXT)
CONNECTED = ServiceType(f"{_BELOW}/connectedRegistries", REGISTRIES.api_version, "ConnectedRegistry", _EDGE_GROUP)
CACHE_RULES = ServiceType(f"{_BELOW}/cacheRules", REGISTRIES.api_version, "CacheRule", notes=(_REFILLS,))
OF_REGISTRY = (
    TASKS,
    TASK_RUNS,
    CONNECTED,
    CACHE_RULES,
    ServiceType(f"{_BELOW}/importPipelines", _PREVIEW, "ImportPipeline", notes=(_TRANSFERS,)),
    ServiceType(f"{_BELOW}/exportPipelines", _PREVIEW, "ExportPipeline", notes=(_TRANSFERS,)),
)
"""Types of resources below the registry itself."""

UNREAD = ("Microsoft.ContainerInstance/containerGroupProfiles", "Microsoft.ContainerInstance/NGroups")
"""Types of `container-instances` that cannot be read yet. If Resource Graph lists one, it is a blocker."""

_MANIFESTS = "service manifests inside the cluster"
UNSEEN = dict.fromkeys(("Microsoft.ServiceFabric/clusters", "Microsoft.ServiceFabric/managedClusters"), _MANIFESTS)
UNSEEN |= {"Microsoft.Devices/IotHubs": "modules of its edge devices", "Microsoft.App/sandboxGroups": "its sandboxes"}
"""Types whose images Azure Resource Manager does not show, and where they are. If Resource Graph lists one, a note says so."""
