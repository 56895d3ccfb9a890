"""Reads the resources of one type, and the lists below them, as a row of the table says."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from acr_cleanup.access.arm_fields import Place, first, strings
from acr_cleanup.access.arm_requests import NotRegisteredError, Requests, Resource
from acr_cleanup.access.read_failure import ReadFailure, unexpected
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import SERVICES
from acr_cleanup.core.workload import Workload
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, ReadText, read_image, read_images
from acr_cleanup.services.table import Child, ServiceType

logger = logging.getLogger(__name__)

AT_ONCE = 64
"""Tasks. `Requests` limits the requests themselves."""


@dataclass(frozen=True, slots=True)
class ServiceSearch:
    """
    The services to read.

    subscriptions: where to look; Resource Graph adds further ones unless `only_these`.
    registry_subscription, registry_group: where the registry is, if it is known.
    groups: which services: names of `ServiceGroup`, or `auto` for all.
    required: a subscription that is not seen as a whole is a blocker.
    revisions: how many inactive revisions of each Container App count as used.
    site_snapshots: how many snapshots of the configuration of each site count as used.
    known_clusters: resource ids of the configured clusters and hosts of their API servers, in lower case.
    pullers: also list who else may pull.
    """

    registry: RegistryHost
    subscriptions: tuple[str, ...]
    read_text: ReadText
    only_these: bool = False
    registry_subscription: str | None = None
    registry_group: str | None = None
    groups: frozenset[str] = frozenset({"auto"})
    required: bool = False
    waived: Collection[str] = ()
    revisions: int = sys.maxsize
    site_snapshots: int = 0
    known_clusters: Collection[str] = ()
    pullers: bool = True
    concurrency: int = 8

    def selects(self, row: ServiceType) -> bool:
        """Is this type to be read? Types without a group are read if all are."""
        return "auto" in self.groups or row.group in self.groups


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the resources of one subscription."""

    search: ServiceSearch
    requests: Requests

    def workload(self, kind: str, *names: str) -> Workload:
        """Return the workload of a resource, or of an item below it: `shop-api (revision shop-api--7)`."""
        name, inner = names[0], ", ".join(names[1:])
        cluster = f"{SERVICES}:{self.requests.subscription}"
        return Workload(cluster, "", kind, f"{name} ({inner})" if inner else name)

    def read(self, resource: Resource, images: Sequence[str], workload: Workload) -> Findings:
        """Read the image fields and all other text of one resource."""
        findings = read_images(resource.body, images, workload, self.search.registry)
        fields = {use.field for use in findings.uses}
        findings.uses += [use for use in self.search.read_text(resource.body, workload) if use.field not in fields]
        findings.identities |= _identities(resource.body)
        return findings


@dataclass(slots=True)
class TypeReading:
    """
    The resources of one type in one subscription.

    failure: why the list of its resources could not be read.
    """

    row: ServiceType
    findings: Findings = field(default_factory=Findings)
    listed: tuple[Resource, ...] = ()
    failure: ReadFailure | None = None


async def read_type(
    row: ServiceType, reader: Reader, read: Callable[[Resource], Awaitable[Findings]] | None = None, path: str = ""
) -> TypeReading:
    """
    Read all resources of one type. Raises only `IdentityError`.

    read: reads one resource; by default as the row says.
    path: of the list; by default that of the whole subscription.
    """
    reading = TypeReading(row)
    path = path or f"/subscriptions/{reader.requests.subscription}/providers/{row.type}"

    async def list_resources() -> Findings:
        reading.listed = tuple(await reader.requests.list(path, row.api_version))
        return Findings()

    reading.failure = next(iter((await guarded(row.type, list_resources)).failures), None)
    jobs = [
        partial(guarded, item.name, partial(read or partial(_read_row, row, reader), item)) for item in reading.listed
    ]
    reading.findings = Findings.of(await gather(jobs, limit=AT_ONCE))
    if isinstance(reading.failure, NotRegisteredError):
        reading.failure = None
    return reading


async def guarded(name: str, read: Callable[[], Awaitable[Findings]]) -> Findings:
    """Await `read`. A failure becomes part of the findings. Raises only `IdentityError`."""
    try:
        return await read()
    except IdentityError:
        raise
    except ReadFailure as failure:
        return Findings(failures=[failure])
    except Exception as error:  # any failure: the other resources are read
        logger.debug("reading %s failed", name, exc_info=True)
        return Findings(failures=[unexpected(f"read {quoted(name, 80)}", error)])


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
    into: Findings,
) -> None:
    """
    Read the lists below a resource. A list that cannot be read does not stop the others.

    names: the names of the resources above, as in `Reader.workload`.
    """

    async def read_item(child: Child, item: Resource) -> None:
        inner = (*names, f"{child.word} {item.name}")
        workload = reader.workload(row.kind, *inner)
        into.add(reader.read(item, child.images, workload))
        host, path = (first(item.body, name) for name in row.pair or ("-", "-"))
        if isinstance(host, str) and path is not None:
            place = Place("properties", "", f"{host.strip().rstrip('/')}/{path}")
            read_image(place, workload, reader.search.registry, into)
        if row.servers and any(map(reader.search.registry.owns, strings(item.body, row.servers))):
            into.notes.append(f"{row.kind} {quoted(workload.name)} pulls from the registry. {row.hint}")
        await read_children(row, child.children, reader, item, inner, into)

    async def read_list(child: Child) -> Findings:
        items = await reader.requests.list(f"{parent.id}/{child.path}", row.api_version, child.query)
        await gather([partial(read_item, child, item) for item in _counted(items, child, reader.search)], limit=AT_ONCE)
        return Findings()

    jobs = [partial(guarded, parent.name, partial(read_list, child)) for child in children]
    into.add(Findings.of(await gather(jobs, limit=AT_ONCE)))


def _counted(items: list[Resource], child: Child, search: ServiceSearch) -> list[Resource]:
    """Return the active items, and the newest inactive ones: one click activates an inactive revision."""
    stopped = [item for item in items if child.inactive and first(item.body, child.inactive) is False]
    stopped.sort(key=lambda item: str(first(item.body, "properties.createdTime") or ""), reverse=True)
    dropped = {item.id for item in stopped[search.revisions :]}
    return [item for item in items if item.id not in dropped]


def _identities(body: dict[str, Any]) -> set[str]:
    """Return the principal ids of the identities of a resource."""
    identity = body.get("identity")
    assigned = identity.get("userAssignedIdentities") if isinstance(identity, dict) else None
    principals = [identity, *(assigned.values() if isinstance(assigned, dict) else ())]
    ids = (principal.get("principalId") for principal in principals if isinstance(principal, dict))
    return {principal.lower() for principal in ids if isinstance(principal, str)}
