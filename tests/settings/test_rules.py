"""The rules in the file and as the YAML text of an input."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.policy import Rule
from acr_cleanup.core.removal import Hold
from acr_cleanup.core.rule_set import PolicyRule
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.settings.load import load_settings

README = """
rules:
  - {name: previews, tags: pr-*, older_than: 7d}
  - {name: releases, tags: [v*, "!v*-rc*"], keep: true}
older_than: 30d
"""


def read(tmp_path: Path, text: str, **overrides: Any) -> tuple[PolicyRule, ...]:
    path = tmp_path / "acr-cleanup.yaml"
    path.write_text(f"kubernetes_clusters: {{a: {{snapshot: a.json}}}}\ncontainer_registry: {{url: contoso}}\n{text}")
    settings = load_settings(path, overrides, {})
    assert settings.policy.rules == settings.rules
    return settings.rules


def problems(tmp_path: Path, text: str, **overrides: Any) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, text, **overrides)
    return raised.value.problems


def test_rules_of_the_readme(tmp_path: Path) -> None:
    assert read(tmp_path, README) == (
        PolicyRule("previews", tags=("pr-*",), older_than=timedelta(days=7)),
        PolicyRule("releases", tags=("v*", "!v*-rc*"), keep=True),
    )


def test_rule_inherits_the_age_of_the_top_level_and_nothing_else(tmp_path: Path) -> None:
    """Also if the age comes from a flag or from DAYS."""
    text = "rules: [{name: r}, {name: s, older_than: ~, keep_last: ~}]\nkeep_last: 5\nkeep_last_by: ^(a)\n"

    assert [(rule.older_than.days, rule.keep_last, rule.keep_last_by) for rule in read(tmp_path, text)] == [
        (30, 0, "")
    ] * 2
    assert [rule.older_than.days for rule in read(tmp_path, text, **{"older-than": "12d"})] == [12, 12]


def test_rule_without_a_free_name_is_called_by_its_number(tmp_path: Path) -> None:
    rules = read(tmp_path, "rules: [{tags: a}, {name: web, tags: b}, {name: web, tags: c}, {name: 7, tags: d}]")

    assert [(rule.name, rule.name_taken) for rule in rules] == [
        ("#1", ""),
        ("web", ""),
        ("web (#3)", "web"),
        ("7", ""),
    ]


def test_input_replaces_the_rules_of_the_file(tmp_path: Path) -> None:
    text = "- {name: previews, tags: pr-*, older_than: 7d}\n- keep: true\n"

    assert [rule.name for rule in read(tmp_path, "rules: [{name: file}]", rules=text)] == ["previews", "#2"]
    for nothing in ("", "# none yet", "  \n"):
        assert [rule.name for rule in read(tmp_path, "rules: [{name: file}]", rules=nothing)] == ["file"]
    assert read(tmp_path, "rules: [{name: file}]", rules="[]") == ()


@pytest.mark.parametrize(
    "text", ["previews 7d", "a: b", "pr-*=7d", "- [", "- *", "7", "- {a: 1, a: 2}", "\x00", "- !x y"]
)
def test_input_that_is_no_yaml_list_is_one_problem(tmp_path: Path, text: str) -> None:
    (problem,) = problems(tmp_path, "", rules=text)

    assert problem.path == "rules"
    assert problem.remedy


@pytest.mark.parametrize(
    ("rule", "key", "seen"),
    [
        ("scope: all", "scope", "top level"),
        ("max_deletions: 5", "max_deletions", "top level"),
        ("include_tags: a", "include_tags", "Write tags"),
        ("exclude_tags: a", "exclude_tags", "exclamation mark"),
        ("keep_last_of: tags", "keep_last_of", "top level"),
        ("kubernetes_clusters: {}", "kubernetes_clusters", "top level"),
        ("older-than: 7d", "older-than", "Did you mean older_than?"),
        ("tag: pr-*", "tag", "Did you mean tags?"),
        ("keep: [a]", "keep", "true or false"),
        ("keep: perhaps", "keep", "neither true nor false"),
        ("keep: true, older_than: 7d", "older_than", "no effect"),
        ("keep: true, keep_last: 2", "keep_last", "no effect"),
        ("keep: true, pulled_within: 9d", "pulled_within", "no effect"),
        ("keep_last_by: ^(a)", "keep_last_by", "inherit"),
        ("tags: []", "tags", "match nothing"),
        ("repositories: []", "repositories", "match nothing"),
        ("tags: 'a b'", "tags", "cannot match"),
        ("older_than: 6m", "older_than", "minutes or months"),
        ("keep_last: -1", "keep_last", "out of range"),
        ("name: ''", "name", "empty"),
        ("name: 'a`b'", "name", "cannot be the name"),
        (f"name: {'x' * 61}", "name", "cannot be the name"),
        ('name: "\\u001b[31m"', "name", "cannot be the name"),
    ],
)
def test_wrong_rule_is_one_problem_with_its_place(tmp_path: Path, rule: str, key: str, seen: str) -> None:
    (problem,) = problems(tmp_path, f"rules: [{{name: fine}}, {{{rule}}}]")

    assert problem.path == f"rules[1].{key}"
    assert seen in f"{problem.seen} {problem.remedy}"


@pytest.mark.parametrize("name", [*Rule, *Hold, "In use", "KEEP_LIST", "Out Of Scope"])
def test_name_of_a_built_in_reason_is_refused(tmp_path: Path, name: str) -> None:
    (problem,) = problems(tmp_path, f"rules: [{{name: {name}}}]")

    assert problem.path == "rules[0].name"
    assert "built-in reason" in problem.seen


@pytest.mark.parametrize("key", ["name: web", "tags: pr-*"])
def test_key_of_a_rule_at_the_top_level_is_sent_into_a_rule(tmp_path: Path, key: str) -> None:
    (problem,) = problems(tmp_path, key)

    assert "belongs in a rule" in problem.seen


@pytest.mark.parametrize("text", ["rules: previews", "rules: {name: a}", "rules: 7"])
def test_rules_that_are_no_list_are_one_problem(tmp_path: Path, text: str) -> None:
    (problem,) = problems(tmp_path, text)

    assert "list of rules" in problem.seen


def test_rule_that_is_no_mapping_is_one_problem(tmp_path: Path) -> None:
    assert [problem.path for problem in problems(tmp_path, "rules: [previews, [a], ~]")] == [
        "rules[0]",
        "rules[1]",
        "rules[2]",
    ]


def test_log_is_read_for_the_longest_window(tmp_path: Path) -> None:
    """Also if only a rule has one, which then makes ignore_pulls_by useful."""
    path = tmp_path / "acr-cleanup.yaml"
    for text, days in (
        ("rules: [{pulled_within: 90d}]\nignore_pulls_by: [trivy/*]", 90),
        ("rules: [{pulled_within: 90d}]\npulled_within: 120d", 120),
        ("rules: [{pulled_within: 90d}]\npulled_within: 30d", 90),
        ("rules: [{tags: a}]", None),
    ):
        path.write_text(
            f"kubernetes_clusters: {{a: {{snapshot: a.json}}}}\ncontainer_registry: {{url: contoso}}\n{text}"
        )
        window = load_settings(path, {}, {}).pull_window
        assert window == (None if days is None else timedelta(days=days))


def test_five_hundred_rules_are_read(tmp_path: Path) -> None:
    text = "\n".join(
        f"- {{name: team {number}, repositories: 'team{number}/*', older_than: 7d}}" for number in range(500)
    )

    assert len(read(tmp_path, "", rules=text)) == 500


def test_patterns_of_rules_follow_use_regex(tmp_path: Path) -> None:
    (rule,) = read(tmp_path, "use_regex: true\nrules: [{tags: ['pr-\\d{1,3}']}]")

    assert rule.tags == ("pr-\\d{1,3}",)
    (problem,) = problems(tmp_path, "use_regex: true\nrules: [{tags: pr-*}]")
    assert "looks like a glob" in problem.seen
