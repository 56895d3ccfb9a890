"""A page that knows little more of Markdown than tables gets no more than that, and loses nothing that matters."""

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
    """Where markup would be markup."""
    return re.sub(r"`[^`\n]*`", "", text)


def html(text: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(text))


@pytest.mark.parametrize("name", ["planned", "blocked", "partial", "no_login"])
def test_the_words_of_the_plain_summary(name: str) -> None:
    golden.check(f"{name}-plain.md", render(samples.ALL[name](), CONTEXT))


@pytest.mark.parametrize("name", samples.ALL)
def test_it_uses_nothing_that_the_page_may_not_know(name: str) -> None:
    text = render(samples.ALL[name](), CONTEXT)
    assert not NEVER.search(outside_spans(text))
    assert len(text.encode()) <= PLAIN.budget


@pytest.mark.parametrize("name", samples.ALL)
def test_it_tells_of_the_same_repositories_and_tags(name: str) -> None:
    """What is cut for room aside, which these samples are too small for."""
    result = samples.ALL[name]()
    rich, plain = (render(result, Context(dialect=dialect)) for dialect in (GITHUB, PLAIN))
    assert plain.count("\n| `") >= rich.count("\n| `")
    assert html(plain).count("<h3") >= html(rich).count("<h3")


@pytest.mark.parametrize("text", [text for text in hostile.TEXTS if text])
def test_hostile_text_is_no_markup_in_it_either(text: str) -> None:
    """Lines of an item begin with foreign words here, so that those must be no list, rule or heading of their own."""
    quiet, loud = (render(hostile.result(each), CONTEXT) for each in ("x", text))
    for element in ("<h1", "<h2", "<h3", "<h4", "<hr", "<ul", "<ol", "<img", "<script", "<pre", "<a "):
        assert html(loud).count(element) == html(quiet).count(element), element
    assert "##[" not in loud
    assert "##vso[" not in loud


@pytest.mark.parametrize("line", ["===", "---", "- x", "+ x", "1. x", "1) x", "=", "...", "# x", "> x", "| x |"])
def test_no_line_of_a_message_begins_something(line: str) -> None:
    text = render_failure(ConfigurationError((Problem(line, f"{line}\n{line}", f"{line}\n{line}"),)), dialect=PLAIN)
    rendered = html(text)
    assert rendered.count("<li>") == 1
    assert rendered.count("<h") == 2
    assert "<blockquote>" in rendered
    assert rendered.count("<blockquote>") == 1


def test_a_break_in_a_code_span_is_what_somebody_wrote() -> None:
    assert PLAIN.broken("- `a<br>b`<br>c") == "- `a<br>b`  \n  c"
    assert GITHUB.broken("- a<br>b") == "- a<br>b"


@pytest.mark.parametrize("tone", Tone)
def test_every_verdict_strikes_the_eye(tone: Tone) -> None:
    assert GITHUB.verdict(tone, "x").startswith("> [!")
    assert re.fullmatch(r"> [^\[]+ \*\*x\*\*", PLAIN.verdict(tone, "x"))


def test_what_came_to_no_result_is_as_plain() -> None:
    blocked = ClusterScan("aks", blockers=(Blocker("aks", "list pods", "403\nForbidden.", "Give it.", "pods"),))
    for text in (
        render_problems(ConfigurationError((Problem("a", "b\nc", "d"),)), PLAIN),
        render_failure(ValueError("a\nb"), dialect=PLAIN),
        render_cancelled("Cancelled.", PLAIN),
        CollectedReport((blocked,), "usage.json").markdown(PLAIN),
    ):
        assert not NEVER.search(outside_spans(text))
        assert html(text).count("<blockquote>") == 1


def test_the_long_part_comes_last_where_it_cannot_be_folded_away() -> None:
    text = render(samples.planned(), CONTEXT)
    headings = re.findall(r"^###+ (.*)$", text, re.MULTILINE)
    tags = headings.index("Why each tag goes or stays")
    assert {"Next steps", "Configuration"} <= set(headings[:tags])
    assert all(each.startswith("`") for each in headings[tags + 1 :])
