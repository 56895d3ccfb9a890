"""
The ledger in a run: it is read before the plan, and written after it with what this run saw.

A dry run writes it too. It sees as much as a run that deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from acr_cleanup import __version__
from acr_cleanup.core.history import PastUse
from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.known_bodies import PREFIX, BodyMemory, prefix_of
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.policy import Evidence, KeepReason, Rule
from acr_cleanup.core.removal import Reason
from acr_cleanup.core.retention import RetentionPolicy, day, describe_duration
from acr_cleanup.core.usage import Blocker, Outside, UsageIndex
from acr_cleanup.errors import unexpected
from acr_cleanup.quoting import in_utc, quoted
from acr_cleanup.records.encoding import lazy
from acr_cleanup.records.ledger import ANY_IMAGE, LEDGER_VERSION, Ledger, LedgerRepository
from acr_cleanup.records.ledger_file import FileStamp, LedgerError, check_writable, read_ledger, stamp, write_ledger
from acr_cleanup.reports import words
from acr_cleanup.stages.ledger_entries import NewEntries, merged
from acr_cleanup.stages.ledger_history import LedgerHistory, RecordedRepository, grouped_candidates, key_of, pack

LONGEST_GAP = timedelta(days=45)
"""
A ledger that was not written for longer is too old, unless an option asks for more than half of that.

