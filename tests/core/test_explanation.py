"""What speaks for and against one tag or manifest, held to the decision itself."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.core.explanation import (
    ExplainedDecision,
    Explanation,
    Link,
    LinkedUse,
    RelatedItems,
    WithoutUses,
    decide,
    deleted_manifests,
    eligible,
    excluding_uses,
    explain_manifest,
    explain_tag,
)
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Evidence, RetentionPolicy, Rule, Scope
from acr_cleanup.core.references import short
from acr_cleanup.core.removal import Hold, Reason
from acr_cleanup.core.steps import DeleteManifest
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import OPEN_USE
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, signature_of, tag, usage, use


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy | None = None, runs: bool = True
) -> Evidence:
    used = usage(*uses, runs=runs)
    return Evidence(repository.used_by(used.digests(repository.name)), used, policy or RetentionPolicy(), NOW)


def links(found: object) -> list[tuple[str, Link]]:
    return [(each.use.workload.name, each.link) for each in found.uses]  # type: ignore[attr-defined]


# -- cases ----------------------------------------------------------------------------------------------------


def test_uses_of_a_tag_are_told_with_how_they_lead_to_it() -> None:
    repository = inventory(
        [tag("multi", "index"), tag("arm", "arm"), tag("other", "x")],
        [index("index", ["amd", "arm"]), image("amd"), image("arm"), image("x")],
    )
    found = explain_tag(
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

    assert links(found) == [
        ("named", Link.NAME),
        ("pinned", Link.DIGEST),
        ("child", Link.FAMILY),
        ("templated", Link.OPEN),
    ]
    assert found.without_uses is not None
    assert found.without_uses.decision.deletes
    assert found.without_uses.each_alone


def test_a_young_tag_stays_without_its_uses() -> None:
    found = explain_tag(evidence(inventory([tag("1.0", "a", days=3)]), use("1.0")), "1.0")

    assert found.without_uses is not None
    assert [reason.rule for reason in found.without_uses.decision.reasons] == [Rule.YOUNG]


def test_without_the_one_that_runs_it_a_repository_is_out_of_scope() -> None:
    found = explain_tag(evidence(inventory([tag("1.0", "a")]), use("1.0"), runs=False), "1.0")

    assert found.without_uses is not None
    assert [reason.rule for reason in found.without_uses.decision.reasons] == [Rule.OUT_OF_SCOPE]
    assert found.without_uses.in_scope is not None
    assert found.without_uses.in_scope.deletes, "and as soon as something else of it runs, it goes"


def test_a_tag_that_nobody_uses_has_no_other_fate() -> None:
    found = explain_tag(evidence(inventory([tag("1.0", "a")])), "1.0")

    assert found.decision is not None
    assert found.decision.deletes
    assert (found.uses, found.without_uses) == ((), None)


def test_a_signature_is_explained_by_who_uses_what_it_signs() -> None:
    name = d("a").replace(":", "-") + ".sig"
    asked = evidence(inventory([tag("1.0", "a"), tag(name, "sig")]), use("1.0", name="web"))
    found = explain_tag(asked, name)

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Rule.ATTACHED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    assert found.related.subjects == (d("a"),)
    assert links(explain_manifest(asked, d("sig"))) == [("web", Link.NEIGHBOUR)]
    assert found.without_uses is not None
    assert found.without_uses.decision.deletes


def test_what_signs_a_manifest_is_around_it() -> None:
    name = d("a").replace(":", "-") + ".sig"
    repository = inventory(
        [tag("1.0", "a"), tag("1", "a"), tag(name, "sig")], [image("a"), image("sig"), referrer("r", "a")]
    )
    found = explain_tag(evidence(repository), "1.0")

    assert [each.name for each in found.related.tags] == ["1", "1.0"]
    assert found.related.referrers == (d("r"), d("sig"))


def test_the_child_of_an_index_in_use_stays_because_of_the_index() -> None:
    repository = inventory([tag("multi", "index")], [index("index", ["amd"]), image("amd")])
    found = explain_manifest(evidence(repository, use("multi")), d("amd"))

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Hold.LISTED]
    assert links(found) == [("web", Link.FAMILY)]
    assert found.without_uses is not None
    assert found.without_uses.decision.deletes


def test_what_is_attached_and_used_keeps_what_it_is_attached_to() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])
    asked = evidence(repository, use(None, "r"))
    found = explain_manifest(asked, d("a"))

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Hold.REFERRED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    by_tag = explain_tag(asked, "1.0")
    assert by_tag.decision is not None
    assert by_tag.manifest_decision is not None
    assert (by_tag.decision.deletes, by_tag.manifest_decision.deletes) == (True, False), "the tag goes by name only"


def test_who_uses_a_signature_keeps_what_it_signs_and_is_told() -> None:
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "sig")])
    found = explain_manifest(evidence(repository, use(signature_of("a"), name="verifier")), d("a"))

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Hold.REFERRED]
    assert links(found) == [("verifier", Link.NEIGHBOUR)]
    assert found.without_uses is not None
    assert found.without_uses.decision.deletes


def test_what_is_attached_goes_with_its_subject() -> None:
    asked = evidence(inventory([tag("1.0", "a")], [image("a"), referrer("r", "a"), referrer("s", "r")]))
    found = explain_manifest(asked, d("r"))

    assert found.decision is not None
    assert found.decision.deletes
    assert deleted_manifests(asked.inventory, decide(asked)) == {d("a"), d("r"), d("s")}


def test_what_is_attached_stays_because_of_who_uses_its_subject() -> None:
    found = explain_manifest(
        evidence(inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")]), use("1.0")), d("r")
    )

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Rule.ATTACHED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    assert found.without_uses is not None
    assert found.without_uses.decision.deletes


def test_an_untagged_manifest_is_left_alone() -> None:
    found = explain_manifest(evidence(inventory([], [image("a")])), d("a"))

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Hold.UNTAGGED]


def test_what_is_used_and_not_there_is_explained_all_the_same() -> None:
    asked = evidence(inventory([tag("1.0", "a")]), use("9.9"), use(None, "gone", name="pinned"))

    missing = explain_tag(asked, "9.9")
    assert (missing.exists, links(missing)) == (False, [("web", Link.NAME)])
    missing = explain_manifest(asked, d("gone"))
    assert (missing.exists, links(missing)) == (False, [("pinned", Link.DIGEST)])


def test_a_use_that_made_something_be_read_is_forgotten_with_it() -> None:
    """Without its use an artifact that cannot be read would not have been tried: it holds nothing."""
    ghost = replace(referrer("r", "a"), known=False, subject=None)
    found = explain_tag(evidence(inventory([tag("1.0", "a")], [image("a"), ghost]), use("1.0"), use(None, "r")), "1.0")

    assert found.manifest_decision is not None
    assert Rule.UNKNOWN_MANIFEST in {reason.rule for reason in found.manifest_decision.reasons}
    asked = evidence(inventory([tag("1.0", "a")], [image("a"), ghost]), use(None, "r"))
    assert not asked.inventory.unknown.isdisjoint({d("r")})
    assert not excluding_uses(asked, [use(None, "r")]).inventory.unknown


# -- every word ---------------------------------------------------------------------------------------------------


def test_all_about_a_tag_is_told() -> None:
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


def test_all_about_a_manifest_is_told() -> None:
    """What it is attached to, by the names of its tags and by its subject, each once."""
    attached = replace(referrer("s", "a"), size=7)
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
            tags=tuple(sorted([tag(signature_of("a"), "s"), tag(signature_of("b"), "s")], key=lambda each: each.name)),
            parents=(),
            children=(),
            referrers=(),
            subjects=(d("a"), d("b")),
        ),
    )


def test_of_what_is_not_there_no_more_is_told_than_who_names_it() -> None:
    asked = evidence(inventory([tag("1.0", "a")]), use("9.9"), use(None, "gone", name="pinned"))

    assert explain_tag(asked, "9.9") == Explanation(
        "9.9", None, None, None, None, None, (LinkedUse(use("9.9"), Link.NAME),), None, RelatedItems()
    )
    assert explain_manifest(asked, d("gone")) == Explanation(
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


def test_a_manifest_that_only_a_tag_names_is_there() -> None:
    repository = inventory([tag("1.0", "hidden")], [])
    found = explain_manifest(evidence(repository), d("hidden"))

    assert found.exists
    assert found.manifest is None
    assert found.related == RelatedItems((tag("1.0", "hidden"),), (), (), (), ())
    assert explain_tag(evidence(repository), "1.0").manifest is None


def test_uses_are_told_once_the_most_direct_first_and_then_by_who_and_where() -> None:
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
    found = explain_tag(evidence(inventory([tag("1.0", "a")]), *reversed(uses), one), "1.0")

    assert [each.use for each in found.uses] == [
        replace(one, workload=replace(one.workload, cluster="a-cluster")),
        replace(one, text="another text"),
        replace(one, running=False),
        one,
        replace(one, field="spec.z"),
        replace(one, container="other"),
        use(None, "a", name="a"),
        OPEN_USE,
    ]
    assert [each.link for each in found.uses] == [*[Link.NAME] * 6, Link.DIGEST, Link.OPEN]


def test_whether_each_use_alone_would_keep_it_is_asked_of_each() -> None:
    named, elsewhere = use("1.0", name="named"), use("2.0", name="elsewhere")
    repository = inventory([tag("1.0", "a"), tag("2.0", "a")])

    both = explain_manifest(evidence(repository, named, elsewhere), d("a"))
    assert both.without_uses == WithoutUses(ExplainedDecision(), None, each_alone=True)
    young = explain_tag(evidence(inventory([tag("1.0", "a", days=1)]), named), "1.0")
    assert young.without_uses == WithoutUses(
        ExplainedDecision((Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago"),)), None, each_alone=True
    )
    siblings = inventory([tag("1.0", "a"), tag("other", "b")], [image("a"), index("i", ["a", "b"]), image("b")])
    found = explain_tag(evidence(siblings, use("1.0", name="named"), use(None, "b", name="child")), "1.0")
    assert found.without_uses == WithoutUses(ExplainedDecision(), None, each_alone=True)


def test_a_use_of_something_near_need_not_keep_it_alone() -> None:
    """Another name of its signature keeps that, and not what it signs."""
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "s"), tag("other", "s")])
    uses = (use("1.0", name="named"), use(None, "a", name="pinned"), use("other", name="near"))
    found = explain_manifest(evidence(repository, *uses), d("a"))

    assert links(found) == [("named", Link.NAME), ("pinned", Link.DIGEST), ("near", Link.NEIGHBOUR)]
    assert found.without_uses == WithoutUses(ExplainedDecision(), None, each_alone=False)


def test_a_repository_that_only_its_uses_bring_into_scope_would_lose_it_as_soon_as_anything_runs() -> None:
    asked = evidence(inventory([tag("1.0", "a", days=1), tag("2.0", "b")]), use("1.0"), use("2.0"), runs=False)

    found = explain_tag(asked, "2.0")
    assert found.without_uses is not None
    assert found.without_uses.in_scope is None, "the other use still runs"
    alone = evidence(inventory([tag("1.0", "a", days=1)]), use("1.0"), runs=False)
    young = Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")
    out = Reason(Rule.OUT_OF_SCOPE, "its repository is not running in any configured cluster")
    assert explain_tag(alone, "1.0").without_uses == WithoutUses(
        ExplainedDecision((out, young)), ExplainedDecision((young,)), each_alone=True
    )
    assert (eligible(asked), eligible(excluding_uses(asked, asked.usage.scans[0].uses))) == (True, False)


def test_without_a_use_nothing_else_is_forgotten() -> None:
    other = replace(use("1.0"), reference=replace(use("1.0").reference, repository="shop/api"))
    asked = evidence(inventory([tag("1.0", "a")]), use("1.0"), use("2.0", "b", name="stays"), other)

    found = excluding_uses(asked, [use("1.0")])

    assert [each.workload.name for scan in found.usage.scans for each in scan.uses] == ["stays", "unrelated"]
    assert (found.policy, found.now, found.usage.read_at) == (asked.policy, asked.now, asked.usage.read_at)
    assert found.inventory.used == {d("b")}


def test_a_tag_of_what_is_attached_is_explained_by_who_uses_its_subject() -> None:
    """Of an image that is attached by the `subject` of its manifest, and not by its name."""
    repository = inventory([tag("1.0", "a"), tag("sbom", "r")], [image("a"), referrer("r", "a")])
    found = explain_tag(evidence(repository, use("1.0", name="web")), "sbom")

    assert found.decision is not None
    assert [reason.rule for reason in found.decision.reasons] == [Rule.ATTACHED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    assert found.related.subjects == (d("a"),)


def test_what_is_attached_goes_with_its_subject_be_it_a_step_or_not() -> None:
    """The registry does not ask."""
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a"), referrer("s", "r"), image("b")])
    deletes = RepositoryPlan(repository.name, steps=(DeleteManifest(image("a")),))

    assert deleted_manifests(repository, deletes) == {d("a"), d("r"), d("s")}


def test_a_use_of_something_far_away_is_told_where_it_keeps() -> None:
    """An index lists what is attached to the manifest."""
    repository = inventory([tag("1.0", "a"), tag("j", "j")], [image("a"), referrer("r", "a"), index("j", ["r"])])
    found = explain_manifest(evidence(repository, use("j", name="far"), OPEN_USE), d("a"))

    assert links(found) == [("far", Link.NEIGHBOUR), ("templated", Link.OPEN)]


def test_every_repository_is_in_the_scope_of_all() -> None:
    asked = evidence(inventory([tag("1.0", "a")]), policy=RetentionPolicy(scope=Scope.ALL), runs=False)

    assert eligible(asked)
