"""The three-part rule and the two verbs, as a table of verdicts."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from graphlib import CycleError

import pytest

from acr_cleanup.core.inventory import Lock, Manifest, RepositoryInventory
from acr_cleanup.core.plan import (
    DeleteManifest,
    Plan,
    RepositoryPlan,
    Tally,
    Untag,
    describe_policy,
    nothing_to_delete,
    plan_repository,
    refusals,
    waves,
)
from acr_cleanup.core.policy import Limits, RetentionPolicy, Rule, Scope, eligible_repositories
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.shard import Shard
from acr_cleanup.core.space import Content, measure
from acr_cleanup.core.usage import ImageUse, UsageIndex
from acr_cleanup.core.verification import Missing
from tests.helpers.generated_inventories import (
    NOW,
    OCI_IMAGE,
    REPOSITORY,
    d,
    image,
    index,
    inventory,
    referrer,
    signature_of,
    tag,
    usage,
    use,
)


def plan(
    repository: RepositoryInventory, index_of_uses: UsageIndex | None = None, policy: RetentionPolicy | None = None
) -> RepositoryPlan:
    return plan_repository(repository, index_of_uses or usage(), policy or RetentionPolicy(), NOW)


def deleted(repository_plan: RepositoryPlan) -> set[str]:
    return {decision.tag.name for decision in repository_plan.deletions}


def verbs(repository_plan: RepositoryPlan) -> list[str]:
    """The steps as readable words: `untag 1.0`, `delete a[1.0,1.1]`."""
    words = []
    for step in repository_plan.steps:
        if isinstance(step, Untag):
            words.append(f"untag {step.tag.name}")
        else:
            names = ",".join(each.name for each in step.tags)
            words.append(f"delete {bytes.fromhex(step.digest[7:].lstrip('0')).decode()}[{names}]")
    return words


def rules(repository_plan: RepositoryPlan, name: str) -> list[Rule]:
    return [reason.rule for each in repository_plan.decisions if each.tag.name == name for reason in each.reasons]


def test_old_and_unused_in_a_running_repository_goes_with_its_manifest() -> None:
    assert verbs(plan(inventory([tag("1.0", "a")]))) == ["delete a[1.0]"]


@pytest.mark.parametrize(("days", "goes"), [(29.999, False), (30, True), (30.001, True), (-1, False), (None, False)])
def test_a_tag_goes_when_its_last_push_is_at_least_older_than_ago(days: float | None, goes: bool) -> None:
    """The boundary belongs to deletion; the future and the unknown are kept."""
    assert bool(plan(inventory([tag("1.0", "a", days=days)])).deletions) is goes


def test_an_unknown_age_is_a_reason_of_its_own() -> None:
    assert rules(plan(inventory([tag("1.0", "a", days=None)])), "1.0") == [Rule.UNKNOWN_AGE]


def test_a_tag_is_kept_when_a_workload_names_it() -> None:
    assert not plan(inventory([tag("1.0", "a")]), usage(use("1.0"))).deletions


def test_a_tag_is_kept_when_its_digest_runs_under_another_name() -> None:
    assert not plan(inventory([tag("1.0", "a")]), usage(use("gone", "a"))).deletions


def test_a_tag_is_kept_while_any_tag_of_its_digest_is_used_by_digest() -> None:
    found = plan(inventory([tag("1.0", "a"), tag("also-1.0", "a")]), usage(use(None, "a")))

    assert not found.deletions


def test_an_alias_of_a_tag_used_by_name_is_untagged_and_the_manifest_stays() -> None:
    found = plan(inventory([tag("1.0", "a"), tag("also-1.0", "a")]), usage(use("1.0")))

    assert verbs(found) == ["untag also-1.0"]


def test_a_moved_tag_protects_what_it_named_and_what_it_names() -> None:
    """The kubelet pulled 1.0 as `old`; the tag names `new` today. Both are needed: now, and at the next pull."""
    found = plan(inventory([tag("1.0", "new"), tag("before", "old")]), usage(use("1.0", "old")))

    assert not found.deletions


def test_a_repository_that_runs_nowhere_keeps_everything() -> None:
    found = plan(inventory([tag("1.0", "a")]), usage(use("2.0", running=False), runs=False))

    assert not found.deletions
    assert rules(found, "1.0") == [Rule.OUT_OF_SCOPE]


def test_a_wider_scope_makes_referenced_repositories_eligible() -> None:
    uses = usage(use("2.0", running=False), runs=False)

    assert deleted(plan(inventory([tag("1.0", "a")]), uses, RetentionPolicy(scope=Scope.REFERENCED))) == {"1.0"}
    assert deleted(plan(inventory([tag("1.0", "a")]), usage(runs=False), RetentionPolicy(scope=Scope.ALL))) == {"1.0"}


def test_latest_is_never_deleted_unless_asked_for() -> None:
    repository = inventory([tag("latest", "a"), tag("1.0", "a")])

    assert verbs(plan(repository)) == ["untag 1.0"]
    assert verbs(plan(repository, policy=RetentionPolicy(exclude_tags=()))) == ["delete a[1.0,latest]"]


def test_locked_tags_and_manifests_stay() -> None:
    repository = inventory([tag("1.0", "a", locked=True), tag("2.0", "b")], [image("a"), image("b", locked=True)])

    found = plan(repository)

    assert not found.steps
    assert rules(found, "1.0") == rules(found, "2.0") == [Rule.LOCKED]


def test_one_young_tag_saves_the_manifest_but_not_the_old_name() -> None:
    assert verbs(plan(inventory([tag("old", "a"), tag("new", "a", days=1)]))) == ["untag old"]


def test_all_reasons_are_told_not_only_the_first() -> None:
    repository = inventory([tag("latest", "a", days=1, locked=True)])

    assert rules(plan(repository, usage(use("latest"))), "latest") == [
        Rule.IN_USE,
        Rule.LOCKED,
        Rule.YOUNG,
        Rule.EXCLUDED,
    ]


def test_keep_last_counts_over_all_tags_whatever_else_keeps_them() -> None:
    repository = inventory([tag(f"{days}", days, days=days) for days in (1, 40, 50, 60)])

    assert deleted(plan(repository, policy=RetentionPolicy(keep_last=2))) == {"50", "60"}


def test_globs_choose_what_may_go() -> None:
    repository = inventory([tag("v1", "a"), tag("pr-7", "b"), tag("pr-8-keep", "c")])
    policy = RetentionPolicy(include_tags=("pr-*",), exclude_tags=("*-keep",))

    assert deleted(plan(repository, policy=policy)) == {"pr-7"}


# --- graphs stay whole -----------------------------------------------------------------------------------------------


def test_an_index_goes_before_its_children_and_takes_them_along() -> None:
    repository = inventory([tag("1.0", "i")], [index("i", ["x", "y"]), image("x"), image("y")])

    found = plan(repository)

    assert verbs(found) == ["delete i[1.0]", "delete x[]", "delete y[]"]
    assert all(step.after == (d("i"),) for step in found.steps[1:])


def test_children_of_a_kept_index_stay() -> None:
    repository = inventory(
        [tag("1.0", "i", days=1), tag("1.0-amd64", "x")], [index("i", ["x", "y"]), image("x"), image("y")]
    )

    assert verbs(plan(repository)) == ["untag 1.0-amd64"]


def test_a_locked_tagged_index_keeps_its_children() -> None:
    """The known disaster: https://github.com/Azure/acr-cli/pull/462 skips the locked index before looking at its children."""
    repository = inventory([tag("1.0", "i"), tag("1.0-arm", "x")], [index("i", ["x"], locked=True), image("x")])

    assert verbs(plan(repository)) == ["untag 1.0-arm"]


