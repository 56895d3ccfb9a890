"""Manifests packed into integers: each one is read as it was added."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.core.changed_set import ChangedSet
from acr_cleanup.core.manifest_table import ManifestTable
from tests.helpers.generated_inventories import d, image

TRAITS = image("any")


@pytest.mark.parametrize(
    "moment",
    [
        None,
        datetime(2026, 11, 30, 12, 0, 0, 123456, tzinfo=UTC),
        datetime(2000, 1, 1, tzinfo=UTC),
        datetime(1999, 12, 31, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(2026, 11, 30, tzinfo=timezone(timedelta(hours=2))),
    ],
)
@pytest.mark.parametrize("size", [0, 1, (1 << 48) - 1, 1 << 48])
def test_manifest_is_read_as_it_was_added(moment: datetime | None, size: int) -> None:
    """Times before 2000, in other zones or far away, and huge sizes do not fit into an integer."""
    table = ManifestTable()
    table.add(d("a"), TRAITS, size, moment, None)
    table.add(d("b"), TRAITS, 1, None, moment)

    manifest = table[d("a")]
    assert (manifest.digest, manifest.size, manifest.updated_at, manifest.created_at) == (d("a"), size, moment, None)
    assert manifest.media_type == TRAITS.media_type
    assert (table[d("b")].updated_at, table[d("b")].created_at) == (None, moment)
    assert table.size_of([d("a"), d("b")]) == size + 1
    assert repr(table) == repr(dict(table))


@given(st.sets(st.integers(0, 9)), st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 9)))))
def test_changed_set_is_the_set_with_its_changes(base: set[int], changes: list[tuple[bool, list[int]]]) -> None:
    changed, plain = ChangedSet(frozenset(base)), set(base)
    for adds, items in changes:
        if adds:
            changed.add_all(items)
            plain |= set(items)
        else:
            changed.remove_all(items)
            plain -= set(items)
    assert (set(changed), len(changed)) == (plain, len(plain))
    assert all((item in changed) is (item in plain) for item in range(10))
