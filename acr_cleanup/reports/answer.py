"""
The answer of `acr-cleanup explain` about a tag, a manifest or a repository, and its form as a page.

It is made of the evidence of now (`explanation`) or of the report of a past run (`past`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby

from acr_cleanup.core.mentions import Mention
from acr_cleanup.core.plan import Decision
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.usage import Blocker, ImageUse
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import BLANK, Block, TextPage, fact, grid, heading, line, section
from acr_cleanup.reports.users import kind_rank

USES_ON_SCREEN = 20
TAGS_ON_SCREEN = 60
_RUNNERS_ON_SCREEN = 10

DELETED_STYLE, KEPT_STYLE, MISSING_STYLE, BLOCKED_STYLE = "bold yellow", "bold green", "bold red", "bold red"

_DECISIONS = {DELETED_STYLE: "delete", KEPT_STYLE: "keep"}

# Sorts tags of unknown age before all others.
_BEGINNING = datetime.fromtimestamp(0).astimezone()

TagRow = tuple[str, str, str, str]
"""A tag, its age, its verdict and the reason."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A label, and one or more texts."""

    label: str
    texts: tuple[str, ...]
    noun: str = ""
    """For a list that may be long: what it lists. A terminal shows its beginning."""

    @classmethod
    def of(cls, label: str, *texts: str) -> Fact:
        return cls(label, texts)


@dataclass(frozen=True, slots=True)
class RuleList:
    """Rules with their evidence: those that apply, or those that do not."""

    title: str
    rows: tuple[tuple[str, str], ...]
    noun: str = ""
    """As in `Fact`."""


@dataclass(frozen=True, slots=True)
class UseGroup:
    """Uses that lead to the tag or manifest in the same way."""

    title: str
    uses: tuple[ImageUse, ...]


