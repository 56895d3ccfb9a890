"""What is asked of the readers of services, and what was read in one subscription."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from acr_cleanup.access.permissions import may
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.services.images import ReadText
from acr_cleanup.services.reader import Reader, TypeReading
from acr_cleanup.services.table import ServiceGroup


@dataclass(frozen=True, slots=True)
class ServiceSearch:
    """
    What to read.

    subscriptions: where; further ones are found by Resource Graph unless `only_these`.
    registry_subscription, registry_group: where the registry is, if it is known.
    groups: which services: names of `ServiceGroup`, or `auto` for all.
    required: a subscription that is not seen as a whole is a blocker.
    revisions, site_snapshots: as in `Reader`.
    known_clusters: resource ids of the configured clusters, and hosts of their API servers, in lower case.
    pullers: also list who else may pull.
    """

    registry: RegistryHost
    subscriptions: tuple[str, ...]
    read_text: ReadText
    only_these: bool = False
    registry_subscription: str | None = None
    registry_group: str | None = None
    groups: frozenset[str] = frozenset({"auto"})
    required: bool = False
    waived: Collection[str] = ()
    revisions: int = sys.maxsize
    site_snapshots: int = 0
    known_clusters: Collection[str] = ()
    pullers: bool = True
    concurrency: int = 8

    @property
    def reads_registry(self) -> bool:
        """Is anything below the registry itself selected?"""
        return self.reads(ServiceGroup.REGISTRY_TASKS) or self.reads(ServiceGroup.CONNECTED_REGISTRIES)

    def reads(self, group: ServiceGroup | None) -> bool:
        """Is this group selected? Types without a group are read if all are."""
        return "auto" in self.groups or group in self.groups


@dataclass(slots=True)
class SubscriptionReading:
    """
    What was read in one subscription.

    permissions: what the identity may do on the whole of it; None if they could not be read.
    """

    subscription: str
    reader: Reader
    types: list[TypeReading]
    permissions: list[dict[str, Any]] | None
    refused: ReadFailure | None = None

    def sees(self, type_: str) -> bool:
        """May the identity read every resource of this type?"""
        return self.permissions is not None and may(self.permissions, f"{type_}/read")
