"""What is packed is what is unpacked, whatever a plan holds; and it is small."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from hashlib import sha256
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core import packed
from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.policy import RetentionPolicy
from acr_cleanup.core.references import Digest
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
def test_every_plan_comes_out_as_it_went_in(
    repository: RepositoryInventory, uses: list[ImageUse], policy: RetentionPolicy, part: int, more: bool
) -> None:
    """Decisions with all their reasons and uses, steps with their order and locks, warnings, sizes: in however many parts."""
    made = plan(repository, usage(*uses), policy)
    if more:
        space = Space({d(1): Content(5, {"x": 7})}, {d(1): (d(2),)}, read=2, unread=1)
        made = replace(made, space=space, missing=(Missing("shop/web", "9", tuple(uses)),), error="503 \ud800")
    with patch.object(packed, "PART", part):
        kept = Packed.of(made)

    assert kept.unpacked() == made
    assert kept.tally == made.tally


def test_what_many_tags_share_they_share_again() -> None:
    """The reason of a day, the tag of a decision and of a step: what is unpacked takes no more room than what was packed."""
    found = Packed.of(plan(inventory([tag("a", 1), tag("b", 1), tag("c", 2, days=1), tag("d", 3, days=1)]))).unpacked()
    a, b, c, d_ = found.decisions

    assert c.reasons[0] is d_.reasons[0]
    assert found.steps[0].tags == (a.tag, b.tag)
    assert found.steps[0].tags[0] is a.tag


def test_a_tag_that_goes_takes_a_sixth_of_what_it_takes_as_values() -> None:
    """With a digest as random as real ones; half of it is that digest."""
    digests = [Digest(f"sha256:{sha256(str(number).encode()).hexdigest()}") for number in range(packed.PART)]
    tags = [Tag(f"v1.{number}", digest, NOW.replace(year=2020)) for number, digest in enumerate(digests)]
    manifests = {digest: replace(image(1), digest=digest, size=place) for place, digest in enumerate(digests)}
    kept = Packed.of(plan(RepositoryInventory("shop/web", tuple(tags), manifests)))

    assert kept.tally.manifests == packed.PART
    assert sum(map(len, kept.parts)) / packed.PART < 100


def test_the_plans_are_a_sequence_by_name() -> None:
    plans = [RepositoryPlan(name, error=f"of {name}") for name in "bca"]
    kept = PackedPlans(map(Packed.of, plans))

    assert [*kept] == sorted(plans, key=lambda each: each.repository)
    assert [each.repository for each in kept.tallies] == ["a", "b", "c"]
    assert (len(kept), kept[1], kept[-1]) == (3, plans[0], plans[1])
    assert [*kept[1:]] == [plans[0], plans[1]]
    with pytest.raises(IndexError):
        kept[3]


def test_a_plan_tells_of_packed_repositories_what_it_tells_of_plain_ones() -> None:
    """Every total, and every report to the letter, of a plan and of an apply."""
    for result in (
        samples.planned(),
        samples.exact(),
        samples.partial(),
        samples.untagged_applied(),
        samples.blocked(),
    ):
        plain = replace(
            result, plan=replace(result.plan, repositories=tuple(sorted(result.plan.repositories, key=_name)))
        )
        same = replace(
            plain, plan=replace(plain.plan, repositories=PackedPlans(map(Packed.of, plain.plan.repositories)))
        )

        assert same.counts == plain.counts
        assert _totals(same.plan) == _totals(plain.plan)
        for render in (json.render, json.render_plan):
            assert "".join(render(same)) == "".join(render(plain))
        assert markdown.render(same) == markdown.render(plain)
        assert str(text.render(same)) == str(text.render(plain))
        assert outputs(same) == outputs(plain)


def test_totals_are_told_without_unpacking() -> None:
    """A million tags are not made anew for a number."""
    made = samples.planned().plan
    kept = replace(made, repositories=PackedPlans(map(Packed.of, made.repositories)))
    with patch.object(Packed, "unpacked", side_effect=AssertionError):
        assert _totals(kept) == _totals(made)
        assert kept.tallies


def test_a_repository_is_found_by_its_name() -> None:
    made = samples.planned().plan

    assert all(made.repository(each.repository) is each for each in made.repositories)
    with pytest.raises(KeyError):
        made.repository("nowhere")


def test_a_tally_counts_each_tag_once() -> None:
    """What stays by its strongest reason, and what is in use as that."""
    locked = tag("locked", 4, locked=True)
    made = plan(inventory([tag("old", 1), tag("young", 2, days=1), tag("used", 3, days=1), locked]), usage(use("used")))

    tally = made.tally
    assert {str(rule): number for rule, number in tally.kept_by.items()} == {"in-use": 1, "young": 1, "locked": 1}
    assert (tally.tags, tally.planned, tally.kept, tally.in_use, tally.locked_alone) == (4, 1, 3, 1, 1)


def _name(plan: RepositoryPlan) -> str:
    return plan.repository


def _totals(plan: Plan) -> tuple[object, ...]:
    return (
        (plan.planned, plan.untagged, plan.kept, plan.in_use, plan.manifests, plan.missing, plan.size, plan.exact),
        (plan.measured, plan.read_for_sizes),
    )


@dataclass(frozen=True, slots=True)
class One:
    value: object


def test_a_dataclass_is_written_as_its_fields_however_many_it_has() -> None:
    """That takes a third of the time; everything else is written as Python does."""
    two = tag("1.0", 1)

    for value in (One((1,)), One(One(two)), two, [two, two], "text"):
        assert packed._unpacked(packed._packed(value)) == value
    pickler = packed._Pickler(io.BytesIO())
    assert pickler.reducer_override(two) == (Tag, ("1.0", d(1), two.updated_at, False, True, True))
    assert pickler.reducer_override(One(1)) == (One, (1,))
    assert pickler.reducer_override("text") is NotImplemented


def test_what_there_may_be_many_of_is_in_the_parts_alone() -> None:
    """Steps as well, which may be more than there are tags."""
    few = inventory([tag("1", "i")], [index("i", [1, 2, 3, 4, 5]), *map(image, range(1, 6))])
    many = inventory([tag(str(number), number) for number in range(1, 50)], map(image, range(1, 60)))
    policy = RetentionPolicy(delete_untagged=True)
    with patch.object(packed, "PART", 1):
        assert len(Packed.of(plan(few, policy=policy)).parts) == 6
        assert Packed.of(plan(few, policy=policy)).unpacked() == plan(few, policy=policy)

    for world in (few, many):
        made = plan(world, policy=policy)
        assert packed._unpacked(Packed.of(made).rest) == replace(made, decisions=(), steps=(), untagged=())
