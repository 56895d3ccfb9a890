"""Rule `pulled`: what the log shows as pulled is kept, with its index family."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_digest

from acr_cleanup.core.explanation import excluding_uses
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.pulls import NO_PULLS, Pull, PullLog, described
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ImageUse
from tests.helpers.drawn_inventories import NAMES, carried_out, policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import (
    NOW,
    REPOSITORY,
    UNTAGGED,
    d,
    deleted_names,
    image,
    index,
    inventory,
    rules_of,
    tag,
    untagged_rules,
    usage,
    use,
)


def pull(tag: str = "", digest: str = "", *, days: float = 1, number: int = 1, by: tuple[str, ...] = ()) -> Pull:
    return Pull(REPOSITORY, tag, digest, NOW - timedelta(days=days), number, by)


def plan(repository: RepositoryInventory, *pulls: Pull, policy: RetentionPolicy | None = None) -> RepositoryPlan:
    used = replace(usage(), pulls=PullLog.of(pulls))
    return plan_repository(repository, used, policy or RetentionPolicy(), NOW)


THREE = inventory([tag("1.0", "a"), tag("1.1", "b"), tag("1.2", "c")])
# An index of two platforms, which `multi` names.
FAMILY = inventory(
    [tag("multi", "i"), tag("amd", "x"), tag("1.0", "a")], [index("i", "xy"), image("x"), image("y"), image("a")]
)


@pytest.mark.parametrize(
    ("pulled", "kept"),
    [
        pytest.param(pull("1.0"), {"1.0"}, id="tag"),
        pytest.param(pull("1.0", d("a")), {"1.0"}, id="both"),
        pytest.param(pull("", d("b")), {"1.1"}, id="digest"),
        pytest.param(pull(d("b")), {"1.1"}, id="digest in the column of the tag"),
        pytest.param(pull("1.0", d("b")), {"1.0", "1.1"}, id="tag moved since"),
        pytest.param(pull("9.9"), set[str](), id="tag that is gone"),
        pytest.param(pull("", d("z")), set[str](), id="digest that is gone"),
        pytest.param(pull(), {"1.0", "1.1", "1.2"}, id="neither"),
        pytest.param(pull("", d("b").upper()), {"1.1"}, id="capitals"),
        pytest.param(pull("", d("b")[:-3]), {"1.0", "1.1", "1.2"}, id="cut where all agree"),
        pytest.param(pull("", f"{d('b')}00"), {"1.1"}, id="too long"),
        pytest.param(pull("", "sha256:1"), {"1.0", "1.1", "1.2"}, id="too short to compare"),
        pytest.param(pull("1.1", "no digest"), {"1.0", "1.1", "1.2"}, id="no digest at all"),
        pytest.param(pull("", f"sha512:{'ab' * 64}"), set[str](), id="another algorithm"),
    ],
)
def test_pull_keeps_what_it_may_mean(pulled: Pull, kept: set[str]) -> None:
    names = {"1.0", "1.1", "1.2"}
    assert deleted_names(plan(THREE, pulled)) == names - kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("sha256:" + "1" * 12, {"1", "12"}),
        ("sha256:" + "1" * 11, {"1", "12", "2"}),
        ("sha256:" + "1" * 30 + "2", {"12"}),
        ("sha256:" + "1" * 65, {"1"}),
        ("sha256:" + "2" * 65, {"2"}),
        ("sha256:" + "3" * 12, {"1", "12", "2"}),
    ],
)
def test_malformed_digest_means_those_that_agree_with_it(text: str, kept: set[str]) -> None:
    """Any manifest, if it is too short or agrees with none."""
    hexes = {"1": "1" * 64, "12": "1" * 30 + "2" * 34, "2": "2" * 64}
    tags = [replace_digest(tag(name, "a"), digest=Digest(f"sha256:{digits}")) for name, digits in hexes.items()]
    assert deleted_names(plan(inventory(tags), pull("", text))) == {"1", "12", "2"} - kept


def test_tag_in_other_case_is_kept() -> None:
    """Over-protection: the log may not write a name as the registry does."""
    repository = inventory([tag("V1", "a"), tag("v1", "b"), tag("v2", "c")])
    assert deleted_names(plan(repository, pull("v1"))) == {"v2"}


def test_pull_of_a_tag_keeps_the_other_tags_of_its_manifest() -> None:
    repository = inventory([tag("1.0", "a"), tag("stable", "a"), tag("1.1", "b")])
    assert deleted_names(plan(repository, pull("1.0"))) == {"1.1"}


@pytest.mark.parametrize("pulled", ["i", "x", "y"])
def test_pull_keeps_the_index_family(pulled: str) -> None:
    """A child's pull keeps the index, and the other way round."""
    planned = plan(FAMILY, pull("", d(pulled)))
    assert deleted_names(planned) == {"1.0"}
    assert rules_of(planned, "multi") == rules_of(planned, "amd") == [Rule.PULLED]
    assert {manifest.digest for manifest in planned.manifests} == {d("a")}


