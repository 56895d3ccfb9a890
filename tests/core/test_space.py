"""The space that deletions free: every layer once, and no layer of a kept manifest."""

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
def drawn_contents(draw: st.DrawFn) -> tuple[dict[Digest, Content | None], set[Digest]]:
    """The contents of a repository, and which of its manifests go."""
    contents: dict[Digest, Content | None] = dict(draw(CONTENTS))
    return contents, draw(st.sets(st.sampled_from(sorted(contents)))) if contents else set()


def test_shared_layer_counts_once_and_kept_layer_not() -> None:
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


def test_referrers_are_freed_with_their_subject() -> None:
    contents = {d("old"): Content(1, {"a": 10}), d("signature"): Content(1, {"b": 5})}

    space = measure(contents, contents.keys(), {d("old"): (d("signature"),)})

    assert space.freed([d("old")]) == 17
    further = {d("old"): (d("signature"),), d("signature"): (d("its own"),)}
    contents[d("its own")] = Content(1, {"c": 3})
    assert measure(contents, contents.keys(), further).freed([d("old")]) == 21
    both = {d("old"): (d("its own"),), d("signature"): (d("its own"),)}
    assert measure(contents, contents.keys(), both).freed([d("old"), d("signature")]) == 21, (
        "a shared referrer counts once"
    )


def test_unreadable_manifest_makes_the_space_inexact() -> None:
    """It might share any layer, whether it is kept or deleted."""
    for unknown in (d("kept"), d("old")):
        contents: dict[Digest, Content | None] = {d("old"): Content(1, {"a": 10}), d("kept"): Content(1, {"a": 10})}
        contents[unknown] = None

        assert not measure(contents, {d("old")}).exact
    assert not measure({}, {d("old")}).exact


def test_smaller_of_two_sizes_of_a_layer_counts() -> None:
    contents = {d("a"): Content(0, {"x": 7}), d("b"): Content(0, {"x": 9})}

    assert measure(contents, contents.keys()).total == 7


@given(drawn_contents())
def test_space_is_at_most_the_sum_of_all_sizes(drawn: tuple[dict[Digest, Content | None], set[Digest]]) -> None:
    contents, planned = drawn

    upper_bound = sum(
        content.document + sum(content.blobs.values()) for digest in planned if (content := contents[digest])
    )
    assert 0 <= measure(contents, planned).total <= upper_bound


@given(drawn_contents(), st.data())
def test_fewer_kept_manifests_never_free_less(
    drawn: tuple[dict[Digest, Content | None], set[Digest]], data: st.DataObject
) -> None:
    contents, planned = drawn
    kept = sorted(contents.keys() - planned)
    removed = data.draw(st.sampled_from(kept)) if kept else None
    fewer_kept = {digest: content for digest, content in contents.items() if digest != removed}

    assert measure(fewer_kept, planned).total >= measure(contents, planned).total


@given(drawn_contents(), st.randoms())
def test_order_of_manifests_does_not_matter(
    drawn: tuple[dict[Digest, Content | None], set[Digest]], shuffler: random.Random
) -> None:
    contents, planned = drawn
    shuffled = list(contents.items())
    shuffler.shuffle(shuffled)
    order = list(planned)
    shuffler.shuffle(order)

    assert measure(dict(shuffled), order) == measure(contents, planned)
    assert measure(contents, planned).freed(order) == measure(contents, planned).total


@given(drawn_contents(), st.data())
def test_more_deletions_never_free_less(
    drawn: tuple[dict[Digest, Content | None], set[Digest]], data: st.DataObject
) -> None:
    contents, planned = drawn
    space = measure(contents, planned)
    more = data.draw(st.sets(st.sampled_from(sorted(planned)))) if planned else set()
    fewer = data.draw(st.sets(st.sampled_from(sorted(more)))) if more else set()

    assert space.freed(fewer) <= space.freed(more) <= space.total


@given(drawn_contents())
def test_space_equals_stored_minus_kept_bytes(
    drawn: tuple[dict[Digest, Content | None], set[Digest]],
) -> None:
    """By brute force: the bytes of all manifests, minus the bytes that the kept ones need."""
    contents, planned = drawn

    def stored(digests: set[Digest]) -> int:
        blobs = {blob for digest in digests if (content := contents[digest]) for blob in content.blobs}
        layers: int = sum(SIZES[blob] for blob in blobs)
        return layers + 3 * len(digests)

    assert measure(contents, planned).total == stored(set(contents)) - stored(contents.keys() - planned)


def test_unmeasured_space_counts_read_and_unread_manifests() -> None:
    contents = {d("a"): Content(1), d("b"): None}

    assert measure(contents, {d("a"), d("gone"), d("lost")}, read=4) == Space(read=4, unread=3)
    assert measure({d("a"): Content(1)}, {d("a")}, read=4) == Space({d("a"): Content(1)}, read=4)