def test_a_child_shared_with_a_kept_index_stays() -> None:
    repository = inventory(
        [tag("old", "i"), tag("new", "j", days=1)],
        [index("i", ["x", "base"]), index("j", ["base"]), image("x"), image("base")],
    )

    assert verbs(plan(repository)) == ["delete i[old]", "delete x[]"]


def test_a_child_in_use_keeps_every_index_above_it_and_their_children() -> None:
    repository = inventory(
        [tag("outer", "o"), tag("inner", "i"), tag("sibling", "y")],
        [index("o", ["i"]), index("i", ["x", "y"]), image("x"), image("y")],
    )

    assert not plan(repository, usage(use(None, "x"))).steps


def test_an_untagged_index_is_left_alone_and_so_are_its_children() -> None:
    repository = inventory([tag("1.0-amd64", "x")], [index("i", ["x"]), image("x")])

    assert verbs(plan(repository)) == ["untag 1.0-amd64"]


def test_untagged_manifests_are_left_alone() -> None:
    assert not plan(inventory([], [image("a")])).steps


def test_a_young_child_of_an_old_index_stays() -> None:
    repository = inventory([tag("1.0", "i")], [index("i", ["x", "y"]), image("x", days=1), image("y")])

    assert verbs(plan(repository)) == ["delete i[1.0]", "delete y[]"]


def test_nested_indexes_go_from_the_top() -> None:
    repository = inventory([tag("1.0", "o")], [index("o", ["i"]), index("i", ["x"]), image("x")])

    assert verbs(plan(repository)) == ["delete o[1.0]", "delete i[]", "delete x[]"]


