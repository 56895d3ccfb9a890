"""
Renders `summary.md`, the job summary, in GitHub-flavoured Markdown.

GitHub silently drops a step summary of more than 1 MiB, and a summary cut in the middle leaves its
tables and `<details>` open. Therefore the summary consists of complete blocks. The most important
blocks are added first, as long as they fit, and a last sentence counts those that did not.
https://docs.github.com/actions/reference/workflow-commands-for-github-actions#step-isolation-and-limits
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from acr_cleanup.core.outcome import Outcome, Result
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.policy import MANIFEST_LOCKED, REPOSITORY_LOCKED, TAG_LOCKED
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.dialect import GITHUB
from acr_cleanup.reports.earlier_runs import new_tags, reviewed_numbers
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.markdown_rows import HEADING, OUTCOME_LABELS, list_item, tag_rows
from acr_cleanup.reports.markdown_tables import markdown_table, repositories, sources, totals, worth_a_look
from acr_cleanup.reports.next_steps import next_steps
from acr_cleanup.reports.plan_words import describe_policy
from acr_cleanup.reports.policy_sentence import policy_sentence
from acr_cleanup.reports.policy_tables import rule_table, scope_line
from acr_cleanup.reports.pullers import PullerTable, puller_tables
from acr_cleanup.reports.rows import MISSING_MEANS, Affected
from acr_cleanup.reports.tag_outcomes import deleted_tags, undeleted_tags
from acr_cleanup.reports.tone import Tone
from acr_cleanup.reports.view import View

_UNLOCK = {
    TAG_LOCKED: ("tags", "--image REPOSITORY:TAG"),
    MANIFEST_LOCKED: ("manifests", "--image REPOSITORY@DIGEST"),
    REPOSITORY_LOCKED: ("repositories", "--repository REPOSITORY"),
}
"""
The locked items, and the option of `az acr repository update` that selects them.
https://learn.microsoft.com/azure/container-registry/container-registry-image-lock
"""


@dataclass(frozen=True, slots=True)
class SummaryBlock:
    """A part of the summary that is included completely or not at all."""

    place: int
    """Its position in the summary."""
    weight: tuple[int, int]
    """Blocks with a larger weight are omitted first."""
    text: str


@dataclass(frozen=True, slots=True)
class SplitTable:
    """A table whose rows after the first ones are shown apart, or folded."""

    title: str
    lines: Sequence[str]
    """The header, its rule, and the rows. Empty: nothing is shown."""
    hidden: tuple[str, ...] = ()
    """Sentences after the last row."""
    first: int = 20

    def beginning(self, context: Context) -> Iterator[str]:
        """The first rows, and the others if the page can fold them."""
        if self.lines:
            yield "\n".join([f"### {self.title}", "", *self.lines[: 2 + self.first]])
            yield from self.rest(context) if context.dialect.folds else ()

    def rest(self, context: Context) -> Iterator[str]:
        if rest := self.lines[2 + self.first :]:
            title = f"{self.title}: {len(rest):,} more"
            lines = [*self.lines[:2], *rest, *(f"\n{text}" for text in self.hidden)]
            yield context.dialect.folded(title, title, lines)


@dataclass(frozen=True)
class Summary:
    """The summary of one run. The numbers limit what is shown; report.json has everything."""

    result: Result
    context: Context = field(default_factory=Context)
    budget: int = GITHUB.budget
    """Maximum size in bytes of UTF-8."""
    table: int = 300
    """Repositories in the table."""
    expanded: int = 50
    """Repositories with their tags."""
    rows: int = 200
    """Tags of each expanded repository."""
    notes: int = 50
    """Blockers, warnings, and reasons for each kind of outcome."""
    named: int = 20
    """Tags for each of these reasons."""

    def render(self) -> str:
        """Return the summary: at most `budget` bytes, and every element closed."""
        broken = self.context.dialect.broken
        blocks = [
            SummaryBlock(place, weight, broken(text))
            for place, (weight, text) in enumerate(self._blocks(View(self.result)))
        ]
        # Reserved for the sentence that counts the omitted blocks.
        used, kept = 400, []
        for block in sorted(blocks, key=lambda block: (block.weight, block.place)):
            size = len(block.text.encode("utf-8", "backslashreplace")) + 2
            if used + size <= self.budget:
                used += size
                kept.append(block)
        kept.sort(key=lambda block: block.place)
        texts = [block.text for block in kept]
        if left_out := len(blocks) - len(kept):
            omitted = f"{words.count(left_out, 'part')} of this summary did not fit"
            texts.append(f"_{omitted}. The full report is {words.code(self.context.full_report)}._")
        return "\n\n".join(texts) + "\n"

    def _blocks(self, view: View) -> Iterator[tuple[tuple[int, int], str]]:
        """Yield every block in its place, with its weight."""
        shard = self.result.plan.policy.shard
        # GitHub shows the summaries of all jobs on one page, so the heading names the shard.
        part = "" if shard.is_whole else f" · shard {shard}"
        yield (0, 0), f"{HEADING} · {words.code(self.result.plan.registry)}{part}"
        yield (0, 1), self._verdict(view)
        for danger in self.result.plan.usage.dangers[: self.notes]:
            yield (0, 1), self.context.dialect.verdict(Tone.BAD, words.prose(danger, 600))
        path, which = view.reviewed
        if which:
            yield (0, 1), f"Applies the reviewed plan {words.code(path)} ({which}). Only what it lists is deleted."
        if self.result.undo:
            undo = words.prose(self.result.undo)
            yield (0, 1), self.context.dialect.verdict(Tone.WARNING, undo) if self.result.final else undo
        if earlier := " ".join(filter(None, (new_tags(view), view.probation, self.result.ledger))):
            yield (0, 1), f"⏳ {earlier}"
        yield from (((1, 0), text) for text in self._problems(view))
        yield from (((1, 1), text) for text in self._deviations(view))
        long: list[SplitTable] = []
        if not (view.ended_early or view.plan_rejected):
            yield (0, 2), self._totals(view)
            long.append(self._sources())
            yield from (((1, 2), text) for text in long[0].beginning(self.context))
        yield from (((1, 1), text) for text in self._worth_a_look(view))
        long.append(self._repositories(view))
        yield from (((1, 2), text) for text in long[-1].beginning(self.context))
        yield from (((1, 3), table) for table in rule_table(self.result.plan))
        yield from (((1, 2), text) for text in self._warnings(view))
        yield from (((1, 2), text) for text in self._missing(view))
        yield from (((1, 2), text) for text in self._others())
        folds = self.context.dialect.folds
        if folds:
            yield from self._tags(view)
        yield from (((1, 5), self._pullers(table)) for table in puller_tables(self.result.plan.usage))
        yield from (((0, 3), text) for text in self._next(view))
        yield (2, 2), self._configuration()
        if not folds:
            # Unfolded, the long tables would hide every block after them.
            yield from (((1, 3), text) for table in long for text in table.rest(self.context))
            yield from self._tags(view)

    def _verdict(self, view: View) -> str:
        verdict = self.context.dialect.verdict(view.tone, words.markdown(headline(view), 2000))
        return f"{verdict} {how}" if (how := self._how_to_delete(view)) else verdict

    def _how_to_delete(self, view: View) -> str:
        """How to delete after a dry run; "" if an apply would be blocked or refused."""
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
            lines = ["### Broken references", "", *self._affected(view.broken)]
            yield "\n".join(
                [*lines, "", f"To restore what was deleted: {words.code(view.restore_command(self.context), 2000)}"]
            )
        if view.blockers:
            lines = ["### Error" if view.ended_early else "### Blockers", ""]
            for blocker in view.blockers[: self.notes]:
                where = f"**{words.markdown(blocker.where)}**" if blocker.where else ""
                place = ", ".join(part for part in (where, words.markdown(blocker.call)) if part)
                lines.append(list_item(place, words.prose(blocker.seen), blocker.remedy))
            yield "\n".join([*lines, *self._rest(len(view.blockers))])
        if self.result.refusals:
            refusals = (f"- {words.prose(refusal)}" for refusal in self.result.refusals[: self.notes])
            yield "\n".join(["### Reasons for the refusal", "", *refusals, *self._rest(len(self.result.refusals))])
        if view.unread:
            lines = ["### Repositories that could not be read", ""]
            lines += [
                list_item(words.code(tally.repository), words.prose(tally.error)) for tally in view.unread[: self.notes]
            ]
            yield "\n".join([*lines, *self._rest(len(view.unread))])

    def _totals(self, view: View) -> str:
        line = scope_line(self.result.plan)
        notes = [f"Scope: {line}."] if line else []
        notes += [note] if (note := reviewed_numbers(view)) else []
        notes += [view.verification] if view.verification else []
        notes += [f"Sizes are {view.size_note}."] if view.size_note else []
        notes += [f"This took {words.elapsed(self.result.finished_at - self.result.started_at)}."]
        return "\n".join([*totals(view), "", words.markdown(" ".join(notes), 1500)])

    def _sources(self) -> SplitTable:
        scans = self.result.plan.usage.scans
        return SplitTable("Clusters and services", sources(scans) if scans else (), first=8)

    def _worth_a_look(self, view: View) -> Iterator[str]:
        if lines := worth_a_look(view):
            yield "\n".join(["### Worth a look", "", *lines])

    def _repositories(self, view: View) -> SplitTable:
        """Those that free most come first: the reader must check them."""
        order = sorted(view.rows, key=lambda row: (-row.bytes, -row.gone - row.left, row.repository))
        hidden = tuple(self._hidden(len(order) - self.table, "repository"))
        return SplitTable("Repositories", repositories(view, order[: self.table]) if order else (), hidden)

    def _deviations(self, view: View) -> Iterator[str]:
        if not view.deviations:
            return
        lines = ["### Differences from the plan", ""]
        for kind, outcomes in view.deviations:
            # Grouped by reason: otherwise many failures for one reason would hide the second
            # reason.
            reasons: dict[str, list[Outcome]] = {}
            for outcome in outcomes:
                reasons.setdefault(outcome.detail, []).append(outcome)
            for detail, items in islice(reasons.items(), self.notes):
                shown = ", ".join(words.code(str(item)) for item in items[: self.named])
                more = f" and {len(items) - self.named:,} more" if len(items) > self.named else ""
                why = f": {words.prose(detail)}" if detail else ""
                lines.append(f"- **{len(items):,} {OUTCOME_LABELS[kind]}**{why}<br>{shown}{more}")
            lines += self._rest(len(reasons), OUTCOME_LABELS[kind])
        yield "\n".join(lines)

    def _missing(self, view: View) -> Iterator[str]:
        if view.missing:
            lines = ["### ⚠️ In use, but not in the registry", "", f"{words.markdown(MISSING_MEANS)}", ""]
            yield "\n".join([*lines, *self._affected(view.missing)])

    def _affected(self, items: Sequence[Affected]) -> Iterator[str]:
        for item in items[: self.notes]:
            seen = f" {words.markdown(item.seen)}" if item.seen else ""
            yield f"- {words.code(item.what)}{seen}<br>{words.markdown(item.who, 600)}"
        yield from self._rest(len(items))

    def _others(self) -> Iterator[str]:
        notes = self.result.proof.notes if self.result.proof is not None else ()
        if notes:
            lines = [f"- {words.prose(note, 600)}" for note in notes[: self.notes]]
            yield "\n".join(["### Changed by others during the run", "", *lines, *self._rest(len(notes))])

    def _warnings(self, view: View) -> Iterator[str]:
        lines = [f"- {words.prose(warning, 600)}" for warning in view.warnings[: self.notes]]
        lines += self._rest(len(view.warnings))
        locked: dict[tuple[str, str], list[str]] = {}
        for repository, tag in view.locked:
            locked.setdefault((repository, tag.detail), []).append(tag.name)
        for (repository, detail), tags in islice(locked.items(), self.notes):
            shown = ", ".join(words.code(words.name(tag)) for tag in tags[: self.named])
            more = f" and {len(tags) - self.named:,} more" if len(tags) > self.named else ""
            verb = words.plural(len(tags), "is")
            lines.append(
                f"- {words.code(repository)}: {shown}{more} {verb} old and unused, but kept: {words.markdown(detail)}."
            )
        lines += self._rest(len(locked), "with locks")
        name = self.result.plan.registry.partition(".")[0]
        details = {detail for _, detail in locked}
        for items, target in (_UNLOCK[detail] for detail in _UNLOCK if detail in details):
            command = f"az acr repository update --name {name} {target} --write-enabled true --delete-enabled true"
            lines.append(f"- To delete them, unlock the {items}: {words.code(command)}")
        if lines:
            yield "\n".join(["### ⚠️ Warnings", "", *lines])

    def _pullers(self, table: PullerTable) -> str:
        rows = (
            [words.code(name), words.markdown(second), words.markdown(third)]
            for name, second, third in table.rows[: self.notes]
        )
        lines = [f"### {table.title}", "", *markdown_table(table.columns, rows)]
        return "\n".join([*lines, *(f"\n{text}" for text in self._hidden(len(table.rows) - self.notes, "row"))])

    def _tags(self, view: View) -> Iterator[tuple[tuple[int, int], str]]:
        readable = sorted(view.readable, key=lambda tally: (-tally.size, -tally.steps))
        tallies = [tally for tally in readable if tally.tags or tally.untagged_decided]
        if not tallies:
            return
        yield (2, 1), "### Decisions by tag"
        for number, tally in enumerate(tallies[: self.expanded]):
            yield (3, number), self._repository(view, self.result.plan.repository(tally.repository))
        yield from (((2, 1), text) for text in self._hidden(len(tallies) - self.expanded, "repository"))

    def _repository(self, view: View, repository: RepositoryPlan) -> str:
        gone, left = deleted_tags(view, repository), undeleted_tags(view, repository)
        numbers = [f"{len(gone):,} {view.gone_verb}", *([f"{len(left):,} not deleted"] if left else [])]
        title = f"{', '.join(numbers)}, {len(repository.kept):,} kept"
        title += f"; {untagged}" if (untagged := view.untagged(repository)) else ""
        total = len(gone) + len(left) + len(repository.kept)
        rows = islice(tag_rows(view, repository, gone, left), self.rows)
        titles = ["Tag", "Digest", "Pushed", "Decision", "Why", *(["Rule"] if self.result.plan.policy.rules else [])]
        hidden = (f"\n{text}" for text in self._hidden(total - self.rows, "tag"))
        return self.context.dialect.folded(
            f"<code>{words.html(repository.repository)}</code>: {title}",
            f"{words.code(repository.repository)}: {title}",
            [*markdown_table(titles, rows), *hidden],
        )

    def _configuration(self) -> str:
        policy = describe_policy(self.result.plan.policy).items()
        rows = ([words.code(key), words.code(value, 1000)] for key, value in policy)
        sentence = words.markdown(policy_sentence(self.result.plan.policy), 1000)
        lines = [sentence, "", *markdown_table(["Input", "Value"], rows)]
        return self.context.dialect.folded("Configuration", "Configuration", lines)

    def _next(self, view: View) -> Iterator[str]:
        steps = []
        for number, step in enumerate(next_steps(view, self.context), start=1):
            command = f": {words.code(step.command, 2000)}" if step.command else "."
            steps.append(f"{number}. {words.markdown(step.text)}{command}")
        if steps:
            yield "\n".join(["### Next steps", "", *steps])
        if self.context.files:
            keep = f" {words.prose(self.context.keep_files)}" if self.context.keep_files else ""
            if self.context.artifact:
                keep += f" Artifact: {words.code(self.context.artifact)}."
            yield f"Reports: {', '.join(words.code(path) for path in self.context.files)}.{keep}"
        counts = self.result.counts
        if view.acted and not view.broken and (counts.deleted or counts.deleted_manifests):
            yield f"To restore what was deleted: {words.code(view.restore_command(self.context), 2000)}{self._from_artifact()}"

    def _from_artifact(self) -> str:
        if not self.context.artifact:
            return ""
        return f", with the files of the artifact {words.code(self.context.artifact)} of this run"

    def _rest(self, total: int, what: str = "") -> list[str]:
        """The last item of a list of `total` items, which counts those beyond `notes`."""
        hidden = total - self.notes
        where = words.code(self.context.full_report)
        return [f"- … and {hidden:,} more {what}".rstrip() + f" in {where}"] if hidden > 0 else []

    def _hidden(self, number: int, noun: str) -> Iterator[str]:
        if number > 0:
            yield f"… and {number:,} more {words.plural(number, noun)} in {words.code(self.context.full_report)}"


def render(result: Result, context: Context | None = None, *, budget: int | None = None) -> str:
    """
    Render `summary.md`. The verdict is the first line after the heading.

    `budget`: maximum size in bytes of UTF-8; by default that of the dialect.
    """
    context = context or Context()
    return Summary(result, context, context.dialect.budget if budget is None else budget).render()
