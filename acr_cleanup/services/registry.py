"""What Azure Resource Manager lists below the registry itself: tasks, connected registries, cache rules, pipelines."""

from __future__ import annotations

import base64
import binascii
import re
from asyncio import Semaphore
from collections.abc import Iterable
from typing import Any

from acr_cleanup.access.arm_fields import Place, first, strings
from acr_cleanup.access.arm_requests import NotRegisteredError, Requests, Resource
from acr_cleanup.access.read_failure import ReadFailure, or_waive
from acr_cleanup.access.resource_manager import ResourceManager
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, read_image
from acr_cleanup.services.reader import Reader, TypeReading, read_type
from acr_cleanup.services.search import ServiceSearch
from acr_cleanup.services.table import CONNECTED, REGISTRIES, TASKS, ServiceGroup, ServiceType

_TASKS = ServiceType(TASKS, "2025-03-01-preview", "RegistryTask", ServiceGroup.REGISTRY_TASKS)
_CONNECTED = ServiceType(CONNECTED, REGISTRIES.api_version, "ConnectedRegistry", ServiceGroup.CONNECTED_REGISTRIES)
_CACHE_RULES = ServiceType("Microsoft.ContainerRegistry/registries/cacheRules", REGISTRIES.api_version, "CacheRule")
_PIPELINES = tuple(
    ServiceType(f"Microsoft.ContainerRegistry/registries/{name}Pipelines", "2023-11-01-preview", f"{name}Pipeline")
    for name in ("import", "export")
)
ROWS = (_TASKS, _CONNECTED, _CACHE_RULES, *_PIPELINES)

_HOST_VARIABLE = re.compile(r"\$Registry\b|\{\{\s*\.Run\.Registry\s*\}\}")
_PURGE = re.compile(r"\b(?:acr|mcr\.microsoft\.com/acr/acr-cli:\S+)\s+purge\b")
_CONTENT_READ = re.compile(r"repositories/(.+)/content/read", re.IGNORECASE)


async def own_registry(search: ServiceSearch, manager: ResourceManager, gate: Semaphore) -> Resource | None:
    """Return the registry from its resource group; None if that is unknown, or does not show it."""
    if not (search.registry_subscription and search.registry_group):
        return None
    subscription = search.registry_subscription.lower()
    path = f"/subscriptions/{subscription}/resourceGroups/{search.registry_group}/providers/{REGISTRIES.type}"
    try:
        # The name of a registry may differ from the first part of its host.
        registries = await Requests(manager, subscription, gate).list(path, REGISTRIES.api_version)
    except (ReadFailure, NotRegisteredError):
        return None
    return next((registry for registry in registries if _is_own(registry, search)), None)


def registry_in(types: Iterable[TypeReading], search: ServiceSearch) -> Resource | None:
    """Return the registry from the lists of whole subscriptions."""
    listed = (resource for reading in types if reading.type == REGISTRIES.type for resource in reading.listed)
    return next((registry for registry in listed if _is_own(registry, search)), None)


def _is_own(registry: Resource, search: ServiceSearch) -> bool:
    host = first(registry.body, "properties.loginServer")
    return isinstance(host, str) and host.lower() == search.registry.login_server.lower()


async def read_registry(row: ServiceType, registry: Resource, reader: Reader) -> TypeReading:
    """Read one list below the registry."""

    async def read_one(item: Resource) -> Findings:
        if row is _TASKS:
            return _read_task(item, reader)
        if row is _CONNECTED:
            return await _read_connected(item, reader)
        findings = Findings()
        if row is _CACHE_RULES:
            source, target = (
                first(item.body, "properties.sourceRepository"),
                first(item.body, "properties.targetRepository"),
            )
            findings.notes.append(
                f"The artifact cache fills {quoted(target, 100)} from {quoted(source, 100)}. "
                "A deleted image comes back only if it still exists there, and soft delete does not cover it."
            )
        else:
            findings.notes.append(
                f"The {row.kind} {quoted(item.name, 80)} transfers images by tag or digest when it runs. "
                "Images that only it needs count as unused."
            )
        return findings

    return await read_type(row, reader, read_one, f"{registry.id}/{row.type.rpartition('/')[2]}")


def _read_task(task: Resource, reader: Reader) -> Findings:
    """Read a task. A build fails without its base images, so they are in use."""
    workload, registry = reader.workload(_TASKS.kind, task.name), reader.registry
    findings = Findings()
    dependencies = first(task.body, "properties.step.baseImageDependencies")
    for index, base in enumerate(dependencies if isinstance(dependencies, list) else ()):
        host, name, tag, digest = (base.get(key) if isinstance(base, dict) else None for key in _BASE_IMAGE)
        if isinstance(host, str) and isinstance(name, str):
            text = f"{host}/{name}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
            field = f"properties.step.baseImageDependencies[{index}]"
            read_image(Place(field, "", text), workload, registry, findings)
    script = _script(task, findings)
    text = _HOST_VARIABLE.sub(lambda _: registry.login_server, script)
    fields = {use.field for use in findings.uses}
    body: dict[str, Any] = {**task.body, "encodedTaskContent": text}
    findings.uses += [use for use in reader.read_text(body, workload) if use.field not in fields]
    if _PURGE.search(script):
        findings.notes += _other_cleaner(task, script)
    return findings


_BASE_IMAGE = ("registry", "repository", "tag", "digest")


def _script(task: Resource, findings: Findings) -> str:
    encoded = first(task.body, "properties.step.encodedTaskContent")
    if not isinstance(encoded, str):
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        seen = f"the content of task {quoted(task.name, 80)} is not base64 of text."
        findings.failures.append(ReadFailure("read the task", seen, "Correct or delete the task."))
        return ""


def _other_cleaner(task: Resource, script: str) -> list[str]:
    """Report a task that deletes images on a schedule. It does not know what is in use."""
    timers = first(task.body, "properties.trigger.timerTriggers")
    schedules = [
        str(timer.get("schedule"))
        for timer in (timers if isinstance(timers, list) else ())
        if isinstance(timer, dict) and str(timer.get("status", "Enabled")).lower() == "enabled"
    ]
    if not schedules or str(first(task.body, "properties.status") or "Enabled").lower() != "enabled":
        return []
    flags = [flag for flag in ("--include-locked", "--untagged") if flag in script]
    louder = f" It runs with {' and '.join(flags)}: it can delete what this tool keeps." if flags else ""
    when = quoted(", ".join(schedules), 100)
    text = (
        f"Another cleaner is active: the task {quoted(task.name, 80)} runs `acr purge` (schedule {when}). It does not "
        f"know which images are in use.{louder} Disable the task, or its timer."
    )
    return [text]


async def _read_connected(connected: Resource, reader: Reader) -> Findings:
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
    remedy = "Exclude these repositories with `repositories` and accept that the others are cleaned."
    return Findings(failures=[ReadFailure("see what it uses", seen, or_waive(remedy, "azure", CONNECTED))])
