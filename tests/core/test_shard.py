"""The parts of a registry: none shares a repository with another, together they are all of it, and none makes more go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.explanation import explain_tag
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, RetentionPolicy, Rule, Scope, eligible_repositories, keep_reasons
from acr_cleanup.core.shard import MOST, WHOLE, Shard, part_of
from acr_cleanup.core.usage import ClusterScan, UsageIndex
from tests.helpers.generated_inventories import NOW, image, inventory, tag, usage, use

CATALOGS = st.lists(
    st.integers(0, 9999).map(lambda number: f"team-{number % 7}/app.{number}"), unique=True, max_size=20
)
SCOPES = st.sampled_from([Scope.RUNNING, Scope.REFERENCED, Scope.ALL])


def everything(names: list[str]) -> UsageIndex:
    """All of these run."""
    one = use("1.0")
    uses = tuple(replace(one, reference=replace(one.reference, repository=name)) for name in names)
    return UsageIndex.of([ClusterScan("production", uses)], NOW)


@settings(max_examples=40)
@given(CATALOGS, st.integers(1, MOST), st.randoms(), SCOPES)
def test_the_parts_share_nothing_and_are_everything_in_whatever_order(
    names: list[str], of: int, random: object, scope: Scope
) -> None:
    seen, whole = everything(names), RetentionPolicy(scope=scope)
    numbers = sorted({part_of(name, of) for name in names})
    mixed = list(names)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    parts = [eligible_repositories(seen, replace(whole, shard=Shard(part, of)), mixed) for part in numbers]

    assert all(1 <= part <= of for part in numbers)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert parts == [eligible_repositories(seen, replace(whole, shard=Shard(n, of)), names) for n in numbers]
    assert eligible_repositories(seen, whole, names) == tuple(sorted(names))


def test_a_repository_stays_in_its_part_from_version_to_version() -> None:
    """Written down, not computed: were these to change, a run would clean what the one beside it cleans."""
    names = ("shop/web", "shop/api", "batch/jobs", "a", "team/very/deep/name")
    assert [part_of(name, 8) for name in names] == [2, 6, 6, 4, 2]
    assert [part_of(name, MOST) for name in names] == [610, 550, 446, 500, 858]


def test_the_parts_are_of_about_the_same_size() -> None:
    sizes = [0] * 8
    for number in range(4000):
        sizes[part_of(f"team-{number % 9}/service-{number}", 8) - 1] += 1
    assert all(400 < size < 600 for size in sizes)


def test_one_of_one_is_all_of_it() -> None:
    assert Shard(1, 1) == WHOLE == RetentionPolicy().shard
    assert all(Shard(1, 1).includes(name) for name in ("shop/web", ""))


@pytest.mark.parametrize("delete_untagged", [True, False])
@pytest.mark.parametrize("of", [2, 8, MOST])
def test_a_shard_deletes_what_the_whole_would_or_nothing(of: int, delete_untagged: bool) -> None:
    """Manifests without tags included; and every tag of another part says which part it is."""
    policy = RetentionPolicy(delete_untagged=delete_untagged)
    world = inventory([tag("1.0", 1), tag("2.0", 2)], [image(1), image(2), image(3)])
    whole = plan_repository(world, usage(use("2.0")), policy, NOW)
    ours = part_of(world.name, of)

    for part in {1, 2, ours, of}:
        shard = replace(policy, shard=Shard(part, of))
        found = plan_repository(world, usage(use("2.0")), shard, NOW)
        if part == ours:
            assert found == whole
        else:
            assert not found.steps
            assert {decision.reasons[0].rule for decision in found.decisions} == {Rule.OUT_OF_SCOPE}
            told = f"its repository belongs to shard {ours} of {of}, and this run is {part}"
            assert {decision.reasons[0].detail for decision in found.decisions} == {told}
            assert told in {reason.detail for each in found.untagged for reason in each.reasons} or not delete_untagged


def test_a_shard_takes_no_reason_away() -> None:
    world = inventory([tag("1.0", 1), tag("latest", 2), tag("2.0", 3, days=1)])
    of = 3
    before = keep_reasons(Evidence(world, usage(use("2.0")), RetentionPolicy(), NOW))
    for part in (1, 2, 3):
        policy = RetentionPolicy(shard=Shard(part, of))
        now = keep_reasons(Evidence(world, usage(use("2.0")), policy, NOW))
        assert all(set(reasons) <= set(now[name]) for name, reasons in before.items())


def test_what_keeps_a_repository_in_every_part_is_said_rather_than_whose_part_it_is() -> None:
    world = inventory([tag("1.0", 1)])
    other = Shard(part_of(world.name, 2) % 2 + 1, 2)

    def why(policy: RetentionPolicy, *, runs: bool = True) -> str:
        found = explain_tag(Evidence(world, usage(runs=runs), policy, NOW), "1.0")
        assert found.decision is not None
        return found.decision.reasons[0].detail

    assert "shard" in why(RetentionPolicy(shard=other))
    assert why(RetentionPolicy(shard=other), runs=False) == "its repository is not running in any configured cluster"
    assert "selected" in why(RetentionPolicy(shard=other, repositories=("team/*",)))
