"""report.html: safe with foreign text, without a request, and never larger than its limit."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from acr_cleanup.core.inventory import Tag
from acr_cleanup.core.outcome import TAKEN, Outcome, OutcomeKind, Result, Verdict
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Decision, Plan, RepositoryPlan
from acr_cleanup.core.policy import KeepReason, Rule
from acr_cleanup.core.pulls import PullLog
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.reports import html
from acr_cleanup.reports.context import Context
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples
from tests.helpers.last_run import LastRun

VOID = {"meta", "link", "input", "br"}
ELEMENTS = VOID | set(
    re.findall(
        r"\w+",
        "html head title style body header main footer section h1 h2 p span small code kbd dl div dt dd ul li noscript "
        "svg table thead tbody tr th td form label select button dialog script",
    )
)


class Page(HTMLParser):
    """The elements of a page, its visible text and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.size = len(text.encode("utf-8", "backslashreplace"))
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        elif self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def script(self) -> str:
        (script,) = (text for attributes, text in self.scripts if "type" not in attributes)
        return script

    def data(self, name: str) -> Any:
        (block,) = (text for attributes, text in self.scripts if attributes.get("id") == name)
        return json.loads(block)

    @property
    def blocks(self) -> list[Any]:
        return [json.loads(text) for attributes, text in self.scripts if attributes.get("class") == "tags"]

    @property
    def tags(self) -> dict[str, str]:
        """`repository:tag` -> its decision."""
        return {
            f"{block['repository']}:{name}": group["fate"]
            for block in self.blocks
            for group in block["groups"]
            for name in group["names"]
        }


def page(result: Result, **options: int) -> Page:
    return Page("".join(html.render(result, Context(("out/report.json",)), **options)))


@pytest.mark.parametrize("name", samples.ALL)
def test_page_has_every_tag_and_the_verdict(name: str) -> None:
    result = samples.ALL[name]()
    shown = page(result)

    tags = [
        f"{plan.repository}:{decision.tag.name}" for plan in result.plan.repositories for decision in plan.decisions
    ]
    assert sorted(shown.tags) == sorted(tags)
    assert shown.data("run")["tags"] == len(tags)
    for blocker in result.blockers:
        assert blocker.seen.partition("\n")[0].partition("`")[0] in shown.text
    assert all(refusal in shown.text for refusal in result.refusals)
    ages = shown.data("ages")
    assert sum(map(sum, ages["counts"].values())) == len(tags)


def test_page_says_reasons_users_and_policy() -> None:
    shown = page(samples.result(samples.small()))
    (block,) = shown.blocks
    reasons = {
        name: [
            (block["texts"][title], [block["texts"][user] for user in users]) for title, _, users, _ in group["reasons"]
        ]
        for group in block["groups"]
        for name in group["names"]
    }

    assert shown.tags["shop/web:old"] == "delete"
    assert reasons["old"] == []
    assert reasons["1.0.1"][0] == ("in use", ["production/shop/Deployment/web (app)"])
    assert "Deletes tags of repositories that run in a cluster" in shown.text
    assert "keep-last" in shown.text


def test_tags_that_are_new_since_the_last_run_are_marked() -> None:
    """Only those that a plan deletes: an apply has deleted them."""
    made = samples.small()
    plans = [replace(plan, new=frozenset({"old", "1.0.1"})) for plan in made.repositories]
    result = samples.result(replace(made, repositories=tuple(plans)))

    def notes(result: Result) -> dict[str, str]:
        (block,) = page(result).blocks
        return {name: block["texts"][group["note"]] for group in block["groups"] for name in group["names"]}

    assert notes(result)["old"] == "not in use; its manifest is kept; new since the last run"
    assert notes(result)["1.0.1"] == ""
    gone = Outcome("shop/web", samples.small().repositories[0].deletions[0].tag.digest, "old", OutcomeKind.DELETED)
    assert notes(replace(result, dry_run=False, outcomes=(gone,)))["old"] == "not in use; its manifest is kept"


def test_sizes_by_decision_add_up_to_the_listed_size() -> None:
    result = samples.planned()
    rows = {row[0]: row for row in page(result).data("run")["repositories"]}

    for tally in result.plan.tallies:
        row = rows[tally.repository]
        assert row[6] == tally.size
        assert row[7] == tally.used_size > 0
        assert sum(row[6:9]) == tally.listed_size
    assert list(rows) == sorted(rows, key=lambda name: -sum(rows[name][6:9]))


def test_limit_is_an_edge_of_the_ages() -> None:
    """Tags on one side of the limit are never in a bar with those on the other side."""
    result = samples.planned()
    plan = replace(result.plan, policy=replace(result.plan.policy, older_than=timedelta(days=33)))
    ages = page(replace(result, plan=plan)).data("ages")

    ((place, _),) = ages["limits"]
    assert ages["short"][place - 1] == "33"
    old = sum(sum(counts[place:]) for counts in ages["counts"].values())
    pushed = [decision.tag.updated_at for repository in plan.repositories for decision in repository.decisions]
    assert old == sum(moment is not None and samples.NOW - moment >= timedelta(days=33) for moment in pushed)


