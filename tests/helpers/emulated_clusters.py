"""Clusters in the emulator, read with the real SDKs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import Any

import pytest

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.credentials import open_credential
from acr_cleanup.access.network import open_network
from acr_cleanup.clusters.api_server.client import Patience
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.scan_clusters import scan_clusters
from acr_cleanup.clusters.target import Access, ClusterTarget, Search
from acr_cleanup.clusters.targets import AksCluster
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import ClusterScan
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.world import Face
from tests.emulator.kubernetes.run_command import run_command
from tests.helpers.in_memory_world import MemoryEmulator, connect_in_memory

FIELDS = {field.name for field in fields(Azure)}
HASTY = Patience(attempts=2, busy_attempts=4, connect=2, read=2, request=5, pause=0.01, longest_pause=0.02)


REPOSITORIES = (
    "shop/web",
    "shop/report",
    "shop/db",
    "shop/worker",
    "shop/side",
    "shop/agent",
    "shop/helper",
    "shop/proxy",
)
"""The repositories that the tests' clusters name."""


class Edge:
    """The clusters of one world, and how to scan them."""

    def __init__(self, emulator: Emulator, registry: RegistryHost, azure: Azure) -> None:
        self.emulator = emulator
        self.world = emulator.world
        self.azure = azure
        self._registry = registry

    async def scan(self, *targets: ClusterTarget, **options: Any) -> tuple[ClusterScan, ...]:
        """
        Scan these targets. Options that are fields of `Azure` replace its fields; others go to
        `scan_clusters`.
        """
        azure = {key: options.pop(key) for key in FIELDS & options.keys()}
        names = Names.of(self._registry, options.pop("repositories", REPOSITORIES), options.pop("mirrors", {}))
        search = Search(names, options.pop("helm_history", 0), options.pop("ignore_kinds", frozenset()))
        return await scan_clusters(targets, search, replace(self.azure, **azure), **({"patience": HASTY} | options))

    async def read(self, access: Access = Access.AUTO, **options: Any) -> ClusterScan:
        """Scan the only cluster of the world."""
        (cluster,) = self.world.clusters.values()
        (scan,) = await self.scan(target(cluster, access), **options)
        return scan


def target(cluster: ClusterState, access: Access = Access.AUTO) -> AksCluster:
    return AksCluster("prod", cluster.name, cluster.subscription_id, cluster.resource_group, access)


@asynccontextmanager
async def edge(
    *clusters: ClusterState, registry: RegistryHost | None = None, face: Face = "direct", in_memory: bool = False
) -> AsyncIterator[Edge]:
    """
    Emulate a world of these clusters. `registry` is by default the world's own.

    `in_memory`: with the real names, and without sockets: for tests that run no other process.
    """
    face = "proxy" if in_memory else face
    world = World(face=face, clusters={cluster.name: cluster for cluster in clusters}, run_command=run_command)
    with pytest.MonkeyPatch.context() as patched:
        if in_memory:
            connect_in_memory(patched)
        async with MemoryEmulator(world) if in_memory else Emulator(world) as emulator:
            environment = dict(os.environ) if in_memory else emulator.environment()
            manager = emulator.resource_manager if face == "direct" else "https://management.azure.com"
            authority = emulator.authority_url if face == "direct" else "https://login.microsoftonline.com"
            cloud = Cloud(authority, manager, manager, "azurecr.io")
            async with open_network(environment) as network, open_credential(cloud, network, environment) as credential:
                azure = Azure.of(cloud, network, credential)
                yield Edge(emulator, registry or RegistryHost(world.registry.login_server), azure)


def shop(name: str = "aks-prod", host: str = "contoso.azurecr.io", **settings: Any) -> ClusterState:
    """
    Return a small cluster: an updated Deployment, a CronJob between runs, a StatefulSet with no
    replicas.
    """
    cluster = ClusterState(name, **settings)
    image = f"{host}/shop"
    cluster.run(build.deployment("shop", "web", [f"{image}/web:2"]), history=[[f"{image}/web:1"]])
    cluster.run(build.cronjob("batch", "nightly", [f"{image}/report:7"]))
    cluster.run(build.statefulset("shop", "db", [f"{image}/db:3"], replicas=0))
    return cluster


SHOP = {
    "contoso.azurecr.io/shop/web:1",
    "contoso.azurecr.io/shop/web:2",
    "contoso.azurecr.io/shop/report:7",
    "contoso.azurecr.io/shop/db:3",
}
