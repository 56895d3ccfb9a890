"""
Which kinds of objects an API server serves beyond the built-in workloads: custom resources, and whatever else may name images.

Servers since 1.27 describe everything in two answers, where the dead backend of an aggregated API shows as `Stale`; others give
one list of groups, and one answer for each version of each. What cannot be told of a group version is a blocker that names it.
https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import msgspec

from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.images.pod_specs import KINDS, Kind
from acr_cleanup.clusters.read_failure import ReadFailure, Unreachable, describe, or_waive
from acr_cleanup.concurrency import gather
from acr_cleanup.quoting import quoted

# Aggregated discovery in its stable and its older form, and else the plain one: what kubectl sends.
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
ACCEPT = f"{_AGGREGATED.format('v2')},{_AGGREGATED.format('v2beta1')},application/json"
CONFIG_MAP = Kind("ConfigMap", "configmaps", "", always_served=False)

# What is never listed, and why not: by resource as kubectl names it, or a whole group as `*.group`. Everything else is read.
NOT_READ: Mapping[str, str] = MappingProxyType(
    {
        "secrets": "nobody's secrets are read; Helm's history is asked for by itself, when it is asked for",
        "nodes": "an image in a node's cache is not in use",
        "events": "they tell what happened, and start nothing",
        "endpoints": "addresses",
        "services": "addresses",
        "componentstatuses": "health",
        "limitranges": "limits",
        "resourcequotas": "limits",
        "persistentvolumes": "storage",
        "*.events.k8s.io": "they tell what happened, and start nothing",
        "*.metrics.k8s.io": "measurements of nodes and pods",
        "*.discovery.k8s.io": "addresses",
        "*.networking.k8s.io": "addresses and routes",
        "*.coordination.k8s.io": "locks",
        "*.rbac.authorization.k8s.io": "rights",
        "*.authorization.k8s.io": "rights",
        "*.authentication.k8s.io": "logins",
        "*.certificates.k8s.io": "logins",
        "*.scheduling.k8s.io": "priorities",
        "*.policy": "limits",
        "*.autoscaling": "limits",
        "*.flowcontrol.apiserver.k8s.io": "limits",
        "*.storage.k8s.io": "storage",
        "*.node.k8s.io": "kinds of runtimes",
        "*.resource.k8s.io": "devices",
        "*.apiregistration.k8s.io": "it says what is served, which discovery says as well",
        "*.apiextensions.k8s.io": "it says what is served, which discovery says as well",
    }
)
_BUILT_IN = frozenset(map(str, KINDS))
_REQUESTS_AT_ONCE = 8

_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_GROUP = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_VERSION = re.compile(r"[a-z][a-z0-9]*")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Discovery:
    """
    What an API server serves, apart from `objects.KINDS`.

    `kinds`: for each kind that may be listed, it as served in each of its versions, the preferred one first. `unread`: what the
    server did not tell of itself.
    """

    kinds: tuple[tuple[Kind, ...], ...]
    unread: tuple[ReadFailure, ...] = ()


async def discover(ask: Ask, cluster: str) -> Discovery:
    """
    Ask an API server what it serves. ConfigMaps are always among it: the reading itself shows whether the server has them.

    Never raises `ReadFailure`: what is missing is in the answer.
    """
    findings = DiscoveryBuilder(cluster)
    for root in ("/api", "/apis"):
        try:
            await _read_root(ask, root, findings)
        except ReadFailure as unread:
            findings.unread.append(unread)
    return findings.done()


class DiscoveryBuilder:
    """What was found so far."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.unread: list[ReadFailure] = []
        self._kinds: dict[str, dict[str, Kind]] = {str(CONFIG_MAP): {CONFIG_MAP.version: CONFIG_MAP}}

    def add(self, group: str, version: str, resources: Iterable[_Resource]) -> None:
        """The resources of one group version; a server may name the same one twice."""
        group_version = _group_version(group, version)
        for resource in resources:
            # Subresources (`pods/log`) are parts of objects that are read as a whole.
            if "list" not in (resource.verbs or ()) or "/" in resource.name:
                continue
            kind = Kind(resource.kind or resource.name, resource.name, group, always_served=False, version=version)
            if not (_RESOURCE.fullmatch(kind.resource) and _KIND.fullmatch(kind.name)):
                seen = f"it names a resource {quoted(kind.resource, 80)!r} of kind {quoted(kind.name, 80)!r}."
                self.unread.append(self._unread(group_version, seen))
            elif str(kind) not in _BUILT_IN and str(kind) not in NOT_READ:
                self._kinds.setdefault(str(kind), {}).setdefault(version, kind)

    def dead(self, group: str, version: str, answer: HttpAnswer | ReadFailure) -> None:
        """A group version that is registered, and does not say what it holds."""
        seen = describe(answer.status, answer.reason, answer.body) if isinstance(answer, HttpAnswer) else answer.seen
        self.unread.append(self._unread(_group_version(group, version), seen))

    def _unread(self, group_version: str, seen: str) -> ReadFailure:
        group, _, version = group_version.rpartition("/")
        service = f"{version}.{group}"
        remedy = (
            f"Bring back what serves it (`kubectl get apiservice {service}` names it), or, if nobody needs it any more, "
            f"`kubectl delete apiservice {service}`."
        )
        return ReadFailure(
            f"asking what {group_version} serves",
            seen,
            or_waive(remedy if group else _REMEDY, self.cluster, group_version),
            kind=group_version,
        )

    def done(self) -> Discovery:
        kinds = tuple(tuple(versions.values()) for _, versions in sorted(self._kinds.items()))
        return Discovery(kinds, tuple(self.unread))


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


