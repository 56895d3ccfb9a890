"""What speaks for and against one tag or manifest, held to the decision itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.explanation import (
    NOTHING,
    Explanation,
    Fate,
    Link,
    LinkedUse,
    Surroundings,
    WithoutUses,
    decide,
    eligible,
    explain_manifest,
    explain_tag,
    going,
    without,
)
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import DeleteManifest, RepositoryPlan, plan_repository
from acr_cleanup.core.policy import Evidence, RetentionPolicy, Rule, Scope
from acr_cleanup.core.references import short
from acr_cleanup.core.removal import Hold, Reason
from acr_cleanup.core.usage import ClusterScan, ImageUse, UsageIndex
from tests.core.test_promises import DIGESTS, NAMES, after, inventories, some_uses
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, referrer, signature_of, tag, usage, use

OPEN = use(None, None, name="templated")


def evidence(
    repository: RepositoryInventory, *uses: ImageUse, policy: RetentionPolicy | None = None, runs: bool = True
) -> Evidence:
    used = usage(*uses, runs=runs)
    return Evidence(repository.used_by(used.digests(repository.name)), used, policy or RetentionPolicy(), NOW)


def links(found: object) -> list[tuple[str, Link]]:
    return [(each.use.workload.name, each.link) for each in found.uses]  # type: ignore[attr-defined]


def uses_and_open() -> st.SearchStrategy[list[ImageUse]]:
    return st.builds(lambda uses, more: [*uses, *more], some_uses(), st.sampled_from([[], [], [OPEN]]))


def kind(repository: RepositoryInventory) -> RepositoryInventory:
    """The same with nothing young, locked or unreadable, so that much of it goes."""
    old = NOW - timedelta(days=100)
    manifests = {
        digest: replace(manifest, known=True, locked=False, updated_at=old)
        for digest, manifest in repository.manifests.items()
    }
    tags = tuple(
        replace(each, locked=False, updated_at=old) for each in repository.tags if each.digest in repository.manifests
    )
    return RepositoryInventory(repository.name, tags, manifests)


def worlds() -> st.SearchStrategy[RepositoryInventory]:
    return st.one_of(inventories(), inventories().map(kind))


# -- laws -----------------------------------------------------------------------------------------------------


@given(worlds(), uses_and_open(), st.booleans())
@settings(max_examples=100)
def test_what_a_tag_would_be_without_its_uses_is_what_a_plan_without_them_says(
    repository: RepositoryInventory, uses: list[ImageUse], runs: bool
) -> None:
    """Decided from nothing but an index that never knew these uses."""
    asked = evidence(repository, *uses, runs=runs)
    for each in repository.tags:
        found = explain_tag(asked, each.name)
        planned = {one.tag.name: one for one in decide(asked).decisions}[each.name]
        assert found.fate is not None
        assert found.fate.goes == planned.deletes
        assert [reason.rule for reason in found.fate.reasons] == [reason.rule for reason in planned.reasons]
        used = {use for reason in planned.reasons for use in reason.uses}
        assert used <= {linked.use for linked in found.uses}
        if found.without_uses is None:
            assert found.fate.goes or not found.uses
            continue

        gone = {linked.use for linked in found.uses}
        rest = tuple(each for each in asked.usage.scans[0].uses if each not in gone)
        other = UsageIndex.of([ClusterScan("production", rest)], NOW)
        plan = plan_repository(repository.used_by(other.digests(repository.name)), other, asked.policy, NOW)
        assert found.without_uses.fate.goes == {one.tag.name: one.deletes for one in plan.decisions}[each.name]


@given(worlds(), uses_and_open(), st.booleans())
@settings(max_examples=100)
def test_a_manifest_goes_when_the_plan_carried_out_leaves_it_no_longer(
    repository: RepositoryInventory, uses: list[ImageUse], runs: bool
) -> None:
    """And what stays, stays for a reason that can be told."""
    asked = evidence(repository, *uses, runs=runs)
    plan = decide(asked)
    left = after(repository, plan)
    assert going(repository, plan) == repository.manifests.keys() - left.manifests.keys()
    for digest in repository.manifests:
        found = explain_manifest(asked, digest)
        assert found.fate is not None
        assert found.fate.goes == (digest not in left.manifests)


@given(worlds(), uses_and_open())
@settings(max_examples=100)
def test_no_use_that_matters_to_a_manifest_is_left_untold(
    repository: RepositoryInventory, uses: list[ImageUse]
) -> None:
    """If taking all uses away lets it go, then so does taking away those that were told."""
    asked = evidence(repository, *uses)
    ours = [each for each in asked.usage.scans[0].uses if each.workload.name != "unrelated"]
    nobody = without(asked, ours)
    gone = going(nobody.inventory, decide(nobody))
    for digest in repository.manifests:
        found = explain_manifest(asked, digest)
        if found.without_uses is not None and digest in gone:
            assert found.without_uses.fate.goes
        if found.fate is not None and not found.fate.goes and not found.uses:
            assert digest not in gone


@given(worlds(), uses_and_open())
@settings(max_examples=100)
def test_any_use_of_a_tag_alone_keeps_it(repository: RepositoryInventory, uses: list[ImageUse]) -> None:
    asked = evidence(repository, *uses)
    for each in repository.tags:
        found = explain_tag(asked, each.name)
        if found.without_uses is not None and found.fate and found.fate.reasons[0].rule is Rule.IN_USE:
            assert found.without_uses.each_alone


@given(worlds(), uses_and_open(), st.sampled_from([*NAMES, "9.9"]), st.sampled_from([*DIGESTS, d(99)]))
@settings(max_examples=100)
def test_whatever_is_asked_is_answered(
    repository: RepositoryInventory, uses: list[ImageUse], name: str, digest: str
) -> None:
    asked = evidence(repository, *uses)
    assert explain_tag(asked, name).exists == (name in {each.name for each in repository.tags})
    named = {each.digest for each in repository.tags}
    assert explain_manifest(asked, digest).exists == (digest in repository.manifests or digest in named)  # type: ignore[arg-type]


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
            OPEN,
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
    assert found.without_uses.fate.goes
    assert found.without_uses.each_alone


def test_a_young_tag_stays_without_its_uses() -> None:
    found = explain_tag(evidence(inventory([tag("1.0", "a", days=3)]), use("1.0")), "1.0")

    assert found.without_uses is not None
    assert [reason.rule for reason in found.without_uses.fate.reasons] == [Rule.YOUNG]


def test_without_the_one_that_runs_it_a_repository_is_out_of_scope() -> None:
    found = explain_tag(evidence(inventory([tag("1.0", "a")]), use("1.0"), runs=False), "1.0")

    assert found.without_uses is not None
    assert [reason.rule for reason in found.without_uses.fate.reasons] == [Rule.OUT_OF_SCOPE]
    assert found.without_uses.in_scope is not None
    assert found.without_uses.in_scope.goes, "and as soon as something else of it runs, it goes"


def test_a_tag_that_nobody_uses_has_no_other_fate() -> None:
    found = explain_tag(evidence(inventory([tag("1.0", "a")])), "1.0")

    assert found.fate is not None
    assert found.fate.goes
    assert (found.uses, found.without_uses) == ((), None)


def test_a_signature_is_explained_by_who_uses_what_it_signs() -> None:
    name = d("a").replace(":", "-") + ".sig"
    asked = evidence(inventory([tag("1.0", "a"), tag(name, "sig")]), use("1.0", name="web"))
    found = explain_tag(asked, name)

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Rule.ATTACHED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    assert found.around.subjects == (d("a"),)
    assert links(explain_manifest(asked, d("sig"))) == [("web", Link.NEIGHBOUR)]
    assert found.without_uses is not None
    assert found.without_uses.fate.goes


def test_what_signs_a_manifest_is_around_it() -> None:
    name = d("a").replace(":", "-") + ".sig"
    repository = inventory(
        [tag("1.0", "a"), tag("1", "a"), tag(name, "sig")], [image("a"), image("sig"), referrer("r", "a")]
    )
    found = explain_tag(evidence(repository), "1.0")

    assert [each.name for each in found.around.tags] == ["1", "1.0"]
    assert found.around.referrers == (d("r"), d("sig"))


def test_the_child_of_an_index_in_use_stays_because_of_the_index() -> None:
    repository = inventory([tag("multi", "index")], [index("index", ["amd"]), image("amd")])
    found = explain_manifest(evidence(repository, use("multi")), d("amd"))

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Hold.LISTED]
    assert links(found) == [("web", Link.FAMILY)]
    assert found.without_uses is not None
    assert found.without_uses.fate.goes


def test_what_is_attached_and_used_keeps_what_it_is_attached_to() -> None:
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")])
    asked = evidence(repository, use(None, "r"))
    found = explain_manifest(asked, d("a"))

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Hold.REFERRED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    by_tag = explain_tag(asked, "1.0")
    assert by_tag.fate is not None
    assert by_tag.manifest_fate is not None
    assert (by_tag.fate.goes, by_tag.manifest_fate.goes) == (True, False), "the tag goes by name only"


def test_who_uses_a_signature_keeps_what_it_signs_and_is_told() -> None:
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "sig")])
    found = explain_manifest(evidence(repository, use(signature_of("a"), name="verifier")), d("a"))

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Hold.REFERRED]
    assert links(found) == [("verifier", Link.NEIGHBOUR)]
    assert found.without_uses is not None
    assert found.without_uses.fate.goes


def test_what_is_attached_goes_with_its_subject() -> None:
    asked = evidence(inventory([tag("1.0", "a")], [image("a"), referrer("r", "a"), referrer("s", "r")]))
    found = explain_manifest(asked, d("r"))

    assert found.fate is not None
    assert found.fate.goes
    assert going(asked.inventory, decide(asked)) == {d("a"), d("r"), d("s")}


def test_what_is_attached_stays_because_of_who_uses_its_subject() -> None:
    found = explain_manifest(
        evidence(inventory([tag("1.0", "a")], [image("a"), referrer("r", "a")]), use("1.0")), d("r")
    )

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Rule.ATTACHED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    assert found.without_uses is not None
    assert found.without_uses.fate.goes


def test_an_untagged_manifest_is_left_alone() -> None:
    found = explain_manifest(evidence(inventory([], [image("a")])), d("a"))

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Hold.UNTAGGED]


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

    assert found.manifest_fate is not None
    assert Rule.UNKNOWN_MANIFEST in {reason.rule for reason in found.manifest_fate.reasons}
    asked = evidence(inventory([tag("1.0", "a")], [image("a"), ghost]), use(None, "r"))
    assert not asked.inventory.unknown.isdisjoint({d("r")})
    assert not without(asked, [use(None, "r")]).inventory.unknown


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
        fate=Fate(),
        manifest_fate=Fate(
            (
                Reason(Hold.LISTED, f"the index {short(d('top'))} lists it, and stays"),
                Reason(Hold.LISTED, f"the index {short(d('all'))} lists it, and stays"),
                Reason(Hold.REFERRED, f"{short(d('r'))} is attached to it, and stays"),
                Reason(Hold.REFERRED, f"the tag {signature_of('i')} belongs to it, and stays"),
            )
        ),
        uses=(),
        without_uses=None,
        around=Surroundings(
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
    fate = Fate(
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
        fate=fate,
        manifest_fate=fate,
        uses=(),
        without_uses=None,
        around=Surroundings(
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
        "9.9", None, None, None, None, None, (LinkedUse(use("9.9"), Link.NAME),), None, NOTHING
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
        NOTHING,
    )


def test_a_manifest_that_only_a_tag_names_is_there() -> None:
    repository = inventory([tag("1.0", "hidden")], [])
    found = explain_manifest(evidence(repository), d("hidden"))

    assert found.exists
    assert found.manifest is None
    assert found.around == Surroundings((tag("1.0", "hidden"),), (), (), (), ())
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
        OPEN,
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
        OPEN,
    ]
    assert [each.link for each in found.uses] == [*[Link.NAME] * 6, Link.DIGEST, Link.OPEN]


def test_whether_each_use_alone_would_keep_it_is_asked_of_each() -> None:
    named, elsewhere = use("1.0", name="named"), use("2.0", name="elsewhere")
    repository = inventory([tag("1.0", "a"), tag("2.0", "a")])

    both = explain_manifest(evidence(repository, named, elsewhere), d("a"))
    assert both.without_uses == WithoutUses(Fate(), None, each_alone=True)
    young = explain_tag(evidence(inventory([tag("1.0", "a", days=1)]), named), "1.0")
    assert young.without_uses == WithoutUses(
        Fate((Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago"),)), None, each_alone=True
    )
    siblings = inventory([tag("1.0", "a"), tag("other", "b")], [image("a"), index("i", ["a", "b"]), image("b")])
    found = explain_tag(evidence(siblings, use("1.0", name="named"), use(None, "b", name="child")), "1.0")
    assert found.without_uses == WithoutUses(Fate(), None, each_alone=True)


def test_a_use_of_something_near_need_not_keep_it_alone() -> None:
    """Another name of its signature keeps that, and not what it signs."""
    repository = inventory([tag("1.0", "a"), tag(signature_of("a"), "s"), tag("other", "s")])
    uses = (use("1.0", name="named"), use(None, "a", name="pinned"), use("other", name="near"))
    found = explain_manifest(evidence(repository, *uses), d("a"))

    assert links(found) == [("named", Link.NAME), ("pinned", Link.DIGEST), ("near", Link.NEIGHBOUR)]
    assert found.without_uses == WithoutUses(Fate(), None, each_alone=False)


def test_a_repository_that_only_its_uses_bring_into_scope_would_lose_it_as_soon_as_anything_runs() -> None:
    asked = evidence(inventory([tag("1.0", "a", days=1), tag("2.0", "b")]), use("1.0"), use("2.0"), runs=False)

    found = explain_tag(asked, "2.0")
    assert found.without_uses is not None
    assert found.without_uses.in_scope is None, "the other use still runs"
    alone = evidence(inventory([tag("1.0", "a", days=1)]), use("1.0"), runs=False)
    young = Reason(Rule.YOUNG, "pushed 2026-11-22, less than 30d ago")
    out = Reason(Rule.OUT_OF_SCOPE, "its repository is not running in any configured cluster")
    assert explain_tag(alone, "1.0").without_uses == WithoutUses(Fate((out, young)), Fate((young,)), each_alone=True)
    assert (eligible(asked), eligible(without(asked, asked.usage.scans[0].uses))) == (True, False)


def test_without_a_use_nothing_else_is_forgotten() -> None:
    other = replace(use("1.0"), reference=replace(use("1.0").reference, repository="shop/api"))
    asked = evidence(inventory([tag("1.0", "a")]), use("1.0"), use("2.0", "b", name="stays"), other)

    found = without(asked, [use("1.0")])

    assert [each.workload.name for scan in found.usage.scans for each in scan.uses] == ["stays", "unrelated"]
    assert (found.policy, found.now, found.usage.read_at) == (asked.policy, asked.now, asked.usage.read_at)
    assert found.inventory.used == {d("b")}


def test_a_tag_of_what_is_attached_is_explained_by_who_uses_its_subject() -> None:
    """Of an image that is attached by the `subject` of its manifest, and not by its name."""
    repository = inventory([tag("1.0", "a"), tag("sbom", "r")], [image("a"), referrer("r", "a")])
    found = explain_tag(evidence(repository, use("1.0", name="web")), "sbom")

    assert found.fate is not None
    assert [reason.rule for reason in found.fate.reasons] == [Rule.ATTACHED]
    assert links(found) == [("web", Link.NEIGHBOUR)]
    assert found.around.subjects == (d("a"),)


def test_what_is_attached_goes_with_its_subject_be_it_a_step_or_not() -> None:
    """The registry does not ask."""
    repository = inventory([tag("1.0", "a")], [image("a"), referrer("r", "a"), referrer("s", "r"), image("b")])
    deletes = RepositoryPlan(repository.name, steps=(DeleteManifest(image("a")),))

    assert going(repository, deletes) == {d("a"), d("r"), d("s")}


def test_a_use_of_something_far_away_is_told_where_it_keeps() -> None:
    """An index lists what is attached to the manifest."""
    repository = inventory([tag("1.0", "a"), tag("j", "j")], [image("a"), referrer("r", "a"), index("j", ["r"])])
    found = explain_manifest(evidence(repository, use("j", name="far"), OPEN), d("a"))

    assert links(found) == [("far", Link.NEIGHBOUR), ("templated", Link.OPEN)]


def test_every_repository_is_in_the_scope_of_all() -> None:
    asked = evidence(inventory([tag("1.0", "a")]), policy=RetentionPolicy(scope=Scope.ALL), runs=False)

    assert eligible(asked)
