"""
The session, trusted authorities and proxies that all Azure clients share.

The proxies come from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY. Trusted are the authorities
of the system, of SSL_CERT_FILE and of REQUESTS_CA_BUNDLE, all together: companies set either
variable, or both, to add an authority.

aiohttp's own `trust_env` is not used, since it also reads `~/.netrc` for every request. If an entry
there matches (`default` matches every host), aiohttp refuses all requests that have a token.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    import aiohttp
    from azure.core.pipeline.transport import AioHttpTransport

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_CONNECTIONS, _PER_HOST = 64, 32
"""To all hosts, and to one. The registry uses up to 32 (registry/pace.py)."""
_TLS_BUFFER = 64 << 10
"""
Bytes that asyncio keeps for each TLS connection: 256 KiB by default, which were most of the memory of a
run with a hundred clusters.
"""


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy of each URL scheme. `bypass`: the entries of NO_PROXY."""

    by_scheme: Mapping[str, str] = field(default_factory=dict)
    bypass: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        """
        Read the variables. Lower-case names take precedence, as in curl.

        Raises `ConfigurationError` if a proxy is not an HTTP proxy.
        """
        by_scheme: dict[str, str] = {}
        problems: list[Problem] = []
        for scheme in ("https", "http"):
            for name in (f"{scheme}_proxy", "all_proxy"):
                variable = next((v for v in (name, name.upper()) if environ.get(v, "").strip()), None)
                if variable is None:
                    continue
                url = environ[variable].strip()
                url = url if "://" in url else f"http://{url}"
                # Do not show the value: it may contain a password.
                if not _is_proxy(url):
                    remedy = "Write it as http://HOST:PORT."
                    problems.append(Problem(variable, "This is not the URL of an HTTP proxy.", remedy))
                by_scheme[scheme] = url
                break
        if problems:
            raise ConfigurationError(tuple(problems), where="the environment")
        listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        return cls(by_scheme, tuple(entry.lower() for entry in listed.replace(",", " ").split()))

    def for_url(self, url: str) -> str | None:
        """The proxy through which this URL is reached, None for directly."""
        if not self.by_scheme:
            return None
        proxy = self.by_scheme.get(urlsplit(url).scheme.lower())
        return None if proxy is None or self._bypassed(url) else proxy

    def _bypassed(self, url: str) -> bool:
        host = _host_of(url)
        port = urlsplit(url).port or (443 if url.lower().startswith("https") else 80)
        for entry in self.bypass:
            if entry == "*":
                return True
            if "/" in entry:
                if _in_network(host, entry):
                    return True
                continue
            name, colon, wanted = entry.rpartition(":")
            if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
                if int(wanted) != port:
                    continue
                entry = name  # noqa: PLW2901  (the rest of the rule is the same)
            entry = entry.strip("[]").removeprefix("*").removeprefix(".")  # noqa: PLW2901
            if host == entry or host.endswith(f".{entry}"):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Network:
    """
    The shared network objects. They are valid inside `open_network` only.

    ca_files: files or folders of additional authorities, for clients that need paths.
    """

    session: aiohttp.ClientSession
    ssl_context: ssl.SSLContext
    ca_files: tuple[Path, ...]
    proxies: Proxies

    def transport(
        self, *, proxied: bool = True, connection_timeout: float = 10, read_timeout: float = 60
    ) -> AioHttpTransport:
        """
        Create the transport of one Azure client. Closing the client keeps the shared session open.

        proxied: False for endpoints of this machine, such as the one of managed identities.
        connection_timeout, read_timeout: in seconds. The defaults of the SDK are five minutes each.
        """
        transport: AioHttpTransport = _transport_class()(
            session=self.session,
            session_owner=False,
            proxies_of=self.proxies if proxied else Proxies(),
            connection_timeout=connection_timeout,
            read_timeout=read_timeout,
        )
        return transport

    def proxy_for(self, url: str) -> str | None:
        """The proxy through which this URL is reached, None for directly."""
        return self.proxies.for_url(url)


