"""How much space goes with manifests: every layer once, and none that something kept refers to."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.references import Digest
from acr_cleanup.core.space import Content, Space, measure
from tests.helpers.generated_inventories import d

MANIFESTS = [d(number) for number in range(1, 7)]
SIZES = {f"sha256:layer{number}": 10**number for number in range(6)}
CONTENTS = st.dictionaries(
    st.sampled_from(MANIFESTS),
    st.builds(
        lambda blobs: Content(3, {blob: SIZES[blob] for blob in blobs}), st.lists(st.sampled_from(sorted(SIZES)))
    ),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[Digest, Content | None], set[Digest]]:
    """The contents of a repository, and which of its manifests go."""
    contents: dict[Digest, Content | None] = dict(draw(CONTENTS))
    return contents, draw(st.sets(st.sampled_from(sorted(contents)))) if contents else set()


def test_a_layer_that_two_share_is_counted_once_and_one_that_is_kept_not_at_all() -> None:
    contents = {
        d("old"): Content(1, {"base": 1000, "shared": 100, "own": 10}),
        d("older"): Content(1, {"base": 1000, "shared": 100}),
        d("kept"): Content(1, {"base": 1000}),
    }

    space = measure(contents, {d("old"), d("older")})

    assert space.total == 100 + 10 + 2
    assert space.freed([d("old")]) == 10 + 1
    assert space.freed([d("older")]) == 1
    assert space.freed([]) == 0


def test_what_is_attached_goes_along_without_being_asked_for() -> None:
    contents = {d("old"): Content(1, {"a": 10}), d("signature"): Content(1, {"b": 5})}

    space = measure(contents, contents.keys(), {d("old"): (d("signature"),)})

    assert space.freed([d("old")]) == 17
    further = {d("old"): (d("signature"),), d("signature"): (d("its own"),)}
    contents[d("its own")] = Content(1, {"c": 3})
    assert measure(contents, contents.keys(), further).freed([d("old")]) == 21
    both = {d("old"): (d("its own"),), d("signature"): (d("its own"),)}
    assert measure(contents, contents.keys(), both).freed([d("old"), d("signature")]) == 21, (
        "what both take along goes once"
    )


def test_one_manifest_that_nobody_can_read_makes_no_figure_exact() -> None:
    """It might share any layer, whether it goes or stays."""
    for unknown in (d("kept"), d("old")):
        contents: dict[Digest, Content | None] = {d("old"): Content(1, {"a": 10}), d("kept"): Content(1, {"a": 10})}
        contents[unknown] = None

        assert not measure(contents, {d("old")}).exact
    assert not measure({}, {d("old")}).exact


def test_of_two_sizes_for_one_layer_the_smaller_is_promised() -> None:
    contents = {d("a"): Content(0, {"x": 7}), d("b"): Content(0, {"x": 9})}

    assert measure(contents, contents.keys()).total == 7


@given(worlds())
def test_it_is_never_more_than_the_upper_bound(world: tuple[dict[Digest, Content | None], set[Digest]]) -> None:
    contents, planned = world

    upper_bound = sum(
        content.document + sum(content.blobs.values()) for digest in planned if (content := contents[digest])
    )
    assert 0 <= measure(contents, planned).total <= upper_bound


@given(worlds(), st.data())
def test_one_kept_manifest_less_never_frees_less(
    world: tuple[dict[Digest, Content | None], set[Digest]], data: st.DataObject
) -> None:
    contents, planned = world
    kept = sorted(contents.keys() - planned)
    less = data.draw(st.sampled_from(kept)) if kept else None
    without = {each: content for each, content in contents.items() if each != less}

    assert measure(without, planned).total >= measure(contents, planned).total


@given(worlds(), st.randoms())
def test_the_order_does_not_matter(
    world: tuple[dict[Digest, Content | None], set[Digest]], shuffler: random.Random
) -> None:
    contents, planned = world
    shuffled = list(contents.items())
    shuffler.shuffle(shuffled)
    order = list(planned)
    shuffler.shuffle(order)

    assert measure(dict(shuffled), order) == measure(contents, planned)
    assert measure(contents, planned).freed(order) == measure(contents, planned).total


@given(worlds(), st.data())
def test_more_deleted_never_frees_less_and_all_of_it_frees_everything(
    world: tuple[dict[Digest, Content | None], set[Digest]], data: st.DataObject
) -> None:
    contents, planned = world
    space = measure(contents, planned)
    some = data.draw(st.sets(st.sampled_from(sorted(planned)))) if planned else set()
    fewer = data.draw(st.sets(st.sampled_from(sorted(some)))) if some else set()

    assert space.freed(fewer) <= space.freed(some) <= space.total


@given(worlds())
def test_it_is_what_is_left_over_when_everything_kept_is_added_up(
    world: tuple[dict[Digest, Content | None], set[Digest]],
) -> None:
    """The same by brute force: all that is stored, less all that what stays needs."""
    contents, planned = world

    def stored(digests: set[Digest]) -> int:
        blobs = {blob for digest in digests if (content := contents[digest]) for blob in content.blobs}
        layers: int = sum(SIZES[blob] for blob in blobs)
        return layers + 3 * len(digests)

    assert measure(contents, planned).total == stored(set(contents)) - stored(contents.keys() - planned)


def test_what_could_not_be_measured_says_how_much_was_read_and_how_much_was_not() -> None:
    contents = {d("a"): Content(1), d("b"): None}

    assert measure(contents, {d("a"), d("gone"), d("lost")}, read=4) == Space(read=4, unread=3)
    assert measure({d("a"): Content(1)}, {d("a")}, read=4) == Space({d("a"): Content(1)}, read=4)
