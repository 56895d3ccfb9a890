"""
A reviewed `plan.json`, read again: what may be deleted of it is decided anew, and nothing beyond it is deleted.

What is no plan is a `ConfigurationError`; a plan that nobody can rely on any more is refused (`ReviewedPlan.doubts`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
from acr_cleanup.reports import words
from acr_cleanup.reports.json import PLAN_VERSION, plan_hash

MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused unread. A plan of a million tags takes 400 MB."""

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead the clock of the machine that planned may be."""

_AGAIN = "Plan again, and have that reviewed."
_REMEDY = "Name the plan.json of a plan (`acr-cleanup plan --out plan.json`) or of a dry run, as it was written."


@dataclass(frozen=True, slots=True)
class SeenCluster:
    """A cluster that a plan is based on: what the configuration called it, and the AKS cluster that it was, where that is known."""

    name: str
    resource_id: str | None = None


@dataclass(frozen=True)
class ReviewedPlan:
    """A plan as it was reviewed. `repositories` hold what it deletes, and nothing of what it keeps."""

    name: str
    """The path, as the user wrote it."""
    data: bytes = field(repr=False)
    registry: str
    created_at: datetime
    hash: str
    """What the file says; `intact` tells whether it is so."""
    intact: bool
    blockers: tuple[str, ...]
    """The places that could not be seen."""
    clusters: tuple[SeenCluster, ...]
    repositories: tuple[RepositoryPlan, ...] = field(repr=False)
    shard: str = str(WHOLE)
    """The part of the registry that was planned."""

    @property
    def named(self) -> AppliedPlan:
        return AppliedPlan(self.name, self.created_at, self.hash)

    def doubts(
        self, registry: str, clusters: Iterable[SeenCluster], max_age: timedelta, now: datetime, shard: Shard = WHOLE
    ) -> tuple[str, ...]:
        """Why this plan must not be applied to this part of this registry (a login server) now: sentences, each with what to do."""
        found = self._doubts(registry, clusters, max_age, now, shard)
        return tuple(f"{words.plain(self.name)}: {seen}" for seen in found)

    def _doubts(
        self, registry: str, clusters: Iterable[SeenCluster], max_age: timedelta, now: datetime, shard: Shard
    ) -> Iterator[str]:
        if not self.intact:
            # Whatever else it says, it is not what was reviewed.
            yield f"it was changed after it had been written: its hash is not that of its content. {_AGAIN}"
            return
        if normalise_host(self.registry) != normalise_host(registry):
            yield (
                f"it is a plan for the registry {words.plain(self.registry, 100)}, not for {registry}. "
                "Name the plan of this registry."
            )
            return
        if self.shard != str(WHOLE) and not shard.is_whole and self.shard != str(shard):
            # Two parts have nothing in common: somebody has taken the plan of another job.
            yield (
                f"it is a plan for shard {words.plain(self.shard, 40)} of the registry, and this run is shard {shard}. "
                f"Name the plan of this shard, or set shard to that of the plan."
            )
        made = f"it was made at {self.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        age = now - self.created_at
        if age > max_age:
            ago = f"{words.age(age)} ago" if age >= timedelta(minutes=1) else "just now"
            yield f"{made}, {ago}, and plan-max-age allows {describe_duration(max_age)}. {_AGAIN}"
        elif age < -CLOCK_SKEW:
            yield (
                f"{made}, which is {words.age(-age)} from now: nobody can tell how old it is. "
                f"Set the clocks of both machines. {_AGAIN}"
            )
        if self.blockers:
            yield (
                f"it was made without having seen everything ({words.plain(words.listing(self.blockers))}). "
                f"Remove what blocked it. {_AGAIN}"
            )
        configured = tuple(clusters)
        for seen in self.clusters:
            if not any(_same(seen, each) for each in configured):
                which = f" ({words.plain(seen.resource_id)})" if seen.resource_id else ""
                yield (
                    f"it is based on the cluster {words.plain(seen.name, 100)}{which}, which is not configured any more. "
                    f"Add it again; if it is gone for good: {_AGAIN[0].lower()}{_AGAIN[1:]}"
                )


def _same(seen: SeenCluster, configured: SeenCluster) -> bool:
    """Azure compares resource ids without regard to case. A cluster may be called otherwise since."""
    if seen.resource_id and configured.resource_id:
        return seen.resource_id.lower() == configured.resource_id.lower()
    return seen.name == configured.name


# -- the form of the file ------------------------------------------------------------------------------------------------------
# Names are what the registry's grammar allows: what is no name must not come as far as a request.
# Unknown members are refused: whoever wrote them meant something that we would not do.

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


class _NoPlanError(Exception):
    """The file is no plan; a sentence says why."""


def read(path: Path, option: str) -> ReviewedPlan:
    """Read the plan that the user named with this input or flag. Raises `ConfigurationError` for what is none."""
    try:
        data = _data(path)
        file, intact = _decoded(data)
        repositories = tuple(_repositories(file.steps))
    except _NoPlanError as error:
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
        clusters=tuple(SeenCluster(each.name, each.resource_id) for each in file.clusters),
        repositories=repositories,
        shard=str(file.policy.get("shard", WHOLE)),
    )


def _data(path: Path) -> bytes:
    too_large = f"It is larger than {MAX_BYTES // 1024**2} MiB, which no plan is."
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _NoPlanError("It is no file.")
        if found.st_size > MAX_BYTES:
            raise _NoPlanError(too_large)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _NoPlanError("There is no such file. In a pipeline, an earlier step must bring it here.") from error
    except (OSError, ValueError) as error:
        raise _NoPlanError(f"It cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if len(data) > MAX_BYTES:
        raise _NoPlanError(too_large)
    return data


def _decoded(data: bytes) -> tuple[_File, bool]:
    """The file, and whether its hash is that of its content."""
    try:
        # Once, into what both the hash and the plan are taken from: two readers might not agree on a member that is there twice.
        found: Any = msgspec.json.decode(data)
        if not isinstance(found, Mapping) or not {"schema_version", "steps"} <= found.keys():
            raise _NoPlanError("It is no plan.")
        if found["schema_version"] != PLAN_VERSION:
            raise _NoPlanError(
                f"Its form is version {found['schema_version']!r}, and this version of acr-cleanup ({__version__}) reads "
                f"version {PLAN_VERSION}. Plan and apply with the same version."
            )
        file = msgspec.convert(found, _File)
        intact = plan_hash({key: value for key, value in found.items() if key != "hash"}) == file.hash
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _NoPlanError(f"It is no plan, or only a part of one: {error}.") from error
    return file, intact


def _repositories(steps: Iterable[_Step]) -> Iterator[RepositoryPlan]:
    """What is to be done in each repository, in the order of the file. Raises `_NoPlanError`."""
    seen = set[str]()
    for name, those in groupby(steps, key=lambda step: step.repository):
        if name in seen:
            raise _NoPlanError(f"The steps of {name} do not stand together.")
        seen.add(name)
        made = tuple(map(_step, those))
        tags = [tag for step in made for tag in step.tags]
        manifests = [step.digest for step in made if isinstance(step, DeleteManifest)]
        if len({tag.name for tag in tags}) < len(tags) or len(set(manifests)) < len(manifests):
            raise _NoPlanError(f"It deletes something of {name} twice.")
        try:
            for _ in waves(made):
                pass
        except CycleError as error:
            raise _NoPlanError(f"Steps of {name} wait for one another.") from error
        yield RepositoryPlan(name, decisions=tuple(map(Decision, tags)), steps=made)


def _step(step: _Step) -> Step:
    digest = Digest(step.digest)
    tags = tuple(Tag(tag.name, digest, tag.updated_at) for tag in step.tags)
    after = tuple(map(Digest, step.after))
    locks = tuple(Lock(lock.tag, lock.delete_enabled, lock.write_enabled) for lock in step.locks)
    if step.verb == "delete manifest":
        return DeleteManifest(Manifest(digest, step.media_type, size=step.bytes), tags, after, locks)
    if len(tags) != 1:
        raise _NoPlanError(f"It untags {len(tags)} tags of {step.repository} in one step.")
    return Untag(tags[0], after, locks)
