"""
The job summary: the verdict first, complete blocks, within its budget, and only our own markup.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from functools import cache

import cmarkgfm
import pytest
from msgspec import structs

from acr_cleanup.core.outcome import OutcomeKind, Result, Verdict
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.errors import ConfigurationError, IdentityError, Problem
from acr_cleanup.reports import words
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.dialect import GITHUB, PLAIN
from acr_cleanup.reports.headline import headline
from acr_cleanup.reports.markdown import render
from acr_cleanup.reports.markdown_failures import render_failure, render_problems
from acr_cleanup.reports.view import View
from tests.helpers import golden_files as golden
from tests.helpers import hostile_text as hostile
from tests.helpers import sample_results as samples
from tests.helpers.last_run import LastRun

CONTEXT = Context(
    ("acr-cleanup/report.json", "acr-cleanup/plan.json"),
    "",
    "dry-run: false",
    apply_is_input=True,
    keep_files="Keep them with `actions/upload-artifact`.",
)
OURS = {"h2", "h3", "blockquote", "p", "strong", "code", "pre", "em", "ul", "ol", "li", "br", "details", "summary"}
OURS |= {"table", "thead", "tbody", "tr", "th", "td"}

EMPTY = f"{hostile.TEXTS.index(''):02}"
"""The hostile world with an empty text: its rows have no name to compare."""


def html(text: str) -> str:
    """Render like GitHub, without its sanitizer."""
    return str(cmarkgfm.github_flavored_markdown_to_html(text, cmarkgfm.Options.CMARK_OPT_UNSAFE))


def elements(text: str) -> list[str]:
    return re.findall(r"<(/?[a-zA-Z][a-zA-Z0-9]*)", html(text))


def whole(text: str) -> bool:
    """Is every opened element closed?"""
    names = elements(text)
    return all(names.count(name) == names.count(f"/{name}") for name in OURS - {"br"})


@pytest.mark.parametrize("name", ["small", "partial", "no_login", "untagged"])
def test_summary_matches_its_golden_file(name: str) -> None:
    golden.check(f"{name}.md", render(samples.ALL[name](), CONTEXT))


@pytest.mark.parametrize(
    "name", ["planned", "blocked", "cancelled", "nothing_to_do", "proven", "broken", "unproven", "exact"]
)
def test_summary_before_the_tags_matches_its_golden_file(name: str) -> None:
    golden.check(f"{name}.md", render(samples.ALL[name](), CONTEXT).partition("### Decisions by tag")[0])


@pytest.mark.parametrize("name", samples.ALL)
def test_verdict_is_the_first_alert(name: str) -> None:
    result = samples.ALL[name]()
    lines = render(result, CONTEXT).splitlines()

    assert lines[0].startswith("## ")
    assert re.fullmatch(r"> \[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]", lines[2])
    assert lines[3].startswith(f"> **{words.markdown(headline(View(result)), 2000)}**")


ALERTS = {
    "planned": "NOTE",
    "small": "NOTE",
    "untagged": "NOTE",
    "untagged_and_tags": "NOTE",
    "untagged_partial": "WARNING",
    "nothing_in_scope": "NOTE",
    "nothing_to_do": "TIP",
    "applied": "TIP",
    "applied_but_moved": "TIP",
    "small_applied": "TIP",
    "cancelled": "IMPORTANT",
    "partial": "WARNING",
    "blocked": "CAUTION",
    "blocked_apply": "CAUTION",
    "refused": "CAUTION",
    "refused_plan": "CAUTION",
    "no_login": "CAUTION",
    "proven": "TIP",
    "exact": "NOTE",
    "unproven": "WARNING",
    "broken": "CAUTION",
}


@pytest.mark.parametrize("name", samples.ALL)
def test_alert_depends_on_the_verdict(name: str) -> None:
    """At a glance, a refusal must not look like a dry run, nor a dry run like a deletion."""
    assert render(samples.ALL[name](), CONTEXT).splitlines()[2] == f"> [!{ALERTS[name]}]"


def test_headline_names_failures_and_deletions_first() -> None:
    text = render(samples.partial(), CONTEXT)
    first = text.splitlines()[3]

    assert "2 tags failed" in first
    assert "294 of 297 planned tags were deleted" in first
    assert text.index("403 Forbidden") < text.index("| **Deleted** |")


def test_items_with_the_same_reason_are_grouped() -> None:
    text = render(samples.cancelled(), CONTEXT)

    assert "- **204 not attempted**: the run was stopped<br>`shop/api:" in text
    assert " and 184 more\n" in text
    assert text.count("the run was stopped") == 1 + 204


def test_row_of_an_undeleted_tag_shows_the_reason() -> None:
    text = render(samples.partial(), CONTEXT)

    assert re.search(r"\| `1\.0\.2` \|.*\| ❌&nbsp;failed \| 403 Forbidden: DELETE needs the role AcrDelete", text)
    assert re.search(r"\| `1\.0\.0` \|.*\| not&nbsp;deleted \| moved since the plan: was pushed again \|", text)
    assert "| `shop/web` ❌&nbsp;2&nbsp;failed | 94 | 81 | 2 | 11 | 4 | 9.3&nbsp;GiB | ██████ |" in text
    assert "⚠️&nbsp;not&nbsp;read | ? |" in text


def test_totals_name_who_keeps_the_tags() -> None:
    text = render(samples.planned(), CONTEXT)

    assert "| **Would delete** | **297** | 75 % | 295 manifests, 34.6 GiB at most |" in text
    assert "| Kept: in use | 13 | 3 % | by `production` and `staging` |" in text
    assert "| **Total** | **394** |  | 8 repositories |" in text
    assert text.count("34.6 GiB") == 2


def test_sources_are_listed_with_what_they_use_and_blockers_first() -> None:
    table = render(samples.blocked(), CONTEXT).partition("### Clusters and services")[2].splitlines()[2:6]

    assert (
        table[2]
        == "| `production` | ❌ 1 blocker | direct | 1,312 | 10 | `shop/web`, `shop/api`, `platform/ingress` and 5 more |"
    )
    assert table[3].startswith("| `staging` | ❌ 1 blocker |")


def test_highlights_show_tags_nearest_the_limit_and_the_largest() -> None:
    inventories = [samples.repository(f"team/s{n}", 40, first=n * 100, size=n * samples.MIB) for n in range(1, 4)]
    running = [samples.use(inventory.name, "1.3.9", "Pod", "a") for inventory in inventories]
    planned = samples.result(samples.plan(inventories, [ClusterScan("production", tuple(running))]))

    rows = [line for line in render(planned, CONTEXT).partition("### Worth a look")[2].splitlines() if "team/s" in line]

    assert rows[0] == "| **Nearest the limit (30d)** | `team/s1:1.3.1` | 32d&nbsp;ago | 1.0&nbsp;MiB |"
    assert "| **Frees most** | `team/s3:1.0.0` | 156d&nbsp;ago | 3.0&nbsp;MiB |" in rows
    assert "### Worth a look" not in render(samples.applied(), CONTEXT)
    assert "### Worth a look" not in render(samples.ALL["small"](), CONTEXT)


def test_new_tags_since_the_last_run_are_counted_and_named() -> None:
    made = samples.company_plan()
    news = {
        decision.tag.name for plan in made.repositories for decision in plan.deletions if decision.tag.name == "1.2.3"
    }
    plans = tuple(replace(plan, new=frozenset(news)) for plan in made.repositories)
    usage = replace(made.usage, history=LastRun(samples.NOW - timedelta(days=7)))
    text = render(samples.result(replace(made, repositories=plans, usage=usage)), CONTEXT)

    new = sum("1.2.3" in {decision.tag.name for decision in plan.deletions} for plan in plans)
    assert "| **New since the last run** | `" in text
    assert (
        f"⏳ {new} of the {samples.company_plan().planned} planned tags are new since the last run on 16 Nov." in text
    )


def test_long_tables_are_folded_after_their_first_rows() -> None:
    text = render(many_repositories(), CONTEXT)

    assert text.index("<summary>Repositories: 40 more</summary>") < text.index("### Decisions by tag")
    plain = render(many_repositories(), replace(CONTEXT, dialect=PLAIN))
    assert plain.index("#### Repositories: 40 more") > plain.index("### Next steps")


@cache
def many_repositories() -> Result:
    inventories = [samples.repository(f"team/service-{number}", 20, first=number * 100) for number in range(60)]
    uses = [samples.use(inventory.name, "1.1.9", "Pod", "a-pod") for inventory in inventories]
    return samples.result(samples.plan(inventories, [ClusterScan("production", tuple(uses))]))


def test_failed_login_shows_lines_and_command() -> None:
    text = render(samples.no_login(), CONTEXT)

    assert "### Error" in text
    assert "<br>`az ad app federated-credential create --id 0 --parameters credential.json`" in text
    assert "Would delete" not in text


@pytest.mark.parametrize("name", samples.ALL)
def test_every_element_is_closed_and_every_table_renders(name: str) -> None:
    text = render(samples.ALL[name](), CONTEXT)

    assert whole(text)
    assert set(elements(text)) <= OURS | {f"/{element}" for element in OURS}
    assert html(text).count("<table>") == len(re.findall(r"(?m)^\| :?-", text))


@cache
def fifty_thousand() -> Result:
    """Fifty thousand tags: half of them in use, the others deleted or failed."""
    inventories = [samples.repository(f"team/service-{number}", 500, first=number * 1000) for number in range(100)]
    uses = [
        samples.use(inventory.name, tag.name, "Deployment", "a-deployment-with-a-name")
        for inventory in inventories
        for tag in inventory.tags[::2]
    ]
    # Only what a pod runs is in scope.
    uses += [samples.use(inventory.name, inventory.tags[0].name, "Pod", "a-pod") for inventory in inventories]
    made = samples.plan(inventories, [replace(samples.company()[1][0], uses=tuple(uses))])
    failed = {f"team/service-1:{tag.name}": (OutcomeKind.FAILED, "503 " * 50) for tag in inventories[1].tags}
    outcomes = samples.outcomes(made, failed)
    return samples.result(made, Verdict.PARTIAL, dry_run=False, outcomes=outcomes)


@pytest.mark.extended
@pytest.mark.untraced
def test_fifty_thousand_tags_fit_a_summary() -> None:
    """All blocks are complete, and each cut is counted."""
    result = fifty_thousand()
    text = render(result, CONTEXT)

    assert result.counts.kept + result.counts.planned == 50_000
    assert result.counts.deleted > 20_000
    assert result.counts.failed > 200
    assert result.counts.in_use == 25_000
    assert len(text.encode()) <= GITHUB.budget
    assert len(text.encode()) > GITHUB.budget // 2
    assert whole(text)
    assert text.count("<details>") == text.count("</details>") > 10
    # Totals, repositories, policy and clusters, and one for each expanded repository.
    assert html(text).count("<table>") == 4 + text.count("<details>") - 1
    assert "… and 50 more repositories in `acr-cleanup/report.json`" in text
    assert "… and 300 more tags in `acr-cleanup/report.json`" in text


@cache
def huge() -> Result:
    """More than fits into a summary: sixty repositories of 210 tags with long names."""
    inventories = []
    for number in range(60):
        made = samples.repository(f"team/a-rather-long-name-of-a-service/service-{number}", 210, first=number * 1000)
        tags = tuple(structs.replace(tag, name=f"{tag.name}-{'x' * 60}") for tag in made.tags)
        inventories.append(replace(made, tags=tags))
    uses = [samples.use(inventory.name, inventory.tags[-1].name, "Pod", "y" * 200) for inventory in inventories]
    return samples.result(samples.plan(inventories, [replace(samples.company()[1][0], uses=tuple(uses))]))


@pytest.mark.extended
@pytest.mark.parametrize("budget", [GITHUB.budget, 200_000, 20_000, 3_000])
def test_blocks_beyond_the_budget_are_omitted_and_counted(budget: int) -> None:
    """GitHub drops a summary that is too large, and a summary cut anywhere leaves elements open."""
    text = render(huge(), CONTEXT, budget=budget)

    assert len(text.encode()) <= budget
    assert whole(text)
    assert text.splitlines()[3].startswith("> **Dry run: would delete")
    assert "### Next" in text
    if budget < GITHUB.budget:
        assert "did not fit" in text
        assert "report.json" in text


def test_hidden_rows_are_counted() -> None:
    text = render(huge(), CONTEXT)

    assert "… and 10 more repositories in `acr-cleanup/report.json`" in text
    assert "… and 10 more tags in `acr-cleanup/report.json`" in text


def test_deletions_come_before_kept_tags() -> None:
    details = render(samples.planned(), CONTEXT).partition("<code>shop/web</code>")[2]
    details = details[: details.index("</details>")]

    assert details.rindex("🗑️&nbsp;delete") < details.index("| in&nbsp;use |") < details.index("| kept |")


def test_dry_run_says_so_first_and_how_to_delete() -> None:
    """The first run deletes nothing, and the user must notice that."""
    first = render(samples.planned(), CONTEXT).splitlines()[3]

    assert first.startswith("> **Dry run: would delete 297 tags")
    assert first.endswith("Nothing was deleted.** Set `dry-run: false` to delete them.")
    assert "set `dry-run: false`" in render(samples.nothing_to_do(), CONTEXT).splitlines()[3]
    for name in ("blocked", "refused_plan", "applied", "no_login"):
        assert "dry-run: false" not in render(samples.ALL[name](), CONTEXT)


def test_apply_command_is_shown() -> None:
    context = Context(apply="acr-cleanup apply cleanup.yaml")

    assert "To delete them: `acr-cleanup apply cleanup.yaml`" in render(samples.planned(), context)
    assert "2. Delete them: `acr-cleanup apply cleanup.yaml`" in render(samples.planned(), context)


def test_tag_kept_only_by_a_lock_is_a_warning() -> None:
    text = render(samples.planned(), CONTEXT)

    assert (
        "- `jobs/importer`: `1.1.0`, `1.0.3` are old and unused, but kept: the tag is locked in the registry." in text
    )
    assert "`az acr repository update --name contoso --image REPOSITORY:TAG" in text
    assert "| `jobs/importer` ⚠️&nbsp;2&nbsp;locked |" in text


def test_summary_names_the_files_and_how_to_keep_them() -> None:
    text = render(samples.planned(), CONTEXT)

    assert "`acr-cleanup/plan.json`. Keep them with `actions/upload-artifact`." in text


PROBLEMS = ConfigurationError(
    (
        Problem("kubernetes_clusters.production.name", "It is missing.", "Write the name that `az aks list` shows."),
        Problem("older-than", "'6m' may mean minutes or months.", "Write 0h6m or 180d."),
    ),
    where="cleanup.yaml",
)


def test_every_configuration_problem_is_shown() -> None:
    golden.check("problems.md", render_problems(PROBLEMS))
    assert render_failure(PROBLEMS) == render_problems(PROBLEMS)


def test_unexpected_error_is_shown() -> None:
    golden.check("unforeseen.md", render_failure(ValueError("it broke"), deleting=True))

    assert "Nothing was deleted" in render_failure(ValueError("it broke"))
    assert "Nothing was deleted" not in render_failure(ValueError("it broke"), deleting=True)


def test_own_error_shows_place_and_remedy() -> None:
    error = IdentityError("There is no login.", where="the environment", remedy="Run `az login`.")

    assert "- `the environment`<br>There is no login.<br>→ Run `az login`." in render_failure(error)


@pytest.mark.parametrize("text", hostile.TEXTS)
def test_hostile_problems_are_escaped(text: str) -> None:
    problems = ConfigurationError((Problem(text, text, text),) * 3, where=text)

    for shown in (render_problems(problems), render_failure(ValueError(text)), render_failure(IdentityError(text))):
        assert set(elements(shown)) <= OURS | {f"/{element}" for element in OURS}
        assert whole(shown)
        assert html(shown).count("<li>") == (3 if "### Problems" in shown else 1)
        assert "::" not in shown
        assert not re.search(r"##\[|##vso", shown)
        assert all(line.isprintable() for line in shown.replace("\u200b", "").splitlines())


def test_many_problems_fit_a_summary() -> None:
    problems = tuple(Problem(f"clusters[{number}]", "x" * 10_000, "y" * 10_000) for number in range(1000))
    text = render_problems(ConfigurationError(problems))

    assert len(text.encode()) < GITHUB.budget
    assert "1,000 problems" in text
    assert "… and 900 more in the log" in text


@pytest.mark.parametrize("world", hostile.WORLDS)
def test_hostile_text_is_escaped(world: str) -> None:
    text = render(hostile.WORLDS[world](), CONTEXT)

    assert set(elements(text)) <= OURS | {f"/{element}" for element in OURS}
    assert whole(text)
    assert "::" not in text
    assert not re.search(r"##\[|##vso", text)
    assert "://" not in re.sub(r"`[^`]*`", "", text)
    assert all(line.isprintable() for line in text.replace("\u200b", "").splitlines())
    if world == EMPTY:
        return
    # The numbers of tables, rows and cells are those of a harmless name.
    assert re.findall(r"<(?:table|tr|td)>", html(text)) == re.findall(
        r"<(?:table|tr|td)>", html(render(hostile.result("harmless"), CONTEXT))
    )
