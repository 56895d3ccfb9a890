"""
Reads the pages of a list into uses: as `objects.image_uses` would, object by object, at a fraction of its price.

A cluster may hold fifty thousand pods, which are replicas of some hundred workloads, and name other registries for the most part.
So an object in whose bytes our registry is not written is only counted. Of the others, only the fields that name images are
decoded; if every mention of the registry stands in these fields, and an object that says the same in them has been read before,
this one is a replica and adds nothing. Whatever is different in any way is decoded whole.
"""

from __future__ import annotations

import re
from functools import lru_cache, reduce
from typing import Any

import msgspec

from acr_cleanup.clusters.images.free_text import needles
from acr_cleanup.clusters.images.pod_specs import POD, Findings, Kind, image_uses
from acr_cleanup.core.references import Registry
from acr_cleanup.quoting import quoted


class MalformedPage(Exception):
    """A page, or an object on it, is not what was asked for; the message says how."""


# -- the page -------------------------------------------------------------------------------------------------


class Page(msgspec.Struct):
    """A page of a list: its items, still undecoded, and the token of the next page, empty on the last one."""

    items: list[msgspec.Raw]
    token: str


class _Envelope(msgspec.Struct):
    kind: Any = None
    apiVersion: Any = None  # noqa: N815
    metadata: Any = None
    items: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


