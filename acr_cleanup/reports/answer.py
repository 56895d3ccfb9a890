"""
Parts that the answers of `acr-cleanup explain` share.

A terminal shows a limited number of uses and tags, and counts the others. Other outputs show all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby

from acr_cleanup.core.explanation import decide
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import Block, Line, TextPage, fact, heading, section
from acr_cleanup.reports.plan_words import warning_text

USES_ON_SCREEN = 20
TAGS_ON_SCREEN = 60
_NAMES_SHOWN = 12

DELETED_STYLE, KEPT_STYLE, MISSING_STYLE, BLOCKED_STYLE = "bold yellow", "bold green", "bold red", "bold red"

# Kinds that controllers create. Objects that people write are shown before them.
_MADE_BY_CONTROLLERS = ("Job", "ReplicationController", "ControllerRevision", "ReplicaSet", "Pod")

BEGINNING = datetime.fromtimestamp(0).astimezone()
"""Sorts tags of unknown age before all others."""


@dataclass(frozen=True, slots=True)
class ShownUse:
    """One use in words. All texts are foreign, and are escaped when they are shown."""

    cluster: str
    kind: str
    who: str
    """The workload and its container."""
    field: str
    """The path of the field in the object."""
    text: str
    """The value of the field."""

    @classmethod
    def of(cls, use: ImageUse) -> ShownUse:
        return cls(use.workload.cluster, use.workload.kind, str(use), use.field, use.text)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many uses and tags are shown; None: all."""

    uses: int | None = None
    tags: int | None = None


ON_SCREEN = Bounds(USES_ON_SCREEN, TAGS_ON_SCREEN)


@dataclass(frozen=True)
class ExplanationPage(TextPage):
    """An answer. A terminal shows it within `ON_SCREEN`, unless `everything` is set."""

    everything: bool

    def blocks(self) -> Iterable[Block]:
        return self.compose(Bounds())

    def on_screen(self) -> Iterable[Block]:
        return self.blocks() if self.everything else self.compose(ON_SCREEN)

    @abstractmethod
    def compose(self, bounds: Bounds) -> Iterable[Block]:
        """Yield all blocks, within these bounds."""


@dataclass(frozen=True)
class CurrentExplanation(ExplanationPage):
    """An answer from evidence that was just read."""

    evidence: Evidence

    @property
    def repository(self) -> str:
        return words.plain(self.evidence.inventory.name)

    @cached_property
    def plan(self) -> RepositoryPlan:
        return decide(self.evidence)

    def blocked(self) -> str:
        """The places with blockers, as a phrase; "" if everything was read."""
        return words.first_few(words.plain(blocker.where, 80) for blocker in self.evidence.usage.blockers)

    def blocked_line(self) -> Iterator[Block]:
        if places := self.blocked():
            text = f"{places} could not be read completely. A run would delete nothing now, and more uses may exist."
            yield Line(((text, BLOCKED_STYLE),))

    def evidence_blocks(self) -> Iterator[Block]:
        """Yield the blockers, the warnings and the clusters that were read."""
        usage = self.evidence.usage
        yield from section(blocker_blocks(usage.blockers))
        yield from section(warning_blocks((*usage.warnings, *map(warning_text, self.plan.warnings))))
        yield from section(self._clusters())

    def _clusters(self) -> Iterator[Block]:
        for number, scan in enumerate(self.evidence.usage.scans):
            access = f" ({words.plain(scan.access)})" if scan.access else ""
            read = f"{words.count(scan.objects, 'object')}, {words.count(len(scan.uses), 'use')} of this registry"
            text = f"{words.plain(scan.cluster)}{access}: {read}, {self.read_time(scan)}"
            yield fact("Clusters" if number == 0 else "", text)

    def read_time(self, scan: ClusterScan) -> str:
        """When the cluster was read, in words."""
        if scan.read_at is None:
            return f"read {utc_minute(self.evidence.usage.read_at)}"
        age = words.age(self.evidence.now - scan.read_at)
        return f"from a usage snapshot of {utc_minute(scan.read_at)} ({age} old)"

    def use_blocks(self, title: str, uses: Sequence[ImageUse], limit: int | None) -> Iterator[Block]:
        """Yield the uses by cluster, and the time when each cluster was read."""
        read_times = {scan.cluster: self.read_time(scan) for scan in self.evidence.usage.scans}
        yield from uses_by_cluster(title, [ShownUse.of(use) for use in uses], read_times, limit)


