"""A usage snapshot for the tests of its writer and its reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.snapshots import write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "usage.json")


@pytest.fixture
def whole(path: Path) -> bytes:
    return path.read_bytes()
