"""What it takes to answer before there is any work to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from acr_cleanup import __version__
from acr_cleanup.__main__ import entry
from acr_cleanup.cli import run
from tests.bench.starting import SDKS, imported
from tests.helpers.paths import ROOT


def test_the_quick_answer_to_version_is_the_one_of_the_parser(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--version` is answered before the parser is imported: nobody may notice."""
    monkeypatch.setattr(sys, "argv", ["acr-cleanup", "--version"])
    entry()
    quick = capsys.readouterr().out

    with pytest.raises(SystemExit) as end:
        run(["--version"], {})

    assert end.value.code == 0
    assert quick == capsys.readouterr().out == f"acr-cleanup {__version__}\n"


def test_the_container_answers_to_version_as_quickly() -> None:
    """With words after its name it is a command line, wherever it runs; and nothing follows the answer."""
    words = [sys.executable, "-X", "importtime", "entrypoint.py", "--version"]
    environ = {**os.environ, "GITHUB_ACTIONS": "true"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False, env=environ)

    assert (done.returncode, done.stdout) == (0, f"acr-cleanup {__version__}\n")
    assert "acr_cleanup.__main__" in done.stderr
    assert "acr_cleanup.cli" not in done.stderr
    assert "pydantic" not in done.stderr


def test_everything_else_reaches_the_parser() -> None:
    """Wrong usage is told by the command line itself, through the module that `python -m` runs."""
    done = subprocess.run(
        [sys.executable, "-m", "acr_cleanup", "--version-please"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 2
    assert "usage: acr-cleanup" in done.stderr


@pytest.mark.parametrize("arguments", [("plan", "--help"), ("--version",)])
def test_help_imports_no_sdk(arguments: tuple[str, ...]) -> None:
    """The SDKs take more than a second to import; who only asks for help must not wait for them."""
    assert imported(*arguments).isdisjoint(SDKS)
