"""Reads the registry's cache rules: which images of other registries it holds, and where."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import Requests, Resource
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.access.resource_manager import open_manager

API_VERSION = "2025-11-01"
_SECONDS = 60

log = logging.getLogger("acr_cleanup")


@dataclass
class CacheRules:
    """
    The cache rules of one registry.

    Readers that ask at the same time share one answer. A later one, such as the second look, asks again.
    """

    azure: Azure
    place: RegistryPlace
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _readers: int = 0
    _answer: tuple[Resource, ...] | None = None

    async def read(self) -> tuple[Resource, ...] | None:
        """
        Return the rules; None if they cannot be read.

        Without them, an image that a workload names by its upstream host is not recognised, unless `mirrors` names the
        host. So rules that cannot be read are logged, and are no error.
        https://learn.microsoft.com/azure/container-registry/artifact-cache-overview
        """
        self._readers += 1
        try:
            async with self._lock:
                if self._answer is None:
                    self._answer = await self._request()
                return self._answer
        finally:
            self._readers -= 1
            if not self._readers:
                self._answer = None

    async def _request(self) -> tuple[Resource, ...] | None:
        registry, subscription = self.place.resource_id, (self.place.subscription or "").lower()
        if not registry:
            return None
        try:
            async with asyncio.timeout(_SECONDS), open_manager(self.azure) as manager:
                requests = Requests(manager, subscription, asyncio.Semaphore(1))
                return tuple(await requests.list(f"{registry}/cacheRules", API_VERSION))
        except Exception as error:  # noqa: BLE001  more is kept with them, and a run works without
            log.info(
                "The cache rules of the registry cannot be read, so only `mirrors` names upstream hosts: %s", error
            )
            return None


def mirrors_of(rules: Sequence[Resource] | None) -> dict[str, str]:
    """Return upstream prefix -> folder of this registry."""
    fields = ("properties.sourceRepository", "properties.targetRepository")
    return mirrored_prefixes(tuple(str(first(rule.body, field) or "") for field in fields) for rule in rules or ())


def mirrored_prefixes(rules: Iterable[Sequence[str]]) -> dict[str, str]:
    """
    The prefixes of cache rules, without their `*`.

    >>> mirrored_prefixes([("docker.io/library/*", "hub/library/*"), ("ghcr.io/x/y", "y")])
    {'docker.io/library': 'hub/library', 'ghcr.io/x/y': 'y'}
    """
    return {
        source.removesuffix("*").rstrip("/"): target.removesuffix("*").rstrip("/") for source, target in rules if source
    }