class _Resource(msgspec.Struct):
    """A resource of a group version. Go writes an empty list as null."""

    name: str
    kind: str = ""
    verbs: list[str] | None = None


class _Group(msgspec.Struct):
    """A group and its versions, the preferred one first, each with its resources where they are already known."""

    name: str
    versions: list[tuple[str, list[_Resource] | None]]


async def _read_root(ask: Ask, root: str, findings: DiscoveryBuilder) -> None:
    call = f"asking what the API server serves ({root})"
    answer = await ask("GET", root, accept=ACCEPT)
    if answer.status == 406:
        answer = await ask("GET", root)
    if answer.status == 404 and root == "/apis":
        return  # no further groups: only a strange server has none
    if answer.status != 200:
        raise ReadFailure(call, describe(answer.status, answer.reason, answer.body), _refusal(answer.status))
    groups = _groups(answer.body)
    if groups is None:
        seen = (
            f"the answer is cut short, or is no discovery document: {quoted(answer.body.decode(errors='replace'), 80)}"
        )
        raise ReadFailure(call, seen, _REMEDY)
    works = []
    for group in groups:
        if f"*.{group.name}" in NOT_READ:
            continue
        for version, resources in group.versions:
            if (group.name and not _GROUP.fullmatch(group.name)) or not _VERSION.fullmatch(version):
                raise ReadFailure(call, f"it names a group version {quoted(f'{group.name}/{version}', 80)!r}.", _REMEDY)
            works.append(partial(_read_version, ask, group.name, version, resources, findings))
    # One after the other in order, but for those that must be asked: so that the preferred version stands first.
    for work in await gather(works, limit=_REQUESTS_AT_ONCE):
        work()


