"""The job summary: verdict first, whole blocks, within its budget, and no markup but ours."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from markdown_it import MarkdownIt

from acr_cleanup.core.outcome import Result
from acr_cleanup.reports.markdown import BUDGET, render
from acr_cleanup.reports.view import Context, View
from tests.reports import golden, hostile, samples

CONTEXT = Context(("acr-cleanup/report.json", "acr-cleanup/plan.json"), "", "run again with dry-run: false")
OURS = {"h2", "h3", "blockquote", "p", "strong", "code", "em", "ul", "ol", "li", "br", "details", "summary"}
OURS |= {"table", "thead", "tbody", "tr", "th", "td"}


EMPTY = f"{hostile.TEXTS.index(''):02}"
"""No text at all is hidden rather than shown."""


def html(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def elements(text: str) -> list[str]:
    return re.findall(r"<(/?[a-zA-Z][a-zA-Z0-9]*)", html(text))


def whole(text: str) -> bool:
    """Is every element closed that was opened?"""
    found = elements(text)
    return all(found.count(name) == found.count(f"/{name}") for name in OURS - {"br"})


@pytest.mark.parametrize("name", ["small", "blocked", "partial"])
def test_the_words_of_the_summary(name: str) -> None:
    golden.check(f"{name}.md", render(samples.ALL[name](), CONTEXT))


@pytest.mark.parametrize("name", samples.ALL)
def test_the_verdict_comes_first_as_an_alert(name: str) -> None:
    result = samples.ALL[name]()
    lines = render(result, CONTEXT).splitlines()

    assert lines[0].startswith("## ")
    assert re.fullmatch(r"> \[!(NOTE|TIP|WARNING|CAUTION)\]", lines[2])
    assert lines[3].startswith(f"> **{View(result).headline}**")


@pytest.mark.parametrize("name", samples.ALL)
def test_every_element_is_closed_and_every_table_is_one(name: str) -> None:
    text = render(samples.ALL[name](), CONTEXT)

    assert whole(text)
    assert set(elements(text)) <= OURS | {f"/{each}" for each in OURS}
    assert html(text).count("<table>") == len(re.findall(r"(?m)^\| :?-", text))


@cache
def huge() -> Result:
    """More than any summary can hold: sixty repositories of two hundred tags with long names."""
    inventories = []
    for number in range(60):
        made = samples.repository(f"team/a-rather-long-name-of-a-service/service-{number}", 210, first=number * 1000)
        tags = tuple(replace(tag, name=f"{tag.name}-{'x' * 60}") for tag in made.tags)
        inventories.append(replace(made, tags=tags))
    uses = [samples.use(each.name, each.tags[-1].name, "Pod", "y" * 200) for each in inventories]
    return samples.result(samples.plan(inventories, [replace(samples.company()[1][0], uses=tuple(uses))]))


@pytest.mark.parametrize("budget", [BUDGET, 200_000, 20_000, 3_000])
def test_what_does_not_fit_is_left_out_whole_and_said(budget: int) -> None:
    """GitHub drops a summary that is too large; a cut one would leave its elements open."""
    text = render(huge(), CONTEXT, budget=budget)

    assert len(text.encode()) <= budget
    assert whole(text)
    assert text.splitlines()[3].startswith("> **Would delete")
    assert "### Next" in text
    if budget < BUDGET:
        assert "did not fit" in text
        assert "report.json" in text


def test_what_is_hidden_is_counted() -> None:
    text = render(huge(), CONTEXT)

    assert "… and 10 more repositories in `acr-cleanup/report.json`" in text
    assert "… and 10 more tags in `acr-cleanup/report.json`" in text


def test_deletions_are_shown_before_what_is_kept() -> None:
    details = render(samples.planned(), CONTEXT).partition("<code>shop/web</code>")[2]

    assert details.rindex("**would be deleted**", 0, details.index("</details>")) < details.index("| kept |")


def test_a_dry_run_says_how_to_delete() -> None:
    assert "> **Would delete 297 tags" in render(samples.planned(), CONTEXT)
    assert "To delete: run again with dry-run: false" in render(samples.planned(), CONTEXT)
    assert "To delete" not in render(samples.blocked(), CONTEXT)
    assert "To delete" not in render(samples.applied(), CONTEXT)


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_text_is_no_markup_and_no_command(world: str) -> None:
    text = render(hostile.WORLDS[world](), CONTEXT)

    assert set(elements(text)) <= OURS | {f"/{each}" for each in OURS}
    assert whole(text)
    assert "::" not in text
    assert not re.search(r"##\[|##vso", text)
    assert "://" not in re.sub(r"`[^`]*`", "", text)
    assert all(line.isprintable() for line in text.replace("\u200b", "").splitlines())
    if world == EMPTY:
        return
    # The same number of tables, rows and cells as for a harmless name.
    assert re.findall(r"<(?:table|tr|td)>", html(text)) == re.findall(
        r"<(?:table|tr|td)>", html(render(hostile.result("harmless"), CONTEXT))
    )
