"""Mentions: what they keep, how they read, and how those of several clusters are joined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from acr_cleanup.core.explanation import explain_manifest, explain_tag
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.mentions import (
    MOST_SHOWN,
    NO_MENTIONS,
    How,
    ListedNames,
    Mention,
    NoMentions,
    RepositoryMentions,
    merged,
)
from acr_cleanup.core.named import digests_in_use
from acr_cleanup.core.policy import Evidence, KeepReason, Rule, keep_reasons
from acr_cleanup.core.removal import Reason, reasons_to_keep
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ClusterScan, Outside, Puller, UsageIndex
from acr_cleanup.core.workload import Workload
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, index, inventory, tag, use

CONFIG = Workload("production", "shop", "ConfigMap", "settings")


def mention(how: How, word: str = "1.0", place: str = "data.image") -> Mention:
    return Mention(CONFIG, place, REPOSITORY, word, how)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (mention(How.BESIDE), "ConfigMap production/shop/settings names shop/web and 1.0 (data.image)"),
        (mention(How.NEAR, place=""), "ConfigMap production/shop/settings names shop/web and 1.0"),
        (
            mention(How.OPEN, ""),
            "ConfigMap production/shop/settings names shop/web, but not which tag (data.image)",
        ),
        (mention(How.DIGEST, d("a")), f"ConfigMap production/shop/settings names {d('a')} (data.image)"),
        (mention(How.UNKNOWN), "pushed after the names for the usage snapshot of production were read"),
        (
            mention(How.UNKNOWN, ""),
            "its repository is not among the names for the usage snapshot of production",
        ),
    ],
)
def test_mention_tells_who_names_what(found: Mention, text: str) -> None:
    assert str(found) == text


def test_mention_of_a_cluster_wide_object_has_no_namespace() -> None:
    whole = replace(mention(How.BESIDE, place=""), workload=Workload("production", "", "StorageClass", "fast"))

    assert str(whole) == "StorageClass production/fast names shop/web and 1.0"


def test_mentions_of_several_clusters_are_joined() -> None:
    one, two, three = mention(How.BESIDE), mention(How.NEAR), mention(How.OPEN, "")
    parts = (
        RepositoryMentions({"1.0": (one,)}, {d("a"): (one,)}),
        NO_MENTIONS,
        RepositoryMentions({"1.0": (two,), "2.0": (two,)}, {d("a"): (two,)}, (three,)),
    )

    joined = merged(parts)

    assert joined == RepositoryMentions({"1.0": (one, two), "2.0": (two,)}, {d("a"): (one, two)}, (three,))
    assert merged(parts[:2]) is parts[0]
    assert merged([NO_MENTIONS]) is NO_MENTIONS


def test_joined_mentions_of_one_tag_are_bounded() -> None:
    many = tuple(mention(How.BESIDE, place=str(number)) for number in range(MOST_SHOWN))
    part = RepositoryMentions({"1.0": many}, {d("a"): many}, many)

    joined = merged([part, part])

    assert joined == part


@dataclass
class Source:
    """The mentions of one cluster, and how often they were looked up."""

    mentions: RepositoryMentions
    looked_up: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return False

    def of(self, listed: ListedNames) -> RepositoryMentions:
        self.looked_up.append(listed.repository)
        return self.mentions


def used_in(source: Source, **sources: Source) -> UsageIndex:
    scans = [ClusterScan("production", (use("else"),), mentions=source)]
    return UsageIndex.of([*scans, *(ClusterScan(name, (), mentions=more) for name, more in sources.items())], NOW)


def reasons(usage: UsageIndex, *tags: str, manifests: Mapping[str, list[str]]) -> dict[str, tuple[KeepReason, ...]]:
    images = [image(name) for children in manifests.values() for name in children]
    repository = inventory(
        [tag(name, name) for name in tags],
        [*images, *(index(name, children) for name, children in manifests.items())],
    )
    return keep_reasons(Evidence(repository, usage, RetentionPolicy(), NOW))


def test_mention_keeps_its_tag_its_digest_and_the_index_of_it() -> None:
    beside, digest = mention(How.BESIDE), mention(How.DIGEST, d("amd64"))
    source = Source(RepositoryMentions({"1.0": (beside,)}, {d("amd64"): (digest,)}))
    manifests: dict[str, list[str]] = {"1.0": [], "multi": ["amd64"], "old": []}

    kept = reasons(used_in(source), *manifests, manifests=manifests)

    assert kept == {
        "1.0": (KeepReason(Rule.MENTIONED, str(beside)),),
        "multi": (KeepReason(Rule.MENTIONED, str(digest)),),
    }


def test_mention_of_a_child_that_no_list_shows_keeps_its_index() -> None:
    digest = mention(How.DIGEST, d("hidden"))
    usage = used_in(Source(RepositoryMentions({}, {d("hidden"): (digest,)})))
    repository = inventory([tag("multi", "i"), tag("old", "a")], [index("i", ["hidden"]), image("a")])

    kept = keep_reasons(Evidence(repository, usage, RetentionPolicy(), NOW))

    assert kept == {"multi": (KeepReason(Rule.MENTIONED, str(digest)),)}


def test_mention_of_any_tag_keeps_all_and_counts_further_ones() -> None:
    source = Source(RepositoryMentions({"a": (mention(How.BESIDE),)}, {}, (mention(How.OPEN, ""),)))

    kept = reasons(used_in(source), "a", "b", manifests={"a": [], "b": []})

    assert {name: [reason.rule for reason in of_tag] for name, of_tag in kept.items()} == {
        "a": [Rule.MENTIONED],
        "b": [Rule.MENTIONED],
    }
    assert kept["a"][0].detail.endswith(", and 1 more")


def test_explanation_lists_each_mention_of_a_tag_once() -> None:
    beside, near = mention(How.BESIDE, place="data.b"), mention(How.NEAR, place="data.a")
    digest, opened = mention(How.DIGEST, d("amd64")), mention(How.OPEN, "")
    mentions = RepositoryMentions({"1.0": (beside, near), "2.0": (beside,)}, {d("amd64"): (digest, digest)}, (opened,))
    repository = inventory(
        [tag("1.0", "multi"), tag("2.0", "b")], [image("amd64"), image("b"), index("multi", ["amd64"])]
    )
    evidence = Evidence(repository, used_in(Source(mentions)), RetentionPolicy(), NOW)

    assert explain_tag(evidence, "1.0").mentions == (near, beside, opened, digest)
    assert explain_tag(evidence, "2.0").mentions == (beside, opened)
    assert explain_tag(evidence, "3.0").mentions == ()
    assert explain_manifest(evidence, d("amd64")).mentions == (opened, digest)
    assert explain_manifest(evidence, d("multi")).mentions == (near, beside, opened, digest)


def test_mentioned_manifest_is_in_use_weaker_than_a_use() -> None:
    repository = inventory([], [image("a"), image("b"), image("c")])
    found = (mention(How.DIGEST, d("a")),)
    source = Source(RepositoryMentions({}, {d("a"): found, d("b"): found}))
    usage = UsageIndex.of([ClusterScan("production", (use(None, "b"),), mentions=source)], NOW)

    evidence = Evidence(repository, usage, RetentionPolicy(delete_untagged=True), NOW)
    in_use = digests_in_use(evidence)

    assert in_use == {d("a"): Rule.MENTIONED, d("b"): Rule.IN_USE}
    assert list(reasons_to_keep(evidence, in_use, (), (), d("a"))) == [
        Reason(Rule.MENTIONED, "an object of a cluster contains its digest, or another manifest of its index family")
    ]


def test_mention_of_any_tag_keeps_untagged_manifests() -> None:
    usage = used_in(Source(RepositoryMentions({}, {}, (mention(How.OPEN, ""),))))
    evidence = Evidence(inventory([], [image("a")]), usage, RetentionPolicy(delete_untagged=True), NOW)

    assert Reason(
        Rule.MENTIONED, "an object of a cluster names its repository without saying which tag"
    ) in reasons_to_keep(evidence, {}, (), (), d("a"))


def test_mentions_are_looked_up_once_for_the_same_names() -> None:
    source, other = Source(NO_MENTIONS), Source(NO_MENTIONS)
    usage = used_in(source, staging=other)
    names = inventory([tag("1.0", "a")], [image("a")])

    assert usage.mentions(names) is usage.mentions(names) is NO_MENTIONS
    assert usage.mentions(names.marked(locked=True)) is NO_MENTIONS
    assert usage.mentions(names.without([d("a")])) is NO_MENTIONS

    assert source.looked_up == other.looked_up == [REPOSITORY] * 2


def test_mentions_of_few_repositories_are_held() -> None:
    source = Source(NO_MENTIONS)
    usage = used_in(source)
    names = [RepositoryInventory(f"r{number}") for number in range(40)]

    for listed in (*names, names[0], names[-1]):
        usage.mentions(listed)

    assert source.looked_up == [*(listed.name for listed in names), "r0"]


def test_cluster_without_mentions_is_not_asked() -> None:
    names = inventory([tag("1.0", "a")])

    assert NoMentions().of(names.listed_names) is NO_MENTIONS
    assert UsageIndex.of([ClusterScan("production", (), mentions=NoMentions())], NOW).mentions(names) is NO_MENTIONS


def test_signature_of_a_mentioned_image_elsewhere_is_kept() -> None:
    """`COSIGN_REPOSITORY` names another repository for signatures. Other signatures there are not kept."""
    signatures = inventory([tag(f"sha256-{d(name)[7:]}.sig", number) for number, name in enumerate("abc")])
    source = Source(RepositoryMentions({}, {d("a"): (mention(How.DIGEST, d("a")),)}))

    assert {d("a"), d("b")} < set(signatures.listed_names.digests)
    evidence = Evidence(signatures, used_in(source), RetentionPolicy(), NOW)
    mentioned = {name for name, kept in keep_reasons(evidence).items() if Rule.MENTIONED in {r.rule for r in kept}}
    assert mentioned == {f"sha256-{d('a')[7:]}.sig"}


def test_clusters_and_services_outside_add_up() -> None:
    puller = Puller("build", "managed identity", "AcrPull")
    one, two = Outside(("first",), pullers=(puller,)), Outside(("second",))

    assert one + two == Outside(("first", "second"), (), (puller,))
