"""The history that a ledger holds, as the core asks for it; and the entries of a ledger."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b

from acr_cleanup.core.history import PastUse, PastUses
from acr_cleanup.core.inventory import Manifest, Tag
from acr_cleanup.core.known_bodies import PREFIX, KnownBody, RepositoryBodies
from acr_cleanup.core.packed_set import PackedSet
from acr_cleanup.core.references import Digest
from acr_cleanup.records.ledger import ANY_IMAGE, Ledger, LedgerBody, LedgerCandidates, LedgerRepository, LedgerUse

KEY = 7
"""Bytes of the hash of a candidate. If two of a million had the same one, one might wait less long."""

Uses = Mapping[str, PastUse]
"""Tag, digest or `ANY_IMAGE` -> its last use."""


class RecordedRepository:
    """The entry of one repository. Its parts are decoded at the first use."""

    def __init__(self, entry: LedgerRepository) -> None:
        self.entry = entry

    @cached_property
    def uses(self) -> Uses:
        uses: dict[str, PastUse] = {}
        for recorded in self.entry.uses:
            use = PastUse(recorded.seen_at, recorded.by)
            for image in recorded.images:
                uses[image] = max(use, uses.get(image, use))
        return uses

    @cached_property
    def candidates(self) -> tuple[tuple[datetime, PackedSet], ...]:
        return tuple((waiting.since, unpack(waiting.items, KEY)) for waiting in self.entry.candidates)

    def candidate_since(self, key: bytes) -> datetime | None:
        # Latest first: an item occurs once, unless the file was made by hand.
        return max((since for since, keys in self.candidates if key in keys), default=None)

    def bodies(self) -> RepositoryBodies:
        full = {
            Digest(body.digest): KnownBody(
                body.media_type,
                body.config_media_type,
                tuple(map(Digest, body.children)),
                None if body.subject is None else Digest(body.subject),
            )
            for body in self.entry.bodies
        }
        return RepositoryBodies(full, unpack(self.entry.plain, PREFIX))


class LedgerHistory:
    """
    The history of a registry. Implements `History`.

    since: see `History`. None: the ledger is too old, so no candidate of it counts. Its uses do.
    """

    def __init__(self, ledger: Ledger | None, since: datetime | None) -> None:
        self.since = since
        self.last_run = ledger.written_at if ledger is not None else None
        entries = ledger.repositories if ledger is not None else ()
        self.repositories = {entry.repository: RecordedRepository(entry) for entry in entries}

    def uses(self, repository: str) -> PastUses:
        recorded = self.repositories.get(repository)
        uses = recorded.uses if recorded is not None else {}
        parts = repository.split("/")
        folders = ("/".join((*parts[:end], "")) for end in range(1, len(parts)))
        of_folders = (self.repositories[folder].uses for folder in folders if folder in self.repositories)
        any_image = [of_all[ANY_IMAGE] for of_all in (uses, *of_folders) if ANY_IMAGE in of_all]
        return PastUses(
            {image: use for image, use in uses.items() if ":" not in image},
            {Digest(image): use for image, use in uses.items() if ":" in image},
            max(any_image, default=None),
        )

    def candidate_since(self, repository: str, item: Tag | Manifest) -> datetime | None:
        recorded = self.repositories.get(repository)
        return None if recorded is None or self.since is None else recorded.candidate_since(key_of(item))


def key_of(item: Tag | Manifest) -> bytes:
    """The key of a candidate. It is another one after a move or a push."""
    name = item.name if isinstance(item, Tag) else ""
    pushed = "" if item.updated_at is None else item.updated_at.astimezone(UTC).isoformat()
    return blake2b(f"{name}\n{item.digest}\n{pushed}".encode(), digest_size=KEY).digest()


def pack(items: Iterable[bytes], width: int) -> str:
    return b64encode(PackedSet.of(items, width).data).decode("ascii")


def unpack(text: str, width: int) -> PackedSet:
    try:
        data = b64decode(text)
    except Base64Error:
        data = b""
    return PackedSet(width, data[: len(data) // width * width])


def grouped_uses(uses: Uses) -> list[LedgerUse]:
    """The uses by workload and time, in an order that depends on nothing else."""
    groups: dict[PastUse, list[str]] = {}
    for image, use in uses.items():
        groups.setdefault(use, []).append(image)
    return [LedgerUse(use.seen_at, use.by, sorted(groups[use])) for use in sorted(groups)]


def grouped_candidates(items: Mapping[bytes, datetime]) -> list[LedgerCandidates]:
    groups: dict[datetime, list[bytes]] = {}
    for key, since in items.items():
        groups.setdefault(since, []).append(key)
    return [LedgerCandidates(since, pack(groups[since], KEY)) for since in sorted(groups)]


def recorded_bodies(bodies: Mapping[Digest, KnownBody]) -> Iterator[LedgerBody]:
    for digest in sorted(bodies):
        body = bodies[digest]
        yield LedgerBody(digest, body.media_type, body.config_media_type, list(body.children), body.subject)
