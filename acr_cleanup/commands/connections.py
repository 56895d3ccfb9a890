"""How every command opens the login, the registry and the clusters of its settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.ignored_kinds import ignored_kinds
from acr_cleanup.clusters.target import Waiver
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.core.outcome import Undo
from acr_cleanup.core.pulls import PULL_LOG
from acr_cleanup.core.usage import SERVICES
from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages import connect as stage
from acr_cleanup.stages.cache_rules import CacheRules
from acr_cleanup.stages.read import ConfiguredClusters, ServiceChoice, UsageSources
from acr_cleanup.stages.read_repository import never
from acr_cleanup.stages.registry_port import Registry
from acr_cleanup.stages.soft_delete import RegistryPolicies

if TYPE_CHECKING:
    from acr_cleanup.registry.acr import AcrRegistry

REFUSED = 3
"""The exit code if something refuses: a blocker, a limit, a login or the registry. Nothing was deleted."""


def open_azure(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> AbstractAsyncContextManager[Azure]:
    """Open the network and the login of these settings. Raises `IdentityError`."""
    return stage.open_azure(settings.cloud, settings.login, environ, id_tokens=runtime.id_token, mask=runtime.mask)


def open_registry(
    azure: Azure, settings: Settings, *, include_locked: bool = False, bodies: BodyMemory | None = None
) -> AbstractAsyncContextManager[AcrRegistry]:
    """Open the registry of these settings. include_locked, bodies: see `stages.connect.open_registry`."""
    return stage.open_registry(
        azure,
        settings.registry,
        audience=settings.cloud.audience,
        concurrency=settings.concurrency,
        include_locked=include_locked,
        bodies=bodies,
    )


async def _unknown() -> Undo:
    return Undo()


async def _done() -> None:
    return None


@dataclass(frozen=True)
class Connections:
    """Everything outside this process that a run reads or changes."""

    registry: Registry
    sources: UsageSources
    read_soft_delete: Callable[[], Awaitable[Undo]] = _unknown
    """Asks Azure whether deleted manifests can be restored."""
    untagged_expire: Callable[[], Awaitable[bool]] = never
    """Asks Azure whether a policy of the registry may delete manifests without a tag."""
    log_in: Callable[[], Awaitable[None]] = _done
    """Asks for every token that the run will need."""
    bodies: BodyMemory = field(default_factory=BodyMemory)
    """The manifest bodies that the client of the registry knows."""


@asynccontextmanager
async def connect(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> AsyncIterator[Connections]:
    """Open the login, the registry and the clusters of these settings."""
    bodies = BodyMemory()
    async with (
        open_azure(settings, runtime, environ) as azure,
        open_registry(azure, settings, include_locked=settings.policy.include_locked, bodies=bodies) as registry,
    ):
        policies = RegistryPolicies(azure, settings.registry_place)
        yield Connections(
            registry,
            configured_clusters(azure, settings),
            partial(policies.can_restore, backup=settings.backup),
            policies.untagged_expire,
            partial(stage.log_in, azure, token_scopes(settings)),
            bodies,
        )


def token_scopes(settings: Settings) -> dict[str, str]:
    """Return the scopes of all tokens that these settings need, and what they are for."""
    azure = settings.services - {"auto"} or settings.subscriptions or settings.registry_subscription_id
    scopes = {settings.cloud.registry_scope: f"the registry {settings.registry.login_server}"}
    if azure or any(target.in_azure for target in settings.clusters):
        scopes[settings.cloud.resource_manager_scope] = "Azure Resource Manager"
    if settings.pull_window and Waiver(SERVICES, PULL_LOG) not in settings.waive:
        scopes[f"{settings.cloud.log_analytics}/.default"] = "Log Analytics"
    for target in settings.clusters:
        for scope in target.token_scopes():
            scopes.setdefault(scope, f"the API server of {target.key}")
    return scopes


def service_choice(settings: Settings) -> ServiceChoice:
    """Return which services of Azure these settings read."""
    return ServiceChoice(
        settings.services,
        required=settings.require_all_services,
        revisions=settings.container_app_revisions,
        site_snapshots=settings.app_service_snapshots,
        concurrency=settings.concurrency,
    )


def configured_clusters(azure: Azure, settings: Settings) -> ConfiguredClusters:
    """Return the clusters of these settings."""
    return ConfiguredClusters(
        azure,
        settings.registry_place,
        settings.clusters,
        settings.helm_history,
        (*settings.waive, *(replace(waiver, workloads=True) for waiver in settings.waive_workloads)),
        dict(settings.mirrors),
        CacheRules(azure, settings.registry_place),
        ignored_kinds(settings.ignore_kinds),
        settings.subscriptions,
        unlisted_block=settings.require_all_clusters,
        services=service_choice(settings),
        pulled_within=settings.pull_window,
        ignore_pulls_by=settings.ignore_pulls_by,
        shows_addresses=settings.log_level == "debug",
    )
