"""
Renders the report of a run as text: tables and colour in a terminal, plain lines elsewhere.

The words are the same in both. All foreign text passes through `words.plain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Rule
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import BLANK, Block, TextPage, and_more, fact, grid, heading, line, names, section
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.earlier_runs import new_tags, reviewed_numbers
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.next_steps import next_steps
from acr_cleanup.reports.policy_sentence import policy_sentence
from acr_cleanup.reports.policy_tables import rule_blocks, scope_line
from acr_cleanup.reports.policy_words import by_rule
from acr_cleanup.reports.pullers import PullerTable, puller_tables
from acr_cleanup.reports.rows import MISSING_MEANS, Affected, KeptGroup, KeptTag, Row, tags_of_kept_manifests
from acr_cleanup.reports.tag_outcomes import deleted_tags, undeleted_tags
from acr_cleanup.reports.tone import Tone
from acr_cleanup.reports.users import by_digest, users
from acr_cleanup.reports.view import View

_STYLES = {
    Tone.NEUTRAL: "bold",
    Tone.GOOD: "bold green",
    Tone.STOPPED: "bold yellow",
    Tone.WARNING: "bold yellow",
    Tone.BAD: "bold red",
}

_USERS_SHOWN = 2
_BLOCKERS_SHOWN = 20

_OUTCOMES = {
    OutcomeKind.FAILED: "Failed",
    OutcomeKind.IN_USE_NOW: "Now in use",
    OutcomeKind.MOVED: "Moved since the plan",
    OutcomeKind.LOCKED: "Now locked",
    OutcomeKind.KEPT: "Kept for a new reason",
    OutcomeKind.GONE: "Already deleted",
    OutcomeKind.NOT_ATTEMPTED: "Not attempted",
}

# These are not called "kept": the registry may have carried out a deletion that failed without an
# answer, and the others no longer exist.
_NOT_KEPT = {OutcomeKind.FAILED: ("failed", ""), OutcomeKind.GONE: ("gone", "already deleted: ")}


@dataclass(frozen=True)
class TextReport(TextPage):
    """
    The report of one run. rich prints it for a terminal, `str` returns plain lines.

    The numbers limit what is shown, so that a registry with many thousand tags fits on a few
    screens. report.json has everything.
    """

    result: Result
    context: Context = field(default_factory=Context)
    details: bool = True
    """Is each repository shown with its tags, besides the totals?"""
    rows: int = 6
    """Used tags with their users, for each repository."""
    gone: int = 24
    """Tags to delete, for each repository."""
    names: int = 8
    """Other kept tags, for each repository and reason."""
    complete: int = 600
    """An apply with at most this many tags names all of them."""
    gone_after: int = 100
    """Deleted tags for each repository, in an apply with more tags."""
    kept_after: int = 10
    """Kept tags for each repository and reason, in an apply with more tags."""
    repositories: int = 30

    def blocks(self) -> Iterator[Block]:
        view = View(self.result)
        yield line(((headline(view), _STYLES[view.tone]),))
        if view.probation:
            yield line(((view.probation, "bold"),))
        yield from section(self._problems(view))
        yield from section(self._totals(view))
        yield from section(self._table(view))
        yield from section(rule_blocks(self.result.plan))
        if self.details:
            shown = view.readable[: self.repositories]
            if shown:
                yield BLANK
                full = words.plain(self.context.full_report)
                ages = "" if view.acted else ", with the time since the last push of each tag"
                yield line(((f"By repository{ages}. The full report is {full}.", "dim"),))
            compose = self._applied_repository if view.acted else self._planned_repository
            for tally in shown:
                yield from section(compose(view, view.result.plan.repository(tally.repository)))
            yield from section(self._hidden(len(view.readable) - len(shown), "repository", 0))
        yield from section(self._locked(view))
        yield from section(self._deviations(view))
        yield from section(self._others())
        yield from section(self._missing(view))
        yield from section(self._warnings(view))
        for table in puller_tables(self.result.plan.usage):
            yield from section(self._pullers(table))
        yield from section(self._next(view))

    def _problems(self, view: View) -> Iterator[Block]:
        if view.broken:
            yield heading("Broken references", "bold red")
            yield from self._affected(view.broken, "bold red")
            yield line(
                (
                    ("To restore what was deleted: ", "bold"),
                    (words.plain(view.restore_command(self.context), 1000), ""),
                ),
                2,
            )
        if view.blockers:
            yield heading("Error" if view.ended_early else "Blockers", "bold red")
        place = None
        for blocker in view.blockers[:_BLOCKERS_SHOWN]:
            if blocker.where != place:
                place = blocker.where
                yield line(((words.plain(place), "bold"),), 2)
            yield line(((words.plain(blocker.call), ""),), 4)
            yield line(((words.plain(blocker.seen, 1000), "red"),), 6)
            if blocker.remedy:
                yield line((("→ ", "cyan"), (words.plain(blocker.remedy, 1000), "")), 6)
        yield from self._hidden(len(view.blockers) - _BLOCKERS_SHOWN, "blocker", 2)
        if self.result.refusals:
            yield heading("Reasons for the refusal", "bold red")
            yield from (line(((words.plain(refusal), ""),), 2) for refusal in self.result.refusals)
        if view.unread:
            yield heading("Repositories that could not be read", "bold yellow")
        for tally in view.unread[: self.repositories]:
            yield line(((words.plain(tally.repository), "bold"),), 2)
            yield line(((words.plain(tally.error, 1000), ""),), 4)
        yield from self._hidden(len(view.unread) - self.repositories, "repository", 2)

    def _totals(self, view: View) -> Iterator[Block]:
        total, result = view.total, self.result
        if total.tags:
            yield fact("Kept", f"{total.kept:,} of {words.count(total.tags, 'tag')}, {total.in_use:,} of them in use")
        if scope := scope_line(result.plan):
            yield fact("Scope", f"{words.plain(scope, 600)}.")
        labels = {False: "Clusters", True: "Services"}
        for scan in sorted(result.plan.usage.scans, key=lambda scan: scan.is_service):
            access = f" ({words.plain(scan.access)})" if scan.access and not scan.is_service else ""
            read = f"{words.count(scan.objects, 'object')}, {words.count(len(scan.uses), 'use')} of this registry"
            blockers = f", {words.count(len(scan.blockers), 'blocker')}" if scan.blockers else ""
            yield fact(labels.pop(scan.is_service, ""), f"{words.plain(scan.cluster)}{access}: {read}{blockers}")
        path, which = view.reviewed
        if which:
            only = f"{words.plain(path)}, {which}: only what this reviewed plan lists is deleted"
            yield fact("Plan", ". ".join(filter(None, (only, reviewed_numbers(view)))))
        if view.verification:
            yield fact("Check", view.verification)
        if view.size_note:
            yield fact("Sizes", view.size_note)
        if result.undo and not result.final:
            yield fact("Undo", words.plain(result.undo, 1000))
        if result.ledger:
            yield fact("Ledger", " ".join(filter(None, (result.ledger, new_tags(view)))))
        yield fact("Policy", words.plain(policy_sentence(self.result.plan.policy), 1000))
        yield fact("Took", words.elapsed(result.finished_at - result.started_at))

    def _table(self, view: View) -> Iterator[Block]:
        if not view.rows:
            return
        left = any(row.left for row in view.rows)
        header = ["Repository", "Tags", view.gone_title]
        header += ["Not deleted"] if left else []
        header += ["Kept", "In use", view.freed_title]

        def cells(row: Row) -> tuple[str, ...]:
            if row.error:
                return (words.plain(row.repository), "?", *("" for _ in header[2:]))
            numbers = [row.tags, row.gone, *([row.left] if left else []), row.kept, row.in_use]
            size = words.size(row.bytes) if row.bytes else "-"
            return (words.plain(row.repository), *(f"{number:,}" if number else "-" for number in numbers), size)

        # Repositories with deletions come first, because the reader must check them.
        order = sorted(view.rows, key=lambda row: (not row.gone and not row.left and not row.bytes, row.repository))
        shown = order[: self.repositories]
        yield grid(
            rows=tuple(cells(row) for row in shown),
            header=tuple(header),
            footer=cells(view.total) if len(view.rows) > 1 else (),
            numbers=frozenset(range(1, len(header))),
        )
        yield from self._hidden(len(order) - len(shown), "repository", 2)

    def _planned_repository(self, view: View, repository: RepositoryPlan) -> Iterator[Block]:
        row = next(row for row in view.rows if row.repository == repository.repository)
        name = words.plain(repository.repository)
        yield line(((name, "bold"), (f": {_summary(view, repository, row)}", "")))
        now = self.result.plan.created_at
        if gone := deleted_tags(view, repository):
            only_tags = len(tags_of_kept_manifests(repository).intersection(decision.tag.name for decision in gone))
            number = "" if only_tags == len(gone) else f"{only_tags:,} with "
            remark = (
                f", {number}{words.plural(only_tags, 'its')} {words.plural(only_tags, 'manifest')} kept"
                if only_tags
                else ""
            )
            yield line(
                (
                    ("in the reviewed plan" if view.bound else "would delete", "bold yellow"),
                    (f" ({len(gone):,}{remark})", ""),
                ),
                2,
            )
            for says, decisions in by_rule(self.result.plan.policy, gone):
                yield from [line(((words.plain(says), "dim"),), 4)] if says else []
                items = ((decision.tag.name, _age(decision.tag.updated_at, now)) for decision in decisions)
                yield self._names(items, len(decisions), self.gone)
        for group in view.kept(repository):
            yield line((("kept", "green"), (f": {words.plain(group.title)} ({len(group.tags):,})", "")), 2)
            if group.rule is Rule.IN_USE:
                yield from self._in_use(group)
            else:
                yield self._names(_remarks(group, now), len(group.tags), self.names)
        yield from _untagged(view, repository)

    def _applied_repository(self, view: View, repository: RepositoryPlan) -> Iterator[Block]:
        """Show the outcome of every tag, without ages: the reader now looks for single tags."""
        row = next(row for row in view.rows if row.repository == repository.repository)
        yield line(((words.plain(repository.repository), "bold"), (f": {_summary(view, repository, row)}", "")))
        few = view.total.tags <= self.complete
        rows = []

        def add(outcome: str, why: str, names: Sequence[str], limit: int) -> None:
            limit = len(names) if few else limit
            shown = [words.name(name) for name in names[:limit]]
            shown += [and_more(len(names) - limit)] if len(names) > limit else []
            rows.append((f"{outcome:<7}{len(names):>6,}", f"{why}{', '.join(shown)}"))

        left = undeleted_tags(view, repository)
        if gone := deleted_tags(view, repository):
            add("deleted", "", [decision.tag.name for decision in gone], self.gone_after)
        for kind in dict.fromkeys(outcome.kind for _, outcome in left):
            names = [decision.tag.name for decision, outcome in left if outcome.kind is kind]
            label, why = _NOT_KEPT.get(kind, ("kept", f"{_OUTCOMES[kind].lower()}: "))
            add(label, why, names, self.gone_after)
        for why, names in _kept_by_reason(view, repository):
            add("kept", f"{why}: ", names, self.kept_after)
        if rows:
            yield grid(tuple(rows), indent=2)
        yield from _untagged(view, repository)

    def _in_use(self, group: KeptGroup) -> Iterator[Block]:
        shown = group.tags[: self.rows]
        yield grid(tuple((words.name(tag.name), _users(tag)) for tag in shown), indent=4)
        hidden = len(group.tags) - len(shown)
        if hidden:
            yield line(((and_more(hidden), "dim"),), 4)

    def _names(self, items: Iterable[tuple[str, str]], total: int, limit: int) -> Block:
        shown = tuple((words.name(name), remark) for (name, remark), _ in zip(items, range(limit), strict=False))
        return names(shown, total - len(shown), 4)

    def _pullers(self, table: PullerTable) -> Iterator[Block]:
        yield heading(table.title, "bold")
        shown = table.rows[: self.repositories]
        yield grid(tuple(tuple(map(words.plain, row)) for row in shown), table.columns, indent=2)
        yield from self._hidden(len(table.rows) - len(shown), "row", 2)

    def _locked(self, view: View) -> Iterator[Block]:
        if not view.locked or (view.acted and self.details):
            # After an apply, the details of the repositories name them.
            return
        yield heading("Kept only by a lock", "bold")
        shown = view.locked[: self.rows]
        for repository, tag in shown:
            yield line(((words.plain(f"{repository}:{tag.name}"), ""), (f"  {words.plain(tag.detail)}", "dim")), 2)
        yield from self._hidden(len(view.locked) - len(shown), "", 2)

    def _deviations(self, view: View) -> Iterator[Block]:
        for number, (kind, outcomes) in enumerate(view.deviations):
            if number:
                yield BLANK
            style = "bold red" if kind is OutcomeKind.FAILED else "bold yellow"
            yield heading(f"{_OUTCOMES[kind]}: {_amount(outcomes)}", style)
            # Many items fail for the same reason. Failures get more room, because the user must act
            # on them.
            limit = self.rows * (4 if kind is OutcomeKind.FAILED else 1)
            reasons: dict[str, list[Outcome]] = {}
            for outcome in outcomes:
                reasons.setdefault(outcome.detail, []).append(outcome)
            for detail, items in islice(reasons.items(), limit):
                if detail:
                    yield line(((words.plain(detail, 1000), ""),), 2)
                yield self._names(((str(item), "") for item in items), len(items), limit)
            hidden = sum(map(len, islice(reasons.values(), limit, None)))
            yield from self._hidden(hidden, "", 2)

    def _missing(self, view: View) -> Iterator[Block]:
        if view.missing:
            yield heading("In use, but not in the registry", "bold yellow")
            yield line(((MISSING_MEANS, ""),), 2)
            yield from self._affected(view.missing, "bold")

    def _affected(self, items: Sequence[Affected], style: str) -> Iterator[Block]:
        shown = items[: self.names]
        for item in shown:
            yield line(((words.plain(item.what), style), (f" {words.plain(item.seen)}" if item.seen else "", "")), 2)
            yield line(((words.plain(item.who, 600), ""),), 4)
        yield from self._hidden(len(items) - len(shown), "", 2)

    def _others(self) -> Iterator[Block]:
        notes = self.result.proof.notes if self.result.proof is not None else ()
        if notes:
            yield heading("Changed by others during the run", "bold")
            yield from (line((("- ", ""), (words.plain(note, 600), "")), 2) for note in notes[: self.names])
            yield from self._hidden(len(notes) - self.names, "", 2)

    def _warnings(self, view: View) -> Iterator[Block]:
        styles = dict.fromkeys(view.warnings, "") | dict.fromkeys(self.result.plan.usage.dangers, "bold red")
        if self.result.final:
            styles = {self.result.undo: "yellow", **styles}
        if styles:
            yield heading("Warnings", "bold yellow")
        shown = list(styles.items())[: self.names]
        yield from (line((("- ", ""), (words.plain(warning, 600), style)), 2) for warning, style in shown)
        yield from self._hidden(len(styles) - len(shown), "warning", 2)

    def _next(self, view: View) -> Iterator[Block]:
        if self.details and view.rows:
            # Repeated at the end, because a terminal shows the last lines.
            yield fact("Verdict", headline(view))
        if self.context.files:
            yield fact("Reports", ", ".join(words.plain(path) for path in self.context.files))
        for number, step in enumerate(next_steps(view, self.context)):
            yield fact("Next" if number == 0 else "", words.plain(str(step), 1000))

    def _hidden(self, number: int, noun: str, indent: int) -> Iterator[Block]:
        if number > 0:
            more = f"{number:,} more {words.plural(number, noun)}" if noun else f"{number:,} more"
            yield line(((f"… and {more} in {words.plain(self.context.full_report)}", "dim"),), indent)


def render(result: Result, context: Context | None = None, *, details: bool = True) -> TextReport:
    """Render the report for `print`, for rich, or for the `show` of a runtime."""
    return TextReport(result, context or Context(), details)


def _summary(view: View, repository: RepositoryPlan, row: Row) -> str:
    if not row.tags:
        return "no tags"
    if not repository.deletions:
        none = "no tag to delete" if repository.untagged_deletions else "nothing to delete"
        return f"{none}, {words.count(row.tags, 'tag')}"
    freed = f", freeing {'' if repository.exact else 'up to '}{words.size(row.bytes)}" if row.bytes else ""
    return f"{row.gone:,} of {words.count(row.tags, 'tag')} {view.gone_verb}{freed}"


def _untagged(view: View, repository: RepositoryPlan) -> Iterator[Block]:
    if text := view.untagged(repository):
        yield line(((words.plain(text), ""),), 2)


def _remarks(group: KeptGroup, now: datetime) -> Iterator[tuple[str, str]]:
    for tag in group.tags:
        yield tag.name, words.plain(tag.detail) if group.details else _age(tag.updated_at, now)


def _kept_by_reason(view: View, repository: RepositoryPlan) -> Iterator[tuple[str, list[str]]]:
    """Yield each keep reason with its tags. Tags that the same workloads use are grouped."""
    for group in view.kept(repository):
        title, reasons = words.plain(group.title), dict[str, list[str]]()
        for tag in group.tags:
            why = f"in use by {_users(tag, 1)}" if group.rule is Rule.IN_USE else title
            reasons.setdefault(why, []).append(tag.name)
        yield from reasons.items()


def _users(tag: KeptTag, limit: int = _USERS_SHOWN) -> str:
    shown, hidden = users(tag, limit)
    more = f" and {hidden:,} more" if hidden else ""
    return words.plain(f"{'its digest: ' if by_digest(tag) else ''}{', '.join(shown)}", 600) + more


def _age(moment: datetime | None, now: datetime) -> str:
    return words.age(now - moment) if moment is not None else "age unknown"


def _amount(outcomes: Sequence[Outcome]) -> str:
    tags = sum(outcome.tag is not None for outcome in outcomes)
    parts = [words.count(tags, "tag")] if tags else []
    if tags < len(outcomes):
        parts.append(words.count(len(outcomes) - tags, "manifest"))
    return words.listing(parts)
