"""Why a manifest stays, in the words that people read; and which manifests without tags may go by themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from acr_cleanup.core.inventory import Manifest, RepositoryInventory
from acr_cleanup.core.policy import Evidence, RetentionPolicy, Rule
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import (
    Hold,
    Reason,
    Removal,
    candidates,
    digests_in_use,
    prepare,
    reasons_to_keep,
    removable,
)
from acr_cleanup.core.usage import ImageUse
from tests.helpers.generated_inventories import (
    NOW,
    OCI_IMAGE,
    OCI_INDEX,
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

UNTAGGED = RetentionPolicy(delete_untagged=True)


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy = UNTAGGED, runs: bool = True
) -> Evidence:
    return Evidence(repository, usage(*uses, runs=runs), policy, NOW)


def why(asked: Evidence, digest: str, leaving: set[str] | None = None, gone: set[Digest] | None = None) -> list[Reason]:
    used = digests_in_use(asked.inventory, asked.usage)
    return list(reasons_to_keep(asked, used, leaving or set(), gone or set(), d(digest)))


# -- why it stays ----------------------------------------------------------------------------------------------------


def test_what_is_used_says_so_with_its_whole_family() -> None:
    asked = evidence(inventory([], [index("i", ["x", "y"]), image("x"), image("y")]), use(None, "x"))
    told = Reason(Rule.IN_USE, "a workload runs or pins it, or another manifest of its index family")

    assert digests_in_use(asked.inventory, asked.usage) == {d("i"), d("x"), d("y")}
    assert why(asked, "i") == [told]
    assert why(asked, "y")[0] == told


def test_a_locked_repository_says_more_than_a_locked_manifest() -> None:
    world = inventory([], [image("a", locked=True)])

    assert why(evidence(world), "a") == [Reason(Rule.LOCKED, "it is locked in the registry")]
    assert why(evidence(replace(world, locked=True)), "a") == [
        Reason(Rule.LOCKED, "the repository is locked in the registry")
    ]
    assert why(evidence(world, policy=replace(UNTAGGED, include_locked=True)), "a") == []


def test_it_names_everything_around_it_that_stays_and_nothing_that_goes() -> None:
    """Kept tags, indexes, referrers, and tags named after it; a tag of its own is not told twice."""
    itself = signature_of("a")
    world = inventory(
        [
            tag("1", "a"),
            tag("2", "a"),
            tag(itself, "a"),
            tag(signature_of("a", ".att"), "s"),
            tag(signature_of("a", ".x"), "t"),
        ],
        [
            image("a"),
            index("i", ["a"]),
            index("j", ["a"]),
            referrer("r", "a"),
            referrer("q", "a"),
            image("s"),
            image("t"),
        ],
    )

    assert why(evidence(world), "a", {"2", signature_of("a", ".x")}, {d("j"), d("q")}) == [
        Reason(Hold.TAGGED, "its tag 1 is kept"),
        Reason(Hold.TAGGED, f"its tag {itself} is kept"),
        Reason(Hold.LISTED, f"the index {short(d('i'))} lists it and is kept"),
        Reason(Hold.REFERRED, f"{short(d('r'))} is attached to it and is kept"),
        Reason(Hold.REFERRED, f"the tag {signature_of('a', '.att')} belongs to it and is kept"),
    ]


def test_what_nobody_can_read_may_hold_anything() -> None:
    world = inventory([tag("1", "a"), tag("ghost", "g")], [image("a"), Manifest(d("g"), OCI_INDEX)])

    assert why(evidence(world), "g", {"ghost"}) == [
        Reason(Rule.UNKNOWN_MANIFEST, "the registry cannot show it, or its media type is unknown")
    ]
    assert why(evidence(world), "a", {"1"}) == [
        Reason(
            Rule.UNKNOWN_MANIFEST,
            "another manifest of this repository cannot be read or understood, and might refer to it",
        )
    ]


def test_what_is_attached_to_something_that_stays_stays_at_whatever_age() -> None:
    world = inventory(
        [tag("1", "a")], [image("a"), replace(referrer("r", "a"), updated_at=None), referrer("s", "gone")]
    )

    assert why(evidence(world), "r") == [Reason(Rule.ATTACHED, f"belongs to {short(d('a'))}, which is kept")]
    assert why(evidence(world), "r", gone={d("a")}) == []
    assert why(evidence(world), "s") == []
    young = replace(world, tags=(), manifests={d("s"): replace(referrer("s", "gone"), updated_at=NOW)})
    assert [reason.rule for reason in why(evidence(young), "s")] == [Rule.YOUNG]


def test_without_a_tag_it_is_left_alone_unless_asked_for() -> None:
    asked = evidence(inventory([], [image("a", days=None)]), policy=RetentionPolicy())

    assert why(asked, "a") == [Reason(Hold.UNTAGGED, "it has no tag, and delete-untagged is not set")]
    listed = evidence(inventory([], [index("i", ["a"]), image("a")]), policy=RetentionPolicy())
    assert why(listed, "a", gone={d("i")}) == [], "what an index lists goes with that"


def test_without_a_tag_its_age_its_repository_and_its_body_must_be_known() -> None:
    old = NOW - timedelta(days=100)
    unread = Manifest(d("a"), OCI_IMAGE, platform="linux/amd64", updated_at=old)
    hidden = replace(inventory([], [unread]), hidden=1234)

    assert why(evidence(inventory([], [image("a", days=None)])), "a") == [
        Reason(Rule.UNKNOWN_AGE, "the registry gives no time of its last push")
    ]
    assert why(evidence(inventory([], [image("a", days=29)])), "a") == [
        Reason(Rule.YOUNG, "pushed 2026-10-25, less than 30d ago")
    ]
    assert why(evidence(hidden, use(None, None)), "a") == [
        Reason(Rule.IN_USE, "something names its repository without saying which image"),
        Reason(
            Rule.UNKNOWN_MANIFEST, "the registry counts 1,234 more manifests than it lists, and they might refer to it"
        ),
        Reason(Rule.UNKNOWN_MANIFEST, "its body was not read, so it might be attached to a kept manifest"),
    ]
    assert why(evidence(inventory([], [image("a")]), runs=False), "a") == [
        Reason(Rule.OUT_OF_SCOPE, "its repository is not running in any configured cluster")
    ]
    assert why(evidence(inventory([], [index("i", ["a"]), image("a", days=1)])), "a", gone={d("i")}) == [
        Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")
    ]


def test_of_what_is_only_named_no_more_is_told_than_who_names_it() -> None:
    """A manifest that the listing leaves out."""
    world = inventory([tag("1", "a")], [])

    assert why(evidence(world, use(None, "a")), "a", {"1"}) == [
        Reason(Rule.IN_USE, "a workload runs or pins it, or another manifest of its index family"),
        Reason(Rule.UNKNOWN_MANIFEST, "the registry cannot show it, or its media type is unknown"),
    ]


# -- what may go by itself -------------------------------------------------------------------------------------------


def test_candidates_are_old_unlocked_unused_and_without_a_tag() -> None:
    world = inventory(
        [tag("1", "tagged")],
        [
            image("tagged"),
            image("old", days=30),
            image("young", days=29.9),
            image("ageless", days=None),
            image("locked", locked=True),
            image("used"),
        ],
    )

    assert candidates(evidence(world, use(None, "used"))) == {d("old")}
    unlocking = replace(UNTAGGED, include_locked=True)
    assert candidates(evidence(world, use(None, "used"), policy=unlocking)) == {d("old"), d("locked")}


@pytest.mark.parametrize(
    ("changes", "uses", "policy", "runs"),
    [
        ({}, [], RetentionPolicy(), True),
        ({"hidden": 1}, [], UNTAGGED, True),
        ({}, [use(None, None)], UNTAGGED, True),
        ({}, [], UNTAGGED, False),
    ],
    ids=["not asked for", "hidden", "perhaps in use", "out of scope"],
)
def test_where_nobody_can_be_sure_there_are_no_candidates(
    changes: dict[str, Any], uses: list[ImageUse], policy: RetentionPolicy, runs: bool
) -> None:
    world = replace(inventory([], [image("a")]), **changes)

    assert candidates(evidence(world, *uses, policy=policy, runs=runs)) == frozenset()
    assert candidates(evidence(inventory([], [image("a")]))) == {d("a")}


def test_what_is_prepared_knows_which_bodies_matter() -> None:
    world = inventory([tag("1", "x")], [image("x"), image("a")])
    uses = usage(use("1", "x"))

    found = prepare(world, uses, UNTAGGED, NOW)

    assert found == replace(
        world, used=frozenset({d("x")}), used_tags=frozenset({"1", "something-else"}), candidates=frozenset({d("a")})
    )
    assert prepare(world, uses, UNTAGGED, NOW, backup=True) == replace(found, all_referrers=True)
    assert found.name == REPOSITORY


# -- what goes -------------------------------------------------------------------------------------------------------


def test_what_goes_along_is_not_what_goes_alone() -> None:
    world = inventory(
        [tag("1", "i"), tag("2", "b", days=1)],
        [index("i", ["x"]), image("x"), referrer("r", "i"), image("b"), image("stray"), referrer("s", "stray")],
    )

    assert removable(evidence(world), ["1"]) == Removal(
        frozenset({"1"}), frozenset(d(each) for each in ("i", "x", "r", "stray", "s")), frozenset({d("stray"), d("s")})
    )
    assert removable(evidence(world, policy=RetentionPolicy()), {"1"}) == Removal(
        frozenset({"1"}), frozenset({d("i"), d("x"), d("r")}), frozenset()
    )


def test_where_anything_is_unknown_or_locked_as_a_whole_only_names_go() -> None:
    world = inventory([tag("1", "a")], [image("a"), image("stray")])
    ghost = replace(world, manifests={**world.manifests, d("g"): Manifest(d("g"), OCI_INDEX)})

    for held in (ghost, replace(world, locked=True)):
        assert removable(evidence(held), ["1"]) == Removal(frozenset({"1"}), frozenset(), frozenset())
