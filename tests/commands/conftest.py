"""Fixtures of the commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.stage import Stage, shorten_pauses, staged


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Serve `shop/web`: 1.0 and 1.1 are old and unused, 2.0 runs. Retries do not wait."""
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as served:
        yield served
