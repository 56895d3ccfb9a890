"""Reads the resources of one type, and the lists below them, as a row of the table says."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from acr_cleanup.access.arm_fields import Place, decoded, first, places, strings
from acr_cleanup.access.arm_requests import NotRegisteredError, Requests, Resource
from acr_cleanup.access.permissions import may
from acr_cleanup.access.pullers import identities
from acr_cleanup.access.read_failure import ReadFailure, attempt
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import SERVICES
from acr_cleanup.core.workload import Workload
from acr_cleanup.quoting import quoted
from acr_cleanup.services.images import Findings, ReadText, read_image
from acr_cleanup.services.table import CACHE_RULES, REGISTRIES, Child, Item, Note, ServiceType

AT_ONCE = 64  # tasks; `Requests` limits the requests themselves
_HOST_VARIABLE = re.compile(r"\$(?:Registry\b|\{Registry\})|\{\{\s*\.Run\.Registry\s*\}\}", re.IGNORECASE)
"""The host in scripts of tasks: https://learn.microsoft.com/azure/container-registry/container-registry-tasks-reference-yaml"""
ReadResource = Callable[["Reader", Resource], Awaitable[Findings]]


@dataclass(frozen=True, slots=True)
class ServiceSearch:
    """
    The services to read.

    subscriptions: where to look; Resource Graph adds further ones unless `only_these`.
    cache_rules: those of the registry, if they are read already.
    groups: which services: names of `ServiceGroup`, or `auto` for all.
    required, revisions, site_snapshots: `require-all-services`, `container-app-revisions`, `app-service-snapshots`.
    known_clusters: resource ids of the configured clusters and hosts of their API servers, in lower case.
    pullers: also list who else may pull.
    """

    place: RegistryPlace
    subscriptions: tuple[str, ...]
    read_text: ReadText
    only_these: bool = False
    cache_rules: Sequence[Resource] | None = None
    groups: frozenset[str] = frozenset({"auto"})
    required: bool = False
    waived: Collection[str] = ()
    revisions: int = sys.maxsize
    site_snapshots: int = 0
    known_clusters: Collection[str] = ()
    pullers: bool = True
    concurrency: int = 8

    @property
    def registry(self) -> RegistryHost:
        return self.place.host

    def selects(self, row: ServiceType) -> bool:
        """Is this type to be read? Types without a group are read if all are."""
        return "auto" in self.groups or row.group in self.groups


@dataclass(frozen=True, slots=True)
class TypeReading:
    """The resources of one type in one subscription. `failure`: why the list of them could not be read."""

    row: ServiceType
    findings: Findings
    listed: Sequence[Resource] = ()
    failure: ReadFailure | None = None


@dataclass(slots=True)
class Reader:
    """
    Reads the resources of one subscription, and holds what was read.

    permissions: of the identity on the whole subscription. refused: why they could not be read.
    """

    search: ServiceSearch
    requests: Requests
    types: list[TypeReading] = field(default_factory=list)
    permissions: Sequence[dict[str, Any]] = ()
    refused: ReadFailure | None = None

    @property
    def subscription(self) -> str:
        return self.requests.subscription

    def sees(self, row: ServiceType) -> bool:
        """May the identity read every resource of this type?"""
        return may(self.permissions, f"{row.type}/read")

    async def read_permissions(self) -> None:
        granted, self.refused = await attempt("read permissions", self.requests.permissions)
        self.permissions = granted or ()

    async def read_type(self, row: ServiceType, read: ReadResource | None = None, registry_id: str = "") -> None:
        """
        Read all resources of one type. Raises only `IdentityError`.

        read: reads one resource; by default as the row says.
        registry_id: the resource above the list, instead of the subscription.
        """
        path = f"/subscriptions/{self.subscription}/providers/{row.type}"
        path = f"{registry_id}/{row.type.rpartition('/')[2]}" if registry_id else path
        listed, failure = self.search.cache_rules if row is CACHE_RULES else None, None
        if listed is None:
            listed, failure = await attempt(f"list {row.type}", partial(self.requests.list, path, row.api_version))
        read = read or partial(read_row, row)
        jobs = [partial(guarded, item.name, partial(read, self, item)) for item in listed or ()]
        findings = Findings().add(*await gather(jobs, limit=AT_ONCE))
        failure = None if isinstance(failure, NotRegisteredError) else failure
        self.types.append(TypeReading(row, findings, listed or (), failure))

    def workload(self, kind: str, *names: str) -> Workload:
        """Return the workload of a resource, or of an item below it: `shop-api (revision shop-api--7)`."""
        name, inner = names[0], ", ".join(names[1:])
        return Workload(f"{SERVICES}:{self.subscription}", "", kind, f"{name} ({inner})" if inner else name)

    def read(self, resource: Resource, item: Item, workload: Workload) -> Findings:
        """Read the image fields and all other text of one resource."""
        registry, document, findings = self.search.registry, resource.body, Findings()
        for place in (place for path in item.images for place in places(document, path)):
            read_image(place, workload, registry, findings)
        if item.pair is not None and (path := first(document, item.pair[1])) is not None:
            host = first(document, item.pair[0])
            text = f"{host.strip().rstrip('/')}/{path}" if isinstance(host, str) and host.strip() else path
            read_image(Place(item.pair[1], "", text), workload, registry, findings)
        if item.encoded:
            document = {**document, **decoded_fields(resource, item, findings)}
            document = json.loads(_HOST_VARIABLE.sub(lambda _: registry.login_server, json.dumps(document)))
        fields = {use.field for use in findings.uses}
        findings.uses += [use for use in self.search.read_text(document, workload) if use.field not in fields]
        findings.identities |= identities(resource.body)
        findings.notes += [text for note in item.notes if (text := self._note(note, resource))]
        return findings

    def _note(self, note: Note, resource: Resource) -> str:
        known = self.search.known_clusters
        values = [value for path in note.unless for value in strings(resource.body, path)]
        if any(value.lower() in known or urlsplit(value).hostname in known for value in values):
            return ""
        if note.about and not any(map(self.search.registry.mentioned_in, strings(resource.body, note.about))):
            return ""
        document = {**resource.body, "parent": resource.id.split("/")[-3]}
        return re.sub(r"\{([\w.]+)\}", lambda path: quoted(first(document, path[1]), 200), note.text)


