"""
Verifies that all tags and digests in use can be pulled, before and after the deletions.

A name that is not listed is requested directly before it is reported: unlisted tags can be pulled,
and a replica may lag behind. After a run, the request is repeated once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from acr_cleanup.concurrency import gather, unless_stopped
from acr_cleanup.core.comparison import Comparison, compare
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.outcome import Outcome, OutcomeKind
from acr_cleanup.core.plan import Plan
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.core.verification import (
    Baseline,
    Broken,
    Missing,
    Proof,
    RepositoryNames,
    full_name,
    is_digest,
    missing_references,
)
from acr_cleanup.errors import AcrCleanupError, RegistryError
from acr_cleanup.stages.read_repository import off_loop
from acr_cleanup.stages.registry_port import REPOSITORIES_AT_ONCE, Registry

SETTLE = 5.0
"""Seconds before a missing name is requested again, because a replica may lag behind."""

REQUESTS_AT_ONCE = 8

REMAINING_ASKED = 20
"""Deleted names that are still listed, and are requested. A list that lags behind may show thousands."""

_REMAINS = (
    "still exists, although the registry accepted its deletion. It was pushed again, or the deletion has not taken "
    "effect everywhere yet. Run again to check."
)

_POSSIBLY_DELETED = frozenset({OutcomeKind.DELETED, OutcomeKind.GONE, OutcomeKind.FAILED})
"""A failed deletion may have happened."""

log = logging.getLogger("acr_cleanup.stages.verify")


async def find_missing(inventory: RepositoryInventory, usage: UsageIndex, registry: Registry) -> tuple[Missing, ...]:
    """
    Return the names in use that are not listed and cannot be pulled.

    If the registry does not answer a request, the listing decides: the name is missing.
    """

    async def exists(missing: Missing) -> bool:
        try:
            return await registry.resolves(missing.repository, missing.name)
        except RegistryError:
            log.debug("looking for %s", missing, exc_info=True)
            return False

    unlisted = missing_references(inventory, usage)
    answers = await gather([partial(exists, missing) for missing in unlisted], limit=REQUESTS_AT_ONCE)
    return tuple(missing for missing, answer in zip(unlisted, answers, strict=True) if not answer)


@dataclass
class Witness:
    """Records each repository before its first deletion, and the latest usage index."""

    standing: dict[str, Baseline] = field(default_factory=dict)
    """For each repository, the tags and manifests that must still exist after the run."""
    usage: UsageIndex | None = None

    def look(self, inventory: RepositoryInventory, usage: UsageIndex) -> None:
        """Record an inventory; for each repository, only the first one counts."""
        if inventory.name not in self.standing:
            self.standing[inventory.name] = Baseline.of(inventory)
        self.usage = usage


async def verify(
    plan: Plan, witness: Witness, outcomes: Iterable[Outcome], registry: Registry, stop: asyncio.Event
) -> Proof | None:
    """
    Verify each repository in which something was deleted; return None if nothing was.

    `stop`: once it is set, the verification is skipped. Errors become part of the result and are
    not raised, because the deletions must be reported also if the verification fails.
    """
    outcomes = tuple(outcomes)
    changed = _changed(outcomes, witness)
    if not changed:
        return None
    if stop.is_set():
        return Proof(skipped=True)
    try:
        failed = frozenset(_name_of(outcome) for outcome in outcomes if outcome.kind is OutcomeKind.FAILED)
        return await unless_stopped(_Verifier(plan, witness, registry, failed).run(changed), stop)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        return Proof(skipped=True)
    except Exception as error:  # an unexpected error must not hide the deletions either
        log.debug("verification failed", exc_info=True)
        return Proof(unproven=(f"unexpected: {type(error).__name__}: {error}",))


def _changed(outcomes: Iterable[Outcome], witness: Witness) -> dict[str, dict[str, bool]]:
    """
    Return the names that may be deleted, by repository, with True if this run deleted them.

    Only repositories in which this run deleted something.
    """
    deleted: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.kind in _POSSIBLY_DELETED:
            repository, name = _name_of(outcome)
            deleted[repository][name] = outcome.kind is not OutcomeKind.GONE
    return {
        repository: names
        for repository, names in deleted.items()
        if repository in witness.standing and any(names.values())
    }


def _name_of(outcome: Outcome) -> tuple[str, str]:
    return outcome.repository, outcome.digest if outcome.tag is None else outcome.tag


def _suspects(compared: Iterable[Comparison]) -> list[tuple[Broken, bool]]:
    """Suspects with True, absent tags with False."""
    compared = tuple(compared)
    suspects = [(broken, True) for result in compared for broken in result.suspects]
    return suspects + [(absent, False) for result in compared for absent in result.absent]


@dataclass
class _Verifier:
    plan: Plan
    witness: Witness
    registry: Registry
    failed: frozenset[tuple[str, str]]
    """The repository and name of each deletion that failed."""
    remaining: list[tuple[str, str]] = field(default_factory=list)
    """Some deleted names that are still listed: the repository and the name of each."""
    unproven: list[str] = field(default_factory=list)
    """Messages about repositories and names that could not be verified."""

    async def run(self, changed: Mapping[str, Mapping[str, bool]]) -> Proof:
        jobs = [partial(self._compare, repository, deleted) for repository, deleted in sorted(changed.items())]
        results = await gather(jobs, limit=REPOSITORIES_AT_ONCE)
        compared = [result for result in results if result is not None]
        suspects = await self._confirm(_suspects(compared))
        if suspects or self.remaining:
            await asyncio.sleep(SETTLE)
        if suspects:
            suspects = await self._confirm(await self._still_suspect(suspects, changed))
        notes = [note for result in compared for note in result.notes]
        notes += await self._remaining_notes()
        return Proof(
            repositories=len(compared),
            references=sum(result.references for result in compared),
            broken=tuple(suspect for suspect, is_broken in suspects if is_broken),
            notes=(*notes, *(f"{suspect} {suspect.seen}." for suspect, is_broken in suspects if not is_broken)),
            unproven=tuple(sorted(self.unproven)),
        )

    async def _still_suspect(
        self, suspects: Sequence[tuple[Broken, bool]], changed: Mapping[str, Mapping[str, bool]]
    ) -> list[tuple[Broken, bool]]:
        """
        Return the suspects that are still broken in new lists.

        A list takes time. If another client deletes a manifest during it, the tag may still be listed
        and looks broken. In the next list it is absent. A tag that is broken only in the next list is
        not a suspect: between the two lists, this run deletes nothing.
        """
        names = {(suspect.repository, suspect.name) for suspect, _ in suspects}
        repositories = sorted({suspect.repository for suspect, is_broken in suspects if is_broken})
        jobs = [partial(self._compare, repository, changed[repository]) for repository in repositories]
        results = await gather(jobs, limit=REPOSITORIES_AT_ONCE)
        read = {repository for repository, result in zip(repositories, results, strict=True) if result is not None}
        again = _suspects(result for result in results if result is not None)
        return [
            *((suspect, is_broken) for suspect, is_broken in suspects if suspect.repository not in read),
            *((suspect, is_broken) for suspect, is_broken in again if (suspect.repository, suspect.name) in names),
        ]

    async def _compare(self, repository: str, deleted: Mapping[str, bool]) -> Comparison | None:
        """Compare a repository with its state before the run; None if it cannot be listed."""
        try:
            after = await self.registry.list_names(repository, self.witness.standing[repository].listed)
        except AcrCleanupError as error:
            self.unproven.append(f"{repository}: {error}")
            return None
        self._add_remaining(self.witness.standing[repository], after, deleted)
        job = partial(
            compare,
            self.witness.standing[repository],
            after,
            self.plan.usage,
            self.witness.usage or self.plan.usage,
            missing={missing.name for missing in self.plan.missing if missing.repository == repository},
            deleted=deleted,
        )
        return await off_loop(len(after.tags), job)

    def _add_remaining(self, baseline: Baseline, after: RepositoryNames, deleted: Mapping[str, bool]) -> None:
        """Add the names that this run deleted, and that are listed as before."""
        remaining = (
            (baseline.repository, name)
            for name, ours in deleted.items()
            if ours
            and (name in after.manifests if is_digest(name) else after.tags.get(name) == baseline.tags.get(name, ""))
        )
        self.remaining += islice((name for name in remaining if name not in self.failed), REMAINING_ASKED)

    async def _remaining_notes(self) -> list[str]:
        """A note for each of the first deleted names that are still listed, and that the registry has."""

        async def note(repository: str, name: str) -> str:
            try:
                return (
                    f"{full_name(repository, name)} {_REMAINS}"
                    if await self.registry.resolves(repository, name)
                    else ""
                )
            except AcrCleanupError:
                return ""

        names = sorted(self.remaining)[:REMAINING_ASKED]
        return list(filter(None, await gather([partial(note, *name) for name in names], limit=REQUESTS_AT_ONCE)))

    async def _confirm(self, suspects: Sequence[tuple[Broken, bool]]) -> list[tuple[Broken, bool]]:
        """
        Request each suspect, and return those that the registry does not have.

        A manifest that is listed nowhere and could not be pulled before the run either exists as
        long as the registry has its attributes. A suspect without an answer is neither broken nor
        verified: it is added to `unproven`.
        """

        async def is_gone(suspect: Broken) -> bool:
            try:
                name = suspect.repository, suspect.name
                return not (await self.registry.resolves(*name) or await self.registry.has_attributes(*name))
            except AcrCleanupError as error:
                self.unproven.append(
                    f"{suspect} is no longer listed, and the registry did not say if it exists: {error}"
                )
                return False

        answers = await gather([partial(is_gone, suspect) for suspect, _ in suspects], limit=REQUESTS_AT_ONCE)
        return [suspect for suspect, answer in zip(suspects, answers, strict=True) if answer]
