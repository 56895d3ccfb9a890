"""
Sends single requests with the Kubernetes client.

The packages of the client import all of their parts, 190 ms, of which a request needs two. The others
are never used, and so never loaded.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

import aiohttp
from multidict import CIMultiDict

from acr_cleanup.clusters.api_server.crowd import CONNECTIONS
from acr_cleanup.clusters.api_server.late_imports import imported_on_use

_PARTS = ("client", "config", "dynamic", "informer", "leaderelection", "stream", "utils", "watch")
with imported_on_use(*(f"kubernetes.{part}" for part in _PARTS), *(f"kubernetes.aio.{part}" for part in _PARTS)):
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.client.rest import RESTClientObject

# Bytes that aiohttp receives ahead of the reader. With its default of 64 KiB, a page of 3 MB would
# stop and restart the connection fifty times.
_BUFFER = 2 << 20


class Transport(RESTClientObject):  # type: ignore[misc]
    """
    The part of the Kubernetes client that sends a request, with a session of ours.

    headers: sent with each request; a name may occur several times. The client's own option keeps
        only one header of each name.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        headers: Iterable[tuple[str, str]],
        middleware: aiohttp.ClientMiddlewareType,
        tls_server_name: str | None,
        proxy: str | None,
    ) -> None:
        # Not `super().__init__()`: it loads the authorities of the system into a separate context,
        # 20 ms and 0.8 MB for each cluster, which nothing would use.
        self.configuration = Configuration(tls_server_name=tls_server_name)
        self.proxy, self.proxy_headers = proxy, None
        self.retry_client = self._effective_retry_options = None
        self.pool_manager = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=CONNECTIONS),
            headers=CIMultiDict(headers),
            cookie_jar=aiohttp.DummyCookieJar(),
            # The client sets it to True, and then aiohttp reads ~/.netrc and refuses requests that
            # carry a token.
            trust_env=False,
            middlewares=(middleware,),
            read_bufsize=_BUFFER,
        )