def test_pull_keeps_untagged_manifests() -> None:
    """By their digest, in their family, and all of them if the log does not say which was pulled."""
    repository = inventory([], [image("a"), image("b"), index("i", "xy"), image("x"), image("y")])
    for pulled, kept in ((pull("", d("a")), "a"), (pull("", d("x")), "ixy"), (pull(), "abixy")):
        planned = untagged_rules(plan(repository, pulled, policy=UNTAGGED))
        assert {digest for digest, rules in planned.items() if rules} == {d(name) for name in kept}
        assert Rule.PULLED in planned[d(kept[0])]


def test_pull_of_another_repository_keeps_nothing() -> None:
    assert deleted_names(plan(THREE, replace(pull("1.0"), repository="shop/other"))) == {"1.0", "1.1", "1.2"}


def test_pulls_are_matched_again_when_the_repository_changed() -> None:
    """The second look asks the same log about the tags of another moment."""
    log = PullLog.of([pull("1.0")])
    assert [name.name for name, _ in log.kept_tags(THREE)] == ["1.0"]
    moved = inventory([tag("1.0", "b"), tag("alias", "b")])
    assert [name.name for name, _ in log.kept_tags(moved)] == ["1.0", "alias"]


def test_matched_repositories_are_not_all_held() -> None:
    """A registry may have a million repositories."""
    log = PullLog.of([replace(pull("1.0"), repository=f"r{number}") for number in range(100)])
    for number in range(100):
        assert len(list(log.kept_tags(replace(THREE, name=f"r{number}")))) == 1
    assert len(log._matched) <= 32
    assert log.repositories == {f"r{number}" for number in range(100)}


def test_reason_says_when_how_often_and_by_whom() -> None:
    planned = plan(
        THREE,
        pull("1.0", d("a"), days=3, number=2, by=("kubelet", "ci")),
        pull("1.0", days=2, number=1_000, by=("ci", "alice", "bob")),
    )
    details = {decision.tag.name: decision.reasons[0].detail for decision in planned.kept}
    assert details == {"1.0": "pulled 1,002 times, last on 2026-11-21 00:00 UTC, by kubelet, ci, alice and 1 more"}
    assert described([pull()]) == "pulled 1 time, last on 2026-11-22 00:00 UTC"


def test_explanation_without_uses_still_counts_pulls() -> None:
    used = replace(usage(use("1.0")), pulls=PullLog.of([pull("1.0")]))
    unused = excluding_uses(Evidence(THREE, used, RetentionPolicy(), NOW), [use("1.0")])
    assert unused.usage.pulls is used.pulls


def drawn_pulls() -> st.SearchStrategy[list[Pull]]:
    digests = ["", *map(d, range(1, 8)), "sha256:12", d(3)[:40]]
    return st.lists(st.builds(pull, st.sampled_from(["", *NAMES]), st.sampled_from(digests)), max_size=3)


@given(repositories(), drawn_uses(), policies(), drawn_pulls(), drawn_pulls())
@settings(max_examples=150, deadline=None)
def test_pulls_only_keep_more(
    repository: RepositoryInventory,
    uses: list[ImageUse],
    policy: RetentionPolicy,
    pulls: list[Pull],
    further: list[Pull],
) -> None:
    """One more source, and one more row of it, can only make the tool delete less."""
    left = []
    for log in (NO_PULLS, PullLog.of(pulls), PullLog.of([*pulls, *further])):
        planned = plan_repository(repository, replace(usage(*uses), pulls=log), policy, NOW)
        kept = carried_out(repository, planned)
        left.append(({tag.name for tag in kept.tags}, kept.manifests.keys()))
    for (fewer_tags, fewer), (more_tags, more) in pairwise(left):
        assert fewer_tags <= more_tags
        assert fewer <= more


@given(repositories(), policies(), drawn_pulls())
@settings(max_examples=100, deadline=None)
def test_nothing_pulled_is_ever_deleted(
    repository: RepositoryInventory, policy: RetentionPolicy, pulls: list[Pull]
) -> None:
    planned = plan_repository(repository, replace(usage(), pulls=PullLog.of(pulls)), policy, NOW)
    left = carried_out(repository, planned)
    names = {tag.name for tag in left.tags}
    for pulled in pulls:
        for listed in repository.tags:
            if listed.name == pulled.tag:
                assert listed.name in names
                assert {listed.digest} & repository.manifests.keys() <= left.manifests.keys()
        if pulled.digest in repository.manifests:
            assert pulled.digest in left.manifests
        if not (pulled.tag or pulled.digest):
            assert names == {tag.name for tag in repository.tags}
