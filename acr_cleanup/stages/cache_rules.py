"""Reads the registry's cache rules: which images of other registries it holds, and where."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from acr_cleanup.access.arm_errors import Subscription, arm_problem
from acr_cleanup.access.azure import Azure
from acr_cleanup.access.resource_manager import list_resources, open_manager
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.stages.soft_delete import READER

API_VERSION = "2023-07-01"
_SECONDS = 60

log = logging.getLogger("acr_cleanup")


class _Properties(msgspec.Struct, rename="camel"):
    source_repository: str = ""
    target_repository: str = ""


class _CacheRule(msgspec.Struct):
    properties: _Properties


async def read_cache_rules(
    azure: Azure, host: RegistryHost, subscription: str | None, group: str | None
) -> dict[str, str]:
    """
    Return upstream prefix -> folder of this registry, from its cache rules.

    Without them, an image that a workload names by its upstream host is not recognised, unless `mirrors` names the host.
    So rules that cannot be read are logged, and are no error.
    https://learn.microsoft.com/azure/container-registry/artifact-cache-overview
    """
    if subscription is None or group is None:
        return {}
    name = host.login_server.partition(".")[0]
    path = (
        f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry"
        f"/registries/{name}/cacheRules"
    )
    try:
        async with asyncio.timeout(_SECONDS), open_manager(azure) as manager:
            with arm_problem("read the cache rules of the registry", Subscription(subscription), role=READER):
                client = await manager.client(subscription)
                rules = msgspec.convert(await list_resources(client, path, API_VERSION), list[_CacheRule])
    except Exception as error:  # noqa: BLE001  more is kept with them, and a run works without
        log.info("The cache rules of the registry cannot be read, so only `mirrors` names upstream hosts: %s", error)
        return {}
    return mirrors_of((rule.properties.source_repository, rule.properties.target_repository) for rule in rules)


def mirrors_of(rules: Iterable[tuple[str, str]]) -> dict[str, str]:
    """
    The prefixes of cache rules, without their `*`.

    >>> mirrors_of([("docker.io/library/*", "hub/library/*"), ("ghcr.io/x/y", "y")])
    {'docker.io/library': 'hub/library', 'ghcr.io/x/y': 'y'}
    """
    return {
        source.removesuffix("*").rstrip("/"): target.removesuffix("*").rstrip("/") for source, target in rules if source
    }
