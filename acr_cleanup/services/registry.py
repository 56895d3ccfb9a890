"""Reads the lists below the registry itself: tasks, connected registries, cache rules, pipelines."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from acr_cleanup.access.arm_fields import Place, first, strings
from acr_cleanup.access.arm_requests import Resource
from acr_cleanup.access.read_failure import ReadFailure, or_waive
from acr_cleanup.core.usage import SERVICES
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, read_image
from acr_cleanup.services.reader import Reader
from acr_cleanup.services.table import CACHE_RULES, CONNECTED, REGISTRIES, TASKS, ServiceType

_HOST_VARIABLE = re.compile(r"\$Registry\b|\{\{\s*\.Run\.Registry\s*\}\}")
_PURGE = re.compile(r"\b(?:acr|mcr\.microsoft\.com/acr/acr-cli:\S+)\s+purge\b")
_CONTENT_READ = re.compile(r"repositories/(.+)/content/read", re.IGNORECASE)


async def read_item(row: ServiceType, reader: Reader, item: Resource) -> Findings:
    """Read one item of a list below the registry."""
    if row is TASKS:
        return _read_task(item, reader)
    if row is CONNECTED:
        return await _read_connected(item, reader)
    if row is CACHE_RULES:
        source, target = (quoted(first(item.body, f"properties.{end}Repository"), 100) for end in ("source", "target"))
        upstream = "A deleted image comes back only if it still exists there, and soft delete does not cover it."
        return Findings(notes=[f"The artifact cache fills {target} from {source}. {upstream}"])
    transfers = f"The {row.kind} {quoted(item.name, 80)} transfers images by tag or digest when it runs."
    return Findings(notes=[f"{transfers} Images that only it needs count as unused."])


def _read_task(task: Resource, reader: Reader) -> Findings:
    """Read a task. A build fails without its base images, so they are in use."""
    workload, registry = reader.workload(TASKS.kind, task.name), reader.search.registry
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
    findings.uses += [use for use in reader.search.read_text(body, workload) if use.field not in fields]
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
    return Findings(failures=[ReadFailure("see what it uses", seen, or_waive(remedy, SERVICES, CONNECTED.type))])
