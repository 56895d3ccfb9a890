"""
Reads one Kubernetes API server, page by page, into a `ClusterScan`.

What is not proven to have been read completely is a blocker: a refused or failed list, a page that is cut short or is not the
list that was asked for, an empty list that the server gives to someone who may not list at all. Empty is not the same as unread.
https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec

from acr_cleanup.clusters.api import Answer, Ask
from acr_cleanup.clusters.objects import KINDS, Findings, Kind, image_uses
from acr_cleanup.clusters.unread import Unreachable, Unread, quoted
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.together import together

_PAGE_SIZE = 500
_KINDS_AT_ONCE = 5
_RESTARTS = 3
# At one object a page this is still more than any API server holds of a kind that fits its etcd.
_MOST_PAGES = 100_000
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def scan(ask: Ask, cluster: str, registry: Registry, *, access: str, helm_history: int = 0) -> ClusterScan:
    """
    Every use of the registry's images in every kind of workload that this API server holds.

    What goes wrong becomes blockers of the scan. Only `Unreachable` is raised, when the server never gave any answer: there may
    be another way to it.
    """
    line = _Line(ask)
    readings = [_Reading(line, kind, cluster, registry) for kind in KINDS]
    await together([reading.read for reading in readings], limit=_KINDS_AT_ONCE)
    if line.dead is not None:
        raise line.dead
    found = Findings()
    for reading in readings:
        found.add(reading.found)
    objects = sum(reading.objects for reading in readings)
    return ClusterScan(cluster, tuple(found.uses), tuple(found.blockers), access, objects)


class _Line:
    """The line to the API server. While nothing has ever come back on it, the first failure is enough to give it up."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._answered = False
        self.dead: Unreachable | None = None

    async def __call__(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        if self.dead is not None:
            raise self.dead
        try:
            answer = await self._ask(method, path, body)
        except Unreachable as unreachable:
            if not self._answered:
                self.dead = unreachable
            raise
        self._answered, self.dead = True, None
        return answer


class _Expired(Exception):
    """410: the list that this page belongs to is no longer kept."""


class _Reading:
    """The reading of all objects of one kind. What was found before a failure counts: it is in use all the same."""

    def __init__(self, line: _Line, kind: Kind, cluster: str, registry: Registry) -> None:
        self._ask = line
        self._kind = kind
        self._image_uses = partial(image_uses, kind=kind, cluster=cluster, registry=registry)
        self._cluster = cluster
        self.found = Findings()
        self.objects = 0

    async def read(self) -> None:
        try:
            listed = await self._list()
            if listed and not self.objects:
                await self._verify_empty()
        except Unread as unread:
            self.found.blockers[unread.blocker(self._cluster)] = None

    async def _list(self) -> bool:
        """Read the whole list; False if this kind cannot be listed and need not be."""
        for _ in range(1 + _RESTARTS):
            try:
                return await self._walk()
            except _Expired:
                continue
        raise self._unread(
            f"410 Gone, {1 + _RESTARTS} times: the list expired before its last page.",
            "Run again when the cluster is quieter.",
        )

    async def _walk(self) -> bool:
        """All pages of one list, from its first."""
        self.objects = 0
        token = ""
        seen = set[str]()
        for _ in range(_MOST_PAGES):
            # Never `resourceVersion=0`: it ignores the limit, and may answer from a stale cache.
            query = {"limit": str(_PAGE_SIZE)} | ({"continue": token} if token else {})
            answer = await self._ask("GET", f"{self._kind.path}?{urlencode(query)}")
            if answer.status != 200:
                await self._refused(answer)
                return False
            items, token = self._page(answer)
            for item in items:
                self.found.add(self._image_uses(item))
            self.objects += len(items)
            if not token:
                return True
            if token in seen or not items:
                raise self._unread(
                    "the list never ends: the same `continue` again, or a page with nothing on it.", _REMEDY_SERVER
                )
            seen.add(token)
        raise self._unread(f"the list never ends: more than {_MOST_PAGES} pages.", _REMEDY_SERVER)

    def _page(self, answer: Answer) -> tuple[list[dict[str, Any]], str]:
        """The items of a page, and the token of the next; anything but a page of the list asked for is unread."""
        page = _json(answer)
        if page is None:
            raise self._unread(f"the answer is cut short or is not JSON ({len(answer.body)} bytes).", _REMEDY_SERVER)
        wanted = f"{self._kind.name}List"
        if page.get("kind") != wanted or page.get("apiVersion") != self._kind.api_version:
            raise self._unread(f"the answer is a {quoted(page.get('kind'), 60)!r}, not a {wanted}.", _REMEDY_SERVER)
        # Null is how Go writes an empty list; a list that is not there at all was lost on the way.
        items, metadata = page.get("items", _MISSING), page.get("metadata")
        if items is None:
            items = []
        if (
            not isinstance(metadata, dict)
            or not isinstance(items, list)
            or not all(isinstance(item, dict) for item in items)
        ):
            raise self._unread(
                "the answer is no complete list: its `items` or its `metadata` are missing.", _REMEDY_SERVER
            )
        token, remaining = metadata.get("continue") or "", metadata.get("remainingItemCount")
        if not isinstance(token, str) or (not token and isinstance(remaining, int) and remaining > 0):
            raise self._unread(
                "the list stops before its end: items remain, and nothing says how to go on.", _REMEDY_SERVER
            )
        return items, token

    async def _refused(self, answer: Answer) -> None:
        """Raises for an answer other than 200, unless it means that this kind need not be read."""
        kind, seen = self._kind, _describe(answer)
        if answer.status == 410:
            raise _Expired
        if answer.status == 401:
            raise Unread(
                "logging in to the API server",
                seen,
                "Check that the identity, its tenant and the cluster belong together, and that the login has not expired.",
            )
        if answer.status == 403:
            if kind.in_reader_roles:
                raise self._unread(seen, _grant(kind))
        elif answer.status == 404:
            if not await self._is_not_served():
                raise self._unread(
                    seen, "Check the address of the API server and its version: it should serve this kind."
                )
        else:
            raise self._unread(
                seen, "Run again later: the API server is busy." if answer.status == 429 else _REMEDY_SERVER
            )

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

    async def _verify_empty(self) -> None:
        """An empty list proves something only if we may list: some servers give an empty answer instead of a refusal."""
        if not self._kind.in_reader_roles:
            return
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": list_attributes(self._kind)},
        }
        problem = empty_list_problem(self._kind, await self._ask("POST", _REVIEWS, review))
        if problem is not None:
            raise problem

    def _unread(self, seen: str, remedy: str) -> Unread:
        return Unread(f"list {self._kind}", seen, remedy)


