"""Globs and regular expressions that select repositories and tags."""

from __future__ import annotations

from datetime import timedelta

import pytest

from acr_cleanup.errors import ConfigurationError
from acr_cleanup.settings.load import load_settings
from tests.helpers.config_files import ConfigFiles


@pytest.mark.parametrize(
    ("exclude", "include", "expected"),
    [
        (None, None, ("latest",)),
        (["v1"], None, ("latest", "v1")),
        (["v1", "latest"], None, ("v1", "latest")),
        ("", None, ("latest",)),
        (None, ["*"], ("latest",)),
        ([], None, ()),
        (None, ["latest"], ()),
        (["v1"], ["latest", "v*"], ("v1",)),
    ],
)
def test_latest_is_excluded_unless_asked_for(
    files: ConfigFiles, exclude: object, include: object, expected: tuple[str, ...]
) -> None:
    """
    Only an empty exclude list or the name `latest` itself asks for it.

    Another exclusion does not.
    """
    options = {"exclude_tags": exclude, "include_tags": include}
    assert files.load(options).policy.exclude_tags == expected


@pytest.mark.parametrize(
    ("exclude", "include", "expected"),
    [
        (None, None, ("latest",)),
        (None, [".*", "l.*"], ("latest",)),
        (None, ["late(st)"], ("latest",)),
        (None, ["latest", "v.*"], ()),
        (None, ["!latest"], ("latest",)),
        ([], None, ()),
        (["v.*"], None, ("latest", "v.*")),
        (["latest"], None, ("latest",)),
    ],
)
def test_regex_excludes_latest_unless_named_literally(
    files: ConfigFiles, exclude: object, include: object, expected: tuple[str, ...]
) -> None:
    options = {"exclude_tags": exclude, "include_tags": include, "use_regex": True}
    assert files.load(options).policy.exclude_tags == expected


@pytest.mark.parametrize("key", ["repositories", "include_tags"])
def test_exclamation_mark_excludes_names(files: ConfigFiles, key: str) -> None:
    """It is valid only in lists where excluding a name keeps more."""
    for use_regex, written in ((False, ["v*", "!v2", "[!a]*", "![!b]*"]), (True, ["v.*", "!v[0-9]{1,2}", "!*"])):
        policy = files.load({key: written, "use_regex": use_regex}).policy
        assert getattr(policy, key) == tuple(written)
    for wrong in ("!", "!!x"):
        for use_regex in (False, True):
            problem = files.problems({key: [wrong], "use_regex": use_regex})[key]
            assert problem.seen == f"'{wrong}' has no pattern after the !."


@pytest.mark.parametrize("use_regex", [False, True])
def test_exclamation_mark_in_exclude_tags_is_refused(files: ConfigFiles, use_regex: bool) -> None:
    """There it would delete more tags."""
    problem = files.problems({"exclude_tags": ["v1", "!v1-beta"], "use_regex": use_regex})["exclude_tags"]
    assert problem.seen == "'!v1-beta' begins with an exclamation mark."
    assert "that may be deleted in include_tags" in problem.remedy
    assert files.load({"exclude_tags": ["[!v]*"]}).policy.exclude_tags == ("latest", "[!v]*")


def test_unquoted_exclamation_mark_in_yaml_is_refused(files: ConfigFiles) -> None:
    """In YAML it begins a tag, and the pattern would silently be an empty text."""
    path = files.write("include_tags:\n  - !release-*\n", "config.yaml")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {}, {})
    assert "quote a text that begins with !" in str(caught.value.problems[0].seen)


def test_regex_lists_are_split_by_lines_only(files: ConfigFiles) -> None:
    """
    A comma belongs to a repetition count.

    The file may set use_regex for the patterns of the inputs, and the other way round.
    """
    text = "v{1,3}\n  # a comment\n  dev-.{2,}  \n"
    expected = ("v{1,3}", "dev-.{2,}")
    assert files.load(None, {"include-tags": text, "use-regex": "TRUE"}).policy.include_tags == expected
    assert files.load({"use_regex": True}, {"include-tags": text}).policy.include_tags == expected
    assert files.load({"include_tags": text}, {"use_regex": "true"}).policy.include_tags == expected
    assert files.load({"include_tags": list(expected), "use_regex": True}).policy.include_tags == expected
    assert files.load(None, {"include-tags": list(expected), "use-regex": "true"}).policy.include_tags == expected
    globs = files.load({"use_regex": True}, {"include-tags": "a*,b*", "use-regex": "false"}).policy
    assert (globs.include_tags, globs.use_regex) == (("a*", "b*"), False)


def test_invalid_use_regex_is_the_only_problem(files: ConfigFiles) -> None:
    """The patterns are not checked, since their kind is unknown."""
    assert set(files.problems({"use_regex": "perhaps", "include_tags": ["v{1,3}", "(x"]})) == {"use_regex"}
    assert set(files.problems({"include_tags": ["v{1,3}"]}, {"use-regex": "perhaps"})) == {"use-regex"}


