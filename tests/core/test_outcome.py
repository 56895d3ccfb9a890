"""The totals of a run, and its verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict, count, outcomes_of_taken, verdict_of
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.space import Content, measure
from acr_cleanup.core.usage import Blocker
from acr_cleanup.core.verification import Broken, Proof
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, inventory, tag, usage, use

WORLD = inventory(
    [tag("1", "a"), tag("2", "a"), tag("3", "b"), tag("4", "c"), tag("used", "u"), tag("new", "n", days=0)],
    [image("a", size=1000), image("b", size=300), image("c", size=70), image("u"), image("n")],
)
PLANNED = plan_repository(WORLD, usage(use("used")), RetentionPolicy(), NOW)


def outcome(kind: OutcomeKind, digest: str, name: str | None = None, size: int = 0) -> Outcome:
    return Outcome(REPOSITORY, d(digest), name, kind, size=size)


def test_taken_manifest_has_an_outcome_for_each_of_its_tags() -> None:
    """A kept manifest that the registry deleted because of this run counts as deleted."""

    def broken(name: str, taken: str | None) -> Broken:
        return Broken(REPOSITORY, name, "was kept", taken=None if taken is None else d(taken))

    proof = Proof(broken=(broken("sbom", "s"), broken("alias", "s"), broken(d("u"), "u"), broken("other", None)))

    assert [(item.digest, item.tag, item.kind) for item in outcomes_of_taken(proof)] == [
        (d("s"), "sbom", OutcomeKind.DELETED),
        (d("s"), "alias", OutcomeKind.DELETED),
        (d("s"), None, OutcomeKind.DELETED),
        (d("u"), None, OutcomeKind.DELETED),
    ]
    assert outcomes_of_taken(None) == ()


OUTCOMES = (
    outcome(OutcomeKind.DELETED, "a", "1"),
    outcome(OutcomeKind.DELETED, "a", "2"),
    outcome(OutcomeKind.DELETED, "a", None, 1000),
    outcome(OutcomeKind.FAILED, "b", "3"),
    outcome(OutcomeKind.FAILED, "b", None, 300),
    outcome(OutcomeKind.GONE, "c", "4"),
    outcome(OutcomeKind.GONE, "c", None, 70),
)


def result(plan: RepositoryPlan = PLANNED, *, dry_run: bool = False, proof: Proof | None = None) -> Result:
    whole = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(), (plan, RepositoryPlan("shop/empty")))
    outcomes = () if dry_run else OUTCOMES
    return Result(whole, Verdict.PARTIAL, dry_run, NOW, NOW, outcomes, proof=proof)


def test_tags_and_manifests_are_counted_apart() -> None:
    counts = result().counts

    assert (counts.deleted, counts.failed, counts.deleted_manifests, counts.bytes) == (2, 1, 1, 1000)
    assert (counts.planned, counts.kept, counts.in_use) == (4, 2, 1)


def test_dry_run_counts_the_planned_bytes() -> None:
    counts = result(dry_run=True).counts

    assert (counts.deleted, counts.failed, counts.deleted_manifests, counts.bytes) == (0, 0, 0, 1370)


def test_bytes_are_exact_if_every_deletion_was_measured() -> None:
    """Otherwise the listed sizes are added up."""
    contents = {d("a"): Content(5, {"x": 900}), d("b"): Content(3, {"x": 900}), d("c"): Content(2)}
    space = measure(contents, contents.keys())
    doubtful = measure({**contents, d("c"): None}, contents.keys())

    assert result(replace(PLANNED, space=space)).counts.bytes == 5
    assert result(replace(PLANNED, space=doubtful)).counts.bytes == 1000
    exact = result(replace(PLANNED, space=space))
    assert [exact.freed(tally) for tally in exact.plan.tallies] == [5, 0]


def test_freed_bytes_are_counted_per_repository() -> None:
    counts = result()
    elsewhere = replace(counts, outcomes=tuple(replace(outcome, repository="shop/empty") for outcome in OUTCOMES))

    assert [counts.freed(tally) for tally in counts.plan.tallies] == [1000, 0]
    assert [elsewhere.freed(tally) for tally in elsewhere.plan.tallies] == [0, 1000]


def test_broken_references_come_from_the_proof() -> None:
    broken = (Broken(REPOSITORY, "1.0", "is gone"),)

    assert result().broken == ()
    assert result(proof=Proof(broken=broken)).broken == broken


@pytest.mark.parametrize("kind", OutcomeKind)
def test_outcomes_are_counted_by_kind(kind: OutcomeKind) -> None:
    assert count([outcome(other, "a") for other in (*OutcomeKind, kind)], kind) == 2


def test_outcome_is_written_as_an_image_name() -> None:
    assert str(outcome(OutcomeKind.DELETED, "a", "1")) == f"{REPOSITORY}:1"
    assert str(outcome(OutcomeKind.DELETED, "a")) == f"{REPOSITORY}@{d('a')}"


BLOCKER = Blocker("production", "list pods", "403 Forbidden.", "Grant list on pods.", "pods")
DELETED, FAILED = outcome(OutcomeKind.DELETED, "a", "1"), outcome(OutcomeKind.FAILED, "b", "3")
UNREAD = RepositoryPlan("shop/unread", error="503.")


@pytest.mark.parametrize(
    ("verdict", "how"),
    [
        (Verdict.APPLIED, {}),
        (Verdict.APPLIED, {"outcomes": [DELETED], "proof": Proof()}),
        (Verdict.PLANNED, {"dry_run": True}),
        (Verdict.PLANNED, {"dry_run": True, "refused": ["Too many."]}),
        (Verdict.REFUSED, {"refused": ["Too many."]}),
        (Verdict.REFUSED, {"blockers": [BLOCKER]}),
        (Verdict.REFUSED, {"dry_run": True, "blockers": [BLOCKER]}),
        (Verdict.REFUSED, {"blockers": [BLOCKER], "outcomes": [FAILED]}),
        (Verdict.PARTIAL, {"blockers": [BLOCKER], "outcomes": [DELETED]}),
        (Verdict.PARTIAL, {"outcomes": [DELETED, FAILED]}),
        (Verdict.PARTIAL, {"outcomes": [FAILED]}),
        (Verdict.PARTIAL, {"outcomes": [DELETED], "proof": Proof(skipped=True)}),
        (Verdict.PARTIAL, {"repositories": [PLANNED, UNREAD]}),
        (Verdict.PARTIAL, {"dry_run": True, "repositories": [UNREAD]}),
        (Verdict.CANCELLED, {"cancelled": True, "outcomes": [DELETED, FAILED], "blockers": [BLOCKER]}),
    ],
)
def test_verdict_is_the_run_in_one_word(verdict: Verdict, how: dict[str, Any]) -> None:
    """
    A dry run beyond a limit is planned. A blocker refuses the run, unless something was deleted
    already.
    """
    values: dict[str, Any] = {"outcomes": [], "blockers": [], "refused": [], "dry_run": False, "cancelled": False}
    values |= {name: value for name, value in how.items() if name != "repositories"}
    whole = Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(), how.get("repositories", [PLANNED]))

    assert verdict_of(whole, **values) is verdict
