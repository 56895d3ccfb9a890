"""Does a field beside a name of the registry name another image, to which the tags near it belong? Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from acr_cleanup.clusters.images.fields import is_image_key
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.words import read_chunk

_LONGEST = 300


class OtherNames:
    """Reads whole values as names of the registry. Each value is read once for an object."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._read: dict[str, str] = {}

    def than(self, written: str) -> Callable[[str, Any], bool]:
        """Return a function that tells whether a field, by its key and value, names another image than the one written."""

        def names_other(key: str, value: Any) -> bool:
            if not isinstance(value, str) or not value:
                return False
            named = self._repository_in(value)
            if not named:
                return is_image_key(key) is not None
            return not _is_end(named, written) and not _is_end(written, named)

        return names_other

    def _repository_in(self, value: str) -> str:
        """Return the name if the whole value is one, with or without a tag; otherwise an empty text."""
        if (known := self._read.get(value)) is None:
            known = self._read[value] = self._name_in(value) if len(value) <= _LONGEST else ""
        return known

    def _name_in(self, value: str) -> str:
        chunk = value.strip()
        if not chunk or " " in chunk:
            return ""
        if "/" not in chunk:
            return chunk if chunk.encode(errors="replace") in self._names.lasts else ""
        return read_chunk(chunk, self._names).name.removeprefix("/")


def _is_end(end: str, path: str) -> bool:
    return f"/{path}".endswith(f"/{end}")
