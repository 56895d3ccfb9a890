"""The login, the network and the endpoints of one run, as one value for every client of Azure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AsyncHttpTransport

    from acr_cleanup.access.clouds import Cloud
    from acr_cleanup.access.network import Network


@dataclass(frozen=True, slots=True)
class Azure:
    """
    The login, the network and the endpoints of one run. It carries no SDK: the SDKs are imported
    where they are used.

    credential: the login that all clients share.
    make_transport: makes the HTTP transport of one client.
    resource_manager: the URL of Azure Resource Manager.
    resource_manager_scope: the scope of its tokens; by default, its own URL.
    trust: CA files (or folders) trusted in addition to the system's, for clients that build their
        own TLS context.
    proxy_for: returns the proxy of the environment for a URL.
    log_analytics: the URL of Log Analytics, which is also the audience of its tokens.
    """

    credential: AsyncTokenCredential
    make_transport: Callable[[], AsyncHttpTransport[Any, Any]]
    resource_manager: str
    resource_manager_scope: str | None = None
    trust: tuple[Path, ...] = ()
    proxy_for: Callable[[str], str | None] = lambda _: None
    log_analytics: str = ""

    @classmethod
    def of(cls, cloud: Cloud, network: Network, credential: AsyncTokenCredential) -> Azure:
        """Reach the endpoints of `cloud` through `network` with `credential`."""
        return cls(
            credential=credential,
            make_transport=network.transport,
            resource_manager=cloud.resource_manager,
            resource_manager_scope=cloud.resource_manager_scope,
            trust=network.ca_files,
            proxy_for=network.proxy_for,
            log_analytics=cloud.log_analytics,
        )
