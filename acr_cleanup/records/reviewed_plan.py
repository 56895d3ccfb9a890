"""
Reads a reviewed `plan.json`.

Apply deletes only what the plan lists, and only if a plan made now deletes it too. A file that is
not a plan raises `ConfigurationError`. A plan that cannot be relied on is refused, for the reasons
that `reports.plan_doubts` returns.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from graphlib import CycleError
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.outcome import AppliedPlan
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.references import Digest
from acr_cleanup.core.shard import WHOLE
from acr_cleanup.core.steps import DeleteManifest, Step, Untag, waves
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.quoting import plain
from acr_cleanup.records.encoding import content_hash
from acr_cleanup.records.plan import PLAN_VERSION, PlanDocument, PlannedStep

MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused without reading it. A plan of a million tags has 400 MB."""

_REMEDY = "Use the unmodified plan.json of `acr-cleanup plan --out plan.json` or of a dry run."


@dataclass(frozen=True, slots=True)
class SeenCluster:
    """
    A cluster on which a plan is based: its name in the configuration and, for AKS, its resource id.
    """

    name: str
    resource_id: str | None = None


@dataclass(frozen=True)
class ReviewedPlan:
    """A plan as it was reviewed."""

    name: str
    """The path, as the user wrote it."""
    data: bytes = field(repr=False)
    registry: str
    created_at: datetime
    hash: str
    """The hash that the file contains; see `intact`."""
    intact: bool
    """True if the hash matches the content."""
    blockers: tuple[str, ...]
    """The clusters and services that could not be read."""
    clusters: tuple[SeenCluster, ...]
    repositories: tuple[RepositoryPlan, ...] = field(repr=False)
    """Only the deletions; the file does not list kept tags."""
    shard: str = str(WHOLE)
    """The shard of the registry that was planned."""

    @property
    def named(self) -> AppliedPlan:
        """The reference to this plan in reports."""
        return AppliedPlan(self.name, self.created_at, self.hash)


class _InvalidPlanError(Exception):
    """The file is not a valid plan; the message says why."""


def read(path: Path, option: str) -> ReviewedPlan:
    """
    Read a plan file.

    `option`: the input or flag that named it, for messages. Raises `ConfigurationError` if the
    file is not a valid plan.
    """
    try:
        data = _data(path)
        file, intact = _decoded(data)
        repositories = tuple(_repositories(file.steps))
    except _InvalidPlanError as error:
        seen = f"{plain(str(path))}: {plain(str(error))}"
        raise ConfigurationError((Problem(option, seen, _REMEDY),)) from error
    return ReviewedPlan(
        name=str(path),
        data=data,
        registry=file.registry,
        created_at=file.created_at,
        hash=file.hash,
        intact=intact,
        blockers=tuple(dict.fromkeys(blocker.where for blocker in file.blockers)),
        clusters=tuple(SeenCluster(cluster.name, cluster.resource_id) for cluster in file.clusters),
        repositories=repositories,
        shard=file.policy.shard,
    )


def _data(path: Path) -> bytes:
    too_large = f"The file is larger than the limit of {MAX_BYTES // 1024**2} MiB."
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _InvalidPlanError("It is not a regular file.")
        if status.st_size > MAX_BYTES:
            raise _InvalidPlanError(too_large)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _InvalidPlanError("The file does not exist. In a pipeline, an earlier step must download it.") from error
    except (OSError, ValueError) as error:
        raise _InvalidPlanError(f"The file cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(data) > MAX_BYTES:
        raise _InvalidPlanError(too_large)
    return data


def _decoded(data: bytes) -> tuple[PlanDocument, bool]:
    """Return the decoded file, and whether its hash matches its content."""
    try:
        # Decode once, for both the hash and the plan: two decoders could resolve a duplicate member
        # differently.
        document: Any = msgspec.json.decode(data)
        if not isinstance(document, Mapping) or not {"schema_version", "steps"} <= document.keys():
            raise _InvalidPlanError("The file is not a plan.")
        if document["schema_version"] != PLAN_VERSION:
            raise _InvalidPlanError(
                f"The plan has format version {document['schema_version']!r}, but acr-cleanup {__version__} reads "
                f"version {PLAN_VERSION}. Plan and apply with the same version of acr-cleanup."
            )
        file = msgspec.convert(document, PlanDocument)
        intact = content_hash(document) == file.hash
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _InvalidPlanError(f"The file is not a plan, or is incomplete: {error}.") from error
    return file, intact


def _repositories(steps: Iterable[PlannedStep]) -> Iterator[RepositoryPlan]:
    """
    Yield the deletions of each repository, in the order of the file.

    Raises `_InvalidPlanError`.
    """
    names = set[str]()
    for name, group in groupby(steps, key=lambda step: step.repository):
        if name in names:
            raise _InvalidPlanError(f"The steps of {name} are not consecutive.")
        names.add(name)
        repository_steps = tuple(map(_step, group))
        tags = [tag for step in repository_steps for tag in step.tags]
        manifests = [step.digest for step in repository_steps if isinstance(step, DeleteManifest)]
        if len({tag.name for tag in tags}) < len(tags) or len(set(manifests)) < len(manifests):
            raise _InvalidPlanError(f"It deletes a tag or a manifest of {name} twice.")
        try:
            for _ in waves(repository_steps):
                pass
        except CycleError as error:
            raise _InvalidPlanError(f"The steps of {name} depend on one another in a cycle.") from error
        yield RepositoryPlan(name, decisions=tuple(map(Decision, tags)), steps=repository_steps)


def _step(step: PlannedStep) -> Step:
    digest = Digest(step.digest)
    tags = tuple(Tag(tag.name, digest, tag.updated_at) for tag in step.tags)
    after = tuple(map(Digest, step.after))
    locks = tuple(lock.lock for lock in step.locks)
    if step.verb == "delete manifest":
        return DeleteManifest(Manifest(digest, step.media_type or "", size=step.bytes or 0), tags, after, locks)
    if len(tags) != 1:
        raise _InvalidPlanError(f"A step untags {len(tags)} tags of {step.repository}; it must untag exactly one.")
    return Untag(tags[0], after, locks)
