"""
The manifests of one repository in little memory: most are packed into one integer each.

A listed manifest takes 200 bytes as a value, and 48 packed. A repository may have 200,000. Those
with children or a subject are few, and are not packed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, KeysView, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import structs

from acr_cleanup.core.manifests import Manifest
from acr_cleanup.core.references import Digest

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# The bits of a packed manifest: the place of its traits, two times, and its size. With one more than
# these 180, Python needs 64 bytes instead of 48.
_PLACE, _TIME, _SIZE = 24, 54, 48
_PLACES, _NO_TIME = (1 << _PLACE) - 1, (1 << _TIME) - 1
_CREATED, _SIZES = _PLACE + _TIME, _PLACE + 2 * _TIME


class ManifestTable(Mapping[Digest, Manifest]):
    """
    Digest -> manifest. Every access to a packed manifest makes a new value.

    The *traits* of a manifest are a manifest with the same values except digest, size and times.
    Thousands share them. To look at traits costs much less than to make a manifest.
    """

    def __init__(self, rows: dict[Digest, int | Manifest] | None = None, traits: list[Manifest] | None = None) -> None:
        self._rows = {} if rows is None else rows
        self._traits = [] if traits is None else traits
        self._places: dict[int, int] = {}

    @classmethod
    def of(cls, manifests: Mapping[Digest, Manifest]) -> ManifestTable:
        """These manifests as a table. A copy, unless they are one."""
        return manifests if isinstance(manifests, ManifestTable) else cls(dict(manifests))

    def add(
        self, digest: Digest, traits: Manifest, size: int, updated_at: datetime | None, created_at: datetime | None
    ) -> None:
        """Add a listed manifest to a table that is being made. traits: without children and subject."""
        updated = _packed(updated_at)
        created = updated if created_at is updated_at else _packed(created_at)
        if updated is None or created is None or size >> _SIZE or len(self._traits) > _PLACES:
            self._rows[digest] = _made(traits, digest, size, updated_at, created_at)
            return
        # By identity: to hash a manifest costs more than the rest. The list keeps the traits alive.
        place = self._places.get(id(traits))
        if place is None:
            place = self._places[id(traits)] = len(self._traits)
            self._traits.append(traits)
        self._rows[digest] = (size << _SIZES) | (created << _CREATED) | (updated << _PLACE) | place

    def __getitem__(self, digest: Digest) -> Manifest:
        return self._made(digest, self._rows[digest])

    def __contains__(self, digest: object) -> bool:
        return digest in self._rows

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(dict(self))

    def keys(self) -> KeysView[Digest]:
        return self._rows.keys()

    def replaced(self, manifests: Mapping[Digest, Manifest]) -> ManifestTable:
        """The same table with these manifests, which may be new."""
        return ManifestTable({**self._rows, **manifests}, self._traits)

    def without(self, digests: Container[Digest]) -> ManifestTable:
        """The same table without these manifests."""
        rows = {digest: row for digest, row in self._rows.items() if digest not in digests}
        return ManifestTable(rows, self._traits)

    def traits_of(self, digest: Digest) -> Manifest | None:
        """The traits of a manifest; None if there is no such manifest."""
        row = self._rows.get(digest)
        return self._traits[row & _PLACES] if isinstance(row, int) else row

    def traits(self) -> Iterator[tuple[Digest, Manifest]]:
        """Every digest with the traits of its manifest."""
        for digest, row in self._rows.items():
            yield digest, self._traits[row & _PLACES] if isinstance(row, int) else row

    def having(self, condition: Callable[[Manifest], bool]) -> Iterator[Digest]:
        """The digests of the manifests whose traits meet this condition. It is evaluated once for shared traits."""
        meets = list(map(condition, self._traits))
        for digest, row in self._rows.items():
            if meets[row & _PLACES] if isinstance(row, int) else condition(row):
                yield digest

    def edged(self) -> Iterator[Manifest]:
        """Every manifest that has children or a subject."""
        manifests = (row for row in self._rows.values() if not isinstance(row, int))
        return (manifest for manifest in manifests if manifest.children or manifest.subject is not None)

    def size_of(self, digests: Iterable[Digest]) -> int:
        """The sum of the sizes of these manifests, as listed."""
        rows = map(self._rows.__getitem__, digests)
        return sum(row >> _SIZES if isinstance(row, int) else row.size for row in rows)

    def _made(self, digest: Digest, row: int | Manifest) -> Manifest:
        if not isinstance(row, int):
            return row
        updated, created = (_unpacked(row >> shift & _NO_TIME) for shift in (_PLACE, _CREATED))
        return _made(self._traits[row & _PLACES], digest, row >> _SIZES, updated, created)


def _made(
    traits: Manifest, digest: Digest, size: int, updated_at: datetime | None, created_at: datetime | None
) -> Manifest:
    return structs.replace(traits, digest=digest, size=size, updated_at=updated_at, created_at=created_at)


def _packed(moment: datetime | None) -> int | None:
    """A time as microseconds; None if it is not in UTC, before 2000, or too late for its bits."""
    if moment is None:
        return _NO_TIME
    if moment.tzinfo is not UTC:
        # An equal time, but written in another way.
        return None
    time = (moment - _EPOCH) // _MICROSECOND
    return time if 0 <= time < _NO_TIME else None


def _unpacked(time: int) -> datetime | None:
    return None if time == _NO_TIME else _EPOCH + timedelta(microseconds=time)
