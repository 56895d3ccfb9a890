"""Reads the names of the registry: of its repositories, or of everything in them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from acr_cleanup.concurrency import gather
from acr_cleanup.errors import RegistryClosed, RegistryForbidden
from acr_cleanup.records.names import NamedRepository, RegistryNames
from acr_cleanup.runtimes.base import Level, Progress, Runtime
from acr_cleanup.stages.registry_port import REPOSITORIES_AT_ONCE, Registry


async def read_repository_names(registry: Registry, runtime: Runtime) -> frozenset[str] | None:
    """
    Return the names of all repositories; None if the identity may not list them, which is logged.

    Raises `RegistryError` for a list that is refused otherwise, or is not complete, and for a registry
    that refuses every call: without used repositories, no other request would notice.
    """
    try:
        return frozenset(await registry.catalog())
    except RegistryClosed:
        raise
    except RegistryForbidden as error:
        runtime.log(Level.INFO, f"The clusters are read twice, because the repositories cannot be listed. {error}")
        return None


async def read_registry_names(
    registry: Registry, login_server: str, repositories: Collection[str], progress: Progress, read_at: datetime
) -> RegistryNames:
    """Return the tags and digests of these repositories. Raises `RegistryError`."""
    registry.announce(sorted(repositories))
    named: list[NamedRepository] = []

    async def read(name: str) -> None:
        inventory = await registry.list_repository(name)
        digests = sorted(inventory.manifests.keys() | inventory.tags_of.keys())
        named.append(NamedRepository(name, sorted(tag.name for tag in inventory.tags), list(digests)))
        progress("repositories", len(named), len(repositories), name)

    progress("repositories", 0, len(repositories), "")
    await gather([partial(read, name) for name in sorted(repositories)], limit=REPOSITORIES_AT_ONCE)
    return RegistryNames(login_server, read_at, tuple(sorted(named, key=lambda repository: repository.name)))
