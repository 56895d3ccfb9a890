"""
`summary.md`: the job summary, in GitHub-flavoured Markdown.

GitHub drops a step summary of more than 1 MiB without a word, and a summary cut in the middle leaves its tables and `<details>`
open. So it is assembled of whole blocks, the most important first, as long as they fit; what is left out is said.
https://docs.github.com/actions/reference/workflow-commands-for-github-actions#step-isolation-and-limits
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from acr_cleanup.core.inventory import Tag
from acr_cleanup.core.outcome import Outcome, OutcomeKind, Result
from acr_cleanup.core.plan import Decision, RepositoryPlan
from acr_cleanup.core.policy import MANIFEST_LOCKED, REPOSITORY_LOCKED, TAG_LOCKED, Rule
from acr_cleanup.core.references import short
from acr_cleanup.errors import AcrCleanupError, ConfigurationError
from acr_cleanup.reports import charts, words
from acr_cleanup.reports.dialect import GITHUB, Dialect
from acr_cleanup.reports.plan_words import describe_policy
from acr_cleanup.reports.view import (
    MISSING_MEANS,
    Affected,
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

_HEADING = "## 🧹 ACR cleanup"
_UNLOCK = {
    TAG_LOCKED: ("tags", "--image REPOSITORY:TAG"),
    MANIFEST_LOCKED: ("manifests", "--image REPOSITORY@DIGEST"),
    REPOSITORY_LOCKED: ("repositories", "--repository REPOSITORY"),
}
"""What is locked, and how `az acr repository update` names it. https://learn.microsoft.com/azure/container-registry/container-registry-image-lock"""
_USERS_SHOWN = 3
_PROBLEMS_SHOWN = 100

