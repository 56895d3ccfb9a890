"""
`summary.md`: the job summary, in GitHub-flavoured Markdown.

GitHub drops a step summary of more than 1 MiB without a word, and a summary cut in the middle leaves its tables and `<details>`
open. So it is assembled of whole blocks, the most important first, as long as they fit; what is left out is said.
https://docs.github.com/actions/reference/workflow-commands-for-github-actions#step-isolation-and-limits
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from acr_cleanup.core.outcome import OutcomeKind, Result
from acr_cleanup.core.plan import Decision, RepositoryPlan, describe_policy, short
from acr_cleanup.core.policy import Rule
from acr_cleanup.errors import AcrCleanupError, ConfigurationError
from acr_cleanup.reports import words
from acr_cleanup.reports.view import Context, KeptGroup, KeptTag, Row, Tone, View, by_digest, by_name_only, users, went

BUDGET = 900 * 1024
"""Bytes of UTF-8. The runner masks secrets in what it uploads, which may make it longer."""

_ALERTS = {Tone.NEUTRAL: "NOTE", Tone.GOOD: "TIP", Tone.WARNING: "WARNING", Tone.BAD: "CAUTION"}
_HEADING = "## 🧹 ACR cleanup"
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
    budget: int = BUDGET
    table: int = 300
    """Repositories in the table."""
    expanded: int = 50
    """Repositories with their tags."""
    rows: int = 200
    """Tags of each."""
    notes: int = 50
    """Blockers, warnings, and outcomes of each kind."""

    def render(self) -> str:
        """The whole summary; never more than `budget` bytes, and never an open element."""
        blocks = [Block(place, weight, text) for place, (weight, text) in enumerate(self._blocks(View(self.result)))]
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
        yield (0, 0), f"## ACR cleanup · {words.code(self.result.plan.registry)}"
        yield (0, 1), self._verdict(view)
        yield from (((1, 0), text) for text in self._problems(view))
        yield (0, 2), self._totals(view)
        if view.rows:
            yield (2, 0), self._repositories(view)
        yield from (((1, 1), text) for text in self._surprises(view))
        yield from (((1, 2), text) for text in self._warnings(view))
        if any(not each.error for each in view.repositories):
            yield (2, 1), "### Why each tag goes or stays"
        readable = [each for each in view.repositories if not each.error]
        for number, repository in enumerate(readable[: self.expanded]):
            yield (3, number), self._details(view, repository)
        if hidden := len(readable) - self.expanded:
            yield from (((2, 1), text) for text in self._hidden(hidden, "repository"))
        yield (2, 2), self._configuration(view)
        yield from (((0, 3), text) for text in self._next(view))

    def _verdict(self, view: View) -> str:
        # The headline is made harmless as text; what is left to do is to keep it from being markup.
        first = f"> [!{_ALERTS[view.tone]}]\n> **{words.markdown(view.headline, 2000)}**"
        if self.result.dry_run and self.context.apply and view.tone is Tone.NEUTRAL and self.result.plan.planned:
            first += f" To delete: {words.markdown(self.context.apply)}"
        return first

    def _problems(self, view: View) -> Iterator[str]:
        if view.blockers:
            lines = ["### What could not be seen", ""]
            for blocker in view.blockers[: self.notes]:
                lines.append(f"- **{words.markdown(blocker.where)}**, {words.markdown(blocker.call)}")
                lines.append(f"  <br>{words.markdown(blocker.seen)}")
                lines += [f"  <br>→ {words.markdown(blocker.remedy)}"] if blocker.remedy else []
            yield "\n".join([*lines, *self._rest(len(view.blockers))])
        if self.result.refusals:
            refusals = (f"- {words.markdown(refusal)}" for refusal in self.result.refusals[: self.notes])
            yield "\n".join(["### Why it is refused", "", *refusals, *self._rest(len(self.result.refusals))])
        if view.unread:
            lines = ["### Repositories that could not be read", ""]
            for repository in view.unread[: self.notes]:
                lines.append(f"- {words.code(repository.repository)}<br>{words.markdown(repository.error)}")
            yield "\n".join([*lines, *self._rest(len(view.unread))])

    def _totals(self, view: View) -> str:
        total, scans = view.total, self.result.plan.usage.scans
        counts = self.result.counts
        manifests = counts.deleted_manifests if view.acted else self.result.plan.manifests
        read = sum(not scan.blockers for scan in scans)
        header = ["Deleted" if view.acted else "Would delete", "Manifests", "Kept", "In use"]
        header += ["Freed up to" if view.acted else "Frees up to", "Clusters read", "Took"]
        cells = [
            f"**{words.count(total.gone, 'tag')}**",
            f"{manifests:,}",
            words.count(total.kept, "tag"),
            words.count(total.in_use, "tag"),
            f"**{words.size(total.bytes)}**",
            f"{read} of {len(scans)}",
            words.elapsed(self.result.finished_at - self.result.started_at),
        ]
        return "\n".join([_row(header), _row(["---:"] * len(header)), _row(cells)])

    def _repositories(self, view: View) -> str:
        left = any(row.left for row in view.rows)
        header = ["Repository", "Tags", "Deleted" if view.acted else "Would delete"]
        header += ["Not deleted"] if left else []
        header += ["Kept", "In use", "Freed up to" if view.acted else "Frees up to"]

        def cells(row: Row, name: str) -> list[str]:
            if row.error:
                return [name, "?", *("" for _ in header[2:])]
            numbers = [row.tags, row.gone, *([row.left] if left else []), row.kept, row.in_use]
            return [name, *(f"{number:,}" for number in numbers), words.size(row.bytes)]

        order = sorted(view.rows, key=lambda row: (not row.gone and not row.left, row.repository))
        lines = [_row(header), _row([":---", *("---:" for _ in header[1:])])]
        lines += [_row(cells(row, words.code(row.repository))) for row in order[: self.table]]
        if len(order) > 1:
            lines.append(_row(f"**{cell}**" for cell in cells(view.total, "Total")))
        hidden = self._hidden(len(order) - self.table, "repository")
        return "\n".join(["### Repositories", "", *lines, *(f"\n{text}" for text in hidden)])

    def _surprises(self, view: View) -> Iterator[str]:
        if not view.surprises:
            return
        lines = ["### What differed from the plan", ""]
        for kind, outcomes in view.surprises:
            for outcome in outcomes[: self.notes]:
                detail = f": {words.markdown(outcome.detail)}" if outcome.detail else ""
                lines.append(f"- {words.code(str(outcome))} {_OUTCOMES[kind]}{detail}")
            lines += self._rest(len(outcomes), _OUTCOMES[kind])
        yield "\n".join(lines)

    def _warnings(self, view: View) -> Iterator[str]:
        lines = [f"- {words.markdown(warning, 600)}" for warning in view.warnings[: self.notes]]
        lines += self._rest(len(view.warnings))
        for repository, tag in view.locked[: self.notes]:
            lines.append(
                f"- {words.code(f'{repository}:{tag.name}')} is kept by a lock alone: {words.markdown(tag.detail)}"
            )
        lines += self._rest(len(view.locked), "kept by a lock alone")
        if lines:
            yield "\n".join(["### Warnings", "", *lines])

    def _details(self, view: View, repository: RepositoryPlan) -> str:
        gone, names = went(view, repository), by_name_only(repository)
        modal = "deleted" if view.acted else "would be deleted"
        title = (
            f"<code>{words.html(repository.repository)}</code>: {len(gone):,} {modal}, {len(repository.kept):,} kept"
        )
        # What goes comes before what stays: a cut must not hide a deletion behind things that are kept.
        rows = [_gone(each, by_name=each.tag.name in names, modal=modal) for each in gone]
        rows += [_kept(group, tag) for group in view.kept(repository) for tag in group.tags]
        header = [_row(["Tag", "Digest", "Pushed", "Decision", "Why"]), _row([":---"] * 5)]
        hidden = (f"\n{text}" for text in self._hidden(len(rows) - self.rows, "tag"))
        # GitHub reads Markdown within an element only after a blank line.
        lines = ["<details>", f"<summary>{title}</summary>", "", *header, *rows[: self.rows], *hidden, "", "</details>"]
        return "\n".join(lines)

    def _configuration(self, view: View) -> str:
        policy = describe_policy(self.result.plan.policy).items()
        lines = ["<details>", "<summary>Policy and clusters</summary>", "", words.markdown(view.policy, 1000), ""]
        lines += [_row(["Input", "Value"]), _row([":---"] * 2)]
        lines += [_row([words.code(key), words.code(value, 1000)]) for key, value in policy]
        lines += ["", _row(["Cluster", "Access", "Objects read", "Uses of this registry", "Blockers"])]
        lines += [_row([":---", ":---", "---:", "---:", "---:"])]
        for scan in self.result.plan.usage.scans[: self.table]:
            numbers = (f"{number:,}" for number in (scan.objects, len(scan.uses), len(scan.blockers)))
            lines.append(_row([words.code(scan.cluster), words.markdown(scan.access), *numbers]))
        return "\n".join([*lines, "", "</details>"])

    def _next(self, view: View) -> Iterator[str]:
        steps = [
            f"{number}. {words.markdown(step)}" for number, step in enumerate(view.next_steps(self.context), start=1)
        ]
        if steps:
            yield "\n".join(["### Next", "", *steps])
        if self.context.files:
            yield f"Reports: {', '.join(words.code(path) for path in self.context.files)}"

    def _rest(self, total: int, what: str = "") -> list[str]:
        """The last item of a list that shows `notes` of `total`."""
        hidden = total - self.notes
        where = words.code(self.context.full_report)
        return [f"- … and {hidden:,} more {what}".rstrip() + f" in {where}"] if hidden > 0 else []

    def _hidden(self, number: int, noun: str) -> Iterator[str]:
        if number > 0:
            yield f"… and {number:,} more {words.plural(number, noun)} in {words.code(self.context.full_report)}"


def render(result: Result, context: Context | None = None, *, budget: int = BUDGET) -> str:
    """The text of `summary.md`; its first line after the heading is the verdict."""
    return Summary(result, context or Context(), budget).render()


def render_problems(error: ConfigurationError) -> str:
    """The summary of a run that never started: each problem with its place and its remedy."""
    where = f" of {words.plain(error.where)}" if error.where else ""
    problems = words.count(len(error.problems), "problem")
    first = f"Not started: {problems} in the configuration{where}. Nothing was read or deleted."
    lines = [
        f"- {words.code(problem.path)}<br>{words.prose(problem.seen)}<br>→ {words.prose(problem.remedy)}"
        for problem in error.problems[:_PROBLEMS_SHOWN]
    ]
    hidden = len(error.problems) - _PROBLEMS_SHOWN
    lines += [f"- … and {hidden:,} more in the log"] if hidden > 0 else []
    return _failure(first, "What to correct", lines)


def render_failure(error: BaseException, *, deleting: bool = False) -> str:
    """
    The summary of a run that ended with this error, and has no result to show.

    `deleting`: it may have begun to delete, so the summary must not say that nothing was deleted.
    """
    if isinstance(error, ConfigurationError):
        return render_problems(error)
    done = "What was deleted until then is in the log." if deleting else "Nothing was deleted."
    if isinstance(error, AcrCleanupError):
        what, where, seen, remedy = "Failed", error.where, error.seen, error.remedy
    else:
        what, where, seen = "Failed unexpectedly", "", f"{type(error).__name__}: {error}"
        remedy = (
            "Run it again with the input `log-level: debug` (on the command line `--log-level debug`), and report it."
        )
    place = f"{words.code(where)}<br>" if where else ""
    line = f"- {place}{words.prose(seen)}" + (f"<br>→ {words.prose(remedy)}" if remedy else "")
    return _failure(f"{what}. {done}", "What happened", [line])


def _failure(first: str, title: str, lines: list[str]) -> str:
    alert = f"> [!{_ALERTS[Tone.BAD]}]\n> **{words.markdown(first, 2000)}**"
    return "\n\n".join([_HEADING, alert, f"### {title}", "\n".join(lines)]) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _date(moment: datetime | None) -> str:
    """A date that a narrow column does not break at its hyphens."""
    return words.date(moment).replace("-", "\N{NON-BREAKING HYPHEN}")


def _gone(decision: Decision, *, by_name: bool, modal: str) -> str:
    tag = decision.tag
    why = "unused and old enough" + ("; by name only, the manifest stays" if by_name else "")
    return _row(
        [words.code(words.name(tag.name)), words.code(short(tag.digest)), _date(tag.updated_at), f"**{modal}**", why]
    )


def _kept(group: KeptGroup, tag: KeptTag) -> str:
    if group.rule is Rule.IN_USE:
        shown, rest = users(tag, _USERS_SHOWN)
        more = f" and {rest:,} more" if rest else ""
        why = f"{'its digest is ' if by_digest(tag) else ''}in use: {', '.join(map(words.code, shown))}{more}"
    else:
        why = words.markdown(tag.detail)
    if tag.also:
        why += f" (also {', '.join(dict.fromkeys(map(str, tag.also)))})"
    return _row([words.code(words.name(tag.name)), words.code(short(tag.digest)), _date(tag.updated_at), "kept", why])
