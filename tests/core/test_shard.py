"""Shards are disjoint, cover the registry, and only keep more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acr_cleanup.core.explanation import explain_tag
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, Rule, eligible_repositories, keep_reasons
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.shard import MOST, WHOLE, Shard, part_of
from acr_cleanup.core.usage import ClusterScan, UsageIndex
from tests.helpers.generated_inventories import NOW, image, inventory, tag, usage, use

CATALOGS = st.lists(
    st.integers(0, 9999).map(lambda number: f"team-{number % 7}/app.{number}"), unique=True, max_size=20
)
SCOPES = st.sampled_from([Scope.RUNNING, Scope.REFERENCED, Scope.ALL])


def everything(names: list[str]) -> UsageIndex:
    """All of these run."""
    template = use("1.0")
    uses = tuple(replace(template, reference=replace(template.reference, repository=name)) for name in names)
    return UsageIndex.of([ClusterScan("production", uses)], NOW)


@settings(max_examples=40)
@given(CATALOGS, st.integers(1, MOST), st.randoms(), SCOPES)
def test_shards_are_disjoint_and_cover_the_registry(names: list[str], of: int, random: object, scope: Scope) -> None:
    used, whole = everything(names), RetentionPolicy(scope=scope)
    numbers = sorted({part_of(name, of) for name in names})
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    parts = [eligible_repositories(used, replace(whole, shard=Shard(part, of)), shuffled) for part in numbers]

    assert all(1 <= part <= of for part in numbers)
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert parts == [eligible_repositories(used, replace(whole, shard=Shard(n, of)), names) for n in numbers]
    assert eligible_repositories(used, whole, names) == tuple(sorted(names))


def test_shard_of_a_repository_never_changes() -> None:
    """Fixed numbers: if they changed, two runs could clean the same repository."""
    names = ("shop/web", "shop/api", "batch/jobs", "a", "team/very/deep/name")
    assert [part_of(name, 8) for name in names] == [2, 6, 6, 4, 2]
    assert [part_of(name, MOST) for name in names] == [610, 550, 446, 500, 858]


def test_shards_have_similar_sizes() -> None:
    sizes = [0] * 8
    for number in range(4000):
        sizes[part_of(f"team-{number % 9}/service-{number}", 8) - 1] += 1
    assert all(400 < size < 600 for size in sizes)


def test_single_shard_is_the_whole_registry() -> None:
    assert Shard(1, 1) == WHOLE == RetentionPolicy().shard
    assert all(Shard(1, 1).includes(name) for name in ("shop/web", ""))


@pytest.mark.parametrize("delete_untagged", [True, False])
@pytest.mark.parametrize("of", [2, 8, MOST])
def test_shard_deletes_the_same_or_nothing(of: int, delete_untagged: bool) -> None:
    """Untagged manifests included. Every kept tag of another shard names that shard."""
    policy = RetentionPolicy(delete_untagged=delete_untagged)
    world = inventory([tag("1.0", 1), tag("2.0", 2)], [image(1), image(2), image(3)])
    whole = plan_repository(world, usage(use("2.0")), policy, NOW)
    ours = part_of(world.name, of)

    for part in {1, 2, ours, of}:
        shard = replace(policy, shard=Shard(part, of))
        planned = plan_repository(world, usage(use("2.0")), shard, NOW)
        if part == ours:
            assert planned == whole
        else:
            assert not planned.steps
            assert {decision.reasons[0].rule for decision in planned.decisions} == {Rule.OUT_OF_SCOPE}
            detail = f"its repository belongs to shard {ours} of {of}, and this run is {part}"
            assert {decision.reasons[0].detail for decision in planned.decisions} == {detail}
            assert (
                detail in {reason.detail for decision in planned.untagged for reason in decision.reasons}
                or not delete_untagged
            )


def test_shard_removes_no_reason() -> None:
    world = inventory([tag("1.0", 1), tag("latest", 2), tag("2.0", 3, days=1)])
    of = 3
    before = keep_reasons(Evidence(world, usage(use("2.0")), RetentionPolicy(), NOW))
    for part in (1, 2, 3):
        policy = RetentionPolicy(shard=Shard(part, of))
        now = keep_reasons(Evidence(world, usage(use("2.0")), policy, NOW))
        assert all(set(reasons) <= set(now[name]) for name, reasons in before.items())


def test_reason_of_every_shard_outranks_another_shard() -> None:
    world = inventory([tag("1.0", 1)])
    other = Shard(part_of(world.name, 2) % 2 + 1, 2)

    def why(policy: RetentionPolicy, *, runs: bool = True) -> str:
        planned = explain_tag(Evidence(world, usage(runs=runs), policy, NOW), "1.0")
        assert planned.decision is not None
        return planned.decision.reasons[0].detail

    assert "shard" in why(RetentionPolicy(shard=other))
    assert why(RetentionPolicy(shard=other), runs=False) == "its repository is not running in any configured cluster"
    assert "selected" in why(RetentionPolicy(shard=other, repositories=("team/*",)))
