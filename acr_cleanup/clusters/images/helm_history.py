"""
Helm's release history -> the images that a rollback would start. Pure.

Helm stores each revision of a release in a separate Secret (or a ConfigMap, as its operator chose), named
`sh.helm.release.v1.NAME.vREVISION`: base64 of gzip of JSON, which holds the rendered manifest, the hooks, and the chart's values.
https://helm.sh/docs/topics/advanced/#storage-backends, https://github.com/helm/helm/blob/main/pkg/storage/driver/util.go

The content of a revision never blocks: it cannot be corrected, so it would block forever. A
revision that cannot be decoded blocks.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.images.finder import Finder
from acr_cleanup.clusters.images.names import Names, keys_of
from acr_cleanup.clusters.images.pod_specs import Findings, uses_in_document
from acr_cleanup.clusters.images.yaml_tree import NotPlain, documents_of
from acr_cleanup.core.workload import Workload
from acr_cleanup.quoting import quoted

RELEASE_TYPE = "helm.sh/release.v1"
"""The type of the Secrets of Helm 3 and later."""

MOST_BYTES = 64 * 1024 * 1024
"""More than any release that fits the 1 MiB of a Secret unpacks to, unless someone means harm."""

MOST_VALUES = 250_000
"""Values of a chart and a release, in all; the largest public charts have some five thousand."""
MOST_TEXT = 8 * 1024 * 1024
"""Characters of those documents of a manifest that may name our registry, ..."""
MOST_DOCUMENTS = 10_000
"""... and how many they may be. Beyond these a kilobyte of zipped text would take minutes, and gigabytes."""

_OBJECT_NAME = re.compile(r"sh\.helm\.release\.v1\.(?P<release>.+)\.v(?P<revision>[0-9]{1,18})", re.DOTALL)
_REVISION = re.compile(r"[0-9]{1,18}")
_GZIP = b"\x1f\x8b\x08"
# As Helm splits a manifest: https://github.com/helm/helm/blob/main/pkg/release/v1/util/manifest.go
_SEPARATOR = re.compile(r"^---[ \t]*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Stored:
    """One revision as it is stored, not decoded yet. `revision` is None if nothing says which it is."""

    namespace: str
    object_name: str
    resource: str
    release: str
    revision: int | None
    status: str
    data: Any

    @property
    def always_counts(self) -> bool:
        """Counts at any age: it runs, or its status or age is unknown."""
        return self.status in {"deployed", ""} or self.revision is None


class History:
    """
    The newest `revisions` of each release (at least 1), and the deployed one.

    Secrets are added in any order, and revisions that are too old are dropped immediately, to save memory.
    """

    def __init__(self, revisions: int, cluster: str, names: Names, finder: Finder | None = None) -> None:
        if revisions < 1:
            raise ValueError("A history of no revisions need not be read.")
        self._revisions = revisions
        self._cluster = cluster
        self._names = names
        self._finder = finder or Finder(names)
        # By namespace and release, then by the object that stores it: added again (a list begun anew), it replaces itself.
        self._kept: defaultdict[tuple[str, str], dict[tuple[str, str], _Stored]] = defaultdict(dict)

    def add(self, secret: Mapping[str, Any]) -> None:
        """One Secret or ConfigMap, as the API server gives it. An object that is not Helm's is not read."""
        stored = _stored(secret)
        if stored is None:
            return
        kept = self._kept[stored.namespace, stored.release]
        kept[stored.resource, stored.object_name] = stored
        numbers = sorted({each.revision for each in kept.values() if each.revision is not None})
        if len(numbers) > self._revisions:
            oldest = numbers[-self._revisions]
            for key, each in list(kept.items()):
                if not each.always_counts and each.revision is not None and each.revision < oldest:
                    del kept[key]

    def findings(self) -> Findings:
        """Every use in the revisions that count, and a blocker for each of them that cannot be decoded."""
        found = Findings()
        for kept in self._kept.values():
            for stored in kept.values():
                for problem in self._read(stored, found):
                    found.blockers[problem.blocker(self._cluster)] = None
        return found

    def _read(self, stored: _Stored, found: Findings) -> Iterator[ReadFailure]:
        """Read one revision, and give what of it could not be read; the rest of it counts as used all the same."""
        try:
            release = _decode(stored)
        except ReadFailure as unread:
            yield unread
            return
        workload = Workload(self._cluster, stored.namespace, "Helm release", stored.release)
        revision = f"revision {'?' if stored.revision is None else stored.revision}"
        hooks = enumerate(release.hooks or ())
        texts = [
            ("manifest", release.manifest),
            *((f"hooks[{at}].manifest", hook.manifest) for at, hook in hooks if hook),
        ]
        room, number = MOST_TEXT, 0
        rendered = Findings()
        for place, text in texts:
            pieces = list(filter(self._may_name_ours, _SEPARATOR.split(text)))
            room, number = room - sum(map(len, pieces)), number + len(pieces)
            if room < 0 or number > MOST_DOCUMENTS:
                yield _undecodable(stored, f"`{place}` is far larger than any manifest.")
                break
            readable = [self._read_piece(piece, workload, f"{revision}: {place}", rendered) for piece in pieces]
            if not all(readable):
                yield _undecodable(
                    stored, f"a document in `{place}` names our registry, and is no YAML that can be read."
                )
        found.add(rendered)
        try:
            merged = _overlaid(release.chart.values or {}, release.config or {})
            values = uses_in_document(merged, workload, f"{revision}: values", self._names)
            _complete(values, rendered)
            found.add(values)
        except RecursionError:
            yield _undecodable(stored, "its values are nested too deeply.")

    def _may_name_ours(self, text: str) -> bool:
        """A quick look before text is parsed. An escape (`\\x63ontoso`) may hide anything, so text with one is always parsed."""
        return "\\" in text or self._finder.names_something(text.encode(errors="replace"))

    def _read_piece(self, piece: str, workload: Workload, field: str, found: Findings) -> bool:
        """Read one document of a manifest; False if it may name images that cannot be found in it."""
        try:
            documents = [_without_secrets(document) for document in documents_of(piece)]
        except NotPlain:
            # Go's YAML reads some of what this one does not. As bare text, what it names is found all the same.
            read = uses_in_document(piece, workload, field, self._names)
            found.add(read)
            return bool(read.mentions) or not self._names.registry.mentioned_in(piece)
        for document in documents:
            found.add(uses_in_document(document, workload, field, self._names))
        return True


