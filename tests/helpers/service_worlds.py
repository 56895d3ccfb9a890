"""An emulated Azure with other services, and how to read them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from acr_cleanup.access.registry_place import RegistryPlace
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.core.mentions import ListedNames
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import ClusterScan, Outside
from acr_cleanup.emulator.services import SUBSCRIPTION, ServicesState
from acr_cleanup.services.reader import ServiceSearch
from acr_cleanup.services.scan import read_services
from acr_cleanup.stages.read import ServiceTexts
from tests.helpers.emulated_clusters import Edge, edge

OTHER = "99999999-9999-9999-9999-999999999999"
IMAGE = "contoso.azurecr.io/shop"
REGISTRY_ID = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-acr/providers/Microsoft.ContainerRegistry/registries/contoso"
)


@dataclass(frozen=True)
class Found:
    """The result of reading: the scans by subscription, and the services outside of them."""

    scans: dict[str, ClusterScan]
    outside: Outside

    @property
    def images(self) -> set[str]:
        """The used images, without the host."""
        return {
            str(use.reference).partition("/")[2].removeprefix("shop/")
            for scan in self.scans.values()
            for use in scan.uses
        }

    def mentioned(self, repository: str, *tags: str) -> set[str]:
        """Return which of these tags of a repository are mentioned."""
        listed = ListedNames(repository, dict.fromkeys(tags))
        return {tag for scan in self.scans.values() for tag in scan.mentions.of(listed).by_tag}

    @property
    def users(self) -> set[str]:
        return {str(use.workload) for scan in self.scans.values() for use in scan.uses}

    @property
    def blocked(self) -> list[str]:
        """The places of the blockers."""
        return [blocker.where for scan in self.scans.values() for blocker in scan.blockers]

    @property
    def notes(self) -> str:
        return "\n".join(note for scan in self.scans.values() for note in scan.notes)


class ServiceWorld:
    """A world of services. `at` reaches it."""

    def __init__(self, at: Edge) -> None:
        self.at = at

    @property
    def state(self) -> ServicesState:
        return self.at.world.services

    def fault(self, **fields: Any) -> None:
        from acr_cleanup.emulator.faults import Fault  # noqa: PLC0415

        self.at.world.faults.append(Fault(service="arm", **fields))

    def withhold(self, type_: str) -> None:
        """Take the right to read resources of this type away: lists leave them out."""
        self.at.world.access.withhold(f"{type_}/read", f"/subscriptions/{SUBSCRIPTION}")

    def requests(self, path: str = "") -> int:
        return self.at.world.count(service="arm", path=path)

    async def read(self, **search: Any) -> Found:
        """Read the services. `search`: fields of `ServiceSearch`."""
        registry = self.at.world.registry
        host = RegistryHost(registry.login_server)
        texts = ServiceTexts(Names.of(host, ("shop/tool", "shop/cli")))
        fields: dict[str, Any] = {
            "place": RegistryPlace(host, registry.subscription_id, registry.resource_group),
            "subscriptions": (SUBSCRIPTION,),
            "read_text": texts.read,
        }
        scans, outside = await read_services(ServiceSearch(**(fields | search)), self.at.azure)
        scans = tuple(replace(scan, mentions=texts.mentions(scan.cluster)) for scan in scans)
        return Found({scan.cluster.removeprefix("azure:"): scan for scan in scans}, outside)


@asynccontextmanager
async def service_world(monkeypatch: pytest.MonkeyPatch | None = None) -> AsyncIterator[ServiceWorld]:
    """Serve a world of services. With `monkeypatch`, the SDK does not pause between two attempts."""
    if monkeypatch is not None:

        async def no_pause(*_: object, **__: object) -> None: ...

        monkeypatch.setattr("azure.core.pipeline.policies.AsyncRetryPolicy.sleep", no_pause)
    async with edge(in_memory=True) as at:
        yield ServiceWorld(at)
