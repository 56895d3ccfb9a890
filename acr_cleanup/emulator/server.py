"""Start all emulated services, each on its own loopback port, with one certificate authority."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from acr_cleanup.emulator.arm import arm_app
from acr_cleanup.emulator.authority import AUTHORITY_HOSTS, LOG_HOSTS, RESOURCE_MANAGER_HOSTS, Authority
from acr_cleanup.emulator.entra import entra_app, oidc_app
from acr_cleanup.emulator.kubernetes.api import kubernetes_app
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.log_analytics import log_analytics_app
from acr_cleanup.emulator.middleware import middleware
from acr_cleanup.emulator.proxy import ConnectProxy
from acr_cleanup.emulator.registry.api import acr_app
from acr_cleanup.emulator.world import Face, World

# The names of the issuers of ID tokens: GitHub, Azure Pipelines.
OIDC_HOSTS = ("vstoken.actions.githubusercontent.com", "dev.azure.com")

_HOSTS = {"entra": AUTHORITY_HOSTS, "arm": RESOURCE_MANAGER_HOSTS, "oidc": OIDC_HOSTS, "logs": LOG_HOSTS}


class Emulator:
    """
    Serve a world: `async with Emulator(world) as emulator: ...`.

    All addresses are `https://localhost:PORT`, and valid inside the context only. With `proxy_url`
    as the proxy, the services also have their real names. A cluster that is added later is served
    from the first request for its address.
    """

    def __init__(self, world: World | None = None) -> None:
        self.world = World() if world is None else world
        self.authority = Authority(self.world.directory)
        self.registry_url = ""
        self.authority_url = ""
        self.resource_manager = ""
        self.log_analytics = ""
        self.oidc_url = ""
        self.proxy_url = ""
        self.ca_file = ""
        self._ports: dict[str, int] = {}
        self._runners: list[web.AppRunner] = []
        self._starting: list[asyncio.Task[None]] = []
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="acr-cleanup-emulator-")
        ca_file = Path(self._folder.name) / "ca.pem"
        ca_file.write_bytes(self.authority.ca_pem)
        self.ca_file = str(ca_file)

        ports = self._serve_services()
        self.registry_url = f"localhost:{ports['acr']}"
        self.authority_url = f"https://localhost:{ports['entra']}"
        self.oidc_url = f"https://localhost:{ports['oidc']}"
        self.resource_manager = f"https://localhost:{ports['arm']}"
        self.authority.resource_manager = self.resource_manager
        self.log_analytics = self.authority.log_analytics = f"https://localhost:{ports['logs']}"
        self._proxy = ConnectProxy(self.world, self.port_of_host)
        self.proxy_url = f"http://127.0.0.1:{await self._proxy.start()}"
        if self.world.face == "direct":
            self.world.registry.login_server = self.registry_url
        for cluster in list(self.world.clusters.values()):
            self.kubernetes_url(cluster)
        await asyncio.gather(*self._starting)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._proxy.stop()
        await asyncio.gather(*self._starting)
        await asyncio.gather(*(runner.cleanup() for runner in self._runners))
        self._folder.cleanup()

    # -- addresses ---------------------------------------------------------------------------------

    def kubernetes_url(self, cluster: ClusterState | str) -> str:
        """
        Return `https://localhost:PORT` of the API server of a cluster, or of the cluster of a name.
        """
        state = self.world.clusters[cluster] if isinstance(cluster, str) else cluster
        service = f"kubernetes/{state.name}"
        port = self._ports.get(service)
        if port is None:
            port = self._serve(service, kubernetes_app(state, self.authority, self.world.access))
        return f"https://localhost:{port}"

    def port_of_host(self, host: str) -> int:
        """
        Return the loopback port of a real host name.

        Raises LookupError for an unknown name, and ConnectionError for a cluster that cannot be
        reached, because it is stopped or private.
        """
        host = host.lower().rstrip(".")
        if host in self.registry_hosts():
            return self._ports["acr"]
        for service, names in _HOSTS.items():
            if host in names:
                return self._ports[service]
        for cluster in list(self.world.clusters.values()):
            if host in (cluster.fqdn, cluster.private_fqdn):
                if not cluster.is_reachable:
                    raise ConnectionError(f"{host} cannot be reached")
                self.kubernetes_url(cluster)
                return self._ports[f"kubernetes/{cluster.name}"]
        raise LookupError(host)

    def registry_hosts(self) -> frozenset[str]:
        """Return the host names of the registry, without ports."""
        registry = self.world.registry
        return frozenset(name.partition(":")[0].lower() for name in (registry.login_server, *registry.aliases)) - {
            "localhost"
        }

    # -- settings of clients ------------------------------------------------------------------

    def config(self, face: Face | None = None) -> dict[str, Any]:
        """Return the tool's configuration file for this world."""
        direct = (face or self.world.face) == "direct"
        registry = self.world.registry
        config: dict[str, Any] = {
            "kubernetes_clusters": {
                key: {
                    "name": cluster.name,
                    "subscription_id": cluster.subscription_id,
                    "resource_group": cluster.resource_group,
                }
                for key, cluster in self.world.clusters.items()
            },
            "container_registry": {
                "url": self.registry_url if direct else registry.login_server,
                "subscription_id": registry.subscription_id,
                "resource_group": registry.resource_group,
            },
        }
        if direct:
            config["cloud"] = {
                "authority": self.authority_url,
                "resource_manager": self.resource_manager,
                "log_analytics": self.log_analytics,
                "audience": registry.audience,
            }
        return config

    def environment(self, face: Face | None = None) -> dict[str, str]:
        """Return the environment variables with which a client trusts and reaches this world."""
        directory = self.world.directory
        environment = {
            "AZURE_TENANT_ID": directory.tenant,
            "AZURE_CLIENT_ID": directory.client_id,
            "AZURE_CLIENT_SECRET": directory.client_secret,
            "SSL_CERT_FILE": self.ca_file,
            "REQUESTS_CA_BUNDLE": self.ca_file,
        }
        if (face or self.world.face) == "proxy":
            environment |= {"HTTPS_PROXY": self.proxy_url, "NO_PROXY": ""}
        return environment

    def github_environment(self, face: Face | None = None) -> dict[str, str]:
        """
        Return the environment variables of a GitHub job with the permission `id-token: write`.
        """
        base = self.oidc_url if (face or self.world.face) == "direct" else f"https://{OIDC_HOSTS[0]}"
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{base}/github/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.world.directory.github_request_token,
        }

    def pipelines_environment(self, face: Face | None = None) -> dict[str, str]:
        """Return the environment variables of an Azure Pipelines job with access to its token."""
        base = self.oidc_url if (face or self.world.face) == "direct" else f"https://{OIDC_HOSTS[1]}"
        return {
            "SYSTEM_OIDCREQUESTURI": f"{base}/pipelines/oidctoken",
            "SYSTEM_ACCESSTOKEN": self.world.directory.pipelines_access_token,
        }

    # -- serving -----------------------------------------------------------------------------------

    def _serve_services(self) -> dict[str, int]:
        """Serve everything but the clusters; return the port of each service."""
        world, authority = self.world, self.authority
        self._serve("acr", acr_app(world, authority))
        self._serve("entra", entra_app(world, authority))
        self._serve("oidc", oidc_app(world.directory, authority.signer))
        self._serve("logs", log_analytics_app(world, authority))
        self._serve("arm", arm_app(world, authority, self.kubernetes_url))
        return self._ports

    def _serve(self, service: str, app: web.Application) -> int:
        """
        Bind a port and return it; start to accept connections in a task.

        Until then, connections to the port wait in its queue.
        """
        app.middlewares.insert(0, middleware(self.world, service))
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        port: int = listener.getsockname()[1]
        self._ports[service] = port
        # API servers ask for a client certificate, but do not require one.
        context = self._context(ask_for_client=service.startswith("kubernetes/"))

        async def start() -> None:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
            self._runners.append(runner)
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=context).start()

        self._starting.append(asyncio.get_running_loop().create_task(start()))
        return port

    def _context(self, *, ask_for_client: bool) -> ssl.SSLContext:
        """
        Return a server context that makes a certificate for each known name that a client asks for.
        """

        def context_for(*names: str) -> ssl.SSLContext:
            key = f"{ask_for_client} {names[0]}"
            if key not in self._contexts:
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                self.authority.certificates.issue_cert(*names).configure_cert(context)
                if ask_for_client:
                    self.authority.certificates.configure_trust(context)
                    context.verify_mode = ssl.CERT_OPTIONAL
                    # The client certificates name their subject only. Python 3.13 refuses them; API
                    # servers accept them.
                    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
                self._contexts[key] = context
            return self._contexts[key]

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            if name is not None and name not in base_names:
                connection.context = context_for(name)

        base_names = tuple(self._base_names())
        context = context_for(*base_names)
        context.sni_callback = choose
        return context

    def _base_names(self) -> Iterator[str]:
        yield from ("localhost", "127.0.0.1")
        for names in _HOSTS.values():
            yield from names
        yield from sorted(self.registry_hosts())
