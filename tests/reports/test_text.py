"""The text report, in a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from rich.cells import cell_len
from rich.console import Console

from acr_cleanup.core.outcome import Result, Verdict
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.text import render
from acr_cleanup.reports.view import View
from tests.helpers import golden_files as golden
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples

CONTEXT = Context(
    ("acr-cleanup/report.json", "acr-cleanup/plan.json", "acr-cleanup/summary.md"),
    "acr-cleanup plan cleanup.yaml",
    "acr-cleanup apply cleanup.yaml",
)


def terminal(result: Result, width: int, *, details: bool = True, colour: bool = False) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        _environ={},
    )
    console.print(render(result, CONTEXT, details=details))
    return stream.getvalue()


@cache
def plain_report(name: str) -> str:
    """Return the report of a sample without a terminal, rendered once for all tests."""
    return str(render(samples.ALL[name](), CONTEXT))


@cache
def terminal_report(name: str, width: int) -> str:
    return terminal(samples.ALL[name](), width)


@pytest.mark.parametrize(
    "name", ["small", "blocked", "refused", "partial", "nothing_to_do", "broken", "untagged", "untagged_partial"]
)
def test_plain_report_matches_its_golden_file(name: str) -> None:
    golden.check(f"{name}.txt", plain_report(name))


@pytest.mark.parametrize(("name", "width"), [("planned", 100), ("small", 80), ("applied_but_moved", 80)])
def test_terminal_report_matches_its_golden_file(name: str, width: int) -> None:
    golden.check(f"{name}-{width}.txt", terminal_report(name, width))


@pytest.mark.parametrize("name", samples.ALL)
def test_first_line_is_the_verdict(name: str) -> None:
    verdict = headline(View(samples.ALL[name]()))

    assert plain_report(name).splitlines()[0] == verdict
    assert verdict.startswith(terminal_report(name, 80).splitlines()[0].rstrip())


@pytest.mark.parametrize("name", samples.ALL)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_lines_fit_the_terminal_width(name: str, width: int) -> None:
    assert max(cell_len(line) for line in terminal_report(name, width).splitlines()) <= width


@pytest.mark.parametrize("name", samples.ALL)
def test_terminal_report_has_every_plain_word(name: str) -> None:
    plain = plain_report(name).translate(str.maketrans("", "", "(),"))
    wide = terminal_report(name, 400).translate(str.maketrans("", "", "(),"))

    assert set(plain.split()) - set(wide.split()) == set()


@pytest.mark.parametrize("name", samples.ALL)
def test_only_an_apply_says_deleted(name: str) -> None:
    result = samples.ALL[name]()
    text = plain_report(name)

    assert any(re.match(r" +deleted +\d", line) for line in text.splitlines()) == bool(result.counts.deleted)
    assert ("Would delete" in text) <= (not result.counts.deleted)


def test_blockers_come_first() -> None:
    """Each shows cluster, call, answer and remedy on separate lines."""
    lines = [line.strip() for line in str(render(samples.blocked(), CONTEXT)).splitlines()]
    start = lines.index("Blockers")

    assert start == 2
    assert lines[start + 1 : start + 5] == [
        "production",
        "listing cronjobs.batch",
        "403 Forbidden for 'acr-cleanup'.",
        '→ Grant it get and list on cronjobs (README, "Rights"), or leave the cluster out.',
    ]


def test_refusal_names_its_remedy() -> None:
    assert "raise max-deletions" in str(render(samples.refused(), CONTEXT))


def test_failures_show_their_reason() -> None:
    text = str(render(samples.partial(), CONTEXT))

    assert "Failed: 2 tags" in text
    assert (
        "  403 Forbidden: DELETE needs the role AcrDelete on the registry.\n    shop/web:1.0.0  shop/web:1.0.2" in text
    )
    assert "shop/search\n    Listing its tags: 503" in text


@pytest.mark.parametrize("name", ["applied", "applied_but_moved", "partial", "cancelled"])
def test_apply_names_every_tag_in_two_pages(name: str) -> None:
    """After an apply, users look for single tags and for deviations from the plan."""
    result = samples.ALL[name]()
    text = terminal(result, 120)

    assert text.count("\n") < 120
    named = re.findall(r"[\w.…-]+", text)
    for repository in result.plan.repositories:
        for decision in repository.decisions:
            assert words.name(decision.tag.name) in named


def test_apply_of_many_tags_has_few_lines() -> None:
    inventories = [samples.repository(f"team/service-{number}", 300, first=number * 1000) for number in range(40)]
    uses = [samples.use(inventory.name, inventory.tags[-1].name, "Pod", "pod") for inventory in inventories]
    made = samples.plan(inventories, [replace(samples.company()[1][0], uses=tuple(uses))])
    text = str(render(samples.result(made, Verdict.APPLIED, dry_run=False, outcomes=samples.outcomes(made)), CONTEXT))

    assert text.count("\n") < 300
    assert "… 192 more" in text


def test_failed_and_gone_tags_are_not_called_kept() -> None:
    """
    The registry may have carried out a deletion without an answer, and others may have deleted a
    tag.
    """
    text = str(render(samples.partial(), CONTEXT))

    assert re.search(r"failed +2 +1\.0\.0, 1\.0\.2", text)
    assert re.search(r"kept +1 +moved since the plan: 1\.0\.0", text)
    assert re.search(r"gone +1 +already deleted: 1\.0\.0", str(render(samples.applied_but_moved(), CONTEXT)))


@pytest.mark.parametrize("width", [80, 100])
def test_plan_of_four_hundred_tags_fits_few_screens(width: int) -> None:
    assert terminal(samples.planned(), width).count("\n") < 140
    assert terminal(samples.planned(), width, details=False).count("\n") < 40


def test_plan_of_many_tags_counts_what_is_hidden() -> None:
    """It also names the report that has everything."""
    inventories = [samples.repository(f"team/service-{number}", 300, first=number * 1000) for number in range(40)]
    uses = [
        samples.use(inventory.name, f"1.{version // 10}.{version % 10}", "Pod", f"pod-{version}")
        for inventory in inventories
        for version in range(100)
    ]
    made = samples.plan(inventories, [replace(samples.company()[1][0], uses=tuple(uses))])
    text = str(render(samples.result(made), CONTEXT))

    assert text.count("\n") < 700
    assert "… and 10 more repositories in acr-cleanup/report.json" in text
    assert "… 94 more" in text
    assert max(map(len, text.splitlines())) < 1200


def test_very_long_name_does_not_hide_the_numbers() -> None:
    name = "/".join(["a-very-long-part"] * 15)
    made = samples.plan(
        [samples.repository(name, 3, first=1, every=40)],
        [replace(samples.company()[1][0], uses=(samples.use(name, "1.0.2", "Pod", "x"),))],
        RetentionPolicy(timedelta(days=30)),
    )

    lines = terminal(samples.result(made), 80).splitlines()

    assert max(map(cell_len, lines)) <= 80
    assert any(line.endswith("120 MiB") or "MiB" in line for line in lines)


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_text_is_escaped(world: str) -> None:
    """It is neither a terminal escape nor a pipeline command, in both forms and at any width."""
    result = hostile.WORLDS[world]()

    plain = str(render(result, CONTEXT))
    for text in (plain, *(terminal(result, width) for width in (30, 80, 120))):
        assert text.replace("\n", "").isprintable()
        assert "::" not in text
        assert "##" not in text
    assert plain.count("\n") < 100


def test_hostile_text_is_not_rich_markup() -> None:
    result = hostile.result("[bold red]x[/] [link=https://evil.example]y[/link] :tada:")

    assert "[bold red]x[/] [link=https://evil.example]y[/link] :tada:" in terminal(result, 200)


def test_report_without_colour_has_the_same_words() -> None:
    coloured = terminal(samples.blocked(), 100, colour=True)

    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == terminal(samples.blocked(), 100)
