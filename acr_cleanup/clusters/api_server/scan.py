"""
Reads one Kubernetes API server, page by page, into a `ClusterScan`.

Every kind that can start a pod is read, and every other kind that the server offers and that may name images: custom resources
above all. What is not proven to have been read completely is a blocker: a refused or failed list, a page that is cut short or is
not the list that was asked for, an empty list that the server gives to someone who may not list at all. Empty is not the same as
unread.
https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP, discover
from acr_cleanup.clusters.api_server.pages import MalformedPage, ObjectReader, Page, is_helms, open_page
from acr_cleanup.clusters.images.helm_history import RELEASE_TYPE, History
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind
from acr_cleanup.clusters.read_failure import ReadFailure, Unreachable, describe, or_waive
from acr_cleanup.concurrency import gather
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan

# Of workloads; other objects may be large (a ConfigMap up to 1 MiB), and Helm's Secrets are.
_PAGE_SIZE, _SMALLER_PAGE, _HELM_PAGE = 500, 200, 50
# The built-in kinds have many objects, the others are many kinds of few: a cluster may have hundreds of definitions.
_KINDS_AT_ONCE, _FURTHER_KINDS_AT_ONCE = 5, 10
_RESTARTS = 3
# At one object a page this is still more than any API server holds of a kind that fits its etcd.
_MOST_PAGES = 100_000
# For so long objects are read before others get their turn: answers are still coming in.
_SECONDS_AT_ONCE = 0.01
_MOST_NOTES = 20
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SECRET = Kind("Secret", "secrets", "")
HELM_NOTE = (
    "Helm manages workloads here, and a rollback could start what older revisions name. To protect the newest three revisions "
    "of each release, set helm-history: 3 (it needs the right to list Secrets)."
)


async def scan(ask: Ask, cluster: str, registry: Registry, *, access: str, helm_history: int = 0) -> ClusterScan:
    """
    Every use of the registry's images in every object of this API server that may name one.

    `helm_history` revisions of each Helm release count as well; with 0 no Secret is ever asked for. What goes wrong becomes
    blockers of the scan. Only `Unreachable` is raised, when the server never gave any answer: there may be another way to it.
    """
    line = _Line(ask)
    whole = _Whole(line, _Rights(line), cluster, registry, watch_for_helm=helm_history == 0)
    history = History(helm_history, cluster, registry) if helm_history > 0 else None

    built_in = [whole.reading((kind,), limit=_PAGE_SIZE) for kind in KINDS]
    further: list[_Reading] = []
    unread: list[ReadFailure] = []

    async def read_built_in() -> None:
        await gather([reading.read for reading in built_in], limit=_KINDS_AT_ONCE)

    async def read_further() -> None:
        served = await discover(line, cluster)
        unread.extend(served.unread)
        further.extend(whole.reading(versions, limit=_SMALLER_PAGE) for versions in served.kinds)
        if history is not None:
            further.extend(_of_helm(whole, history))
        await gather([reading.read for reading in further], limit=_FURTHER_KINDS_AT_ONCE)

    await gather([read_built_in, read_further], limit=2)
    if line.dead is not None:
        raise line.dead

    found = Findings()
    for reading in (*built_in, *further):
        found.add(reading.found)
    for problem in unread:
        found.blockers[problem.blocker(cluster)] = None
    if history is not None:
        # Unpacking megabytes of YAML takes its time, and other clusters are being read.
        found.add(await asyncio.to_thread(history.findings))
    objects = sum(reading.objects for reading in (*built_in, *further))
    notes = [*shortened(found.notes), *([HELM_NOTE] if whole.helm_seen else [])]
    return ClusterScan(cluster, tuple(found.uses), tuple(found.blockers), access, objects, notes=tuple(notes))


def _of_helm(whole: _Whole, history: History) -> Iterable[_Reading]:
    """Helm keeps its releases in Secrets, or (`HELM_DRIVER=configmap`) in ConfigMaps. Only these are asked for."""
    selected = {"labelSelector": "owner=helm"}
    yield whole.reading(
        (SECRET,),
        limit=_HELM_PAGE,
        query={**selected, "fieldSelector": f"type={RELEASE_TYPE}"},
        sink=_Revisions(history),
    )
    yield whole.reading((CONFIG_MAP,), limit=_HELM_PAGE, query=selected, sink=_Revisions(history))


def shortened(notes: Iterable[str]) -> Sequence[str]:
    """As many notes as anybody reads, and how many more there are."""
    notes = list(notes)
    rest = len(notes) - _MOST_NOTES
    return notes if rest <= 0 else [*notes[:_MOST_NOTES], f"{rest} more notes of this kind are left out."]


class _Line:
    """The line to the API server. While nothing has ever come back on it, the first failure is enough to give it up."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._answered = False
        self.dead: Unreachable | None = None

    async def __call__(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer:
        if self.dead is not None:
            raise self.dead
        try:
            answer = await self._ask(method, path, body, accept=accept)
        except Unreachable as unreachable:
            if not self._answered:
                self.dead = unreachable
            raise
        self._answered, self.dead = True, None
        return answer


class _Rights:
    """Proves that an empty list is empty: some servers give an empty answer instead of a refusal."""

    def __init__(self, line: _Line) -> None:
        self._ask = line
        self._asking = asyncio.Lock()
        self._everything: HttpAnswer | None = None

    async def check(self, kind: Kind, cluster: str) -> None:
        """Raises `ReadFailure` unless we may list this kind; one review of the right to list everything is enough for all."""
        async with self._asking:
            if self._everything is None:
                self._everything = await self._review({"group": "*", "resource": "*", "verb": "list"})
        review = self._everything
        if empty_list_problem(kind, review, cluster) is not None:
            review = await self._review(list_attributes(kind))
        problem = empty_list_problem(kind, review, cluster)
        if problem is not None:
            raise problem

    async def _review(self, attributes: dict[str, str]) -> HttpAnswer:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return await self._ask("POST", _REVIEWS, review)


class _Expired(Exception):
    """410: the list that this page belongs to is no longer kept."""


class _Refused(ReadFailure):
    """401 and 403: another version of the same kind would be refused as well."""


class _Sink(Protocol):
    """What takes the objects of a list, one after the other. Raises `MalformedPage` for what it cannot read."""

    @property
    def found(self) -> Findings: ...

    def add(self, item: msgspec.Raw) -> None: ...


class _Revisions:
    """Takes the objects in which Helm keeps its releases. What is in them is read at the end, when the newest are known."""

    def __init__(self, history: History) -> None:
        self.found = Findings()
        self._history = history

    def add(self, item: msgspec.Raw) -> None:
        try:
            self._history.add(msgspec.json.decode(item))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedPage(f"an object on the list cannot be read: {error}.") from None


@dataclass(slots=True)
class _Whole:
    """What the readings of all kinds of one cluster share."""

    line: _Line
    rights: _Rights
    cluster: str
    registry: Registry
    watch_for_helm: bool
    helm_seen: bool = False

    def reading(
        self,
        versions: tuple[Kind, ...],
        *,
        limit: int,
        query: Mapping[str, str] | None = None,
        sink: _Sink | None = None,
    ) -> _Reading:
        return _Reading(self, versions, {"limit": str(limit), **(query or {})}, sink)

    def look_for_helm(self, answer: HttpAnswer, page: Page) -> None:
        if self.watch_for_helm and not self.helm_seen:
            self.helm_seen = is_helms(answer.body, page.items)


@dataclass(slots=True)
class _Reading:
    """The reading of all objects of one kind. What was found before a failure counts: it is in use all the same."""

    whole: _Whole
    versions: tuple[Kind, ...]
    query: Mapping[str, str]
    sink: _Sink | None
    found: Findings = field(default_factory=Findings)
    objects: int = 0

    async def read(self) -> None:
        """In the version that the server prefers; where that one fails (a lost conversion webhook), in another that it serves."""
        problem: ReadFailure | None = None
        for kind in self.versions:
            try:
                if await _List(self, kind).read():
                    if not self.objects:
                        await self.whole.rights.check(kind, self.whole.cluster)
                    return
            except (_Refused, Unreachable) as refused:
                problem = _of_kind(refused, kind, self.whole.cluster)
                break
            except ReadFailure as unread:
                problem = problem or unread
        if problem is not None:
            self.found.blockers[problem.blocker(self.whole.cluster)] = None


def _of_kind(unread: ReadFailure, kind: Kind, cluster: str) -> ReadFailure:
    """No answer to a list: it is this kind that is unread, whatever may be wrong with the line."""
    if not isinstance(unread, Unreachable):
        return unread
    return ReadFailure(
        f"list {kind}", f"{unread.call}: {unread.seen}", or_waive_it(kind, cluster, unread.remedy), kind=str(kind)
    )


class _List:
    """One list of one kind in one version, from its first page to its last, however often it has to be begun."""

    def __init__(self, reading: _Reading, kind: Kind) -> None:
        self._reading = reading
        self._kind = kind
        self._cluster = reading.whole.cluster
        self._ask = reading.whole.line
        self._sink: _Sink = reading.sink or ObjectReader(kind, self._cluster, reading.whole.registry)

    async def read(self) -> bool:
        """Read the whole list; False if the server has no such kind. Raises `ReadFailure`."""
        try:
            for _ in range(1 + _RESTARTS):
                try:
                    return await self._walk()
                except _Expired:
                    continue
        finally:
            self._reading.found.add(self._sink.found)
        raise self._unread(
            f"410 Gone, {1 + _RESTARTS} times: the list expired before its last page.",
            "Run again when the cluster is quieter.",
        )

    async def _walk(self) -> bool:
        """All pages of one list, from its first. Each is read while the next is on its way."""
        self._reading.objects = 0
        seen = set[object]()
        coming = asyncio.create_task(self._page(""))
        try:
            for _ in range(_MOST_PAGES):
                answer = await coming
                if answer.status != 200:
                    await self._refused(answer)
                    return False
                page = self._opened(answer)
                if page.token:
                    # No two pages of a list begin with the same object.
                    begin = bytes(page.items[0]) if page.items else b""
                    if not page.items or page.token in seen or hash(begin) in seen:
                        raise self._unread(
                            "the list never ends: the same page again, or one with nothing on it.", _REMEDY_SERVER
                        )
                    seen |= {page.token, hash(begin)}
                    coming = asyncio.create_task(self._page(page.token))
                await self._take(answer, page)
                if not page.token:
                    return True
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        raise self._unread(f"the list never ends: more than {_MOST_PAGES} pages.", _REMEDY_SERVER)

    async def _page(self, token: str) -> HttpAnswer:
        # Never `resourceVersion=0`: it ignores the limit, and may answer from a stale cache.
        query = {**self._reading.query, **({"continue": token} if token else {})}
        return await self._ask("GET", f"{self._kind.path}?{urlencode(query)}")

    def _opened(self, answer: HttpAnswer) -> Page:
        try:
            return open_page(answer.body, self._kind)
        except MalformedPage as torn:
            raise self._unread(str(torn), _REMEDY_SERVER) from None

    async def _take(self, answer: HttpAnswer, page: Page) -> None:
        self._reading.whole.look_for_helm(answer, page)
        began = 0.0
        for item in page.items:
            if time.monotonic() - began > _SECONDS_AT_ONCE:
                await asyncio.sleep(0)
                began = time.monotonic()
            try:
                self._sink.add(item)
            except MalformedPage as torn:
                raise self._unread(str(torn), _REMEDY_SERVER) from None
        self._reading.objects += len(page.items)

    async def _refused(self, answer: HttpAnswer) -> None:
        """Raises for an answer other than 200, unless it means that the server has no such kind."""
        kind, seen = self._kind, _describe(answer)
        if answer.status == 410:
            raise _Expired
        if answer.status == 401:
            raise _Refused(
                "logging in to the API server",
                seen,
                "Check that the identity, its tenant and the cluster belong together, and that the login has not expired.",
            )
        if answer.status == 403:
            raise _Refused(f"list {kind}", seen, rule_to_add(kind, self._cluster), kind=str(kind))
        if answer.status == 404:
            if not await self._is_not_served():
                raise self._unread(
                    seen, "Check the address of the API server and its version: it should serve this kind."
                )
            return
        raise self._unread(seen, "Run again later: the API server is busy." if answer.status == 429 else _REMEDY_SERVER)

    async def _is_not_served(self) -> bool:
        """After a 404: does the server itself say that it has no such kind?"""
        answer = await self._ask("GET", self._kind.group_path)
        if answer.status == 404 and not self._kind.always_served:
            # Its group version is not described here, and the other kinds of the same version answer for that.
            return True
        described = _json(answer)
        resources = described.get("resources") if described and described.get("kind") == "APIResourceList" else None
        if answer.status != 200 or not isinstance(resources, list):
            return False
        return not any(isinstance(each, dict) and each.get("name") == self._kind.resource for each in resources)

    def _unread(self, seen: str, remedy: str) -> ReadFailure:
        return ReadFailure(
            f"list {self._kind}", seen, or_waive_it(self._kind, self._cluster, remedy), kind=str(self._kind)
        )


def list_attributes(kind: Kind) -> dict[str, str]:
    """What an access review is asked about: listing this kind in all namespaces."""
    return {"group": kind.group, "resource": kind.resource, "verb": "list"}


def empty_list_problem(kind: Kind, review: HttpAnswer, cluster: str = "") -> ReadFailure | None:
    """What keeps an empty list of this kind from being believed, given the answer to the access review."""
    if review.status in {404, 405}:
        return None  # a server without this review; its list must stand
    body = _json(review)
    status = body.get("status") if body else None
    allowed = status.get("allowed") if isinstance(status, dict) else None
    if review.status not in {200, 201} or not isinstance(allowed, bool):
        return ReadFailure(
            f"reviewing the right to list {kind}",
            f"{_describe(review)}; whether the empty list of {kind} is true cannot be told.",
            "Let the identity create selfsubjectaccessreviews.authorization.k8s.io (every authenticated user may, by default).",
            kind=str(kind),
        )
    if allowed:
        return None
    seen = "the answer is an empty list, but this identity may not list them at all."
    return ReadFailure(f"list {kind}", seen, rule_to_add(kind, cluster), kind=str(kind))


_REMEDY_SERVER = "Check the API server and what stands before it (a proxy, a gateway), then run again."


def or_waive_it(kind: Kind, cluster: str, remedy: str) -> str:
    """Nobody should be led to give up pods: only what is not there by nature may be worth it."""
    return remedy if kind in KINDS else or_waive(remedy, cluster, str(kind))


# What Azure's role for reading covers of these groups. https://learn.microsoft.com/azure/aks/manage-azure-rbac
_READER_ROLE_GROUPS = frozenset({"", "apps", "batch"})
_NOT_IN_READER_ROLE = frozenset({"podtemplates", "secrets"})


def rule_to_add(kind: Kind, cluster: str) -> str:
    """What lets an identity list this kind, and the way around it where there is a `cluster` to waive it in."""
    role = (
        "; with Azure RBAC, Azure Kubernetes Service RBAC Reader"
        if kind.group in _READER_ROLE_GROUPS and kind.resource not in _NOT_IN_READER_ROLE
        else ""
    )
    # Short, for reports cut long text, and the rule and the way around it must both be seen.
    remedy = (
        f'Let the identity list them everywhere: `apiGroups: ["{kind.group}"], resources: ["{kind.resource}"], '
        f'verbs: ["list"]` in a ClusterRole (`acr-cleanup permissions` prints it){role}.'
    )
    return or_waive(remedy, cluster, str(kind)) if cluster else remedy


def _json(answer: HttpAnswer) -> dict[str, Any] | None:
    """The body as a JSON object, None if it is none."""
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _describe(answer: HttpAnswer) -> str:
    """`403 Forbidden: pods is forbidden: User …`."""
    return describe(answer.status, answer.reason, answer.body)
