"""The answer of `acr-cleanup explain` from the evidence of now, about a whole repository."""

from __future__ import annotations

from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.retention import Scope
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import DELETED_STYLE, KEPT_STYLE, MISSING_STYLE, Answer, Fact, authored_first, tag_rows
from acr_cleanup.reports.explanation import Circumstances


def explain_repository(evidence: Evidence, *, everything: bool = False) -> Answer:
    """Make the answer about a repository: each tag with its strongest reason, newest first."""
    circumstances = Circumstances(evidence)
    plan, inventory = circumstances.plan, evidence.inventory
    uses = [use for scan in evidence.usage.scans for use in scan.uses if use.reference.repository == inventory.name]
    verdict, style = _repository_verdict(circumstances, len(uses))
    runners = tuple(dict.fromkeys(str(use) for use in sorted(uses, key=authored_first) if use.running))
    return Answer(
        verdict=verdict,
        style=style,
        known=bool(inventory.tags or inventory.manifests or uses),
        everything=everything,
        remarks=circumstances.remarks(),
        freed=(len(plan.manifests), plan.size) if plan.deletions or plan.manifests else None,
        facts=_contents(plan, len(inventory.manifests)),
        notes=() if runners else (_not_running(evidence.policy.scope),),
        runners=runners,
        tags=tag_rows(
            plan.decisions,
            evidence.now,
            lambda decision: (
                "would be deleted",
                words.plain(f"unused and old enough{evidence.policy.rule(decision.governed_by).note}"),
            ),
        ),
        blockers=evidence.usage.blockers,
        warnings=circumstances.warnings(),
        run=circumstances.clusters(),
    )


def _repository_verdict(circumstances: Circumstances, uses: int) -> tuple[str, str]:
    """The verdict and its style."""
    plan, repository = circumstances.plan, circumstances.repository
    if not plan.decisions and not circumstances.evidence.inventory.manifests:
        verb = "fails" if uses == 1 else "fail"
        failing = f" {words.count(uses, 'use')} of it {verb} on the next pull." if uses else ""
        return f"{repository} is not in the registry, or empty.{failing}", MISSING_STYLE
    in_use = sum(decision.in_use for decision in plan.kept)
    text = (
        f"{repository}: {len(plan.deletions):,} of {words.count(len(plan.decisions), 'tag')} would be deleted, "
        f"{len(plan.kept):,} {words.plural(len(plan.kept), 'is')} kept, {in_use:,} of them in use."
    )
    return text, DELETED_STYLE if plan.deletions else KEPT_STYLE


def _contents(plan: RepositoryPlan, manifests: int) -> tuple[Fact, ...]:
    if not manifests:
        return ()
    number = words.count(len(plan.manifests), "manifest")
    deleted = f"; {number} would be deleted, {words.size(plan.size)} as listed" if plan.manifests else ""
    return (Fact.of("Contains", f"{words.count(manifests, 'manifest')}{deleted}"),)


def _not_running(scope: Scope) -> str:
    consequence = ", so it is out of scope and all its tags are kept" if scope is Scope.RUNNING else ""
    return f"It does not run in any cluster that was read{consequence}."
