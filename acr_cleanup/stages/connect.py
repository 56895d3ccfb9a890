"""Opens the network, the login and the registry. The SDKs are imported here, at the first use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.federation import LoginChoice
from acr_cleanup.core.known_bodies import BodyMemory
from acr_cleanup.core.references import RegistryHost

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
