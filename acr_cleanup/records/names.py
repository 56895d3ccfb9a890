"""
The names of a registry in a file. A `collect` that cannot reach the registry reads it.

Unknown members are refused, because the hash does not cover members that are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.references import Digest
from acr_cleanup.records.parts import Moment, ToolVersion

NAMES_VERSION = 1


class NamedRepository(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One repository."""

    name: str
    tags: list[str]
    digests: list[str]


class NamesDocument(msgspec.Struct, forbid_unknown_fields=True):
    """The names of a registry's repositories, tags and manifests, as `acr-cleanup names` writes them."""

    schema_version: Annotated[int, Meta(extra_json_schema={"const": NAMES_VERSION})]
    tool_version: ToolVersion
    read_at: Moment
    """When the reading began. RFC 3339, UTC."""
    registry: str
    """The login server."""
    repositories: list[NamedRepository]
    hash: Annotated[str, Meta(extra_json_schema={"pattern": "^sha256:[0-9a-f]{64}$"})]
    """A hash over the canonical JSON (UTF-8, sorted keys, no white space) of all other members. It is not a signature."""


@dataclass(frozen=True, slots=True)
class RegistryNames:
    """
    The names of one registry.

    read_at: when the reading began: what was pushed later may be missing.
    """

    registry: str
    read_at: datetime
    repositories: tuple[NamedRepository, ...]

    def with_repositories(self, further: RegistryNames) -> RegistryNames:
        """The same names, and those of further repositories."""
        repositories = sorted((*self.repositories, *further.repositories), key=lambda repository: repository.name)
        return replace(self, repositories=tuple(repositories))

    def listed(self) -> Iterator[ListedNames]:
        for repository in self.repositories:
            digests = frozenset(map(Digest, repository.digests))
            yield ListedNames(repository.name, dict.fromkeys(repository.tags), digests)
