"""
Renders `report.json` and `plan.json` in pieces, with one line for each decision and outcome.

The documents are the Structs in `records.report` and `records.plan`. Their long lists are lazy: a
registry may have a million tags, so its repositories are encoded one by one. Each document walks
the repositories once, because making their plans is as expensive as encoding them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import Literal

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result
from acr_cleanup.core.plan import Decision, ManifestDecision, RepositoryPlan
from acr_cleanup.core.policy import KeepReason
from acr_cleanup.core.steps import DeleteManifest, Step
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.core.verification import Broken, Missing, Proof, is_digest
from acr_cleanup.quoting import in_utc
from acr_cleanup.records.encoding import hashed_pieces, lazy, lazy_groups, pieces, well_formed
from acr_cleanup.records.parts import (
    LeftOutRepositories,
    RecordedBlocker,
    RecordedPolicy,
    RecordedPullLog,
    utc,
)
from acr_cleanup.records.plan import (
    PLAN_VERSION,
    PlanBlocker,
    PlanCounts,
    PlanDocument,
    PlannedCluster,
    PlannedLock,
    PlannedStep,
    PlannedTag,
)
from acr_cleanup.records.report import (
    SCHEMA_VERSION,
    BrokenReference,
    FreedSpace,
    ManifestReason,
    OtherPuller,
    ReadCluster,
    RecordedManifest,
    RecordedOutcome,
    RecordedRepository,
    RecordedUse,
    Reference,
    Report,
    ReviewedPlanName,
    RunCounts,
    TagDecision,
    TagReason,
    UntaggedDecision,
    Verification,
    WaitingItems,
)
from acr_cleanup.reports.plan_words import warning_text
from acr_cleanup.reports.view import View


def render(result: Result) -> Iterator[str]:
    """Yield the pieces of `report.json`, in order."""
    yield from pieces(report(result))
    yield "\n"


def render_plan(result: Result) -> Iterator[str]:
    """Yield the pieces of `plan.json`, in order."""
    yield from hashed_pieces(plan_document(result))
    yield "\n"


def report(result: Result) -> Report:
    """Make the report of a run, with lazy lists."""
    plan, counts, view, applied = result.plan, result.counts, View(result), result.applied_plan
    planned = _PlannedNames()
    tags, untagged = view.waiting
    return Report(
        schema_version=SCHEMA_VERSION,
        tool_version=__version__,
        started_at=in_utc(result.started_at),
        finished_at=in_utc(result.finished_at),
        registry=plan.registry,
        dry_run=result.dry_run,
        verdict=str(result.verdict),
        policy=RecordedPolicy.of(plan.policy),
        applied_plan=None
        if applied is None
        else ReviewedPlanName(applied.path, in_utc(applied.created_at), applied.hash),
        counts=RunCounts(
            counts.deleted,
            counts.planned,
            counts.kept,
            counts.in_use,
            counts.failed,
            counts.deleted_manifests,
            counts.bytes,
        ),
        clusters=lazy(lambda: map(_cluster, plan.usage.scans)),
        blockers=lazy(lambda: map(RecordedBlocker.of, view.blockers)),
        refusals=lazy(lambda: result.refusals),
        warnings=lazy(lambda: view.warnings),
        deleted_tags=lazy(
            lambda: (
                str(outcome)
                for outcome in result.outcomes
                if outcome.tag is not None and outcome.kind is OutcomeKind.DELETED
            )
        ),
        repositories=lazy(lambda: map(_repository, map(planned.noted, plan.repositories))),
        planned_tags=lazy(planned.names),
        outcomes=lazy(lambda: map(_outcome, result.outcomes)),
        missing=lazy(lambda: map(_missing, plan.missing)),
        proof=None if result.proof is None else _verification(result.proof),
        undo=result.undo,
        space=FreedSpace(counts.bytes, plan.exact, plan.read_for_sizes),
        left_out=None
        if plan.part is None
        else [
            LeftOutRepositories(reason, group.number, list(group.examples))
            for reason, group in plan.part.left_out.items()
        ],
        pull_log=RecordedPullLog.of(plan.usage.pulls),
        probation=[WaitingItems(day.isoformat(), tags[day], untagged[day]) for day in sorted(tags | untagged)]
        or msgspec.UNSET,
        may_pull=[OtherPuller(puller.name, puller.kind, puller.role) for puller in plan.usage.outside.pullers],
    )


def plan_document(result: Result) -> PlanDocument:
    """
    Make the plan of a run, with lazy lists and an empty hash: steps in a safe order, and their
    evidence.
    """
    plan = result.plan
    return PlanDocument(
        schema_version=PLAN_VERSION,
        tool_version=__version__,
        created_at=in_utc(plan.created_at),
        registry=well_formed(plan.registry),
        policy=well_formed(RecordedPolicy.of(plan.policy)),
        counts=PlanCounts(plan.planned, plan.kept, plan.in_use, plan.manifests, plan.size, plan.untagged),
        blockers=lazy(lambda: (well_formed(PlanBlocker.of(blocker)) for blocker in View(result).blockers)),
        refusals=lazy(lambda: map(well_formed, result.refusals)),
        clusters=lazy(lambda: map(_evidence, plan.usage.scans)),
        steps=lazy_groups(
            lambda: (map(partial(_step, repository.repository), repository.steps) for repository in plan.repositories)
        ),
        hash="",
    )


class _PlannedNames:
    """
    The planned tags of the repositories that were written, compressed.

    The report lists them after the repositories, which are walked once.
    """

    def __init__(self) -> None:
        self._packed: list[bytes] = []

    def noted(self, repository: RepositoryPlan) -> RepositoryPlan:
        """Keep the names of its planned tags, and return the repository."""
        names = [f"{repository.repository}:{decision.tag.name}" for decision in repository.deletions]
        self._packed.append(zlib.compress("\0".join(names).encode("utf-8", "surrogatepass"), level=1) if names else b"")
        return repository

    def names(self) -> Iterator[str]:
        for packed in filter(None, self._packed):
            yield from zlib.decompress(packed).decode("utf-8", "surrogatepass").split("\0")


def _evidence(scan: ClusterScan) -> PlannedCluster:
    """The cluster that was read, and a hash of its uses."""

    def compared(use: ImageUse) -> bytes:
        members = msgspec.structs.asdict(well_formed(RecordedUse.of(use)))
        # Pods come and go, and `holder` is any one of them.
        del members["object"]
        return msgspec.json.encode({**members, "running": use.running}, order="sorted")

    uses = sorted(map(compared, scan.uses))
    return PlannedCluster(
        name=well_formed(scan.cluster),
        resource_id=scan.resource_id or None,
        access=well_formed(scan.access),
        objects=scan.objects,
        uses=len(scan.uses),
        uses_hash=f"sha256:{sha256(b'[%b]' % b','.join(uses)).hexdigest()}",
    )


def _step(repository: str, step: Step) -> PlannedStep:
    planned = PlannedStep(
        "untag",
        repository,
        step.digest,
        [PlannedTag(tag.name, utc(tag.updated_at)) for tag in step.tags],
        list(step.after),
        [PlannedLock.of(lock) for lock in step.locks],
    )
    if isinstance(step, DeleteManifest):
        planned.verb, planned.media_type, planned.bytes = (
            "delete manifest",
            step.manifest.media_type,
            step.manifest.size,
        )
    return planned


def _cluster(scan: ClusterScan) -> ReadCluster:
    return ReadCluster(
        scan.cluster,
        scan.access,
        scan.objects,
        len(scan.uses),
        list(map(RecordedBlocker.of, scan.blockers)),
        list(map(RecordedBlocker.of, scan.waived)),
        list(scan.notes),
        utc(scan.read_at),
    )


def _uses(uses: tuple[ImageUse, ...]) -> list[RecordedUse]:
    return list(map(RecordedUse.of, uses))


def _named(reference: Missing | Broken) -> tuple[str, str | None, str | None, list[RecordedUse]]:
    name, digest = reference.name, is_digest(reference.name)
    return reference.repository, None if digest else name, name if digest else None, _uses(reference.uses)


def _missing(missing: Missing) -> Reference:
    return Reference(*_named(missing))


def _verification(proof: Proof) -> Verification:
    return Verification(
        holds=proof.holds,
        repositories=proof.repositories,
        references=proof.references,
        broken=[BrokenReference(*_named(broken), broken.seen, broken.ours) for broken in proof.broken],
        notes=list(proof.notes),
        unproven=list(proof.unproven),
        skipped=proof.skipped,
    )


def _repository(repository: RepositoryPlan) -> RecordedRepository:
    steps = [step for step in repository.steps if isinstance(step, DeleteManifest)]
    return RecordedRepository(
        name=repository.repository,
        error=repository.error or None,
        bytes=repository.size,
        exact=repository.exact,
        warnings=list(map(warning_text, repository.warnings)),
        decisions=lazy(lambda: _decisions(repository.decisions)),
        untagged=lazy(lambda: map(_untagged, repository.untagged)),
        manifests=lazy(lambda: map(_manifest, steps)),
    )


def _decisions(decisions: Iterable[Decision]) -> Iterator[TagDecision]:
    # Many tags share their reasons. They belong to the repository, so no id occurs twice.
    shared: dict[int, TagReason] = {}

    def recorded(reason: KeepReason) -> TagReason:
        if (known := shared.get(id(reason))) is None:
            shared[id(reason)] = known = TagReason(str(reason.rule), reason.detail, _uses(reason.uses))
        return known

    for decision in decisions:
        tag, reasons = decision.tag, list(map(recorded, decision.reasons))
        verdict: Literal["keep", "delete"] = "keep" if reasons else "delete"
        yield TagDecision(tag.name, tag.digest, utc(tag.updated_at), verdict, reasons, decision.governed_by)


def _untagged(decision: ManifestDecision) -> UntaggedDecision:
    manifest = decision.manifest
    return UntaggedDecision(
        manifest.digest,
        manifest.media_type,
        manifest.size,
        utc(manifest.updated_at),
        "delete" if decision.deletes else "keep",
        [ManifestReason(str(reason.rule), reason.detail) for reason in decision.reasons],
    )


def _manifest(step: DeleteManifest) -> RecordedManifest:
    manifest = step.manifest
    return RecordedManifest(
        manifest.digest, manifest.media_type, manifest.platform, manifest.size, [tag.name for tag in step.tags]
    )


def _outcome(outcome: Outcome) -> RecordedOutcome:
    return RecordedOutcome(outcome.repository, outcome.tag, outcome.digest, str(outcome.kind), outcome.detail)
