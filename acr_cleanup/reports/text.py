"""
What a person sees: in a terminal as tables and colour, elsewhere as plain lines; the words are the same.

A report is composed once, of lines and grids; only then does it take one of the two forms. Everything foreign in it has passed
`words.plain` by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import Rule
from acr_cleanup.reports import words
from acr_cleanup.reports.view import (
    Context,
    KeptGroup,
    KeptTag,
    Row,
    Tone,
    View,
    by_digest,
    by_name_only,
    stayed,
    users,
    went,
)

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
    OutcomeKind.IN_USE_NOW: "In use now, kept",
    OutcomeKind.MOVED: "Moved since the plan, kept",
    OutcomeKind.LOCKED: "Locked now, kept",
    OutcomeKind.KEPT: "Kept after all",
    OutcomeKind.GONE: "Already gone",
    OutcomeKind.NOT_ATTEMPTED: "Not attempted",
}

# A failed deletion may yet have been carried out: not of everything that was not deleted can be said that it stays.
_LEFT = {OutcomeKind.FAILED: ("failed", ""), OutcomeKind.GONE: ("gone", "already: ")}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, styled in parts; `indent` in columns holds for its continuation too."""

    spans: tuple[tuple[str, str], ...] = ()
    indent: int = 0

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.spans)


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows in columns; `numbers` names the columns that are aligned to the right."""

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    numbers: frozenset[int] = frozenset()
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """Many short things side by side: a name and a remark on each; `hidden` more are not shown."""

    items: tuple[tuple[str, str], ...]
    hidden: int = 0
    indent: int = 0


Block = Line | Grid | Names
_BLANK = Line()


@dataclass(frozen=True)
class TextReport:
    """
    The report of one run: rich's `print` shows it as for a terminal, `str` gives plain lines.

    `details` tells of each tag; without it the totals are left. The other numbers bound what is shown of anything: a registry
    of many thousand tags still fits a screen or two, and report.json has the rest.
    """

    result: Result
    context: Context = field(default_factory=Context)
    details: bool = True
    rows: int = 6
    """Tags with their users, shown for each repository."""
    gone: int = 24
    """Tags that go, shown for each repository."""
    names: int = 8
    """Tags that stay and are shown by their mere names, for each repository and reason."""
    complete: int = 600
    """Up to so many tags, an apply names each of them."""
    gone_after: int = 100
    """Of more than that: tags that went, for each repository."""
    kept_after: int = 10
    """Of more than that: tags that stay, for each repository and reason."""
    repositories: int = 30

    def lines(self) -> Iterator[str]:
        """Plain lines: no colour, no frames, not wrapped, so that one can search them."""
        for block in self.blocks():
            yield from _plain(block)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for block in self.blocks():
            yield from _rich(block, options.max_width)

    def blocks(self) -> Iterator[Block]:
        """Everything that is said, in its order."""
        view = View(self.result)
        yield Line(((view.headline, _STYLES[view.tone]),))
        yield from _section(self._problems(view))
        yield from _section(self._totals(view))
        yield from _section(self._table(view))
        if self.details:
            readable = [each for each in view.repositories if not each.error]
            shown = readable[: self.repositories]
            if shown:
                yield _BLANK
                full = words.plain(self.context.full_report)
                ages = "" if view.acted else "; with each tag the time since its last push"
                yield Line(((f"By repository{ages}. All of it is in {full}.", "dim"),))
            tell = self._done if view.acted else self._repository
            for repository in shown:
                yield from _section(tell(view, repository))
            yield from _section(self._hidden(len(readable) - len(shown), "repository", 0))
        yield from _section(self._locked(view))
        yield from _section(self._surprises(view))
        yield from _section(self._warnings(view))
        yield from _section(self._next(view))

    def _problems(self, view: View) -> Iterator[Block]:
        if view.blockers:
            yield _heading("What happened" if view.ended_early else "What could not be seen", "bold red")
        place = None
        for blocker in view.blockers[:_BLOCKERS_SHOWN]:
            if blocker.where != place:
                place = blocker.where
                yield Line(((words.plain(place), "bold"),), 2)
            yield Line(((words.plain(blocker.call), ""),), 4)
            yield Line(((words.plain(blocker.seen), "red"),), 6)
            if blocker.remedy:
                yield Line((("→ ", "cyan"), (words.plain(blocker.remedy), "")), 6)
        yield from self._hidden(len(view.blockers) - _BLOCKERS_SHOWN, "blocker", 2)
        if self.result.refusals:
            yield _heading("Why it is refused", "bold red")
            yield from (Line(((words.plain(refusal), ""),), 2) for refusal in self.result.refusals)
        if view.unread:
            yield _heading("Repositories that could not be read", "bold yellow")
        for repository in view.unread[: self.repositories]:
            yield Line(((words.plain(repository.repository), "bold"),), 2)
            yield Line(((words.plain(repository.error), ""),), 4)
        yield from self._hidden(len(view.unread) - self.repositories, "repository", 2)

    def _totals(self, view: View) -> Iterator[Block]:
        total, result = view.total, self.result
        if total.tags:
            of = f"{total.kept:,} of {words.count(total.tags, 'tag')}, {total.in_use:,} of them in use"
            yield _fact("Kept", of)
        for number, scan in enumerate(result.plan.usage.scans):
            how = f" ({words.plain(scan.access)})" if scan.access else ""
            read = f"{words.count(scan.objects, 'object')}, {words.count(len(scan.uses), 'use')} of this registry"
            unseen = f", {words.count(len(scan.blockers), 'blocker')}" if scan.blockers else ""
            yield _fact("Clusters" if number == 0 else "", f"{words.plain(scan.cluster)}{how}: {read}{unseen}")
        yield _fact("Policy", words.plain(view.policy, 1000))
        yield _fact("Took", words.elapsed(result.finished_at - result.started_at))

    def _table(self, view: View) -> Iterator[Block]:
        if not view.rows:
            return
        left = any(row.left for row in view.rows)
        header = ["Repository", "Tags", "Deleted" if view.acted else "Would delete"]
        header += ["Not deleted"] if left else []
        header += ["Kept", "In use", "Freed up to" if view.acted else "Frees up to"]

        def cells(row: Row) -> tuple[str, ...]:
            if row.error:
                return (words.plain(row.repository), "?", *("" for _ in header[2:]))
            numbers = [row.tags, row.gone, *([row.left] if left else []), row.kept, row.in_use]
            size = words.size(row.bytes) if row.bytes else "-"
            return (words.plain(row.repository), *(f"{number:,}" if number else "-" for number in numbers), size)

        # What would go is what has to be checked; the rest is there to be looked up.
        order = sorted(view.rows, key=lambda row: (not row.gone and not row.left, row.repository))
        shown = order[: self.repositories]
        yield Grid(
            rows=tuple(cells(row) for row in shown),
            header=tuple(header),
            footer=cells(view.total) if len(view.rows) > 1 else (),
            numbers=frozenset(range(1, len(header))),
        )
        yield from self._hidden(len(order) - len(shown), "repository", 2)

    def _repository(self, view: View, repository: RepositoryPlan) -> Iterator[Block]:
        row = next(row for row in view.rows if row.repository == repository.repository)
        name = words.plain(repository.repository)
        yield Line(((name, "bold"), (f": {_summary(view, repository, row)}", "")))
        now = self.result.plan.created_at
        if gone := went(view, repository):
            by_name = len(by_name_only(repository).intersection(each.tag.name for each in gone))
            some = "" if by_name == len(gone) else f"{by_name:,} "
            remark = f", {some}by name only because the manifest stays" if by_name else ""
            title = "deleted" if view.acted else "would delete"
            yield Line(((title, "bold yellow"), (f" ({len(gone):,}{remark})", "")), 2)
            items = ((each.tag.name, _age(each.tag.updated_at, now)) for each in gone)
            yield self._names(items, len(gone), self.gone)
        for group in view.kept(repository):
            yield Line((("kept", "green"), (f": {words.plain(group.title)} ({len(group.tags):,})", "")), 2)
            if group.rule is Rule.IN_USE:
                yield from self._in_use(group)
            else:
                yield self._names(_remarks(group, now), len(group.tags), self.names)

    def _done(self, view: View, repository: RepositoryPlan) -> Iterator[Block]:
        """
        What went and what stays, after it was done: every tag, and short.

        Whoever applies has mostly just read the plan, with its ages and users; now they want to find each tag once more.
        """
        row = next(row for row in view.rows if row.repository == repository.repository)
        yield Line(((words.plain(repository.repository), "bold"), (f": {_summary(view, repository, row)}", "")))
        few = view.total.tags <= self.complete
        rows = []

        def tell(what: str, why: str, names: Sequence[str], limit: int) -> None:
            limit = len(names) if few else limit
            shown = [words.name(each) for each in names[:limit]]
            shown += [_more(len(names) - limit)] if len(names) > limit else []
            rows.append((f"{what:<7}{len(names):>6,}", f"{why}{', '.join(shown)}"))

        left = stayed(view, repository)
        if gone := went(view, repository):
            tell("deleted", "", [each.tag.name for each in gone], self.gone_after)
        for kind in dict.fromkeys(outcome.kind for _, outcome in left):
            names = [each.tag.name for each, outcome in left if outcome.kind is kind]
            what, why = _LEFT.get(kind, ("stays", f"{_OUTCOMES[kind].lower()}: "))
            tell(what, why, names, self.gone_after)
        for why, names in _kept_because(view, repository):
            tell("kept", f"{why}: ", names, self.kept_after)
        if rows:
            yield Grid(tuple(rows), indent=2)

    def _in_use(self, group: KeptGroup) -> Iterator[Block]:
        shown = group.tags[: self.rows]
        yield Grid(tuple((words.name(tag.name), _users(tag)) for tag in shown), indent=4)
        hidden = len(group.tags) - len(shown)
        if hidden:
            yield Line(((_more(hidden), "dim"),), 4)

    def _names(self, items: Iterable[tuple[str, str]], total: int, limit: int) -> Names:
        shown = tuple((words.name(name), remark) for (name, remark), _ in zip(items, range(limit), strict=False))
        return Names(shown, total - len(shown), 4)

    def _locked(self, view: View) -> Iterator[Block]:
        if not view.locked or (view.acted and self.details):
            # Once it is done, the repositories name them.
            return
        yield _heading("Kept by a lock alone", "bold")
        shown = view.locked[: self.rows]
        for repository, tag in shown:
            yield Line(((words.plain(f"{repository}:{tag.name}"), ""), (f"  {words.plain(tag.detail)}", "dim")), 2)
        yield from self._hidden(len(view.locked) - len(shown), "", 2)

    def _surprises(self, view: View) -> Iterator[Block]:
        for number, (kind, outcomes) in enumerate(view.surprises):
            if number:
                yield _BLANK
            style = "bold red" if kind is OutcomeKind.FAILED else "bold yellow"
            yield _heading(f"{_OUTCOMES[kind]}: {_amount(outcomes)}", style)
            # Many fail for one reason. What failed is what somebody has to look into.
            limit = self.rows * (4 if kind is OutcomeKind.FAILED else 1)
            reasons: dict[str, list[Outcome]] = {}
            for outcome in outcomes:
                reasons.setdefault(outcome.detail, []).append(outcome)
            for detail, those in islice(reasons.items(), limit):
                if detail:
                    yield Line(((words.plain(detail, 1000), ""),), 2)
                yield self._names(((str(each), "") for each in those), len(those), limit)
            hidden = sum(map(len, islice(reasons.values(), limit, None)))
            yield from self._hidden(hidden, "", 2)

    def _warnings(self, view: View) -> Iterator[Block]:
        if not view.warnings:
            return
        yield _heading("Warnings", "bold yellow")
        shown = view.warnings[: self.names]
        yield from (Line((("- ", ""), (words.plain(warning, 600), "")), 2) for warning in shown)
        yield from self._hidden(len(view.warnings) - len(shown), "warning", 2)

    def _next(self, view: View) -> Iterator[Block]:
        if self.details and view.rows:
            # In a terminal the last lines are what is still on the screen.
            yield _fact("Verdict", view.headline)
        if self.context.files:
            yield _fact("Reports", ", ".join(words.plain(path) for path in self.context.files))
        for number, step in enumerate(view.next_steps(self.context)):
            yield _fact("Next" if number == 0 else "", words.plain(str(step), 1000))

    def _hidden(self, number: int, noun: str, indent: int) -> Iterator[Block]:
        if number > 0:
            what = f"{number:,} more {words.plural(number, noun)}".rstrip() if noun else f"{number:,} more"
            yield Line(((f"… and {what} in {words.plain(self.context.full_report)}", "dim"),), indent)


def render(result: Result, context: Context | None = None, *, details: bool = True) -> TextReport:
    """The report for people, ready for `print`, rich's `print`, or a runtime's `show`."""
    return TextReport(result, context or Context(), details)


def _section(blocks: Iterable[Block]) -> Iterator[Block]:
    """A blank line before, unless there is nothing."""
    for number, block in enumerate(blocks):
        if number == 0:
            yield _BLANK
        yield block


def _heading(text: str, style: str) -> Line:
    return Line(((text, style),))


def _fact(label: str, text: str) -> Grid:
    return Grid(((f"{label:<9}", text),))


def _summary(view: View, repository: RepositoryPlan, row: Row) -> str:
    if not row.tags:
        return "no tags"
    if not repository.deletions:
        return f"nothing to delete, {words.count(row.tags, 'tag')}"
    modal = "deleted" if view.acted else "would be deleted"
    freed = f", freeing up to {words.size(row.bytes)}" if row.bytes else ""
    return f"{row.gone:,} of {words.count(row.tags, 'tag')} {modal}{freed}"


def _remarks(group: KeptGroup, now: datetime) -> Iterator[tuple[str, str]]:
    for tag in group.tags:
        yield tag.name, words.plain(tag.detail) if group.details else _age(tag.updated_at, now)


def _kept_because(view: View, repository: RepositoryPlan) -> Iterator[tuple[str, list[str]]]:
    """Why tags stay and which; those in use by the same workloads together."""
    for group in view.kept(repository):
        reasons: dict[str, list[str]] = {}
        for tag in group.tags:
            why = f"in use by {_users(tag, 1)}" if group.rule is Rule.IN_USE else words.plain(group.title)
            reasons.setdefault(why, []).append(tag.name)
        yield from reasons.items()


def _users(tag: KeptTag, limit: int = _USERS_SHOWN) -> str:
    shown, rest = users(tag, limit)
    more = f" and {rest:,} more" if rest else ""
    return words.plain(f"{'its digest: ' if by_digest(tag) else ''}{', '.join(shown)}", 600) + more


def _more(number: int) -> str:
    return f"… {number:,} more"


def _age(moment: datetime | None, now: datetime) -> str:
    return words.age(now - moment) if moment is not None else "age unknown"


def _amount(outcomes: Sequence[Outcome]) -> str:
    tags = sum(outcome.tag is not None for outcome in outcomes)
    parts = [words.count(tags, "tag")] if tags else []
    if tags < len(outcomes):
        parts.append(words.count(len(outcomes) - tags, "manifest"))
    return words.listing(parts)


def _plain(block: Block) -> Iterator[str]:
    match block:
        case Line():
            yield f"{' ' * block.indent}{block.text}" if block.text else ""
        case Names():
            more = [_more(block.hidden)] if block.hidden else []
            yield " " * block.indent + ", ".join(
                [*(f"{name} ({remark})" if remark else name for name, remark in block.items), *more]
            )
        case Grid():
            rows = [row for row in (block.header, *block.rows, block.footer) if row]
            last = len(rows[0]) - 1
            # One endless name must not push every other row off the screen.
            widths = [min(max(len(row[column]) for row in rows), words.NAME_LIMIT) for column in range(last + 1)]
            for row in rows:
                cells = (
                    cell.rjust(width) if column in block.numbers else cell if column == last else cell.ljust(width)
                    for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                yield (" " * block.indent + "  ".join(cells)).rstrip()


def _rich(block: Block, width: int) -> Iterator[Text | Padding]:
    match block:
        case Line() if block.text:
            text = Text.assemble(*block.spans, overflow="fold")
            yield _indented(text, block.indent) if block.indent else text
        case Line():
            yield Text()
        case Names():
            yield _indented(_side_by_side(block, width - block.indent), block.indent)
        case Grid():
            yield _indented(_grid(block), block.indent)


def _indented(content: Text | Table, indent: int) -> Padding:
    return Padding(content, (0, 0, 0, indent), expand=False)


def _side_by_side(block: Names, width: int) -> Text:
    """Columns, filled downwards as `ls` does."""
    items = [*block.items, *([(_more(block.hidden), "")] if block.hidden else [])]
    cells = [Text.assemble((name, ""), (f" {remark}" if remark else "", "dim")) for name, remark in items]
    for columns in range(min(len(cells), width), 0, -1):
        height = -(-len(cells) // columns)
        slices = [cells[start : start + height] for start in range(0, len(cells), height)]
        widths = [max(cell.cell_len for cell in each) for each in slices]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    shown = Text(overflow="fold")
    for row in range(height):
        line = [(each[row], widths[column]) for column, each in enumerate(slices) if row < len(each)]
        for column, (cell, wide) in enumerate(line):
            shown.append_text(cell)
            shown.append(" " * (wide - cell.cell_len + 2) if column < len(line) - 1 else "")
        shown.append("\n" if row < height - 1 else "")
    return shown


def _grid(block: Grid) -> Table:
    if not block.header:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(overflow="fold", no_wrap=False, max_width=40)
        table.add_column(overflow="fold")
    else:
        table = Table(
            box=box.SIMPLE_HEAD, show_footer=bool(block.footer), pad_edge=False, show_edge=False, header_style="bold"
        )
        for column, title in enumerate(block.header):
            number = column in block.numbers
            table.add_column(
                Text(title),
                footer=Text(block.footer[column], "bold") if block.footer else "",
                justify="right" if number else "left",
                overflow="fold",
            )
    for row in block.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