def test_outcomes_decide_what_the_page_calls_deleted() -> None:
    shown = page(samples.partial()).tags

    assert shown["shop/web:1.0.0"] == "changed"
    assert shown["shop/web:1.0.1"] == "delete"


def test_kept_tag_that_the_registry_deleted_is_shown_as_deleted() -> None:
    made = samples.small()
    taken = Outcome("shop/web", samples.digest(2), "1.0.1", OutcomeKind.DELETED, TAKEN)
    shown = page(samples.result(made, Verdict.APPLIED, dry_run=False, outcomes=(taken,)))

    assert shown.tags["shop/web:1.0.1"] == "delete"


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_foreign_text_is_never_markup(world: str) -> None:
    result = hostile.WORLDS[world]()
    shown = page(result)
    known = page(samples.partial())

    assert {tag for tag, _ in shown.elements} <= ELEMENTS
    assert shown.script == known.script
    assert shown.style == known.style
    assert [attributes for tag, attributes in shown.elements if tag == "meta"] == [
        attributes for tag, attributes in known.elements if tag == "meta"
    ]
    for attributes, text in shown.scripts[:-1]:
        assert attributes["type"] == "application/json"
        assert not set("<>&") & set(text)
    assert all(text.isprintable() for text in (value for block in shown.blocks for value in block["texts"]))


def test_lone_surrogate_does_not_break_the_page() -> None:
    result = samples.result(samples.small(), warnings=("\ud800 <b>",))

    page_text = "".join(html.render(result, Context()))

    assert b"&lt;b&gt;" in page_text.encode("utf-8", "backslashreplace")


def test_page_asks_no_host_for_anything() -> None:
    shown = page(samples.partial())
    addresses = [
        value
        for _, attributes in shown.elements
        for name, value in attributes.items()
        if name in {"src", "href", "action", "srcset", "data", "poster", "background", "xlink:href", "formaction"}
    ]

    assert addresses == ["data:,"]
    assert not re.search(r"@import|url\(|https?:", shown.style)
    # No way to the network, and none from text to markup.
    assert not re.search(
        r"https?:|fetch|XMLHttp|WebSocket|EventSource|sendBeacon|import\s*\(|\beval\b|Function\(|innerHTML|outerHTML|"
        r"insertAdjacent|document\.write|setAttribute\(\"on|location|\.style\b",
        shown.script,
    )
    assert not any(name.startswith("on") or name == "style" for _, attributes in shown.elements for name in attributes)