def test_where_a_manifest_is_unknown_only_names_go() -> None:
    """A listed manifest that cannot be read may have anything for a child."""
    repository = inventory([tag("ghost", "g"), tag("1.0", "a")], [index("g", [], known=False), image("a")])

    found = plan(repository)

    assert verbs(found) == ["untag 1.0"]
    assert rules(found, "ghost") == [Rule.UNKNOWN_MANIFEST]
    assert found.warnings


def test_a_media_type_nobody_knows_is_unknown() -> None:
    strange = Manifest(d("s"), "application/vnd.example.future+json", updated_at=NOW - timedelta(days=100))

    assert verbs(plan(inventory([tag("1.0", "a")], [strange, image("a")]))) == ["untag 1.0"]


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom", ""])
def test_a_signature_stays_with_its_manifest_and_goes_before_it(suffix: str) -> None:
    signature = f"sha256-{d('a')[7:]}{suffix}"
    repository = inventory([tag("1.0", "a"), tag(signature, "s")], [image("a"), image("s")])

    assert verbs(plan(repository, usage(use("1.0")))) == []
    assert verbs(plan(repository)) == [f"delete s[{signature}]", "delete a[1.0]"]
    assert plan(repository).steps[1].after == (d("s"),)


def test_a_tag_named_like_the_signature_of_its_own_child_is_no_trap() -> None:
    strange = f"sha256-{d('x')[7:]}.sig"
    repository = inventory([tag(strange, "i")], [index("i", ["x"]), image("x")])

    assert verbs(plan(repository)) == [f"delete i[{strange}]", "delete x[]"]


def test_a_kept_referrer_keeps_its_subject() -> None:
    """The registry removes referrers together with their subject."""
    repository = inventory([tag("1.0", "a"), tag("sbom", "r", days=1)], [image("a"), referrer("r", "a")])

    assert verbs(plan(repository)) == ["untag 1.0"]


def test_an_untagged_referrer_goes_before_its_subject() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])

    assert verbs(plan(repository)) == ["delete r[]", "delete a[1.0]"]
    assert plan(repository).steps[1].after == (d("r"),)


def test_an_artifact_that_nobody_needs_to_read_is_left_to_the_registry() -> None:
    """It removes what refers to a subject together with that; a thousand signatures are not read to learn as much."""
    unread = replace(referrer("r", "a"), subject=None, known=False)
    repository = inventory([tag("1.0", "a")], [image("a"), unread])

    assert not repository.unread
    assert verbs(plan(repository)) == ["delete a[1.0]"]


def test_a_locked_referrer_keeps_its_subject() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a", locked=True)])

    assert verbs(plan(repository)) == ["untag 1.0"]


def test_a_tagged_referrer_of_a_kept_manifest_is_kept() -> None:
    repository = inventory([tag("1.0", "a", days=1), tag("sbom", "r")], [image("a"), referrer("r", "a")])

    found = plan(repository)

    assert not found.steps
    assert rules(found, "sbom") == [Rule.ATTACHED]


def test_bodies_are_needed_only_where_something_could_go() -> None:
    oci = Manifest(d("i"), OCI_IMAGE)
    repository = inventory([tag("1.0", "i")], [oci])

    assert repository.unread == (d("i"),)
    assert not nothing_to_delete(repository, usage(), RetentionPolicy(), NOW)
    assert nothing_to_delete(repository, usage(use("1.0")), RetentionPolicy(), NOW)
    assert nothing_to_delete(repository, usage(runs=False), RetentionPolicy(), NOW)


def test_a_manifest_that_only_a_tag_names_must_be_read() -> None:
    """Unlisted manifests (`listEnabled: false`) do not appear in the listing."""
    assert inventory([tag("1.0", "hidden")], []).unread == (d("hidden"),)


# --- a referrer before its subject -------------------------------------------------------------------------------------


def test_a_kept_signature_keeps_the_manifest_that_it_signs() -> None:
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "s", days=1)])

    assert verbs(plan(repository)) == ["untag 1.0"]


def test_signatures_need_not_be_among_the_included_tags() -> None:
    """Otherwise nothing signed could ever go with `include-tags: pr-*`; to keep them is to say so."""
    repository = inventory(
        [tag("pr-7", "a"), tag(signature_of("a"), "s"), tag("1.0", "b"), tag(signature_of("b"), "t")]
    )
    names = f"delete s[{signature_of('a')}]"

    assert verbs(plan(repository, policy=RetentionPolicy(include_tags=("pr-*",)))) == [names, "delete a[pr-7]"]
    kept = RetentionPolicy(include_tags=("pr-*",), exclude_tags=("*.sig",))
    assert verbs(plan(repository, policy=kept)) == ["untag pr-7"]


