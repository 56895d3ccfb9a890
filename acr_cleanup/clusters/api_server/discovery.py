"""
The kinds of objects that an API server serves besides the built-in workloads: custom resources, and
others that may name images.

Servers since 1.27 describe all kinds in two responses, in which a group version without a working
backend is `Stale`. Older servers list the groups, and describe each group version in a response of
its own. A group version that is not described becomes a blocker with its name.
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

from acr_cleanup.access.read_failure import ReadFailure, Unreachable, or_waive
from acr_cleanup.clusters.api_server.client import Ask, HttpAnswer
from acr_cleanup.clusters.api_server.list_rights import LOG_IN, REMEDY_LOG_IN
from acr_cleanup.clusters.images.pod_specs import KINDS, Kind
from acr_cleanup.concurrency import gather
from acr_cleanup.quoting import quoted

# As kubectl sends it: aggregated discovery in its stable and its beta version, otherwise plain
# discovery.
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
ACCEPT = f"{_AGGREGATED.format('v2')},{_AGGREGATED.format('v2beta1')},application/json"
CONFIG_MAP = Kind("ConfigMap", "configmaps", "", always_served=False)
SECRET = Kind("Secret", "secrets", "")

# Kinds that are never listed, and why. A key is a resource as kubectl names it, or `*.group` for a
# whole group. All other kinds are listed.
NOT_READ: Mapping[str, str] = MappingProxyType(
    {
        "secrets": "Secrets are not read, except Helm release Secrets when helm-history is set",
        "nodes": "an image in the cache of a node is not in use",
        "events": "records of the past, which start nothing",
        "endpoints": "addresses",
        "services": "addresses",
        "componentstatuses": "health",
        "limitranges": "limits",
        "resourcequotas": "limits",
        "*.events.k8s.io": "records of the past, which start nothing",
        "*.metrics.k8s.io": "metrics of nodes and pods",
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
        "csidrivers.storage.k8s.io": "storage",
        "csinodes.storage.k8s.io": "storage",
        "csistoragecapacities.storage.k8s.io": "storage",
        "volumeattachments.storage.k8s.io": "storage",
        "*.node.k8s.io": "container runtimes",
        "*.resource.k8s.io": "devices",
        "*.apiregistration.k8s.io": "definitions of what is served, which discovery reports as well",
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
    The kinds that an API server serves, except those in `KINDS`.

    kinds: for each kind that can be listed, its versions, the preferred version first.
    failures: group versions, or whole responses, that could not be read.
    """

    kinds: tuple[tuple[Kind, ...], ...]
    failures: tuple[ReadFailure, ...] = ()


async def discover(ask: Ask, cluster: str) -> Discovery:
    """
    Ask an API server which kinds it serves.

    ConfigMaps are always among them; listing them shows whether the server has them. Failures are
    returned, not raised.
    """
    builder = DiscoveryBuilder(cluster)
    for root in ("/api", "/apis"):
        try:
            await _read_root(ask, root, builder)
        except ReadFailure as failure:
            builder.failures.append(failure)
    return builder.done()


