"""The reach of a policy: the repositories that a plan left out, and the tags that each rule governs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from acr_cleanup.core.left_out import WhyLeftOut
from acr_cleanup.core.plan import Plan
from acr_cleanup.reports import words
from acr_cleanup.reports.blocks import Block, grid
from acr_cleanup.reports.markdown_tables import markdown_table
from acr_cleanup.reports.policy_words import rule_patterns, rule_text

RULES_SHOWN = 50
RULE_COLUMNS = ("Rule", "Matches", "What it says", "Tags", "Planned")
_WHY: Mapping[WhyLeftOut, str] = {
    WhyLeftOut.UNSELECTED: "not selected by repositories",
    WhyLeftOut.OF_AZURE: "kept by Azure itself",
    WhyLeftOut.OUT_OF_SCOPE: "not {scope} in any cluster",
    WhyLeftOut.OTHER_SHARD: "in other shards",
}


def scope_line(plan: Plan) -> str:
    """
    How many repositories the plan covers, and which it left out; "" if nothing was planned.

    It contains foreign names: escape it before it is shown.
    """
    covered = len(plan.tallies)
    part = plan.part
    if part is None:
        return (
            f"{words.count(covered, 'repository')}; the registry does not list its other repositories"
            if covered
            else ""
        )
    left_out = sum(group.number for group in part.left_out.values())
    if covered == part.repositories == 1:
        return "the only repository of the registry"
    if not left_out:
        return f"all {words.count(part.repositories, 'repository')} of the registry" if covered else ""
    reasons = []
    for reason, group in part.left_out.items():
        more = [f"{group.number - len(group.examples):,} more"] if group.number > len(group.examples) else []
        why = _WHY[reason].format(scope=plan.policy.scope)
        reasons.append(f"{group.number:,} {why} ({', '.join([*group.examples, *more])})")
    return (
        f"{covered:,} of {words.count(part.repositories, 'repository')}. Left out, with all "
        f"{words.plural(left_out, 'its')} tags kept: {'; '.join(reasons)}"
    )


def rule_rows(plan: Plan) -> Iterator[Sequence[str]]:
    """A row for each rule, and one for the tags that no rule governs. The cells are foreign text."""
    governed, planned = Counter[str](), Counter[str]()
    for tally in plan.tallies:
        governed.update(tally.governed)
        planned.update(tally.governed_planned)
    # The tags that no rule governs are the rest.
    governed[""] = sum(tally.tags for tally in plan.tallies) - governed.total()
    planned[""] = plan.planned - planned.total()
    for rule in (*plan.policy.rules[:RULES_SHOWN], plan.policy.top):
        numbers = f"{governed[rule.name]:,}", f"{planned[rule.name]:,}"
        yield rule.name or "(no rule)", rule_patterns(rule), rule_text(rule), *numbers


def rule_blocks(plan: Plan) -> Iterator[Block]:
    """The rules and how many tags each governs, as the text report shows them; nothing without rules."""
    if plan.policy.rules and plan.tallies:
        rows = tuple(tuple(words.plain(cell) for cell in row) for row in rule_rows(plan))
        yield grid(rows, RULE_COLUMNS, numbers=frozenset({3, 4}))


def rule_table(plan: Plan) -> Iterator[str]:
    """The same as a table of the summary."""
    if plan.policy.rules and plan.tallies:
        rows = (
            [words.code(name), words.code(matches), words.markdown(says), *numbers]
            for name, matches, says, *numbers in rule_rows(plan)
        )
        yield "\n".join(["### Rules", "", *markdown_table(RULE_COLUMNS, rows, {3, 4})])
