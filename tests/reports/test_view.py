"""The verdict and the next steps: never more deletions or more certainty than the run had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Rule, keep_rule
from acr_cleanup.core.shard import Shard
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.next_steps import next_steps
from acr_cleanup.reports.policy_sentence import policy_sentence
from acr_cleanup.reports.tone import Tone
from acr_cleanup.reports.users import by_digest, users
from acr_cleanup.reports.view import View
from tests.helpers import sample_results as samples

HEADLINES = {
    "planned": (
        "Dry run: would delete 297 tags and 295 manifests from contoso.azurecr.io, freeing up to 34.6 GiB. Nothing was deleted."
    ),
    "blocked": (
        "Blocked: nothing can be deleted from contoso.azurecr.io, because production and staging could not be read "
        "completely. According to what was read, 298 tags would be deleted."
    ),
    "blocked_apply": (
        "Blocked: nothing was deleted from contoso.azurecr.io, because production and staging could not be read "
        "completely. According to what was read, 298 tags would be deleted."
    ),
    "refused": "Refused: nothing was deleted from contoso.azurecr.io. The plan selects 297 tags.",
    "refused_plan": (
        "Dry run: nothing was deleted from contoso.azurecr.io, and an apply would be refused. The plan selects 297 tags."
    ),
    "applied": "Deleted 297 tags and 295 manifests from contoso.azurecr.io, freeing up to 34.6 GiB.",
    "applied_but_moved": (
        "Deleted 294 of 297 planned tags from contoso.azurecr.io, with 292 manifests, freeing up to 34.2 GiB; "
        "3 had changed since the plan or must be kept."
    ),
    "partial": (
        "Partly done: 2 tags failed; 1 repository could not be read, so all its tags are kept; 294 of 297 planned tags "
        "were deleted from contoso.azurecr.io, with 292 manifests, freeing up to 34.2 GiB."
    ),
    "cancelled": (
        "Cancelled: 93 of 297 planned tags were deleted from contoso.azurecr.io, with 93 manifests, freeing up to 10.9 GiB."
    ),
    "nothing_to_do": "Nothing to do for contoso.azurecr.io: all 394 tags of 8 repositories are kept.",
    "nothing_in_scope": "Nothing to do for contoso.azurecr.io: no repository of this registry is running in the clusters.",
    "small": (
        "Dry run: would delete 2 tags from contoso.azurecr.io (only the tags: their manifests are kept). Nothing was deleted."
    ),
    "no_login": (
        "Failed: Entra ID refused the federated login: its subject is not known (AADSTS700213). "
        "Nothing was deleted from contoso.azurecr.io."
    ),
    "proven": "Deleted 297 tags and 295 manifests from contoso.azurecr.io, freeing up to 34.6 GiB.",
    "broken": (
        "Broken: shop/web:1.8.7 can no longer be pulled (not deleted by this run), used by "
        "production/shop/Deployment/web (app) and 3 more; 1 more reference is broken. 297 of 297 planned tags were deleted from "
        "contoso.azurecr.io, with 295 manifests, freeing up to 34.6 GiB."
    ),
    "unproven": (
        "Partly done: the check that everything in use can still be pulled is incomplete; 297 of 297 planned tags were "
        "deleted from contoso.azurecr.io, with 295 manifests, freeing up to 34.6 GiB."
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
        "Partly done: 1 manifest failed; 1 of 2 planned untagged manifests were deleted from contoso.azurecr.io, "
        "freeing up to 20.0 MiB."
    ),
    "small_applied": "Deleted 2 tags from contoso.azurecr.io (only the tags: their manifests are kept).",
}


@pytest.mark.parametrize("name", samples.ALL)
def test_headline_names_the_shard(name: str) -> None:
    result = samples.ALL[name]()
    part = replace(result, plan=replace(result.plan, policy=replace(result.plan.policy, shard=Shard(3, 8))))
    sentence = headline(View(part)).replace("of this shard", "of this registry")
    assert sentence.replace("contoso.azurecr.io (shard 3/8)", "contoso.azurecr.io") == HEADLINES[name]
    assert sentence != HEADLINES[name]
    assert "Only repositories of shard 3/8" in policy_sentence(part.plan.policy)


def test_empty_shard_gives_no_scope_advice() -> None:
    """The repositories that the clusters name may be in other shards."""
    result = samples.nothing_in_scope()
    part = replace(result.plan, policy=replace(result.plan.policy, shard=Shard(3, 8)))
    advice = next_steps(View(result), Context())
    assert advice
    assert next_steps(View(replace(result, plan=part)), Context()) == advice, (
        "no cluster names a repository of the registry"
    )
    busy = replace(part, usage=samples.company_plan().usage)
    assert next_steps(View(replace(result, plan=busy)), Context()) == ()


@pytest.mark.parametrize("name", samples.ALL)
def test_headline_of_each_sample(name: str) -> None:
    assert headline(View(samples.ALL[name]())) == HEADLINES[name]


def test_every_sample_has_an_expected_headline() -> None:
    assert HEADLINES.keys() == samples.ALL.keys()


@pytest.mark.parametrize(
    ("kind", "verdict", "words"),
    [
        (
            OutcomeKind.GONE,
            Verdict.APPLIED,
            "Nothing was deleted from contoso.azurecr.io: everything planned (2 untagged manifests",
        ),
        (OutcomeKind.DELETED, Verdict.APPLIED, "Deleted 2 manifests from contoso.azurecr.io, freeing up to 50.0 MiB."),
    ],
)
def test_headline_counts_untagged_manifests(kind: OutcomeKind, verdict: Verdict, words: str) -> None:
    made = samples.untagged_plan()
    outcomes = tuple(replace(outcome, kind=kind) for outcome in samples.outcomes(made))
    view = View(samples.result(made, verdict, dry_run=False, outcomes=outcomes))

    assert headline(view).startswith(words)
    assert "0 tags" not in headline(view)


def test_headline_of_failed_tags_does_not_mention_their_manifests() -> None:
    view = View(small(Verdict.PARTIAL, outcome(OutcomeKind.FAILED), outcome(OutcomeKind.FAILED, "1.0.0", 1)))

    assert headline(view) == "Partly done: 2 tags failed; 0 of 2 planned tags were deleted from contoso.azurecr.io."


def test_refusal_counts_the_selected_untagged_manifests() -> None:
    result = samples.result(samples.untagged_plan(), Verdict.REFUSED, dry_run=False, refusals=("Too many.",))

    assert headline(View(result)).endswith("The plan selects 2 untagged manifests.")


def small(verdict: Verdict, *outcomes: Outcome, **more: object) -> Result:
    return samples.result(samples.small(), verdict, dry_run=False, outcomes=outcomes, **more)


def outcome(kind: OutcomeKind, tag: str | None = "old", number: int = 3) -> Outcome:
    return Outcome("shop/web", samples.digest(number), tag, kind, "as it was")


def test_headline_when_every_tag_changed_says_nothing_was_deleted() -> None:
    result = small(Verdict.APPLIED, outcome(OutcomeKind.MOVED), outcome(OutcomeKind.GONE, "1.0.0", 1))

    assert headline(View(result)) == (
        "Nothing was deleted from contoso.azurecr.io: all 2 planned tags had changed since the plan or must be kept."
    )


def test_headline_when_cancelled_early_says_nothing_was_deleted() -> None:
    result = small(Verdict.CANCELLED, outcome(OutcomeKind.NOT_ATTEMPTED))

    assert headline(View(result)) == "Cancelled: nothing was deleted from contoso.azurecr.io."


def test_blocked_second_look_is_not_a_deletion() -> None:
    result = small(Verdict.REFUSED, outcome(OutcomeKind.NOT_ATTEMPTED), blockers=(samples.STOPPED,))

    assert not View(result).acted
    assert headline(View(result)).startswith("Blocked: nothing was deleted")


def test_blocker_during_apply_does_not_hide_deletions() -> None:
    outcomes = (outcome(OutcomeKind.DELETED), outcome(OutcomeKind.NOT_ATTEMPTED, "1.0.0", 1))
    view = View(small(Verdict.PARTIAL, *outcomes, blockers=(samples.STOPPED,)))

    assert view.acted
    assert headline(view) == (
        "Stopped: 1 of 2 planned tags were deleted from contoso.azurecr.io (only the tag: its manifest is kept); "
        "then staging could no longer be read completely."
    )


def test_headline_mentions_an_unread_repository_without_deletions() -> None:
    made = replace(samples.small(), repositories=(RepositoryPlan("shop/web", error="503"),))

    assert headline(View(samples.result(made, Verdict.PARTIAL))) == (
        "Nothing to do for contoso.azurecr.io: no tag could be read. "
        "1 repository could not be read, so all its tags are kept."
    )


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("refusals", [(), ("Too many.",)])
@pytest.mark.parametrize("blockers", [(), (samples.STOPPED,)])
@pytest.mark.parametrize("kinds", [(), (OutcomeKind.NOT_ATTEMPTED,), (OutcomeKind.FAILED,), (OutcomeKind.DELETED,)])
def test_headline_claims_only_real_deletions(
    dry_run: bool,
    verdict: Verdict,
    refusals: tuple[str, ...],
    blockers: tuple[object, ...],
    kinds: tuple[OutcomeKind, ...],
) -> None:
    """
    In every combination, also impossible ones: it says "deleted" only of deleted tags, and always
    says so.
    """
    result = samples.result(
        samples.small(),
        verdict,
        dry_run=dry_run,
        outcomes=tuple(map(outcome, kinds)),
        refusals=refusals,
        blockers=blockers,
    )
    sentence = headline(View(result))

    if OutcomeKind.DELETED in kinds:
        assert "1 of 2" in sentence
        assert "othing w" not in sentence
    else:
        assert not (dry_run and View(result).acted)
        deleted = ("Deleted", "were deleted", "tags deleted")
        assert not any(word in sentence for word in deleted) or "0 of 2" in sentence


def test_every_rule_has_a_title() -> None:
    view = View(samples.planned())

    assert all(keep_rule(rule).describe(view.result.plan.policy) for rule in Rule)


def test_kept_tags_are_grouped_by_strongest_reason() -> None:
    view = View(samples.planned())
    web = view.result.plan.repository("shop/web")
    groups = view.kept(web)

    assert [group.rule for group in groups] == [Rule.IN_USE, Rule.YOUNG, Rule.ATTACHED]
    assert sum(len(group.tags) for group in groups) == len(web.kept)
    assert groups[0].tags[0].also == (Rule.YOUNG, Rule.NEWEST)


def test_users_show_a_deployment_instead_of_its_pods() -> None:
    """The pods still count."""
    view = View(samples.planned())
    web = view.result.plan.repository("shop/web")
    tags = {tag.name: tag for tag in view.kept(web)[0].tags}

    assert users(tags["1.8.7"], 2) == (("production/shop/Deployment/web (app)",), 7)
    assert by_digest(tags["1.6.0"])
    assert not by_digest(tags["1.8.7"])


def test_locked_lists_tags_kept_only_by_a_lock() -> None:
    view = View(samples.planned())

    assert [f"{repository}:{tag.name}" for repository, tag in view.locked] == [
        "jobs/importer:1.1.0",
        "jobs/importer:1.0.3",
    ]


def test_deviations_omit_a_manifest_with_the_outcome_of_its_tag() -> None:
    tag, manifest = outcome(OutcomeKind.FAILED), outcome(OutcomeKind.FAILED, None)
    other = outcome(OutcomeKind.FAILED, None, 4)

    assert View(small(Verdict.PARTIAL, tag, manifest, other)).deviations == ((OutcomeKind.FAILED, (tag, other)),)


def test_blockers_are_not_repeated() -> None:
    assert View(samples.blocked()).blockers == (samples.FORBIDDEN, samples.STOPPED)


def test_next_steps_fit_the_verdict() -> None:
    context = Context(("out/report.json",), "plan.sh", "apply.sh")

    def steps(result: Result) -> str:
        return " ".join(map(str, next_steps(View(result), context)))

    assert "apply.sh" in steps(samples.planned())
    assert "out/report.json" in steps(samples.planned())
    assert "plan.sh" in steps(samples.blocked())
    assert "apply.sh" not in steps(samples.blocked())
    assert "apply.sh" not in steps(samples.refused())
    assert "apply.sh" in steps(samples.partial())
    assert steps(samples.applied()) == ""
    assert steps(samples.nothing_to_do()) == ""


def test_tone_is_never_better_than_the_verdict() -> None:
    tones = {name: View(make()).tone for name, make in samples.ALL.items()}

    assert tones["planned"] is Tone.NEUTRAL
    assert tones["applied"] is Tone.GOOD
    assert tones["nothing_to_do"] is Tone.GOOD
    assert tones["partial"] is Tone.WARNING
    assert tones["cancelled"] is Tone.STOPPED
    assert {tones[name] for name in ("blocked", "blocked_apply", "refused", "refused_plan", "no_login")} == {Tone.BAD}


def test_no_repository_in_scope_is_not_a_success() -> None:
    """The wrong clusters or the wrong registry may be configured."""
    view = View(samples.nothing_in_scope())

    assert view.tone is Tone.NEUTRAL
    assert "Check that the configured clusters use images of contoso.azurecr.io" in str(next_steps(view, Context())[0])


def test_next_steps_name_an_input_instead_of_a_command() -> None:
    context = Context(apply="dry-run: false", apply_is_input=True)

    assert [str(step) for step in next_steps(View(samples.planned()), context)][-1] == (
        "Delete them by setting: dry-run: false"
    )
    assert "dry-run" not in str(next_steps(View(samples.partial()), context)[0])
