"""Reasons to keep a manifest, and which untagged manifests may be deleted on their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from acr_cleanup.core.inventory import Manifest, RepositoryInventory
from acr_cleanup.core.named import digests_in_use
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.references import Digest, short
from acr_cleanup.core.removal import (
    Hold,
    Reason,
    Removal,
    candidates,
    prepare,
    reasons_to_keep,
    removable,
)
from acr_cleanup.core.retention import RetentionPolicy
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


def why(
    known: Evidence, digest: str, deleted_tags: set[str] | None = None, deleted_manifests: set[Digest] | None = None
) -> list[Reason]:
    used = digests_in_use(known)
    return list(reasons_to_keep(known, used, deleted_tags or set(), deleted_manifests or set(), d(digest)))


# -- reasons to keep -------------------------------------------------------------------------------


def test_use_keeps_every_manifest_of_the_family() -> None:
    known = evidence(inventory([], [index("i", ["x", "y"]), image("x"), image("y")]), use(None, "x"))
    reason = Reason(Rule.IN_USE, "a workload runs or pins it, or another manifest of its index family")

    assert digests_in_use(known).keys() == {d("i"), d("x"), d("y")}
    assert why(known, "i") == [reason]
    assert why(known, "y")[0] == reason


def test_locked_repository_outranks_a_locked_manifest() -> None:
    repository = inventory([], [image("a", locked=True)])

    assert why(evidence(repository), "a") == [Reason(Rule.LOCKED, "it is locked in the registry")]
    assert why(evidence(replace(repository, locked=True)), "a") == [
        Reason(Rule.LOCKED, "the repository is locked in the registry")
    ]
    assert why(evidence(repository, policy=replace(UNTAGGED, include_locked=True)), "a") == []


def test_reasons_name_every_kept_relative() -> None:
    """
    Kept tags, indexes, referrers, and tags named after it. A tag of the manifest itself is named
    once.
    """
    itself = signature_of("a")
    repository = inventory(
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

    assert why(evidence(repository), "a", {"2", signature_of("a", ".x")}, {d("j"), d("q")}) == [
        Reason(Hold.TAGGED, "its tag 1 is kept"),
        Reason(Hold.TAGGED, f"its tag {itself} is kept"),
        Reason(Hold.LISTED, f"the index {short(d('i'))} lists it and is kept"),
        Reason(Hold.REFERRED, f"{short(d('r'))} is attached to it and is kept"),
        Reason(Hold.REFERRED, f"the tag {signature_of('a', '.att')} belongs to it and is kept"),
    ]


def test_unreadable_manifest_keeps_every_manifest() -> None:
    repository = inventory([tag("1", "a"), tag("ghost", "g")], [image("a"), Manifest(d("g"), OCI_INDEX)])

    assert why(evidence(repository), "g", {"ghost"}) == [
        Reason(Rule.UNKNOWN_MANIFEST, "the registry cannot show it, or its media type is unknown")
    ]
    assert why(evidence(repository), "a", {"1"}) == [
        Reason(
            Rule.UNKNOWN_MANIFEST,
            "another manifest of this repository cannot be read or understood, and might refer to it",
        )
    ]


def test_referrer_of_a_kept_subject_is_kept_at_any_age() -> None:
    repository = inventory(
        [tag("1", "a")], [image("a"), structs.replace(referrer("r", "a"), updated_at=None), referrer("s", "gone")]
    )

    assert why(evidence(repository), "r") == [Reason(Rule.ATTACHED, f"belongs to {short(d('a'))}, which is kept")]
    assert why(evidence(repository), "r", deleted_manifests={d("a")}) == []
    assert why(evidence(repository), "s") == []
    young = replace(repository, tags=(), manifests={d("s"): structs.replace(referrer("s", "gone"), updated_at=NOW)})
    assert [reason.rule for reason in why(evidence(young), "s")] == [Rule.YOUNG]


def test_untagged_manifest_is_kept_without_delete_untagged() -> None:
    known = evidence(inventory([], [image("a", days=None)]), policy=RetentionPolicy())

    assert why(known, "a") == [Reason(Hold.UNTAGGED, "it has no tag, and delete-untagged is not set")]
    listed = evidence(inventory([], [index("i", ["a"]), image("a")]), policy=RetentionPolicy())
    assert why(listed, "a", deleted_manifests={d("i")}) == [], "a child is deleted with its index"


def test_untagged_manifest_needs_known_age_scope_and_body() -> None:
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
    ]
    assert why(evidence(inventory([], [unread])), "a") == [
        Reason(Rule.UNKNOWN_MANIFEST, "its body could not be read, so it might be attached to a kept manifest")
    ]
    young = structs.replace(unread, updated_at=NOW - timedelta(days=29))
    assert why(evidence(inventory([], [young])), "a") == [Reason(Rule.YOUNG, "pushed 2026-10-25, less than 30d ago")], (
        "a manifest that is kept anyway is not read"
    )
    tags = replace(inventory([], [image("a")]), hidden_tags=2)
    assert why(evidence(tags), "a") == [
        Reason(Rule.UNKNOWN_MANIFEST, "the registry counts 2 more tags than it lists, and they might be on it")
    ]
    assert why(evidence(inventory([], [image("a")]), runs=False), "a") == [
        Reason(Rule.OUT_OF_SCOPE, "its repository is not running in any configured cluster")
    ]
    assert why(evidence(inventory([], [index("i", ["a"]), image("a", days=1)])), "a", deleted_manifests={d("i")}) == [
        Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")
    ]


def test_unlisted_manifest_has_reasons_without_its_body() -> None:
    """A manifest that the listing omits."""
    repository = inventory([tag("1", "a")], [])

    assert why(evidence(repository, use(None, "a")), "a", {"1"}) == [
        Reason(Rule.IN_USE, "a workload runs or pins it, or another manifest of its index family"),
        Reason(Rule.UNKNOWN_MANIFEST, "the registry cannot show it, or its media type is unknown"),
    ]


# -- candidates -------------------------------------------------------------------------


def test_candidates_are_old_unlocked_unused_and_untagged() -> None:
    repository = inventory(
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

    assert candidates(evidence(repository, use(None, "used"))) == {d("old")}
    unlocking = replace(UNTAGGED, include_locked=True)
    assert candidates(evidence(repository, use(None, "used"), policy=unlocking)) == {d("old"), d("locked")}


@pytest.mark.parametrize(
    ("changes", "uses", "policy", "runs"),
    [
        ({}, [], RetentionPolicy(), True),
        ({"hidden": 1}, [], UNTAGGED, True),
        ({}, [use(None, None)], UNTAGGED, True),
        ({}, [], UNTAGGED, False),
    ],
    ids=["no delete-untagged", "hidden", "perhaps in use", "out of scope"],
)
def test_uncertain_repository_has_no_candidates(
    changes: dict[str, Any], uses: list[ImageUse], policy: RetentionPolicy, runs: bool
) -> None:
    repository = replace(inventory([], [image("a")]), **changes)

    assert candidates(evidence(repository, *uses, policy=policy, runs=runs)) == frozenset()
    assert candidates(evidence(inventory([], [image("a")]))) == {d("a")}


def test_prepared_inventory_marks_the_bodies_to_read() -> None:
    repository = inventory([tag("1", "x")], [image("x"), image("a")])
    uses = usage(use("1", "x"))

    prepared = prepare(repository, uses, UNTAGGED, NOW)

    assert prepared == replace(
        repository,
        used=frozenset({d("x")}),
        used_tags=frozenset({"1", "something-else"}),
        candidates=frozenset({d("a")}),
    )
    assert prepare(repository, uses, UNTAGGED, NOW, all_referrers=True) == replace(prepared, all_referrers=True)
    assert prepared.name == REPOSITORY


# -- removal -------------------------------------------------------------------------------------


def test_manifests_deleted_together_are_not_alone() -> None:
    repository = inventory(
        [tag("1", "i"), tag("2", "b", days=1)],
        [index("i", ["x"]), image("x"), referrer("r", "i"), image("b"), image("stray"), referrer("s", "stray")],
    )

    assert removable(evidence(repository), ["1"]) == Removal(
        frozenset({"1"}),
        frozenset(d(digest) for digest in ("i", "x", "r", "stray", "s")),
        frozenset({d("stray"), d("s")}),
    )
    assert removable(evidence(repository, policy=RetentionPolicy()), {"1"}) == Removal(
        frozenset({"1"}), frozenset({d("i"), d("x"), d("r")}), frozenset()
    )


def test_unknown_or_locked_repository_loses_only_tags() -> None:
    repository = inventory([tag("1", "a")], [image("a"), image("stray")])
    ghost = replace(repository, manifests={**repository.manifests, d("g"): Manifest(d("g"), OCI_INDEX)})

    for repository_state in (ghost, replace(repository, locked=True)):
        assert removable(evidence(repository_state), ["1"]) == Removal(frozenset({"1"}), frozenset(), frozenset())
