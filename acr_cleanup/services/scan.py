"""
Reads the services of all subscriptions into scans, side by side.

A type that exists and cannot be read is a blocker. A subscription that the identity does not see
as a whole is a warning, because Azure leaves out silently what the caller may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource, status_of
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.permissions import may, read_permissions
from acr_cleanup.access.pullers import read_pullers
from acr_cleanup.access.read_failure import ReadFailure, or_waive
from acr_cleanup.access.resource_graph import Discovered, discover
from acr_cleanup.access.resource_manager import ResourceManager, open_manager
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import SERVICES, Blocker, ClusterScan, Outside, Puller
from acr_cleanup.quoting import quoted
from acr_cleanup.services import neighbours, table
from acr_cleanup.services.app_service import read_site
from acr_cleanup.services.images import Findings
from acr_cleanup.services.machine_learning import read_ml_registry, read_workspace
from acr_cleanup.services.reader import AT_ONCE, Reader, ServiceSearch, TypeReading, guarded, read_type
from acr_cleanup.services.registry import read_item
from acr_cleanup.services.table import OF_REGISTRY, REGISTRIES, TOLD, TYPES, ServiceGroup, ServiceType

_READERS: dict[ServiceType, Callable[[Reader, Resource], Awaitable[Findings]]] = {
    table.SITES: read_site,
    table.WORKSPACES: read_workspace,
    table.ML_REGISTRIES: read_ml_registry,
    **{row: partial(neighbours.describe, row) for row in TOLD},
    **{row: partial(read_item, row) for row in OF_REGISTRY},
}
_Job = Callable[[], Awaitable[object]]
_NOT_SEEN = frozenset({400, 401, 403, 404})
_FAILURES_SHOWN = 10
_NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


@dataclass(slots=True)
class _SubscriptionReading:
    """
    The findings in one subscription.

    permissions: of the identity on the whole subscription. refused: why they could not be read.
    """

    reader: Reader
    types: list[TypeReading] = field(default_factory=list)
    permissions: list[dict[str, Any]] = field(default_factory=list)
    refused: ReadFailure | None = None

    @property
    def subscription(self) -> str:
        return self.reader.requests.subscription

    def sees(self, row: ServiceType) -> bool:
        """May the identity read every resource of this type?"""
        return may(self.permissions, f"{row.type}/read")


async def read_services(search: ServiceSearch, azure: Azure) -> tuple[tuple[ClusterScan, ...], Outside]:
    """
    Return one scan for each subscription in which services were found, and what is not seen.

    Raises only `IdentityError`.
    """
    async with open_manager(azure) as manager:
        run = _Run(search, manager, asyncio.Semaphore(search.concurrency))
        await run.read()
        pullers = await run.pullers(azure) if search.pullers else ()
    scans = (run.scan(reading).waive(search.waived) for reading in run.readings)
    found = tuple(scan for scan in scans if scan.objects or scan.blockers or scan.waived or scan.notes)
    unseen, failed = run.unseen(), run.unseen_registry(fails=True)
    if search.required:
        return found, Outside((), (*failed, *unseen), pullers)
    return found, Outside(tuple(f"{problem.seen} {problem.remedy}" for problem in unseen), tuple(failed), pullers)


@dataclass
class _Run:
    search: ServiceSearch
    manager: ResourceManager
    gate: asyncio.Semaphore
    """Limits the requests of all subscriptions together."""
    readings: list[_SubscriptionReading] = field(default_factory=list)
    discovered: Discovered = field(default_factory=Discovered)
    registry: Resource | None = None
    registry_failure: ReadFailure | None = None

    async def read(self) -> None:
        """Read the known subscriptions, those that Resource Graph adds, and the registry itself."""
        ids = (*self.search.subscriptions, self.search.registry_subscription or "")
        known = tuple(dict.fromkeys(subscription.lower() for subscription in ids if subscription))

        async def ask_graph() -> None:
            only = known if self.search.only_these else ()
            # A client needs a subscription, but the query is not about it.
            client = Requests(self.manager, next(iter(known), _NO_SUBSCRIPTION), self.gate)
            self.discovered = await discover(client, only)

        # Known subscriptions need not wait for Resource Graph.
        jobs: list[_Job] = [ask_graph, self._find_registry, *(partial(self._read_subscription, each) for each in known)]
        await gather(jobs, limit=AT_ONCE)
        types = {row.type.lower() for row in (*TYPES, *TOLD)} | {name.lower() for name in table.UNREAD}
        further = () if self.search.only_these else self.discovered.with_any(types) - set(known)
        await gather([partial(self._read_subscription, each) for each in sorted(further)], limit=AT_ONCE)
        if self.registry is None:
            listed = (item for reading in self.readings for type_ in reading.types for item in type_.listed)
            self.registry = next(filter(self._is_registry, listed), None)
        if self.registry is not None:
            await self._read_below(self.registry)

    async def _read_subscription(self, subscription: str) -> _SubscriptionReading:
        reading = _SubscriptionReading(Reader(self.search, Requests(self.manager, subscription, self.gate)))
        self.readings.append(reading)

        async def ask_permissions() -> Findings:
            client = await self.manager.client(subscription)
            async with self.gate:
                reading.permissions = await read_permissions(client, Subscription(subscription))
            return Findings()

        async def prove() -> None:
            reading.refused = next(iter((await guarded("permissions", ask_permissions)).failures), None)

        jobs: list[_Job] = [prove, *(partial(_read_into, reading, row) for row in self._rows(TYPES, TOLD))]
        await gather(jobs, limit=AT_ONCE)
        return reading

    def _rows(self, *tables: tuple[ServiceType, ...]) -> list[ServiceType]:
        return [row for table in tables for row in table if self.search.selects(row)]

    # -- the registry itself -----------------------------------------------------------------------

    async def _find_registry(self) -> None:
        """Find the registry in its resource group: its name may differ from the first part of its host."""
        if not (self.search.registry_subscription and self.search.registry_group):
            return
        subscription = self.search.registry_subscription.lower()
        path = f"/subscriptions/{subscription}/resourceGroups/{self.search.registry_group}/providers/{REGISTRIES.type}"

        async def find() -> Findings:
            registries = await Requests(self.manager, subscription, self.gate).list(path, REGISTRIES.api_version)
            self.registry = next(filter(self._is_registry, registries), None)
            return Findings()

        self.registry_failure = next(iter((await guarded("the registry", find)).failures), None)

    def _is_registry(self, resource: Resource) -> bool:
        host = first(resource.body, "properties.loginServer")
        return isinstance(host, str) and host.lower() == self.search.registry.login_server.lower()

    async def _read_below(self, registry: Resource) -> None:
        """Read the lists below the registry, as a part of its subscription."""
        subscription = registry.id.split("/")[2].lower()
        reading = next((each for each in self.readings if each.subscription == subscription), None)
        reading = reading or await self._read_subscription(subscription)
        await gather([partial(_read_into, reading, row, registry.id) for row in self._rows(OF_REGISTRY)], limit=AT_ONCE)

    async def pullers(self, azure: Azure) -> tuple[Puller, ...]:
        """Return who may pull, besides everything that was read."""
        if self.registry is None:
            return ()
        principals = {
            each for reading in self.readings for type_ in reading.types for each in type_.findings.identities
        }
        requests = Requests(self.manager, self.registry.id.split("/")[2].lower(), self.gate)
        return await read_pullers(self.registry, requests, azure, principals, self.search.known_clusters)

    # -- results -----------------------------------------------------------------------------------

    def scan(self, reading: _SubscriptionReading) -> ClusterScan:
        types = sorted(reading.types, key=lambda each: each.row.type)
        findings = Findings.of(each.findings for each in types)
        blockers = [blocker for each in types for blocker in self._blockers(each, reading)]
        for name in table.UNREAD if self.search.groups & {"auto", ServiceGroup.CONTAINER_INSTANCES} else ():
            if self.discovered.has(reading.subscription, name):
                failure = ReadFailure(f"list {name}", "this type cannot be read yet.", "Delete its resources.")
                blockers.append(_blocker(name, reading.subscription, failure))
        return ClusterScan(
            f"{SERVICES}:{reading.subscription}",
            uses=tuple(dict.fromkeys(findings.uses)),
            blockers=tuple(blockers),
            access=SERVICES,
            objects=sum(len(each.listed) for each in reading.types if each.row not in TOLD),
            notes=tuple(dict.fromkeys(findings.notes)),
        )

    def _blockers(self, type_: TypeReading, reading: _SubscriptionReading) -> list[Blocker]:
        failures = [*type_.findings.failures]
        if type_.failure is not None and not self._is_hidden(type_, type_.failure, reading):
            failures.insert(0, type_.failure)
        remedy = "Correct the image there, or delete the resource."
        failures += [ReadFailure("read its images", seen, remedy) for seen in type_.findings.problems]
        if (hidden := len(failures) - _FAILURES_SHOWN) > 0:
            more = ReadFailure("read its resources", f"{hidden} more failures of the same type.", "Run again.")
            failures = [*failures[:_FAILURES_SHOWN], more]
        return [_blocker(type_.row.type, reading.subscription, failure) for failure in failures]

    def _is_hidden(self, type_: TypeReading, failure: ReadFailure, reading: _SubscriptionReading) -> bool:
        """
        Is the refused list a part of a subscription that is not seen as a whole?

        Then one warning about the subscription says so, unless Resource Graph lists resources of
        the type. Lists of resources that name no image block nothing.
        """
        refused = status_of(failure) in _NOT_SEEN and not reading.sees(type_.row)
        return type_.row in TOLD or (refused and not self.discovered.has(reading.subscription, type_.row.type))

    def unseen(self) -> list[Blocker]:
        """Return the problems of what is not seen as a whole."""
        problems = [problem for reading in self.readings if (problem := self._unseen(reading)) is not None]
        if self.discovered.problem is not None:
            failure = self.discovered.problem
            seen = f"Further subscriptions with services may exist: {failure.call}: {failure.seen}"
            problems.append(Blocker("Resource Graph", failure.call, seen, failure.remedy))
        return [*problems, *self.unseen_registry(fails=False)]

    def unseen_registry(self, *, fails: bool) -> list[Blocker]:
        """
        Return the problem of a registry that was not found.

        fails: only if its list failed for another reason than a missing right, otherwise only if not.
        """
        failure = self.registry_failure
        failed = failure is not None and status_of(failure) not in _NOT_SEEN
        if self.registry is not None or not self._rows(OF_REGISTRY) or failed != fails:
            return []
        host = self.search.registry.login_server
        seen = f"The registry {quoted(host, 80)} is not listed, so its tasks and connected registries are not read."
        seen += f" {failure.seen}" if failure is not None else ""
        remedy = "Set subscription_id and resource_group of `container_registry`, and grant the role Reader on it."
        return [Blocker(host, "list the registry", seen, remedy)]

    def _unseen(self, reading: _SubscriptionReading) -> Blocker | None:
        failed = [type_ for type_ in reading.types if type_.row in TOLD and type_.failure is not None]
        if reading.refused is not None:
            why, call = reading.refused.seen, reading.refused.call
        elif not all(map(reading.sees, self._rows(TYPES))):
            why, call = "the identity sees only the resources on which it has rights.", "prove that all are listed"
        elif failed:
            why, call = str(failed[0].failure), f"list {failed[0].row.type}"
        else:
            return None
        where = f"subscription {quoted(reading.subscription, 40)}"
        seen = f"{where.capitalize()} may have services that use the registry and are not seen: {why}"
        grant = f"Grant the identity the role {roles.READER} on /subscriptions/{reading.subscription}"
        return Blocker(where, call, seen, f"{grant}, or list in `services` only those that it can read.")


async def _read_into(reading: _SubscriptionReading, row: ServiceType, registry_id: str = "") -> None:
    special = _READERS.get(row)
    path = f"{registry_id}/{row.type.rpartition('/')[2]}" if registry_id else ""
    read = None if special is None else partial(special, reading.reader)
    reading.types.append(await read_type(row, reading.reader, read, path))


def _blocker(type_: str, subscription: str, failure: ReadFailure) -> Blocker:
    # A registry that Azure Machine Learning owns is not a kind of object that can be given up.
    kind = "" if type_ == table.ML_REGISTRIES.type and failure.__cause__ is None else type_
    remedy = failure.remedy
    if status_of(failure) == 403:
        remedy = f"Grant the identity the role {roles.READER} on /subscriptions/{subscription}."
    if kind and "waive:" not in remedy:
        remedy = or_waive(remedy, SERVICES, type_)
    return Blocker(f"{SERVICES}: {type_} in {subscription}", failure.call, failure.seen, remedy, kind)
