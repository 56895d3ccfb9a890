"""The uses of one tag or manifest, and the decision without them."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from acr_cleanup.core.explanation import (
    ExplainedDecision,
    Explanation,
    Link,
    LinkedUse,
    RelatedItems,
    WithoutUses,
    eligible,
    excluding_uses,
    explain_manifest,
    explain_tag,
)
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import OPEN_USE
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, signature_of, tag, usage, use


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy | None = None, runs: bool = True
) -> Evidence:
    used = usage(*uses, runs=runs)
    return Evidence(repository.used_by(used.digests(repository.name)), used, policy or RetentionPolicy(), NOW)


def links(explanation: Explanation) -> list[tuple[str, Link]]:
    return [(linked.use.workload.name, linked.link) for linked in explanation.uses]


def test_missing_item_has_only_its_uses() -> None:
    known = evidence(inventory([tag("1.0", "a")]), use("9.9"), use(None, "gone", name="pinned"))

    assert explain_tag(known, "9.9") == Explanation(
        "9.9", None, None, None, None, None, (LinkedUse(use("9.9"), Link.NAME),), None, RelatedItems()
    )
    assert explain_manifest(known, d("gone")) == Explanation(
        d("gone"),
        d("gone"),
        None,
        None,
        None,
        None,
        (LinkedUse(use(None, "gone", name="pinned"), Link.DIGEST),),
        None,
        RelatedItems(),
    )


def test_uses_are_unique_and_sorted() -> None:
    """The most direct links come first, then the order of workload, container and field."""
    one = use("1.0", "a", name="b")
    uses = [
        use(None, "a", name="a"),
        one,
        replace(one, field="spec.z"),
        replace(one, container="other"),
        replace(one, workload=replace(one.workload, cluster="a-cluster")),
        replace(one, text="another text"),
        replace(one, running=False),
        OPEN_USE,
    ]
    explanation = explain_tag(evidence(inventory([tag("1.0", "a")]), *reversed(uses), one), "1.0")

    assert [linked.use for linked in explanation.uses] == [
        replace(one, workload=replace(one.workload, cluster="a-cluster")),
        replace(one, text="another text"),
        replace(one, running=False),
        one,
        replace(one, field="spec.z"),
        replace(one, container="other"),
        use(None, "a", name="a"),
        OPEN_USE,
    ]
    assert [linked.link for linked in explanation.uses] == [*[Link.NAME] * 6, Link.DIGEST, Link.OPEN]


def test_each_use_alone_is_decided_separately() -> None:
    named, elsewhere = use("1.0", name="named"), use("2.0", name="elsewhere")
    repository = inventory([tag("1.0", "a"), tag("2.0", "a")])

    both = explain_manifest(evidence(repository, named, elsewhere), d("a"))
    assert both.without_uses == WithoutUses(ExplainedDecision(), None, each_alone=True)
    young = explain_tag(evidence(inventory([tag("1.0", "a", days=1)]), named), "1.0")
    assert young.without_uses == WithoutUses(
        ExplainedDecision((Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago"),)), None, each_alone=True
    )
    siblings = inventory([tag("1.0", "a"), tag("other", "b")], [image("a"), index("i", ["a", "b"]), image("b")])
    explanation = explain_tag(evidence(siblings, use("1.0", name="named"), use(None, "b", name="child")), "1.0")
    assert explanation.without_uses == WithoutUses(ExplainedDecision(), None, each_alone=True)


def test_neighbour_use_need_not_keep_it_alone() -> None:
    """Another tag of its signature keeps the signature's manifest, not the signed one."""
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "s"), tag("other", "s")])
    uses = (use("1.0", name="named"), use(None, "a", name="pinned"), use("other", name="near"))
    explanation = explain_manifest(evidence(repository, *uses), d("a"))

    assert links(explanation) == [("named", Link.NAME), ("pinned", Link.DIGEST), ("near", Link.NEIGHBOUR)]
    assert explanation.without_uses == WithoutUses(ExplainedDecision(), None, each_alone=False)