def open_page(body: bytes, kind: Kind) -> Page:
    """
    The page of a list of `kind` that a server sent. Raises `MalformedPage` for anything that is not proven to be one, and whole.

    Definitions of custom resources may call their list as they like, and some aggregated APIs do too.
    """
    wanted = f"{kind.name}List"
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        raise MalformedPage(_NO_LIST if body.lstrip()[:1] == b"{" else f"the answer is not a {wanted}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedPage(f"the answer is cut short or is not JSON ({len(body)} bytes).") from None
    named = str(envelope.kind)
    listed = named == wanted or (not kind.pod_spec and (named.endswith("List") or _may_be_list(envelope.kind, kind)))
    if not listed or envelope.apiVersion != kind.api_version:
        raise MalformedPage(f"the answer is a {quoted(envelope.kind, 60)!r}, not a {wanted} of {kind.api_version}.")
    items, metadata = envelope.items, envelope.metadata
    if items is msgspec.UNSET or not isinstance(metadata, dict):
        raise MalformedPage(_NO_LIST)
    # Null is how Go writes an empty list; a list that is not there at all was lost on the way.
    items = items or []
    if not all(bytes(memoryview(item)[:1]) == b"{" for item in items):
        raise MalformedPage("something on the list is no object.")
    token, remaining = metadata.get("continue") or "", metadata.get("remainingItemCount")
    if not isinstance(token, str) or (not token and isinstance(remaining, int) and remaining > 0):
        raise MalformedPage("the list stops before its end: items remain, and nothing says how to go on.")
    return Page(items, token)


def _may_be_list(named: Any, kind: Kind) -> bool:
    """A definition's `listKind` is any name at all, but not that of what is on the list."""
    return bool(kind.group) and isinstance(named, str) and named not in {"", "Status", kind.name}


_NO_LIST = "the answer is no complete list: its `items` or its `metadata` are missing."


# -- the fields that name images ------------------------------------------------------------------------------


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    A part of an object, as far as it names images. What does not fit is decoded otherwise, never dropped.

    Parts never form cycles, and the garbage collector would look for them among tens of thousands.
    """


class _Env(_Part, frozen=True):
    name: str = ""
    value: str = ""


class _Container(_Part, frozen=True):
    name: str = ""
    image: str = ""
    env: tuple[_Env, ...] = ()
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def texts(self) -> list[str]:
        return [self.image, *self.args, *self.command, *[env.value for env in self.env]]


class _ImageVolume(_Part, frozen=True):
    reference: str = ""


class _Volume(_Part, frozen=True):
    name: str = ""
    image: _ImageVolume | None = None


class _PodSpec(_Part, frozen=True):
    containers: tuple[_Container, ...] = ()
    initContainers: tuple[_Container, ...] = ()  # noqa: N815
    ephemeralContainers: tuple[_Container, ...] = ()  # noqa: N815
    volumes: tuple[_Volume, ...] = ()

    def texts(self) -> list[str]:
        found = [volume.image.reference for volume in self.volumes if volume.image is not None]
        for containers in (self.containers, self.initContainers, self.ephemeralContainers):
            for container in containers:
                found += container.texts()
        return found


class _ContainerStatus(_Part, frozen=True):
    name: str = ""
    image: str = ""
    imageID: str = ""  # noqa: N815


class _Status(_Part, frozen=True):
    containerStatuses: tuple[_ContainerStatus, ...] = ()  # noqa: N815
    initContainerStatuses: tuple[_ContainerStatus, ...] = ()  # noqa: N815
    ephemeralContainerStatuses: tuple[_ContainerStatus, ...] = ()  # noqa: N815

    def texts(self) -> list[str]:
        found: list[str] = []
        for statuses in (self.containerStatuses, self.initContainerStatuses, self.ephemeralContainerStatuses):
            for status in statuses:
                found += (status.image, status.imageID)
        return found


class _Labels(_Part, frozen=True, rename={"template_hash": "pod-template-hash"}):
    template_hash: str = ""


class _Owner(_Part, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool = False


class _Metadata(_Part, frozen=True):
    name: str = ""
    namespace: str = ""
    labels: _Labels = _Labels()
    ownerReferences: tuple[_Owner, ...] = ()  # noqa: N815

    def identity(self) -> tuple[object, ...]:
        """What the workload is named after: the controller, where there is one, for then the object's own name says nothing."""
        for owner in self.ownerReferences:
            if owner.controller and owner.kind:
                return self.namespace, self.labels.template_hash, owner.kind, owner.name
        return self.namespace, self.name


@lru_cache(maxsize=64)
def _decoder(kind: Kind) -> msgspec.json.Decoder[Any]:
    """Reads this kind's objects: their metadata, their status if they are pods, and the pod spec at its place."""
    # Made once for all clusters: making a form takes as long as reading hundreds of objects.
    *above, last = kind.pod_spec
    inner = msgspec.defstruct("_Inner", [(last, _PodSpec, _PodSpec())], bases=(_Part,), frozen=True)
    for key in reversed(above):
        inner = msgspec.defstruct("_Outer", [(key, inner, inner())], bases=(_Part,), frozen=True)
    status: list[tuple[str, Any, Any]] = [("status", _Status, _Status())] if kind is POD else []
    fields = [("metadata", _Metadata, _Metadata()), *status]
    return msgspec.json.Decoder(msgspec.defstruct(kind.name, fields, bases=(inner,), frozen=True))


# -- reading --------------------------------------------------------------------------------------------------

# Letters, digits, dots and dashes need no escaping, and no server escapes them. One that does hides our name from a plain search.
_ESCAPED = re.compile(rb"\\u00(?:2[de]|3[0-9a]|[46][1-9a-f]|[57][0-9a])")
_MOST_SEEN = 2_000


class ObjectReader:
    """Reads objects of one kind, one after the other, into `found`."""

    def __init__(self, kind: Kind, cluster: str, registry: Registry) -> None:
        self.found = Findings()
        self._kind = kind
        self._cluster = cluster
        self._registry = registry
        # No such text, no use.
        self._names = tuple(map(str.encode, needles(registry)))
        self._decoder = _decoder(kind) if kind.pod_spec else None
        # What was read before -> how often it mentions the registry.
        self._seen: dict[object, int] = {}

    def add(self, item: msgspec.Raw) -> None:
        """Read one object. Raises `MalformedPage` if it is no JSON."""
        text = bytes(item).lower()
        mentions = sum(map(text.count, self._names))
        hidden = (b"\\u00" in text and _ESCAPED.search(text) is not None) or (
            # What is in it is encoded.
            self._kind.name == "ConfigMap" and b'"binarydata"' in text
        )
        if (not mentions and not hidden) or (not hidden and self._is_replica(item, mentions)):
            return
        try:
            obj = msgspec.json.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedPage(f"an object on the list cannot be read: {quoted(error, 80)}.") from None
        self.found.add(image_uses(obj, self._kind, self._cluster, self._registry))

    def _is_replica(self, item: msgspec.Raw, mentions: int) -> bool:
        """Does it say nothing but what another object has said already? If it may be the first, its fields are read here."""
        if self._decoder is None:
            return False
        try:
            decoded = self._decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        spec: _PodSpec = reduce(getattr, self._kind.pod_spec, decoded)
        status: _Status | None = decoded.status if self._kind is POD else None
        said = (decoded.metadata.identity(), spec, status)
        known = self._seen.get(said)
        if known is None:
            text = "\n".join(spec.texts() + (status.texts() if status else [])).encode().lower()
            known = sum(map(text.count, self._names))
            if known == mentions:
                # By way of JSON, for lists must be lists again.
                obj = msgspec.json.decode(msgspec.json.encode(decoded))
                self.found.add(image_uses(obj, self._kind, self._cluster, self._registry))
            # Lists are sorted, so that replicas stand together: forgetting costs little, and bounds what is kept.
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[said] = known
        return known == mentions


# -- Helm -----------------------------------------------------------------------------------------------------

_HELMS_WORDS = (b'"app.kubernetes.io/managed-by"', b'"meta.helm.sh/release-name"')
_HELM = re.compile(rb'"app\.kubernetes\.io/managed-by"\s*:\s*"Helm"|"meta\.helm\.sh/release-name"\s*:')


class _Named(msgspec.Struct):
    namespace: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Object(msgspec.Struct):
    metadata: _Named


def is_helms(body: bytes, items: list[msgspec.Raw]) -> bool:
    """
    Does Helm manage anything on this page, for the cluster's owner?

    AKS installs its own add-ons as releases `aks-managed-…`, of which the cluster keeps no history.
    """
    # Plain searches first: on most pages they are all there is to do.
    if not any(word in body for word in _HELMS_WORDS):
        return False
    return any(_is_helms(item) for item in items if _HELM.search(item))


def _is_helms(item: msgspec.Raw) -> bool:
    try:
        metadata = msgspec.json.decode(item, type=_Object).metadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # only a hint is lost
    release = metadata.annotations.get("meta.helm.sh/release-name")
    if release is not None:
        return not release.startswith("aks-managed-")
    labelled = metadata.labels.get("app.kubernetes.io/managed-by") == "Helm"
    return labelled and metadata.namespace != "kube-system"
