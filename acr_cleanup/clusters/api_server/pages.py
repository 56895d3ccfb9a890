"""
Reads the pages of a list into uses. The result is that of `image_uses` for each object, in a
fraction of the time.

A cluster may have fifty thousand pods, which are replicas of a few hundred workloads, and most of
which use other registries. Therefore an object whose bytes do not contain the registry's name is
only counted. Of the other objects, only the fields that name images are decoded. An object is a
replica, and adds nothing, if every mention of the registry is in these fields and an object with
the same fields was read before. Any other object is decoded whole.
"""

from __future__ import annotations

import re
from functools import lru_cache, reduce
from typing import Any

import msgspec

from acr_cleanup.clusters.images.free_text import needles
from acr_cleanup.clusters.images.pod_specs import POD, Findings, Kind, image_uses
from acr_cleanup.core.references import RegistryHost
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


# -- the fields that name images -------------------------------------------------------------------


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """
    The fields of an object that name images. An object that does not fit this form is decoded
    whole, never dropped.

    `gc=False`, because parts never form cycles, and the garbage collector would search tens of
    thousands of them.
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
        texts = [volume.image.reference for volume in self.volumes if volume.image is not None]
        for containers in (self.containers, self.initContainers, self.ephemeralContainers):
            for container in containers:
                texts += container.texts()
        return texts


class _ContainerStatus(_Part, frozen=True):
    name: str = ""
    image: str = ""
    imageID: str = ""  # noqa: N815


class _Status(_Part, frozen=True):
    containerStatuses: tuple[_ContainerStatus, ...] = ()  # noqa: N815
    initContainerStatuses: tuple[_ContainerStatus, ...] = ()  # noqa: N815
    ephemeralContainerStatuses: tuple[_ContainerStatus, ...] = ()  # noqa: N815

    def texts(self) -> list[str]:
        texts: list[str] = []
        for statuses in (self.containerStatuses, self.initContainerStatuses, self.ephemeralContainerStatuses):
            for status in statuses:
                texts += (status.image, status.imageID)
        return texts


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
        """
        Identify the workload: by its controller if it has one, because the object's own name is
        random then.
        """
        for owner in self.ownerReferences:
            if owner.controller and owner.kind:
                return self.namespace, self.labels.template_hash, owner.kind, owner.name
        return self.namespace, self.name


@lru_cache(maxsize=64)
def _decoder(kind: Kind) -> msgspec.json.Decoder[Any]:
    """
    Make the decoder of this kind: the metadata, the pod spec where this kind has it, and of pods
    the status.
    """
    # Cached for all clusters: making a decoder takes as long as reading hundreds of objects.
    *above, last = kind.pod_spec
    inner = msgspec.defstruct("_Inner", [(last, _PodSpec, _PodSpec())], bases=(_Part,), frozen=True)
    for key in reversed(above):
        inner = msgspec.defstruct("_Outer", [(key, inner, inner())], bases=(_Part,), frozen=True)
    status: list[tuple[str, Any, Any]] = [("status", _Status, _Status())] if kind is POD else []
    fields = [("metadata", _Metadata, _Metadata()), *status]
    return msgspec.json.Decoder(msgspec.defstruct(kind.name, fields, bases=(inner,), frozen=True))


# -- reading ---------------------------------------------------------------------------------------

# Escaped letters, digits, dots and dashes. JSON need not escape them, but a server that does hides
# the registry's name from a plain search.
_ESCAPED = re.compile(rb"\\u00(?:2[de]|3[0-9a]|[46][1-9a-f]|[57][0-9a])")
_MOST_SEEN = 2_000


class ObjectReader:
    """Reads the objects of one kind, one by one, into `findings`."""

    def __init__(self, kind: Kind, cluster: str, registry: RegistryHost) -> None:
        self.findings = Findings()
        self._kind = kind
        self._cluster = cluster
        self._registry = registry
        # An object without any of these texts does not use the registry.
        self._names = tuple(map(str.encode, needles(registry)))
        self._decoder = _decoder(kind) if kind.pod_spec else None
        # Fields of an object read before -> how often they mention the registry.
        self._seen: dict[object, int] = {}

    def add(self, item: msgspec.Raw) -> None:
        """Read one object. Raises `MalformedPage` if it is not JSON."""
        text = bytes(item).lower()
        mentions = sum(map(text.count, self._names))
        hidden = (b"\\u00" in text and _ESCAPED.search(text) is not None) or (
            # Its `binaryData` is encoded.
            self._kind.name == "ConfigMap" and b'"binarydata"' in text
        )
        if (not mentions and not hidden) or (not hidden and self._is_replica(item, mentions)):
            return
        try:
            obj = msgspec.json.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedPage(f"an object on the list cannot be read: {quoted(error, 80)}.") from None
        self.findings.add(image_uses(obj, self._kind, self._cluster, self._registry))

    def _is_replica(self, item: msgspec.Raw, mentions: int) -> bool:
        """
        Return whether an object with the same fields was read before, and no mention of the
        registry is outside them.

        Reads these fields if they are new.
        """
        if self._decoder is None:
            return False
        try:
            decoded = self._decoder.decode(item)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        spec: _PodSpec = reduce(getattr, self._kind.pod_spec, decoded)
        status: _Status | None = decoded.status if self._kind is POD else None
        fields = (decoded.metadata.identity(), spec, status)
        known = self._seen.get(fields)
        if known is None:
            text = "\n".join(spec.texts() + (status.texts() if status else [])).encode().lower()
            known = sum(map(text.count, self._names))
            if known == mentions:
                # Through JSON, because `image_uses` expects lists and dicts.
                obj = msgspec.json.decode(msgspec.json.encode(decoded))
                self.findings.add(image_uses(obj, self._kind, self._cluster, self._registry))
            # Bounds the memory. Lists are sorted, so replicas follow each other, and clearing costs
            # little.
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[fields] = known
        return known == mentions


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
