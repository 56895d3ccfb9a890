"""
Decodes workloads, and reads those of their parts that name nothing only once. Pure.

Deployments, their ReplicaSets and pods repeat the same probes, mounts, resources and variables. Such a part is *quiet* if
none of its texts can be the place of a name or of a distant tag. Names elsewhere in the object are still read with its
words and its values.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from acr_cleanup.clusters.images.far import image_tags
from acr_cleanup.clusters.images.long_texts import long_runs
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.near import PAIR_VALUES
from acr_cleanup.clusters.images.object_texts import CONTAINER_LISTS, ObjectTexts, QuietMapping
from acr_cleanup.clusters.images.words import chunks_of, read_chunk
from acr_cleanup.clusters.images.workload_texts import without_replica_values

_MAPPINGS = frozenset({"spec", "template", "jobTemplate", "data"})
"""The fields on the way to a pod spec."""
_LISTS = frozenset({*CONTAINER_LISTS, "volumes"})
_OWN = frozenset(
    {"name", "image", "metadata", "selector", "nodeName", "hostname", "serviceAccountName", "serviceAccount"}
)
"""Fields that differ between workloads. The other fields of a mapping are one part."""
_LONGEST, _MOST_BYTES = 8 << 10, 2 << 20

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_decode = msgspec.json.decode

_Part = tuple[str | bytes, ...]
"""Fields and their values in JSON, in turn."""


class QuietParts:
    """The parts that were seen. A part is read when it is seen for the second time."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._seen: dict[_Part, QuietMapping | bool] = {}
        self._bytes = 0

    def decode(self, data: bytes) -> Any:
        """Decode a workload. Raises what `msgspec.json.decode` raises."""
        return {
            key: self._mapping(bytes(value)) if key in _MAPPINGS else _decode(value)
            for key, value in _FIELDS.decode(data).items()
        }

    def _mapping(self, data: bytes) -> Any:
        if data[:1] != b"{":
            return _decode(data)
        fields: dict[str, Any] = _FIELDS.decode(data)
        own: dict[str, Any] = {}
        rest: list[str | bytes] = []
        for key, value in fields.items():
            if key in _MAPPINGS:
                own[key] = self._mapping(bytes(value))
            elif key in _LISTS:
                own[key] = self._list(bytes(value))
            elif key in _OWN:
                own[key] = _decode(value)
            else:
                rest += (key, bytes(value))
        quiet = self._quiet(tuple(rest)) if rest else None
        if quiet is None:
            return {key: own[key] if key in own else _decode(value) for key, value in fields.items()}
        return QuietMapping({key: own[key] if key in own else quiet[key] for key in fields}, quiet.words, tuple(own))

    def _list(self, data: bytes) -> Any:
        if data[:1] != b"[":
            return _decode(data)
        return [self._mapping(bytes(element)) for element in _ELEMENTS.decode(data)]

    def _quiet(self, part: _Part) -> QuietMapping | None:
        seen = self._seen.get(part)
        if isinstance(seen, QuietMapping):
            return seen
        if seen is None:
            size = sum(map(len, part))
            if size > _LONGEST:
                return None
            if self._bytes > _MOST_BYTES:
                self._seen.clear()
                self._bytes = 0
            self._bytes += size
            self._seen[part] = True
        elif seen:
            fields = dict(zip(part[::2], map(_decode, part[1::2]), strict=True))
            self._seen[part] = quiet_part(fields, self._names) or False
        return None


def quiet_part(fields: dict[Any, Any], names: Names) -> QuietMapping | None:
    """Read some fields of a mapping of a workload. None if they are not quiet."""
    if not fields.keys().isdisjoint(PAIR_VALUES):
        return None  # `name` says what the value is
    part = without_replica_values(fields)
    texts = ObjectTexts(part)
    data = texts.data()
    chunks, special = chunks_of(data, names.lasts)
    readings = [read_chunk(chunk.decode(), names) for chunk in special]
    if (
        texts.images
        or texts.versions
        or long_runs(data)
        or not chunks.isdisjoint(names.lasts)
        or names.registry.mentioned_in(data.decode())
        or any(reading.name or reading.folder or reading.host == "ours" for reading in readings)
        or any(any(image_tags(text, of_alone=True)) or text.text.strip("/ ") in names.folders for text in texts.texts)
    ):
        return None
    return QuietMapping(part, data)


@lru_cache(maxsize=4)
def parts_of(names: Names) -> QuietParts:
    """The parts of all objects that are read with these names."""
    return QuietParts(names)
