"""Answers for one tag or manifest: stays or goes, for which reasons, and who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings


async def explain(target: str, settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> int:
    """Read the clusters and one repository, say all that speaks for and against `target`, and return the exit code."""
    raise NotImplementedError


def explain_report(target: str, report: Path, runtime: Runtime) -> int:
    """The same from the `report.json` of a run: what was known then."""
    raise NotImplementedError