@dataclass(frozen=True, kw_only=True)
class Answer(TextPage):
    """
    An answer. Foreign text is escaped in every text, except in uses, blockers and warnings.

    A terminal shows a limited number of uses and tags, and counts the others. Other outputs show
    all.
    """

    verdict: str
    style: str
    known: bool = True
    """False if neither the registry nor a workload, or not the report, has it."""
    everything: bool = False
    """Does a terminal show all?"""
    remarks: tuple[tuple[str, str], ...] = ()
    """Lines after the verdict, with their styles."""
    facts: tuple[Fact, ...] = ()
    rules: tuple[RuleList, ...] = ()
    notes: tuple[str, ...] = ()
    runners: tuple[str, ...] = ()
    """The workloads that run the repository."""
    tags: tuple[TagRow, ...] = ()
    uses_title: str = ""
    uses: tuple[UseGroup, ...] = ()
    mentions: tuple[Mention, ...] = ()
    read_times: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> when it was read, in words."""
    freed: tuple[int, int] | None = None
    """The manifests that are deleted, and their bytes as listed; None if nothing is deleted, or it is not known."""
    conclusion: str = ""
    blockers: tuple[Blocker, ...] = ()
    warnings: tuple[str, ...] = ()
    run: tuple[Fact, ...] = ()
    """The clusters and, of a past run, its other circumstances."""

    def blocks(self) -> Iterable[Block]:
        return self._compose(None, None, None)

    def on_screen(self) -> Iterable[Block]:
        if self.everything:
            return self.blocks()
        return self._compose(USES_ON_SCREEN, TAGS_ON_SCREEN, _RUNNERS_ON_SCREEN)

    def as_json(self) -> Iterator[str]:
        """Yield the whole answer as a JSON document. Uses, mentions and blockers have their fields apart."""
        document = {
            "schema_version": 1,
            "verdict": self.verdict,
            "decision": _DECISIONS.get(self.style, "unknown"),
            "found": self.known,
            "remarks": [text for text, _ in self.remarks],
            "facts": {fact.label: list(fact.texts) for fact in self.facts if fact.texts},
            "frees": None if self.freed is None else dict(zip(("manifests", "bytes"), self.freed, strict=True)),
            "rules": [{"title": rules.title, "rules": _members(rules.rows, "rule", "text")} for rules in self.rules],
            "notes": self.notes,
            "run_by": self.runners,
            "tags": _members(self.tags, "tag", "age", "verdict", "why"),
            "uses": [{"link": group.title, **_use(use)} for group in self.uses for use in group.uses],
            "mentions": [
                {**asdict(mention.workload), "field": mention.field, "text": mention.what} for mention in self.mentions
            ],
            "conclusion": self.conclusion,
            "blockers": list(map(asdict, self.blockers)),
            "warnings": list(dict.fromkeys(self.warnings)),
            "run": {fact.label: list(fact.texts) for fact in self.run if fact.texts},
        }
        yield f"{json.dumps(document, indent=2)}\n"

    def _compose(self, uses: int | None, tags: int | None, runners: int | None) -> Iterator[Block]:
        """Yield all blocks, with at most so many uses, tags and runners."""
        yield line(((self.verdict, self.style),))
        yield from (line((remark,)) for remark in self.remarks)
        yield from section(_facts(self.facts, tags))
        for rules in self.rules:
            yield from section(_rules(rules, tags))
        yield from section(line(((note, ""),)) for note in self.notes)
        yield from section(_runners(self.runners, runners))
        yield from section(_tags(self.tags, tags))
        yield from section(self._uses(uses))
        yield from section(_mentions(self.mentions, uses))
        if self.conclusion:
            yield BLANK
            yield line(((self.conclusion, "bold"),))
        yield from section(_blockers(self.blockers))
        yield from section(_warnings(self.warnings))
        yield from section(_facts(self.run, tags))

    def _uses(self, left: int | None) -> Iterator[Block]:
        if self.uses:
            yield heading(self.uses_title, "bold")
        for group in self.uses:
            yield from _use_group(group, self.read_times, left)
            left = None if left is None else max(left - len(group.uses), 0)


def _members(rows: Iterable[Sequence[str]], *names: str) -> list[dict[str, str]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _use(use: ImageUse) -> dict[str, str | bool]:
    """The members of a use, with those of its workload."""
    return {
        **asdict(use.workload),
        "container": use.container,
        "object": use.holder or f"{use.workload.kind}/{use.workload.name}",
        "field": use.field,
        "image": use.text,
        "running": use.running,
    }


def _facts(facts: Iterable[Fact], limit: int | None) -> Iterator[Block]:
    for item in facts:
        shown = item.texts[:limit] if item.noun else item.texts
        yield from (fact("" if number else item.label, text) for number, text in enumerate(shown))
        yield from _hidden(len(item.texts) - len(shown), item.noun, 11)


def _rules(rules: RuleList, limit: int | None) -> Iterator[Block]:
    yield heading(rules.title, "bold")
    shown = rules.rows[:limit] if rules.noun else rules.rows
    if shown:
        yield grid(shown, indent=2)
    yield from _hidden(len(rules.rows) - len(shown), rules.noun)


def _runners(runners: Sequence[str], limit: int | None) -> Iterator[Block]:
    if runners:
        yield heading(f"Run by {words.count(len(runners), 'workload')}", "bold")
        yield from (line(((words.plain(runner), ""),), 2) for runner in runners[:limit])
        yield from _hidden(len(runners) - len(runners[:limit]), "workload")


def _tags(rows: Sequence[TagRow], limit: int | None) -> Iterator[Block]:
    if rows:
        yield grid(tuple(rows[:limit]), header=("Tag", "Pushed", "Verdict", "Why"), numbers=frozenset({1}))
        yield from _hidden(len(rows) - len(rows[:limit]), "tag")


def _use_group(group: UseGroup, read_times: Mapping[str, str], limit: int | None) -> Iterator[Block]:
    """Yield the uses by cluster and workload. Objects that people write come first."""
    yield line(((f"{group.title} ({len(group.uses):,})", ""),), 2)
    ordered = sorted(group.uses, key=lambda use: (use.workload.cluster, *authored_first(use), use.field))
    for cluster, of_cluster in groupby(ordered[:limit], key=lambda use: use.workload.cluster):
        yield line(((words.plain(cluster), "bold"), (f", {read_times.get(cluster, 'read then')}", "dim")), 4)
        for workload, uses in groupby(of_cluster, key=str):
            yield line(((words.plain(workload), "cyan"),), 6)
            by_text: dict[str, list[ImageUse]] = {}
            for use in uses:
                by_text.setdefault(use.text, []).append(use)
            for text, of_text in by_text.items():
                yield line(((f"{_fields(of_text)}: ", "dim"), (words.plain(text), "")), 8)
    yield from _hidden(len(ordered) - len(ordered[:limit]), "use", 4)


def _fields(uses: Iterable[ImageUse]) -> str:
    """The fields of one workload that hold the same text, each with the object that has it."""
    by_object: dict[str, dict[str, None]] = {}
    for use in sorted(uses, key=lambda use: (use.holder, use.field)):
        by_object.setdefault(use.holder, {})[use.field] = None
    return "; ".join(
        f"{f'{words.plain(holder)} ' if holder else ''}{', '.join(map(words.plain, fields))}"
        for holder, fields in by_object.items()
    )


def _mentions(mentions: Sequence[Mention], limit: int | None) -> Iterator[Block]:
    """Yield the objects that name it, each with the fields and what they name."""
    if not mentions:
        return
    objects = words.count(len({mention.workload for mention in mentions}), "object")
    yield heading(f"Named by {objects} ({words.count(len(mentions), 'mention')})", "bold")
    for workload, of_object in groupby(mentions[:limit], key=lambda mention: mention.workload):
        yield line(((words.plain(str(workload) if workload.kind else workload.cluster), "cyan"),), 2)
        for mention in of_object:
            place = f"{words.plain(mention.field)}: " if mention.field else ""
            yield line(((place, "dim"), (words.plain(mention.what), "")), 4)
    yield from _hidden(len(mentions) - len(mentions[:limit]), "mention")


def _hidden(number: int, noun: str, indent: int = 2) -> Iterator[Block]:
    """Yield a line that counts what is not shown; nothing if everything is shown."""
    if number > 0:
        text = f"… and {number:,} more {words.plural(number, noun)}. To see all, pipe the output: | cat"
        yield line(((text, "dim"),), indent)


def _blockers(blockers: Sequence[Blocker]) -> Iterator[Block]:
    """Yield the blockers: place, call, what was seen, and the remedy."""
    if blockers:
        yield heading("Blockers", "bold red")
    for where, group in groupby(blockers, key=lambda blocker: blocker.where):
        yield line(((words.plain(where), "bold"),), 2)
        for blocker in group:
            yield line(((words.plain(blocker.call), ""),), 4)
            yield line(((words.plain(blocker.seen, 1000), "red"),), 6)
            if blocker.remedy:
                yield line((("→ ", "cyan"), (words.plain(blocker.remedy, 1000), "")), 6)


def _warnings(warnings: Sequence[str]) -> Iterator[Block]:
    if warnings:
        yield heading("Warnings", "bold yellow")
    yield from (line((("- ", ""), (words.plain(warning, 600), "")), 2) for warning in dict.fromkeys(warnings))


# -- parts that answers from now and from a report share -------------------------------------------


def tag_rows(
    decisions: Iterable[Decision], now: datetime, deleted: Callable[[Decision], tuple[str, str]]
) -> tuple[TagRow, ...]:
    """
    One row for each tag, newest first.

    `deleted`: the verdict and the reason for a tag that no rule keeps.
    """
    newest = sorted(
        decisions, key=lambda decision: (decision.tag.updated_at or _BEGINNING, decision.tag.name), reverse=True
    )
    return tuple(_tag_row(decision, now, deleted) for decision in newest)


def _tag_row(decision: Decision, now: datetime, deleted: Callable[[Decision], tuple[str, str]]) -> TagRow:
    tag = decision.tag
    age = words.age(now - tag.updated_at) if tag.updated_at is not None else "?"
    verdict, why = ("kept", _why_kept(decision)) if decision.reasons else deleted(decision)
    return words.name(tag.name), age, verdict, why


def _why_kept(decision: Decision) -> str:
    first, *others = decision.reasons
    why = words.plain(first.detail)
    if first.rule == Rule.IN_USE and first.uses:
        # The uses are sorted by how directly they name the tag. This sort is stable, so it keeps
        # that order within each kind.
        uses = sorted(first.uses, key=lambda use: kind_rank(use.workload.kind))
        why = f"in use: {words.plain(str(uses[0]))}{f' and {len(uses) - 1:,} more' if len(uses) > 1 else ''}"
    names = dict.fromkeys(words.plain(reason.rule) for reason in others)
    return f"{why} (also {', '.join(names)})" if names else why


def cluster_text(name: str, access: str, objects: int, uses: int, read_time: str) -> str:
    """How much was read in one cluster, and when."""
    way = f" ({words.plain(access)})" if access else ""
    read = f"{words.count(objects, 'object')}, {words.count(uses, 'use')} of this registry"
    return f"{words.plain(name)}{way}: {read}, {read_time}"


def read_time(snapshot: datetime | None, read_at: datetime, now: datetime) -> str:
    """
    When a cluster was read, in words. `snapshot`: when its usage snapshot was collected, if it has
    one.
    """
    if snapshot is None:
        return f"read {utc_minute(read_at)}"
    return f"from a usage snapshot of {utc_minute(snapshot)} ({words.age(now - snapshot)} old)"


def push_age(when: datetime | None, now: datetime) -> str:
    """The date of a push, and how long ago it was."""
    if when is None:
        return "at an unknown time"
    age = words.age(now - when)
    return f"{words.date(when)}, {age if age in {'now', 'in the future'} else f'{age} ago'}"


def utc_minute(when: datetime) -> str:
    """Format a time to the minute: `2026-11-22 10:00 UTC`."""
    return f"{(words.timestamp(when) or '')[:16].replace('T', ' ')} UTC"


def authored_first(use: ImageUse) -> tuple[int, str]:
    """Sort key of a use: objects that people write come first."""
    return kind_rank(use.workload.kind), str(use)
