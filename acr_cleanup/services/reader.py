"""Reads the resources of one type, and the lists below them, as a row of the table says."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from acr_cleanup.access.arm_fields import Place, first, strings
from acr_cleanup.access.arm_requests import NotRegisteredError, Requests, Resource
from acr_cleanup.access.read_failure import ReadFailure, unexpected
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import Workload
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, ReadText, read_image, read_images
from acr_cleanup.services.table import Child, ServiceType

logger = logging.getLogger(__name__)

RESOURCES_AT_ONCE = 64
"""The gate of `Requests` limits the requests. This limits the tasks."""


@dataclass(frozen=True, slots=True)
class Reader:
    """
    Reads the resources of one subscription.

    cluster: the name of the subscription in uses: `azure:SUBSCRIPTION`.
    revisions: how many inactive revisions of each Container App count as used.
    site_snapshots: how many snapshots of the configuration of each site count as used.
    """

    requests: Requests
    registry: RegistryHost
    read_text: ReadText
    cluster: str
    revisions: int = sys.maxsize
    site_snapshots: int = 0

    def workload(self, kind: str, *names: str) -> Workload:
        """Return the workload of a resource, or of an item below it: `shop-api (revision shop-api--7)`."""
        name, inner = names[0], ", ".join(names[1:])
        return Workload(self.cluster, "", kind, f"{name} ({inner})" if inner else name)

    def read(self, resource: Resource, images: Sequence[str], workload: Workload) -> Findings:
        """Read the image fields and all other text of one resource."""
        findings = read_images(resource.body, images, workload, self.registry)
        fields = {use.field for use in findings.uses}
        findings.uses += [use for use in self.read_text(resource.body, workload) if use.field not in fields]
        findings.identities |= identities(resource.body)
        return findings


@dataclass(slots=True)
class TypeReading:
    """
    What was read of one type in one subscription.

    listed: the resources of the list.
    failure: why the list could not be read.
    """

    type: str
    findings: Findings
    listed: tuple[Resource, ...] = ()
    failure: ReadFailure | None = None

    @property
    def resources(self) -> int:
        return len(self.listed)


async def read_type(
    row: ServiceType, reader: Reader, read_one: Callable[[Resource], Awaitable[Findings]] | None = None, path: str = ""
) -> TypeReading:
    """
    Read all resources of one type. Raises only `IdentityError`.

    read_one: reads one resource; by default as the row says.
    path: of the list; by default that of the whole subscription.
    """
    path = path or f"/subscriptions/{reader.requests.subscription}/providers/{row.type}"
    reading = TypeReading(row.type, Findings())
    try:
        resources = await reader.requests.list(path, row.api_version)
    except NotRegisteredError:
        return reading
    except IdentityError:
        raise
    except ReadFailure as failure:
        reading.failure = failure
        return reading
    except Exception as error:  # any failure: this type gets a blocker, and the others are read
        logger.debug("listing %s failed", row.type, exc_info=True)
        reading.failure = unexpected(f"list {row.type}", error)
        return reading
    read = read_one or partial(_read_row, row, reader)
    jobs = [partial(guarded, resource, read) for resource in resources]
    for findings in await gather(jobs, limit=RESOURCES_AT_ONCE):
        reading.findings.add(findings)
    reading.listed = tuple(resources)
    return reading


async def guarded(resource: Resource, read: Callable[[Resource], Awaitable[Findings]]) -> Findings:
    """Read one resource. A failure becomes part of the findings. Raises only `IdentityError`."""
    try:
        return await read(resource)
    except IdentityError:
        raise
    except NotRegisteredError as error:
        return Findings(failures=[ReadFailure(str(error), "the list does not exist.", "Run again later.")])
    except ReadFailure as failure:
        return Findings(failures=[failure])
    except Exception as error:  # any failure: the other resources are read
        logger.debug("reading %s failed", resource.id, exc_info=True)
        return Findings(failures=[unexpected(f"read {quoted(resource.name, 80)}", error)])


async def _read_row(row: ServiceType, reader: Reader, resource: Resource) -> Findings:
    findings = reader.read(resource, row.images, reader.workload(row.kind, resource.name))
    await read_children(row, row.children, reader, resource, (resource.name,), findings)
    if row.required and not findings.places and first(resource.body, row.required) is None:
        seen = f"{quoted(resource.name, 80)} has no {row.required}, so its images are unknown."
        findings.failures.append(ReadFailure(f"read the images of {row.kind}", seen, "Repair or delete the resource."))
    return findings


async def read_children(
    row: ServiceType,
    children: Sequence[Child],
    reader: Reader,
    parent: Resource,
    names: tuple[str, ...],
    findings: Findings,
) -> None:
    """
    Read the lists below a resource into `findings`. A list that cannot be read does not stop the others.

    names: the names of the resources above, as in `Reader.workload`.
    """

    async def read_item(child: Child, item: Resource) -> None:
        inner = (*names, f"{child.word} {item.name}")
        workload = reader.workload(row.kind, *inner)
        findings.add(reader.read(item, child.images, workload))
        _read_pairs(row, reader, item, workload, findings)
        if row.servers and any(map(reader.registry.owns, strings(item.body, row.servers))):
            findings.notes.append(
                f"{quoted(workload.kind)} {quoted(workload.name)} pulls from the registry. {row.hint}"
            )
        await read_children(row, child.children, reader, item, inner, findings)

    async def read_list(child: Child) -> None:
        try:
            items = await reader.requests.list(f"{parent.id}/{child.path}", row.api_version, child.query)
        except ReadFailure as failure:
            findings.failures.append(failure)
            return
        kept = _started_again(items, child, reader.revisions)
        await gather([partial(read_item, child, item) for item in kept], limit=RESOURCES_AT_ONCE)

    await gather([partial(read_list, child) for child in children], limit=len(children) or 1)


def _started_again(items: list[Resource], child: Child, inactive: int) -> list[Resource]:
    """Return the active items, and the newest inactive ones. One click activates an inactive revision."""
    if not child.inactive:
        return items
    stopped = [item for item in items if first(item.body, child.inactive) is False]
    stopped.sort(key=lambda item: str(first(item.body, "properties.createdTime") or ""), reverse=True)
    dropped = {item.id for item in stopped[inactive:]}
    return [item for item in items if item.id not in dropped]


def _read_pairs(row: ServiceType, reader: Reader, item: Resource, workload: Workload, findings: Findings) -> None:
    for server, image in row.pairs:
        host, path = first(item.body, server), first(item.body, image)
        if isinstance(host, str) and path is not None:
            place = Place(image, "", f"{host.strip().rstrip('/')}/{path}")
            read_image(place, workload, reader.registry, findings)


def identities(body: dict[str, Any]) -> set[str]:
    """Return the principal ids of the identities of a resource."""
    identity = body.get("identity")
    if not isinstance(identity, dict):
        return set()
    assigned = identity.get("userAssignedIdentities")
    principals = [identity, *(assigned.values() if isinstance(assigned, dict) else ())]
    ids = (principal.get("principalId") for principal in principals if isinstance(principal, dict))
    return {principal.lower() for principal in ids if isinstance(principal, str)}
