"""The reasons for and against deleting one tag or manifest."""

from __future__ import annotations

from msgspec import structs

from acr_cleanup.core.explanation import (
    ExplainedDecision,
    Explanation,
    Link,
    RelatedItems,
    decide,
    deleted_manifests,
    deleted_with,
    eligible,
    explain_manifest,
    explain_tag,
)
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.references import short
from acr_cleanup.core.removal import Hold, Reason
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import ImageUse
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, signature_of, tag, usage, use


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy | None = None, runs: bool = True
) -> Evidence:
    used = usage(*uses, runs=runs)
    return Evidence(repository.used_by(used.digests(repository.name)), used, policy or RetentionPolicy(), NOW)


def links(explanation: Explanation) -> list[tuple[str, Link]]:
    return [(linked.use.workload.name, linked.link) for linked in explanation.uses]


def test_young_tag_is_kept_without_its_uses() -> None:
    explanation = explain_tag(evidence(inventory([tag("1.0", "a", days=3)]), use("1.0")), "1.0")

    assert explanation.without_uses is not None
    assert [reason.rule for reason in explanation.without_uses.decision.reasons] == [Rule.YOUNG]


def test_repository_without_its_only_use_is_out_of_scope() -> None:
    explanation = explain_tag(evidence(inventory([tag("1.0", "a")]), use("1.0"), runs=False), "1.0")

    assert explanation.without_uses is not None
    assert [reason.rule for reason in explanation.without_uses.decision.reasons] == [Rule.OUT_OF_SCOPE]
    assert explanation.without_uses.in_scope is not None
    assert explanation.without_uses.in_scope.deletes, "once another image of the repository runs, the tag is deleted"


def test_children_and_attached_manifests_go_with_an_index() -> None:
    images = [image("a"), image("b"), index("i", ["a", "b"]), referrer("r", "i"), image("s"), image("other")]
    tags = [tag("1.0", "i"), tag(signature_of("a"), "s"), tag("2.0", "other")]
    asked = evidence(inventory(tags, images))

    def going(digest: str) -> set[str]:
        return {manifest.digest for manifest in deleted_with(asked, decide(asked), d(digest))}

    assert going("i") == {d("i"), d("a"), d("b"), d("r"), d("s")}
    assert going("other") == {d("other")}
    assert going("missing") == set()


def test_kept_child_does_not_go_with_its_index() -> None:
    images = [image("a"), image("kept"), index("i", ["a", "kept"])]
    asked = evidence(inventory([tag("1.0", "i"), tag("young", "kept", days=1)], images))

    assert {manifest.digest for manifest in deleted_with(asked, decide(asked), d("i"))} == {d("i"), d("a")}


def test_unused_tag_has_no_decision_without_uses() -> None:
    explanation = explain_tag(evidence(inventory([tag("1.0", "a")])), "1.0")

    assert explanation.decision is not None
    assert explanation.decision.deletes
    assert (explanation.uses, explanation.without_uses) == ((), None)


def test_signature_lists_the_uses_of_its_subject() -> None:
    name = d("a").replace(":", "-") + ".sig"
    known = evidence(inventory([tag("1.0", "a"), tag(name, "sig")]), use("1.0", name="web"))
    explanation = explain_tag(known, name)

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Rule.ATTACHED]
    assert links(explanation) == [("web", Link.NEIGHBOUR)]
    assert explanation.related.subjects == (d("a"),)
    assert links(explain_manifest(known, d("sig"))) == [("web", Link.NEIGHBOUR)]
    assert explanation.without_uses is not None
    assert explanation.without_uses.decision.deletes


def test_signatures_are_referrers_of_their_manifest() -> None:
    name = d("a").replace(":", "-") + ".sig"
    repository = inventory(
        [tag("1.0", "a"), tag("1", "a"), tag(name, "sig")], [image("a"), image("sig"), referrer("r", "a")]
    )
    explanation = explain_tag(evidence(repository), "1.0")

    assert [tag.name for tag in explanation.related.tags] == ["1", "1.0"]
    assert explanation.related.referrers == (d("r"), d("sig"))


def test_child_is_kept_by_its_used_index() -> None:
    repository = inventory([tag("multi", "index")], [index("index", ["amd"]), image("amd")])
    explanation = explain_manifest(evidence(repository, use("multi")), d("amd"))

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Hold.LISTED]
    assert links(explanation) == [("web", Link.FAMILY)]
    assert explanation.without_uses is not None
    assert explanation.without_uses.decision.deletes


def test_used_referrer_keeps_its_subject() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])
    known = evidence(repository, use(None, "r"))
    explanation = explain_manifest(known, d("a"))

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Hold.REFERRED]
    assert links(explanation) == [("web", Link.NEIGHBOUR)]
    by_tag = explain_tag(known, "1.0")
    assert by_tag.decision is not None
    assert by_tag.manifest_decision is not None
    assert (by_tag.decision.deletes, by_tag.manifest_decision.deletes) == (True, False), "the tag is only untagged"


