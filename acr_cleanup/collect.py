"""Reads the clusters that this machine can reach into a usage snapshot, and decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings


async def collect(
    settings: Settings, runtime: Runtime, environ: Mapping[str, str], *, out: Path, only: Collection[str] = ()
) -> int:
    """Read the clusters (`only` these, by their keys) into the usage snapshot `out`, and return the exit code."""
    raise NotImplementedError
