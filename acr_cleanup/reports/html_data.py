"""
The data of `report.html`, as JSON: repositories, tags with their reasons, and tags by age.

Tags with equal reasons are one group. The tags of a registry may not fit in the page: each
repository gets a share of the space, and in it deletions come first.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, NamedTuple, cast

from acr_cleanup.core.outcome import TAKEN, Outcome, OutcomeKind
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import Rule
from acr_cleanup.core.references import short
from acr_cleanup.core.retention import describe_duration
from acr_cleanup.core.tally import Tally
from acr_cleanup.quoting import in_utc
from acr_cleanup.reports import words
from acr_cleanup.reports.markdown_rows import OUTCOME_LABELS
from acr_cleanup.reports.rows import UNKNOWN_TIME, Row, said_by_title, tags_of_kept_manifests, title
from acr_cleanup.reports.users import users
from acr_cleanup.reports.view import View

if TYPE_CHECKING:
    from markupsafe import Markup

CELLS = 60
"""Repositories in the treemap. The others are one cell."""
USERS = 12
"""Users of a tag. report.json has all of them."""
DIGESTS = 20_000
"""Registries with more tags are shown without digests, so that more tags fit."""

_REPOSITORIES = 0.2
"""The share of the space that the table of repositories may use."""
_MARGIN = 20_000
"""Bytes for the tags by age and for the elements around the blocks."""
_BLOCK = 150
"""Bytes of the block of a repository without tags, besides its name."""
_WORTHWHILE = 0.02
"""The share of the space that must be left to read repositories again that did not fit."""
_ORDINARY = re.compile(r"[A-Za-z0-9_.-]*").fullmatch
"""Does JSON have this text without an escape?"""
_EPOCH = 719_163  # date(1970, 1, 1).toordinal()
_DAYS = (1, 2, 3, 7, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 545, 730, 1095, 1460, 1825, 2555, 3650)
_FATES = ("delete", "changed", "use", "keep")


def to_json(value: object) -> Markup:
    """
    Encode a value for a `script` element of the type `application/json`.

    A text in it can neither end the element nor begin a comment.
    """
    from markupsafe import Markup  # noqa: PLC0415  most commands write no report

    text = json.dumps(value, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


_Reason = tuple[str, str, tuple[str, ...], int]
"""Title, evidence, users, number of further users."""


class _Block:
    """The tags of one repository, in groups of equal reasons. Texts that repeat are stored once."""

    def __init__(self, repository: str, budget: float) -> None:
        self.repository = repository
        self.cut = False
        """Did a tag not fit?"""
        self._left = budget - _BLOCK - 2 * len(to_json(repository))
        self._texts: dict[str, int] = {"": 0}
        self._groups: dict[tuple[str, str, tuple[_Reason, ...]], dict[str, list[object]]] = {}

    def add(
        self, fate: str, note: str, reasons: tuple[_Reason, ...], *, name: str, day: int | None, digest: str
    ) -> bool:
        """Add a tag. Returns False, and adds nothing, if the budget is used up."""
        key = (fate, note, reasons)
        cost = (len(name) + 2 if _ORDINARY(name) else len(to_json(name))) + len(digest) + 10
        texts: list[str] = []
        if key not in self._groups:
            texts = [note, *(text for what, why, who, _ in reasons for text in (what, why, *who))]
            texts = [text for text in dict.fromkeys(texts) if text not in self._texts]
            cost += 80 + sum(len(to_json(text)) + 1 for text in texts)
            cost += sum(40 + 8 * len(who) for _, _, who, _ in reasons)
        self._left -= cost
        if self._left < 0:
            self.cut = True
            return False
        for text in texts:
            self._texts[text] = len(self._texts)
        group = self._groups.setdefault(key, {"names": [], "days": [], "digests": []})
        group["names"].append(name)
        group["days"].append(day)
        if digest:
            group["digests"].append(digest)
        return True

    def encoded(self) -> Markup | None:
        """The block, or None if no tag fitted."""
        place = self._texts
        groups = [
            {
                "fate": fate,
                "note": place[note],
                "reasons": [
                    (place[what], place[why], [place[user] for user in who], more) for what, why, who, more in reasons
                ],
                **group,
            }
            for (fate, note, reasons), group in self._groups.items()
        ]
        block = {"repository": self.repository, "texts": list(place), "groups": groups}
        return to_json(block) if groups else None


class PageData:
    """The JSON blocks of one page. `collect` must be used up before `repositories` and `ages` are called."""

    def __init__(self, view: View, budget: int) -> None:
        self._view = view
        self._budget = budget - _MARGIN
        self._now = in_utc(view.result.plan.created_at)
        self._time_of_day = self._now.time()
        self._policy = policy = view.result.plan.policy
        self._blocks: dict[str, Markup | None] = {}
        # Each rule of the policy has its own limit, except those that keep every tag.
        rules = [rule for rule in (*policy.rules, policy.top) if not rule.keep]
        self._limits = {rule.name: rule.older_than for rule in rules}
        self._edges = sorted({*_DAYS, *map(_in_days, self._limits.values())} - {0})
        # The same as moments: comparing moments is many times as fast as making ages.
        self._edge_moments = [self._before(timedelta(days=edge)) for edge in reversed(self._edges)]
        self._limit_moments = {name: self._before(limit) for name, limit in self._limits.items()}
        self._old = Counter[str]()
        self._counts = {fate: Counter[int]() for fate in _FATES}
        self._unknown = 0
        self._titles: dict[tuple[Rule, str], str] = {}
        # One look-up for each tag: there may be as many outcomes as tags.
        self._undeleted: dict[tuple[str, str], Outcome] = {
            (outcome.repository, outcome.tag): outcome
            for outcome in view.result.outcomes
            if outcome.tag is not None and outcome.kind is not OutcomeKind.DELETED
        }
        self._taken = {(outcome.repository, outcome.tag) for outcome in view.result.outcomes if outcome.detail == TAKEN}

    def run(self) -> Markup:
        """The table of repositories, the largest first, and the words of the page."""
        view, tallies = self._view, self._view.result.plan.tallies
        pairs = zip(view.rows, tallies, strict=True)
        rows = sorted((_row(row, tally) for row, tally in pairs), key=lambda row: (-sum(row.bytes), row.name))
        shown, left = 0, self._budget * _REPOSITORIES
        for row in rows:
            left -= len(to_json(row.values())) + 1
            if left < 0:
                break
            shown += 1
        hidden = [row.values() for row in rows[shown:]]
        others = (
            ["", *(sum(cast("int", row[place]) for row in hidden) for place in range(1, 9)), ""] if hidden else None
        )
        verb = "deleted" if view.acted else "delete"
        block = to_json(
            {
                "repositories": [row.values() for row in rows[:shown]],
                "others": others,
                "hidden": len(hidden),
                "cells": CELLS,
                "tags": sum(tally.tags for tally in tallies),
                "today": self._now.date().toordinal() - _EPOCH,
                "gone": view.gone_title,
                "freed": view.freed_title,
                "fates": {"delete": verb, "changed": "not deleted", "use": "in use", "keep": "kept"},
            }
        )
        self._budget -= len(block)
        return block

    def collect(self) -> Iterator[None]:
        """
        Collect the tags and their ages, with a yield after each repository.

        Each repository gets a share of the space. The space that is left goes to repositories with
        further tags, the small ones first: only these are read again.
        """
        plan = self._view.result.plan
        tallies = {tally.repository: tally for tally in plan.tallies if tally.tags}
        weights = sum(map(_weight, tallies.values()))
        digests = sum(tally.tags for tally in tallies.values()) <= DIGESTS
        left, cut = self._budget, list[Tally]()
        for repository in plan.repositories:
            if tally := tallies.get(repository.repository):
                block = self._block(repository, self._budget * _weight(tally) / weights, digests=digests, first=True)
                left -= self._keep(block)
                cut += [tally] if block.cut else []
            yield
        if left < self._budget * _WORTHWHILE:
            return
        weights = sum(map(_weight, cut))
        for tally in sorted(cut, key=lambda tally: (_weight(tally), tally.repository)):
            left += _space(self._blocks[tally.repository])
            share = left * _weight(tally) / weights
            weights -= _weight(tally)
            left -= self._keep(self._block(plan.repository(tally.repository), share, digests=digests, first=False))

    def _keep(self, block: _Block) -> int:
        """Keep the block for the page, and return the space that it needs."""
        self._blocks[block.repository] = encoded = block.encoded()
        return _space(encoded)

    def repositories(self) -> Iterator[Markup]:
        """A block for each repository with tags that fit, after `collect`."""
        return filter(None, self._blocks.values())

    def ages(self) -> Markup:
        """The number of tags of each age and decision."""
        bars = range(len(self._edges) + 1)
        names = [f"{edge:g}" for edge in self._edges]
        old, kept = self._old.total(), self._old.total() - self._old["delete"]
        unknown = f" The age of {words.count(self._unknown, 'tag')} is unknown." if self._unknown else ""
        limits = sorted(set(self._limits.values()))
        return to_json(
            {
                "fates": _FATES,
                "counts": {fate: [counts[bar] for bar in bars] for fate, counts in self._counts.items()},
                "labels": [_bar(names, bar) for bar in bars],
                "short": [*names, "more"],
                "limits": [[bisect_right(self._edges, _in_days(limit)), describe_duration(limit)] for limit in limits],
                "text": f"Older than {'their limit' if len(limits) > 1 else 'the limit'}: {words.count(old, 'tag')}, "
                f"of which {kept:,} {words.plural(kept, 'is')} kept.{unknown}",
            }
        )

    def _block(self, repository: RepositoryPlan, budget: float, *, digests: bool, first: bool) -> _Block:
        """The tags of a repository that fit. first: count the ages of all its tags, too."""
        block = _Block(words.plain(repository.repository), budget)
        # Each remark, with the names of the deleted tags that have it.
        remarks = {"its manifest is kept": tags_of_kept_manifests(repository)}
        if repository.new and not self._view.acted:
            remarks["new since the last run"] = repository.new
        going: list[Decision] = []
        kept: list[Decision] = []
        for decision in repository.decisions:
            fate, _ = self._fate(repository.repository, decision, remarks)
            if first:
                self._count(decision, fate)
            (kept if fate in {"use", "keep"} else going).append(decision)
        # Many tags share their reasons. The repository holds them, so no id occurs twice.
        shared: dict[tuple[object, ...], tuple[_Reason, ...]] = {}
        for decision in chain(_ends_first(going), _ends_first(kept)):
            fate, note = self._fate(repository.repository, decision, remarks)
            tag, key = decision.tag, (decision.governed_by, *map(id, decision.reasons))
            if (reasons := shared.get(key)) is None:
                shared[key] = reasons = self._reasons(decision)
            day = None if tag.updated_at is None else self._half_day(in_utc(tag.updated_at))
            digest = short(tag.digest) if digests else ""
            if not block.add(fate, note, reasons, name=words.plain(tag.name), day=day, digest=digest):
                break
        return block

    def _fate(self, repository: str, decision: Decision, remarks: Mapping[str, Collection[str]]) -> tuple[str, str]:
        """The past or future change of a tag, and a remark about it."""
        view, place = self._view, (repository, decision.tag.name)
        if not decision.deletes:
            if place in self._taken:
                return "delete", TAKEN
            return "use" if decision.in_use else "keep", ""
        if not view.acted or place in view.deleted:
            own = [remark for remark, names in remarks.items() if decision.tag.name in names]
            return "delete", "; ".join(("not in use", *own)) if own else ""
        outcome = self._undeleted.get(place)
        if outcome is None:
            return "changed", ""
        label = "failed" if outcome.kind is OutcomeKind.FAILED else OUTCOME_LABELS[outcome.kind]
        return "changed", ": ".join(filter(None, (label, words.plain(outcome.detail))))

    def _count(self, decision: Decision, fate: str) -> None:
        pushed = decision.tag.updated_at
        if pushed is None:
            self._unknown += 1
        else:
            self._counts[fate][len(self._edges) - bisect_left(self._edge_moments, pushed)] += 1
            limit = self._limit_moments.get(decision.governed_by)
            self._old[fate] += limit is not None and pushed <= limit

    def _half_day(self, pushed: datetime) -> int:
        """Twice the day of a push, plus one if its time of day is later than that of the plan."""
        return 2 * (pushed.toordinal() - _EPOCH) + (pushed.time() > self._time_of_day)

    def _before(self, duration: timedelta) -> datetime:
        """The moment this long before the plan was made; the first of all moments if there is none."""
        try:
            return self._now - duration
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)

    def _title(self, rule: Rule, governed_by: str) -> str:
        key = (rule, governed_by)
        if key not in self._titles:
            self._titles[key] = words.plain(title(rule, self._policy, self._policy.rule(governed_by)))
        return self._titles[key]

    def _reasons(self, decision: Decision) -> tuple[_Reason, ...]:
        reasons: list[_Reason] = []
        for reason in decision.reasons:
            shown, hidden = users(reason, USERS)
            detail = "" if said_by_title(reason.rule) else words.plain(reason.detail)
            reasons.append(
                (self._title(reason.rule, decision.governed_by), detail, tuple(map(words.plain, shown)), hidden)
            )
        return tuple(reasons)


def _space(block: Markup | None) -> int:
    """The bytes of a block in the page, with its element."""
    return 0 if block is None else len(block) + 60


def _in_days(duration: timedelta) -> float:
    return duration.total_seconds() / 86400


def _bar(names: list[str], bar: int) -> str:
    if bar == 0:
        return f"less than {names[0]} days"
    return f"{names[bar - 1]} days or more" if bar == len(names) else f"{names[bar - 1]} to {names[bar]} days"


def _weight(tally: Tally) -> int:
    # A reviewer must check deletions, so they get more space.
    return tally.kept + 5 * tally.planned


class _Sizes(NamedTuple):
    """One row of the table of repositories."""

    name: str
    tags: tuple[int, ...]
    """Counts: all, deleted, planned but not deleted, kept, in use."""
    bytes: tuple[int, int, int]
    """Sizes: deleted, in use, kept without a use."""
    error: str

    def values(self) -> list[str | int]:
        return [self.name, *self.tags, *self.bytes, self.error]


def _row(row: Row, tally: Tally) -> _Sizes:
    kept = max(tally.listed_size - tally.used_size - row.bytes, 0)
    return _Sizes(
        words.plain(row.repository),
        (row.tags, row.gone, row.left, row.kept, row.in_use),
        (row.bytes, tally.used_size, kept),
        words.plain(row.error),
    )


def _ends_first(decisions: list[Decision]) -> Iterator[Decision]:
    """The oldest, the newest, the second oldest, …: if the rest does not fit, both ends are shown."""
    # Sorted twice, by the times themselves: 200,000 pairs as keys take 20 MB, and numbers 5 MB.
    order = sorted(decisions, key=lambda decision: decision.tag.name)
    order.sort(key=lambda decision: decision.tag.updated_at or UNKNOWN_TIME)
    half = (len(order) + 1) // 2
    pairs = zip_longest(order[:half], reversed(order[half:]))
    return (item for pair in pairs for item in pair if item is not None)
