"""Packed plans: equal after unpacking, and small."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core import packed
from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.space import Content, Space
from acr_cleanup.core.usage import ImageUse
from acr_cleanup.core.verification import Missing
from acr_cleanup.reports import json, markdown, text
from acr_cleanup.reports.outputs import outputs
from tests.helpers import sample_results as samples
from tests.helpers.drawn_inventories import policies, repositories
from tests.helpers.drawn_inventories import uses as drawn_uses
from tests.helpers.generated_inventories import NOW, d, image, index, inventory, plan, tag, usage, use


@given(repositories(), drawn_uses(), policies(), st.integers(1, 4), st.booleans())
def test_unpacked_plan_equals_the_packed_one(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, part: int, more: bool
) -> None:
    """Decisions, reasons, uses, steps, locks, warnings and sizes, in any number of parts."""
    original = plan(repository, usage(*uses), policy)
    if more:
        space = Space({d(1): Content(5, {"x": 7})}, {d(1): (d(2),)}, read=2, unread=1)
        original = replace(original, space=space, missing=(Missing("shop/web", "9", tuple(uses)),), error="503 \ud800")
    with patch.object(packed, "PART", part):
        packed_plan = Packed.of(original)

    assert packed_plan.unpacked() == original
    assert packed_plan.tally == original.tally


def test_shared_values_are_shared_again() -> None:
    """
    An unpacked plan shares equal reasons, and the tags of decisions and steps, so it takes no more
    memory.
    """
    unpacked = Packed.of(
        plan(inventory([tag("a", 1), tag("b", 1), tag("c", 2, days=1), tag("d", 3, days=1)]))
    ).unpacked()
    a, b, c, d_ = unpacked.decisions

    assert c.reasons[0] is d_.reasons[0]
    assert unpacked.steps[0].tags == (a.tag, b.tag)
    assert unpacked.steps[0].tags[0] is a.tag


def test_packed_deleted_tag_takes_less_than_100_bytes() -> None:
    """A sixth of its size as values. Half of it is the digest, which is as random as a real one."""
    digests = [Digest(f"sha256:{sha256(str(number).encode()).hexdigest()}") for number in range(packed.PART)]
    tags = [Tag(f"v1.{number}", digest, NOW.replace(year=2020)) for number, digest in enumerate(digests)]
    manifests = {digest: structs.replace(image(1), digest=digest, size=place) for place, digest in enumerate(digests)}
    packed_plan = Packed.of(plan(RepositoryInventory("shop/web", tuple(tags), manifests)))

    assert packed_plan.tally.manifests == packed.PART
    assert sum(map(len, packed_plan.parts)) / packed.PART < 100


def test_packed_plans_are_sorted_by_name() -> None:
    plans = [RepositoryPlan(name, error=f"of {name}") for name in "bca"]
    packed_plan = PackedPlans(map(Packed.of, plans))

    assert [*packed_plan] == sorted(plans, key=lambda tally: tally.repository)
    assert [tally.repository for tally in packed_plan.tallies] == ["a", "b", "c"]
    assert (len(packed_plan), packed_plan[1], packed_plan[-1]) == (3, plans[0], plans[1])
    assert [*packed_plan[1:]] == [plans[0], plans[1]]
    with pytest.raises(IndexError):
        packed_plan[3]


def test_packed_plan_gives_the_same_totals_and_reports() -> None:
    """Every report is equal to the letter, of a plan and of an apply."""
    for result in (
        samples.planned(),
        samples.exact(),
        samples.partial(),
        samples.untagged_applied(),
        samples.blocked(),
    ):
        plain_result = replace(
            result, plan=replace(result.plan, repositories=tuple(sorted(result.plan.repositories, key=_name)))
        )
        packed_result = replace(
            plain_result,
            plan=replace(plain_result.plan, repositories=PackedPlans(map(Packed.of, plain_result.plan.repositories))),
        )

        assert packed_result.counts == plain_result.counts
        assert _totals(packed_result.plan) == _totals(plain_result.plan)
        for render in (json.render, json.render_plan):
            assert "".join(render(packed_result)) == "".join(render(plain_result))
        assert markdown.render(packed_result) == markdown.render(plain_result)
        assert str(text.render(packed_result)) == str(text.render(plain_result))
        assert outputs(packed_result) == outputs(plain_result)


def test_totals_do_not_unpack_a_plan() -> None:
    """A million tags are not unpacked for a number."""
    original = samples.planned().plan
    packed_plan = replace(original, repositories=PackedPlans(map(Packed.of, original.repositories)))
    with patch.object(Packed, "unpacked", side_effect=AssertionError):
        assert _totals(packed_plan) == _totals(original)
        assert packed_plan.tallies


@pytest.mark.parametrize("pack", [True, False], ids=["packed", "plain"])
def test_plan_to_apply_has_steps_without_decisions(pack: bool) -> None:
    """A repository may have a hundred times as many tags as steps."""
    original = samples.planned().plan
    given = replace(original, repositories=PackedPlans(map(Packed.of, original.repositories))) if pack else original
    for repository_plan in original.repositories:
        expected = replace(repository_plan, decisions=(), untagged=())
        assert given.to_apply(repository_plan.repository) == expected


def test_plan_finds_a_repository_by_name() -> None:
    original = samples.planned().plan

    assert all(original.repository(plan.repository) is plan for plan in original.repositories)
    with pytest.raises(KeyError):
        original.repository("nowhere")


def test_tally_counts_each_tag_once() -> None:
    """Kept tags by their strongest reason, and used ones as in use."""
    locked = tag("locked", 4, locked=True)
    original = plan(
        inventory([tag("old", 1), tag("young", 2, days=1), tag("used", 3, days=1), locked]), usage(use("used"))
    )

    tally = original.tally
    assert {str(rule): number for rule, number in tally.kept_by.items()} == {"in-use": 1, "young": 1, "locked": 1}
    assert (tally.tags, tally.planned, tally.kept, tally.in_use, tally.locked_alone) == (4, 1, 3, 1, 1)


def _name(plan: RepositoryPlan) -> str:
    return plan.repository


def _totals(plan: Plan) -> tuple[object, ...]:
    return (
        (
            plan.planned,
            plan.untagged,
            plan.kept,
            plan.in_use,
            plan.manifests,
            plan.missing,
            plan.size,
            plan.exact,
        ),
        (plan.measured, plan.read_for_sizes),
    )


def test_decisions_and_steps_are_only_in_the_parts() -> None:
    """Steps too: there may be more steps than tags."""
    few = inventory([tag("1", "i")], [index("i", [1, 2, 3, 4, 5]), *map(image, range(1, 6))])
    many = inventory([tag(str(number), number) for number in range(1, 50)], map(image, range(1, 60)))
    policy = RetentionPolicy(delete_untagged=True)
    with patch.object(packed, "PART", 1):
        assert len(Packed.of(plan(few, policy=policy)).parts) == 6
        assert Packed.of(plan(few, policy=policy)).unpacked() == plan(few, policy=policy)

    for world in (few, many):
        original = plan(world, policy=policy)
        assert packed._unpacked(Packed.of(original).rest) == replace(original, decisions=(), steps=(), untagged=())
