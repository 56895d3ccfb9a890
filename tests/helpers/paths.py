"""
Folders that tests read: the project, its test data, and the public recordings next to the project.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"

SHARED = ROOT.parent / "shared" / "data"
"""
Public recordings. They are not part of the project: tests that read them skip where it is absent.
"""
