"""Untagged manifests: kept by default, and decided one by one with `delete_untagged`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from acr_cleanup.core.inventory import Manifest
from tests.helpers.generated_inventories import (
    NOW,
    OCI_IMAGE,
    UNTAGGED,
    d,
    image,
    index,
    inventory,
    plan,
    referrer,
    tag,
    untagged_rules,
    verbs,
)


def test_untagged_manifest_is_kept_by_default() -> None:
    assert not plan(inventory([], [image("a")])).steps


def test_each_kept_untagged_manifest_has_a_reason() -> None:
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

    # The registry has listed the referrers of this one: the unread manifest is not among them.
    planned = plan(replace(repository, asked=frozenset({d("stray")})), policy=UNTAGGED)

    assert verbs(planned) == ["delete stray[]"]
    assert verbs(plan(repository, policy=UNTAGGED)) == []
    assert untagged_rules(planned) == {
        d("x"): ["listed"],
        d("r"): ["attached"],
        d("locked"): ["locked"],
        d("b"): ["referred"],
        d("unread"): ["unknown-manifest"],
        d("stray"): [],
    }


def test_child_of_a_deleted_index_has_no_own_decision() -> None:
    planned = plan(inventory([tag("1.0", "i")], [index("i", ["x"]), image("x")]), policy=UNTAGGED)

    assert verbs(planned) == ["delete i[1.0]", "delete x[]"]
    assert planned.untagged == ()


def test_untagged_indexes_are_deleted_before_their_children() -> None:
    repository = inventory([], [image("x"), index("o", ["i"]), index("i", ["x"])])

    assert verbs(plan(repository, policy=UNTAGGED)) == ["delete o[]", "delete i[]", "delete x[]"]
