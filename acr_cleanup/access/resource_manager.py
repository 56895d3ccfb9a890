"""
The clients of Azure Resource Manager: one per subscription, opened when first needed, closed
together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from acr_cleanup.access.azure import Azure

if TYPE_CHECKING:
    from azure.core.async_paging import AsyncItemPaged
    from azure.core.rest import AsyncHttpResponse, HttpRequest
    from azure.mgmt.containerservice.aio import ContainerServiceClient

CONNECT_SECONDS = 10
READ_SECONDS = 20
LIST_PAGES = 1_000
"""
Pages of one list. A subscription may have 5,000 clusters:
https://learn.microsoft.com/azure/aks/quotas-skus-regions
"""
_READ_RETRIES = 2
_POLL_SECONDS = 1

T = TypeVar("T")


@asynccontextmanager
async def open_manager(azure: Azure) -> AsyncIterator[ResourceManager]:
    """Open Azure Resource Manager; its clients are closed with the context."""
    async with AsyncExitStack() as stack:
        yield ResourceManager(azure, stack)


class ResourceManager:
    """Gives the client of each subscription; made by `open_manager`."""

    def __init__(self, azure: Azure, stack: AsyncExitStack) -> None:
        self._azure = azure
        self._endpoint = azure.resource_manager.rstrip("/")
        self._stack = stack
        self._clients: dict[str, ContainerServiceClient] = {}
        self._lock = asyncio.Lock()

    async def client(self, subscription_id: str) -> ContainerServiceClient:
        """Return the client of a subscription, opened at its first use."""
        from azure.mgmt.containerservice.aio import ContainerServiceClient  # noqa: PLC0415

        key = subscription_id.lower()
        async with self._lock:
            if key not in self._clients:
                client = ContainerServiceClient(
                    self._azure.credential,
                    subscription_id,
                    base_url=self._endpoint,
                    credential_scopes=[self._azure.resource_manager_scope or f"{self._endpoint}/.default"],
                    transport=self._azure.make_transport(),
                    # Each of these tries may cost the whole of `READ_SECONDS`.
                    retry_read=_READ_RETRIES,
                    # The SDK's default is to ask for the result of a run command every 30 seconds.
                    polling_interval=_POLL_SECONDS,
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
    # Not `async for item in paged`: the SDK skips an empty page by recursion, so 300 empty pages
    # are a RecursionError.
    async for page in paged.by_page():
        pages += 1
        if pages > LIST_PAGES:
            raise EndlessListError(f"more than {LIST_PAGES:,} pages")
        items += [item async for item in page]
    return items


async def list_resources(
    client: ContainerServiceClient, path: str, api_version: str, query: Mapping[str, str] | None = None
) -> list[Any]:
    """
    Read all pages of the list at `path`, as JSON. For resources without a method of `client`.

    query: further parameters of the first request.

    Raises `EndlessListError`, what the SDK raises, and `ValueError` if an answer is not a page of a
    list, or if its next page is on another host: a request there would carry the token.
    """
    from azure.core.async_paging import AsyncItemPaged  # noqa: PLC0415
    from azure.core.rest import HttpRequest  # noqa: PLC0415

    async def get_page(link: str | None) -> AsyncHttpResponse:
        request = HttpRequest("GET", link) if link else _request("GET", path, api_version, query)
        return await _answer(client, request)

    async def open_page(response: AsyncHttpResponse) -> tuple[str | None, list[Any]]:
        page = response.json()
        items, link = (page.get("value"), page.get("nextLink")) if isinstance(page, dict) else (None, None)
        if not isinstance(items, list) or not isinstance(link, str | None):
            # As for text that is not JSON.
            raise ValueError("the answer is not a page of a list")  # noqa: TRY004
        if link and _origin(link) != _origin(response.request.url):
            raise ValueError(f"the next page of the list is on another host: {link[:100]}")
        return link or None, items

    return await list_all(AsyncItemPaged(get_page, open_page))


async def send(client: ContainerServiceClient, method: str, path: str, api_version: str, body: Any = None) -> Any:
    """
    Send one request and return the JSON of its answer.

    Raises what the SDK raises, and `ValueError` if the answer is not JSON.
    """
    return (await _answer(client, _request(method, path, api_version, body=body))).json()


def _request(
    method: str, path: str, api_version: str, query: Mapping[str, str] | None = None, body: Any = None
) -> HttpRequest:
    from azure.core.rest import HttpRequest  # noqa: PLC0415

    return HttpRequest(method, path, params={"api-version": api_version, **(query or {})}, json=body)


async def _answer(client: ContainerServiceClient, request: HttpRequest) -> AsyncHttpResponse:
    response = await client.send_request(
        request,
        connection_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        # The only POST is a query. Without this, a lost answer to it is not tried again.
        retry_on_methods=("GET", "POST"),
    )
    response.raise_for_status()
    return response


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else None)
