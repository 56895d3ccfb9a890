"""Makes the entries of a new ledger from those of the last one and from what a run saw."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from acr_cleanup.core.history import PastUse
from acr_cleanup.core.known_bodies import PREFIX, BodyMemory, RepositoryBodies
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.selection import patterns
from acr_cleanup.records.ledger import Ledger, LedgerBody, LedgerCandidates, LedgerRepository
from acr_cleanup.stages.ledger_history import (
    RecordedRepository,
    Uses,
    grouped_candidates,
    grouped_uses,
    pack,
    recorded_bodies,
)

KEPT_USES = timedelta(days=400)
"""Uses are forgotten after this time, or after `used_within` if that is longer."""

BODIES_BYTES = 4 * 1024 * 1024
"""Room for bodies with references. The others are read again in each run."""


@dataclass(frozen=True)
class NewEntries:
    """
    The entries of all repositories.

    old: those of the last ledger. seen: what this run saw in use, by repository.
    looked: the entries of the repositories that were decided. gone: images that these no longer have.
    names: of the registry's repositories; None if they are unknown.
    begins: may candidates begin in this run?
    """

    old: Mapping[str, RecordedRepository]
    seen: Mapping[str, Uses]
    looked: Mapping[str, LedgerRepository]
    gone: Mapping[str, frozenset[str]]
    bodies: BodyMemory
    policy: RetentionPolicy
    plan: Plan
    names: Collection[str] | None
    begins: bool

    def entries(self) -> Iterator[LedgerRepository]:
        room = BODIES_BYTES
        unread = {tally.repository for tally in self.plan.tallies if tally.error}
        for name in sorted({*self.old, *self.seen, *self.looked, *self.bodies.repositories}):
            if self.names is not None and name not in self.names and not name.endswith("/"):
                continue
            known = self.bodies.repositories.get(name) or RepositoryBodies()
            bodies = list(recorded_bodies(known.full))
            room -= sum(map(_size, bodies))
            entry = LedgerRepository(
                name,
                grouped_uses(self._uses(name)),
                list(self._candidates(name, is_unread=name in unread)),
                bodies if room > 0 else [],
                pack((*known.plain, *known.new), PREFIX),
            )
            if entry != LedgerRepository(name):
                yield entry

    def _uses(self, name: str) -> Uses:
        oldest = self.plan.created_at - max(KEPT_USES, self.policy.used_within or KEPT_USES)
        gone = self.gone.get(name, frozenset())
        recorded = self.old[name].uses if name in self.old else {}
        kept = {image: use for image, use in recorded.items() if use.seen_at > oldest and image not in gone}
        return latest(kept, self.seen.get(name, {}))

    def _candidates(self, name: str, *, is_unread: bool) -> Iterable[LedgerCandidates]:
        if name in self.looked:
            candidates = self.looked[name].candidates
            return candidates if self.begins else [of for of in candidates if of.since < self.plan.created_at]
        selects = patterns(self.policy.repositories, use_regex=self.policy.use_regex).select
        if not is_unread and selects(name) and self.policy.shard.includes(name):
            # It is out of scope, so none of its tags would have been deleted.
            return ()
        return self.old[name].entry.candidates if name in self.old else ()


def latest(uses: Uses, more: Uses) -> dict[str, PastUse]:
    """The later use of each image."""
    return {**uses, **{image: max(use, uses.get(image, use)) for image, use in more.items()}}


def merged(ours: Ledger, theirs: Ledger, read: Ledger | None, looked: Collection[str]) -> Ledger:
    """
    The ledger of two runs at once. No use is lost; a candidate of only one of them starts anew.

    ours: what this run would write. theirs: what another one wrote since this one had read `read`.
    looked: the repositories that this run decided.
    """
    before = {entry.repository: entry for entry in read.repositories} if read is not None else {}
    of_theirs = {entry.repository: entry for entry in theirs.repositories}
    of_ours = {entry.repository: entry for entry in ours.repositories}
    entries = []
    for name in sorted({*of_ours, *of_theirs}):
        our, their = of_ours.get(name) or LedgerRepository(name), of_theirs.get(name) or LedgerRepository(name)
        was = before.get(name) or LedgerRepository(name)
        if name not in looked:
            candidates = their.candidates
        elif their.candidates == was.candidates:
            candidates = our.candidates
        else:
            candidates = _common(our, their)
        uses = latest(RecordedRepository(our).uses, RecordedRepository(their).uses)
        bodies = our if name in looked else their
        entries.append(LedgerRepository(name, grouped_uses(uses), candidates, bodies.bodies, bodies.plain))
    return Ledger(
        ours.schema_version,
        ours.tool_version,
        ours.registry,
        max(ours.started_at, theirs.started_at),
        max(ours.written_at, theirs.written_at),
        entries,
        hash="",
    )


def _common(our: LedgerRepository, their: LedgerRepository) -> list[LedgerCandidates]:
    """The candidates of both, each since the later time."""
    ours, theirs = _times(our), _times(their)
    return grouped_candidates({key: max(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()})


def _times(entry: LedgerRepository) -> dict[bytes, datetime]:
    return {key: since for since, keys in RecordedRepository(entry).candidates for key in keys}


def _size(body: LedgerBody) -> int:
    """About the bytes of a body in the file."""
    return 150 + 75 * len(body.children) + 75 * (body.subject is not None)