async def _read_version(
    ask: Ask, group: str, version: str, resources: list[_Resource] | None, findings: DiscoveryBuilder
) -> partial[None]:
    """What to note of one group version, once it is its turn."""
    if resources is not None:
        return partial(findings.add, group, version, resources)
    try:
        answer = await ask("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        if answer.status == 404 and group and await _is_gone(ask, group, version):
            return partial(findings.add, group, version, ())
    except ReadFailure as unread:
        if isinstance(unread, Unreachable) and not group:
            raise
        return partial(findings.dead, group, version, unread)
    described = _decode(answer.body, _ResourceList) if answer.status == 200 else None
    if described is None or described.kind != "APIResourceList":
        return partial(findings.dead, group, version, answer)
    return partial(findings.add, group, version, described.resources or ())


async def _is_gone(ask: Ask, group: str, version: str) -> bool:
    """After a 404: is the group version no longer registered either? It may have been removed a moment ago."""
    answer = await ask("GET", f"/apis/{group}")
    if answer.status == 404:
        return True
    described = _decode(answer.body, _PlainGroup) if answer.status == 200 else None
    return described is not None and all(each.version != version for each in described.versions or ())


# -- documents ------------------------------------------------------------------------------------------------


class _Name(msgspec.Struct):
    name: str = ""


class _ResponseKind(msgspec.Struct):
    kind: str = ""


class _AggregatedResource(msgspec.Struct):
    resource: str
    responseKind: _ResponseKind | None = None  # noqa: N815
    verbs: list[str] | None = None


class _AggregatedVersion(msgspec.Struct):
    version: str
    resources: list[_AggregatedResource] | None = None
    freshness: str = ""


class _AggregatedGroup(msgspec.Struct):
    metadata: _Name
    versions: list[_AggregatedVersion] | None


class _AggregatedList(msgspec.Struct):
    items: list[_AggregatedGroup] | None


class _PlainVersion(msgspec.Struct):
    version: str


class _PlainGroup(msgspec.Struct):
    name: str
    versions: list[_PlainVersion] | None
    preferredVersion: _PlainVersion | None = None  # noqa: N815


class _PlainGroups(msgspec.Struct):
    groups: list[_PlainGroup] | None


class _CoreVersions(msgspec.Struct):
    versions: list[str] | None


class _ResourceList(msgspec.Struct):
    kind: str
    resources: list[_Resource] | None


class _Kind(msgspec.Struct):
    kind: str = ""
    apiVersion: str = ""  # noqa: N815


def _groups(body: bytes) -> list[_Group] | None:
    """The groups that the answer to `/api` or `/apis` tells of, in whichever form; None if it is in none."""
    document = _decode(body, _Kind)
    match document.kind if document else "":
        case "APIGroupDiscoveryList":
            aggregated = _decode(body, _AggregatedList)
            if aggregated is None or not document or not document.apiVersion.startswith("apidiscovery.k8s.io/v2"):
                return None
            return [
                _Group(each.metadata.name, [(version.version, _resources(version)) for version in each.versions or ()])
                for each in aggregated.items or ()
            ]
        case "APIGroupList":
            plain = _decode(body, _PlainGroups)
            return None if plain is None else [_Group(each.name, _preferred_first(each)) for each in plain.groups or ()]
        case "APIVersions":
            core = _decode(body, _CoreVersions)
            return None if core is None else [_Group("", [(version, None) for version in core.versions or ()])]
    return None


def _resources(version: _AggregatedVersion) -> list[_Resource] | None:
    """None if they must be asked for: of a backend that gives no answer now, only what it once said is known, or nothing."""
    if version.freshness == "Stale":
        return None
    return [
        _Resource(each.resource, each.responseKind.kind if each.responseKind else "", each.verbs)
        for each in version.resources or ()
    ]


def _preferred_first(group: _PlainGroup) -> list[tuple[str, list[_Resource] | None]]:
    preferred = group.preferredVersion.version if group.preferredVersion else ""
    versions = sorted((each.version for each in group.versions or ()), key=lambda version: version != preferred)
    return [(version, None) for version in versions]


Document = TypeVar("Document")


def _decode(body: bytes, form: type[Document]) -> Document | None:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_REMEDY = "Check the API server and what stands before it (a proxy, a gateway), then run again."


def _refusal(status: int) -> str:
    if status in {401, 403}:
        return (
            "Let the identity ask: the ClusterRole system:discovery, which every authenticated user has by default. "
            "Without it nobody can say which custom resources there are."
        )
    return _REMEDY