It may be an old copy, and does not know what happened since then. Monthly runs are less far apart.
"""

CLOCK_SKEW = timedelta(minutes=5)
"""How far this machine's clock may be from the registry's."""

_BY = 120
"""Characters of the name of a workload."""


@dataclass
class LedgerKeeper:
    """
    The ledger of one run.

    path: None: the run has none, and nothing is remembered.
    bodies: what the ledger knows of manifests; the registry's client adds to it.
    registry_time: the registry's own clock.
    warnings: sentences, after `close`.
    """

    path: Path | None
    login_server: str
    policy: RetentionPolicy
    now: datetime
    bodies: BodyMemory = field(default_factory=BodyMemory)
    registry_time: Callable[[], datetime | None] = lambda: None
    warnings: list[str] = field(default_factory=list)
    _read: Ledger | None = None
    _stamp: FileStamp | None = None
    _outside: Outside = field(default_factory=Outside)
    _history: LedgerHistory = field(default_factory=lambda: LedgerHistory(None, None))
    _seen: dict[str, dict[str, PastUse]] = field(default_factory=dict)
    """Repository -> what this run saw in use."""
    _looked: dict[str, LedgerRepository] = field(default_factory=dict)
    """The new entries of the repositories that were decided. Their uses are added at the end."""
    _gone: dict[str, frozenset[str]] = field(default_factory=dict)
    """The images that the ledger names, and that these repositories no longer have."""

    def open(self, *, writes: bool = True) -> None:
        """Read the ledger. One that cannot be used is a blocker. writes: it must be writable, too."""
        if self.path is None:
            return
        try:
            self._stamp = stamp(self.path)
            self._read = read_ledger(self.path, self.login_server, self.now)
            if writes:
                check_writable(self.path)
        except LedgerError as error:
            self._outside = Outside(blockers=(Blocker(error.where, "use the ledger", error.seen, error.remedy),))
            self._read = None
            return
        gap = self._gap
        self._history = LedgerHistory(self._read, self._read.started_at if self._read and not gap else None)
        self.bodies.repositories |= {name: entry.bodies() for name, entry in self._history.repositories.items()}
        self._outside = Outside(warnings=tuple(self._warnings()))

    @property
    def _gap(self) -> timedelta | None:
        """The time since the ledger was written, if that is too long."""
        if self._read is None:
            return None
        options = max(self.policy.probation or timedelta(), self.policy.used_within or timedelta())
        age = self.now - self._read.written_at
        return age if age > max(LONGEST_GAP, 2 * options) else None

    @property
    def described(self) -> str:
        """Describe the records of earlier runs in one sentence."""
        if self._read is None:
            return ""
        written, since = day(self._read.written_at, self.now), day(self._read.started_at, self.now)
        return f"The ledger was written on {written} and reaches back to {since}."

    def _warnings(self) -> Iterator[str]:
        within, name = self.policy.used_within, f"The ledger {quoted(self.path, 120)}"
        waits = " Every candidate waits." if self.policy.probation else ""
        if self._read is None:
            yield f"{name} does not exist yet, or was lost: it starts with this run, and knows nothing of earlier ones.{waits}"
        elif gap := self._gap:
            yield (
                f"{name} was last written on {day(self._read.written_at, self.now)}, {gap.days} days ago: what happened "
                f"since then is not known. It starts anew.{waits} Check that the job hands on the ledger of its last run."
            )
        elif within and self.now - self._read.started_at < within:
            yield (
                f"{name} reaches back to {day(self._read.started_at, self.now)}, less than used-within "
                f"({describe_duration(within)}): earlier uses are not known.{waits}"
            )

    # -- what the run sees ---------------------------------------------------------------------------

    def attach(self, usage: UsageIndex) -> UsageIndex:
        """Return this usage with the history, and remember what it saw."""
        if self.path is None:
            return usage
        for scan in usage.scans:
            seen_at = scan.read_at or usage.read_at
            for use in scan.uses:
                reference, seen = use.reference, self._seen.setdefault(use.reference.repository, {})
                images = [image for image in (reference.tag, reference.digest) if image is not None]
                for image in images if not reference.is_open else (ANY_IMAGE,):
                    self._add(seen, image, seen_at, str(use.workload))
        return replace(usage, history=self._history, outside=usage.outside + self._outside)

    def look(self, evidence: Evidence, plan: RepositoryPlan) -> None:
        """Remember one decided repository."""
        if self.path is None:
            return
        inventory = evidence.inventory
        mentions = evidence.mentions
        seen = self._seen.setdefault(inventory.name, {})
        for mentioned in (mentions.by_tag, mentions.by_digest, {ANY_IMAGE: mentions.of_any}):
            for image, of_image in mentioned.items():
                if of_image:
                    self._add(seen, image, evidence.usage.read_at, str(of_image[0]))
        items: list[Tag | Manifest] = [decision.tag for decision in plan.decisions if _is_candidate(decision.reasons)]
        items += [decision.manifest for decision in plan.untagged if _is_candidate(decision.reasons)]
        since = {key_of(item): self._history.candidate_since(inventory.name, item) or evidence.now for item in items}
        recorded = self._history.repositories.get(inventory.name)
        known = frozenset(recorded.uses) if recorded is not None else frozenset()
        exists = inventory.names | inventory.manifests.keys() | inventory.tags_of.keys()
        self._gone[inventory.name] = known - exists - {ANY_IMAGE}
        self._looked[inventory.name] = LedgerRepository(inventory.name, candidates=grouped_candidates(since))
        self._forget_bodies(inventory)

    def _forget_bodies(self, inventory: RepositoryInventory) -> None:
        """Forget the bodies of manifests that no longer exist."""
        known = self.bodies.repositories.get(inventory.name)
        if known is not None and (known.full or known.plain or known.new):
            full = {digest: body for digest, body in known.full.items() if digest in inventory.manifests}
            prefixes = map(prefix_of, inventory.manifests)
            plain = pack((prefix for prefix in prefixes if prefix in known.new or prefix in known.plain), PREFIX)
            entry = LedgerRepository(inventory.name, plain=plain)
            self.bodies.repositories[inventory.name] = replace(RecordedRepository(entry).bodies(), full=full)

    @staticmethod
    def _add(seen: dict[str, PastUse], image: str, seen_at: datetime, by: str) -> None:
        known = seen.get(image)
        if known is None or seen_at > known.seen_at:
            seen[image] = PastUse(in_utc(seen_at), quoted(by, _BY))

    # -- what the next run reads ---------------------------------------------------------------------

    def close(self, plan: Plan | None, now: datetime, names: Collection[str] | None) -> bool:
        """
        Write the ledger, and add to `warnings`. Returns whether the next run will know what this one saw.

        plan: None if none was made; nothing is written then.
        """
        try:
            if plan is not None:
                self.write(plan, now, names)
        except LedgerError as error:
            self.warnings.append(f"{error} The next run does not know what this one saw.")
            return False
        except Exception as error:  # noqa: BLE001  # deletions must be reported all the same
            self.warnings.append(f"The ledger could not be written. {unexpected(error)}")
            return False
        return True

    def write(self, plan: Plan, now: datetime, names: Collection[str] | None) -> None:
        """
        Write the ledger for the next run. Raises `LedgerError` if it cannot be written.

        now: the clock of this machine at this moment.
        names: of the registry's repositories; None if they are unknown.
        """
        registry_time = self.registry_time()
        behind = timedelta() if registry_time is None else registry_time - now
        # With the clock ahead, later runs would refuse a ledger from the future. The plan is blocked.
        if self.path is None or self._outside.blockers or behind < -CLOCK_SKEW:
            return
        late = behind > CLOCK_SKEW
        new = NewEntries(
            self._history.repositories,
            {
                # With the clock behind, the times of this run are too early.
                name: {
                    image: replace(use, seen_at=use.seen_at + behind) if late else use for image, use in seen.items()
                }
                for name, seen in self._seen.items()
            },
            self._looked,
            self._gone,
            self.bodies,
            self.policy,
            plan,
            names,
            # Only a run that read everything knows what is unused.
            begins=not (plan.blockers or late),
        )
        ledger = Ledger(
            LEDGER_VERSION,
            __version__,
            self.login_server,
            in_utc(self._history.since or plan.created_at),
            in_utc(plan.created_at),
            list(new.entries()),
            hash="",
        )
        if stamp(self.path) != self._stamp and (other := read_ledger(self.path, self.login_server, now)) is not None:
            ledger = merged(ledger, other, self._read, self._looked)
        entries = ledger.repositories
        ledger.repositories = lazy(lambda: entries)
        write_ledger(self.path, ledger)
        if late:
            lag = f"The clock of this machine is {words.age(behind)} behind the registry's"
            self.warnings.append(f"{lag}: no tag begins its probation. Set the clock.")


def _is_candidate(reasons: Sequence[KeepReason] | Sequence[Reason]) -> bool:
    """Would the tag or manifest be deleted, but for its probation?"""
    return all(reason.rule is Rule.PROBATION for reason in reasons)