def test_decision_in_scope_ignores_the_missing_scope() -> None:
    """Its own use is the only one that brings the repository into scope."""
    known = evidence(inventory([tag("1.0", "a", days=1), tag("2.0", "b")]), use("1.0"), use("2.0"), runs=False)

    explanation = explain_tag(known, "2.0")
    assert explanation.without_uses is not None
    assert explanation.without_uses.in_scope is None, "the other use still runs"
    alone = evidence(inventory([tag("1.0", "a", days=1)]), use("1.0"), runs=False)
    young = Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")
    out = Reason(Rule.OUT_OF_SCOPE, "its repository is not running in any configured cluster")
    assert explain_tag(alone, "1.0").without_uses == WithoutUses(
        ExplainedDecision((out, young)), ExplainedDecision((young,)), each_alone=True
    )
    assert (eligible(known), eligible(excluding_uses(known, known.usage.scans[0].uses))) == (True, False)


def test_excluding_a_use_keeps_all_other_evidence() -> None:
    other = replace(use("1.0"), reference=replace(use("1.0").reference, repository="shop/api"))
    known = evidence(inventory([tag("1.0", "a")]), use("1.0"), use("2.0", "b", name="other"), other)

    explanation = excluding_uses(known, [use("1.0")])

    assert [use.workload.name for scan in explanation.usage.scans for use in scan.uses] == ["other", "unrelated"]
    assert (explanation.policy, explanation.now, explanation.usage.read_at) == (
        known.policy,
        known.now,
        known.usage.read_at,
    )
    assert explanation.inventory.used == {d("b")}


def test_tag_of_a_referrer_lists_uses_of_its_subject() -> None:
    """The tag is attached by the `subject` of its manifest, not by its name."""
    repository = inventory([tag("1.0", "a"), tag("sbom", "r")], [image("a"), referrer("r", "a")])
    explanation = explain_tag(evidence(repository, use("1.0", name="web")), "sbom")

    assert explanation.decision is not None
    assert [reason.rule for reason in explanation.decision.reasons] == [Rule.ATTACHED]
    assert links(explanation) == [("web", Link.NEIGHBOUR)]
    assert explanation.related.subjects == (d("a"),)


def test_use_of_a_distant_relative_is_listed() -> None:
    """An index lists a referrer of the manifest."""
    repository = inventory([tag("1.0", "a"), tag("j", "j")], [image("a"), referrer("r", "a"), index("j", ["r"])])
    explanation = explain_manifest(evidence(repository, use("j", name="far"), OPEN_USE), d("a"))

    assert links(explanation) == [("far", Link.NEIGHBOUR), ("templated", Link.OPEN)]


def test_unreadable_artifact_does_not_count_without_its_use() -> None:
    """It was read because of the use. Without it, it would be unread, not unreadable."""
    ghost = structs.replace(referrer("r", "a"), known=False, subject=None)
    explanation = explain_tag(
        evidence(inventory([tag("1.0", "a")], [image("a"), ghost]), use("1.0"), use(None, "r")), "1.0"
    )

    assert explanation.manifest_decision is not None
    assert Rule.UNKNOWN_MANIFEST in {reason.rule for reason in explanation.manifest_decision.reasons}
    known = evidence(inventory([tag("1.0", "a")], [image("a"), ghost]), use(None, "r"))
    assert not known.inventory.unknown.isdisjoint({d("r")})
    assert not excluding_uses(known, [use(None, "r")]).inventory.unknown


def test_uses_of_a_tag_have_their_links() -> None:
    repository = inventory(
        [tag("multi", "index"), tag("arm", "arm"), tag("other", "x")],
        [index("index", ["amd", "arm"]), image("amd"), image("arm"), image("x")],
    )
    explanation = explain_tag(
        evidence(
            repository,
            use("multi", name="named"),
            use(None, "index", name="pinned"),
            use(None, "amd", name="child"),
            use("other", name="elsewhere"),
            OPEN_USE,
        ),
        "multi",
    )

    assert links(explanation) == [
        ("named", Link.NAME),
        ("pinned", Link.DIGEST),
        ("child", Link.FAMILY),
        ("templated", Link.OPEN),
    ]
    assert explanation.without_uses is not None
    assert explanation.without_uses.decision.deletes
    assert explanation.without_uses.each_alone
