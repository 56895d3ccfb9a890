"""
Renders `report.html`: one file that a browser opens without a network.

Style, script and data are inside. Its Content-Security-Policy allows only this style and this
script, by their hashes, and no request. Foreign text is escaped by the template, or is JSON that
the script shows as text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from acr_cleanup import __version__
from acr_cleanup.core.outcome import OutcomeKind, Result
from acr_cleanup.quoting import in_utc
from acr_cleanup.records.encoding import PAUSE
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.earlier_runs import new_tags, reviewed_numbers
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.html_data import PageData
from acr_cleanup.reports.next_steps import next_steps
from acr_cleanup.reports.plan_words import describe_policy
from acr_cleanup.reports.policy_sentence import policy_sentence
from acr_cleanup.reports.policy_tables import RULE_COLUMNS, rule_rows, scope_line
from acr_cleanup.reports.pullers import puller_tables
from acr_cleanup.reports.rows import MISSING_MEANS, in_order, most_used
from acr_cleanup.reports.view import View

if TYPE_CHECKING:
    from jinja2 import Template

PAGE_LIMIT = 5_000_000
"""Maximum bytes of the page. Tags and repositories that do not fit are counted, not listed."""

_PAGE = Path(__file__).with_name("page")
_LIST_LIMIT = 60_000
"""Maximum bytes of one list of messages."""
_LINES = 30
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a list that fit in the page, and how many more there are."""

    shown: list[tuple[str, ...]]
    hidden: int = 0


def render(result: Result, context: Context, *, limit: int = PAGE_LIMIT) -> Iterator[str]:
    """
    Yield the pieces of `report.html`, in order.

    `limit`: maximum size of the page, in bytes.
    """
    # A file next to the report is named without its folder: the page may be read elsewhere.
    context = replace(context, files=tuple(Path(path).name for path in context.files))
    view, (style, script) = View(result), _assets()
    fixed = {**_words(view, context), "style": style, "script": script, "spans": _spans, "security": _security()}
    used = sum(len(piece.encode("utf-8", "backslashreplace")) for piece in _template().generate(fixed | _NO_DATA))
    data = PageData(view, limit - used)
    run = data.run()
    for _ in data.collect():
        yield PAUSE
    pieces = _template().generate(fixed | {"run": run, "repositories": data.repositories(), "ages": data.ages()})
    # A stream of many small pieces is slow to write.
    buffer: list[str] = []
    for piece in pieces:
        buffer.append(piece)
        if len(buffer) > 500:
            yield "".join(buffer)
            buffer.clear()
    yield "".join(buffer)


_NO_DATA = {"run": "", "repositories": (), "ages": ""}


