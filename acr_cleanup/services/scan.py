"""
Reads the services of all subscriptions into scans, side by side.

A type that exists and cannot be read is a blocker. A subscription that the identity does not see
as a whole is a warning, because Azure leaves out silently what the caller may not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from acr_cleanup.access import roles
from acr_cleanup.access.arm_errors import Subscription
from acr_cleanup.access.arm_requests import Requests, Resource, status_of
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.permissions import read_permissions
from acr_cleanup.access.pullers import read_pullers
from acr_cleanup.access.read_failure import ReadFailure, or_waive
from acr_cleanup.access.resource_manager import ResourceManager, open_manager
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import SERVICES, Blocker, ClusterScan, Outside, Puller
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import quoted
from acr_cleanup.services import neighbours
from acr_cleanup.services.app_service import read_site
from acr_cleanup.services.discovery import Discovered, discover
from acr_cleanup.services.images import Findings
from acr_cleanup.services.machine_learning import read_ml_registry, read_workspace
from acr_cleanup.services.reader import Reader, TypeReading, read_type
from acr_cleanup.services.registry import ROWS, own_registry, read_registry, registry_in
from acr_cleanup.services.search import ServiceSearch, SubscriptionReading
from acr_cleanup.services.table import ML_REGISTRIES, SITES, TOLD, TYPES, UNREAD, WORKSPACES, ServiceType

_READ_ONE: dict[ServiceType, Callable[[Reader, Resource], Awaitable[Findings]]] = {
    SITES: read_site,
    WORKSPACES: read_workspace,
    ML_REGISTRIES: read_ml_registry,
}


async def read_services(search: ServiceSearch, azure: Azure) -> tuple[tuple[ClusterScan, ...], Outside]:
    """
    Return one scan for each subscription in which services were found, and what is not seen.

    Raises only `IdentityError`.
    """
    gate = asyncio.Semaphore(search.concurrency)
    async with open_manager(azure) as manager:
        known = _distinct((*search.subscriptions, search.registry_subscription or ""))
        read = partial(_read_subscription, search, manager, gate)
        discovered = Discovered()
        readings: list[SubscriptionReading] = []
        own: Resource | None = None

        async def read_known() -> None:
            readings.extend(await gather([partial(read, subscription) for subscription in known], limit=_AT_ONCE))

        async def ask_graph() -> None:
            nonlocal discovered
            discovered = await discover(manager, known, known if search.only_these else ())

        async def find_registry() -> None:
            nonlocal own
            own = await own_registry(search, manager, gate)

        # Known subscriptions need not wait for Resource Graph.
        await gather([read_known, ask_graph, find_registry], limit=3)
        further = () if search.only_these else _further(discovered, known)
        readings += await gather([partial(read, subscription) for subscription in further], limit=_AT_ONCE)
        own = own or next(filter(None, (registry_in(reading.types, search) for reading in readings)), None)
        unseen = [] if own is not None or not search.reads_registry else [_no_registry(search)]
        pullers: tuple[Puller, ...] = ()
        if own is not None:
            await _read_own(own, search, readings, read)
            if search.pullers:
                principals = {
                    each for reading in readings for type_ in reading.types for each in type_.findings.identities
                }
                requests = Requests(manager, own.id.split("/")[2].lower(), gate)
                pullers = await read_pullers(own, requests, azure, principals, search.known_clusters)
    unseen += [problem for reading in readings if (problem := _unseen(reading, search)) is not None]
    if discovered.problem is not None:
        unseen.append(_undiscovered(discovered.problem))
    scans = (_scan(reading, discovered, search).waive(search.waived) for reading in readings)
    found = tuple(scan for scan in scans if scan.objects or scan.blockers or scan.waived or scan.notes)
    if search.required:
        return found, Outside(blockers=tuple(unseen), pullers=pullers)
    return found, Outside(tuple(f"{problem.seen} {problem.remedy}" for problem in unseen), pullers=pullers)


_AT_ONCE = 32


def _distinct(ids: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(subscription.lower() for subscription in ids if subscription))


def _further(discovered: Discovered, known: Sequence[str]) -> tuple[str, ...]:
    """Return further subscriptions with resources that may pull from the registry."""
    types = {row.type.lower() for row in (*TYPES, *TOLD)} | {name.lower() for name, _ in UNREAD}
    return tuple(
        subscription
        for subscription, present in sorted(discovered.types.items())
        if subscription not in known and present & types
    )


async def _read_subscription(
    search: ServiceSearch, manager: ResourceManager, gate: asyncio.Semaphore, subscription: str
) -> SubscriptionReading:
    requests = Requests(manager, subscription, gate)
    reader = Reader(
        requests,
        search.registry,
        search.read_text,
        f"{SERVICES}:{subscription}",
        revisions=search.revisions,
        site_snapshots=search.site_snapshots,
    )
    reading = SubscriptionReading(subscription, reader, [], None)

    async def ask_permissions() -> None:
        try:
            async with gate:
                client = await manager.client(subscription)
                reading.permissions = await read_permissions(client, Subscription(subscription))
        except IdentityError:
            raise
        except ReadFailure as failure:
            reading.refused = failure

    async def read(row: ServiceType) -> None:
        special = partial(neighbours.describe, row, search) if row in TOLD else _READ_ONE.get(row)
        reading.types.append(await read_type(row, reader, None if special is None else partial(special, reader)))

    rows = [row for row in (*TYPES, *TOLD) if search.reads(row.group)]
    jobs: list[Callable[[], Awaitable[None]]] = [ask_permissions, *(partial(read, row) for row in rows)]
    await gather(jobs, limit=len(jobs))
    return reading


async def _read_own(
    own: Resource,
    search: ServiceSearch,
    readings: list[SubscriptionReading],
    read: Callable[[str], Awaitable[SubscriptionReading]],
) -> None:
    """Read the lists below the registry itself, as a part of its subscription."""
    subscription = own.id.split("/")[2].lower()
    reading = next((each for each in readings if each.subscription == subscription), None)
    if reading is None:
        reading = await read(subscription)
        readings.append(reading)
    rows = [row for row in ROWS if search.reads(row.group)]
    reading.types += await gather([partial(read_registry, row, own, reading.reader) for row in rows], limit=8)


def _scan(reading: SubscriptionReading, discovered: Discovered, search: ServiceSearch) -> ClusterScan:
    blockers: list[Blocker] = []
    for type_ in sorted(reading.types, key=lambda each: each.type):
        blockers += _blockers(type_, reading, discovered)
    for name, group in UNREAD:
        if search.reads(group) and discovered.has(reading.subscription, name):
            failure = ReadFailure(f"list {name}", "this type cannot be read yet.", "Delete its resources.")
            blockers.append(_blocker(name, reading.subscription, failure))
    findings = Findings()
    for type_ in reading.types:
        findings.add(type_.findings)
    return ClusterScan(
        reading.reader.cluster,
        uses=tuple(dict.fromkeys(findings.uses)),
        blockers=tuple(blockers),
        access=SERVICES,
        objects=sum(each.resources for each in reading.types if each.type not in _ONLY_TOLD),
        notes=tuple(dict.fromkeys(findings.notes)),
    )


_ONLY_TOLD = frozenset(row.type for row in TOLD)
_NOT_SEEN = frozenset({400, 401, 403, 404})


def _blockers(type_: TypeReading, reading: SubscriptionReading, discovered: Discovered) -> list[Blocker]:
    failures = list(type_.findings.failures)
    if type_.failure is not None and not _hidden(type_, reading, discovered):
        failures.insert(0, type_.failure)
    failures += [
        ReadFailure("read its images", seen, "Correct the image there, or delete the resource.")
        for seen in type_.findings.problems
    ]
    shown = [_blocker(type_.type, reading.subscription, failure) for failure in failures[:_SHOWN]]
    if len(failures) > _SHOWN:
        rest = f"{len(failures) - _SHOWN} further resources cannot be read either."
        shown.append(_blocker(type_.type, reading.subscription, ReadFailure("read all of them", rest, "Run again.")))
    return shown


_SHOWN = 10


def _hidden(type_: TypeReading, reading: SubscriptionReading, discovered: Discovered) -> bool:
    """
    Is the refused list a part of a subscription that is not seen as a whole?

    Then one warning about the subscription says so, unless Resource Graph lists resources of the
    type, or only lists what pulls nothing.
    """
    if type_.failure is None:
        return False
    refused = status_of(type_.failure) in _NOT_SEEN and not reading.sees(type_.type)
    return type_.type in _ONLY_TOLD or (refused and not discovered.has(reading.subscription, type_.type))


def _blocker(type_: str, subscription: str, failure: ReadFailure) -> Blocker:
    # A registry that Azure Machine Learning owns is no kind of object that a user could do without.
    kind = "" if type_ == ML_REGISTRIES.type and failure.__cause__ is None else type_
    remedy = failure.remedy
    if status_of(failure) == 403:
        remedy = f"Grant the identity the role {roles.READER} on /subscriptions/{subscription}."
    if kind and "waive:" not in remedy:
        remedy = or_waive(remedy, SERVICES, type_)
    return Blocker(f"{SERVICES}: {type_} in {subscription}", failure.call, failure.seen, remedy, kind)


def _unseen(reading: SubscriptionReading, search: ServiceSearch) -> Blocker | None:
    """Return the problem of a subscription that is not seen as a whole."""
    where = f"subscription {quoted(reading.subscription, 40)}"
    types = [row.type for row in TYPES if search.reads(row.group)]
    missing = [name for name in types if not reading.sees(name)]
    refused = [each for each in reading.types if each.failure is not None and each.type in _ONLY_TOLD]
    if reading.refused is not None:
        why, call = reading.refused.seen, reading.refused.call
    elif missing:
        why, call = "the identity sees only the resources on which it has rights.", "prove that all services are listed"
    elif refused:
        why, call = str(refused[0].failure), f"list {refused[0].type}"
    else:
        return None
    seen = f"{where.capitalize()} may have services that use the registry and are not seen: {why}"
    return Blocker(where, call, seen, _GRANT.format(reading.subscription))


_GRANT = "Grant the identity the role Reader on /subscriptions/{}, or list in `services` only those that it can read."


def _no_registry(search: ServiceSearch) -> Blocker:
    host = search.registry.login_server
    seen = f"The registry {quoted(host, 80)} is not listed, so its tasks and connected registries are not read."
    remedy = (
        "Set subscription_id and resource_group of `container_registry`, and grant the identity the role "
        f"{roles.READER} on the registry."
    )
    return Blocker(host, "list the registry", seen, remedy)


def _undiscovered(problem: ReadFailure) -> Blocker:
    seen = f"Further subscriptions with services may exist: {problem.call}: {problem.seen}"
    return Blocker("Resource Graph", problem.call, seen, problem.remedy)