def uses_by_cluster(
    title: str, uses: Sequence[ShownUse], read_times: dict[str, str], limit: int | None
) -> Iterator[Block]:
    """
    Yield the uses grouped by cluster and workload. Objects that people write come first.

    `read_times`: cluster -> when it was read, in words.
    """
    yield Line(((title, ""),), 2)
    ordered = sorted(uses, key=lambda use: (use.cluster, kind_rank(use.kind), use.who, use.field))
    shown = ordered if limit is None else ordered[:limit]
    for cluster, of_cluster in groupby(shown, key=lambda use: use.cluster):
        yield Line(((words.plain(cluster), "bold"), (f", {read_times.get(cluster, 'read then')}", "dim")), 4)
        for who, fields in groupby(of_cluster, key=lambda use: use.who):
            yield Line(((words.plain(who), "cyan"),), 6)
            for use in fields:
                yield Line(((f"{words.plain(use.field)}: ", "dim"), (words.plain(use.text), "")), 8)
    yield from hidden_count(len(ordered) - len(shown), "use", 4)


def hidden_count(number: int, noun: str, indent: int = 2) -> Iterator[Block]:
    """Yield a line that counts what is not shown; nothing if everything is shown."""
    if number > 0:
        text = f"… and {number:,} more {words.plural(number, noun)}. To see all, pipe the output: | cat"
        yield Line(((text, "dim"),), indent)


def blocker_blocks(blockers: Sequence[Blocker]) -> Iterator[Block]:
    """Yield the blockers: place, call, what was seen, and the remedy."""
    if blockers:
        yield heading("Blockers", "bold red")
    for where, group in groupby(blockers, key=lambda blocker: blocker.where):
        yield Line(((words.plain(where), "bold"),), 2)
        for blocker in group:
            yield Line(((words.plain(blocker.call), ""),), 4)
            yield Line(((words.plain(blocker.seen), "red"),), 6)
            if blocker.remedy:
                yield Line((("→ ", "cyan"), (words.plain(blocker.remedy), "")), 6)


def warning_blocks(warnings: Sequence[str]) -> Iterator[Block]:
    if warnings:
        yield heading("Warnings", "bold yellow")
    yield from (Line((("- ", ""), (words.plain(warning, 600), "")), 2) for warning in dict.fromkeys(warnings))


def name_list(names: Iterable[str], limit: int = _NAMES_SHOWN) -> str:
    """Join names, at most `limit` of them."""
    shown = [words.name(name) for name in names]
    hidden = [f"{len(shown) - limit:,} more"] if len(shown) > limit else []
    return words.listing([*shown[:limit], *hidden]) if shown else "none"


def push_age(when: datetime | None, now: datetime) -> str:
    """The date of a push, and how long ago it was."""
    return f"{words.date(when)}, {_ago(words.age(now - when))}" if when is not None else "at an unknown time"


def _ago(age: str) -> str:
    return age if age in {"now", "in the future"} else f"{age} ago"


def utc_minute(when: datetime) -> str:
    """Format a time to the minute: `2026-11-22 10:00 UTC`."""
    return f"{(words.timestamp(when) or '')[:16].replace('T', ' ')} UTC"


def kind_rank(kind: str) -> int:
    """
    Sort key of a kind: 0 for objects that people write, more for objects that controllers create.
    """
    return _MADE_BY_CONTROLLERS.index(kind) + 1 if kind in _MADE_BY_CONTROLLERS else 0


def authored_first(use: ImageUse) -> tuple[int, str]:
    """Sort key of a use: objects that people write come first."""
    return kind_rank(use.workload.kind), str(use)