@asynccontextmanager
async def open_network(environ: Mapping[str, str]) -> AsyncIterator[Network]:
    """
    Open the shared session.

    Raises `ConfigurationError` if a variable names unreadable authorities or an invalid proxy.
    """
    # Slow to import, and not needed to print help.
    from asyncio import sslproto  # noqa: PLC0415

    import aiohttp  # noqa: PLC0415

    sslproto.SSLProtocol.max_size = _TLS_BUFFER
    ca_files = _ca_files(environ)
    context = trust(ca_files)
    proxies = Proxies.of(environ)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=_CONNECTIONS, limit_per_host=_PER_HOST, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        # The SDK's transport decompresses answers itself.
        auto_decompress=False,
    ) as session:
        yield Network(session, context, tuple(ca_files.values()), proxies)


def environment_problems(environ: Mapping[str, str]) -> list[Problem]:
    """Return what `open_network` would refuse in this environment, before anything is opened."""
    problems: list[Problem] = []
    # Skip the authorities of the system: no variable sets them, and reading them is slow.
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for check in (lambda: _add(bare, _ca_files(environ), environ), lambda: Proxies.of(environ)):
        try:
            check()
        except ConfigurationError as error:
            problems.extend(error.problems)
    return problems


def trust(ca_files: Mapping[str, Path]) -> ssl.SSLContext:
    """
    Create a client context that trusts the system and additional authorities.

    ca_files: the file or folder by the variable that names it.
    Raises `ConfigurationError` with every variable whose value cannot be used.
    """
    context = _system_context()
    # Since Python 3.13, the default refuses authorities without the extensions of RFC 5280. The
    # authorities of intercepting proxies and of clusters often lack them. The flag is removed, so
    # that a run does not depend on the version of Python.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    _add(context, ca_files)
    return context


def _add(context: ssl.SSLContext, ca_files: Mapping[str, Path], environ: Mapping[str, str] = os.environ) -> None:
    problems = []
    for variable, path in ca_files.items():
        try:
            if path.is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except FileNotFoundError:
            seen = f"The file {str(path)!r} does not exist."
            remedy = path_remedy(path, "Correct the path, or unset the variable.", environ)
            problems.append(Problem(variable, seen, remedy))
        except ssl.SSLError:
            seen = f"{str(path)!r} contains no readable certificate."
            problems.append(Problem(variable, seen, "Set it to a file of certificates in PEM format."))
        except OSError as error:
            seen = f"{str(path)!r} cannot be read: {error.strerror or error}."
            problems.append(Problem(variable, seen, "Correct the path or its permissions."))
    if problems:
        raise ConfigurationError(tuple(problems), where="the environment")


def _ca_files(environ: Mapping[str, str]) -> dict[str, Path]:
    paths = {variable: environ.get(variable, "").strip() for variable in CA_VARIABLES}
    return {variable: _from_home(path) for variable, path in paths.items() if path}


def _from_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user, or no home folder: the file does not exist either
        return Path(path)


def _system_context() -> ssl.SSLContext:
    """Create a context that trusts the authorities of the system. To load them takes 20 ms."""
    # OpenSSL would read SSL_CERT_FILE instead of the system's file, so name the system's file.
    paths = ssl.get_default_verify_paths()
    candidates = (paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    cafile = next((path for path in candidates if Path(path).is_file()), None)
    context = ssl.create_default_context(cafile=cafile)
    folders = {path for path in (paths.capath, paths.openssl_capath) if path and Path(path).is_dir()}
    for folder in folders:
        context.load_verify_locations(capath=folder)
    if cafile is None and not folders and not context.get_ca_certs():
        # A minimal container without the package `ca-certificates`: use the roots of Mozilla.
        import certifi  # noqa: PLC0415

        context.load_verify_locations(cafile=certifi.where())
    return context


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # `port` raises ValueError if it is not a number.
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


@functools.cache
def _transport_class() -> Any:
    from azure.core.pipeline.transport import AioHttpTransport  # noqa: PLC0415

    class SharedTransport(AioHttpTransport):  # type: ignore[misc]  # exported lazily, so its type is lost
        """The SDK's transport with the proxies of `Network`."""

        def __init__(self, *, proxies_of: Proxies, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._proxies_of = proxies_of

        async def send(self, request: Any, **config: Any) -> Any:
            config.setdefault("proxy", self._proxies_of.for_url(request.url))
            return await super().send(request, **config)

    return SharedTransport
