"""
The table of services: which resources of Azure name images, where they are listed, and the fields
that hold the images.

A further service is one more row. Only what a row cannot say has code of its own.
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
    A list below a resource.

    path: the last part of its address: `{id of the resource}/{path}`.
    word: names one of its items in a report: `shop-api (revision shop-api--7)`.
    images: the fields with images, as in `ServiceType`.
    query: further parameters of the request.
    inactive: the field that is False for an item that does not run. Such items are read only if the
        user asks for them.
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
    One type of resource.

    kind: its name in reports (`ContainerApp`).
    group: the value of `services` that selects it; None if only `auto` does.
    images: the fields with images. `[]` is a list: `properties.containers[].image`.
    required: a field without which the images of a resource are unknown.
    pairs: fields of a host and of a path that together name an image.
    servers: fields with hosts of registries. Naming ours there does not say which images are used.
    hint: what a warning says about a resource that names our registry in `servers`.
    """

    type: str
    api_version: str
    kind: str
    group: ServiceGroup | None = None
    images: tuple[str, ...] = ()
    required: str = ""
    children: tuple[Child, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    servers: str = ""
    hint: str = ""


_TEMPLATE = ("properties.template.containers[].image", "properties.template.initContainers[].image")

SITES = ServiceType("Microsoft.Web/sites", "2025-05-01", "WebApp", ServiceGroup.APP_SERVICE)
WORKSPACES = ServiceType(
    "Microsoft.MachineLearningServices/workspaces",
    "2025-12-01",
    "MachineLearningWorkspace",
    ServiceGroup.MACHINE_LEARNING,
    children=(
        Child(
            "environments",
            "environment",
            # Archived environments can be used again, and are listed only on request.
            query=(("listViewType", "All"),),
            children=(Child("versions", "version", ("properties.image",), query=(("listViewType", "All"),)),),
        ),
        Child("onlineEndpoints", "endpoint", children=(Child("deployments", "deployment"),)),
    ),
)
ML_REGISTRIES = ServiceType(
    "Microsoft.MachineLearningServices/registries",
    "2025-12-01",
    "MachineLearningRegistry",
    ServiceGroup.MACHINE_LEARNING,
)

TYPES: tuple[ServiceType, ...] = (
    ServiceType(
        "Microsoft.App/containerApps",
        "2026-07-01",
        "ContainerApp",
        ServiceGroup.CONTAINER_APPS,
        _TEMPLATE,
        required="properties.template",
        children=(Child("revisions", "revision", _TEMPLATE, inactive="properties.active"),),
    ),
    ServiceType(
        "Microsoft.App/jobs",
        "2026-07-01",
        "ContainerAppJob",
        ServiceGroup.CONTAINER_APPS,
        _TEMPLATE,
        required="properties.template",
        # An execution may override the image of its job.
        children=(Child("executions", "execution", _TEMPLATE),),
    ),
    ServiceType(
        "Microsoft.App/sessionPools",
        "2026-07-01",
        "SessionPool",
        ServiceGroup.CONTAINER_APPS,
        ("properties.customContainerTemplate.containers[].image",),
    ),
    SITES,
    # Stopped and terminated groups are listed too: they keep their definition and can be started.
    ServiceType(
        "Microsoft.ContainerInstance/containerGroups",
        "2023-05-01",
        "ContainerGroup",
        ServiceGroup.CONTAINER_INSTANCES,
        ("properties.containers[].properties.image", "properties.initContainers[].properties.image"),
        required="properties.containers",
    ),
    WORKSPACES,
    ML_REGISTRIES,
    ServiceType(
        "Microsoft.Batch/batchAccounts",
        "2025-06-01",
        "BatchAccount",
        ServiceGroup.BATCH,
        children=(
            Child(
                "pools",
                "pool",
                (
                    "properties.deploymentConfiguration.virtualMachineConfiguration.containerConfiguration.containerImageNames[]",
                    "properties.startTask.containerSettings.imageName",
                ),
            ),
        ),
        servers="properties.deploymentConfiguration.virtualMachineConfiguration.containerConfiguration"
        ".containerRegistries[].registryServer",
        hint="Its tasks may name further images, which Azure Resource Manager does not show. Add them to exclude-tags.",
    ),
    ServiceType(
        "Microsoft.AppPlatform/Spring",
        "2023-12-01",
        "SpringApp",
        children=(Child("deployments", "deployment"),),
        pairs=(
            ("properties.source.customContainer.server", "properties.source.customContainer.containerImage"),
            ("properties.customContainer.server", "properties.customContainer.containerImage"),
        ),
    ),
)
"""Every type that is read in each subscription."""

OPEN_SHIFT = ServiceType("Microsoft.RedHatOpenShift/openShiftClusters", "2025-07-25", "OpenShift cluster")
ARC = ServiceType("Microsoft.Kubernetes/connectedClusters", "2026-05-01", "Arc cluster")
FLEETS = ServiceType("Microsoft.ContainerService/fleets", "2025-03-01", "Fleet", children=(Child("members", "member"),))
REGISTRIES = ServiceType(
    "Microsoft.ContainerRegistry/registries", "2025-11-01", "Registry", children=(Child("cacheRules", "cache rule"),)
)
TOLD: tuple[ServiceType, ...] = (OPEN_SHIFT, ARC, FLEETS, REGISTRIES)
"""Types of resources that are recognised and reported. They name no image."""

TASKS = "Microsoft.ContainerRegistry/registries/tasks"
CONNECTED = "Microsoft.ContainerRegistry/registries/connectedRegistries"

UNREAD: tuple[tuple[str, ServiceGroup | None], ...] = (
    ("Microsoft.ContainerInstance/containerGroupProfiles", ServiceGroup.CONTAINER_INSTANCES),
    ("Microsoft.ContainerInstance/NGroups", ServiceGroup.CONTAINER_INSTANCES),
)
"""Types that hold images and cannot be read yet. If Resource Graph lists one, it is a blocker."""