class DiscoveryBuilder:
    """Collects the kinds and the failures of one discovery."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.failures: list[ReadFailure] = []
        self._kinds: dict[str, dict[str, Kind]] = {str(CONFIG_MAP): {CONFIG_MAP.version: CONFIG_MAP}}

    def add(self, group: str, version: str, resources: Iterable[_Resource]) -> None:
        """Add the resources of one group version. A server may list a resource twice."""
        group_version = _group_version(group, version)
        for resource in resources:
            # A subresource (`pods/log`) is a part of an object that is read anyway.
            if "list" not in (resource.verbs or ()) or "/" in resource.name:
                continue
            kind = Kind(resource.kind or resource.name, resource.name, group, always_served=False, version=version)
            if not (_RESOURCE.fullmatch(kind.resource) and _KIND.fullmatch(kind.name)):
                seen = f"it names a resource {quoted(kind.resource, 80)!r} of kind {quoted(kind.name, 80)!r}."
                self.failures.append(_not_described(self.cluster, group_version, seen))
            elif str(kind) not in _BUILT_IN and str(kind) not in NOT_READ:
                self._kinds.setdefault(str(kind), {}).setdefault(version, kind)

    def add_failure(self, group: str, version: str, problem: HttpAnswer | ReadFailure) -> None:
        """
        Add a group version that is registered, but whose resources are unknown because of
        `problem`.
        """
        seen = problem.describe() if isinstance(problem, HttpAnswer) else problem.seen
        self.failures.append(_not_described(self.cluster, _group_version(group, version), seen))

    def done(self) -> Discovery:
        kinds = tuple(tuple(versions.values()) for _, versions in sorted(self._kinds.items()))
        return Discovery(kinds, tuple(self.failures))


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def _not_described(cluster: str, group_version: str, seen: str) -> ReadFailure:
    group, _, version = group_version.rpartition("/")
    service = f"{version}.{group}"
    remedy = (
        f"Restore the service behind it (`kubectl get apiservice {service}` names it). If it is no longer needed, run "
        f"`kubectl delete apiservice {service}`."
    )
    return ReadFailure(
        f"asking what {group_version} serves",
        seen,
        or_waive(remedy if group else _REMEDY, cluster, group_version),
        kind=group_version,
    )


class _Resource(msgspec.Struct):
    """A resource of a group version. Null `verbs` are an empty list, as Go writes it."""

    name: str
    kind: str = ""
    verbs: list[str] | None = None


class _Group(msgspec.Struct):
    """
    A group. `versions`: names and resources, the preferred version first; None if the resources
    must be asked for.
    """

    name: str
    versions: list[tuple[str, list[_Resource] | None]]


async def _read_root(ask: Ask, root: str, builder: DiscoveryBuilder) -> None:
    call = f"asking what the API server serves ({root})"
    answer = await ask("GET", root, accept=ACCEPT)
    if answer.status == 406:
        answer = await ask("GET", root)
    if answer.status == 404 and root == "/apis":
        return  # no groups but the core group, which is unusual but valid
    if answer.status != 200:
        raise _refusal(call, answer)
    groups = _groups(answer.body)
    if groups is None:
        seen = f"the answer is cut short, or is not a discovery document: {quoted(answer.body.decode(errors='replace'), 80)}"
        raise ReadFailure(call, seen, _REMEDY)
    jobs = []
    for group in groups:
        if f"*.{group.name}" in NOT_READ:
            continue
        for version, resources in group.versions:
            if (group.name and not _GROUP.fullmatch(group.name)) or not _VERSION.fullmatch(version):
                raise ReadFailure(call, f"it names a group version {quoted(f'{group.name}/{version}', 80)!r}.", _REMEDY)
            jobs.append(partial(_read_version, ask, group.name, version, resources, builder))
    # Asked side by side, but added in order: the preferred version must be first.
    for add in await gather(jobs, limit=_REQUESTS_AT_ONCE):
        add()


async def _read_version(
    ask: Ask, group: str, version: str, resources: list[_Resource] | None, builder: DiscoveryBuilder
) -> partial[None]:
    """Return the call that adds this group version to `builder`, to be made in its turn."""
    if resources is not None:
        return partial(builder.add, group, version, resources)
    try:
        answer = await ask("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        if answer.status == 404 and group and await _is_gone(ask, group, version):
            return partial(builder.add, group, version, ())
    except ReadFailure as failure:
        if isinstance(failure, Unreachable) and not group:
            raise
        return partial(builder.add_failure, group, version, failure)
    described = _decode(answer.body, _ResourceList) if answer.status == 200 else None
    if described is None or described.kind != "APIResourceList":
        return partial(builder.add_failure, group, version, answer)
    return partial(builder.add, group, version, described.resources or ())


async def _is_gone(ask: Ask, group: str, version: str) -> bool:
    """
    After a 404: return whether the group version is no longer registered. It may have been removed
    a moment ago.
    """
    answer = await ask("GET", f"/apis/{group}")
    if answer.status == 404:
        return True
    described = _decode(answer.body, _PlainGroup) if answer.status == 200 else None
    return described is not None and all(other.version != version for other in described.versions or ())


# -- documents -------------------------------------------------------------------------------------


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
    """
    Read the groups from a response to `/api` or `/apis` in any of its three forms; None if it has
    none of them.
    """
    document = _decode(body, _Kind)
    match document.kind if document else "":
        case "APIGroupDiscoveryList":
            aggregated = _decode(body, _AggregatedList)
            if aggregated is None or not document or not document.apiVersion.startswith("apidiscovery.k8s.io/v2"):
                return None
            return [
                _Group(
                    group.metadata.name, [(version.version, _resources(version)) for version in group.versions or ()]
                )
                for group in aggregated.items or ()
            ]
        case "APIGroupList":
            plain = _decode(body, _PlainGroups)
            return (
                None if plain is None else [_Group(group.name, _preferred_first(group)) for group in plain.groups or ()]
            )
        case "APIVersions":
            core = _decode(body, _CoreVersions)
            return None if core is None else [_Group("", [(version, None) for version in core.versions or ()])]
    return None


def _resources(version: _AggregatedVersion) -> list[_Resource] | None:
    """
    Return the resources of a version; None if they must be requested.

    For a stale version, the server has an old description or none.
    """
    if version.freshness == "Stale":
        return None
    return [
        _Resource(resource.resource, resource.responseKind.kind if resource.responseKind else "", resource.verbs)
        for resource in version.resources or ()
    ]


def _preferred_first(group: _PlainGroup) -> list[tuple[str, list[_Resource] | None]]:
    preferred = group.preferredVersion.version if group.preferredVersion else ""
    versions = sorted((version.version for version in group.versions or ()), key=lambda name: name != preferred)
    return [(name, None) for name in versions]


Document = TypeVar("Document")


def _decode(body: bytes, form: type[Document]) -> Document | None:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_REMEDY = "Check the API server and any proxy or gateway in front of it, then run again."


def _refusal(call: str, answer: HttpAnswer) -> ReadFailure:
    if answer.status == 401:
        return ReadFailure(LOG_IN, answer.describe(), REMEDY_LOG_IN)
    remedy = (
        "Grant the identity the ClusterRole system:discovery, which every authenticated user has by default. "
        "Without it the custom resources of the cluster are unknown."
    )
    return ReadFailure(call, answer.describe(), remedy if answer.status == 403 else _REMEDY)
