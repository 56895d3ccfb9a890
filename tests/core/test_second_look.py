"""Looking once more: what changed since the plan is an outcome, and nothing more than the plan is ever done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acr_cleanup.core.inventory import Lock, RepositoryInventory, Tag
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.core.second_look import Confirmed, confirm
from acr_cleanup.core.steps import DeleteManifest, Untag
from acr_cleanup.core.usage import UsageIndex
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, tag, usage, use


def look(before: RepositoryInventory, now: RepositoryInventory, uses: UsageIndex | None = None) -> Confirmed:
    planned = plan_repository(before, usage(), RetentionPolicy(), NOW)
    fresh = plan_repository(now, uses or usage(), RetentionPolicy(), NOW)
    return confirm(planned.steps, fresh, now)


def outcomes(confirmed: Confirmed) -> dict[str, OutcomeKind]:
    return {outcome.tag: outcome.kind for outcome in confirmed.outcomes if outcome.tag is not None}


OLD = inventory([tag("1.0", "a"), tag("1.1", "a")])


def test_an_unchanged_world_confirms_every_step() -> None:
    confirmed = look(OLD, OLD)

    assert not confirmed.outcomes
    assert [type(step) for step in confirmed.steps] == [DeleteManifest]


def test_a_tag_that_names_another_digest_has_moved_and_its_sibling_is_only_untagged() -> None:
    confirmed = look(OLD, inventory([tag("1.0", "b"), tag("1.1", "a"), tag("new", "a", days=0)]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.MOVED}
    assert confirmed.steps == (Untag(tag("1.1", "a")),)


def test_a_tag_pushed_again_with_the_same_digest_has_moved() -> None:
    assert outcomes(look(OLD, inventory([tag("1.0", "a", days=40), tag("1.1", "a")]))) == {"1.0": OutcomeKind.MOVED}


def test_a_tag_pushed_again_is_not_taken_along_with_its_manifest_however_old_it_is() -> None:
    before = inventory([tag("1.0", "a", days=99), tag("1.1", "a")])

    confirmed = look(before, inventory([tag("1.0", "a", days=98), tag("1.1", "a")]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.MOVED}
    assert confirmed.steps == (Untag(tag("1.1", "a")),)


def test_a_tag_deleted_by_somebody_else_is_gone() -> None:
    confirmed = look(OLD, inventory([tag("1.1", "a")]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.GONE}
    assert [step.digest for step in confirmed.steps] == [d("a")]


def test_a_repository_that_is_gone_is_an_outcome_for_each_item() -> None:
    confirmed = look(OLD, inventory([]))

    assert not confirmed.steps
    assert {outcome.kind for outcome in confirmed.outcomes} == {OutcomeKind.GONE}


def test_an_image_deployed_since_is_in_use_now() -> None:
    confirmed = look(OLD, OLD, usage(use("1.0", "a")))

    assert not confirmed.steps
    assert set(outcomes(confirmed).values()) == {OutcomeKind.IN_USE_NOW}
    assert "production/shop/Deployment/web" in confirmed.outcomes[0].detail


def test_a_lock_added_since_is_respected() -> None:
    confirmed = look(OLD, inventory([tag("1.0", "a", locked=True), tag("1.1", "a")]))

    assert outcomes(confirmed) == {"1.0": OutcomeKind.LOCKED}
    assert confirmed.steps == (Untag(tag("1.1", "a")),)


def test_a_manifest_with_an_old_tag_that_was_not_planned_is_not_deleted() -> None:
    """An old tag can appear (restored, imported): deleting the manifest would take it along."""
    confirmed = look(OLD, inventory([tag("1.0", "a"), tag("1.1", "a"), tag("0.9", "a")]))

    assert {type(step) for step in confirmed.steps} == {Untag}
    assert {step.digest for step in confirmed.steps} == {d("a")}


@pytest.mark.parametrize(
    ("now", "why"),
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
def test_why_a_manifest_stays_is_what_is_so_and_nothing_is_said_to_need_it(now: list[Tag], why: str) -> None:
    """Whoever reads it looks for what needs it."""
    confirmed = look(OLD, inventory(now, [image("a"), image("b")]))

    (stays,) = (outcome for outcome in confirmed.outcomes if outcome.tag is None)
    assert (stays.digest, stays.kind, stays.detail) == (d("a"), OutcomeKind.KEPT, why)


def test_a_child_that_a_new_index_needs_is_kept() -> None:
    before = inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")])
    now = inventory([tag("1.0", "i"), tag("new", "j", days=0)], [index("i", ["x"]), index("j", ["x"]), image("x")])

    confirmed = look(before, now)

    assert [step.digest for step in confirmed.steps] == [d("i")]
    assert [(outcome.digest, outcome.kind) for outcome in confirmed.outcomes] == [(d("x"), OutcomeKind.KEPT)]


def test_a_referrer_in_use_by_digest_keeps_its_subject() -> None:
    """The registry would remove the referrer together with its subject."""
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])

    confirmed = look(repository, repository, usage(use(None, "r")))

    assert confirmed.steps == (Untag(tag("1.0", "a")),)


# --- locks and untagged manifests --------------------------------------------------------------------------------------


def again(before: RepositoryInventory, now: RepositoryInventory, uses: UsageIndex | None = None) -> Confirmed:
    """With everything allowed that lets more go."""
    policy = RetentionPolicy(delete_untagged=True, include_locked=True)
    planned = plan_repository(before, usage(), policy, NOW)
    return confirm(planned.steps, plan_repository(now, uses or usage(), policy, NOW), now)


def test_locks_are_those_of_now() -> None:
    """What is put back after a failure must be what was there, not what the plan saw."""
    before = inventory([tag("1.0", "a", locked=True), tag("1.1", "a", locked=True)], [image("a", locked=True)])
    now = inventory([tag("1.0", "a"), replace(tag("1.1", "a", locked=True), write_enabled=False)], [image("a")])

    (step,) = again(before, now).steps
    assert step.locks == (Lock("1.1", False, False),)


def test_a_lock_that_came_after_the_plan_is_not_taken_off() -> None:
    """Whoever set it wants to keep the thing, and has seen the plan perhaps."""
    before = inventory([tag("1.0", "a"), tag("1.1", "a"), tag("2.0", "b")], [image("a"), image("b")])
    now = inventory(
        [tag("1.0", "a", locked=True), tag("1.1", "a"), tag("2.0", "b")], [image("a"), image("b", locked=True)]
    )

    confirmed = again(before, now)
    assert confirmed.steps == (Untag(tag("1.1", "a")),)
    kinds = {outcome.tag: outcome.kind for outcome in confirmed.outcomes if outcome.tag}
    assert kinds == {"1.0": OutcomeKind.LOCKED, "2.0": OutcomeKind.LOCKED}


def test_a_name_that_is_left_of_a_manifest_is_unlocked_by_itself() -> None:
    before = inventory([tag("1.0", "a", locked=True)], [image("a", locked=True)])
    now = inventory([tag("1.0", "a", locked=True), tag("new", "a", days=0)], [image("a", locked=True)])

    (step,) = again(before, now).steps
    assert step == Untag(tag("1.0", "a", locked=True), locks=(Lock("1.0", False, True),))


def test_a_name_goes_from_a_manifest_that_was_locked_all_along_and_stays() -> None:
    """Nothing has changed since the plan, so nothing may be called a change."""
    world = inventory([tag("1.0", "a"), tag("new", "a", days=0)], [image("a", locked=True)])

    confirmed = again(world, world)
    assert (confirmed.steps, confirmed.outcomes) == ((Untag(tag("1.0", "a")),), ())


def test_a_repository_locked_since_keeps_everything() -> None:
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
def test_an_untagged_manifest_that_has_come_to_be_needed_stays(
    now: RepositoryInventory, uses: UsageIndex, kind: OutcomeKind
) -> None:
    confirmed = again(inventory([], [image("a")]), now, uses)

    assert not confirmed.steps
    assert [(outcome.digest, outcome.tag, outcome.kind) for outcome in confirmed.outcomes] == [(d("a"), None, kind)]


# --- in words ----------------------------------------------------------------------------------------------------------


def details(confirmed: Confirmed) -> dict[str, tuple[OutcomeKind, str]]:
    return {outcome.tag or outcome.digest: (outcome.kind, outcome.detail) for outcome in confirmed.outcomes}


def test_every_outcome_says_what_has_changed_since_the_plan() -> None:
    before = inventory([tag(name, name) for name in ("gone", "moved", "again", "young", "used")])
    now = inventory(
        [tag("moved", "b"), tag("again", "again", days=99), tag("used", "used"), tag("latest", "again")],
        [image("b"), image("again"), image("young"), image("used")],
    )

    found = details(look(before, now, usage(use("used"))))

    assert found == {
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


def test_what_was_locked_since_says_so_of_the_tag_and_of_the_manifest() -> None:
    world = inventory([tag("1.0", "a"), tag("2.0", "b")], [image("a"), image("b")])
    now = inventory([tag("1.0", "a", locked=True), tag("2.0", "b")], [image("a"), image("b", locked=True)])
    told = (OutcomeKind.LOCKED, "it was locked since the plan")

    found = details(again(world, now))

    assert (found["1.0"], found["2.0"], found[d("b")]) == (told, told, told)
    assert found[d("a")] == (OutcomeKind.KEPT, "its tag 1.0 is kept")


def test_what_has_to_go_first_is_what_either_plan_says() -> None:
    """An index that was planned to go before its child and is gone by now; a referrer that has come since."""
    before = inventory([tag("1.0", "i"), tag("x", "x")], [index("i", ["x"]), image("x")])
    now = inventory([tag("1.0", "i"), tag("x", "x")], [index("i", []), image("x"), referrer("r", "x")])

    (child,) = (step for step in look(before, now).steps if step.digest == d("x"))

    assert child.after == tuple(sorted([d("i"), d("r")]))


def test_a_child_without_a_tag_that_stays_is_needed_by_something() -> None:
    before = inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")])
    now = inventory([tag("1.0", "i"), tag("new", "j", days=0)], [index("i", ["x"]), index("j", ["x"]), image("x")])

    assert details(look(before, now)) == {d("x"): (OutcomeKind.KEPT, "a kept manifest or tag needs it now")}


def test_a_manifest_that_something_new_needs_stays_and_its_names_go() -> None:
    now = inventory([tag("1.0", "a"), tag("1.1", "a"), tag("new", "j", days=0)], [image("a"), index("j", ["a"])])

    confirmed = look(OLD, now)

    assert confirmed.steps == (Untag(tag("1.0", "a")), Untag(tag("1.1", "a")))
    assert details(confirmed) == {d("a"): (OutcomeKind.KEPT, "a kept manifest or tag needs it now")}


def test_a_reason_that_is_nobodys_names_nobody() -> None:
    found = details(look(OLD, inventory([tag("1.0", "a", locked=True), tag("1.1", "a", locked=True)])))

    assert found["1.0"] == (OutcomeKind.LOCKED, "the tag is locked in the registry")