@cache
def _assets() -> tuple[str, str]:
    """The style and the script. They are ours, so they are not escaped."""
    from markupsafe import Markup  # noqa: PLC0415  most commands write no report

    style, script = ((_PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return Markup(style), Markup(script)  # noqa: S704


def _security() -> str:
    style, script = (f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in _assets())
    return f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; base-uri 'none'; form-action 'none'"


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.from_string((_PAGE / "report.html.j2").read_text(encoding="utf-8"))


def _spans(text: str) -> list[tuple[bool, str]]:
    """The parts of a message. Those between backticks are commands: (True, part)."""
    return [(number % 2 == 1, part) for number, part in enumerate(_SPAN.split(text)) if part]


def _fitting(entries: Iterable[tuple[str, ...]]) -> Entries:
    shown, hidden, left = [], 0, _LIST_LIMIT
    for entry in entries:
        if left <= 0:
            hidden += 1
            continue
        left -= sum(len(escape(line).encode("utf-8", "backslashreplace")) + 20 for line in entry)
        shown.append(entry)
    return Entries(shown, hidden)


def _message(*texts: str) -> tuple[str, ...]:
    """The lines of a message, each as plain text."""
    lines = (line for text in texts for line in text[: words.PROSE_LIMIT].splitlines())
    return tuple(words.plain(line, 1000) for line in islice((line for line in lines if line.strip()), _LINES))


def _words(view: View, context: Context) -> dict[str, object]:
    """Everything in the page that people read without the script."""
    result, policy = view.result, view.result.plan.policy
    started = in_utc(result.started_at)
    return {
        "registry": view.registry,
        "tone": str(view.tone),
        "verdict": headline(view),
        "times": f"Started {started:%Y-%m-%d %H:%M} UTC, took {words.elapsed(result.finished_at - result.started_at)}"
        + (f". Reviewed plan {words.plain(view.reviewed[0])}, {view.reviewed[1]}" if view.reviewed[0] else ""),
        "totals": list(_totals(view)),
        "notes": [(title, _fitting(entries)) for title, entries in _notes(view, context)],
        "treemap_note": "Sizes are as listed: a layer that several manifests share counts for each of them.",
        "policy": words.plain(policy_sentence(policy), 5000),
        "scope": words.plain(scope_line(result.plan), 1000),
        "rule_columns": RULE_COLUMNS,
        "rules": [tuple(map(words.plain, row)) for row in (rule_rows(result.plan) if policy.rules else ())],
        "inputs": [(name, words.plain(value, 5000)) for name, value in describe_policy(policy).items()],
        "tables": list(_tables(view)),
        "footer": f"acr-cleanup {__version__}. report.json has every decision with all its reasons.",
    }


def _totals(view: View) -> Iterator[tuple[str, str, str]]:
    counts, plan, total = view.result.counts, view.result.plan, view.total
    manifests = counts.deleted_manifests if view.acted else plan.manifests
    yield view.gone_title, words.count(total.gone, "tag"), words.count(manifests, "manifest")
    if total.left > 0:
        yield "Not deleted", words.count(total.left, "tag"), "planned"
    yield view.freed_title, words.size(total.bytes), view.size_note
    yield "Kept", words.count(total.kept, "tag"), ""
    yield "In use", words.count(total.in_use, "tag"), "of those kept"
    unread = f"{len(view.unread):,} not read" if view.unread else ""
    yield "Repositories", f"{len(plan.tallies):,}", unread
    if counts.failed:
        yield "Failed", words.count(counts.failed, "tag"), ""


def _notes(view: View, context: Context) -> Iterator[tuple[str, Iterator[tuple[str, ...]]]]:
    """The lists of messages, those that need action first."""
    result = view.result
    yield (
        "🛑 Broken references",
        (_message(words.plain(f"{item.what} {item.seen}"), words.plain(item.who, 1000)) for item in view.broken),
    )
    yield (
        "🛑 Blockers",
        (
            _message(words.plain(f"{blocker.where}: {blocker.call}".rstrip(": ")), blocker.seen, blocker.remedy)
            for blocker in view.blockers
        ),
    )
    yield "🛑 Refused", (_message(refusal) for refusal in result.refusals)
    yield (
        "❌ Failures",
        (
            _message(words.plain(str(outcome)), outcome.detail)
            for kind, outcomes in view.deviations
            if kind is OutcomeKind.FAILED
            for outcome in outcomes
        ),
    )
    missing = (_message(words.plain(item.what), words.plain(item.who, 1000)) for item in view.missing)
    yield "⚠️ In use, but not in the registry", _after(_message(MISSING_MEANS), missing)
    yield (
        "⚠️ Not read",
        (_message(words.plain(tally.repository), tally.error, "All its tags are kept.") for tally in view.unread),
    )
    yield (
        "⚠️ Waived",
        (
            _message(words.plain(f"{scan.cluster}: {blocker.call}"), blocker.seen)
            for scan in result.plan.usage.scans
            for blocker in scan.waived
        ),
    )
    undo = (result.undo,) if result.undo and result.final else ()
    yield "⚠️ Warnings", (_message(warning) for warning in (*undo, *view.warnings))
    locked = (_message(words.plain(f"{repository}:{tag.name}"), tag.detail) for repository, tag in view.locked)
    yield "Old and unused, but locked", locked
    yield "Next steps", (_message(_command(step.text, step.command)) for step in next_steps(view, context))
    remarks = (new_tags(view), view.probation, reviewed_numbers(view), view.verification, result.ledger)
    yield "Remarks", (_message(remark) for remark in (*remarks, "" if undo else result.undo) if remark)


def _tables(view: View) -> Iterator[tuple[str, tuple[tuple[str, str], ...], Entries]]:
    """What was read, and who pulls: titles, columns with their kinds, and rows."""
    usage = view.result.plan.usage
    numbers = (("Objects read", "number"), ("Uses", "number"), ("Blockers", "number"))
    rows = (
        (
            words.plain(scan.cluster),
            words.plain(scan.access),
            *(f"{number:,}" for number in (scan.objects, len(scan.uses), len(scan.blockers))),
            words.first_few(map(words.plain, most_used(scan))),
        )
        for scan in in_order(usage.scans)
    )
    columns = (("Name", ""), ("Access", ""), *numbers, ("They use", "names"))
    yield "Clusters and services", columns, _fitting(rows)
    for table in puller_tables(usage):
        cells = (tuple(map(words.plain, row)) for row in table.rows)
        pulls = tuple((name, "number" if name == "Pulls" else "") for name in table.columns)
        yield table.title, pulls, _fitting(cells)


def _command(text: str, command: str) -> str:
    return f"{text}: `{command}`" if command else f"{text}."


def _after(first: tuple[str, ...], entries: Iterator[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """`first` and the entries, or nothing if there are no entries."""
    for number, entry in enumerate(entries):
        yield from (first, entry) if number == 0 else (entry,)
