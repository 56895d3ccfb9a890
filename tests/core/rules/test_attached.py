"""Rule `attached`: tags that belong to a kept manifest are kept."""

from __future__ import annotations

import pytest

from acr_cleanup.core.policy import (
    Rule,
)
from acr_cleanup.core.references import short
from tests.helpers.generated_inventories import (
    d,
    image,
    inventory,
    plan,
    referrer,
    rules_of,
    signature_of,
    tag,
    usage,
    use,
    verbs,
)


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom", ""])
def test_signature_is_kept_or_deleted_with_its_manifest(suffix: str) -> None:
    """It is deleted_names before the manifest."""
    signature = f"sha256-{d('a')[7:]}{suffix}"
    repository = inventory([tag("1.0", "a"), tag(signature, "s")], [image("a"), image("s")])

    assert verbs(plan(repository, usage(use("1.0")))) == []
    assert verbs(plan(repository)) == [f"delete s[{signature}]", "delete a[1.0]"]
    assert plan(repository).steps[1].after == (d("s"),)


def test_tagged_referrer_of_a_kept_manifest_is_kept() -> None:
    repository = inventory([tag("1.0", "a", days=1), tag("sbom", "r")], [image("a"), referrer("r", "a")])

    planned = plan(repository)

    assert not planned.steps
    assert rules_of(planned, "sbom") == [Rule.ATTACHED]


def test_reason_names_the_kept_subject() -> None:
    """The subject of its manifest, or the digest that the tag is named after."""
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

    planned = {
        decision.tag.name: [reason.detail for reason in decision.reasons] for decision in plan(repository).decisions
    }

    belongs = [f"belongs to {short(d('a'))}, which is kept"]
    assert planned == {
        "1.0": ["pushed 2026-11-22, less than 30d ago"],
        "more": [f"belongs to {short(d('r'))}, which is kept"],
        of_another: [f"belongs to {short(d('r'))}, which is kept"],
        "sbom": belongs,
        signature_of("a"): belongs,
    }


def test_shared_signature_is_deleted_with_its_last_subject() -> None:
    repository = inventory(
        [tag("1", "a"), tag("2", "b", days=1), tag(signature_of("a"), "s"), tag(signature_of("b"), "s")]
    )

    assert verbs(plan(repository)) == [f"untag {signature_of('a')}", "delete a[1]"]


def test_signature_of_a_missing_manifest_is_a_plain_tag() -> None:
    assert verbs(plan(inventory([tag(signature_of("gone"), "s")]))) == [f"delete s[{signature_of('gone')}]"]
