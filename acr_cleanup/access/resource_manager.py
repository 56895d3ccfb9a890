"""The clients of Azure Resource Manager: one per subscription, opened when first needed, closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from azure.core.async_paging import AsyncItemPaged
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport
    from azure.mgmt.containerservice.aio import ContainerServiceClient

CONNECT_SECONDS = 10
READ_SECONDS = 20
LIST_PAGES = 1_000
"""Pages of one list. A subscription may have 5,000 clusters: https://learn.microsoft.com/azure/aks/quotas-skus-regions"""
_READ_RETRIES = 2
_POLL_SECONDS = 1

T = TypeVar("T")


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


class EndlessListError(Exception):
    """A list of Azure Resource Manager has more pages than `LIST_PAGES`."""


async def list_all(paged: AsyncItemPaged[T]) -> list[T]:
    """
    Read all pages of a list. The caller bounds the time.

    Raises `EndlessListError`, and what the SDK raises.
    """
    items: list[T] = []
    pages = 0
    # Not `async for item in paged`: the SDK skips an empty page by recursion, so 300 empty pages are a RecursionError.
    async for page in paged.by_page():
        pages += 1
        if pages > LIST_PAGES:
            raise EndlessListError(f"more than {LIST_PAGES:,} pages")
        items += [item async for item in page]
    return items


async def list_resources(client: ContainerServiceClient, path: str, api_version: str) -> list[Any]:
    """
    Read all pages of the list at `path`, as JSON, for the resources that `client` has no method for.

    Raises `EndlessListError`, what the SDK raises, and `ValueError` if an answer is not a page of a list.
    """
    from azure.core.async_paging import AsyncItemPaged  # noqa: PLC0415
    from azure.core.rest import AsyncHttpResponse, HttpRequest  # noqa: PLC0415

    async def get_page(link: str | None) -> AsyncHttpResponse:
        request = HttpRequest("GET", link) if link else HttpRequest("GET", path, params={"api-version": api_version})
        response = await client.send_request(request, connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        response.raise_for_status()
        return response

    async def open_page(response: AsyncHttpResponse) -> tuple[str | None, list[Any]]:
        page = response.json()
        items, link = (page.get("value"), page.get("nextLink")) if isinstance(page, dict) else (None, None)
        if not isinstance(items, list) or not isinstance(link, str | None):
            raise ValueError("the answer is not a page of a list")  # noqa: TRY004  (as for text that is not JSON)
        return link or None, items

    return await list_all(AsyncItemPaged(get_page, open_page))
