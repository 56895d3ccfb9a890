"""
The table of services: types of resources that name images, their lists, and the fields that hold the
images.

A further service is one more row. Code is needed only if a row cannot describe it.
Field names are those of the vendor's management SDKs, of the API versions given here.
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
class Child:
    """
    A list below a resource, at `{id of the resource}/{path}`.

    word: names one of its items in a report: `shop-api (revision shop-api--7)`.
    inactive: the field that is False for an item that does not run (`container-app-revisions`).
    """

    path: str
    word: str
    images: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    inactive: str = ""


@dataclass(frozen=True, slots=True)
class ServiceType:
    """
    One type of resource. `kind` is its name in reports.

    group: the value of `services` that selects it; None if only `auto` does.
    images: the fields with images. `[]` is a list: `properties.containers[].image`.
    required: a field without which the images of a resource are unknown.
    pair: a field with a host and one with a path, which together name an image.
    servers: a field with hosts of registries, which does not say what images are used.
    hint: what a warning says about a resource that names our registry in `servers`.
    """

    type: str
    api_version: str
    kind: str
    group: ServiceGroup | None = None
    images: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    required: str = ""
    pair: tuple[str, str] | None = None
    servers: str = ""
    hint: str = ""


_APPS, _ML, _ACI = ServiceGroup.CONTAINER_APPS, ServiceGroup.MACHINE_LEARNING, ServiceGroup.CONTAINER_INSTANCES
_IN_TEMPLATE = ("properties.template.containers[].image", "properties.template.initContainers[].image")
_IN_GROUP = ("properties.containers[].properties.image", "properties.initContainers[].properties.image")
_VM = "properties.deploymentConfiguration.virtualMachineConfiguration.containerConfiguration"
_REVISIONS = Child("revisions", "revision", _IN_TEMPLATE, inactive="properties.active")
# An execution may override the image of its job.
_EXECUTIONS = Child("executions", "execution", _IN_TEMPLATE)
# Archived environments can be used again, and are listed only on request.
_ALL = (("listViewType", "All"),)
_VERSIONS = Child("versions", "version", ("properties.image",), query=_ALL)
_ENDPOINTS = Child("onlineEndpoints", "endpoint", children=(Child("deployments", "deployment"),))
_POOLS = Child("pools", "pool", (f"{_VM}.containerImageNames[]", "properties.startTask.containerSettings.imageName"))
_TASKS_HINT = "Its tasks may name further images, which Azure Resource Manager does not show. Exclude them."
_SPRING = ("properties.source.customContainer.server", "properties.source.customContainer.containerImage")

SITES = ServiceType("Microsoft.Web/sites", "2025-05-01", "WebApp", ServiceGroup.APP_SERVICE)
WORKSPACES = ServiceType(
    "Microsoft.MachineLearningServices/workspaces", "2025-12-01", "MachineLearningWorkspace", _ML,
    children=(Child("environments", "environment", children=(_VERSIONS,), query=_ALL), _ENDPOINTS),
)  # fmt: skip
ML_REGISTRIES = ServiceType(
    "Microsoft.MachineLearningServices/registries", "2025-12-01", "MachineLearningRegistry", _ML
)

TYPES: tuple[ServiceType, ...] = (
    ServiceType("Microsoft.App/containerApps", "2026-07-01", "ContainerApp", _APPS, _IN_TEMPLATE, (_REVISIONS,),
                required="properties.template"),
    ServiceType("Microsoft.App/jobs", "2026-07-01", "ContainerAppJob", _APPS, _IN_TEMPLATE, (_EXECUTIONS,),
                required="properties.template"),
    ServiceType("Microsoft.App/sessionPools", "2026-07-01", "SessionPool", _APPS,
                ("properties.customContainerTemplate.containers[].image",)),
    SITES,
    # Stopped and terminated groups are listed too: they keep their definition and can be started.
    ServiceType("Microsoft.ContainerInstance/containerGroups", "2023-05-01", "ContainerGroup", _ACI, _IN_GROUP,
                required="properties.containers"),
    WORKSPACES,
    ML_REGISTRIES,
    ServiceType("Microsoft.Batch/batchAccounts", "2025-06-01", "BatchAccount", ServiceGroup.BATCH, children=(_POOLS,),
                servers=f"{_VM}.containerRegistries[].registryServer", hint=_TASKS_HINT),
    ServiceType("Microsoft.AppPlatform/Spring", "2023-12-01", "SpringApp",
                children=(Child("deployments", "deployment"),), pair=_SPRING),
)  # fmt: skip
"""Every type that is read in each subscription."""

OPEN_SHIFT = ServiceType("Microsoft.RedHatOpenShift/openShiftClusters", "2025-07-25", "OpenShift cluster")
ARC = ServiceType("Microsoft.Kubernetes/connectedClusters", "2026-05-01", "Arc cluster")
FLEETS = ServiceType("Microsoft.ContainerService/fleets", "2025-03-01", "Fleet")
REGISTRIES = ServiceType("Microsoft.ContainerRegistry/registries", "2025-11-01", "Registry")
TOLD: tuple[ServiceType, ...] = (OPEN_SHIFT, ARC, FLEETS, REGISTRIES)
"""Types of resources that are recognised and reported. They name no image."""

_TASKS_GROUP, _EDGE_GROUP = ServiceGroup.REGISTRY_TASKS, ServiceGroup.CONNECTED_REGISTRIES
_BELOW, _PREVIEW = REGISTRIES.type, "2023-11-01-preview"
TASKS = ServiceType(f"{_BELOW}/tasks", "2025-03-01-preview", "RegistryTask", _TASKS_GROUP)
CONNECTED = ServiceType(f"{_BELOW}/connectedRegistries", REGISTRIES.api_version, "ConnectedRegistry", _EDGE_GROUP)
CACHE_RULES = ServiceType(f"{_BELOW}/cacheRules", REGISTRIES.api_version, "CacheRule")
IMPORTS = ServiceType(f"{_BELOW}/importPipelines", _PREVIEW, "import pipeline")
EXPORTS = ServiceType(f"{_BELOW}/exportPipelines", _PREVIEW, "export pipeline")
OF_REGISTRY = (TASKS, CONNECTED, CACHE_RULES, IMPORTS, EXPORTS)
"""Types of resources below the registry itself."""

UNREAD: tuple[str, ...] = (
    "Microsoft.ContainerInstance/containerGroupProfiles",
    "Microsoft.ContainerInstance/NGroups",
)
"""Types of `container-instances` that cannot be read yet. If Resource Graph lists one, it is a blocker."""
