"""Readers for what no row can describe: workspaces and registries of Machine Learning, tasks, connected registries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from acr_cleanup.access.arm_fields import Place, first, places, strings
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.read_failure import ReadFailure, or_waive
from acr_cleanup.core.references import ImageReference
from acr_cleanup.core.usage import SERVICES, ImageUse
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, read_image
from acr_cleanup.services.reader import Reader, decoded_fields, is_registry, read_row
from acr_cleanup.services.table import CONNECTED, REGISTRIES, TASKS, WORKSPACES

BUILT_IMAGES = "azureml/"
"""The folder of the images that workspaces build. Their names contain a hash that no list returns."""

_REGISTRY = "properties.containerRegistry"
_PURGE = re.compile(r"\b(?:acr|mcr\.microsoft\.com/acr/acr-cli\S*|acr-cli\S*)\s+purge\b")
_CONTENT_READ = re.compile(r"repositories/(.+)/content/read", re.IGNORECASE)


async def read_workspace(reader: Reader, workspace: Resource) -> Findings:
    """Read a workspace, its environments and deployments. An attached one keeps all images that it built."""
    findings = await read_row(WORKSPACES, reader, workspace)
    attached = first(workspace.body, _REGISTRY)
    if isinstance(attached, str) and is_registry(reader, attached):
        reference = ImageReference(reader.search.registry.login_server, BUILT_IMAGES, None, None)
        workload = reader.workload(WORKSPACES.kind, workspace.name)
        findings.uses.append(ImageUse(workload, "", _REGISTRY, attached, reference))
    return findings


async def read_ml_registry(reader: Reader, registry: Resource) -> Findings:
    """Refuse to clean a registry that an ML registry created: ML alone knows what it stores there."""
    account = "properties.regionDetails[].acrDetails[].systemCreatedAcrAccount"
    paths = (f"{account}.acrAccountName", f"{account}.armResourceId.resourceId")
    if not any(is_registry(reader, name) for path in paths for name in strings(registry.body, path)):
        return Findings()
    seen = f"Azure Machine Learning created this registry for its registry {quoted(registry.name, 80)}."
    remedy = "Do not clean it: delete models and environments in Azure Machine Learning instead."
    return Findings(failures=[ReadFailure("look who owns the registry", seen, remedy)])


async def read_task(reader: Reader, task: Resource) -> Findings:
    """Read a task. A build fails without its base images, so they are in use."""
    findings = await read_row(TASKS, reader, task)
    workload = reader.workload(TASKS.kind, task.name)
    for base in places(task.body, "properties.step.baseImageDependencies[]"):
        host, name, tag, digest = (first(base.value, key) for key in ("registry", "repository", "tag", "digest"))
        if isinstance(host, str) and isinstance(name, str):
            text = f"{host}/{name}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
            read_image(Place(base.field, "", text), workload, reader.search.registry, findings)
    findings.notes += _other_cleaner(task)
    return findings


def _other_cleaner(task: Resource) -> Iterator[str]:
    """Report a task that deletes images on a schedule. It does not know what is in use."""
    script = "".join(decoded_fields(task, TASKS, Findings()).values())
    timers = [place.value for place in places(task.body, "properties.trigger.timerTriggers[]")]
    schedules = [str(first(timer, "schedule")) for timer in timers if _is_enabled(first(timer, "status"))]
    if not (_PURGE.search(script) and schedules and _is_enabled(first(task.body, "properties.status"))):
        return
    flags = [flag for flag in ("--include-locked", "--untagged") if flag in script]
    louder = f" It runs with {' and '.join(flags)}: it can delete what this tool keeps." if flags else ""
    when = quoted(", ".join(schedules), 100)
    yield (
        f"Another cleaner is active: the task {quoted(task.name, 80)} runs `acr purge` (schedule {when}). It does not "
        f"know which images are in use.{louder} Disable the task, or its timer."
    )


def _is_enabled(status: object) -> bool:
    return str(status or "Enabled").lower() == "enabled"


async def read_connected(reader: Reader, connected: Resource) -> Findings:
    """
    Refuse for a connected registry: its edge pulls images that the cloud cannot see.

    https://learn.microsoft.com/azure/container-registry/intro-connected-registry
    """
    repositories = "repositories that could not be determined"
    try:
        token = first(connected.body, "properties.parent.syncProperties.tokenId")
        scope = first(await reader.requests.get(token, REGISTRIES.api_version), "properties.scopeMapId")
        actions = strings(await reader.requests.get(scope, REGISTRIES.api_version), "properties.actions[]")
        names = sorted({match[1] for action in actions if (match := _CONTENT_READ.fullmatch(action))})
        repositories = quoted(", ".join(names), 300) if names else repositories
    except ReadFailure as failure:
        repositories += f" ({failure.seen.rstrip('.')})"
    seen = f"The connected registry {quoted(connected.name, 80)} copies images to a place that cannot be read: {repositories}."
    remedy = "To clean the others, exclude these with `repositories`, and waive the type."
    return Findings(failures=[ReadFailure("see what it uses", seen, or_waive(remedy, SERVICES, CONNECTED.type))])