def list_attributes(kind: Kind) -> dict[str, str]:
    """What an access review is asked about: listing this kind in all namespaces."""
    return {"group": kind.group, "resource": kind.resource, "verb": "list"}


def empty_list_problem(kind: Kind, review: Answer) -> Unread | None:
    """What keeps an empty list of this kind from being believed, given the answer to the access review."""
    if review.status in {404, 405}:
        return None  # a server without this review; its list must stand
    body = _json(review)
    status = body.get("status") if body else None
    allowed = status.get("allowed") if isinstance(status, dict) else None
    if review.status not in {200, 201} or not isinstance(allowed, bool):
        return Unread(
            f"reviewing the right to list {kind}",
            f"{_describe(review)}; whether the empty list of {kind} is true cannot be told.",
            "Let the identity create selfsubjectaccessreviews.authorization.k8s.io (every authenticated user may, by default).",
        )
    if allowed:
        return None
    return Unread(
        f"list {kind}", "the answer is an empty list, but this identity may not list them at all.", _grant(kind)
    )


_MISSING = object()
_REMEDY_SERVER = "Check the API server and what stands before it (a proxy, a gateway), then run again."


def _grant(kind: Kind) -> str:
    return (
        f'Let the identity list them in all namespaces: a ClusterRole with `apiGroups: ["{kind.group}"], '
        f'resources: ["{kind.resource}"], verbs: ["list"]` and a ClusterRoleBinding; on a cluster with Azure RBAC, the role '
        "Azure Kubernetes Service RBAC Reader."
    )


def _json(answer: Answer) -> dict[str, Any] | None:
    """The body as a JSON object, None if it is none."""
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _describe(answer: Answer) -> str:
    """`403 Forbidden: pods is forbidden: User …`."""
    body = _json(answer)
    message = body.get("message") if body else None
    text = quoted(message if message is not None else answer.body.decode(errors="replace"))
    return f"{answer.status} {quoted(answer.reason, 60)}".strip() + (f": {text}" if text else "")