async def guarded(name: str, read: Callable[[], Awaitable[Findings]]) -> Findings:
    """Await `read`. A failure becomes part of the findings. Raises only `IdentityError`."""
    findings, failure = await attempt(f"read {quoted(name, 80)}", read)
    return findings or Findings(failures=[failure] if failure else [])


async def read_row(
    row: ServiceType, reader: Reader, resource: Resource, item: Item | None = None, names: tuple[str, ...] = ()
) -> Findings:
    """
    Read one resource, and the lists below it. A list that cannot be read does not stop the others.

    item: what to read of it, by default as the row says.
    names: its name, after those of the resources above, as in `Reader.workload`.
    """
    item, names = item or row, names or (resource.name,)
    findings = reader.read(resource, item, reader.workload(row.kind, *names))

    async def read_list(child: Child) -> Findings:
        items = await reader.requests.list(f"{resource.id}/{child.path}", row.api_version, child.query)
        jobs = [
            partial(read_row, row, reader, below, child, (*names, f"{child.word} {below.name}"))
            for below in _counted(items, child, reader.search)
        ]
        return Findings().add(*await gather(jobs, limit=AT_ONCE))

    # The cache rules of our registry are a row of their own.
    children = () if row is REGISTRIES and is_registry(reader, resource.id) else item.children
    jobs = [partial(guarded, resource.name, partial(read_list, child)) for child in children]
    findings.add(*await gather(jobs, limit=AT_ONCE))
    if item.required and not findings.places:
        seen = f"{quoted(': '.join(names), 160)} has no image, so it is unknown what it runs."
        findings.failures.append(ReadFailure("read its images", seen, "Repair or delete the resource."))
    return findings


def decoded_fields(resource: Resource, item: Item, into: Findings) -> dict[str, str]:
    """Return the texts of the encoded fields. One that cannot be decoded is a failure."""
    texts: dict[str, str] = {}
    for place in (place for path in item.encoded for place in places(resource.body, path)):
        try:
            texts[place.field] = decoded(place.value)
        except (AttributeError, ValueError) as error:
            seen = f"{place.field} of {quoted(resource.name, 80)} is not base64 of text ({quoted(error, 80)})."
            into.failures.append(ReadFailure("read its text", seen, "Correct or delete the resource."))
    return texts


def is_registry(reader: Reader, name: str) -> bool:
    """Is this the resource id (or the name) of the registry? Names of registries are unique in Azure."""
    return name.rstrip("/").rpartition("/")[2].lower() == reader.search.registry.name


def _counted(items: list[Resource], child: Child, search: ServiceSearch) -> list[Resource]:
    """Return the active items, and the newest inactive ones: one click activates an inactive revision."""
    stopped = [item for item in items if child.inactive and first(item.body, child.inactive) is False]
    stopped.sort(key=lambda item: str(first(item.body, "properties.createdTime") or ""), reverse=True)
    dropped = {item.id for item in stopped[search.revisions :]}
    return [item for item in items if item.id not in dropped]