def _complete(values: Findings, rendered: Findings) -> None:
    """A chart puts the tag behind a name without one (`tag: ""`), so the manifest says which is meant if it has the name."""
    paths = {use.reference.repository for use in rendered.uses}
    for key, finding in (named for mentions in rendered.mentions for named in mentions.names.items()):
        if finding.beside or finding.has_tag or finding.open or finding.bare:
            paths.add(key.removeprefix("/"))
    known = {key for path in paths for key in keys_of(path)}
    for key, finding in (named for mentions in values.mentions for named in mentions.names.items()):
        if key in known:
            finding.open = finding.bare = ""


def _stored(obj: Mapping[str, Any]) -> _Stored | None:
    """Return the revision that Helm stored in this object; None if it is not Helm's. The data is not read."""
    metadata = _mapping(obj.get("metadata"))
    labels = _mapping(metadata.get("labels"))
    name = _text(metadata.get("name"))
    by_name = _OBJECT_NAME.fullmatch(name)
    # Helm asks for its label, and rolls back to what has its name: https://github.com/helm/helm/blob/main/pkg/storage/storage.go
    if obj.get("type") != RELEASE_TYPE and not (by_name and labels.get("owner") == "helm"):
        return None
    number = _text(labels.get("version"))
    if not _REVISION.fullmatch(number):
        number = by_name["revision"] if by_name else ""
    return _Stored(
        namespace=_text(metadata.get("namespace")),
        object_name=name,
        # The items of a list do not say their kind; every Secret has a type, and no ConfigMap has.
        resource="secrets" if obj.get("kind") == "Secret" or "type" in obj else "configmaps",
        release=_text(labels.get("name")) or (by_name["release"] if by_name else name),
        revision=int(number) if number else None,
        status=_text(labels.get("status")),
        data=_mapping(obj.get("data")).get("release"),
    )


class _Hook(msgspec.Struct):
    manifest: str = ""


class _Chart(msgspec.Struct):
    values: dict[str, Any] | None = None


