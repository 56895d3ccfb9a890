"""The plain dialect: only headings, lists and tables, with the same facts."""

from __future__ import annotations

import re

import cmarkgfm
import pytest

from acr_cleanup.core.usage import Blocker, ClusterScan
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.reports.collected import CollectedReport
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.dialect import GITHUB, PLAIN
from acr_cleanup.reports.markdown import render
from acr_cleanup.reports.markdown_failures import render_cancelled, render_failure, render_problems
from acr_cleanup.reports.tone import Tone
from tests.helpers import golden_files as golden
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples

CONTEXT = Context(
    ("/w/acr-cleanup/report.json", "/w/acr-cleanup/plan.json", "/w/acr-cleanup/summary.md"),
    apply="dryRun: false",
    apply_is_input=True,
    keep_files="Keep them with a `publish` step.",
    dialect=PLAIN,
)
NEVER = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]|```|</?(details|summary|br|table)\b", re.IGNORECASE)


def outside_spans(text: str) -> str:
    """The text in which markup has an effect."""
    return re.sub(r"`[^`\n]*`", "", text)


def html(text: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(text))


@pytest.mark.parametrize("name", ["planned", "blocked", "partial", "no_login"])
def test_plain_summary_matches_its_golden_file(name: str) -> None:
    golden.check(f"{name}-plain.md", render(samples.ALL[name](), CONTEXT))


@pytest.mark.parametrize("name", samples.ALL)
def test_plain_summary_uses_only_basic_markdown(name: str) -> None:
    text = render(samples.ALL[name](), CONTEXT)
    assert not NEVER.search(outside_spans(text))
    assert len(text.encode()) <= PLAIN.budget


@pytest.mark.parametrize("name", samples.ALL)
def test_plain_summary_has_the_same_rows(name: str) -> None:
    """The samples are small enough that nothing is omitted."""
    result = samples.ALL[name]()
    rich, plain = (render(result, Context(dialect=dialect)) for dialect in (GITHUB, PLAIN))
    assert plain.count("\n| `") >= rich.count("\n| `")
    assert html(plain).count("<h3") >= html(rich).count("<h3")


@pytest.mark.parametrize("text", [text for text in hostile.TEXTS if text])
def test_hostile_text_is_escaped_in_a_plain_summary(text: str) -> None:
    """
    Lines of a list item may begin with foreign text here, which must not begin a list, rule or
    heading.
    """
    harmless, escaped = (render(hostile.result(name), CONTEXT) for name in ("x", text))
    for element in ("<h1", "<h2", "<h3", "<h4", "<hr", "<ul", "<ol", "<img", "<script", "<pre", "<a "):
        assert html(escaped).count(element) == html(harmless).count(element), element
    assert "##[" not in escaped
    assert "##vso[" not in escaped


@pytest.mark.parametrize("line", ["===", "---", "- x", "+ x", "1. x", "1) x", "=", "...", "# x", "> x", "| x |"])
def test_line_of_a_message_begins_no_block(line: str) -> None:
    text = render_failure(ConfigurationError((Problem(line, f"{line}\n{line}", f"{line}\n{line}"),)), dialect=PLAIN)
    rendered = html(text)
    assert rendered.count("<li>") == 1
    assert rendered.count("<h") == 2
    assert "<blockquote>" in rendered
    assert rendered.count("<blockquote>") == 1


def test_break_inside_a_code_span_is_kept() -> None:
    assert PLAIN.broken("- `a<br>b`<br>c") == "- `a<br>b`  \n  c"
    assert GITHUB.broken("- a<br>b") == "- a<br>b"


@pytest.mark.parametrize("tone", Tone)
def test_every_verdict_is_highlighted(tone: Tone) -> None:
    assert GITHUB.verdict(tone, "x").startswith("> [!")
    assert re.fullmatch(r"> [^\[]+ \*\*x\*\*", PLAIN.verdict(tone, "x"))


def test_summary_without_a_result_is_plain_too() -> None:
    blocked = ClusterScan("aks", blockers=(Blocker("aks", "list pods", "403\nForbidden.", "Give it.", "pods"),))
    for text in (
        render_problems(ConfigurationError((Problem("a", "b\nc", "d"),)), PLAIN),
        render_failure(ValueError("a\nb"), dialect=PLAIN),
        render_cancelled("Cancelled.", PLAIN),
        CollectedReport((blocked,), "usage.json").markdown(PLAIN),
    ):
        assert not NEVER.search(outside_spans(text))
        assert html(text).count("<blockquote>") == 1


def test_unfolded_tags_come_last() -> None:
    text = render(samples.planned(), CONTEXT)
    headings = re.findall(r"^###+ (.*)$", text, re.MULTILINE)
    tags = headings.index("Decisions by tag")
    assert {"Next steps", "Configuration"} <= set(headings[:tags])
    assert all(heading.startswith("`") for heading in headings[tags + 1 :])
