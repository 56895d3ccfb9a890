"""Writes pulls into the log of a `stage`, and makes its runs read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.stage import Stage

LONG_AGO = timedelta(days=200)


def logged(stage: Stage, options: Mapping[str, str] | None = None, *, reach: timedelta = LONG_AGO) -> None:
    """Log since `reach` ago, and keep what was pulled in 90 days."""
    stage.world.logs.enable()
    stage.world.logs.write("Push", datetime.now(UTC) - reach, "shop/web", "0.1")
    stage.options = {"pulled-within": "90d", **(options or {})}


def pulled(stage: Stage, tag: str = "", digest: str = "", *, days: float = 10, **more: Any) -> None:
    repository = more.pop("repository", "shop/web")
    stage.world.logs.write("Pull", datetime.now(UTC) - timedelta(days=days), repository, tag, digest, **more)
