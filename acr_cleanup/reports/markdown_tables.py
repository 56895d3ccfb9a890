"""The tables of the Markdown summary: totals, what was read, tags to look at, and repositories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.policy import RULES, Rule
from acr_cleanup.core.retention import describe_duration
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.reports import words
from acr_cleanup.reports.highlights import Highlight, highlights
from acr_cleanup.reports.rows import Row, in_order, most_used
from acr_cleanup.reports.users import authored
from acr_cleanup.reports.view import View

_BAR = 6
"""Characters of the bar of the repository that frees most."""
_NAMED = 3
"""Repositories, workloads or entries that one cell names."""


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()) -> list[str]:
    """
    Return the lines of a table. All cells are Markdown already.

    numbers: the columns that are aligned to the right.
    """
    aligned = ("---:" if column in numbers else ":---" for column in range(len(header)))
    return [f"| {' | '.join(cells)} |" for cells in (header, aligned, *rows)]


def totals(view: View) -> list[str]:
    """Count every tag once: deleted, not deleted, or kept by its strongest reason."""
    total = view.total
    kept = Counter[Rule]()
    for tally in view.result.plan.tallies:
        kept.update(tally.kept_by)
    manifests = view.result.counts.deleted_manifests if view.acted else view.result.plan.manifests
    freed = f"{words.count(manifests, 'manifest')}, {words.size(total.bytes)}" if manifests else ""
    bound = "" if view.exact or not manifests else " at most"

    def rows() -> Iterator[Sequence[str]]:
        yield f"**{view.gone_title}**", f"**{total.gone:,}**", _percent(total.gone, total.tags), f"{freed}{bound}"
        if total.left:
            yield "Planned, but not deleted", f"{total.left:,}", _percent(total.left, total.tags), ""
        by = dict(_keepers(view))
        for rule in RULES:
            if number := kept[rule.id]:
                title = f"Kept: {words.markdown(rule.describe(view.result.plan.policy))}"
                yield title, f"{number:,}", _percent(number, total.tags), by.get(rule.id, "")
        repositories = words.count(len(view.rows), "repository")
        yield "**Total**", f"**{total.tags:,}**", "", repositories

    return markdown_table(["Tags", "Number", "Share", ""], rows(), {1, 2})


def _percent(part: int, whole: int) -> str:
    """
    The share of a part. Only nothing is 0 %, and only the whole is 100 %.

    >>> _percent(1, 1000), _percent(999, 1000), _percent(1, 3)
    ('<1 %', '>99 %', '33 %')
    """
    percent = round(100 * part / whole) if whole else 0
    if part and not percent:
        return "<1 %"
    return ">99 %" if percent == 100 and part < whole else f"{percent} %"


def _keepers(view: View) -> Iterator[tuple[Rule, str]]:
    """The evidence of rules as Markdown: who uses the tags, and entries of the policy."""
    plan = view.result.plan
    yield Rule.IN_USE, _named([words.code(scan.cluster) for scan in in_order(plan.usage.scans) if scan.uses], "by ")
    entries = dict.fromkeys(entry.image for tally in plan.tallies for entry in tally.kept_entries)
    yield Rule.KEEP_LIST, _named([words.code(entry) for entry in entries])
    yield Rule.KEPT_BY_RULE, _named([words.code(rule.name) for rule in plan.policy.rules if rule.keep])


def _named(names: Sequence[str], start: str = "") -> str:
    more = [f"{len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return start + words.listing([*names[:_NAMED], *more]) if names else ""


def sources(scans: Sequence[ClusterScan]) -> list[str]:
    """Each cluster and service with what it uses, those with blockers first."""

    def row(scan: ClusterScan) -> Sequence[str]:
        read = "azure" if scan.is_service else scan.access
        state = f"❌ {words.count(len(scan.blockers), 'blocker')}" if scan.blockers else "✅"
        return (
            words.code(scan.cluster),
            state,
            words.markdown(read).replace("-", "\N{NON-BREAKING HYPHEN}"),
            f"{scan.objects:,}",
            f"{len(authored(scan.uses)):,}",
            _named(list(map(words.code, most_used(scan)))),
        )

    header = ["Source", "Read", "Access", "Objects", "Workloads", "They use"]
    return markdown_table(header, map(row, in_order(scans)), {3, 4})


def worth_a_look(view: View) -> list[str]:
    """The tags that a reviewer should look at first; empty for a plan of few tags."""
    groups = highlights(view)

    def rows() -> Iterator[Sequence[str]]:
        for group in groups:
            for number, tag in enumerate(group.tags):
                yield f"**{group.title}**" if number == 0 else "", *_tag(view, tag)

    header = ["", "Tag", "Last push", *(["Rule"] if view.result.plan.policy.rules else []), "Frees up to"]
    return markdown_table(header, rows(), {len(header) - 1}) if groups else []


def _tag(view: View, highlight: Highlight) -> Sequence[str]:
    tag = highlight.tag
    policy = view.result.plan.policy
    limit = describe_duration(policy.rule(tag.governed_by).older_than)
    return (
        words.code(f"{highlight.repository}:{words.name(tag.name)}"),
        f"{words.age(view.result.plan.created_at - tag.pushed)}&nbsp;ago",
        *([f"{words.code(tag.governed_by) if tag.governed_by else '(no rule)'}: {limit}"] if policy.rules else []),
        _size(tag.size) if tag.size else "only the tag",
    )


def repositories(view: View, rows: Sequence[Row]) -> list[str]:
    """One row for each of these repositories, with who uses it. A bar compares the freed space."""
    left = any(row.left for row in view.rows)
    remarks = _remarks(view)
    most = max((row.bytes for row in view.rows), default=0)
    bars = sum(row.bytes > 0 for row in view.rows) > 1
    uses: dict[str, list[ImageUse]] = {row.repository: [] for row in rows}
    for scan in view.result.plan.usage.scans:
        for use in scan.uses:
            if use.reference.repository in uses:
                uses[use.reference.repository].append(use)
    header = ["Repository", "Tags", view.gone_title, *(["Not deleted"] if left else []), "Kept", "In use"]
    header += [view.freed_title, *([""] if bars else []), "Used by"]
    numbers = set(range(1, header.index(view.freed_title) + 1))

    def cells(row: Row) -> Sequence[str]:
        name = words.code(row.repository) + (f" {remarks[row.repository]}" if row.repository in remarks else "")
        if row.error:
            return [name, "?", *("" for _ in header[2:])]
        counted = [row.tags, row.gone, *([row.left] if left else []), row.kept, row.in_use]
        bar = ["█" * max(1, round(_BAR * row.bytes / most)) if row.bytes else ""] if bars else []
        users = authored(uses[row.repository])
        more = f" and {len(users) - 1:,} more" if len(users) > 1 else ""
        used_by = f"{words.code(f'{users[0].kind}/{users[0].name}')}{more}" if users else ""
        return [name, *(f"{number:,}" for number in counted), _size(row.bytes), *bar, used_by]

    return markdown_table(header, map(cells, rows), numbers)


def _size(number: int) -> str:
    """A size that a narrow column does not break."""
    return words.size(number).replace(" ", "&nbsp;")


def _remarks(view: View) -> Mapping[str, str]:
    """Failures and warnings by repository."""
    remarks: dict[str, list[str]] = {}
    for kind, outcomes in view.deviations:
        if kind is OutcomeKind.FAILED:
            for name, number in Counter(outcome.repository for outcome in outcomes).items():
                remarks.setdefault(name, []).append(f"❌&nbsp;{number:,}&nbsp;failed")
    for tally in view.unread:
        remarks.setdefault(tally.repository, []).append("⚠️&nbsp;not&nbsp;read")
    for name, number in Counter(repository for repository, _ in view.locked).items():
        remarks.setdefault(name, []).append(f"⚠️&nbsp;{number:,}&nbsp;locked")
    return {name: ", ".join(texts) for name, texts in remarks.items()}
