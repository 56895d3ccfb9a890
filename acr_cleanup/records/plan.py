"""
The `plan.json` of a run. `reports.json` makes it of a result; `reviewed_plan` reads it.

A plan can be reviewed and then applied. Anyone who can write the file can also write its hash.
Therefore a plan cannot allow a deletion. It can only restrict an apply to what was reviewed.

Names have the registry's grammar: an invalid name must not become part of a request. Unknown
members are refused: they could mean an instruction that this version does not know.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.references import COMPONENT, FULL_PATH_LENGTH
from acr_cleanup.records.parts import (
    Access,
    Count,
    DigestText,
    Hash,
    Moment,
    ObjectCount,
    Pushed,
    RecordedBlocker,
    RecordedPolicy,
    TagName,
    ToolVersion,
    UseCount,
)

PLAN_VERSION = 2

RepositoryName = Annotated[str, Meta(pattern=rf"\A{COMPONENT}(?:/{COMPONENT})*\Z", max_length=FULL_PATH_LENGTH)]


class PlannedTag(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A tag that names the digest of its step."""

    name: TagName
    updated_at: Pushed


class PlannedLock(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A lock to remove right before a step, and to restore if nothing is deleted."""

    tag: TagName | None
    """null if the lock is on the manifest."""
    delete_enabled: bool
    write_enabled: bool

    @classmethod
    def of(cls, lock: Lock) -> PlannedLock:
        return cls(lock.tag, lock.delete_enabled, lock.write_enabled)

    @property
    def lock(self) -> Lock:
        return Lock(self.tag, self.delete_enabled, self.write_enabled)


class PlannedStep(msgspec.Struct, forbid_unknown_fields=True):
    """One deletion."""

    verb: Literal["untag", "delete manifest"]
    repository: RepositoryName
    digest: DigestText
    tags: list[PlannedTag]
    """The tag to untag, or all tags of the manifest. All of them name the digest."""
    after: list[DigestText]
    """Digests that must be deleted first."""
    locks: list[PlannedLock]
    media_type: str | UnsetType = UNSET
    """The media type of a manifest that is deleted."""
    bytes: Count | UnsetType = UNSET
    """The size of a manifest that is deleted, as listed."""


class PlannedCluster(msgspec.Struct, forbid_unknown_fields=True):
    """A cluster that was read. An apply must have all of them configured."""

    name: str
    """The name in the configuration."""
    resource_id: str | None
    """The Azure resource id, if the cluster is known to be an AKS cluster."""
    access: Access
    objects: ObjectCount
    uses: UseCount
    uses_hash: Hash
    """A hash over the canonical JSON of the sorted uses."""


class PlanBlocker(RecordedBlocker, forbid_unknown_fields=True):
    """Something that could not be read completely. A plan with blockers cannot be applied."""


class PlanCounts(msgspec.Struct, forbid_unknown_fields=True):
    """The totals of the plan."""

    planned: Count
    """Tags that would be deleted."""
    kept: Count
    """Kept tags."""
    in_use: Count
    """Kept tags that a cluster uses."""
    manifests: Count
    """Manifests that would be deleted."""
    bytes: Count
    """
    The size of these manifests: an upper bound of the space freed, because layers are shared.
    """
    untagged: Count = 0
    """Untagged manifests that would be deleted, not together with a tag."""


class PlanDocument(msgspec.Struct, forbid_unknown_fields=True):
    """The steps of a run and their evidence. A plan can be reviewed and then applied."""

    schema_version: Annotated[int, Meta(extra_json_schema={"const": PLAN_VERSION})]
    tool_version: ToolVersion
    created_at: Moment
    """The time of the decision. RFC 3339, UTC."""
    registry: Annotated[str, Meta(max_length=FULL_PATH_LENGTH)]
    """The login server of the registry."""
    policy: RecordedPolicy
    counts: PlanCounts
    blockers: list[PlanBlocker]
    refusals: list[str]
    """
    The limits that this plan exceeded when it was made. The run that applies it checks its own
    limits.
    """
    clusters: list[PlannedCluster]
    steps: list[PlannedStep]
    hash: Hash
    """
    A hash over the canonical JSON (UTF-8, sorted keys, no white space) of all other members. It is
    not a signature.
    """
