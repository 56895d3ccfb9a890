"""Azure Machine Learning: workspaces that build images into the registry, and registries that own it."""

from __future__ import annotations

from typing import Any

from acr_cleanup.access.arm_fields import first, places
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.references import ImageReference
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings
from acr_cleanup.services.reader import Reader, read_children
from acr_cleanup.services.table import WORKSPACES

BUILT_IMAGES = "azureml/"
"""The folder of the images that workspaces build. Their names contain a hash that no list returns."""

_REGISTRY = "properties.containerRegistry"


async def read_workspace(reader: Reader, workspace: Resource) -> Findings:
    """Read a workspace, its environments and deployments. An attached one keeps all images that it built."""
    workload = reader.workload(WORKSPACES.kind, workspace.name)
    findings = reader.read(workspace, (), workload)
    attached = first(workspace.body, _REGISTRY)
    if isinstance(attached, str) and is_registry(reader, attached):
        reference = ImageReference(reader.search.registry.login_server, BUILT_IMAGES, None, None)
        findings.uses.append(ImageUse(workload, "", _REGISTRY, attached, reference))
    await read_children(WORKSPACES, WORKSPACES.children, reader, workspace, (workspace.name,), findings)
    return findings


async def read_ml_registry(reader: Reader, registry: Resource) -> Findings:
    """Refuse to clean a registry that an ML registry created: ML alone knows what it stores there."""
    findings = Findings()
    for place in places(registry.body, "properties.regionDetails[].acrDetails[].systemCreatedAcrAccount"):
        names: Any = place.value if isinstance(place.value, dict) else {}
        ids = [names.get("acrAccountName"), first(names, "armResourceId.resourceId")]
        if any(isinstance(name, str) and is_registry(reader, name) for name in ids):
            seen = f"Azure Machine Learning created this registry for its registry {quoted(registry.name, 80)}."
            remedy = "Do not clean it: delete models and environments in Azure Machine Learning instead."
            findings.failures.append(ReadFailure("look who owns the registry", seen, remedy))
    return findings


def is_registry(reader: Reader, name: str) -> bool:
    """Is this the resource id (or the name) of the registry? Names of registries are unique in Azure."""
    return name.rstrip("/").rpartition("/")[2].lower() == reader.search.registry.login_server.partition(".")[0].lower()
