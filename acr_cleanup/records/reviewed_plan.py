"""
Reads a reviewed `plan.json`, and decides whether it may still be applied.

Apply deletes only what the plan lists, and only if a plan made now deletes it too. A file that is
not a plan raises `ConfigurationError`. A plan that cannot be relied on is refused, for the reasons
that `ReviewedPlan.doubts` returns.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from graphlib import CycleError
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.inventory import Lock, Manifest, Tag
from acr_cleanup.core.outcome import AppliedPlan
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import describe_duration
from acr_cleanup.core.references import COMPONENT, DIGEST, FULL_PATH_LENGTH, TAG, Digest, normalise_host
from acr_cleanup.core.shard import WHOLE, Shard
from acr_cleanup.core.steps import DeleteManifest, Step, Untag, waves
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.quoting import in_utc
from acr_cleanup.reports import words
from acr_cleanup.reports.json import PLAN_VERSION, plan_hash

MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused without reading it. A plan of a million tags has 400 MB."""

CLOCK_SKEW = timedelta(minutes=5)
"""A plan from further in the future is refused: its age cannot be checked."""

_AGAIN = "Plan again, and have the new plan reviewed."
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

    def doubts(
        self, registry: str, clusters: Iterable[SeenCluster], max_age: timedelta, now: datetime, shard: Shard = WHOLE
    ) -> tuple[str, ...]:
        """
        Return why this plan must not be applied now, one message per reason.

        `registry`: the configured login server. `clusters`: the configured clusters. `shard`: the
        shard of this run.
        """
        reasons = self._doubts(registry, clusters, max_age, now, shard)
        return tuple(f"{words.plain(self.name)}: {reason}" for reason in reasons)

    def _doubts(
        self, registry: str, clusters: Iterable[SeenCluster], max_age: timedelta, now: datetime, shard: Shard
    ) -> Iterator[str]:
        if not self.intact:
            # The rest of the file was not reviewed: do not report it.
            yield f"the file was modified after it was written (hash mismatch). {_AGAIN}"
            return
        if normalise_host(self.registry) != normalise_host(registry):
            yield (
                f"the plan is for registry {words.plain(self.registry, 100)}, not for {registry}. "
                "Use the plan of this registry."
            )
            return
        if self.shard != str(WHOLE) and not shard.is_whole and self.shard != str(shard):
            # Different shards have no repository in common: this is the plan of another job.
            yield (
                f"the plan is for shard {words.plain(self.shard, 40)}, but this run is shard {shard}. "
                f"Use the plan of this shard, or set shard to the plan's."
            )
        made = f"the plan was made at {in_utc(self.created_at):%Y-%m-%d %H:%M:%S} UTC"
        age = now - self.created_at
        if age > max_age:
            ago = f"{words.age(age)} ago" if age >= timedelta(minutes=1) else "just now"
            yield f"{made}, {ago}, but plan-max-age allows {describe_duration(max_age)}. {_AGAIN}"
        elif age < -CLOCK_SKEW:
            yield (
                f"{made}, {words.age(-age)} in the future, so its age cannot be checked. "
                f"Synchronise the clocks of both machines. {_AGAIN}"
            )
        if self.blockers:
            yield (
                f"the plan has blockers ({words.plain(words.listing(self.blockers))}), so it may miss uses. "
                f"Resolve them. {_AGAIN}"
            )
        configured = tuple(clusters)
        for cluster in self.clusters:
            if not any(_is_same(cluster, candidate) for candidate in configured):
                resource_id = f" ({words.plain(cluster.resource_id)})" if cluster.resource_id else ""
                yield (
                    f"the plan is based on cluster {words.plain(cluster.name, 100)}{resource_id}, "
                    "which is no longer configured. "
                    f"Add it again; if it was deleted: {_AGAIN[0].lower()}{_AGAIN[1:]}"
                )


def _is_same(planned: SeenCluster, configured: SeenCluster) -> bool:
    """
    Compare by resource id if both are known: the cluster may have a new name in the configuration.

    Azure ignores case in resource ids.
    """
    if planned.resource_id and configured.resource_id:
        return planned.resource_id.lower() == configured.resource_id.lower()
    return planned.name == configured.name


# -- format of the file --------------------------------------------------------------------------
# Patterns are the registry's grammar: an invalid name must not become part of a request.
# Unknown members are refused: they could mean an instruction that this version does not know.

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Hash = Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
_Digest = Annotated[str, msgspec.Meta(pattern=rf"\A{DIGEST}\Z")]
_TagName = Annotated[str, msgspec.Meta(pattern=rf"\A{TAG}\Z")]
_Repository = Annotated[str, msgspec.Meta(pattern=rf"\A{COMPONENT}(?:/{COMPONENT})*\Z", max_length=FULL_PATH_LENGTH)]


class _Tag(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: _TagName
    updated_at: _Moment | None


class _Lock(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    tag: _TagName | None
    delete_enabled: bool
    write_enabled: bool


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    verb: Literal["untag", "delete manifest"]
    repository: _Repository
    digest: _Digest
    tags: list[_Tag]
    after: list[_Digest]
    locks: list[_Lock]
    media_type: str = ""
    bytes: _Count = 0


class _Cluster(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    resource_id: str | None
    access: str
    objects: _Count
    uses: _Count
    uses_hash: _Hash


class _Blocker(msgspec.Struct, forbid_unknown_fields=True):
    where: str
    call: str
    seen: str
    remedy: str
    kind: str = ""


class _Counts(msgspec.Struct, forbid_unknown_fields=True):
    planned: _Count
    kept: _Count
    in_use: _Count
    manifests: _Count
    bytes: _Count
    untagged: _Count = 0


class _File(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    tool_version: str
    created_at: _Moment
    registry: Annotated[str, msgspec.Meta(max_length=FULL_PATH_LENGTH)]
    policy: dict[str, str | int | bool | list[str]]
    counts: _Counts
    blockers: list[_Blocker]
    refusals: list[str]
    clusters: list[_Cluster]
    steps: list[_Step]
    hash: _Hash


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
        seen = f"{words.plain(str(path))}: {words.plain(str(error))}"
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
        shard=str(file.policy.get("shard", WHOLE)),
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


def _decoded(data: bytes) -> tuple[_File, bool]:
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
        file = msgspec.convert(document, _File)
        intact = plan_hash({key: value for key, value in document.items() if key != "hash"}) == file.hash
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _InvalidPlanError(f"The file is not a plan, or is incomplete: {error}.") from error
    return file, intact


def _repositories(steps: Iterable[_Step]) -> Iterator[RepositoryPlan]:
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


def _step(step: _Step) -> Step:
    digest = Digest(step.digest)
    tags = tuple(Tag(tag.name, digest, tag.updated_at) for tag in step.tags)
    after = tuple(map(Digest, step.after))
    locks = tuple(Lock(lock.tag, lock.delete_enabled, lock.write_enabled) for lock in step.locks)
    if step.verb == "delete manifest":
        return DeleteManifest(Manifest(digest, step.media_type, size=step.bytes), tags, after, locks)
    if len(tags) != 1:
        raise _InvalidPlanError(f"A step untags {len(tags)} tags of {step.repository}; it must untag exactly one.")
    return Untag(tags[0], after, locks)
