"""Rule `unknown-manifest`: tags of manifests that cannot be read or understood are kept."""

from __future__ import annotations

from datetime import timedelta

from acr_cleanup.core.inventory import Manifest
from acr_cleanup.core.plan_warnings import UnreadableManifests
from acr_cleanup.core.policy import (
    Rule,
)
from tests.helpers.generated_inventories import (
    NOW,
    OCI_INDEX,
    REPOSITORY,
    UNTAGGED,
    d,
    image,
    index,
    inventory,
    plan,
    reasons,
    rules_of,
    tag,
    verbs,
)


def test_unknown_manifest_limits_the_plan_to_untags() -> None:
    """Any manifest of the repository may be a child of the unreadable one."""
    repository = inventory([tag("ghost", "g"), tag("1.0", "a")], [index("g", [], known=False), image("a")])

    planned = plan(repository)

    assert verbs(planned) == ["untag 1.0"]
    assert rules_of(planned, "ghost") == [Rule.UNKNOWN_MANIFEST]
    assert planned.warnings


def test_unknown_media_type_limits_the_plan_to_untags() -> None:
    strange = Manifest(d("s"), "application/vnd.example.future+json", updated_at=NOW - timedelta(days=100))

    assert verbs(plan(inventory([tag("1.0", "a")], [strange, image("a")]))) == ["untag 1.0"]


def test_reason_tells_unreadable_from_unknown_media_type() -> None:
    strange = Manifest(d("s"), "application/vnd.example.future+json")
    world = inventory(
        [tag("strange", "s"), tag("ghost", "g"), tag("unlisted", "u"), tag("nameless", "n"), tag("fine", "f")],
        [strange, Manifest(d("g"), OCI_INDEX), Manifest(d("n")), image("f")],
    )
    gone = [(Rule.UNKNOWN_MANIFEST, "the registry lists its manifest but cannot show it")]

    assert reasons(world) == {
        "ghost": gone,
        "nameless": gone,
        "strange": [
            (
                Rule.UNKNOWN_MANIFEST,
                "the media type of its manifest is unknown (application/vnd.example.future+json)",
            )
        ],
        "unlisted": gone,
    }


def test_unread_manifest_that_changes_no_decision_is_not_reported() -> None:
    """It may not have been read. If one other tag could be deleted_names, it is reported."""
    ghost = index("g", [], known=False)
    kept = plan(inventory([tag("ghost", "g", days=1), tag("1.0", "a", days=1)], [ghost, image("a")]))
    assert (kept.warnings, rules_of(kept, "ghost")) == ((), [Rule.YOUNG])
    reported = plan(inventory([tag("ghost", "g", days=1), tag("1.0", "a")], [ghost, image("a")]))
    assert len(reported.warnings) == 1
    assert rules_of(reported, "ghost") == [Rule.UNKNOWN_MANIFEST, Rule.YOUNG]
    stray = plan(inventory([tag("ghost", "g", days=1)], [ghost, image("a")]), policy=UNTAGGED)
    assert stray.warnings == (UnreadableManifests(REPOSITORY, 1, (d("g"),)),)
