"""The clients of Azure Resource Manager: one per subscription, opened when first needed, closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.mgmt.containerservice.aio import ContainerServiceClient

CONNECT_SECONDS = 10
READ_SECONDS = 20
_READ_RETRIES = 2
_POLL_SECONDS = 1


@asynccontextmanager
async def open_manager(
    credential: AsyncTokenCredential,
    make_transport: Callable[[], AsyncHttpTransport[Any, Any]],
    resource_manager: str,
    scope: str | None = None,
    *,
    poll_seconds: float = _POLL_SECONDS,
) -> AsyncIterator[ResourceManager]:
    """
    The resource manager at the URL `resource_manager`, with tokens for `scope`, for as long as the context lasts.

    `make_transport` makes what carries its requests, one per subscription. The result of a long operation (a run command) is looked
    for every `poll_seconds`.
    """
    endpoint = resource_manager.rstrip("/")
    async with AsyncExitStack() as stack:
        yield ResourceManager(
            credential, make_transport, endpoint, scope or f"{endpoint}/.default", poll_seconds, stack
        )


class ResourceManager:
    """Gives the client of each subscription; made by `open_manager`."""

    def __init__(
        self,
        credential: AsyncTokenCredential,
        make_transport: Callable[[], AsyncHttpTransport[Any, Any]],
        endpoint: str,
        scope: str,
        poll_seconds: float,
        stack: AsyncExitStack,
    ) -> None:
        self._credential = credential
        self._make_transport = make_transport
        self._endpoint = endpoint
        self._scope = scope
        self._poll_seconds = poll_seconds
        self._stack = stack
        self._clients: dict[str, ContainerServiceClient] = {}
        self._lock = asyncio.Lock()

    async def client(self, subscription_id: str) -> ContainerServiceClient:
        from azure.mgmt.containerservice.aio import ContainerServiceClient  # noqa: PLC0415

        key = subscription_id.lower()
        async with self._lock:
            if key not in self._clients:
                client = ContainerServiceClient(
                    self._credential,
                    subscription_id,
                    base_url=self._endpoint,
                    credential_scopes=[self._scope],
                    transport=self._make_transport(),
                    # Each of these tries may cost the whole of `READ_SECONDS`.
                    retry_read=_READ_RETRIES,
                    # By default the result of a run command is looked for every 30 seconds.
                    polling_interval=self._poll_seconds,
                )
                self._clients[key] = await self._stack.enter_async_context(client)
        return self._clients[key]
