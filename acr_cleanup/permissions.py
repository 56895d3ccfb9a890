"""Prints the rights that a configuration needs: a ClusterRole, and Azure role assignments."""

from __future__ import annotations

from collections.abc import Mapping

from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings


async def permissions(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> int:
    """Print them, and return the exit code."""
    raise NotImplementedError
