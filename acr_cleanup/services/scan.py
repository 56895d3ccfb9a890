"""
Reads the services of all subscriptions into scans, side by side.

A type that exists and cannot be read is a blocker. A subscription that the identity does not see
as a whole is a warning, because Azure leaves out silently what the caller may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from acr_cleanup.access import roles
from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource, status_of
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.find_registry import find_registry
from acr_cleanup.access.pullers import read_pullers
from acr_cleanup.access.read_failure import ReadFailure, attempt, or_waive
from acr_cleanup.access.resource_graph import Discovered, discover
from acr_cleanup.access.resource_manager import ResourceManager, open_manager
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import SERVICES, Blocker, ClusterScan, Outside, Puller
from acr_cleanup.quoting import quoted
from acr_cleanup.services import special, table
from acr_cleanup.services.app_service import read_site
from acr_cleanup.services.images import Findings
from acr_cleanup.services.reader import AT_ONCE, Reader, ReadResource, ServiceSearch, TypeReading
from acr_cleanup.services.table import OF_REGISTRY, TOLD, TYPES, ServiceGroup, ServiceType

_READERS: dict[ServiceType, ReadResource] = {
    table.SITES: read_site,
    table.WORKSPACES: special.read_workspace,
    table.ML_REGISTRIES: special.read_ml_registry,
    table.TASKS: special.read_task,
    table.CONNECTED: special.read_connected,
}
_NOT_SEEN = frozenset({400, 401, 403, 404})
_FAILURES_SHOWN = 10
_NO_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


async def read_services(search: ServiceSearch, azure: Azure) -> tuple[tuple[ClusterScan, ...], Outside]:
    """
    Return one scan for each subscription in which services were found, and what is not seen.

    Raises only `IdentityError`.
    """
    async with open_manager(azure) as manager:
        run = _Run(search, azure, manager, asyncio.Semaphore(search.concurrency))
        await gather([run.read_subscriptions, run.read_registry], limit=2)
    scans = (run.scan(reading).waive(search.waived) for reading in run.readings.values())
    found = (scan for scan in scans if scan.objects or scan.blockers or scan.waived or scan.notes)
    return tuple(found), run.outside()


@dataclass
class _Run:
    search: ServiceSearch
    azure: Azure
    manager: ResourceManager
    gate: asyncio.Semaphore
    """Limits the requests of all subscriptions together."""
    readings: dict[str, Reader] = field(default_factory=dict)
    discovered: Discovered = field(default_factory=Discovered)
    registry: Resource | None = None
    registry_failure: ReadFailure | None = None
    pullers: tuple[Puller, ...] = ()
    _all_read: asyncio.Event = field(default_factory=asyncio.Event)
    """All subscriptions are read."""

    def _requests(self, subscription: str) -> Requests:
        return Requests(self.manager, subscription.lower(), self.gate)

    def _reading(self, subscription: str) -> Reader:
        key = subscription.lower()
        return self.readings.setdefault(key, Reader(self.search, self._requests(key)))

    def _rows(self, *tables: tuple[ServiceType, ...]) -> list[ServiceType]:
        return [row for rows in tables for row in rows if self.search.selects(row)]

    async def read_subscriptions(self) -> None:
        """Read the known subscriptions, and those that Resource Graph adds."""
        ids = (*self.search.subscriptions, self.search.place.subscription or "")
        known = tuple(dict.fromkeys(subscription.lower() for subscription in ids if subscription))

        async def ask_graph() -> None:
            # A client needs a subscription, but the query is not about it.
            client = self._requests(next(iter(known), _NO_SUBSCRIPTION))
            self.discovered = await discover(client, known if self.search.only_these else ())

        # Known subscriptions need not wait for Resource Graph.
        await gather([ask_graph, *(job for name in known for job in self._jobs(name))], limit=AT_ONCE)
        types = {name.lower() for name in (*(row.type for row in (*TYPES, *TOLD)), *table.UNREAD, *table.UNSEEN)}
        further = () if self.search.only_these else self.discovered.with_any(types) - set(known)
        await gather([job for name in sorted(further) for job in self._jobs(name)], limit=AT_ONCE)
        self._all_read.set()

    def _jobs(self, subscription: str) -> list[Callable[[], Awaitable[None]]]:
        """Return what reads each type of a subscription, and what the identity may see there."""
        reading = self._reading(subscription)
        rows = self._rows(TYPES, TOLD)
        return [reading.read_permissions, *(partial(reading.read_type, row, _READERS.get(row)) for row in rows)]

    # -- the registry itself -----------------------------------------------------------------------

    async def read_registry(self) -> None:
        """Find the registry; read the lists below it, and who may pull."""
        place = self.search.place
        if place.list_path:
            find = partial(find_registry, self._requests, place)
            self.registry, self.registry_failure = await attempt("find the registry", find)
        if self.registry is None:
            await self._all_read.wait()
            listed = (item for reading in self.readings.values() for type_ in reading.types for item in type_.listed)
            shown = (item for item in listed if place.is_shown_as(first(item.body, "properties.loginServer")))
            self.registry = next(shown, None)
        if self.registry is not None:
            reading = self._reading(self.registry.id.split("/")[2])
            rows = self._rows(OF_REGISTRY)
            below = [partial(reading.read_type, row, _READERS.get(row), self.registry.id) for row in rows]
            await gather([*below, self._read_pullers] if self.search.pullers else below, limit=AT_ONCE)

    async def _read_pullers(self) -> None:
        async def explained() -> set[str]:
            await self._all_read.wait()
            types = (type_ for reading in self.readings.values() for type_ in reading.types)
            return {principal for type_ in types for principal in type_.findings.identities}

        if self.registry is not None:
            requests, clusters = self._requests(self.registry.id.split("/")[2]), self.search.known_clusters
            self.pullers = await read_pullers(self.registry, requests, self.azure, explained, clusters)

    # -- results -----------------------------------------------------------------------------------

    def scan(self, reading: Reader) -> ClusterScan:
        types = sorted(reading.types, key=lambda type_: type_.row.type)
        findings = Findings().add(*(type_.findings for type_ in types))
        blockers = [blocker for type_ in types for blocker in self._blockers(type_, reading)]
        for name in table.UNREAD if self.search.groups & {"auto", ServiceGroup.CONTAINER_INSTANCES} else ():
            if self.discovered.has(reading.subscription, name):
                failure = ReadFailure(f"list {name}", "this type cannot be read yet.", "Delete its resources.")
                blockers.append(_blocker(name, reading.subscription, failure))
        for name, where in table.UNSEEN.items() if "auto" in self.search.groups else ():
            if self.discovered.has(reading.subscription, name):
                findings.notes.append(f"{name} exists. Images in {where} are not read: exclude them.")
        return ClusterScan(
            f"{SERVICES}:{reading.subscription}",
            uses=tuple(dict.fromkeys(findings.uses)),
            blockers=tuple(blockers),
            access=SERVICES,
            objects=sum(len(type_.listed) for type_ in reading.types if type_.row not in TOLD),
            notes=tuple(dict.fromkeys(findings.notes)),
        )

    def _blockers(self, type_: TypeReading, reading: Reader) -> Iterable[Blocker]:
        """Return the failures of one type. Lists of resources that name no image block nothing."""
        failures = [*type_.findings.failures]
        if type_.failure is not None and not self._is_hidden(type_, type_.failure, reading):
            failures.insert(0, type_.failure)
        if (hidden := len(failures) - _FAILURES_SHOWN) > 0:
            more = ReadFailure("read its resources", f"{hidden} more failures of the same type.", "Run again.")
            failures = [*failures[:_FAILURES_SHOWN], more]
        for failure in failures if type_.row not in TOLD else ():
            yield _blocker(type_.row.type, reading.subscription, failure)

    def _is_hidden(self, type_: TypeReading, failure: ReadFailure, reading: Reader) -> bool:
        """
        Is the refused list a part of a subscription that is not seen as a whole?

        Then one warning about the subscription says so, unless `services` names the type, or Resource Graph lists
        resources of it.
        """
        row = type_.row
        found = row.group in self.search.groups or self.discovered.has(reading.subscription, row.type)
        return status_of(failure) in _NOT_SEEN and not reading.sees(row) and not found

    def outside(self) -> Outside:
        """Return what is not seen as a whole, and who else may pull."""
        problems = [problem for reading in self.readings.values() if (problem := self._unseen(reading)) is not None]
        blockers: list[Blocker] = []
        if (failure := self.discovered.problem) is not None:
            seen = f"Further subscriptions with services may exist: {failure.call}: {failure.seen}"
            problems.append(Blocker("Resource Graph", failure.call, seen, failure.remedy))
        if self.registry is None and self._rows(OF_REGISTRY):
            failure, host = self.registry_failure, self.search.registry.login_server
            seen = f"The registry {quoted(host, 80)} is not listed, so its tasks and connected registries are not read."
            seen += f" {failure.seen}" if failure is not None else ""
            remedy = "Set subscription_id and resource_group of `container_registry`, and grant the role Reader on it."
            lacks_right = failure is None or status_of(failure) in _NOT_SEEN
            (problems if lacks_right else blockers).append(Blocker(host, "list the registry", seen, remedy))
        if self.search.required:
            return Outside((), (*blockers, *problems), self.pullers)
        return Outside(tuple(f"{problem.seen} {problem.remedy}" for problem in problems), tuple(blockers), self.pullers)

    def _unseen(self, reading: Reader) -> Blocker | None:
        told = [type_ for type_ in reading.types if type_.row in TOLD]
        failures = [failure for type_ in told for failure in (type_.failure, *type_.findings.failures) if failure]
        if reading.refused is not None:
            why, call = reading.refused.seen, reading.refused.call
        elif not all(map(reading.sees, self._rows(TYPES))):
            why, call = "the identity sees only the resources on which it has rights.", "prove that all are listed"
        elif failures:
            why, call = str(failures[0]), failures[0].call
        else:
            return None
        where = f"subscription {quoted(reading.subscription, 40)}"
        seen = f"{where.capitalize()} may have services that use the registry and are not seen: {why}"
        grant = f"Grant the identity the role {roles.READER} on /subscriptions/{reading.subscription}"
        return Blocker(where, call, seen, f"{grant}, or list in `services` only those that it can read.")


def _blocker(type_: str, subscription: str, failure: ReadFailure) -> Blocker:
    # A registry that Azure Machine Learning owns is not a kind of object that can be given up.
    kind = "" if type_ == table.ML_REGISTRIES.type and failure.__cause__ is None else type_
    remedy = failure.remedy
    if status_of(failure) == 403:
        remedy = f"Grant the identity the role {roles.READER} on /subscriptions/{subscription}."
    if kind and "waive:" not in remedy:
        remedy = or_waive(remedy, SERVICES, type_)
    return Blocker(f"{SERVICES}: {type_} in {subscription}", failure.call, failure.seen, remedy, kind)
