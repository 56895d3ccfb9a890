"""The verdict never says more than is so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.shard import Shard
from acr_cleanup.reports.view import Context, Tone, View, by_digest, users
from tests.helpers import sample_results as samples

HEADLINES = {
    "planned": (
        "Dry run: would delete 297 tags and 295 manifests from contoso.azurecr.io, freeing up to 34.6 GiB. Nothing was deleted."
    ),
    "blocked": (
        "Blocked: nothing can be deleted from contoso.azurecr.io, because production and staging could not be read "
        "completely. As far as could be seen, 298 tags would go."
    ),
    "blocked_apply": (
        "Blocked: nothing was deleted from contoso.azurecr.io, because production and staging could not be read "
        "completely. As far as could be seen, 298 tags would go."
    ),
    "refused": "Refused: nothing was deleted from contoso.azurecr.io. The plan selects 297 tags.",
    "refused_plan": (
        "Dry run: nothing was deleted from contoso.azurecr.io, and an apply would be refused. The plan selects 297 tags."
    ),
    "applied": "Deleted 297 tags and 295 manifests from contoso.azurecr.io, freeing up to 34.6 GiB.",
    "applied_but_moved": (
        "Deleted 294 of 297 planned tags from contoso.azurecr.io, with 292 manifests, freeing up to 34.2 GiB; "
        "3 had changed since the plan or had to stay."
    ),
    "partial": (
        "Partly done: 2 tags failed; 1 repository could not be read and is kept whole; 294 of 297 planned tags were "
        "deleted from contoso.azurecr.io, with 292 manifests, freeing up to 34.2 GiB."
    ),
    "cancelled": (
        "Cancelled: 93 of 297 planned tags were deleted from contoso.azurecr.io, with 93 manifests, freeing up to 10.9 GiB."
    ),
    "nothing_to_do": "Nothing to do for contoso.azurecr.io: all 394 tags of 8 repositories are kept.",
    "nothing_in_scope": "Nothing to do for contoso.azurecr.io: no repository of it is running in the clusters.",
    "small": (
        "Dry run: would delete 2 tags from contoso.azurecr.io (by name only: their manifests stay). Nothing was deleted."
    ),
    "no_login": (
        "Failed: Entra ID refused the federated login: its subject is not known (AADSTS700213). "
        "Nothing was deleted from contoso.azurecr.io."
    ),
    "proven": "Deleted 297 tags and 295 manifests from contoso.azurecr.io, freeing up to 34.6 GiB.",
    "broken": (
        "Broken: shop/web:1.8.7 can no longer be pulled (not deleted by this run itself), used by "
        "production/shop/Deployment/web (app) and 3 more; 1 more reference is broken. 297 of 297 planned tags were deleted from "
        "contoso.azurecr.io, with 295 manifests, freeing up to 34.6 GiB."
    ),
    "unproven": (
        "Partly done: it could not be proven that everything in use can still be pulled; 297 of 297 planned tags were deleted "
        "from contoso.azurecr.io, with 295 manifests, freeing up to 34.6 GiB."
    ),
    "exact": (
        "Dry run: would delete 297 tags and 295 manifests from contoso.azurecr.io, freeing 144 KiB. Nothing was deleted."
    ),
    "untagged": (
        "Dry run: would delete 2 manifests from contoso.azurecr.io, freeing up to 50.0 MiB. Nothing was deleted."
    ),
    "untagged_and_tags": (
        "Dry run: would delete 1 tag and 3 manifests from contoso.azurecr.io, freeing up to 170 MiB. Nothing was deleted."
    ),
    "untagged_partial": (
        "Partly done: 1 manifest failed; 1 of 2 planned manifests without tags were deleted from contoso.azurecr.io, "
        "freeing up to 20.0 MiB."
    ),
    "small_applied": "Deleted 2 tags from contoso.azurecr.io (by name only: their manifests stay).",
}


@pytest.mark.parametrize("name", samples.ALL)
def test_each_verdict_names_the_part_of_the_registry_that_it_is_of(name: str) -> None:
    result = samples.ALL[name]()
    part = replace(result, plan=replace(result.plan, policy=replace(result.plan.policy, shard=Shard(3, 8))))
    told = View(part).headline.replace("of this shard", "of it")
    assert told.replace("contoso.azurecr.io (shard 3/8)", "contoso.azurecr.io") == HEADLINES[name]
    assert told != HEADLINES[name]
    assert "Only repositories of shard 3/8" in View(part).policy


def test_a_part_that_holds_nothing_is_no_wonder_where_clusters_name_what_others_hold() -> None:
    result = samples.nothing_in_scope()
    part = replace(result.plan, policy=replace(result.plan.policy, shard=Shard(3, 8)))
    advice = View(result).next_steps(Context())
    assert advice
    assert View(replace(result, plan=part)).next_steps(Context()) == advice, "no cluster names anything of the registry"
    busy = replace(part, usage=samples.company_plan().usage)
    assert View(replace(result, plan=busy)).next_steps(Context()) == ()


@pytest.mark.parametrize("name", samples.ALL)
def test_the_verdict_in_words(name: str) -> None:
    assert View(samples.ALL[name]()).headline == HEADLINES[name]


def test_every_sample_has_its_words() -> None:
    assert HEADLINES.keys() == samples.ALL.keys()


@pytest.mark.parametrize(
    ("kind", "verdict", "words"),
    [
        (
            OutcomeKind.GONE,
            Verdict.APPLIED,
            "Nothing was deleted from contoso.azurecr.io: what was planned (2 manifests",
        ),
        (OutcomeKind.DELETED, Verdict.APPLIED, "Deleted 2 manifests from contoso.azurecr.io, freeing up to 50.0 MiB."),
    ],
)
def test_manifests_without_tags_are_counted_as_what_was_planned(
    kind: OutcomeKind, verdict: Verdict, words: str
) -> None:
    made = samples.untagged_plan()
    outcomes = tuple(replace(each, kind=kind) for each in samples.outcomes(made))
    view = View(samples.result(made, verdict, dry_run=False, outcomes=outcomes))

    assert view.headline.startswith(words)
    assert "0 tags" not in view.headline


def test_what_failed_altogether_is_not_said_to_have_lost_its_names() -> None:
    view = View(small(Verdict.PARTIAL, outcome(OutcomeKind.FAILED), outcome(OutcomeKind.FAILED, "1.0.0", 1)))

    assert view.headline == "Partly done: 2 tags failed; 0 of 2 planned tags were deleted from contoso.azurecr.io."


def test_a_refusal_says_that_manifests_without_tags_are_selected() -> None:
    result = samples.result(samples.untagged_plan(), Verdict.REFUSED, dry_run=False, refusals=("Too many.",))

    assert View(result).headline.endswith("The plan selects 2 manifests without tags.")


def small(verdict: Verdict, *outcomes: Outcome, **more: object) -> Result:
    return samples.result(samples.small(), verdict, dry_run=False, outcomes=outcomes, **more)


def outcome(kind: OutcomeKind, tag: str | None = "old", number: int = 3) -> Outcome:
    return Outcome("shop/web", samples.digest(number), tag, kind, "as it was")


def test_an_apply_that_found_everything_changed_deleted_nothing() -> None:
    result = small(Verdict.APPLIED, outcome(OutcomeKind.MOVED), outcome(OutcomeKind.GONE, "1.0.0", 1))

    assert View(result).headline == (
        "Nothing was deleted from contoso.azurecr.io: all 2 planned tags had changed since the plan or had to stay."
    )


def test_a_run_cancelled_before_its_first_deletion_deleted_nothing() -> None:
    result = small(Verdict.CANCELLED, outcome(OutcomeKind.NOT_ATTEMPTED))

    assert View(result).headline == "Cancelled: nothing was deleted from contoso.azurecr.io."


def test_a_second_look_that_is_blocked_before_the_first_deletion_is_no_deletion() -> None:
    result = small(Verdict.REFUSED, outcome(OutcomeKind.NOT_ATTEMPTED), blockers=(samples.STOPPED,))

    assert not View(result).acted
    assert View(result).headline.startswith("Blocked: nothing was deleted")


def test_a_cluster_lost_half_way_does_not_hide_what_was_deleted() -> None:
    """What has been done is done, whatever stopped the rest."""
    outcomes = (outcome(OutcomeKind.DELETED), outcome(OutcomeKind.NOT_ATTEMPTED, "1.0.0", 1))
    view = View(small(Verdict.PARTIAL, *outcomes, blockers=(samples.STOPPED,)))

    assert view.acted
    assert view.headline == (
        "Stopped: 1 of 2 planned tags were deleted from contoso.azurecr.io (by name only: its manifest stays); "
        "then staging could no longer be read completely."
    )


def test_an_unread_repository_is_said_even_where_nothing_goes() -> None:
    made = replace(samples.small(), repositories=(RepositoryPlan("shop/web", error="503"),))

    assert View(samples.result(made, Verdict.PARTIAL)).headline == (
        "Nothing to do for contoso.azurecr.io: no tag could be read. 1 repository could not be read and is kept whole."
    )


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("refusals", [(), ("Too many.",)])
@pytest.mark.parametrize("blockers", [(), (samples.STOPPED,)])
@pytest.mark.parametrize("kinds", [(), (OutcomeKind.NOT_ATTEMPTED,), (OutcomeKind.FAILED,), (OutcomeKind.DELETED,)])
def test_no_verdict_speaks_of_deletions_that_did_not_happen(
    dry_run: bool,
    verdict: Verdict,
    refusals: tuple[str, ...],
    blockers: tuple[object, ...],
    kinds: tuple[OutcomeKind, ...],
) -> None:
    """In every combination, sensible or not: `deleted` only of what is deleted, and never silence about it."""
    result = samples.result(
        samples.small(),
        verdict,
        dry_run=dry_run,
        outcomes=tuple(map(outcome, kinds)),
        refusals=refusals,
        blockers=blockers,
    )
    headline = View(result).headline

    if OutcomeKind.DELETED in kinds:
        assert "1 of 2" in headline
        assert "othing w" not in headline
    else:
        assert not (dry_run and View(result).acted)
        deleted = ("Deleted", "were deleted", "tags deleted")
        assert not any(word in headline for word in deleted) or "0 of 2" in headline


def test_each_rule_has_its_words() -> None:
    view = View(samples.planned())

    assert all(view.title(rule) for rule in Rule)


def test_a_tag_is_grouped_by_its_strongest_reason_and_the_others_are_kept() -> None:
    view = View(samples.planned())
    web = view.result.plan.repository("shop/web")
    groups = view.kept(web)

    assert [group.rule for group in groups] == [Rule.IN_USE, Rule.YOUNG, Rule.ATTACHED]
    assert sum(len(group.tags) for group in groups) == len(web.kept)
    assert groups[0].tags[0].also == (Rule.YOUNG, Rule.NEWEST)


def test_what_somebody_wrote_stands_for_what_a_controller_made() -> None:
    """A Deployment, not its pods; and none of them is forgotten in the count."""
    view = View(samples.planned())
    web = view.result.plan.repository("shop/web")
    tags = {tag.name: tag for tag in view.kept(web)[0].tags}

    assert users(tags["1.8.7"], 2) == (("production/shop/Deployment/web (app)",), 7)
    assert by_digest(tags["1.6.0"])
    assert not by_digest(tags["1.8.7"])


def test_a_lock_is_reported_where_nothing_else_keeps_the_tag() -> None:
    view = View(samples.planned())

    assert [f"{repository}:{tag.name}" for repository, tag in view.locked] == [
        "jobs/importer:1.1.0",
        "jobs/importer:1.0.3",
    ]


def test_a_manifest_with_the_fate_of_its_tag_is_not_told_twice() -> None:
    tag, manifest = outcome(OutcomeKind.FAILED), outcome(OutcomeKind.FAILED, None)
    other = outcome(OutcomeKind.FAILED, None, 4)

    assert View(small(Verdict.PARTIAL, tag, manifest, other)).surprises == ((OutcomeKind.FAILED, (tag, other)),)


def test_blockers_are_told_once_from_wherever_they_come() -> None:
    assert View(samples.blocked()).blockers == (samples.FORBIDDEN, samples.STOPPED)


def test_next_steps_fit_the_verdict() -> None:
    """What a user is told to type must be right for where they stand."""
    context = Context(("out/report.json",), "plan.sh", "apply.sh")

    def steps(result: Result) -> str:
        return " ".join(map(str, View(result).next_steps(context)))

    assert "apply.sh" in steps(samples.planned())
    assert "out/report.json" in steps(samples.planned())
    assert "plan.sh" in steps(samples.blocked())
    assert "apply.sh" not in steps(samples.blocked())
    assert "apply.sh" not in steps(samples.refused())
    assert "apply.sh" in steps(samples.partial())
    assert steps(samples.applied()) == ""
    assert steps(samples.nothing_to_do()) == ""


def test_the_tone_is_never_better_than_the_verdict() -> None:
    tones = {name: View(make()).tone for name, make in samples.ALL.items()}

    assert tones["planned"] is Tone.NEUTRAL
    assert tones["applied"] is Tone.GOOD
    assert tones["nothing_to_do"] is Tone.GOOD
    assert tones["partial"] is Tone.WARNING
    assert tones["cancelled"] is Tone.STOPPED
    assert {tones[name] for name in ("blocked", "blocked_apply", "refused", "refused_plan", "no_login")} == {Tone.BAD}


def test_that_nothing_at_all_was_found_is_no_success() -> None:
    """Clusters that name no repository of the registry may be the wrong clusters, or it the wrong registry."""
    view = View(samples.nothing_in_scope())

    assert view.tone is Tone.NEUTRAL
    assert "Check that these clusters use images of contoso.azurecr.io" in str(view.next_steps(Context())[0])


def test_an_input_to_set_is_not_told_as_a_command() -> None:
    context = Context(apply="dry-run: false", apply_is_input=True)

    assert [str(step) for step in View(samples.planned()).next_steps(context)][-1] == (
        "Delete them by setting: dry-run: false"
    )
    assert "dry-run" not in str(View(samples.partial()).next_steps(context)[0])
