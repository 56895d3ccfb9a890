"""
One way out: the session, the trust and the proxies that every Azure client shares.

Obeys HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, and trusts the system's authorities, those of SSL_CERT_FILE and those of
REQUESTS_CA_BUNDLE together: companies set the one, the other or both, and mean "also".

Why not aiohttp's own `trust_env`: it also reads `~/.netrc`, anew for every request, and an entry there that matches (`default`
matches all) makes aiohttp refuse every request that carries a token.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from acr_cleanup.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    import aiohttp
    from azure.core.pipeline.transport import AioHttpTransport

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_CONNECTIONS = 64
"""To all hosts together. Half of them may be the registry's (see registry/pace.py); the clusters are read before it is."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy leads where, as the usual variables say. `bypass` holds the entries of NO_PROXY."""

    by_scheme: Mapping[str, str] = field(default_factory=dict)
    bypass: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        """Read the variables; lower-case names win, as for curl. Raises `ConfigurationError` for a proxy that is not HTTP."""
        found: dict[str, str] = {}
        problems: list[Problem] = []
        for scheme in ("https", "http"):
            for name in (f"{scheme}_proxy", "all_proxy"):
                variable = next((v for v in (name, name.upper()) if environ.get(v, "").strip()), None)
                if variable is None:
                    continue
                url = environ[variable].strip()
                url = url if "://" in url else f"http://{url}"
                # The value is not shown: it may hold a password.
                if not _is_proxy(url):
                    remedy = "Write it as http://HOST:PORT."
                    problems.append(Problem(variable, "This is not the URL of an HTTP proxy.", remedy))
                found[scheme] = url
                break
        if problems:
            raise ConfigurationError(tuple(problems), where="the environment")
        listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        return cls(found, tuple(entry.lower() for entry in listed.replace(",", " ").split()))

    def for_url(self, url: str) -> str | None:
        """The proxy through which this URL is reached, None for directly."""
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
    What every client shares. Valid inside `open_network` only.

    `ca_files` are the files (or folders) of further authorities, for clients that build their own trust from them.
    """

    session: aiohttp.ClientSession
    ssl_context: ssl.SSLContext
    ca_files: tuple[Path, ...]
    proxies: Proxies

    def transport(
        self, *, proxied: bool = True, connection_timeout: float = 10, read_timeout: float = 60
    ) -> AioHttpTransport:
        """
        A transport for one Azure client, over the shared session, which closing the client does not close.

        Timeouts are in seconds (the SDK's own are five minutes each). `proxied=False` is for endpoints of this machine, such
        as the one of managed identities.
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

    Raises `ConfigurationError` when a variable names authorities that cannot be read, or a proxy that is none.
    """
    import aiohttp  # noqa: PLC0415  (slow to import, and not needed to print help)

    ca_files = _ca_files(environ)
    context = trust(ca_files)
    proxies = Proxies.of(environ)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=_CONNECTIONS, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        # The SDK's transport decompresses by itself.
        auto_decompress=False,
    ) as session:
        yield Network(session, context, tuple(ca_files.values()), proxies)


def environment_problems(environ: Mapping[str, str]) -> list[Problem]:
    """What `open_network` would refuse in this environment, so that it can be said before anything starts."""
    problems: list[Problem] = []
    # The system's own authorities are no setting of anybody's, and reading them takes longer than all else here.
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for check in (lambda: _add(bare, _ca_files(environ)), lambda: Proxies.of(environ)):
        try:
            check()
        except ConfigurationError as error:
            problems.extend(error.problems)
    return problems


def trust(ca_files: Mapping[str, Path]) -> ssl.SSLContext:
    """
    A client context that trusts the system and these files or folders (by the variable that names each).

    Raises `ConfigurationError` naming every variable whose value cannot be used.
    """
    context = ssl.create_default_context()
    # From Python 3.13 on, the default refuses authorities whose certificates lack extensions that RFC 5280 asks for; those of
    # intercepting proxies and of clusters often do. The same run must not depend on the version of Python.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    _add_system_roots(context)
    _add(context, ca_files)
    return context


def _add(context: ssl.SSLContext, ca_files: Mapping[str, Path]) -> None:
    problems = []
    for variable, path in ca_files.items():
        try:
            if path.is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except FileNotFoundError:
            seen = f"It names {str(path)!r}, which does not exist."
            problems.append(Problem(variable, seen, "Correct the path, or unset the variable."))
        except ssl.SSLError:
            seen = f"{str(path)!r} holds no certificate that can be read."
            problems.append(Problem(variable, seen, "Name a file of certificates in PEM format."))
        except OSError as error:
            seen = f"{str(path)!r} cannot be read: {error.strerror or error}."
            problems.append(Problem(variable, seen, "Correct the path or its permissions."))
    if problems:
        raise ConfigurationError(tuple(problems), where="the environment")


def _ca_files(environ: Mapping[str, str]) -> dict[str, Path]:
    named = {variable: environ.get(variable, "").strip() for variable in CA_VARIABLES}
    return {variable: _from_home(value) for variable, value in named.items() if value}


def _from_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody is called so, or has a home: then there is no such file either
        return Path(path)


def _add_system_roots(context: ssl.SSLContext) -> None:
    # OpenSSL reads SSL_CERT_FILE *instead of* the system's file, so that one is loaded by its own name as well.
    paths = ssl.get_default_verify_paths()
    system = False
    for cafile in (paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if Path(cafile).is_file():
            context.load_verify_locations(cafile=cafile)
            system = True
            break
    if Path(paths.openssl_capath).is_dir():
        context.load_verify_locations(capath=paths.openssl_capath)
        system = True
    if not system and not context.get_ca_certs():
        # A bare container without `ca-certificates`: the roots that come with `requests`, as every other client there uses.
        import certifi  # noqa: PLC0415

        context.load_verify_locations(cafile=certifi.where())


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Asking for a port that is no number raises.
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
        """The SDK's transport, told by us which proxy to take."""

        def __init__(self, *, proxies_of: Proxies, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._proxies_of = proxies_of

        async def send(self, request: Any, **config: Any) -> Any:
            config.setdefault("proxy", self._proxies_of.for_url(request.url))
            return await super().send(request, **config)

    return SharedTransport
