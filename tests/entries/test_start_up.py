"""`--version` and `--help` are answered without slow imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from acr_cleanup import version
from acr_cleanup.__main__ import entry
from acr_cleanup.cli import run
from tests.bench.starting import SDKS, imported
from tests.helpers.paths import ROOT


def test_quick_version_equals_version_of_parser(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--version` is answered before the parser is imported, with the same text."""
    monkeypatch.setattr(sys, "argv", ["acr-cleanup", "--version"])
    entry()
    quick = capsys.readouterr().out

    with pytest.raises(SystemExit) as end:
        run(["--version"], {})

    assert end.value.code == 0
    assert quick == capsys.readouterr().out == f"acr-cleanup {version()}\n"


def test_container_answers_version_without_the_parser() -> None:
    """With arguments, the entrypoint is a command line, even in GitHub Actions."""
    command = [sys.executable, "-X", "importtime", "entrypoint.py", "--version"]
    environ = {**os.environ, "GITHUB_ACTIONS": "true"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=environ)

    assert (done.returncode, done.stdout) == (0, f"acr-cleanup {version()}\n")
    assert "acr_cleanup.__main__" in done.stderr
    assert "acr_cleanup.cli" not in done.stderr
    assert "pydantic" not in done.stderr


def test_unknown_flag_is_reported_by_the_parser() -> None:
    """The module of `python -m` passes everything but `--version` to the parser."""
    done = subprocess.run(
        [sys.executable, "-m", "acr_cleanup", "--version-please"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 2
    assert (
        done.stderr
        == "acr-cleanup: There is no flag --version-please. Did you mean --version? See acr-cleanup --help.\n"
    )


@pytest.mark.parametrize("arguments", [("plan", "--help"), ("--version",)])
def test_help_imports_no_sdk(arguments: tuple[str, ...]) -> None:
    """The SDKs take more than a second to import."""
    assert imported(*arguments).isdisjoint(SDKS)


def test_help_imports_only_the_table_of_options() -> None:
    """Importing any of the other packages takes longer than parsing the arguments."""
    assert imported("plan", "--help").isdisjoint(
        {"pydantic", "pydantic_core", "yaml", "rich", "asyncio", "msgspec", "re2"}
    )
