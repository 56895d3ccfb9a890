"""Parts that all answers of `acr-cleanup explain` share."""

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

USES_ON_SCREEN = 20

TAGS_ON_SCREEN = 60

_NAMES_SHOWN = 12

DELETED_STYLE, KEPT_STYLE, MISSING_STYLE, BLOCKED_STYLE = "bold yellow", "bold green", "bold red", "bold red"

# What somebody wrote comes before what a controller made of it.
_MADE_BY_CONTROLLERS = ("Job", "ReplicationController", "ControllerRevision", "ReplicaSet", "Pod")

BEGINNING = datetime.fromtimestamp(0).astimezone()


@dataclass(frozen=True, slots=True)
class ShownUse:
    """One use as it is told: who (with the container), in which field, and what is written there."""

    cluster: str
    kind: str
    who: str
    field: str
    text: str

    @classmethod
    def of(cls, use: ImageUse) -> ShownUse:
        return cls(use.workload.cluster, use.workload.kind, str(use), use.field, use.text)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of anything is told; None: all of it."""

    uses: int | None = None
    tags: int | None = None


ON_SCREEN = Bounds(USES_ON_SCREEN, TAGS_ON_SCREEN)


@dataclass(frozen=True)
class ExplanationPage(TextPage):
    """A page that is bounded on a screen (unless `everything`), and whole everywhere else."""

    everything: bool

    def blocks(self) -> Iterable[Block]:
        return self.compose(Bounds())

    def on_screen(self) -> Iterable[Block]:
        return self.blocks() if self.everything else self.compose(ON_SCREEN)

    @abstractmethod
    def compose(self, bounds: Bounds) -> Iterable[Block]:
        """Everything that is said, within these bounds."""


@dataclass(frozen=True)
class CurrentExplanation(ExplanationPage):
    """An answer from what was read just now."""

    evidence: Evidence

    @property
    def repository(self) -> str:
        return words.plain(self.evidence.inventory.name)

    @cached_property
    def plan(self) -> RepositoryPlan:
        return decide(self.evidence)

    def blocked(self) -> str:
        return blocked_places(self.evidence.usage.blockers)

    def evidence_blocks(self) -> Iterator[Block]:
        """What could not be seen, and what else should be known of this reading."""
        usage = self.evidence.usage
        yield from section(blocker_blocks(usage.blockers))
        yield from section(warning_blocks((*usage.warnings, *self.plan.warnings)))
        yield from section(self._clusters())

    def _clusters(self) -> Iterator[Block]:
        for number, scan in enumerate(self.evidence.usage.scans):
            how = f" ({words.plain(scan.access)})" if scan.access else ""
            read = f"{words.count(scan.objects, 'object')}, {words.count(len(scan.uses), 'use')} of this registry"
            text = f"{words.plain(scan.cluster)}{how}: {read}, {self.read_time(scan)}"
            yield fact("Clusters" if number == 0 else "", text)

    def read_time(self, scan: ClusterScan) -> str:
        """Since when it is known what the cluster uses."""
        if scan.read_at is None:
            return f"read {utc_minute(self.evidence.usage.read_at)}"
        past = words.age(self.evidence.now - scan.read_at)
        return f"from a usage snapshot of {utc_minute(scan.read_at)} ({past} old)"

    def use_blocks(self, title: str, uses: Sequence[ImageUse], limit: int | None) -> Iterator[Block]:
        seen = {scan.cluster: self.read_time(scan) for scan in self.evidence.usage.scans}
        yield from uses_by_cluster(title, [ShownUse.of(use) for use in uses], seen, limit)


def uses_by_cluster(title: str, uses: Sequence[ShownUse], seen: dict[str, str], limit: int | None) -> Iterator[Block]:
    """Uses by cluster, what somebody wrote before what was made of it."""
    yield Line(((title, ""),), 2)
    ordered = sorted(uses, key=lambda each: (each.cluster, kind_rank(each.kind), each.who, each.field))
    shown = ordered if limit is None else ordered[:limit]
    for cluster, group in groupby(shown, key=lambda each: each.cluster):
        yield Line(((words.plain(cluster), "bold"), (f", {seen.get(cluster, 'read then')}", "dim")), 4)
        for who, fields in groupby(group, key=lambda each: each.who):
            yield Line(((words.plain(who), "cyan"),), 6)
            for each in fields:
                yield Line(((f"{words.plain(each.field)}: ", "dim"), (words.plain(each.text), "")), 8)
    yield from hidden_count(len(ordered) - len(shown), "use", 4)


def hidden_count(number: int, noun: str, indent: int = 2) -> Iterator[Block]:
    if number > 0:
        verb = words.plural(number, "is")
        what = f"… and {number:,} more {words.plural(number, noun)}, which {verb} told where the output is no terminal"
        yield Line(((f"{what} (| cat)", "dim"),), indent)


def blocker_blocks(blockers: Sequence[Blocker]) -> Iterator[Block]:
    if blockers:
        yield heading("What could not be seen", "bold red")
    for where, group in groupby(blockers, key=lambda each: each.where):
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


def blocked_places(blockers: Iterable[Blocker]) -> str:
    found = list(dict.fromkeys(words.plain(blocker.where, 80) for blocker in blockers))
    if len(found) > 3:
        return f"{found[0]}, {found[1]} and {len(found) - 2} others"
    return words.listing(found) if found else ""


def name_list(names: Iterable[str], limit: int = _NAMES_SHOWN) -> str:
    shown = [words.name(each) for each in names]
    rest = [f"{len(shown) - limit:,} more"] if len(shown) > limit else []
    return words.listing([*shown[:limit], *rest]) if shown else "none"


def push_age(when: datetime | None, now: datetime) -> str:
    return f"{words.date(when)}, {_ago(words.age(now - when))}" if when is not None else "at an unknown time"


def _ago(age: str) -> str:
    return age if age in {"now", "in the future"} else f"{age} ago"


def utc_minute(when: datetime) -> str:
    return f"{(words.timestamp(when) or '')[:16].replace('T', ' ')} UTC"


def kind_rank(kind: str) -> int:
    return _MADE_BY_CONTROLLERS.index(kind) + 1 if kind in _MADE_BY_CONTROLLERS else 0


def authored_first(use: ImageUse) -> tuple[int, str]:
    return kind_rank(use.workload.kind), str(use)