def test_a_signature_without_what_it_signed_is_a_tag_like_any_other() -> None:
    assert verbs(plan(inventory([tag(signature_of("gone"), "s")]))) == [f"delete s[{signature_of('gone')}]"]


def test_a_signature_shared_by_two_goes_with_the_last_of_them() -> None:
    repository = inventory(
        [tag("1", "a"), tag("2", "b", days=1), tag(signature_of("a"), "s"), tag(signature_of("b"), "s")]
    )

    assert verbs(plan(repository)) == [f"untag {signature_of('a')}", "delete a[1]"]


def test_tags_named_after_one_another_go_all_the_same() -> None:
    repository = inventory([tag(signature_of("a"), "b"), tag(signature_of("b"), "a")])

    assert len(plan(repository).deletions) == len(plan(repository).manifests) == 2


def test_referrers_that_are_indexes_and_referrers_of_referrers_go_first() -> None:
    repository = inventory(
        [tag("1.0", "a")],
        [image("a"), index("r", ["x"], subject="a"), image("x"), referrer("s", "r")],
    )

    assert verbs(plan(repository)) == ["delete s[]", "delete r[]", "delete a[1.0]", "delete x[]"]


def test_a_referrer_stays_with_its_kept_subject_even_if_an_index_that_lists_it_goes() -> None:
    repository = inventory(
        [tag("1.0", "a", days=1), tag("list", "i")], [image("a"), referrer("r", "a"), index("i", ["r"])]
    )

    assert verbs(plan(repository)) == ["delete i[list]"]


def test_two_untagged_manifests_do_not_make_each_other_go() -> None:
    """An index that lists its own subject."""
    assert not plan(inventory([], [image("a"), index("i", ["a"], subject="a")])).steps


# --- untagged manifests ------------------------------------------------------------------------------------------------

UNTAGGED = RetentionPolicy(delete_untagged=True)


def why(repository_plan: RepositoryPlan) -> dict[Digest, list[str]]:
    return {each.manifest.digest: [str(one.rule) for one in each.reasons] for each in repository_plan.untagged}


@pytest.mark.parametrize(("days", "goes"), [(29.999, False), (30, True), (-1, False), (None, False)])
def test_untagged_manifests_go_by_age_where_asked_for(days: float | None, goes: bool) -> None:
    repository = inventory([], [image("a", days=days)])

    assert not plan(repository).steps
    assert not plan(repository).untagged
    found = plan(repository, policy=UNTAGGED)
    assert verbs(found) == (["delete a[]"] if goes else [])
    assert why(found) == {d("a"): [] if goes else ["unknown-age" if days is None else "young"]}


@pytest.mark.parametrize(
    "uses", [[use(None, "x")], [use(None, "i")], [use(None, None)]], ids=["child", "index", "open"]
)
def test_an_untagged_family_in_use_stays(uses: list[ImageUse]) -> None:
    repository = inventory([], [index("i", ["x", "y"]), image("x"), image("y")])

    found = plan(repository, usage(*uses), UNTAGGED)

    assert not found.steps
    assert all(found_why for found_why in why(found).values())
    assert why(found)[d("i")] == ["in-use"]


def test_untagged_manifests_of_a_repository_out_of_scope_stay() -> None:
    found = plan(inventory([], [image("a")]), usage(runs=False), UNTAGGED)

    assert not found.steps
    assert why(found) == {d("a"): ["out-of-scope"]}


def test_each_untagged_manifest_that_stays_says_why() -> None:
    repository = inventory(
        [tag("1.0", "i", days=1), tag("2.0", "a", days=1), tag("sbom", "s", days=1)],
        [
            index("i", ["x"]),
            image("x"),
            image("a"),
            referrer("r", "a"),
            image("locked", locked=True),
            image("b"),
            referrer("s", "b"),
            Manifest(d("unread"), OCI_IMAGE, updated_at=NOW - timedelta(days=100)),
            image("stray"),
        ],
    )

    found = plan(repository, policy=UNTAGGED)

    assert verbs(found) == ["delete stray[]"]
    assert why(found) == {
        d("x"): ["listed"],
        d("r"): ["attached"],
        d("locked"): ["locked"],
        d("b"): ["referred"],
        d("unread"): ["unknown-manifest"],
        d("stray"): [],
    }


