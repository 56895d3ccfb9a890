"""Rule `keep-list`: what the keep list names is kept, through the last day of its entry."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import (
    NOTHING_EXCLUDED,
    NOW,
    REPOSITORY,
    d,
    deleted_names,
    image,
    index,
    inventory,
    plan,
    reasons,
    referrer,
    signature_of,
    tag,
    untagged_rules,
    usage,
    verbs,
)


def keeping(*entries: KeepEntry, policy: RetentionPolicy = NOTHING_EXCLUDED) -> RetentionPolicy:
    return replace(policy, keep=entries)


def entry(tag: str = "", digest: str = "", repository: str = REPOSITORY) -> KeepEntry:
    return KeepEntry(f"{repository}:{tag}@{digest}", repository, tag, digest)


def test_tag_is_kept_with_reason_owner_and_last_day() -> None:
    noted = KeepEntry(
        "shop/web:1.*", REPOSITORY, "1.*", reason="audit of 2026", owner="ana@contoso.com", until=date(2026, 12, 31)
    )
    policy = keeping(noted)
    repository = inventory([tag("1.0", "a"), tag("2.0", "b")])

    assert reasons(repository, policy=policy) == {
        "1.0": [
            (
                "keep-list",
                "`shop/web:1.*` is on the keep list (audit of 2026, owner ana@contoso.com, until 2026-12-31)",
            )
        ]
    }


@pytest.mark.parametrize(
    ("noted", "words"),
    [({}, ""), ({"owner": "ana"}, " (owner ana)"), ({"until": date(2026, 12, 31)}, " (until 2026-12-31)")],
)
def test_evidence_has_only_the_notes_of_the_entry(noted: dict[str, Any], words: str) -> None:
    assert KeepEntry("shop/web:1", REPOSITORY, "1", **noted).evidence == f"`shop/web:1` is on the keep list{words}"


def test_entry_of_another_repository_keeps_nothing() -> None:
    policy = keeping(entry("*", repository="shop/w"), entry("*", repository="web"), entry("1", repository="shop/*/web"))

    assert deleted_names(plan(inventory([tag("1", "a")]), policy=policy)) == {"1"}


def test_glob_of_repositories_crosses_slashes() -> None:
    assert not plan(inventory([tag("1", "a")]), policy=keeping(entry("1", repository="*"))).deletions


def test_entry_keeps_through_its_last_day_in_utc() -> None:
    repository = inventory([tag("1", "a")])
    policy = keeping(replace(entry("1"), until=date(2026, 11, 23)))
    evening = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)

    assert not plan_repository(repository, usage(), policy, evening).deletions
    assert plan_repository(repository, usage(), policy, evening + timedelta(minutes=1)).deletions


def test_digest_keeps_every_tag_and_the_whole_family() -> None:
    """A digest of a child keeps the index above it, its other children, signatures and tags."""
    repository = inventory(
        [tag("1", "i"), tag("1-copy", "i"), tag("other", "o"), tag(signature_of("x"), "s")],
        [index("i", "xy"), image("x"), image("y"), image("o"), image("s")],
    )
    planned = plan(repository, policy=keeping(entry(digest=d("x"))))

    assert verbs(planned) == ["delete o[other]"]
    assert {reason.rule for decision in planned.kept for reason in decision.reasons} == {"keep-list", "attached"}


def test_digest_keeps_an_untagged_manifest_and_its_subject() -> None:
    repository = inventory([tag("1", "a")], [image("a"), referrer("r", "a"), image("u")])
    policy = keeping(entry(digest=d("r")), entry(digest=d("u")), policy=RetentionPolicy(delete_untagged=True))
    planned = plan(repository, policy=policy)

    assert verbs(planned) == ["untag 1"]
    assert untagged_rules(planned)[d("u")][0] == "keep-list"


def test_glob_of_digests_keeps_each_family() -> None:
    repository = inventory([tag("1", "i"), tag("2", "b")], [index("i", "x"), image("x"), image("b")])
    child = d("x")

    assert deleted_names(plan(repository, policy=keeping(entry(digest=f"{child[:70]}*")))) <= {"2"}
    assert not plan(repository, policy=keeping(entry(digest="*"))).steps


def test_tag_of_an_index_keeps_its_children_and_signatures() -> None:
    repository = inventory(
        [tag("1", "i"), tag(signature_of("i"), "s")], [index("i", "xy"), image("x"), image("y"), image("s")]
    )

    assert not plan(repository, policy=keeping(entry("1"))).steps


@st.composite
def entries(draw: st.DrawFn) -> KeepEntry:
    return KeepEntry(
        "any",
        draw(st.sampled_from([REPOSITORY, "*", "other"])),
        draw(st.sampled_from(["", "*", "latest", "1*", "?", "v*"])),
        draw(st.sampled_from(["", "*", *map(d, "abcdefgh")])),
        until=draw(st.sampled_from([None, NOW.date(), NOW.date() - timedelta(days=1)])),
    )


def deleted(planned: RepositoryPlan) -> tuple[set[str], set[str]]:
    return deleted_names(planned), {manifest.digest for manifest in planned.manifests}


@given(repositories(), drawn_uses(), policies(), st.lists(entries(), max_size=3), entries())
@settings(max_examples=150, deadline=None)
def test_further_entry_never_deletes_more(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    listed: list[KeepEntry],
    further: KeepEntry,
) -> None:
    before = plan_repository(repository, usage(*uses), keeping(*listed, policy=policy), NOW)
    after = plan_repository(repository, usage(*uses), keeping(*listed, further, policy=policy), NOW)

    for more, fewer in zip(deleted(before), deleted(after), strict=True):
        assert fewer <= more


@given(repositories(), drawn_uses(), policies(), entries())
@settings(max_examples=150, deadline=None)
def test_kept_digest_keeps_what_a_use_of_it_keeps(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, listed: KeepEntry
) -> None:
    planned = plan_repository(repository, usage(*uses), keeping(listed, policy=policy), NOW)
    if listed.digest in repository.manifests and listed.repository != "other" and not listed.expired(NOW):
        family = repository.family(next(digest for digest in repository.manifests if digest == listed.digest))
        assert family.isdisjoint(manifest.digest for manifest in planned.manifests)
        assert deleted_names(planned).isdisjoint(tag.name for tag in repository.tags if tag.digest in family)
