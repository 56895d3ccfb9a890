"""Reads the registry's cache rules: which images of other registries it holds, and where."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from acr_cleanup.access.arm_fields import first
from acr_cleanup.access.arm_requests import NotRegisteredError, Requests, Resource
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.access.resource_manager import open_manager
from acr_cleanup.quoting import quoted

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
    problem: str = ""
    """Why the rules could not be read, in a sentence; "" if they were read, or if their place is not known."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _readers: int = 0
    _answer: tuple[Resource, ...] | None = None
    _is_unknown: bool = False

    async def read(self) -> tuple[Resource, ...] | None:
        """
        Return the rules; None if they cannot be read.

        Without them, an image that a workload names by its upstream host is not recognised, unless `mirrors` names the
        host. Rules that cannot be read are not an error: `warnings` says so.
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

    @property
    def warnings(self) -> tuple[str, ...]:
        """The consequence if the rules could not be read."""
        follows = "An image that a workload names by its upstream host is protected only if `mirrors` names that host."
        return (f"The cache rules of the registry were not read: {self.problem} {follows}",) if self.problem else ()

    async def _request(self) -> tuple[Resource, ...] | None:
        registry, subscription = self.place.resource_id, (self.place.subscription or "").lower()
        if not registry:
            # No warning: most configurations that do not say where the registry is have no cache rules either.
            if not self._is_unknown:
                log.info(
                    "The cache rules are not read: subscription_id and resource_group of the registry are not set."
                )
            self._is_unknown = True
            return None
        try:
            async with asyncio.timeout(_SECONDS), open_manager(self.azure) as manager:
                requests = Requests(manager, subscription, asyncio.Semaphore(1))
                rules = tuple(await requests.list(f"{registry}/cacheRules", API_VERSION))
        except NotRegisteredError:
            rules = ()
        except ReadFailure as failure:
            self.problem = f"{failure.seen} {failure.remedy}".strip()
            return None
        except Exception as error:  # more is kept with them, and a run works without
            log.debug("reading the cache rules of the registry", exc_info=True)
            self.problem = f"{type(error).__name__}: {quoted(error)}.".replace(": .", ".")
            return None
        self.problem = ""
        return rules


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
