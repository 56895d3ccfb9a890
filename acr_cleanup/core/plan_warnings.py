"""
Facts about the plan of a repository that a user must know.

`reports.plan_words` writes them as sentences.
"""

from __future__ import annotations

from dataclasses import dataclass

from acr_cleanup.core.references import Digest


@dataclass(frozen=True, slots=True)
class UnreadableManifests:
    """
    Manifests whose body cannot be read or understood: the plan untags there, and deletes no
    manifest.

    examples: some of their digests, sorted.
    """

    repository: str
    number: int
    examples: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class UnknownSubjects:
    """
    Manifests that only lose their tags, because a manifest that cannot be read may refer to them.

    unread: how many manifests cannot be read.
    """

    repository: str
    number: int
    unread: int


@dataclass(frozen=True, slots=True)
class Unlisted:
    """
    Manifests and tags that the registry counts but does not list: the plan untags there, and deletes
    no manifest.
    """

    repository: str
    manifests: int
    tags: int = 0


@dataclass(frozen=True, slots=True)
class UnknownLocks:
    """
    Tags or manifests that the registry lists without their locks: they are planned, and the
    registry refuses to delete those that are locked.

    number: how many of them the repository has.
    """

    repository: str
    number: int


@dataclass(frozen=True, slots=True)
class UnmeasuredSpace:
    """
    The space to be freed is an upper bound, because some manifests could not be measured.

    unmeasured, manifests: how many could not be measured, of how many in the repository.
    error: why no manifest could be read at all; empty if only some could not.
    """

    repository: str
    unmeasured: int = 0
    manifests: int = 0
    error: str = ""


PlanWarning = UnreadableManifests | UnknownSubjects | Unlisted | UnknownLocks | UnmeasuredSpace
