"""Mappings of the tags of a repository that take little memory: it may have 200,000."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from datetime import datetime
from functools import cached_property

from acr_cleanup.core.manifests import Tag
from acr_cleanup.core.references import Digest


class TagsByDigest(Mapping[Digest, tuple[Tag, ...]]):
    """Digest -> its tags, in their order. Nearly every manifest has one, which needs no tuple."""

    def __init__(self, tags: Iterable[Tag]) -> None:
        self._tags: dict[Digest, Tag | list[Tag]] = {}
        for tag in tags:
            known = self._tags.setdefault(tag.digest, tag)
            if isinstance(known, list):
                known.append(tag)
            elif known is not tag:
                self._tags[tag.digest] = [known, tag]

    def __getitem__(self, digest: Digest) -> tuple[Tag, ...]:
        tags = self._tags[digest]
        return tuple(tags) if isinstance(tags, list) else (tags,)

    def __contains__(self, digest: object) -> bool:
        return digest in self._tags

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._tags)

    def __len__(self) -> int:
        return len(self._tags)

    def keys(self) -> KeysView[Digest]:
        return self._tags.keys()


class TagTimes(Mapping[str, datetime | None]):
    """Name -> the time of the last push. It makes a dictionary only if a name is looked up."""

    def __init__(self, tags: Sequence[Tag]) -> None:
        self._tags = tags

    @cached_property
    def _times(self) -> dict[str, datetime | None]:
        return {tag.name: tag.updated_at for tag in self._tags}

    def __getitem__(self, name: str) -> datetime | None:
        return self._times[name]

    def __iter__(self) -> Iterator[str]:
        return (tag.name for tag in self._tags)

    def __len__(self) -> int:
        return len(self._tags)