_OUTCOMES = {
    OutcomeKind.FAILED: "failed",
    OutcomeKind.IN_USE_NOW: "in use now, kept",
    OutcomeKind.MOVED: "moved since the plan, kept",
    OutcomeKind.LOCKED: "locked now, kept",
    OutcomeKind.KEPT: "kept after all",
    OutcomeKind.GONE: "already gone",
    OutcomeKind.NOT_ATTEMPTED: "not attempted",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A piece that stands or falls as a whole. `place` is where it stands, `weight` how soon it may be left out (0: never)."""

    place: int
    weight: tuple[int, int]
    text: str


@dataclass(frozen=True)
class Summary:
    """The summary of one run. The numbers bound what is shown; report.json has the rest."""

    result: Result
    context: Context = field(default_factory=Context)
    budget: int = GITHUB.budget
    table: int = 300
    """Repositories in the table."""
    expanded: int = 50
    """Repositories with their tags."""
    rows: int = 200
    """Tags of each."""
    notes: int = 50
    """Blockers, warnings, and reasons of each kind of outcome."""
    named: int = 20
    """Tags of one such reason."""

    def render(self) -> str:
        """The whole summary; never more than `budget` bytes, and never an open element."""
        broken = self.context.dialect.broken
        blocks = [
            Block(place, weight, broken(text)) for place, (weight, text) in enumerate(self._blocks(View(self.result)))
        ]
        # Room for the sentence that says what is missing.
        used, kept = 400, []
        for block in sorted(blocks, key=lambda block: (block.weight, block.place)):
            size = len(block.text.encode("utf-8", "backslashreplace")) + 2
            if used + size <= self.budget:
                used += size
                kept.append(block)
        kept.sort(key=lambda block: block.place)
        texts = [block.text for block in kept]
        if left_out := len(blocks) - len(kept):
            said = f"{words.count(left_out, 'part')} of this summary did not fit"
            texts.append(f"_{said}. Everything is in {words.code(self.context.full_report)}._")
        return "\n\n".join(texts) + "\n"

    def _blocks(self, view: View) -> Iterator[tuple[tuple[int, int], str]]:
        """Every block in its place, with its weight: the larger, the sooner it is left out."""
        shard = self.result.plan.policy.shard
        # One page shows what all jobs of a workflow say.
        part = "" if shard.is_whole else f" · shard {shard}"
        yield (0, 0), f"{_HEADING} · {words.code(self.result.plan.registry)}{part}"
        yield (0, 1), self._verdict(view)
        path, which = view.reviewed
        if which:
            yield (0, 1), f"Bound to the reviewed plan {words.code(path)} ({which}): nothing beyond it is deleted."
        if self.result.undo:
            yield (0, 1), words.prose(self.result.undo)
        yield from (((1, 0), text) for text in self._problems(view))
        yield from (((1, 1), text) for text in self._surprises(view))
        if not (view.ended_early or view.turned_away):
            yield (0, 2), self._totals(view)
        yield from (((1, 4), text) for text in self._charts(view) if text)
        if view.rows:
            yield (1, 3), self._repositories(view)
        folds = self.context.dialect.folds
        if folds:
            yield from self._tags(view)
        yield from (((1, 2), text) for text in self._others())
        yield from (((1, 2), text) for text in self._missing(view))
        yield from (((1, 2), text) for text in self._warnings(view))
        yield from (((0, 3), text) for text in self._next(view))
        yield (2, 2), self._configuration(view)
        if not folds:
            # It would stand between the reader and everything after it.
            yield from self._tags(view)

    def _verdict(self, view: View) -> str:
        first = self.context.dialect.verdict(view.tone, words.markdown(view.headline, 2000))
        return f"{first} {how}" if (how := self._how_to_delete(view)) else first

    def _how_to_delete(self, view: View) -> str:
        """A dry run says how to change it; one that is refused or could not see everything must not invite to that."""
        context, planned = self.context, self.result.plan.planned + self.result.plan.untagged
        if not (self.result.dry_run and context.apply) or view.tone not in {Tone.NEUTRAL, Tone.GOOD}:
            return ""
        apply = words.code(context.apply, 2000)
        if context.apply_is_input:
            if planned:
                return f"Set {apply} to delete {'it' if planned == 1 else 'them'}."
            return f"This was a dry run: set {apply} to let later runs delete."
        return f"To delete {'it' if planned == 1 else 'them'}: {apply}" if planned else ""

    def _problems(self, view: View) -> Iterator[str]:
        if view.broken:
            lines = ["### What is broken", "", *self._affected(view.broken)]
            yield "\n".join([*lines, "", f"The way back: {words.code(view.way_back(self.context), 2000)}"])
        if view.blockers:
            lines = ["### What happened" if view.ended_early else "### What could not be seen", ""]
            for blocker in view.blockers[: self.notes]:
                where = f"**{words.markdown(blocker.where)}**" if blocker.where else ""
                place = ", ".join(part for part in (where, words.markdown(blocker.call)) if part)
                lines.append(_item(place, words.prose(blocker.seen), blocker.remedy))
            yield "\n".join([*lines, *self._rest(len(view.blockers))])
        if self.result.refusals:
            refusals = (f"- {words.prose(refusal)}" for refusal in self.result.refusals[: self.notes])
            yield "\n".join(["### Why it is refused", "", *refusals, *self._rest(len(self.result.refusals))])
        if view.unread:
            lines = ["### Repositories that could not be read", ""]
            lines += [
                _item(words.code(tally.repository), words.prose(tally.error)) for tally in view.unread[: self.notes]
            ]
            yield "\n".join([*lines, *self._rest(len(view.unread))])

    def _charts(self, view: View) -> Iterator[str]:
        slices = charts.decisions(view)
        if self.context.dialect.charts:
            yield charts.pie(slices)
            yield charts.bars(view)
        else:
            yield charts.table(slices)

    def _totals(self, view: View) -> str:
        total, scans = view.total, self.result.plan.usage.scans
        counts = self.result.counts
        manifests = counts.deleted_manifests if view.acted else self.result.plan.manifests
        read = sum(not scan.blockers for scan in scans)
        header = [view.gone_title, "Manifests", "Kept", "In use"]
        header += [view.freed_title, "Clusters read", "Took"]
        cells = [
            f"**{words.count(total.gone, 'tag')}**",
            f"{manifests:,}",
            words.count(total.kept, "tag"),
            words.count(total.in_use, "tag"),
            f"**{words.size(total.bytes)}**",
            f"{read} of {len(scans)}",
            words.elapsed(self.result.finished_at - self.result.started_at),
        ]
        told = [f"{view.proved}"] if view.proved else []
        told += [f"Sizes are {view.measured}."] if view.measured else []
        table = [_row(header), _row(["---:"] * len(header)), _row(cells)]
        return "\n".join([*table, *(f"\n{words.markdown(each, 600)}" for each in told)])

    def _repositories(self, view: View) -> str:
        left = any(row.left for row in view.rows)
        remarks = self._remarks(view)
        header = ["Repository", "Tags", view.gone_title]
        header += ["Not deleted"] if left else []
        header += ["Kept", "In use", view.freed_title]
        aligned = [":---", *("---:" for _ in header[1:]), *([":---"] if remarks else [])]

        def cells(row: Row, name: str) -> list[str]:
            remark = [remarks.get(row.repository, "")] if remarks else []
            if row.error:
                return [name, "?", *("" for _ in header[2:]), *remark]
            numbers = [row.tags, row.gone, *([row.left] if left else []), row.kept, row.in_use]
            return [name, *(f"{number:,}" for number in numbers), words.size(row.bytes), *remark]

        order = sorted(view.rows, key=lambda row: (not row.gone and not row.left and not row.bytes, row.repository))
        lines = [_row([*header, *([""] if remarks else [])]), _row(aligned)]
        lines += [_row(cells(row, words.code(row.repository))) for row in order[: self.table]]
        if len(order) > 1:
            lines.append(_row(f"**{cell}**" if cell else "" for cell in cells(view.total, "Total")))
        hidden = self._hidden(len(order) - self.table, "repository")
        return "\n".join(["### Repositories", "", *lines, *(f"\n{text}" for text in hidden)])

    def _remarks(self, view: View) -> dict[str, str]:
        """What makes a repository stand out, for the last column of the table."""
        found: dict[str, list[str]] = {}
        for kind, outcomes in view.surprises:
            if kind is OutcomeKind.FAILED:
                for name, number in Counter(each.repository for each in outcomes).items():
                    found.setdefault(name, []).append(f"❌ {number:,} failed")
        for each in view.unread:
            found.setdefault(each.repository, []).append("⚠️ not read")
        for name, number in Counter(repository for repository, _ in view.locked).items():
            found.setdefault(name, []).append(f"⚠️ {number:,} locked")
        return {name: ", ".join(remarks) for name, remarks in found.items()}

    def _surprises(self, view: View) -> Iterator[str]:
        if not view.surprises:
            return
        lines = ["### What differed from the plan", ""]
        for kind, outcomes in view.surprises:
            # Many fail for one reason, and a reader must not miss the second one.
            reasons: dict[str, list[Outcome]] = {}
            for outcome in outcomes:
                reasons.setdefault(outcome.detail, []).append(outcome)
            for detail, those in islice(reasons.items(), self.notes):
                shown = ", ".join(words.code(str(each)) for each in those[: self.named])
                more = f" and {len(those) - self.named:,} more" if len(those) > self.named else ""
                why = f": {words.prose(detail)}" if detail else ""
                lines.append(f"- **{len(those):,} {_OUTCOMES[kind]}**{why}<br>{shown}{more}")
            lines += self._rest(len(reasons), _OUTCOMES[kind])
        yield "\n".join(lines)

    def _missing(self, view: View) -> Iterator[str]:
        if view.missing:
            lines = ["### ⚠️ In use, but not in the registry", "", f"{words.markdown(MISSING_MEANS)}", ""]
            yield "\n".join([*lines, *self._affected(view.missing)])

    def _affected(self, items: Sequence[Affected]) -> Iterator[str]:
        for each in items[: self.notes]:
            seen = f" {words.markdown(each.seen)}" if each.seen else ""
            yield f"- {words.code(each.what)}{seen}<br>{words.markdown(each.who, 600)}"
        yield from self._rest(len(items))

    def _others(self) -> Iterator[str]:
        notes = self.result.proof.notes if self.result.proof is not None else ()
        if notes:
            lines = [f"- {words.prose(note, 600)}" for note in notes[: self.notes]]
            yield "\n".join(["### Changed by others meanwhile", "", *lines, *self._rest(len(notes))])

    def _warnings(self, view: View) -> Iterator[str]:
        lines = [f"- {words.prose(warning, 600)}" for warning in view.warnings[: self.notes]]
        lines += self._rest(len(view.warnings))
        locked: dict[tuple[str, str], list[str]] = {}
        for repository, tag in view.locked:
            locked.setdefault((repository, tag.detail), []).append(tag.name)
        for (repository, detail), tags in islice(locked.items(), self.notes):
            shown = ", ".join(words.code(words.name(tag)) for tag in tags[: self.named])
            more = f" and {len(tags) - self.named:,} more" if len(tags) > self.named else ""
            are = words.plural(len(tags), "is")
            lines.append(
                f"- {words.code(repository)}: a lock alone keeps {shown}{more}, which {are} old and unused "
                f"({words.markdown(detail)})."
            )
        lines += self._rest(len(locked), "with locks")
        name = self.result.plan.registry.partition(".")[0]
        seen = {detail for _, detail in locked}
        for what, target in (_UNLOCK[detail] for detail in _UNLOCK if detail in seen):
            command = f"az acr repository update --name {name} {target} --write-enabled true --delete-enabled true"
            lines.append(f"- To let them go, unlock the {what}: {words.code(command)}")
        if lines:
            yield "\n".join(["### ⚠️ Warnings", "", *lines])

    def _tags(self, view: View) -> Iterator[tuple[tuple[int, int], str]]:
        readable = [each for each in view.readable if each.tags or each.untagged_decided]
        if not readable:
            return
        yield (2, 1), "### Why each tag goes or stays"
        for number, each in enumerate(readable[: self.expanded]):
            yield (3, number), self._details(view, self.result.plan.repository(each.repository))
        yield from (((2, 1), text) for text in self._hidden(len(readable) - self.expanded, "repository"))

    def _details(self, view: View, repository: RepositoryPlan) -> str:
        gone, left = went(view, repository), stayed(view, repository)
        modal = "deleted" if view.acted else "would be deleted"
        numbers = [f"{len(gone):,} {modal}", *([f"{len(left):,} not deleted"] if left else [])]
        title = f"{', '.join(numbers)}, {len(repository.kept):,} kept"
        title += f"; {untagged}" if (untagged := view.untagged(repository)) else ""
        total = len(gone) + len(left) + len(repository.kept)
        rows = islice(_rows(view, repository, gone, left), self.rows)
        header = [_row(["Tag", "Digest", "Pushed", "Decision", "Why"]), _row([":---"] * 5)]
        hidden = (f"\n{text}" for text in self._hidden(total - self.rows, "tag"))
        return self.context.dialect.folded(
            f"<code>{words.html(repository.repository)}</code>: {title}",
            f"{words.code(repository.repository)}: {title}",
            [*header, *rows, *hidden],
        )

    def _configuration(self, view: View) -> str:
        policy = describe_policy(self.result.plan.policy).items()
        lines = [words.markdown(view.policy, 1000), ""]
        lines += [_row(["Input", "Value"]), _row([":---"] * 2)]
        lines += [_row([words.code(key), words.code(value, 1000)]) for key, value in policy]
        scans = self.result.plan.usage.scans[: self.table]
        if not scans:
            return self.context.dialect.folded("Configuration", "Configuration", lines)
        lines += ["", _row(["Cluster", "Access", "Objects read", "Uses of this registry", "Blockers"])]
        lines += [_row([":---", ":---", "---:", "---:", "---:"])]
        for scan in scans:
            numbers = (f"{number:,}" for number in (scan.objects, len(scan.uses), len(scan.blockers)))
            lines.append(_row([words.code(scan.cluster), words.markdown(scan.access), *numbers]))
        return self.context.dialect.folded("Configuration", "Configuration", lines)

    def _next(self, view: View) -> Iterator[str]:
        steps = []
        for number, step in enumerate(view.next_steps(self.context), start=1):
            command = f": {words.code(step.command, 2000)}" if step.command else "."
            steps.append(f"{number}. {words.markdown(step.text)}{command}")
        if steps:
            yield "\n".join(["### Next steps", "", *steps])
        if self.context.files:
            keep = f" {words.prose(self.context.keep_files)}" if self.context.keep_files else ""
            yield f"Reports: {', '.join(words.code(path) for path in self.context.files)}.{keep}"

    def _rest(self, total: int, what: str = "") -> list[str]:
        """The last item of a list that shows `notes` of `total`."""
        hidden = total - self.notes
        where = words.code(self.context.full_report)
        return [f"- … and {hidden:,} more {what}".rstrip() + f" in {where}"] if hidden > 0 else []

    def _hidden(self, number: int, noun: str) -> Iterator[str]:
        if number > 0:
            yield f"… and {number:,} more {words.plural(number, noun)} in {words.code(self.context.full_report)}"


def render(result: Result, context: Context | None = None, *, budget: int | None = None) -> str:
    """The text of `summary.md`; its first line after the heading is the verdict. `budget` is by default the dialect's."""
    context = context or Context()
    return Summary(result, context, context.dialect.budget if budget is None else budget).render()


def render_problems(error: ConfigurationError, dialect: Dialect = GITHUB) -> str:
    """The summary of a run that never started: each problem with its place and its remedy."""
    where = f" of {words.plain(error.where)}" if error.where else ""
    problems = words.count(len(error.problems), "problem")
    first = f"Not started: {problems} in the configuration{where}. Nothing was read or deleted."
    lines = [
        _item(words.code(problem.path) if problem.path else "", words.prose(problem.seen), problem.remedy)
        for problem in error.problems[:_PROBLEMS_SHOWN]
    ]
    hidden = len(error.problems) - _PROBLEMS_SHOWN
    lines += [f"- … and {hidden:,} more in the log"] if hidden > 0 else []
    return _failure(first, "What to correct", lines, dialect)


def render_failure(error: BaseException, *, deleting: bool = False, dialect: Dialect = GITHUB) -> str:
    """
    The summary of a run that ended with this error, and has no result to show.

    `deleting`: it may have begun to delete, so the summary must not say that nothing was deleted.
    """
    if isinstance(error, ConfigurationError):
        return render_problems(error, dialect)
    done = "What was deleted until then is in the log." if deleting else "Nothing was deleted."
    if isinstance(error, AcrCleanupError):
        what, where, seen, remedy = "Failed", error.where, error.seen, error.remedy
    else:
        what, where, seen = "Failed unexpectedly", "", f"{type(error).__name__}: {error}"
        remedy = (
            "Run it again with the input `log-level: debug` (on the command line `--log-level debug`), and report it."
        )
    item = _item(words.code(where) if where else "", words.prose(seen), remedy)
    return _failure(f"{what}. {done}", "What happened", [item], dialect)


def render_cancelled(text: str, dialect: Dialect = GITHUB) -> str:
    """The summary of a run that was stopped before it came to a result."""
    return f"{_HEADING}\n\n{dialect.verdict(Tone.STOPPED, words.markdown(text))}\n"


def _failure(first: str, title: str, lines: list[str], dialect: Dialect) -> str:
    verdict = dialect.verdict(Tone.BAD, words.markdown(first, 2000))
    return "\n\n".join([_HEADING, verdict, f"### {title}", dialect.broken("\n".join(lines))]) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _date(moment: datetime | None) -> str:
    """A date that a narrow column does not break at its hyphens."""
    return words.date(moment).replace("-", "\N{NON-BREAKING HYPHEN}")


def _rows(
    view: View,
    repository: RepositoryPlan,
    gone: Iterable[Decision],
    left: Iterable[tuple[Decision, Outcome]],
) -> Iterator[str]:
    """What failed, what went, what should have gone, what stays: a cut must not hide a deletion behind things that are kept."""
    names = by_name_only(repository)
    failed = [pair for pair in left if pair[1].kind is OutcomeKind.FAILED]
    yield from (_left(decision, outcome) for decision, outcome in failed)
    for decision in gone:
        why = _unused(decision, view.result.plan.created_at)
        why += "; its manifest stays" if decision.tag.name in names else ""
        yield _tag(decision.tag.name, decision.tag, "🗑️ deleted" if view.acted else "🗑️ delete", why)
    yield from (_left(decision, outcome) for decision, outcome in left if outcome.kind is not OutcomeKind.FAILED)
    for group in view.kept(repository):
        yield from (_kept(group, tag) for tag in group.tags)


def _unused(decision: Decision, now: datetime) -> str:
    pushed = decision.tag.updated_at
    return "in no cluster" + (f", last pushed {words.age(now - pushed)} ago" if pushed is not None else "")


def _tag(name: str, tag: Tag | KeptTag, decision: str, why: str) -> str:
    # A narrow column must not break between the sign and its word: that would double the height of every row.
    unbroken = decision.replace(" ", "&nbsp;")
    return _row([words.code(words.name(name)), words.code(short(tag.digest)), _date(tag.updated_at), unbroken, why])


def _left(decision: Decision, outcome: Outcome) -> str:
    mark = "❌ failed" if outcome.kind is OutcomeKind.FAILED else "not deleted"
    told = "" if outcome.kind is OutcomeKind.FAILED else _OUTCOMES[outcome.kind]
    why = ": ".join(part for part in (told, words.markdown(outcome.detail) if outcome.detail else "") if part)
    return _tag(decision.tag.name, decision.tag, mark, why)


def _item(first: str, seen: str, remedy: str = "") -> str:
    """An item of a list: what and where, what was seen, what to do."""
    remedy = f"→ {words.prose(remedy)}" if remedy else ""
    return "- " + "<br>".join(part for part in (first, seen, remedy) if part)


def _kept(group: KeptGroup, tag: KeptTag) -> str:
    if group.rule is Rule.IN_USE:
        shown, rest = users(tag, _USERS_SHOWN)
        more = f" and {rest:,} more" if rest else ""
        why = f"{'its digest: ' if by_digest(tag) else ''}{', '.join(map(words.code, shown))}{more}"
    else:
        why = words.markdown(tag.detail)
    if tag.also:
        why += f" (also {', '.join(dict.fromkeys(map(str, tag.also)))})"
    return _tag(tag.name, tag, "in use" if group.rule is Rule.IN_USE else "kept", why)