def test_used_signature_keeps_its_manifest() -> None:
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "sig")])
    explanation = explain_manifest(evidence(repository, use(signature_of("a"), name="verifier")), d("a"))

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Hold.REFERRED]
    assert links(explanation) == [("verifier", Link.NEIGHBOUR)]
    assert explanation.without_uses is not None
    assert explanation.without_uses.decision.deletes


def test_referrer_is_deleted_with_its_subject() -> None:
    known = evidence(inventory([tag("1.0", "a")], [image("a"), referrer("r", "a"), referrer("s", "r")]))
    explanation = explain_manifest(known, d("r"))

    assert explanation.decision is not None
    assert explanation.decision.deletes
    assert deleted_manifests(known.inventory, decide(known)) == {d("a"), d("r"), d("s")}


def test_referrer_is_kept_by_uses_of_its_subject() -> None:
    explanation = explain_manifest(
        evidence(inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")]), use("1.0")), d("r")
    )

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Rule.ATTACHED]
    assert links(explanation) == [("web", Link.NEIGHBOUR)]
    assert explanation.without_uses is not None
    assert explanation.without_uses.decision.deletes


def test_untagged_manifest_is_kept_as_untagged() -> None:
    explanation = explain_manifest(evidence(inventory([], [image("a")])), d("a"))

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Hold.UNTAGGED]


def test_missing_tag_and_digest_list_their_uses() -> None:
    known = evidence(inventory([tag("1.0", "a")]), use("9.9"), use(None, "gone", name="pinned"))

    missing = explain_tag(known, "9.9")
    assert (missing.exists, links(missing)) == (False, [("web", Link.NAME)])
    missing = explain_manifest(known, d("gone"))
    assert (missing.exists, links(missing)) == (False, [("pinned", Link.DIGEST)])


def test_explanation_of_a_tag_is_complete() -> None:
    repository = inventory(
        [tag("1.0", "i"), tag("1", "i"), tag(signature_of("i"), "s"), tag("arm", "x")],
        [index("i", ["x"]), index("top", ["i"]), index("all", ["i"]), image("x"), image("s"), referrer("r", "i")],
    )

    assert explain_tag(evidence(repository), "1.0") == Explanation(
        name="1.0",
        digest=d("i"),
        tag=tag("1.0", "i"),
        manifest=index("i", ["x"]),
        decision=ExplainedDecision(),
        manifest_decision=ExplainedDecision(
            (
                Reason(Hold.LISTED, f"the index {short(d('top'))} lists it and is kept"),
                Reason(Hold.LISTED, f"the index {short(d('all'))} lists it and is kept"),
                Reason(Hold.REFERRED, f"{short(d('r'))} is attached to it and is kept"),
                Reason(Hold.REFERRED, f"the tag {signature_of('i')} belongs to it and is kept"),
            )
        ),
        uses=(),
        without_uses=None,
        related=RelatedItems(
            tags=(tag("1", "i"), tag("1.0", "i")),
            parents=tuple(sorted([d("top"), d("all")])),
            children=(d("x"),),
            referrers=(d("r"), d("s")),
            subjects=(),
        ),
    )


def test_explanation_of_a_manifest_is_complete() -> None:
    """It lists each subject once: by the names of its tags, and by `subject`."""
    attached = structs.replace(referrer("s", "a"), size=7)
    repository = inventory(
        [tag("1.0", "a"), tag(signature_of("a"), "s"), tag(signature_of("b"), "s")], [image("a"), image("b"), attached]
    )
    decision = ExplainedDecision(
        (
            Reason(Hold.TAGGED, f"its tag {signature_of('a')} is kept"),
            Reason(Hold.TAGGED, f"its tag {signature_of('b')} is kept"),
        )
    )

    assert explain_manifest(evidence(repository), d("s")) == Explanation(
        name=d("s"),
        digest=d("s"),
        tag=None,
        manifest=attached,
        decision=decision,
        manifest_decision=decision,
        uses=(),
        without_uses=None,
        related=RelatedItems(
            tags=tuple(sorted([tag(signature_of("a"), "s"), tag(signature_of("b"), "s")], key=lambda tag: tag.name)),
            parents=(),
            children=(),
            referrers=(),
            subjects=(d("a"), d("b")),
        ),
    )


def test_unlisted_tagged_manifest_exists() -> None:
    repository = inventory([tag("1.0", "hidden")], [])
    explanation = explain_manifest(evidence(repository), d("hidden"))

    assert explanation.exists
    assert explanation.manifest is None
    assert explanation.related == RelatedItems((tag("1.0", "hidden"),), (), (), (), ())
    assert explain_tag(evidence(repository), "1.0").manifest is None


def test_deleted_manifests_include_referrers_without_a_step() -> None:
    """The registry deletes them together with their subject."""
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a"), referrer("s", "r"), image("b")])
    deletes = RepositoryPlan(repository.name, steps=(DeleteManifest(image("a")),))

    assert deleted_manifests(repository, deletes) == {d("a"), d("r"), d("s")}


def test_scope_all_includes_every_repository() -> None:
    known = evidence(inventory([tag("1.0", "a")]), policy=RetentionPolicy(scope=Scope.ALL), runs=False)

    assert eligible(known)
