"""The command line: flags as people type them, one-line errors, help, completion, JSON."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup import __version__, cli, version
from acr_cleanup.cli.parser import SHELLS, VERBS
from acr_cleanup.cli.usage import FLAGS, parse
from acr_cleanup.settings import InputKind
from acr_cleanup.settings.option import Purpose
from tests.helpers.stage import REPOSITORY, staged_over_tls
from tests.helpers.tool_processes import run_process, write_config

SWITCHES = [option for option in FLAGS if option.kind.input is InputKind.BOOLEAN]


def parsed(line: str) -> Any:
    return parse(shlex.split(line), cli.parser())


def refused(capsys: pytest.CaptureFixture[str], line: str) -> str:
    """The one line on stderr of a wrong usage."""
    with pytest.raises(SystemExit) as end:
        parsed(line)
    captured = capsys.readouterr()
    assert (end.value.code, captured.out) == (2, "")
    (text,) = captured.err.splitlines()
    return text


# -- flags as people type them ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("--backup", "true"),
        ("--no-backup", "false"),
        ("--backup true", "true"),
        ("--backup False", "false"),
        ("--backup=TRUE", "TRUE"),
        ("--backup=perhaps", "perhaps"),
        ("", None),
    ],
)
def test_switch_takes_a_truth_value_or_none(typed: str, value: str | None) -> None:
    """A wrong value is a problem of the settings, which report all problems at once."""
    for place in (f"{typed} acr-cleanup.json 30", f"acr-cleanup.json 30 {typed}"):
        arguments = parsed(f"plan {place}")
        assert (arguments.backup, str(arguments.config), arguments.days) == (value, "acr-cleanup.json", "30")


@pytest.mark.parametrize("option", SWITCHES, ids=[option.name for option in SWITCHES])
def test_every_switch_leaves_the_file_to_the_command(option: Any) -> None:
    verb = "plan" if option.purpose & Purpose.ALL else "collect"
    for typed, value in ((f"--{option.name}", "true"), (f"--no-{option.name}", "false")):
        arguments = parsed(f"{verb} {typed} file.json")
        assert (getattr(arguments, option.key), arguments.config) == (value, Path("file.json"))


def test_several_switches_may_follow_each_other() -> None:
    arguments = parsed("plan --backup --delete-untagged --no-verify file.json --use-regex false")

    assert (arguments.backup, arguments.delete_untagged, arguments.verify, arguments.use_regex) == (
        "true",
        "true",
        "false",
        "false",
    )
    assert arguments.config == Path("file.json")


def test_underscores_may_stand_for_dashes() -> None:
    arguments = parsed("plan --older_than 7d --delete_untagged --keep_last=3 --no_verify --exclude-tags a_b")

    assert (arguments.older_than, arguments.delete_untagged, arguments.keep_last) == ("7d", "true", "3")
    assert (arguments.verify, arguments.exclude_tags) == ("false", ["a_b"])


@pytest.mark.parametrize("flag", ["--config", "--config-file"])
def test_configuration_file_may_be_a_flag(flag: str) -> None:
    assert parsed(f"plan {flag} file.json").config == Path("file.json")
    assert parsed(f"explain shop/web:1 {flag}=file.json").config == Path("file.json")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        (
            "explain shop/web:1 --format json a.yaml",
            {"target": "shop/web:1", "config": Path("a.yaml"), "format": "json"},
        ),
        ("apply a.yaml --keep-last 3 30", {"config": Path("a.yaml"), "days": "30", "keep_last": "3"}),
        ("collect --out o --only edge a.yaml", {"config": Path("a.yaml"), "only": ["edge"]}),
    ],
)
def test_arguments_may_stand_behind_flags(line: str, values: dict[str, object]) -> None:
    assert values.items() <= vars(parsed(line)).items()


def test_arguments_after_two_dashes_are_values() -> None:
    assert parsed("plan -- file.json").config == Path("file.json")


def test_values_of_flags_are_text() -> None:
    """The settings parse them, and the next steps of a report repeat them."""
    arguments = parsed("plan --report-dir out --keep-last 3 --older-than 7d --exclude-tags a --exclude-tags b --backup")

    for option in FLAGS:
        value = getattr(arguments, option.key)
        assert value is None or isinstance(value, str) or all(isinstance(item, str) for item in value)
    assert arguments.report_dir == "out"


# -- one-line errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "acr-cleanup: Name a command, such as plan or demo. See acr-cleanup --help."),
        ("paln", "acr-cleanup: There is no command 'paln'. Did you mean plan? See acr-cleanup --help."),
        ("purge", "acr-cleanup: There is no command 'purge'. See acr-cleanup --help."),
        ("--help-me", "acr-cleanup: There is no flag --help-me. Did you mean --help? See acr-cleanup --help."),
        (
            "plan --older-then 30d",
            "acr-cleanup plan: There is no flag --older-then. Did you mean --older-than? See acr-cleanup plan --help.",
        ),
        ("plan --older-then=30d", "There is no flag --older-then. Did you mean --older-than?"),
        ("plan -older-than 30d", "There is no flag -older-than. Did you mean --older-than?"),
        ("plan --Older-Than 30d", "There is no flag --Older-Than. Did you mean --older-than?"),
        ("plan --older 30d", "There is no flag --older. Did you mean --older-than?"),
        ("plan --no-backups", "There is no flag --no-backups."),
        ("plan --no-scope", "There is no flag --no-scope."),
        ("plan --no-backup=true", "There is no flag --no-backup."),
        ("plan --exclude-tag a", "There is no flag --exclude-tag. Did you mean --exclude-tags?"),
        ("plan --dry-run", "There is no flag --dry-run. plan shows what apply would delete."),
        ("apply --yes", "There is no flag --yes. Nothing is asked: apply deletes."),
        ("plan --ago 30d", "There is no flag --ago. Write --older-than."),
        ("plan --verbose", "There is no flag --verbose. Write --log-level debug."),
        ("plan --plan plan.json", "There is no flag --plan."),
        ("plan --out", "--out needs a value."),
        ("plan a.json 30 more", "'more' is one argument too many."),
        ("plan a.json --config b.json", "The configuration file is given twice."),
        ("plan --format yaml", "--format: 'yaml' is not one of text, json."),
        ("permissions --format bicp", "Did you mean bicep?"),
        ("collect a.json", "--out is missing."),
        ("explain", "TARGET is missing."),
        ("completion", "SHELL is missing."),
        ("completion tcsh", "SHELL: 'tcsh' is not one of bash, zsh, fish."),
        ("restore --backup journal.jsonl", "There is no flag --backup."),
        ("plan '--\x1b[31m'", "acr-cleanup plan: "),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], line: str, text: str) -> None:
    error = refused(capsys, line)

    assert text in error
    assert error.endswith("--help.")
    assert error.isprintable()


# -- help, version, completion ---------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
def test_help_has_an_example_that_is_valid_and_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: Any, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as end:
        parse([verb.name, "--help"], cli.parser())
    text = capsys.readouterr().out

    assert end.value.code == 0
    assert f"Example:\n  acr-cleanup {verb.example}\n" in text
    assert parsed(verb.example.partition(" > ")[0]).command == verb.name
    longest = max((line for line in text.splitlines() if not line.startswith("  acr-cleanup")), key=len)
    assert len(longest) <= columns, longest


def test_help_groups_flags_and_names_their_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        parsed("plan --help")
    text = capsys.readouterr().out

    for heading in ("what to clean:", "what to keep:", "safety:", "advanced:"):
        assert f"\n{heading}\n" in text
    assert "--older-than AGE" in text
    assert "--backup {true,false}" in text
    assert "--keep-last N" in text
    assert "--no-FLAG means false" in text
    assert "KEEP_LAST" not in text


def test_version_names_the_commit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parsed("--version")

    assert end.value.code == 0
    assert capsys.readouterr().out == f"acr-cleanup {version()}\n"
    assert version().startswith(__version__)


def test_version_reads_the_commit_of_an_image_or_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import acr_cleanup  # noqa: PLC0415

    package = tmp_path / "acr_cleanup"
    package.mkdir()
    monkeypatch.setattr(acr_cleanup, "__file__", str(package / "__init__.py"))
    sha, other = "0123456789abcdef" * 2 + "01234567", "f" * 40
    assert version() == __version__

    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{other} refs/heads/old\n{sha} refs/heads/main\n")
    assert version() == f"{__version__} (commit 0123456789ab)"
    (git / "refs" / "heads" / "main").write_text(f"{other}\n")
    assert version() == f"{__version__} (commit ffffffffffff)"
    (git / "HEAD").write_text(f"{sha}\n")
    assert version() == f"{__version__} (commit 0123456789ab)"
    (git / "HEAD").write_text("\x1b[31m\n")
    assert version() == __version__
    (package / "COMMIT").write_text(other)
    assert version() == f"{__version__} (commit ffffffffffff)"


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_names_commands_flags_and_values(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed")
    assert cli.run(["completion", shell], {}) == 0
    script = capsys.readouterr().out

    for word in ("explain", "older-than", "no-backup", "running", "completion"):
        assert word in script
    assert "config-file" not in script or shell == "bash"


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="shtab is not installed")
    assert cli.run(["completion", "bash"], {}) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)

    def completed(*words: str) -> set[str]:
        line = f"source {script}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        line += 'function=$(complete -p acr-cleanup | sed "s/.*-F \\([^ ]*\\).*/\\1/"); $function acr-cleanup '
        line += f"{shlex.join([words[-1], words[-2]])}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert {"plan", "permissions"} <= completed("acr-cleanup", "p")
    assert completed("acr-cleanup", "plan", "--older") == {"--older-than"}
    assert completed("acr-cleanup", "plan", "--scope", "re") == {"referenced"}
    assert {"--no-backup"} <= completed("acr-cleanup", "apply", "--no-b")


# -- the report as JSON ----------------------------------------------------------------------------


async def test_format_json_prints_only_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        ended = await run_process(stage, "plan", write_config(stage), "--format", "json")

    assert ended.code == 0
    assert json.loads(ended.out) == ended.report
    assert set(ended.report["planned_tags"]) == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}
    assert "clusters: 1 of 1" in ended.err


async def test_format_json_prints_a_refused_report_and_nothing_for_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        refusal = await run_process(stage, "apply", write_config(stage), "--format=json", "--max-deletions=1")
        wrong = await run_process(stage, "plan", write_config(stage), "--format=json", "--older-than", "never")

    assert (refusal.code, json.loads(refusal.out)["verdict"]) == (3, "refused")
    assert (wrong.code, wrong.out) == (2, "")