def test_security_policy_allows_only_this_style_and_script() -> None:
    shown = page(samples.planned())
    (policy,) = (
        attributes["content"]
        for tag, attributes in shown.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))

    def allowed(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": allowed(shown.script),
        "style-src": allowed(shown.style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # The policy covers only what follows it.
    assert [tag for tag, _ in shown.elements[:4]] == ["html", "head", "meta", "meta"]


def large_result(repositories: int, tags: int, *, name: str = "build") -> Result:
    """A plan of many tags: a third is deleted, a third is young, a third has one reason for each tag."""

    def decision(number: int) -> Decision:
        tag = Tag(f"{name}-{number:07}", samples.digest(number), samples.NOW - timedelta(hours=number % 20000))
        details = {1: (Rule.YOUNG, "pushed 3d ago"), 2: (Rule.ATTACHED, f"belongs to {samples.digest(number)}")}
        return Decision(tag, tuple(KeepReason(*details[kind]) for kind in details if number % 3 == kind))

    plans = (
        Packed.of(RepositoryPlan(f"team/app-{place:06}", tuple(map(decision, range(tags))), listed_size=10**9))
        for place in range(repositories)
    )
    plan = Plan(samples.HOST, RetentionPolicy(), samples.NOW, UsageIndex.of((), samples.NOW), PackedPlans(plans))
    return samples.result(plan)


@pytest.mark.parametrize(
    ("repositories", "tags", "name"),
    [(30, 400, "build"), (2, 6000, "build"), (3000, 2, "build"), (10, 900, "<&>" * 60)],
)
def test_page_never_exceeds_its_limit(repositories: int, tags: int, name: str) -> None:
    """Deletions come before kept tags, and the page says how many tags there are."""
    shown = page(large_result(repositories, tags, name=name), limit=200_000)

    assert 80_000 < shown.size <= 200_000
    run = shown.data("run")
    assert run["tags"] == repositories * tags > len(shown.tags)
    assert len(run["repositories"]) + run["hidden"] == repositories
    assert sum(map(sum, shown.data("ages")["counts"].values())) == repositories * tags


def test_large_repository_gets_the_space_that_small_ones_leave() -> None:
    """Short names leave space. The repository with long names did not fit, and is read again."""

    def repository(name: str, tags: Iterable[str]) -> Packed:
        kept = (KeepReason(Rule.YOUNG, "pushed 3d ago"),)
        decisions = (Decision(Tag(tag, samples.digest(0), samples.NOW), kept) for tag in tags)
        return Packed.of(RepositoryPlan(name, tuple(decisions)))

    small = [repository(f"app-{place}", map(str, range(1000))) for place in range(20)]
    large = repository("large", (f"{number:0120}" for number in range(20_000)))
    plan = replace(samples.small(), repositories=PackedPlans([*small, large]))
    shown = page(samples.result(plan), limit=1_000_000)

    number = Counter(name.partition(":")[0] for name in shown.tags)
    assert {number.pop(f"app-{place}") for place in range(20)} == {1000}
    assert 3000 < number["large"] < 20_000
    assert 950_000 < shown.size <= 1_000_000
    assert sum(map(sum, shown.data("ages")["counts"].values())) == 40_000


def test_deletions_come_before_kept_tags() -> None:
    shown = page(large_result(1, 9000), limit=150_000)

    assert "delete" in shown.tags.values()
    (block,) = shown.blocks
    fates = [group["fate"] for group in block["groups"]]
    assert fates == sorted(fates, key=lambda fate: fate != "delete")
    days = block["groups"][0]["days"]
    # Both the oldest and the newest deletions are shown.
    assert max(days) - min(days) > 100


def test_messages_that_do_not_fit_are_counted() -> None:
    warnings = tuple(f"Warning {number} {'<' * 200}" for number in range(5000))
    shown = page(samples.result(samples.small(), warnings=warnings))

    assert shown.size < 400_000
    assert re.search(r"… and 4,\d\d\d more in report.json", shown.text)


def test_push_after_the_time_of_day_of_the_plan_is_a_day_younger() -> None:
    """A tag is as old here as in the other reports, which count full days."""
    tags = {"exact": timedelta(days=30), "nearly": timedelta(days=30) - timedelta(minutes=1), "new": timedelta()}
    decisions = tuple(Decision(Tag(name, samples.digest(0), samples.NOW - age), ()) for name, age in tags.items())
    plans = PackedPlans([Packed.of(RepositoryPlan("shop/web", decisions))])
    shown = page(samples.result(replace(samples.small(), repositories=plans)))

    today = shown.data("run")["today"]
    (group,) = shown.blocks[0]["groups"]
    pushed = dict(zip(group["names"], group["days"], strict=True))
    assert {name: today - -(-half // 2) for name, half in pushed.items()} == {"exact": 30, "nearly": 29, "new": 0}
    assert {name: today - half // 2 for name, half in pushed.items()} == {"exact": 30, "nearly": 30, "new": 0}


def test_page_names_what_is_new_and_warns_without_soft_delete() -> None:
    made = samples.company_plan()
    plans = tuple(replace(plan, new=frozenset[str]()) for plan in made.repositories)
    usage = replace(made.usage, history=LastRun(samples.NOW - timedelta(days=7)))
    made = replace(made, repositories=plans, usage=usage)
    shown = page(samples.result(made, undo="Soft delete is disabled.", final=True))

    assert "Nothing that would be deleted is new since the last run on 16 Nov." in shown.text
    assert "⚠️ Warnings Soft delete is disabled." in shown.text
    assert shown.text.count("Soft delete") == 1


def test_page_has_who_uses_and_who_pulls_as_tables() -> None:
    made = samples.company_plan()
    log = PullLog(samples.NOW - timedelta(days=90), counted=(("docker/27 <b>", 12),), ignored=(("trivy/0.57", 380),))
    shown = page(samples.result(replace(made, usage=replace(made.usage, pulls=log))))

    assert "production direct 1,312 31 0 shop/web, shop/api and 6 others" in shown.text
    assert "Who Pulls Counts docker/27 <b> 12 yes trivy/0.57 380 no, ignored" in shown.text


@pytest.mark.extended
@pytest.mark.timeout(900)  # it takes two minutes on a busy machine
@pytest.mark.parametrize(("repositories", "tags"), [(1, 1_000_000), (1000, 1000), (200_000, 5)])
def test_page_of_a_million_tags_is_at_most_five_megabytes(repositories: int, tags: int) -> None:
    result = large_result(repositories, tags)
    size = sum(len(piece.encode()) for piece in html.render(result, Context()))

    assert 2_000_000 < size <= html.PAGE_LIMIT


def test_each_rule_of_the_policy_has_its_limit_and_title() -> None:
    inventories, scans = samples.company()
    rule = PolicyRule("short", tags=("1.8.*",), older_than=timedelta(days=7))
    shown = page(samples.result(samples.plan(inventories, scans, RetentionPolicy(rules=(rule,)))))

    assert [text for _, text in shown.data("ages")["limits"]] == ["7d", "30d"]
    texts = {text for block in shown.blocks for text in block["texts"]}
    assert {"pushed less than 7d ago", "pushed less than 30d ago"} <= {text.partition(" (")[0] for text in texts}
    assert "Rules" in shown.text
