"""The state behind every emulated service: plain mutable values which a test, or the demo, fills and inspects."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from acr_cleanup.emulator.faults import Budget, Fault
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.state import RegistryState
from acr_cleanup.emulator.requests import RequestRecord

Face = Literal["direct", "proxy"]

# What GitHub and Azure Pipelines call themselves in the tokens of their jobs.
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
PIPELINES_ISSUER = "https://vstoken.dev.azure.com/33333333-3333-3333-3333-333333333333"


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """Lets a client prove itself with a token of another issuer, as GitHub and Azure Pipelines do."""

    client_id: str
    issuer: str
    subject: str
    audience: str = "api://AzureADTokenExchange"


@dataclass(slots=True)
class Directory:
    """The Entra ID tenant: which clients exist and how each may prove itself."""

    tenant: str = "11111111-1111-1111-1111-111111111111"
    client_id: str = "22222222-2222-2222-2222-222222222222"
    client_secret: str = "emulator-secret"
    # Further clients and their secrets; an empty set means that the client exists and has none.
    secrets: dict[str, set[str]] = field(default_factory=dict)
    federated: list[FederatedCredential] = field(default_factory=list)
    # Seconds until an access token of Entra ID expires.
    token_lifetime: float = 3600
    # What the two pipeline services say in the tokens that they issue.
    github_request_token: str = "github-request-token"
    github_subject: str = "repo:contoso/shop:ref:refs/heads/main"
    pipelines_access_token: str = "pipelines-access-token"
    pipelines_subject: str = "sc://contoso/shop/azure"

    def secrets_of(self, client_id: str) -> set[str] | None:
        """The secrets of a client, None when the tenant does not know it."""
        known = set(self.secrets.get(client_id, ()))
        if client_id == self.client_id:
            return known | {self.client_secret}
        if client_id in self.secrets or any(f.client_id == client_id for f in self.federated):
            return known
        return None


@dataclass(slots=True)
class World:
    """
    Everything there is. May be filled before or after the emulator starts, and changed at any moment.

    `face` says which host names the world uses of itself: `direct` is localhost with ports, `proxy` the real names.
    In the direct face the registry's login server is known only after the start: build image names with
    `world.registry.image(...)`.
    """

    face: Face = "direct"
    registry: RegistryState = field(default_factory=RegistryState)
    # By the name of the AKS cluster.
    clusters: dict[str, ClusterState] = field(default_factory=dict)
    directory: Directory = field(default_factory=Directory)
    faults: list[Fault] = field(default_factory=list)
    # By rate category (see faults.py); a category without a budget is not limited.
    budgets: dict[str, Budget] = field(default_factory=dict)
    # Seconds that every answer takes.
    latency: float = 0.0
    requests: list[RequestRecord] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        # The registry dates its pushes by the same clock, even when a test exchanges that clock later.
        self.registry.clock = lambda: self.clock()  # noqa: PLW0108  (looks the clock up anew)

    def matching(
        self,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
    ) -> list[RequestRecord]:
        """The requests of one service, method, status and whose decoded path contains a match of the regex `path`."""
        return [
            record
            for record in self.requests
            if (service is None or record.service == service)
            and (method is None or record.method == method)
            and (status is None or record.status == status)
            and (path is None or re.search(path, record.path))
        ]

    def count(
        self,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
    ) -> int:
        """How many requests `matching` finds."""
        return len(self.matching(service=service, method=method, path=path, status=status))