@pytest.mark.parametrize("key", ["repositories", "include_tags", "exclude_tags"])
@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        ("(?!v).*", "'(?!v).*' is not a regular expression of RE2: invalid perl operator: (?!."),
        ("(a)\\1", "is not a regular expression of RE2: invalid escape sequence: \\1."),
        ("(a", "'(a' is not a regular expression of RE2: missing ): (a."),
        ("*-keep", "'*-keep' looks like a glob, and use_regex is true."),
        ("release-*", "'release-*' looks like a glob, and use_regex is true."),
        ("v1*", "'v1*' looks like a glob, and use_regex is true."),
        ("team/*/api", "'team/*/api' looks like a glob, and use_regex is true."),
        ("v1.*,v2.*", "'v1.*,v2.*' contains a comma, and names have no commas."),
        ("v1 v2", "'v1 v2' contains a space, and names have no spaces."),
        ("\ud800", "is not a regular expression of RE2: it is not valid Unicode text."),
    ],
)
def test_invalid_or_suspicious_regex_is_refused(files: ConfigFiles, key: str, pattern: str, seen: str) -> None:
    """
    As a regular expression, a glob or a list would match no tag.

    The tags it was meant for would not be kept.
    """
    for written in (pattern,) if key == "exclude_tags" else (pattern, f"!{pattern}"):
        problem = files.problems({key: ["v.*", written], "use_regex": True})[key]
        assert seen.split("' ", 1)[-1] in problem.seen
        assert len(problem.seen) < 200
    if "RE2" in seen:
        assert "no look-arounds and no back references" in problem.remedy


@pytest.mark.parametrize(
    "pattern", ["*", ".*", r"\d*", r"v\d+(-rc)*", "[a-z]*", "(v)*", r"\w*-x", "v1|v2", "a{2,}", "(?i)V1", "x-.*"]
)
def test_ordinary_regex_is_not_taken_for_a_glob(files: ConfigFiles, pattern: str) -> None:
    policy = files.load({"exclude_tags": [pattern], "include_tags": [pattern], "use_regex": True}).policy
    assert (policy.use_regex, policy.include_tags, policy.exclude_tags) == (True, (pattern,), ("latest", pattern))


# -- keep_last_by ----------------------------------------------------------------------------------


def test_keep_last_by_takes_one_group(files: ConfigFiles) -> None:
    policy = files.load({"keep_last": 2}, {"keep-last-by": " ^(dev|main)-(?:x{1,2}) "}).policy
    assert (policy.keep_last, policy.keep_last_by, policy.use_regex) == (2, "^(dev|main)-(?:x{1,2})", False)
    assert files.load({"keep_last": 2, "keep_last_by": "(?P<branch>[a-z]+)"}).policy.keep_last_by


@pytest.mark.parametrize(
    ("pattern", "seen"),
    [
        ("^dev-", "'^dev-' has no group, and keep_last_by needs exactly one."),
        ("(?:dev)", "'(?:dev)' has no group, and keep_last_by needs exactly one."),
        ("(a)-(b)", "'(a)-(b)' has 2 groups, and keep_last_by needs exactly one."),
        ("(a(b))", "'(a(b))' has 2 groups, and keep_last_by needs exactly one."),
        ("(dev(?=-))", "'(dev(?=-))' is not a regular expression of RE2: invalid perl operator: (?=."),
        ("(dev", "'(dev' is not a regular expression of RE2: missing ): (dev."),
    ],
)
def test_keep_last_by_without_one_group_is_refused(files: ConfigFiles, pattern: str, seen: str) -> None:
    assert files.problems({"keep_last": 1, "keep_last_by": pattern})["keep_last_by"].seen == seen
    assert files.problems({"keep_last": 1}, {"keep-last-by": pattern})["keep-last-by"].seen == seen


def test_keep_last_by_without_keep_last_is_refused(files: ConfigFiles) -> None:
    """It would keep no tag, although its writer expects that."""
    for more in ({}, {"keep_last": 0}):
        problems = files.problems({"keep_last_by": "(dev)", **more})
        assert problems["keep_last_by"].seen == "keep_last is 0, so keep_last_by keeps no tag."
    assert set(files.problems({"keep_last_by": "(dev)", "keep_last": "x"})) == {"keep_last"}
    assert set(files.problems({"keep_last_by": "(dev)"}, {"keep-last": "x"})) == {"keep-last"}


# -- pulls -----------------------------------------------------------------------------------------


def test_ignore_pulls_by_takes_globs_on_user_agents(files: ConfigFiles) -> None:
    """Unlike patterns for tags, they may have spaces and signs."""
    agent = "Docker-Client/24.0 (linux; *)"
    settings = files.load({"pulled_within": 90, "ignore_pulls_by": [agent], "use_regex": True})
    assert (settings.pulled_within, settings.ignore_pulls_by) == (timedelta(days=90), (agent,))


@pytest.mark.parametrize("pattern", ["*", "**", "?*", "!trivy/*"])
def test_ignore_pulls_by_for_everyone_is_refused(files: ConfigFiles, pattern: str) -> None:
    problem = files.problems({"pulled_within": 90, "ignore_pulls_by": [pattern]})["ignore_pulls_by"]
    assert "would ignore every pull" in problem.seen


def test_ignore_pulls_by_without_pulled_within_is_refused(files: ConfigFiles) -> None:
    problem = files.problems({"ignore_pulls_by": ["trivy/*"]})["ignore_pulls_by"]
    assert problem.remedy == "Set pulled_within, or remove ignore_pulls_by."
    assert set(files.problems({"ignore_pulls_by": ["trivy/*"], "pulled_within": "x"})) == {"pulled_within"}
