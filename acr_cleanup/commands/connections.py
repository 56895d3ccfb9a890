"""How every command opens the login and the registry of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from acr_cleanup.access.azure import Azure
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages import connect

if TYPE_CHECKING:
    from acr_cleanup.registry.acr import AcrRegistry

REFUSED = 3
"""The exit code if something refuses: a blocker, a limit, a login or the registry. Nothing was deleted."""


def open_azure(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Azure]:
    """Open the network and the login of these settings. Raises `IdentityError`."""
    return connect.open_azure(settings.cloud, settings.login, environ, id_tokens=runtime.id_token, mask=runtime.mask)


def open_registry(
    azure: Azure, settings: Settings, *, include_locked: bool = False, bodies: BodyMemory | None = None
) -> AbstractAsyncContextManager[AcrRegistry]:
    """Open the registry of these settings. include_locked, bodies: see `stages.connect.open_registry`."""
    return connect.open_registry(
        azure,
        settings.registry,
        audience=settings.cloud.audience,
        concurrency=settings.concurrency,
        include_locked=include_locked,
        bodies=bodies,
    )
