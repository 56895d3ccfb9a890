"""Opens the network, the login and the registry. The SDKs are imported here, at the first use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.entra_codes import UNKNOWN_RESOURCE
from acr_cleanup.access.federation import LoginChoice
from acr_cleanup.clusters.api_server.kubeconfig import AKS_SCOPE
from acr_cleanup.concurrency import gather
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.errors import IdentityError

if TYPE_CHECKING:
    from acr_cleanup.registry.acr import AcrRegistry


@asynccontextmanager
async def open_azure(
    cloud: Cloud,
    login: LoginChoice,
    environ: Mapping[str, str],
    *,
    id_tokens: Callable[[str], Awaitable[str]],
    mask: Callable[[str], None],
) -> AsyncIterator[Azure]:
    """
    Open one network session and one login for all clients of a run.

    Raises `IdentityError` if no login can be used.

    id_tokens: returns a token of this job for an audience; see `Runtime.id_token`.
    mask: receives every secret that must not be logged.
    """
    # The SDKs take more than a second to import; a wrong configuration must not wait for them.
    from acr_cleanup.access.credentials import open_credential  # noqa: PLC0415
    from acr_cleanup.access.network import open_network  # noqa: PLC0415

    async with (
        open_network(environ) as network,
        open_credential(cloud, network, environ, login, id_tokens=id_tokens, mask=mask) as credential,
    ):
        yield Azure.of(cloud, network, credential)


async def log_in(azure: Azure, scopes: Mapping[str, str]) -> None:
    """
    Ask for a token of each scope, side by side. Raises `IdentityError` for the first refusal.

    scopes: scope -> the name of what it is for, for messages.

    A login may give one token and refuse the next: `az` with the token of a job that has expired since, or a
    policy for one application. That is found here, before the clusters are read.
    https://github.com/Azure/azure-cli/issues/28708
    """

    async def ask(scope: str, name: str) -> None:
        try:
            await azure.credential.get_token(scope)
        except IdentityError as error:
            if error.code == UNKNOWN_RESOURCE and scope == AKS_SCOPE:
                # The tenant never had a cluster with Entra ID. Clusters with local accounts need no token.
                return
            seen = f"{error.seen} The token was for {name}."
            raise IdentityError(seen, where=error.where, remedy=error.remedy, code=error.code) from error

    await gather([partial(ask, scope, name) for scope, name in scopes.items()], limit=max(1, len(scopes)))


@asynccontextmanager
async def open_registry(
    azure: Azure,
    host: RegistryHost,
    *,
    audience: str,
    concurrency: int,
    include_locked: bool = False,
    bodies: BodyMemory | None = None,
) -> AsyncIterator[AcrRegistry]:
    """
    Open the registry to read and delete.

    audience: of the tokens that the registry takes.
    concurrency: requests in flight at once.
    include_locked: also ask for the right to remove locks.
    bodies: what is known of manifests; what is read is added.
    """
    from acr_cleanup.registry import acr, tokens  # noqa: PLC0415

    async with acr.open_registry(
        host.login_server,
        azure.credential,
        azure.make_transport(),
        audience=audience,
        concurrency=concurrency,
        actions=tokens.UNLOCKING if include_locked else tokens.DELETING,
        bodies=bodies,
    ) as registry:
        yield registry
