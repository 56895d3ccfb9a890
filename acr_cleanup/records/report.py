"""
The `report.json` of a run. `reports.json` makes it of a result.

A reader ignores members that it does not know, because later versions may have more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from acr_cleanup.core.inventory import Tag
from acr_cleanup.core.outcome import OutcomeKind, Verdict
from acr_cleanup.core.plan import Decision
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.references import Digest, ImageReference
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.quoting import plain
from acr_cleanup.records.parts import (
    Access,
    Count,
    Hash,
    LeftOutRepositories,
    LoginServer,
    Moment,
    ObjectCount,
    Pushed,
    RecordedBlocker,
    RecordedPolicy,
    RecordedPullLog,
    SchemaVersion,
    ShownDigest,
    ToolVersion,
    UseCount,
)

SCHEMA_VERSION = 1
"""
Increased when a reader of the old format could misread the new one. New members do not increase it.
"""

_REMEDY = "Name the report.json in the report folder of a run."


class RecordedUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """One field of one workload that names or runs an image."""

    cluster: str
    namespace: str
    """Empty for cluster-scoped objects."""
    kind: str
    name: str
    container: str
    field: str
    """The path of the field in the object."""
    text: str
    """The value of the field."""
    object: str = ""
    """The object that has the field, as in Pod/ledger-0, if it is known and not the workload itself."""

    @classmethod
    def of(cls, use: ImageUse) -> RecordedUse:
        place = use.workload
        return cls(
            place.cluster, place.namespace, place.kind, place.name, use.container, use.field, use.text, use.holder
        )

    def value(self, repository: str) -> ImageUse:
        workload = Workload(self.cluster, self.namespace, self.kind, self.name)
        # A report has the text of the field, but not the reference that was parsed from it.
        reference = ImageReference("", repository, tag=None, digest=None)
        return ImageUse(workload, self.container, self.field, self.text, reference, holder=self.object)


_RULE = {"pattern": "^[a-z]+(-[a-z]+)*$"}


class ManifestReason(msgspec.Struct, frozen=True):
    """Why an untagged manifest is kept."""

    rule: Annotated[str, Meta(extra_json_schema=_RULE)]
    """The identifier of a keep rule, or one of: tagged, listed, referred, untagged."""
    detail: str
    """The evidence of the rule."""


class TagReason(msgspec.Struct, frozen=True):
    """Why a tag is kept."""

    rule: Annotated[str, Meta(extra_json_schema=_RULE)]
    """The identifier of a keep rule, such as in-use. Later versions may have further rules."""
    detail: str
    """The evidence of the rule."""
    uses: list[RecordedUse] = []
    """With the rule `in-use`: the uses."""


_KEEP = {"properties": {"decision": {"const": "keep"}}}
_REASONED = Meta(
    extra_json_schema={
        "allOf": [
            {
                "if": _KEEP,
                "then": {"properties": {"reasons": {"minItems": 1}}},
                "else": {"properties": {"reasons": {"maxItems": 0}}},
            }
        ]
    }
)
"""A kept item has a reason, and a deleted item has none."""


class TagDecision(msgspec.Struct, frozen=True):
    """The decision about one tag."""

    tag: str
    digest: ShownDigest
    updated_at: Pushed
    decision: Literal["keep", "delete"]
    reasons: list[TagReason]
    """Every reason to keep the tag, strongest first; empty if it is to be deleted."""
    governed_by: str = ""
    """The name of the rule in `policy.rules` that governs the tag; empty for the top-level options."""

    def value(self, repository: str) -> Decision:
        """The decision as a value of the core. Reports of later versions may have further rules."""
        reasons = (
            KeepReason(cast("Rule", reason.rule), reason.detail, tuple(use.value(repository) for use in reason.uses))
            for reason in self.reasons
        )
        return Decision(Tag(self.tag, Digest(self.digest), self.updated_at), tuple(reasons), self.governed_by)


class UntaggedDecision(msgspec.Struct, frozen=True):
    """An untagged manifest, with the reasons to keep it."""

    digest: ShownDigest
    media_type: str
    bytes: Count
    """The size as listed. Layers may be shared."""
    updated_at: Pushed
    decision: Literal["keep", "delete"]
    reasons: list[ManifestReason]
    """Every reason to keep the manifest; empty if it is to be deleted."""


class RecordedManifest(msgspec.Struct, frozen=True):
    """A manifest that is deleted, or would be deleted."""

    digest: ShownDigest
    media_type: str
    platform: str
    """The platform, such as `linux/amd64`; empty if it has none or if it is unknown."""
    bytes: Count
    """The size as listed. Layers may be shared."""
    tags: list[str]
    """Every tag of the manifest. The child of an index may have none."""


class RecordedRepository(msgspec.Struct, frozen=True):
    """The decisions about one repository."""

    name: str
    error: str | None
    """Why the repository could not be read; null if it was read. All its tags are then kept."""
    bytes: Count
    """
    The size of the manifests to delete: an upper bound of the space freed, unless `exact` is true.
    """
    exact: bool
    """
    True if `bytes` is exact within this repository. Also true if no manifest is to be deleted.
    """
    warnings: list[str]
    decisions: list[Annotated[TagDecision, _REASONED]]
    untagged: list[Annotated[UntaggedDecision, _REASONED]]
    """
    With `delete_untagged`: every untagged manifest, except those that are deleted together with a
    tag.
    """
    manifests: list[RecordedManifest]


class RecordedOutcome(msgspec.Struct, frozen=True):
    """The outcome for one tag or manifest."""

    repository: str
    tag: str | None
    """null if this is the outcome of the manifest."""
    digest: ShownDigest
    outcome: Annotated[str, Meta(extra_json_schema={"enum": [*OutcomeKind]})]
    detail: str


class ReadCluster(msgspec.Struct, frozen=True):
    """A cluster that was to be read."""

    name: str
    access: Access
    objects: ObjectCount
    uses: UseCount
    blockers: list[RecordedBlocker]
    waived: list[RecordedBlocker]
    """Kinds that could not be listed and were waived."""
    notes: list[str]
    """Remarks about the cluster."""
    read_at: Moment | None
    """When a usage snapshot of the cluster was made; null if this run read the cluster itself."""


class WaitingItems(msgspec.Struct):
    """Candidates for deletion that are on probation until the same day."""

    deletable_from: str
    """The day, such as `2026-11-19`."""
    tags: Count
    untagged: Count
    """Untagged manifests."""


class OtherPuller(msgspec.Struct):
    """An identity that may pull from the registry, apart from the clusters and services that were read."""

    name: str
    """The id of the principal, or the name of the token."""
    kind: str
    role: str


class Reference(msgspec.Struct):
    """A tag or a digest (the other one is null), and its uses."""

    repository: str
    tag: str | None
    digest: ShownDigest | None
    uses: list[RecordedUse]


class BrokenReference(Reference):
    """A reference that could be pulled before the run only, or a lost child of a kept index."""

    seen: str
    """The end of a sentence that begins with the name of the reference."""
    deleted_by_this_run: bool
    """True if this run was to delete it or its manifest. Otherwise something else deleted it."""


class Verification(msgspec.Struct, forbid_unknown_fields=True):
    """The verification after deleting, in every repository with deletions."""

    holds: bool
    """True if everything was checked and nothing is broken."""
    repositories: Count
    """The number of repositories that were checked."""
    references: Count
    """The number of tags and digests in use there that could be pulled before the run."""
    broken: list[BrokenReference]
    notes: list[str]
    """Changes by others during the run. None of these items is known to be in use."""
    unproven: list[str]
    """Everything that could not be checked, and the reason."""
    skipped: bool
    """True if the run was stopped before the verification."""


class RunCounts(msgspec.Struct):
    """The totals of the run."""

    deleted: Count
    """Deleted tags."""
    planned: Count
    """Tags that the plan selects."""
    kept: Count
    """Tags that the plan keeps."""
    in_use: Count
    """Kept tags that a cluster uses."""
    failed: Count
    """Tags that could not be deleted."""
    deleted_manifests: Count
    """Deleted manifests."""
    bytes: Count
    """
    The size of the deleted manifests; in a dry run, of the manifests that would be deleted. It is
    an upper bound, because layers are shared, unless `space.exact` is true.
    """


class FreedSpace(msgspec.Struct):
    """How the size was measured."""

    bytes: Count
    """The same number as in `counts`."""
    exact: bool
    """
    True if `bytes` is exact within each repository. Otherwise it is an upper bound, because layers
    are shared.
    """
    manifests_read: Count
    """How many manifests were read to measure sizes, with one request each."""


class ReviewedPlanName(msgspec.Struct):
    """The reviewed plan that was applied."""

    path: str
    created_at: Moment
    hash: Hash


class Report(msgspec.Struct):
    """
    One run of acr-cleanup: every decision with all its reasons, every outcome and every blocker.

    Readers must ignore unknown members.
    """

    schema_version: Annotated[int, Meta(extra_json_schema={"const": SCHEMA_VERSION})]
    tool_version: ToolVersion
    started_at: Moment
    finished_at: Moment
    registry: LoginServer
    dry_run: bool
    """True if the run was not meant to delete."""
    verdict: Annotated[str, Meta(extra_json_schema={"enum": [*Verdict]})]
    policy: RecordedPolicy
    counts: RunCounts
    clusters: list[ReadCluster]
    blockers: list[RecordedBlocker]
    """All blockers, including those of the clusters."""
    refusals: list[str]
    """The reasons for a refusal, except blockers."""
    warnings: list[str]
    deleted_tags: list[str]
    """`repository:tag`"""
    repositories: list[RecordedRepository]
    planned_tags: list[str]
    """`repository:tag`"""
    outcomes: list[RecordedOutcome]
    missing: list[Reference]
    """
    References in use that the registry did not have before the run. Pods that use them fail on
    their next pull.
    """
    proof: Verification | None
    """null if nothing was verified."""
    undo: str
    """
    Whether the registry's soft delete can restore deleted manifests, in one sentence; empty if
    nothing was to be deleted.
    """
    space: FreedSpace
    applied_plan: ReviewedPlanName | None = None
    """The reviewed plan that was applied; null without one."""
    left_out: list[LeftOutRepositories] | None = None
    """The repositories that the plan left out; null if the registry does not list its repositories."""
    pull_log: RecordedPullLog | None = None
    """null if the log was not read."""
    probation: list[WaitingItems] | msgspec.UnsetType = msgspec.UNSET
    """The tags and manifests on probation, by day."""
    may_pull: list[OtherPuller] = []
    """Further identities that may pull from the registry. Images that only they use count as unused."""


T = TypeVar("T")


def _decoded(text: bytes, document: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=document)
    except msgspec.DecodeError:
        # Foreign text may have a lone surrogate. Only the standard library decodes its escape.
        return msgspec.convert(json.loads(text), document)


def read_report(path: Path) -> Report:
    """Read a report. Raises `ConfigurationError` if the file is not one."""

    def invalid(seen: str, remedy: str = _REMEDY) -> ConfigurationError:
        return ConfigurationError((Problem(str(path), plain(seen), remedy),))

    try:
        text = path.read_bytes()
    except OSError as error:
        raise invalid(f"The file cannot be read: {error.strerror or error}.") from error
    try:
        version = _decoded(text, SchemaVersion)
        if version.schema_version != SCHEMA_VERSION:
            seen = f"The report has version {version.schema_version}, but this program reads version {SCHEMA_VERSION} only."
            raise invalid(seen, f"Read it with the acr-cleanup that wrote it ({plain(version.tool_version, 40)}).")
        return _decoded(text, Report)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise invalid(f"The file is not the report of a run: {error}.") from error
