"""
Golden files: texts that a reviewer can read. `UPDATE_GOLDEN=1 pytest FOLDER` updates them.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.helpers.paths import ROOT

_FOLDER = ROOT / "tests" / "reports" / "golden"


def check(name: str, text: str, folder: Path = _FOLDER) -> None:
    """
    Assert that `text` equals the golden file, except for trailing spaces, which are invisible.
    """
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    path = folder / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8")
