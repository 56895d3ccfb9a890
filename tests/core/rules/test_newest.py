"""Rule `newest`: the newest `keep_last` tags of each group are kept."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.newest import counted_with
from acr_cleanup.core.policy import Evidence, Rule, keep_reasons
from acr_cleanup.core.retention import KeepLastOf, RetentionPolicy
from tests.helpers.generated_inventories import (
    NOTHING_EXCLUDED,
    NOW,
    d,
    deleted_names,
    image,
    index,
    inventory,
    plan,
    referrer,
    tag,
    usage,
)


def newest(policy: RetentionPolicy, repository: RepositoryInventory) -> dict[str, str]:
    kept = keep_reasons(Evidence(repository, usage(), policy, NOW))
    return {name: reason.detail for name, of_tag in kept.items() for reason in of_tag if reason.rule is Rule.NEWEST}


def test_keep_last_counts_tags_kept_by_other_rules() -> None:
    repository = inventory([tag(f"{days}", days, days=days) for days in (1, 40, 50, 60)])

    assert deleted_names(plan(repository, policy=RetentionPolicy(keep_last=2))) == {"50", "60"}


def test_keep_last_counts_young_excluded_and_locked_tags() -> None:
    """Signatures and tags without a push time do not count."""
    repository = inventory(
        [
            tag("young", "a", days=1),
            tag("latest", "b", days=50),
            tag("fixed", "c", days=60, locked=True),
            tag("old", "e", days=70),
            tag(f"sha256-{d('a')[7:]}.sig", "f", days=0),
            tag("timeless", "9", days=None),
        ]
    )
    detail = "one of the newest 3 of its repository"
    assert newest(RetentionPolicy(keep_last=3), repository) == {"young": detail, "latest": detail, "fixed": detail}


def test_keep_last_counts_images_copied_by_digest() -> None:
    """A copy of one platform is named after its index, which was not copied. A signature does not count."""
    copies = [f"sha256-{d(name)[7:]}" for name in ("a", "8")]
    repository = inventory(
        [
            tag(copies[0], "a", days=40),
            tag(copies[1], "b", days=50),
            tag(f"sha256-{d('7')[7:]}.sig", "c", days=35),
            tag(f"sha256-{d('6')[7:]}", "f", days=35),
            tag("old", "e", days=60),
        ],
        [
            image("a"),
            structs.replace(image("b"), platform="linux/amd64"),
            image("c"),
            index("f", []),
            image("e"),
        ],
    )

    assert set(newest(RetentionPolicy(keep_last=2), repository)) == set(copies)


def test_keep_last_by_counts_each_captured_text() -> None:
    """
    The expression may match anywhere.

    Tags without a match are one more group, and an empty text is another.
    """
    policy = replace(NOTHING_EXCLUDED, keep_last=2, keep_last_by=r"(dev|main|)-\d+$")
    names = [f"{group}{number}" for number in range(1, 4) for group in ("dev-", "x-main-", "-", "v")]
    repository = inventory(tag(name, place, days=900 - place) for place, name in enumerate(names, 1))
    kept = newest(policy, repository)
    assert kept == {
        f"{name}{number}": f"one of the newest 2 of {group}"
        for number in (2, 3)
        for name, group in (
            ("dev-", "`dev`"),
            ("x-main-", "`main`"),
            ("-", "``"),
            ("v", "the tags that keep-last-by does not match"),
        )
    }
    assert deleted_names(plan(repository, policy=policy)) == {"dev-1", "x-main-1", "-1", "v1"}


def test_unmatched_optional_group_counts_as_no_match() -> None:
    group = "(dev)?-x"
    assert counted_with(group, "a-x") == counted_with(group, "zzz") != counted_with(group, "dev-x")


def test_images_count_once_under_any_names() -> None:
    """
    Four names per release: three releases are kept, with all their names.

    https://github.com/devopshq/artifactory-cleanup/issues/108
    """
    releases = inventory(
        tag(name, release, days=100 - release + place / 10)
        for release in range(1, 6)
        for place, name in enumerate((f"{release}", f"{release}.0", f"{release}.0.0", f"{release}-stable"))
    )
    kept = newest(RetentionPolicy(keep_last=3), releases)
    assert {name[0] for name in kept} == {"3", "4", "5"}
    assert len(kept) == 12
    assert len(newest(RetentionPolicy(keep_last=3, keep_last_of=KeepLastOf.TAGS), releases)) == 3


def test_companions_do_not_count_as_images() -> None:
    """A signature by name, an artifact with a subject, and one that was not read."""
    unread = structs.replace(referrer("u", "a"), subject=None, known=False)
    chart = structs.replace(unread, digest=d("c"), known=True)
    repository = inventory(
        [
            tag("1.0", "a", days=50),
            tag("0.9", "b", days=60),
            tag("chart", "c", days=40),
            tag("sbom", "s", days=1),
            tag("perhaps-sbom", "u", days=2),
            tag(f"sha256-{d('a')[7:]}.sig", "x", days=3),
        ],
        [image("a"), image("b"), image("x"), referrer("s", "a"), unread, chart],
    )
    assert set(newest(RetentionPolicy(keep_last=2), repository)) == {"chart", "1.0"}
    tags = RetentionPolicy(keep_last=2, keep_last_of=KeepLastOf.TAGS)
    assert set(newest(tags, repository)) == {"sbom", "perhaps-sbom"}


def test_platforms_count_as_the_index_that_alone_lists_them() -> None:
    """Also the platform of an index in an index; one that two tagged indexes list is a separate image."""
    repository = inventory(
        [
            tag(f"{name}-{part}", f"{part}{name}", days=100 - number - place / 10)
            for number, name in enumerate(("1", "2", "3"))
            for place, part in enumerate(("outer", "inner", "image"))
        ],
        [
            manifest
            for name in ("1", "2", "3")
            for manifest in (
                index(f"outer{name}", [f"inner{name}", "shared"]),
                index(f"inner{name}", [f"image{name}"]),
                image(f"image{name}"),
            )
        ],
    )
    assert {name[0] for name in newest(RetentionPolicy(keep_last=2), repository)} == {"2", "3"}
    shared = replace(repository, tags=(*repository.tags, tag("shared", "shared", days=1)))
    assert {name[0] for name in newest(RetentionPolicy(keep_last=2), shared)} == {"s", "3"}


@settings(deadline=None)
@given(st.permutations(["a", "b", "c", "d"]))
def test_names_break_ties(order: list[str]) -> None:
    """The order of the listing does not matter."""
    for by in ("", "([a-z])", "^(?:a|b|(c|d))$"):
        policy = RetentionPolicy(keep_last=1, keep_last_by=by, keep_last_of=KeepLastOf.TAGS)
        kept = set(newest(policy, inventory([tag(name, "a") for name in order])))
        assert kept == {"": {"d"}, "([a-z])": {"a", "b", "c", "d"}, "^(?:a|b|(c|d))$": {"b", "c", "d"}}[by]
