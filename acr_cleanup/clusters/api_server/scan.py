"""
Reads one Kubernetes API server, page by page, into a `ClusterScan`.

Every kind that can start a pod is listed, and every other kind that may name images, above all
custom resources. A list that is not proven complete is a blocker: a refused or failed request, a
truncated page, a page of something else, or an empty list for an identity that may not list at all.
Empty is not the same as unread.
https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode

import msgspec

from acr_cleanup.access.read_failure import ReadFailure, Unreachable
from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.api_server.connection import Connection
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP, SECRET, discover
from acr_cleanup.clusters.api_server.list_rights import (
    LOG_IN,
    REMEDY_LOG_IN,
    ListRights,
    or_waive_it,
    rule_to_add,
)
from acr_cleanup.clusters.api_server.pages import MalformedPage, ObjectReader, Page, has_helm_objects, open_page
from acr_cleanup.clusters.api_server.scan_result import finished, keep_one_login
from acr_cleanup.clusters.images.finder import Finder
from acr_cleanup.clusters.images.helm_history import RELEASE_TYPE, History
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind
from acr_cleanup.clusters.images.registry_hosts import RegistryHosts
from acr_cleanup.clusters.target import Search
from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import ClusterScan

# Objects on a page of workloads, on the first page of other kinds (a ConfigMap may have 1 MiB), and
# of Helm's Secrets. Two pages are in memory at a time, so later pages are as long as their objects
# allow.
_PAGE_SIZE, _SMALLER_PAGE, _HELM_PAGE = 500, 50, 50
_PAGE_BYTES = 16 << 20
_FEWEST_OBJECTS = 10
# The built-in kinds have many objects each. A cluster may have hundreds of other kinds, with few
# objects each.
_KINDS_AT_ONCE, _FURTHER_KINDS_AT_ONCE = 5, 10
_RESTARTS = 3
_SETTLING = (0.3, 0.9, 2.7)
"""
Seconds before a list is asked for again that was refused against the identity's rights: a restarted
server answers 403 until it has loaded its roles.
"""
# Even with one object per page, more than any API server holds of a kind that fits into its etcd.
_MOST_PAGES = 100_000
# After so many seconds of decoding, let other tasks run: their responses are waiting.
_DECODING_SECONDS = 0.01
_REMEDY_SERVER = "Check the API server and any proxy or gateway in front of it, then run again."


async def scan(ask: Ask, cluster: str, search: Search, *, access: str) -> ClusterScan:
    """
    Find every use of the registry's images in the objects of this API server, and what else they name.

    search: with `helm_history` 0, no Secret is requested.

    Failures become blockers of the scan. Raises only `Unreachable`, if the server has never
    answered: another way to it may still work.
    """
    connection = Connection(ask)
    finder = Finder(search.names)
    hosts = RegistryHosts(search.registry)
    reading = ClusterReading(connection, ListRights(connection), cluster, search, finder, hosts)
    history = History(search.helm_history, cluster, search.names, finder) if search.helm_history > 0 else None

    built_in = [reading.kind((kind,), limit=_PAGE_SIZE) for kind in KINDS]
    further: list[KindReading] = []
    failures: list[ReadFailure] = []

    async def read_built_in() -> None:
        await gather([kind.read for kind in built_in], limit=_KINDS_AT_ONCE)

    async def read_further() -> None:
        served = await discover(connection, cluster)
        failures.extend(served.failures)
        further.extend(
            reading.kind(versions, limit=_SMALLER_PAGE) for versions in served.kinds if not search.ignores(versions[0])
        )
        if history is not None:
            further.extend(_helm_releases(reading, history))
        await gather([kind.read for kind in further], limit=_FURTHER_KINDS_AT_ONCE)

    await gather([read_built_in, read_further], limit=2)
    if connection.dead is not None:
        raise connection.dead

    findings = Findings()
    for kind in (*built_in, *further):
        findings.add(kind.findings)
    for failure in failures:
        findings.blockers[failure.blocker(cluster)] = None
    keep_one_login(findings)
    if history is not None:
        # In a thread: unpacking megabytes of YAML takes time, and other clusters are being read.
        findings.add(await asyncio.to_thread(history.findings))
    objects = sum(kind.objects for kind in (*built_in, *further))
    return finished(findings, cluster, search.names, access, objects, helm_note=reading.helm_seen, hosts=reading.hosts)


def _helm_releases(reading: ClusterReading, history: History) -> Iterable[KindReading]:
    """
    Read only Helm's objects: it stores releases in Secrets, or with `HELM_DRIVER=configmap` in
    ConfigMaps.
    """
    selected = {"labelSelector": "owner=helm"}
    yield reading.kind(
        (SECRET,),
        limit=_HELM_PAGE,
        query={**selected, "fieldSelector": f"type={RELEASE_TYPE}"},
        sink=_HelmRevisions(history),
    )
    yield reading.kind((CONFIG_MAP,), limit=_HELM_PAGE, query=selected, sink=_HelmRevisions(history))


class _Expired(Exception):
    """410: the server no longer has the snapshot of the list that this page belongs to."""


class _NotYet(Exception):
    """403, although the identity has the right: the server has not loaded its roles yet."""

    def __init__(self, refusal: ReadFailure) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class _Refused(ReadFailure):
    """401 and 403, which every version of the kind would give."""


class _Sink(Protocol):
    """
    Takes the objects of a list, one by one. Raises `MalformedPage` for an object that it cannot
    read.
    """

    @property
    def findings(self) -> Findings: ...

    def add(self, item: msgspec.Raw) -> None: ...


class _HelmRevisions:
    """
    Takes the objects in which Helm stores releases. They are read after the last one, when the
    newest are known.
    """

    def __init__(self, history: History) -> None:
        self.findings = Findings()
        self._history = history

    def add(self, item: msgspec.Raw) -> None:
        try:
            self._history.add(msgspec.json.decode(item))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedPage(f"an object on the list cannot be read: {error}.") from None


@dataclass(slots=True)
class ClusterReading:
    """The values that the readings of all kinds of one cluster share."""

    connection: Connection
    rights: ListRights
    cluster: str
    search: Search
    finder: Finder
    hosts: RegistryHosts
    helm_seen: bool = False

    def kind(
        self,
        versions: tuple[Kind, ...],
        *,
        limit: int,
        query: Mapping[str, str] | None = None,
        sink: _Sink | None = None,
    ) -> KindReading:
        """Prepare the reading of one kind, in pages of `limit` objects."""
        return KindReading(self, versions, {"limit": str(limit), **(query or {})}, sink)

    def look_for_helm(self, answer: HttpAnswer, page: Page) -> None:
        if self.search.helm_history == 0 and not self.helm_seen:
            self.helm_seen = has_helm_objects(answer.body, page.items)


@dataclass(slots=True)
class KindReading:
    """
    The reading of all objects of one kind. Uses found before a failure count, because they are in
    use all the same.
    """

    cluster: ClusterReading
    versions: tuple[Kind, ...]
    query: Mapping[str, str]
    sink: _Sink | None
    findings: Findings = field(default_factory=Findings)
    objects: int = 0

    async def read(self) -> None:
        """
        Read the version that the server prefers. If it fails (a lost conversion webhook), try the
        other versions.
        """
        problem: ReadFailure | None = None
        for kind in self.versions:
            try:
                if await _List(self, kind).read():
                    if not self.objects:
                        await self.cluster.rights.check(kind, self.cluster.cluster)
                    return
            except (_Refused, Unreachable) as failure:
                problem = problem or _limited_to(kind, failure, self.cluster.cluster)
                # A conversion webhook without an answer concerns one version; a lost server concerns all.
                if not (isinstance(failure, Unreachable) and failure.timed_out):
                    break
            except ReadFailure as failure:
                problem = problem or failure
        if problem is not None:
            self.findings.blockers[problem.blocker(self.cluster.cluster)] = None


def _limited_to(kind: Kind, failure: ReadFailure, cluster: str) -> ReadFailure:
    """
    Without a response to its list, only this kind could not be read: the server has answered other
    requests.
    """
    if not isinstance(failure, Unreachable):
        return failure
    seen, remedy = f"{failure.call}: {failure.seen}", or_waive_it(kind, cluster, failure.remedy)
    if failure.timed_out:
        seen = f"no answer in time for {kind.api_version}, although the API server answers other requests."
        remedy = or_waive_it(kind, cluster, "Check the conversion webhook of this kind, and run again.")
    return ReadFailure(f"list {kind}", seen, remedy, kind=str(kind))


class _List:
    """
    The list of one kind in one version, from its first page to its last, restarted if it expires.
    """

    def __init__(self, reading: KindReading, kind: Kind) -> None:
        self._reading = reading
        self._kind = kind
        self._cluster = reading.cluster.cluster
        self._ask = reading.cluster.connection
        shared = reading.cluster
        self._sink: _Sink = reading.sink or ObjectReader(kind, self._cluster, shared.search.names, shared.finder)

    async def read(self) -> bool:
        """
        Read the whole list. Returns False if the server has no such kind. Raises `ReadFailure`.
        """
        settling = iter(_SETTLING)
        expired = 0
        try:
            while expired <= _RESTARTS:
                try:
                    return await self._read_pages()
                except _Expired:
                    expired += 1
                except _NotYet as refused:
                    pause = next(settling, None)
                    if pause is None:
                        raise refused.refusal from None
                    await asyncio.sleep(pause)
        finally:
            self._reading.findings.add(self._sink.findings)
        raise self._failure(
            f"410 Gone, {1 + _RESTARTS} times: the list expired before its last page.",
            "Run again when the cluster is quieter.",
        )

    async def _read_pages(self) -> bool:
        """
        Read all pages from the first. Each page is decoded while the next one is being fetched.
        """
        self._reading.objects = 0
        seen = set[object]()
        coming = asyncio.create_task(self._fetch(""))
        try:
            for _ in range(_MOST_PAGES):
                answer = await coming
                if answer.status != 200:
                    await self._refused(answer)
                    return False
                page = self._opened(answer)
                if page.token:
                    # No two pages of a list begin with the same object.
                    first = bytes(page.items[0]) if page.items else b""
                    if not page.items or page.token in seen or hash(first) in seen:
                        raise self._failure("the list never ends: a page is empty or repeats another.", _REMEDY_SERVER)
                    seen |= {page.token, hash(first)}
                    limit = max(_FEWEST_OBJECTS, min(_PAGE_SIZE, _PAGE_BYTES * len(page.items) // len(answer.body)))
                    coming = asyncio.create_task(self._fetch(page.token, limit))
                await self._take(answer, page)
                if not page.token:
                    return True
                # Of a hundred clusters, no page is kept in memory while the next one is awaited.
                del answer, page
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        raise self._failure(f"the list never ends: more than {_MOST_PAGES} pages.", _REMEDY_SERVER)

    async def _fetch(self, token: str, limit: int = 0) -> HttpAnswer:
        # Never `resourceVersion=0`: it ignores the limit, and may answer from a stale cache.
        query = {**self._reading.query, **({"continue": token, "limit": str(limit)} if token else {})}
        return await self._ask("GET", f"{self._kind.path}?{urlencode(query)}")

    def _opened(self, answer: HttpAnswer) -> Page:
        try:
            return open_page(answer.body, self._kind)
        except MalformedPage as malformed:
            raise self._failure(str(malformed), _REMEDY_SERVER) from None

    async def _take(self, answer: HttpAnswer, page: Page) -> None:
        self._reading.cluster.look_for_helm(answer, page)
        self._reading.cluster.hosts.look(answer.body)
        began = 0.0
        for item in page.items:
            if time.monotonic() - began > _DECODING_SECONDS:
                await asyncio.sleep(0)
                began = time.monotonic()
            try:
                self._sink.add(item)
            except MalformedPage as malformed:
                raise self._failure(str(malformed), _REMEDY_SERVER) from None
        self._reading.objects += len(page.items)

    async def _refused(self, answer: HttpAnswer) -> None:
        """Raise for a response other than 200, unless it means that the server has no such kind."""
        kind, seen = self._kind, answer.describe()
        if answer.status == 410:
            raise _Expired
        if answer.status == 401:
            raise _Refused(LOG_IN, seen, REMEDY_LOG_IN)
        if answer.status == 403:
            refusal = _Refused(f"list {kind}", seen, rule_to_add(kind, self._cluster), kind=str(kind))
            if await self._reading.cluster.rights.has(kind):
                raise _NotYet(refusal)
            raise refusal
        if answer.status == 404:
            if await self._is_served():
                remedy = "Check the address of the API server and its version: it should serve this kind."
                raise self._failure(seen, remedy)
            return
        if answer.status == 429:
            # No waiver: the server will answer later.
            raise ReadFailure(f"list {kind}", seen, "Run again later: the API server is busy.", kind=str(kind))
        raise self._failure(seen, _REMEDY_SERVER)

    async def _is_served(self) -> bool:
        """After a 404: return False if the server itself says that it has no such kind."""
        answer = await self._ask("GET", self._kind.group_path)
        if answer.status == 404 and not self._kind.always_served:
            # If this 404 is wrong, the kinds of the same group version that are always served
            # become blockers.
            return False
        described = answer.json_object()
        resources = described.get("resources") if described and described.get("kind") == "APIResourceList" else None
        if answer.status != 200 or not isinstance(resources, list):
            return True
        return any(isinstance(entry, dict) and entry.get("name") == self._kind.resource for entry in resources)

    def _failure(self, seen: str, remedy: str) -> ReadFailure:
        kind = str(self._kind)
        return ReadFailure(f"list {kind}", seen, or_waive_it(self._kind, self._cluster, remedy), kind=kind)
