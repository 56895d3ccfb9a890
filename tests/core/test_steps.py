"""The steps of a plan: their order, their dependencies and their locks."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta
from graphlib import CycleError

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import Lock, RepositoryInventory
from acr_cleanup.core.removal import Removal
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import DeleteManifest, Untag, ordered_steps, waves
from tests.helpers.generated_inventories import (
    NOW,
    OCI_CONFIG,
    OCI_IMAGE,
    UNTAGGED,
    d,
    image,
    index,
    inventory,
    plan,
    referrer,
    signature_of,
    tag,
    usage,
    use,
    verbs,
)

UNLOCKING = RetentionPolicy(include_locked=True)


def test_manifest_with_two_tags_is_one_step() -> None:
    planned = plan(inventory([tag("1", "a"), tag("2", "a")]))

    (step,) = planned.steps
    assert isinstance(step, DeleteManifest)
    assert [tag.name for tag in step.tags] == ["1", "2"]


def test_manifest_step_follows_all_its_dependents() -> None:
    """An untag follows nothing."""
    repository = inventory(
        [tag("1", "a"), tag("b", "b"), tag("a", "b"), tag("new", "b", days=1), tag(signature_of("a"), "s")],
        [image("a"), index("i", ["a"]), referrer("r", "a"), image("b"), image("s")],
    )
    planned = plan(dataclasses.replace(repository, tags=(*repository.tags, tag("2", "i"))))

    assert verbs(planned)[:2] == ["untag a", "untag b"]
    (last,) = (step for step in planned.steps if step.digest == d("a"))
    assert last.after == tuple(sorted([d("i"), d("r"), d("s")]))
    assert {step.digest: step.tags for step in planned.steps}[d("i")] == (tag("2", "i"),)


def test_independent_steps_share_a_wave_in_order() -> None:
    repository = inventory(
        [tag("1", "i"), tag("2", "b"), tag("3", "a"), tag("4", "c"), tag("new", "c", days=1)],
        [index("i", ["x"]), image("x"), image("a"), image("b"), image("c")],
    )
    planned = plan(repository)

    groups = [[step.digest for step in wave] for wave in waves(planned.steps)]

    assert groups == [[d("c"), d("a"), d("b"), d("i")], [d("x")]]
    assert list(waves([])) == []
    assert list(waves(planned.steps[:1])) == [planned.steps[:1]]
    assert [step for wave in waves(reversed(planned.steps)) for step in wave][-1].digest == d("x")


def test_possible_subject_waits_for_unread_referrers_and_their_signatures() -> None:
    """The registry would delete the unread manifest, and what is attached to it, with its subject."""
    unread = structs.replace(image("u"), media_type=OCI_IMAGE, config_media_type=OCI_CONFIG, known=False)
    repository = inventory(
        [tag("1", "a"), tag("2", "u"), tag("3", "i")],
        [image("a"), unread, referrer("r", "u"), referrer("s", "r"), index("i", ["u", "r"])],
    )

    groups = [{step.digest for step in wave} for wave in waves(plan(repository).steps)]

    assert groups == [{d("s"), d("i")}, {d("r")}, {d("u")}, {d("a")}]


def test_unread_referrers_come_first_and_the_newest_of_them_before_older_ones() -> None:
    """Those without a time come last of them: it is unknown which of them refers to which."""
    made = {"a": 3, "b": 1, "c": 2, "d": None}
    unread = [
        structs.replace(image(name), media_type=OCI_IMAGE, known=False, created_at=days and NOW - timedelta(days))
        for name, days in made.items()
    ]
    repository = inventory([], [*unread, image("e")])
    removal = Removal(frozenset(), frozenset(repository.manifests), frozenset())
    assert [step.digest for step in ordered_steps(repository, removal)] == [d(name) for name in "bcade"]


def test_referrer_of_an_unread_referrer_is_deleted_before_it() -> None:
    """Although the unread one is deleted before all others."""
    unread = structs.replace(image("b"), media_type=OCI_IMAGE, known=False)
    repository = inventory([], [image("a"), unread, referrer("s", "b"), referrer("t", "s")])
    removal = Removal(frozenset(), frozenset(repository.manifests), frozenset())
    assert [step.digest for step in ordered_steps(repository, removal)] == [d(name) for name in "tsba"]


def test_cyclic_steps_raise() -> None:
    one, two = DeleteManifest(image("a"), after=(d("b"),)), DeleteManifest(image("b"), after=(d("a"),))

    with pytest.raises(CycleError):
        list(waves([one, two]))
    assert list(waves([one])) == [(one,)], "a digest without a step is no dependency"


# -- locks -----------------------------------------------------------------------------------------


def test_step_lists_the_locks_of_manifest_and_tags() -> None:
    repository = inventory([tag("1.0", "a", locked=True), tag("1.1", "a")], [image("a", locked=True)])

    (step,) = plan(repository, policy=UNLOCKING).steps
    assert step.locks == (Lock(None, False, True), Lock("1.0", False, True))


def test_untag_lists_only_the_lock_of_the_tag() -> None:
    repository = inventory([tag("1.0", "a", locked=True), tag("new", "a", days=1)], [image("a", locked=True)])

    assert plan(repository, policy=UNLOCKING).steps == (
        Untag(tag("1.0", "a", locked=True), locks=(Lock("1.0", False, True),)),
    )


def test_steps_of_children_and_referrers_list_their_locks() -> None:
    repository = inventory(
        [tag("1.0", "i")], [index("i", ["x"]), image("x", locked=True), referrer("r", "i", locked=True)]
    )

    assert verbs(plan(repository)) == ["untag 1.0"]
    planned = plan(repository, policy=UNLOCKING)
    assert verbs(planned) == ["delete r[]", "delete i[1.0]", "delete x[]"]
    assert [step.locks for step in planned.steps] == [(Lock(None, False, True),), (), (Lock(None, False, True),)]


# -- time ------------------------------------------------------------------------------------------


def large_repository(count: int) -> RepositoryInventory:
    """Images, indexes, signed images, referrers, nested indexes and chains of signatures."""
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


@pytest.mark.extended
@pytest.mark.untraced
@pytest.mark.parametrize("policy", [RetentionPolicy(), UNTAGGED], ids=["tags", "untagged"])
def test_planning_time_grows_linearly_with_the_repository(policy: RetentionPolicy) -> None:
    """
    Eight times as many manifests may take eight times as long.

    A quadratic loop would take 64 times. Caches of the processor make it 14 times when nothing else
    runs, and 27 times were seen on a busy machine.
    """

    def seconds(count: int) -> float:
        repository, uses = large_repository(count), usage(*(use(None, f"{number}a") for number in range(0, count, 9)))
        began = time.process_time()
        plan(repository, uses, policy)
        return time.process_time() - began

    assert min(seconds(4800) for _ in range(2)) < 40 * min(seconds(600) for _ in range(3)) + 0.1
