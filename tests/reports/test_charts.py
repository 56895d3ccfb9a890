"""The charts of the summary contain only text that mermaid can parse."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from acr_cleanup.core.outcome import Result
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.reports.charts import BARS, LABEL, SLICES, Slice, bars, decisions, pie
from acr_cleanup.reports.view import View
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples

WORLDS = {**samples.ALL, **hostile.WORLDS}
# A subset of mermaid's grammar. Another test lets mermaid itself parse the summaries of the demo.
PIE = re.compile(r'pie showData title Tags by decision\n( {4}"[A-Za-z0-9: ]+" : [1-9]\d*\n){2,6}```')
BAR = re.compile(
    r'xychart-beta horizontal\n {4}title "[A-Za-z ,()]+"\n {4}x-axis \[("[\w./() -]+"(, )?){2,11}\]\n'
    r" {4}y-axis 0 --> \d+(\.\d+)?\n {4}bar \[(\d+\.\d\d(, )?){2,11}\]\n```"
)


@pytest.mark.parametrize("name", WORLDS)
def test_decisions_count_every_tag_once(name: str) -> None:
    view = View(WORLDS[name]())
    slices = decisions(view)

    assert all(part.tags > 0 for part in slices)
    assert len(slices) <= SLICES
    if name in samples.ALL:
        assert sum(part.tags for part in slices) == view.total.tags


@pytest.mark.parametrize("name", WORLDS)
def test_pie_is_valid_mermaid(name: str) -> None:
    view = View(WORLDS[name]())

    chart = pie(decisions(view))
    assert bool(chart) == (len(decisions(view)) > 1)
    if chart:
        assert chart.splitlines()[0] == "```mermaid"
        assert PIE.fullmatch(chart.split("\n", 2)[2])


def test_pie_of_fewer_than_two_slices_is_empty() -> None:
    assert pie(()) == ""
    assert pie((Slice("Kept: in use", 3, "#000000"),)) == ""
    assert decisions(View(samples.nothing_in_scope())) == ()


def repositories(*sizes: int, name: str = "team/service-{}") -> Result:
    inventories = [
        samples.repository(name.format(number), 3, first=number * 10 + 10, every=40, size=size)
        for number, size in enumerate(sizes)
    ]
    uses = tuple(samples.use(inventory.name, "1.0.2", "Pod", "x") for inventory in inventories)
    return samples.result(samples.plan(inventories, [replace(samples.company()[1][0], uses=uses)], RetentionPolicy()))


def test_bars_need_two_repositories() -> None:
    assert bars(View(repositories(samples.MIB))) == ""
    assert bars(View(repositories(samples.MIB, 0))) == ""
    assert BAR.fullmatch(bars(View(repositories(samples.MIB, samples.MIB))).split("\n", 2)[2])


def test_bars_group_further_repositories() -> None:
    chart = bars(View(repositories(*(samples.MIB * (number + 1) for number in range(13)))))

    assert '"team/service-12", "team/service-11",' in chart
    assert chart.count('"team/') == BARS
    assert '"3 others"' in chart
    # Two manifests of each are deleted: 2 * (1 + 2 + 3) MiB.
    assert chart.splitlines()[-2].endswith(", 12.00]")


def test_bars_with_similar_names_have_distinct_labels() -> None:
    """
    Long names lose their middle, and mermaid draws bars with equal labels on top of each other.
    """
    chart = bars(View(repositories(1, 2, 3, name="a" * 60 + "{}" + "b" * 60)))
    labels = re.findall(r'"([^"]+)"', chart.split("x-axis")[1].split("]")[0])

    assert len(set(labels)) == 3
    assert all(len(label) <= LABEL + 4 for label in labels)


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_label_of_a_hostile_repository_is_valid(text: str) -> None:
    result = repositories(samples.MIB, samples.MIB, name=text.replace("{", "").replace("}", "") + "{}")

    assert BAR.fullmatch(bars(View(result)).split("\n", 2)[2])


def test_bars_use_a_fitting_unit() -> None:
    assert "at most (B)" in bars(View(repositories(1, 2)))
    assert "at most (TiB)" in bars(View(repositories(2**40, 2**41)))
    assert "y-axis 0 --> 4\n" in bars(View(repositories(2**40, 2**41)))
