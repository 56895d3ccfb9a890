"""Files and tests that the documentation names as evidence exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from acr_cleanup.reports.formats import FORMATS
from tests.helpers.paths import ROOT

THREATS = ROOT / ".github" / "SECURITY.md"
EMULATOR = ROOT / "docs" / "emulator.md"
PAGES = (THREATS, EMULATOR, ROOT / "docs" / "testing.md")
PATH = re.compile(r"`([\w./-]+/[\w./-]*|[\w-]+\.py)(?:::(\w+))?`")
FOLDERS = (ROOT, ROOT / "acr_cleanup", ROOT / "docs")


def named_paths(page: Path) -> Iterator[tuple[str, str]]:
    """Yield (path, test function or "") of each file or folder that a page names."""
    for path, function in PATH.findall(page.read_text(encoding="utf-8")):
        first = path.partition("/")[0]
        if path.endswith((".py", ".sh")) or any((folder / first).is_dir() for folder in FOLDERS if first):
            yield path, function


def threat_rows() -> list[list[str]]:
    """Return the cells of each row of the tables of threats."""
    lines = THREATS.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [row for row in rows if row[0] not in {"they may try to", "---"}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_of_a_page_exist(page: Path) -> None:
    missing = []
    for path, function in named_paths(page):
        file = next((folder / path for folder in FOLDERS if (folder / path).exists()), None)
        if file is None or (function and f"def {function}(" not in file.read_text(encoding="utf-8")):
            missing.append(f"{path}::{function}")
    assert missing == []


def test_each_threat_names_its_test() -> None:
    """A threat without a test is accepted by design, and the row says so."""
    rows = threat_rows()
    assert len(rows) > 20
    assert [row[0] for row in rows if "`tests/" not in row[-1] and not row[-1].startswith("by design")] == []


def test_emulator_page_names_every_comparison() -> None:
    page = EMULATOR.read_text(encoding="utf-8")
    files = [
        *(ROOT / "tests/emulator").rglob("test_*conformance.py"),
        *(ROOT / "tests/emulator").rglob("test_recordings.py"),
    ]
    assert len(files) >= 5
    assert [str(file.relative_to(ROOT)) for file in files if str(file.relative_to(ROOT)) not in page] == []


def test_command_line_page_names_each_report_file() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert [entry.file_name for entry in FORMATS if f"`{entry.file_name}`" not in page] == []
