"""Sorted tuples that behave as a set and as a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.manifests import Tag
from acr_cleanup.core.references import Digest
from acr_cleanup.core.sorted_names import DigestsByTag, SortedNames

NAMES = st.text("ab.1", max_size=3)


@given(st.frozensets(NAMES), NAMES)
def test_names_are_a_set(names: frozenset[str], name: str) -> None:
    found = SortedNames(names)

    assert set(found) == names
    assert (name in found) == (name in names)
    assert found.get(name) == (name if name in names else None)
    assert list(found) == sorted(names)


@given(st.lists(st.tuples(NAMES, st.sampled_from(["sha256:a", "sha256:b"]))), NAMES)
def test_tags_are_a_dictionary_in_which_the_last_of_a_name_counts(pairs: list[tuple[str, str]], name: str) -> None:
    expected = dict(pairs)
    found = DigestsByTag(Tag(tag, Digest(digest), None) for tag, digest in pairs)

    assert found == expected
    assert (name in found, found.get(name)) == (name in expected, expected.get(name))
    assert list(found.items()) == sorted(expected.items())
    assert list(found.values()) == [expected[tag] for tag in sorted(expected)]
    assert found.keys() == expected.keys()
