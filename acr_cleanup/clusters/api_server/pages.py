"""
Reads the pages of a list into findings. The result is that of `image_uses` for each object, in a
fraction of the time.

A cluster may have fifty thousand pods, which are replicas of a few hundred workloads. Only those parts of a pod
with a controller that may name images are decoded, and a pod with the same parts as one that
was read before adds only the digests in its annotations. Objects of other kinds that cannot name
anything of the registry are only counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from acr_cleanup.clusters.images.finder import Finder
from acr_cleanup.clusters.images.mention_index import DigestPlace
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_mentions import ObjectMentions
from acr_cleanup.clusters.images.object_texts import Node
from acr_cleanup.clusters.images.pod_specs import POD, Findings, Kind, image_uses
from acr_cleanup.clusters.images.quiet_parts import parts_of
from acr_cleanup.clusters.images.workload_texts import is_of_replica
from acr_cleanup.core.references import Digest
from acr_cleanup.core.workload import Workload
from acr_cleanup.quoting import quoted


class MalformedPage(Exception):
    """
    A page, or an object on it, is not what was requested. The message is a sentence that says how.
    """


# -- the page --------------------------------------------------------------------------------------


class Page(msgspec.Struct):
    """
    A page of a list: its objects, not decoded yet, and the token of the next page, which is empty
    on the last page.
    """

    items: list[msgspec.Raw]
    token: str


class _Envelope(msgspec.Struct):
    kind: Any = None
    apiVersion: Any = None  # noqa: N815
    metadata: Any = None
    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


def open_page(body: bytes, kind: Kind) -> Page:
    """
    Read a page of a list of `kind`. Raises `MalformedPage` unless the body is proven to be one, and
    complete.

    The lists of custom resources may have any name (`listKind`), and so do those of some aggregated
    APIs.
    """
    wanted = f"{kind.name}List"
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        raise MalformedPage(_INCOMPLETE if body.lstrip()[:1] == b"{" else f"the answer is not a {wanted}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedPage(f"the answer is cut short or is not JSON ({len(body)} bytes).") from None
    named = str(envelope.kind)
    listed = named == wanted or (not kind.pod_spec and (named.endswith("List") or _may_be_list(envelope.kind, kind)))
    if not listed or envelope.apiVersion != kind.api_version:
        raise MalformedPage(f"the answer is a {quoted(envelope.kind, 60)!r}, not a {wanted} of {kind.api_version}.")
    items, metadata = envelope.items, envelope.metadata
    if items is msgspec.UNSET or not isinstance(metadata, dict):
        raise MalformedPage(_INCOMPLETE)
    # Go writes an empty list as null. A missing list was lost on the way.
    items = items or []
    if not all(bytes(memoryview(item)[:1]) == b"{" for item in items):
        raise MalformedPage("an item on the list is not an object.")
    token, remaining = metadata.get("continue") or "", metadata.get("remainingItemCount")
    if not isinstance(token, str) or (not token and isinstance(remaining, int) and remaining > 0):
        raise MalformedPage("the list stops before its end: items remain, but the link to the next page is missing.")
    return Page(items, token)


def _may_be_list(named: Any, kind: Kind) -> bool:
    """A `listKind` may be any name except that of the objects on the list."""
    return bool(kind.group) and isinstance(named, str) and named not in {"", "Status", kind.name}


_INCOMPLETE = "the answer is not a complete list: its `items` or its `metadata` are missing."


# -- the parts of a pod that name images -----------------------------------------------------------


class _Part(msgspec.Struct, frozen=True, gc=False):
    """
    A part of a pod. A pod that does not fit this form is decoded whole, never dropped.

    `gc=False`, because parts never form cycles, and the garbage collector would search tens of
    thousands of them.
    """


class _ImageVolume(_Part, frozen=True):
    reference: str = ""


class _Volume(_Part, frozen=True):
    image: _ImageVolume | None = None


class _PodSpec(_Part, frozen=True):
    containers: msgspec.Raw = msgspec.Raw()
    initContainers: msgspec.Raw = msgspec.Raw()  # noqa: N815
    ephemeralContainers: msgspec.Raw = msgspec.Raw()  # noqa: N815
    volumes: tuple[_Volume, ...] | None = None


class _ContainerStatus(_Part, frozen=True):
    name: str = ""
    image: str = ""
    imageID: str = ""  # noqa: N815


class _Status(_Part, frozen=True):
    containerStatuses: tuple[_ContainerStatus, ...] | None = None  # noqa: N815
    initContainerStatuses: tuple[_ContainerStatus, ...] | None = None  # noqa: N815
    ephemeralContainerStatuses: tuple[_ContainerStatus, ...] | None = None  # noqa: N815


class _Owner(_Part, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool = False


class _Metadata(_Part, frozen=True):
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    ownerReferences: tuple[_Owner, ...] | None = None  # noqa: N815


class _Pod(_Part, frozen=True):
    metadata: _Metadata
    spec: _PodSpec
    status: _Status = _Status()


_POD = msgspec.json.Decoder(_Pod)
_TOKEN_VOLUME = b"kube-api-access-"
_TOKEN_VOLUME_LENGTH = len(_TOKEN_VOLUME) + 5
# Labels that say which replica a pod is.
_REPLICA_LABELS = frozenset({"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"})


def _without_token(containers: bytes) -> bytes:
    """Containers without the random name of the volume with the token of their service account."""
    at = containers.find(_TOKEN_VOLUME)
    return containers if at < 0 else containers.replace(containers[at : at + _TOKEN_VOLUME_LENGTH], b"")


# -- reading ---------------------------------------------------------------------------------------

_MOST_SEEN = 2_000
_ANNOTATIONS = Node({}, None, "", "metadata.annotations")
_LONE_DIGEST = re.compile("[0-9a-f]{64}").fullmatch


class _Replicas:
    """
    The pods of one controller with the same parts, the first of which was read whole.

    workload: their owner; None if the first pod names nothing.
    mentions: the places of its mentions in the findings.
    digests: digests in their annotations that are known.
    """

    def __init__(self, digests: Iterable[str]) -> None:
        self.workload: Workload | None = None
        self.mentions = range(0)
        self.digests = set(digests)


class ObjectReader:
    """Reads the objects of one kind, one by one, into `findings`."""

    def __init__(self, kind: Kind, cluster: str, names: Names, finder: Finder | None = None) -> None:
        self.findings = Findings()
        self._kind = kind
        self._cluster = cluster
        self._names = names
        self._finder = finder or Finder(names)
        self._parts = parts_of(names)
        self._seen: dict[object, _Replicas] = {}
        # Values of annotations that name nothing. They differ between replicas: addresses, checksums.
        self._quiet: set[str] = set()

    def add(self, item: msgspec.Raw) -> None:
        """Read one object. Raises `MalformedPage` if it is not JSON."""
        replicas = None
        if self._kind is POD:
            replicas, is_known = self._replicas(item)
            if is_known or not self._finder.names_something(bytes(item)):
                return
        elif not self._finder.may_name(bytes(item)):
            return
        try:
            obj = self._parts.decode(bytes(item)) if self._kind.pod_spec else msgspec.json.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedPage(f"an object on the list cannot be read: {quoted(error, 80)}.") from None
        findings = image_uses(obj, self._kind, self._cluster, self._names)
        before = len(self.findings.mentions)
        self.findings.add(findings)
        if replicas is not None:
            places: list[ObjectMentions | DigestPlace] = [*findings.mentions, *findings.digests.values()]
            replicas.workload = next((place.workload for place in places), None)
            replicas.mentions = range(before, len(self.findings.mentions))

    def _replicas(self, item: msgspec.Raw) -> tuple[_Replicas | None, bool]:
        """
        The replicas of this pod, and whether it says nothing more than those that were read.

        None if it has no controller, or says more than its replicas may.
        """
        try:
            pod = _POD.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None, False
        metadata, spec, owner = pod.metadata, pod.spec, None
        for owner in metadata.ownerReferences or ():
            if owner.controller and owner.kind:
                break
        else:
            return None, False
        labels, digests = metadata.labels or {}, self._digests_in(metadata.annotations or {})
        if digests is None:
            return None, False
        if not _REPLICA_LABELS.isdisjoint(labels):
            labels = {name: value for name, value in labels.items() if name not in _REPLICA_LABELS}
        key = (
            metadata.namespace,
            owner,
            frozenset(labels.items()),
            _without_token(b"\0".join((spec.containers, spec.initContainers, spec.ephemeralContainers))),
            tuple([volume.image for volume in spec.volumes or () if volume.image is not None]),
            pod.status,
        )
        if replicas := self._seen.get(key):
            return replicas, self._add_digests(replicas, digests)
        # Bounds the memory. Lists are sorted, so replicas follow each other, and clearing costs
        # little.
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[key] = replicas = _Replicas(digests)
        return replicas, False

    def _digests_in(self, annotations: Mapping[str, str]) -> dict[str, str] | None:
        """
        The values that may be digests, such as the checksum of a file: each pod may have its own.

        None if another value may name something.
        """
        digests: dict[str, str] = {}
        for name, value in annotations.items():
            if is_of_replica(name, value):
                continue
            if _LONE_DIGEST(value):
                digests[value] = name
            elif value not in self._quiet:
                if self._finder.names_something(value.encode(errors="replace")):
                    return None
                if len(self._quiet) >= _MOST_SEEN:
                    self._quiet.clear()
                self._quiet.add(value)
        return digests

    def _add_digests(self, replicas: _Replicas, digests: Mapping[str, str]) -> bool:
        """
        Add the digests in the annotations of a replica. Each may be in any repository, and may be the
        tag of a name that the pod contains. Returns False if the pod must be read whole.
        """
        new = digests.keys() - replicas.digests
        if not new:
            return True
        replicas.digests |= new
        if replicas.workload is None:
            return False
        for digest in new:
            field = _ANNOTATIONS.path(digests[digest])
            self.findings.add_digest(Digest(f"sha256:{digest}"), DigestPlace(replicas.workload, field))
        words = b" ".join((b"", *map(str.encode, new)))
        for place in replicas.mentions:
            mentions = self.findings.mentions[place]
            self.findings.mentions[place] = replace(mentions, words=mentions.words + words)
        return True


# -- Helm ------------------------------------------------------------------------------------------

_HELM_MARKS = (b'"app.kubernetes.io/managed-by"', b'"meta.helm.sh/release-name"')
_HELM = re.compile(rb'"app\.kubernetes\.io/managed-by"\s*:\s*"Helm"|"meta\.helm\.sh/release-name"\s*:')


class _Named(msgspec.Struct):
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Object(msgspec.Struct):
    metadata: _Named


def has_helm_objects(body: bytes, items: list[msgspec.Raw]) -> bool:
    """
    Return whether Helm manages an object on this page.

    Releases of AKS add-ons (`aks-managed-…`) do not count: the cluster keeps no history of them.
    """
    # Plain searches first, because most pages need no other.
    if not any(word in body for word in _HELM_MARKS):
        return False
    return any(_is_helm_object(item) for item in items if _HELM.search(item))


def _is_helm_object(item: msgspec.Raw) -> bool:
    try:
        metadata = msgspec.json.decode(item, type=_Object).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # only a hint in the report is lost
    release = metadata.annotations.get("meta.helm.sh/release-name")
    if release is not None:
        return not release.startswith("aks-managed-")
    labelled = metadata.labels.get("app.kubernetes.io/managed-by") == "Helm"
    return labelled and metadata.namespace != "kube-system"