class _ChartOutline(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw()


class _Outline(msgspec.Struct):
    """The large fields of a release, not decoded yet."""

    chart: _ChartOutline | None = None
    config: msgspec.Raw = msgspec.Raw()


class _Release(msgspec.Struct):
    """
    The fields of a release that are read. Go omits empty ones.
    https://github.com/helm/helm/blob/main/pkg/release/v1/release.go
    """

    name: str
    chart: _Chart
    manifest: str = ""  # omitted by Helm if the chart renders only hooks
    hooks: list[_Hook | None] | None = None
    config: dict[str, Any] | None = None


def _decode(stored: _Stored) -> _Release:
    """Raises `ReadFailure`."""
    data: Any = stored.data
    if not isinstance(data, str):
        thing = "is missing" if data is None else f"is a {type(data).__name__}, not text"
        raise _undecodable(stored, f"`data.release` {thing}.")
    try:
        # The API server encodes the data of a Secret once more.
        raw = _base64(_base64(data.encode())) if stored.resource == "secrets" else _base64(data.encode())
    except ValueError:
        raise _undecodable(stored, "`data.release` is not base64.") from None
    # Releases from before Helm compressed them are plain JSON.
    if len(raw) > len(_GZIP) and raw.startswith(_GZIP):
        try:
            raw = _unpacked(raw)
        except (zlib.error, EOFError, OverflowError) as error:
            raise _undecodable(stored, f"`data.release`: {quoted(error)}.") from None
    try:
        # Each further value takes a comma, and a hundred times as much memory as it takes here.
        outline = msgspec.json.decode(raw, type=_Outline)
        if (
            sum(
                bytes(each).count(b",")
                for each in (outline.chart.values if outline.chart else msgspec.Raw(), outline.config)
            )
            > MOST_VALUES
        ):
            raise _undecodable(stored, f"it has more than {MOST_VALUES:,} values.")
        return msgspec.json.decode(raw, type=_Release)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _undecodable(stored, f"`data.release` is not the JSON of a release: {quoted(error)}.") from None


def _undecodable(stored: _Stored, seen: str) -> ReadFailure:
    name = quoted(f"{stored.namespace}/{stored.object_name}".removeprefix("/"))
    what = f"revision {stored.revision} of the Helm release" if stored.revision is not None else "the Helm release"
    return ReadFailure(
        f"reading {stored.resource} {name}",
        f"{seen} Which images a rollback to {what} {quoted(stored.release, 63)!r} would start cannot be told.",
        "If you will not roll back to it, delete that object. Otherwise restore it, or set helm-history to fewer revisions.",
        kind=stored.resource,
    )


def _base64(data: bytes) -> bytes:
    """As Go reads it: line ends are nothing, any other foreign character is an error (`ValueError`)."""
    try:
        return base64.b64decode(data.replace(b"\r", b"").replace(b"\n", b""), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _unpacked(packed: bytes) -> bytes:
    """All members of gzip data, as Go reads them; raises `zlib.error`, `EOFError` or, at the limit, `OverflowError`."""
    parts: list[bytes] = []
    room = MOST_BYTES
    while packed:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        part = member.decompress(packed, room + 1)
        room -= len(part)
        if room < 0:
            raise OverflowError(f"it unpacks to more than {MOST_BYTES // 1024**2} MiB")
        if not member.eof:
            raise EOFError("the gzip data is cut short")
        parts.append(part)
        packed = member.unused_data
    return b"".join(parts)


def _overlaid(values: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The chart's values with the release's own over them: tables are merged, null takes a default away, all else replaces."""
    merged = dict(values)
    for key, value in config.items():
        default = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(default, dict):
            merged[key] = _overlaid(default, value)
        else:
            merged[key] = value
    return merged


def _without_secrets(document: Any) -> Any:
    """A document of a manifest without the Secrets in it: a Secret that a release deploys is not read, like any other Secret."""
    if not isinstance(document, dict):
        return document
    if document.get("kind") == "Secret" and document.get("apiVersion") == "v1":
        return None
    items = document.get("items")
    if isinstance(items, list) and isinstance(document.get("kind"), str) and document["kind"].endswith("List"):
        return {**document, "items": [_without_secrets(each) for each in items]}
    return document


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
