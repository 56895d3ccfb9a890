"""The second look: changes since the plan are outcomes, and nothing beyond the plan is deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import Lock, LockState, RepositoryInventory, Tag
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.references import short
from acr_cleanup.core.removal import Hold, Reason
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.second_look import Confirmed, confirm, still_planned
from acr_cleanup.core.steps import DeleteManifest, Untag, waves
from acr_cleanup.core.usage import UsageIndex
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, signature_of, tag, usage, use


def look(before: RepositoryInventory, now: RepositoryInventory, uses: UsageIndex | None = None) -> Confirmed:
    planned = plan_repository(before, usage(), RetentionPolicy(), NOW)
    fresh = plan_repository(now, uses or usage(), RetentionPolicy(), NOW)
    return confirm(planned.steps, fresh, now)


def outcomes(confirmed: Confirmed) -> dict[str, OutcomeKind]:
    return {outcome.tag: outcome.kind for outcome in confirmed.outcomes if outcome.tag is not None}


OLD = inventory([tag("1.0", "a"), tag("1.1", "a")])


def test_unchanged_repository_confirms_every_step() -> None:
    confirmed = look(OLD, OLD)

    assert not confirmed.outcomes
    assert [type(step) for step in confirmed.steps] == [DeleteManifest]


def test_moved_tag_leaves_its_sibling_untagged() -> None:
    confirmed = look(OLD, inventory([tag("1.0", "b"), tag("1.1", "a"), tag("new", "a", days=0)]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.MOVED}
    assert confirmed.steps == (Untag(tag("1.1", "a")),)


def test_tag_pushed_again_with_the_same_digest_has_moved() -> None:
    assert outcomes(look(OLD, inventory([tag("1.0", "a", days=40), tag("1.1", "a")]))) == {"1.0": OutcomeKind.MOVED}


def test_tag_pushed_again_is_kept_at_any_age() -> None:
    before = inventory([tag("1.0", "a", days=99), tag("1.1", "a")])

    confirmed = look(before, inventory([tag("1.0", "a", days=98), tag("1.1", "a")]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.MOVED}
    assert confirmed.steps == (Untag(tag("1.1", "a")),)


def test_tag_deleted_by_another_client_is_gone() -> None:
    confirmed = look(OLD, inventory([tag("1.1", "a")]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.GONE}
    assert [step.digest for step in confirmed.steps] == [d("a")]


def test_deleted_repository_gives_an_outcome_per_item() -> None:
    confirmed = look(OLD, inventory([]))

    assert not confirmed.steps
    assert {outcome.kind for outcome in confirmed.outcomes} == {OutcomeKind.GONE}


def test_image_deployed_since_the_plan_is_in_use_now() -> None:
    confirmed = look(OLD, OLD, usage(use("1.0", "a")))

    assert not confirmed.steps
    assert set(outcomes(confirmed).values()) == {OutcomeKind.IN_USE_NOW}
    assert "production/shop/Deployment/web" in confirmed.outcomes[0].detail


def test_lock_set_since_the_plan_keeps_the_tag() -> None:
    confirmed = look(OLD, inventory([tag("1.0", "a", locked=True), tag("1.1", "a")]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.LOCKED}
    assert confirmed.steps == (Untag(tag("1.1", "a")),)


def test_manifest_with_an_unplanned_tag_is_not_deleted() -> None:
    """An old tag can appear (restored, imported). Deleting the manifest would delete it too."""
    confirmed = look(OLD, inventory([tag("1.0", "a"), tag("1.1", "a"), tag("0.9", "a")]))

    assert {type(step) for step in confirmed.steps} == {Untag}
    assert {step.digest for step in confirmed.steps} == {d("a")}


@pytest.mark.parametrize(
    ("now", "detail"),
    [
        pytest.param(
            [tag("1.0", "a"), tag("1.1", "a"), tag("new", "a", days=0)], "its tag new is kept", id="another-tag"
        ),
        pytest.param(
            [tag("1.0", "a"), tag("1.1", "a"), tag("0.9", "a")], "its tag 0.9 is kept", id="a-tag-that-was-not-planned"
        ),
        pytest.param(
            [tag("1.0", "b"), tag("1.1", "b")],
            "its tags were moved or deleted since the plan, and untagged manifests are kept",
            id="no-tag",
        ),
    ],
)
def test_kept_manifest_names_the_true_reason(now: list[Tag], detail: str) -> None:
    """A reader would search in vain for a manifest that needs it."""
    confirmed = look(OLD, inventory(now, [image("a"), image("b")]))

    (kept,) = (outcome for outcome in confirmed.outcomes if outcome.tag is None)
    assert (kept.digest, kept.kind, kept.detail) == (d("a"), OutcomeKind.KEPT, detail)


def test_child_of_a_new_index_is_kept() -> None:
    before = inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")])
    now = inventory([tag("1.0", "i"), tag("new", "j", days=0)], [index("i", ["x"]), index("j", ["x"]), image("x")])

    confirmed = look(before, now)

    assert [step.digest for step in confirmed.steps] == [d("i")]
    assert [(outcome.digest, outcome.kind) for outcome in confirmed.outcomes] == [(d("x"), OutcomeKind.KEPT)]


def test_used_referrer_keeps_its_subject() -> None:
    """The registry would delete the referrer together with its subject."""
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])

    confirmed = look(repository, repository, usage(use(None, "r")))

    assert confirmed.steps == (Untag(tag("1.0", "a")),)


# --- locks and untagged manifests -----------------------------------------------------------------


def again(before: RepositoryInventory, now: RepositoryInventory, uses: UsageIndex | None = None) -> Confirmed:
    """With everything allowed that lets more go."""
    policy = RetentionPolicy(delete_untagged=True, include_locked=True)
    planned = plan_repository(before, usage(), policy, NOW)
    return confirm(planned.steps, plan_repository(now, uses or usage(), policy, NOW), now)


def test_steps_have_the_current_locks() -> None:
    """A failed deletion must restore the current locks, not those of the plan."""
    before = inventory([tag("1.0", "a", locked=True), tag("1.1", "a", locked=True)], [image("a", locked=True)])
    now = inventory(
        [tag("1.0", "a"), structs.replace(tag("1.1", "a"), lock_state=LockState(True, False, False))], [image("a")]
    )

    (step,) = again(before, now).steps
    assert step.locks == (Lock("1.1", False, False),)


def test_lock_set_since_the_plan_is_not_removed() -> None:
    """Its owner wants to keep the item, perhaps because of the plan."""
    before = inventory([tag("1.0", "a"), tag("1.1", "a"), tag("2.0", "b")], [image("a"), image("b")])
    now = inventory(
        [tag("1.0", "a", locked=True), tag("1.1", "a"), tag("2.0", "b")], [image("a"), image("b", locked=True)]
    )

    confirmed = again(before, now)
    assert confirmed.steps == (Untag(tag("1.1", "a")),)
    kinds = {outcome.tag: outcome.kind for outcome in confirmed.outcomes if outcome.tag}
    assert kinds == {"1.0": OutcomeKind.LOCKED, "2.0": OutcomeKind.LOCKED}


def test_remaining_untag_has_only_the_lock_of_its_tag() -> None:
    before = inventory([tag("1.0", "a", locked=True)], [image("a", locked=True)])
    now = inventory([tag("1.0", "a", locked=True), tag("new", "a", days=0)], [image("a", locked=True)])

    (step,) = again(before, now).steps
    assert step == Untag(tag("1.0", "a", locked=True), locks=(Lock("1.0", False, True),))


def test_tag_of_an_unchanged_locked_manifest_is_untagged() -> None:
    """The manifest was locked before the plan, so its lock is not a change."""
    repository = inventory([tag("1.0", "a"), tag("new", "a", days=0)], [image("a", locked=True)])

    confirmed = again(repository, repository)
    assert (confirmed.steps, confirmed.outcomes) == ((Untag(tag("1.0", "a")),), ())


def test_repository_locked_since_the_plan_is_kept() -> None:
    confirmed = again(OLD, replace(OLD, locked=True))

    assert not confirmed.steps
    assert set(outcomes(confirmed).values()) == {OutcomeKind.LOCKED}


@pytest.mark.parametrize(
    ("now", "uses", "kind"),
    [
        (inventory([tag("new", "a", days=0)], [image("a")]), usage(), OutcomeKind.KEPT),
        (inventory([tag("old", "a")], [image("a")]), usage(), OutcomeKind.KEPT),
        (inventory([], [image("a", days=1)]), usage(), OutcomeKind.KEPT),
        (inventory([], [image("a")]), usage(use(None, "a")), OutcomeKind.IN_USE_NOW),
        (inventory([], [image("a")]), usage(use(None, None)), OutcomeKind.IN_USE_NOW),
        (inventory([], []), usage(), OutcomeKind.GONE),
    ],
    ids=["tagged", "tagged long ago", "pushed again", "in use", "perhaps in use", "gone"],
)
def test_untagged_manifest_needed_since_the_plan_is_kept(
    now: RepositoryInventory, uses: UsageIndex, kind: OutcomeKind
) -> None:
    confirmed = again(inventory([], [image("a")]), now, uses)

    assert not confirmed.steps
    assert [(outcome.digest, outcome.tag, outcome.kind) for outcome in confirmed.outcomes] == [(d("a"), None, kind)]


# --- in words -------------------------------------------------------------------------------------


def details(confirmed: Confirmed) -> dict[str, tuple[OutcomeKind, str]]:
    return {outcome.tag or outcome.digest: (outcome.kind, outcome.detail) for outcome in confirmed.outcomes}


def test_each_outcome_says_what_changed() -> None:
    before = inventory([tag(name, name) for name in ("gone", "moved", "again", "young", "used")])
    now = inventory(
        [tag("moved", "b"), tag("again", "again", days=99), tag("used", "used"), tag("latest", "again")],
        [image("b"), image("again"), image("young"), image("used")],
    )

    result = details(look(before, now, usage(use("used"))))

    assert result == {
        "gone": (OutcomeKind.GONE, ""),
        d("gone"): (OutcomeKind.GONE, ""),
        "moved": (OutcomeKind.MOVED, f"names {d('b')} now"),
        d("moved"): (OutcomeKind.GONE, ""),
        "again": (OutcomeKind.MOVED, "was pushed again"),
        d("again"): (OutcomeKind.KEPT, "its tag again is kept"),
        "young": (OutcomeKind.GONE, ""),
        d("young"): (
            OutcomeKind.KEPT,
            "its tags were moved or deleted since the plan, and untagged manifests are kept",
        ),
        "used": (OutcomeKind.IN_USE_NOW, "a workload names this tag: production/shop/Deployment/web (main)"),
        d("used"): (OutcomeKind.KEPT, "its tag used is kept"),
    }
    assert {outcome.digest for outcome in look(before, now).outcomes if outcome.tag == "moved"} == {d("moved")}


def test_outcome_of_a_new_lock_is_locked() -> None:
    repository = inventory([tag("1.0", "a"), tag("2.0", "b")], [image("a"), image("b")])
    now = inventory([tag("1.0", "a", locked=True), tag("2.0", "b")], [image("a"), image("b", locked=True)])
    locked_since = (OutcomeKind.LOCKED, "it was locked since the plan")

    result = details(again(repository, now))

    assert (result["1.0"], result["2.0"], result[d("b")]) == (locked_since, locked_since, locked_since)
    assert result[d("a")] == (OutcomeKind.KEPT, "its tag 1.0 is kept")


def test_step_follows_the_dependents_of_both_plans() -> None:
    """An index that was planned first and is gone now, and a referrer whose subject was not known."""
    tags = [tag("1.0", "i"), tag("x", "x"), tag("sbom", "r")]
    before = inventory(tags, [index("i", ["x"]), image("x"), image("r")])
    now = inventory(tags, [index("i", []), image("x"), referrer("r", "x")])

    (child,) = (step for step in look(before, now).steps if step.digest == d("x"))

    assert child.after == tuple(sorted([d("i"), d("r")]))


def test_plans_that_contradict_each_other_follow_the_fresh_one() -> None:
    """A tag may be named after any digest, and only the second look reads the subject of `r`."""
    tags = [tag(signature_of("i"), "x"), tag("1.0", "i")]
    before = inventory(tags, [image("x"), image("r"), index("i", ["r"])])
    now = inventory(tags, [image("x"), referrer("r", "x"), index("i", ["r"])])

    steps = look(before, now).steps

    # Otherwise `i` would wait for `x`, `x` for `r`, and `r` for `i`.
    assert [step.digest for wave in waves(steps) for step in wave] == [d("i"), d("r"), d("x")]


def test_new_referrer_keeps_its_subject_though_the_fresh_plan_deletes_both() -> None:
    """The registry would delete it together with its subject, and no plan has shown it to anyone."""
    before = inventory([tag("1.0", "x")], [image("x")])
    now = inventory([tag("1.0", "x")], [image("x"), referrer("r", "x")])

    result = look(before, now)

    assert [step.tags[0].name for step in result.steps if isinstance(step, Untag)] == ["1.0"]
    assert details(result)[d("x")] == (OutcomeKind.KEPT, f"{short(d('r'))} refers to it since the plan")


def test_kept_untagged_child_is_needed() -> None:
    before = inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")])
    now = inventory([tag("1.0", "i"), tag("new", "j", days=0)], [index("i", ["x"]), index("j", ["x"]), image("x")])

    assert details(look(before, now)) == {d("x"): (OutcomeKind.KEPT, "a kept manifest or tag needs it now")}


def test_manifest_of_a_new_index_is_only_untagged() -> None:
    now = inventory([tag("1.0", "a"), tag("1.1", "a"), tag("new", "j", days=0)], [image("a"), index("j", ["a"])])

    confirmed = look(OLD, now)

    assert confirmed.steps == (Untag(tag("1.0", "a")), Untag(tag("1.1", "a")))
    assert details(confirmed) == {d("a"): (OutcomeKind.KEPT, "a kept manifest or tag needs it now")}


def test_outcome_without_uses_names_no_workload() -> None:
    result = details(look(OLD, inventory([tag("1.0", "a", locked=True), tag("1.1", "a", locked=True)])))

    assert result["1.0"] == (OutcomeKind.LOCKED, "the tag is locked in the registry")


def test_kept_manifest_tells_why_the_fresh_plan_keeps_it() -> None:
    before = inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")])
    now = inventory([tag("1.0", "i"), tag("new", "j", days=0)], [index("i", ["x"]), index("j", ["x"]), image("x")])
    planned = plan_repository(before, usage(), RetentionPolicy(), NOW)
    reason = Reason(Hold.LISTED, "the index j lists it and is kept")

    confirmed = confirm(planned.steps, plan_repository(now, usage(), RetentionPolicy(), NOW), now, lambda _: (reason,))

    assert details(confirmed) == {d("x"): (OutcomeKind.KEPT, reason.detail)}


def test_rest_of_the_plan_has_the_deletions_that_are_unchanged() -> None:
    """An untag, a kept child and a changed manifest are not covered by a standing decision."""
    before = inventory(
        [tag("1.0", "i"), tag("2.0", "a"), tag("3.0", "b")], [index("i", ["x"]), *(image(name) for name in "xab")]
    )
    now = inventory(
        [*before.tags, tag("new", "j", days=0), tag("young", "b", days=0)],
        [*before.manifests.values(), index("j", ["x"])],
    )
    planned = plan_repository(before, usage(), RetentionPolicy(), NOW)
    fresh = plan_repository(now, usage(), RetentionPolicy(), NOW)

    compared = still_planned(planned.steps, fresh, now, frozenset(step.digest for step in planned.steps))

    covered = {step.digest: deletion.tags if deletion else None for step, deletion in compared}
    assert covered == {d("i"): (tag("1.0", "i"),), d("x"): None, d("a"): (tag("2.0", "a"),), d("b"): None}
