"""The state of all emulated services: mutable values that a test or the demo fills and inspects."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from acr_cleanup.emulator.faults import Budget, Fault
from acr_cleanup.emulator.kubernetes.state import ClusterState, CommandResult
from acr_cleanup.emulator.logs import LogsState
from acr_cleanup.emulator.registry.state import RegistryState
from acr_cleanup.emulator.requests import RequestRecord
from acr_cleanup.emulator.roles import AccessControl
from acr_cleanup.emulator.services import ServicesState

Face = Literal["direct", "proxy"]

# The issuers in the ID tokens of GitHub's and Azure Pipelines' jobs.
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
PIPELINES_ISSUER = "https://vstoken.dev.azure.com/33333333-3333-3333-3333-333333333333"


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """A federated credential: a client logs in with the token of another issuer, such as GitHub."""

    client_id: str
    issuer: str
    subject: str
    audience: str = "api://AzureADTokenExchange"


@dataclass(slots=True)
class Directory:
    """The Entra ID tenant: its clients and their credentials."""

    tenant: str = "11111111-1111-1111-1111-111111111111"
    client_id: str = "22222222-2222-2222-2222-222222222222"
    client_secret: str = "emulator-secret"
    # Further clients and their secrets. A client with an empty set exists without a secret.
    secrets: dict[str, set[str]] = field(default_factory=dict)
    federated: list[FederatedCredential] = field(default_factory=list)
    # The lifetime of an access token of Entra ID, in seconds.
    token_lifetime: float = 3600
    # The request tokens of the two pipeline services, and the subjects of the ID tokens they issue.
    github_request_token: str = "github-request-token"
    github_subject: str = "repo:contoso/shop:ref:refs/heads/main"
    pipelines_access_token: str = "pipelines-access-token"
    pipelines_subject: str = "sc://contoso/shop/azure"
    # A part of an audience -> the error number with which tokens for it are refused.
    refused_audiences: dict[str, int] = field(default_factory=dict)

    def secrets_of(self, client_id: str) -> set[str] | None:
        """Return the secrets of a client, or None if the tenant has no such client."""
        known = set(self.secrets.get(client_id, ()))
        if client_id == self.client_id:
            return known | {self.client_secret}
        if client_id in self.secrets or any(f.client_id == client_id for f in self.federated):
            return known
        return None


@dataclass(slots=True)
class World:
    """
    The state of all services. It may be filled before or after the emulator starts, and changed at
    any time.

    `face`: the host names that the services use: `direct` is localhost with ports, `proxy` the real
    names. With `direct`, the registry's login server is known only after the start, so build image
    names with `world.registry.image(...)`.
    """

    face: Face = "direct"
    registry: RegistryState = field(default_factory=RegistryState)
    # By the name of the AKS cluster.
    clusters: dict[str, ClusterState] = field(default_factory=dict)
    # Executes a run command (tests/emulator/kubernetes/run_command.py). Without it, clusters refuse them.
    run_command: Callable[..., Coroutine[Any, Any, CommandResult]] | None = None
    directory: Directory = field(default_factory=Directory)
    access: AccessControl = field(default_factory=AccessControl)
    services: ServicesState = field(default_factory=ServicesState)
    logs: LogsState = field(default_factory=LogsState)
    faults: list[Fault] = field(default_factory=list)
    # By rate category (see faults.py). A category without a budget has no limit.
    budgets: dict[str, Budget] = field(default_factory=dict)
    # The delay of every answer, in seconds.
    latency: float = 0.0
    requests: list[RequestRecord] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        # The registry uses the clock of the world, also if a test replaces that clock later.
        self.registry.clock = lambda: self.clock()  # noqa: PLW0108  (reads the attribute on each call)

    def matching(
        self,
        *,
        service: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
    ) -> list[RequestRecord]:
        """
        Return the requests with these values.

        `path`: a regex that the decoded path must contain.
        """
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
        """Return the number of requests that `matching` returns."""
        return len(self.matching(service=service, method=method, path=path, status=status))
