"""Reads the names of the registry: of its repositories, or of everything in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from functools import partial

from acr_cleanup.concurrency import gather
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.errors import RegistryClosed, RegistryError, RegistryForbidden
from acr_cleanup.quoting import quoted
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


async def read_named_usage(
    names: frozenset[str] | None,
    read: Callable[[frozenset[str] | None], Awaitable[UsageIndex]],
    registry: Registry,
    runtime: Runtime,
) -> tuple[frozenset[str] | None, UsageIndex]:
    """
    Read what is in use, and return it with the names that were searched for.

    The registry's list of repositories can leave out some, and look complete
    (https://github.com/Azure/acr/issues/875). If one of them is used, everything is read again, for
    mentions of it.
    """
    usage = await read(names)
    left_out = frozenset[str]() if names is None else await _left_out(usage, names, registry)
    if names is None or not left_out:
        return names, usage
    listed = quoted(", ".join(sorted(left_out)))
    runtime.log(Level.INFO, f"The clusters are read again, because the registry's list of repositories lacks {listed}.")
    names |= left_out
    return names, await read(names)


async def _left_out(usage: UsageIndex, names: frozenset[str], registry: Registry) -> frozenset[str]:
    """Return the repositories that are used and have tags, and are not among the names."""
    used = sorted(name for name in usage.repositories - names if not name.endswith("/"))
    registry.announce(used)
    left_out: list[str] = []

    async def ask(name: str) -> None:
        try:
            listed = await registry.list_names(name)
        except RegistryError:
            # The plan keeps a repository that cannot be read.
            return
        if listed.tags or listed.manifests:
            left_out.append(name)

    await gather([partial(ask, name) for name in used], limit=REPOSITORIES_AT_ONCE)
    return frozenset(left_out)


async def read_registry_names(
    registry: Registry, login_server: str, repositories: Collection[str], progress: Progress, read_at: datetime
) -> RegistryNames:
    """Return the tags and digests of these repositories. Raises `RegistryError`."""
    registry.announce(sorted(repositories))
    named: list[NamedRepository] = []

    async def read(name: str) -> None:
        inventory = await registry.list_repository(name)
        names = inventory.listed_names
        named.append(NamedRepository(name, sorted(names.tags), sorted(names.digests)))
        progress("repositories", len(named), len(repositories), name)

    progress("repositories", 0, len(repositories), "")
    await gather([partial(read, name) for name in sorted(repositories)], limit=REPOSITORIES_AT_ONCE)
    return RegistryNames(login_server, read_at, tuple(sorted(named, key=lambda repository: repository.name)))
