"""Golden files: the words of a report, to be read in a review. `UPDATE_GOLDEN=1 pytest tests/reports` writes them anew."""

from __future__ import annotations

import os

from tests.helpers.paths import ROOT

_FOLDER = ROOT / "tests" / "reports" / "golden"


def check(name: str, text: str) -> None:
    """Is `text` what the golden file says? Trailing spaces do not count: no one sees them."""
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    path = _FOLDER / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8")