def test_what_goes_along_with_a_tag_is_no_decision_of_its_own() -> None:
    found = plan(inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")]), policy=UNTAGGED)

    assert verbs(found) == ["delete i[1.0]", "delete x[]"]
    assert found.untagged == ()


def test_untagged_indexes_go_before_their_children() -> None:
    repository = inventory([], [image("x"), index("o", ["i"]), index("i", ["x"])])

    assert verbs(plan(repository, policy=UNTAGGED)) == ["delete o[]", "delete i[]", "delete x[]"]


# --- locks -------------------------------------------------------------------------------------------------------------

UNLOCKING = RetentionPolicy(include_locked=True)


def test_include_locked_says_what_is_to_be_unlocked() -> None:
    repository = inventory([tag("1.0", "a", locked=True), tag("1.1", "a")], [image("a", locked=True)])

    (step,) = plan(repository, policy=UNLOCKING).steps
    assert step.locks == (Lock(None, False, True), Lock("1.0", False, True))


def test_to_untag_unlocks_the_tag_alone() -> None:
    repository = inventory([tag("1.0", "a", locked=True), tag("new", "a", days=1)], [image("a", locked=True)])

    assert plan(repository, policy=UNLOCKING).steps == (
        Untag(tag("1.0", "a", locked=True), locks=(Lock("1.0", False, True),)),
    )


def test_a_lock_that_could_not_be_put_back_is_never_taken_off() -> None:
    strange = replace(tag("1.0", "a", locked=True), delete_enabled=True)

    assert rules(plan(inventory([strange]), policy=UNLOCKING), "1.0") == [Rule.LOCKED]


def test_locked_children_and_referrers_are_unlocked_too() -> None:
    repository = inventory(
        [tag("1.0", "i")], [index("i", ["x"]), image("x", locked=True), referrer("r", "i", locked=True)]
    )

    assert verbs(plan(repository)) == ["untag 1.0"]
    found = plan(repository, policy=UNLOCKING)
    assert verbs(found) == ["delete r[]", "delete i[1.0]", "delete x[]"]
    assert [step.locks for step in found.steps] == [(Lock(None, False, True),), (), (Lock(None, False, True),)]


@pytest.mark.parametrize("include_locked", [True, False])
def test_a_locked_repository_keeps_everything(include_locked: bool) -> None:
    repository = replace(inventory([tag("1.0", "a")], [image("a"), image("stray")]), locked=True)

    found = plan(repository, policy=replace(UNTAGGED, include_locked=include_locked))

    assert not found.steps
    assert [each.detail for each in found.decisions[0].reasons] == ["the repository is locked in the registry"]
    assert why(found) == {d("stray"): ["locked"]}


# --- large -------------------------------------------------------------------------------------------------------------


def of_everything(count: int) -> RepositoryInventory:
    """Tags on images, on indexes, and on signed images with referrers; signatures of signatures; an index in an index."""
    tags, manifests = [], [image("chain-0"), image("nest-0")]
    for number in range(count):
        a, b, c = f"{number}a", f"{number}b", f"{number}c"
        tags += [tag(f"v{number}", a, days=number % 200), tag(signature_of(f"chain-{number}"), f"chain-{number + 1}")]
        manifests += [image(f"chain-{number + 1}"), index(f"nest-{number + 1}", [f"nest-{number}"])]
        if number % 2:
            manifests += [index(a, [b, c]), image(b), image(c)]
        else:
            tags.append(tag(signature_of(a), b, days=number % 200))
            manifests += [image(a), image(b), referrer(c, a)]
    return inventory(tags, manifests)


@pytest.mark.untraced
@pytest.mark.parametrize("policy", [RetentionPolicy(), UNTAGGED], ids=["tags", "untagged"])
def test_the_time_of_a_decision_grows_with_the_repository_and_no_faster(policy: RetentionPolicy) -> None:
    """Four times as much may take four times as long; a loop in a loop would take sixteen."""

    def seconds(count: int) -> float:
        repository, uses = of_everything(count), usage(*(use(None, f"{each}a") for each in range(0, count, 9)))
        began = time.process_time()
        plan(repository, uses, policy)
        return time.process_time() - began

    assert min(seconds(2400) for _ in range(2)) < 9 * min(seconds(600) for _ in range(3)) + 0.1


# --- limits ----------------------------------------------------------------------------------------------------------


def whole(*repositories: RepositoryPlan) -> Plan:
    return Plan("contoso.azurecr.io", RetentionPolicy(), NOW, usage(), repositories)


def test_a_limit_refuses_the_whole_plan_and_says_what_to_do() -> None:
    found = whole(plan(inventory([tag(f"{number}", number) for number in range(1, 5)])))

    assert refusals(found, Limits(deletions=4)) == ()
    assert "max-deletions (3)" in refusals(found, Limits(deletions=3))[0]
    assert "Check first whether every cluster" in refusals(found, Limits(deletions=3))[0]
    assert refusals(found, Limits(deletions=None)) == ()


def test_untagged_manifests_count_for_the_limit_and_the_refusal_says_so() -> None:
    found = whole(plan(inventory([tag("1", "a")], [image("a"), image("b"), image("c")]), policy=UNTAGGED))

    assert (found.planned, found.untagged, found.manifests) == (1, 2, 3)
    assert refusals(found, Limits(deletions=3)) == ()
    (refusal,) = refusals(found, Limits(deletions=2))
    assert "1 tags and 2 manifests without tags, which count as well, more than max-deletions (2)" in refusal


def test_a_percentage_is_of_the_tags_of_each_repository() -> None:
    found = whole(plan(inventory([tag("1", "a"), tag("2", "b"), tag("new", "c", days=1), tag("latest", "d")])))

    assert refusals(found, Limits(percent=50)) == ()
    assert REPOSITORY in refusals(found, Limits(percent=49))[0]


def test_eligible_repositories_are_filtered_and_sorted() -> None:
    uses = usage(use("1"))

    assert eligible_repositories(uses, RetentionPolicy()) == (REPOSITORY,)
    assert eligible_repositories(uses, RetentionPolicy(repositories=("other/*",))) == ()
    assert eligible_repositories(uses, RetentionPolicy(scope=Scope.ALL), ["b", "a"]) == ("a", "b")


def test_the_size_is_that_of_the_manifests_that_go() -> None:
    assert plan(inventory([tag("1", "a"), tag("2", "a"), tag("3", "b"), tag("latest", "b")])).size == 1000


def test_steps_name_each_manifest_once() -> None:
    found = plan(inventory([tag("1", "a"), tag("2", "a")]))

    (step,) = found.steps
    assert isinstance(step, DeleteManifest)
    assert [each.name for each in step.tags] == ["1", "2"]


# --- totals ------------------------------------------------------------------------------------------------------------


def test_a_repository_is_told_in_numbers_by_its_strongest_reasons() -> None:
    """What is in use counts as that, whatever else keeps it; and what nothing but a lock keeps is counted apart."""
    repository = inventory(
        [
            tag("old", "a"),
            tag("also-old", "a"),
            tag("used", "b", locked=True),
            tag("locked", "c", locked=True),
            tag("locked-too", "c", locked=True),
            tag("young-and-locked", "c", days=1, locked=True),
            tag("young", "d", days=1),
            tag("latest", "e", days=1),
        ],
        [*map(image, ("a", "b", "c", "d", "e", "stray")), image("fresh", days=1)],
    )

    found = plan(repository, usage(use("used")), UNTAGGED).tally

    assert found == Tally(
        repository=REPOSITORY,
        tags=8,
        planned=2,
        kept_by={Rule.IN_USE: 1, Rule.LOCKED: 3, Rule.YOUNG: 2},
        locked_alone=2,
        untagged=1,
        untagged_decided=2,
        steps=2,
        manifests=2,
        size=2000,
        exact=False,
    )
    assert (found.kept, found.in_use) == (6, 1)
    unread = RepositoryPlan(REPOSITORY, warnings=("a warning",), error="503.").tally
    assert unread == Tally(REPOSITORY, warnings=("a warning",), error="503.")


def test_a_tag_in_use_counts_as_that_even_out_of_scope() -> None:
    found = plan(inventory([tag("1.0", "a"), tag("2.0", "b")]), usage(use("1.0", running=False), runs=False))

    assert found.tally.kept_by == {Rule.IN_USE: 1, Rule.OUT_OF_SCOPE: 1}
    assert [each.in_use for each in found.decisions] == [True, False]


def test_sizes_are_exact_only_where_all_that_goes_was_measured() -> None:
    contents = {d("a"): Content(5, {"x": 900}), d("b"): Content(3, {"x": 900})}
    measured = measure(contents, {d("a")}, read=2)
    found = plan(inventory([tag("1", "a"), tag("latest", "b")]))

    exact = replace(found, space=measured)
    assert (exact.size, exact.exact, exact.tally.read_for_sizes) == (5, True, 2)
    for doubtful in (measure({**contents, d("b"): None}, {d("a")}), measure(contents, {d("b")})):
        listed = replace(found, space=doubtful)
        assert (listed.size, listed.exact, listed.tally.read_for_sizes) == (1000, False, 0)
    assert (found.exact, found.tally.read_for_sizes) == (False, None)
    nothing = replace(plan(inventory([tag("latest", "b")])), space=doubtful)
    assert (nothing.size, nothing.exact) == (0, True)


def test_a_whole_plan_is_the_sum_of_its_repositories() -> None:
    one = plan(inventory([tag("1", "a"), tag("2", "b"), tag("used", "c")]), usage(use("used")))
    two = replace(
        plan(inventory([tag("3", "d"), tag("new", "n", days=1)], [*map(image, ("d", "n", "stray"))]), policy=UNTAGGED),
        repository="shop/api",
        missing=(Missing("shop/api", "9", (use("9"),)),),
    )
    found = whole(one, two)

    assert (found.planned, found.kept, found.in_use, found.untagged) == (3, 2, 1, 1)
    assert (found.manifests, found.size) == (4, 4000)
    assert found.missing == two.missing
    assert [each.repository for each in found.tallies] == [REPOSITORY, "shop/api"]
    assert found.repository("shop/api") is two
    with pytest.raises(KeyError):
        found.repository("other")


def test_a_whole_plan_is_exact_where_something_goes_and_all_of_that_was_measured() -> None:
    one, nothing = plan(inventory([tag("1", "a")])), plan(inventory([tag("latest", "a")]))
    space = measure({d("a"): Content(5)}, {d("a")}, read=3)

    assert not whole().exact
    assert not whole(nothing).exact
    assert (whole(one).exact, whole(one).measured, whole(one).read_for_sizes) == (False, False, 0)
    exact = replace(one, space=space)
    assert (whole(exact, nothing).exact, whole(exact, nothing).measured, whole(exact, exact).read_for_sizes) == (
        True,
        True,
        6,
    )
    assert not whole(exact, one).exact
    assert whole(exact, one).read_for_sizes == 3


# --- in words ----------------------------------------------------------------------------------------------------------

CHECK = (
    "Check first whether every cluster that uses this registry is configured, and whether older-than and the patterns "
    "are as meant. If the plan is what you want, raise"
)


def test_every_limit_that_is_exceeded_says_by_what_and_what_to_do() -> None:
    found = whole(plan(inventory([tag("1", "a"), tag("2", "b"), tag("latest", "c"), tag("new", "d", days=1)])))

    assert refusals(found, Limits(deletions=1, percent=12.5)) == (
        f"The plan deletes 2 tags, more than max-deletions (1). {CHECK} max-deletions.",
        f"The plan deletes 2 of 4 tags of {REPOSITORY}, more than max-deletion-percent (12.5 %). {CHECK} the limit.",
    )
    assert refusals(found, Limits(deletions=2, percent=None)) == ()
    assert refusals(found, Limits(deletions=None, percent=50.0)) == ()
    assert refusals(found, Limits(deletions=0))[0].startswith("The plan deletes 2 tags, more than max-deletions (0)")


def test_the_limit_is_five_hundred_deletions_unless_said_otherwise() -> None:
    assert Limits() == Limits(deletions=500, percent=None)


def test_what_belongs_to_something_that_is_kept_says_to_what() -> None:
    """By the name of the tag, or by the subject of its manifest."""
    of_another = f"sha256-{'ab' * 32}.sig"
    repository = inventory(
        [
            tag("1.0", "a", days=1),
            tag(signature_of("a"), "s"),
            tag("sbom", "r"),
            tag("more", "q"),
            tag(of_another, "q"),
        ],
        [image("a"), image("s"), referrer("r", "a"), referrer("q", "r")],
    )

    found = {each.tag.name: [reason.detail for reason in each.reasons] for each in plan(repository).decisions}

    belongs = [f"belongs to {short(d('a'))}, which is kept"]
    assert found == {
        "1.0": ["pushed 2026-11-22, less than 30d ago"],
        "more": [f"belongs to {short(d('r'))}, which is kept"],
        of_another: [f"belongs to {short(d('r'))}, which is kept"],
        "sbom": belongs,
        signature_of("a"): belongs,
    }


def test_what_cannot_be_read_warns_with_three_of_them() -> None:
    repository = inventory(
        [tag("1.0", "x")], [image("x"), *(index(each, [], known=False) for each in ("d", "b", "a", "c"))]
    )

    (warning,) = plan(repository).warnings

    assert warning.startswith("4 ")
    assert (
        f"of {REPOSITORY} cannot be read or understood ({short(d('a'))}, {short(d('b'))}, {short(d('c'))}). " in warning
    )
    assert warning.endswith(
        "Tags are removed by name only and no manifest is deleted there, for it might belong to one of them."
    )


def test_what_nobody_needed_to_read_is_no_reason_and_no_warning() -> None:
    """Everything is kept anyway; but where one tag could go, nobody may look away."""
    ghost = index("g", [], known=False)
    kept = plan(inventory([tag("ghost", "g", days=1), tag("1.0", "a", days=1)], [ghost, image("a")]))
    assert (kept.warnings, rules(kept, "ghost")) == ((), [Rule.YOUNG])
    some = plan(inventory([tag("ghost", "g", days=1), tag("1.0", "a")], [ghost, image("a")]))
    assert len(some.warnings) == 1
    assert rules(some, "ghost") == [Rule.UNKNOWN_MANIFEST, Rule.YOUNG]
    stray = plan(inventory([tag("ghost", "g", days=1)], [ghost, image("a")]), policy=UNTAGGED)
    assert len(stray.warnings) == 1
    assert stray.warnings[0].startswith(f"1 manifest of {REPOSITORY} cannot be read")


def test_more_manifests_than_are_listed_are_said_where_it_matters() -> None:
    repository = replace(inventory([], [image("a")]), hidden=1234)

    assert plan(repository).warnings == ()
    (warning,) = plan(repository, policy=UNTAGGED).warnings
    assert warning == (
        f"{REPOSITORY} has 1,234 manifests more than it lists (unlisted, or pushed this moment). "
        "Manifests without tags are left alone there, for they might belong to one of them."
    )
    assert "has 1 manifest more" in plan(replace(repository, hidden=1), policy=UNTAGGED).warnings[0]
    assert not plan(repository, policy=UNTAGGED).steps


def test_a_policy_is_described_in_the_words_of_its_inputs() -> None:
    assert describe_policy(RetentionPolicy(exclude_tags=("latest", "v*")))["exclude-tags"] == "latest, v*"
    assert describe_policy(RetentionPolicy()) == {
        "older-than": "30d",
        "scope": "running",
        "keep-last": "0",
        "repositories": "*",
        "include-tags": "*",
        "exclude-tags": "latest",
    }
    asked = RetentionPolicy(
        timedelta(days=1),
        Scope.ALL,
        ("a/*", "!a/b"),
        ("v*", "pr-*"),
        (),
        3,
        "^(dev)-",
        use_regex=True,
        delete_untagged=True,
        include_locked=True,
        shard=Shard(2, 3),
    )
    assert describe_policy(asked) == {
        "older-than": "1d",
        "scope": "all",
        "keep-last": "3",
        "repositories": "a/*, !a/b",
        "include-tags": "v*, pr-*",
        "exclude-tags": "(none)",
        "shard": "2/3",
        "keep-last-by": "^(dev)-",
        "use-regex": "true",
        "delete-untagged": "true",
        "include-locked": "true",
    }


# --- order -------------------------------------------------------------------------------------------------------------


def test_steps_that_wait_for_nothing_go_side_by_side_and_in_their_order() -> None:
    repository = inventory(
        [tag("1", "i"), tag("2", "b"), tag("3", "a"), tag("4", "c"), tag("new", "c", days=1)],
        [index("i", ["x"]), image("x"), image("a"), image("b"), image("c")],
    )
    found = plan(repository)

    groups = [[step.digest for step in wave] for wave in waves(found.steps)]

    assert groups == [[d("c"), d("a"), d("b"), d("i")], [d("x")]]
    assert list(waves([])) == []
    assert list(waves(found.steps[:1])) == [found.steps[:1]]
    assert [step for wave in waves(reversed(found.steps)) for step in wave][-1].digest == d("x")


def test_steps_that_wait_for_one_another_are_refused() -> None:
    one, two = DeleteManifest(image("a"), after=(d("b"),)), DeleteManifest(image("b"), after=(d("a"),))

    with pytest.raises(CycleError):
        list(waves([one, two]))
    assert list(waves([one])) == [(one,)], "what is no step of its own is not waited for"


def test_a_name_is_removed_after_nothing_and_a_manifest_after_all_that_needs_it() -> None:
    repository = inventory(
        [tag("1", "a"), tag("b", "b"), tag("a", "b"), tag("new", "b", days=1), tag(signature_of("a"), "s")],
        [image("a"), index("i", ["a"]), referrer("r", "a"), image("b"), image("s")],
    )
    found = plan(replace(repository, tags=(*repository.tags, tag("2", "i"))))

    assert verbs(found)[:2] == ["untag a", "untag b"]
    (last,) = (step for step in found.steps if step.digest == d("a"))
    assert last.after == tuple(sorted([d("i"), d("r"), d("s")]))
    assert {step.digest: step.tags for step in found.steps}[d("i")] == (tag("2", "i"),)


def test_bodies_are_not_needed_where_everything_is_kept_without_them() -> None:
    oci = Manifest(d("i"), OCI_IMAGE)
    ghost = inventory([tag("1.0", "i", days=1), tag("2.0", "a")], [oci, image("a")])

    assert not nothing_to_delete(ghost, usage(), RetentionPolicy(), NOW)
    assert nothing_to_delete(ghost, usage(use("2.0")), RetentionPolicy(), NOW)
    strays = inventory([tag("1.0", "i", days=1)], [oci, image("a")])
    assert nothing_to_delete(strays, usage(), RetentionPolicy(), NOW)
    assert not nothing_to_delete(strays, usage(), UNTAGGED, NOW)
    assert nothing_to_delete(inventory([]), usage(), UNTAGGED, NOW)
