"""
Mentions: the objects of a cluster that name a repository of the registry together with one of its tags or digests.

A mention keeps the tag and nothing more. It is weaker evidence than a use: it makes no repository run, and a name that the
registry does not have is not missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from acr_cleanup.core.references import Digest
from acr_cleanup.core.workload import Workload


class How(StrEnum):
    """How an object names a tag, strongest first. Snapshots contain these words."""

    BESIDE = "beside"
    """The tag follows the name: `shop/web:1.2`."""
    OBJECT = "object"
    """The name and a distinctive tag are anywhere in the object."""
    NEAR = "near"
    """The tag is a whole value near the name: in the same mapping, or a few lines away."""
    DIGEST = "digest"
    """The digest is anywhere in the object."""
    FOLDER = "folder"
    """A folder of repositories, and a distinctive tag."""
    OPEN = "open"
    """The name, without saying which tag: every tag may be meant."""
    UNKNOWN = "unknown"
    """The names of the registry for a snapshot lack the tag or its repository, so no object was searched for it."""


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """
    One object that names a repository, with one tag or digest of it.

    field: the place of the name in the object.
    name: the name as it is written there: the path of the repository, or an end or a beginning of it.
    word: the tag or digest as the object writes it, or empty.
    """

    workload: Workload
    field: str
    name: str
    word: str
    how: How

    def __str__(self) -> str:
        place = f"{self.workload.namespace}/{self.workload.name}".removeprefix("/")
        where = f"{self.workload.kind} {self.workload.cluster}/{place}"
        if self.how is How.UNKNOWN:
            return self.what
        return f"{where} {self.what}" + (f" ({self.field})" if self.field else "")

    @property
    def what(self) -> str:
        """The name and the tag or digest, as a phrase with a verb."""
        if self.how is How.UNKNOWN:
            names = f"the names for the usage snapshot of {self.workload.cluster}"
            return f"pushed after {names} were read" if self.word else f"its repository is not among {names}"
        if self.how is How.OPEN:
            return f"names {self.name}, but not which tag"
        return f"names {self.word}" if self.how is How.DIGEST else f"names {self.name} and {self.word}"


@dataclass(frozen=True, slots=True)
class RepositoryMentions:
    """
    The mentions of one repository that the registry answers to.

    by_tag, by_digest: only tags and digests that it has.
    of_any: those that may mean any of its tags.
    """

    by_tag: Mapping[str, tuple[Mention, ...]] = field(default_factory=dict)
    by_digest: Mapping[Digest, tuple[Mention, ...]] = field(default_factory=dict)
    of_any: tuple[Mention, ...] = ()


NO_MENTIONS = RepositoryMentions()


@dataclass(frozen=True, slots=True)
class ListedNames:
    """
    The names of one repository, as it was listed.

    tags: with the time of the last push, where it is known.
    """

    repository: str
    tags: Mapping[str, datetime | None]
    digests: Collection[Digest] = ()


class MentionSource(Protocol):
    """The mentions in one cluster, looked up by repository."""

    @property
    def is_empty(self) -> bool:
        """Was nothing found that might name something of the registry?"""
        ...

    def of(self, listed: ListedNames) -> RepositoryMentions:
        """The mentions of this repository's tags and digests."""
        ...


class NoMentions:
    """The source of a cluster in which nothing is mentioned."""

    is_empty = True

    def of(self, listed: ListedNames) -> RepositoryMentions:
        del listed
        return NO_MENTIONS


MOST_SHOWN = 50
"""Mentions of one tag that are held: one is enough to keep it, and reports show a few."""


def merged(parts: Iterable[RepositoryMentions]) -> RepositoryMentions:
    """The mentions of one repository in several clusters."""
    found = [part for part in parts if part is not NO_MENTIONS]
    if len(found) < 2:
        return found[0] if found else NO_MENTIONS
    by_tag: dict[str, tuple[Mention, ...]] = {}
    by_digest: dict[Digest, tuple[Mention, ...]] = {}
    for part in found:
        for tag, mentions in part.by_tag.items():
            by_tag[tag] = (*by_tag.get(tag, ()), *mentions)[:MOST_SHOWN]
        for digest, mentions in part.by_digest.items():
            by_digest[digest] = (*by_digest.get(digest, ()), *mentions)[:MOST_SHOWN]
    return RepositoryMentions(
        by_tag, by_digest, tuple(mention for part in found for mention in part.of_any)[:MOST_SHOWN]
    )
