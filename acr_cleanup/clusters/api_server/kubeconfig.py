"""
Reads from a kubeconfig how to connect to its API server, and never runs the programs that it names.

A kubeconfig may name a program that prints a token (`exec`). It is never run: the author of the
file chose it, and if it fails, some clients continue anonymously. AKS writes kubelogin
there, which is replaced by a token of this run's own login. With any other program, the cluster
cannot be read.
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer
from acr_cleanup.clusters.api_server.crowd import SharedConnections
from acr_cleanup.clusters.api_server.kubeconfig_file import failure
from acr_cleanup.clusters.api_server.tls import tls_contexts
from acr_cleanup.clusters.api_server.trust import Trust
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

AKS_SERVER_APP = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""The application for which every AKS cluster with Entra ID expects tokens, in all clouds.
https://azure.github.io/kubelogin/concepts/aks.html"""
AKS_SCOPE = f"{AKS_SERVER_APP}/.default"
"""The scope of tokens for it."""

Token = Callable[[str], Awaitable[str]]
"""
Returns an access token for a scope such as `<application>/.default`, valid for at least one
request.
"""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """
    The values that all clusters share and that are not in a kubeconfig.

    token: returns tokens of this run's login.
    trust: the further authorities of the environment. The clusters share its contexts.
    proxy_for: returns the proxy of the environment for a URL. A `proxy-url` in the kubeconfig has
        precedence.
    connections: shared by all API servers of the run.
    """

    token: Token
    trust: Trust = field(default_factory=Trust)
    proxy_for: Callable[[str], str | None] = lambda _: None
    connections: SharedConnections = field(default_factory=SharedConnections)

    @classmethod
    def of(cls, azure: Azure, *, clusters: int = 1) -> ConnectionOptions:
        """clusters: how many are read at once."""
        token, connections = partial(access_token, azure.credential), SharedConnections(clusters)
        return cls(token, Trust(azure.trust), azure.proxy_for, connections)


async def access_token(credential: AsyncTokenCredential, scope: str) -> str:
    """
    Get a token of this run's login; the credential caches and renews it (`SingleFlightCredential`).
    """
    from azure.core.exceptions import AzureError  # noqa: PLC0415

    try:
        return (await credential.get_token(scope)).token
    except AzureError as error:
        remedy = "Check the tenant of the identity, and that it may log in to the application of AKS."
        raise ReadFailure(f"asking for a token for {quoted(scope, 80)}", f"{quoted(error)}.", remedy) from error


def server_of(document: Mapping[str, Any], context: str | None) -> str:
    """
    Return the URL of the API server of a context (None: the current context). Raises `ReadFailure`.
    """
    name, chosen = _context(document, context)
    return _server_url(name, _named(document, "clusters", "cluster", chosen.get("cluster")))


def scope_of(document: Mapping[str, Any], context: str | None) -> str | None:
    """Return the scope of the token that a context needs; None if it needs none. Raises `ReadFailure`."""
    _, chosen = _context(document, context)
    return _needed_scope(_named(document, "users", "user", chosen.get("user"))) if chosen.get("user") else None


def api_server(
    document: Mapping[str, Any], context: str | None, *, folder: Path, options: ConnectionOptions
) -> ApiServer:
    """
    Return how to connect to the API server of a context (None: the current context). Raises
    `ReadFailure`.

    folder: where relative paths in the kubeconfig start.
    """
    name, chosen = _context(document, context)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster"))
    user = _named(document, "users", "user", chosen.get("user")) if chosen.get("user") else {}
    url = _server_url(name, cluster)
    # As in client-go, no login is sent over plain HTTP, where it could be read on the way
    # (`kubectl proxy` needs none).
    secure = url.startswith("https://")
    first, fallbacks = tls_contexts(cluster, user, folder, options.trust)
    return ApiServer(
        url=url.rstrip("/"),
        context=first,
        fallbacks=fallbacks,
        authorization=_authorization(user, folder, options.token) if secure else _anonymous,
        tls_server_name=_optional(cluster, "tls-server-name"),
        proxy=_proxy(cluster) or (None if _is_local(url) else options.proxy_for(url)),
        headers=impersonation(user),
        has_login=not secure or _has_login(user),
        has_authority=bool(cluster.get("certificate-authority-data") or cluster.get("certificate-authority")),
        connections=options.connections,
    )


def _context(document: Mapping[str, Any], context: str | None) -> tuple[Any, Mapping[str, Any]]:
    name = context if context is not None else document.get("current-context")
    if not name:
        raise failure("it has no current context.", "Name one with `context:`.")
    return name, _named(document, "contexts", "context", name)


def _server_url(context: Any, cluster: Mapping[str, Any]) -> str:
    url = cluster.get("server")
    if isinstance(url, str) and re.fullmatch(r"[\w-]+(\.[\w-]+)*:\d+(/\S*)?", url):
        # As in client-go: a host and a port are enough.
        keys = ("certificate-authority-data", "certificate-authority", "insecure-skip-tls-verify", "tls-server-name")
        url = f"{'https' if any(cluster.get(key) for key in keys) else 'http'}://{url}"
    if not isinstance(url, str) or not url.lower().startswith(("https://", "http://")):
        raise failure(f"the server of context {quoted(context)!r} is {quoted(url)!r}, which is not an HTTP URL.")
    scheme, _, rest = url.partition("://")
    return f"{scheme.lower()}://{rest}"


def _proxy(cluster: Mapping[str, Any]) -> str | None:
    url = _optional(cluster, "proxy-url")
    if url is None:
        return None
    scheme = url.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        # It would be spoken to as an HTTP proxy, and would close the connection.
        seen = f"its proxy-url is a {quoted(scheme, 20)} proxy, and only HTTP proxies are supported."
        raise failure(seen, "Use the http:// address of a proxy, or `access: run-command` for an AKS cluster.")
    return url


def _is_local(url: str) -> bool:
    """
    Return whether the API server is on this machine. A proxy cannot reach it there, and kubectl
    uses none.

    https://pkg.go.dev/net/http#ProxyFromEnvironment
    """
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _named(document: Mapping[str, Any], section: str, key: str, name: Any) -> Mapping[str, Any]:
    entries = document.get(section)
    known = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    for entry in known:
        if entry.get("name") == name and isinstance(entry.get(key), dict):
            value: dict[str, Any] = entry[key]
            return value
    names = ", ".join(quoted(entry.get("name"), 60) for entry in known[:10]) or "none"
    raise failure(f"it has no {key} named {quoted(name, 60)!r} (it has: {names}).")


def _optional(section: Mapping[str, Any], key: str) -> str | None:
    value = section.get(key)
    return value if isinstance(value, str) and value else None


# -- logging in ------------------------------------------------------------------------------------


def _has_login(user: Mapping[str, Any]) -> bool:
    """Does this user prove who it is? Otherwise the API server sees `system:anonymous`."""
    keys = ("token", "tokenFile", "username", "client-certificate", "client-certificate-data", "exec", "auth-provider")
    return any(user.get(key) for key in keys)


def impersonation(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """
    Return the headers for acting as another user.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    groups, extra = user.get("as-groups"), user.get("as-user-extra")
    named = (("Impersonate-User", user.get("as")), ("Impersonate-Uid", user.get("as-uid")))
    headers = [(name, value) for name, value in named if isinstance(value, str) and value]
    headers += [("Impersonate-Group", str(group)) for group in (groups if isinstance(groups, list) else ())]
    for key, values in extra.items() if isinstance(extra, dict) else ():
        for value in values if isinstance(values, list) else ():
            headers.append((f"Impersonate-Extra-{quote(str(key), safe='')}", str(value)))
    return tuple(headers)


def _authorization(user: Mapping[str, Any], folder: Path, token: Token) -> Callable[[], Awaitable[str | None]]:
    fixed, file = _text(user, "token"), _text(user, "tokenFile")
    name = _text(user, "username")
    scope = _needed_scope(user)
    if scope is not None:

        async def entra() -> str:
            return f"Bearer {await token(scope)}"

        return entra

    async def from_kubeconfig() -> str | None:
        # The file has precedence. It is read for each request, because another program renews the
        # token in it.
        if file is not None:
            try:
                content = (await asyncio.to_thread((folder / file).read_text)).strip()
            except (OSError, ValueError) as error:
                raise failure(f"its tokenFile {quoted(file)} cannot be read.") from error
            if not content:
                raise failure(f"its tokenFile {quoted(file)} is empty.", "Let the program that writes it log in again.")
            return f"Bearer {content}"
        if fixed is not None:
            return f"Bearer {fixed}"
        if name is not None:
            login = f"{name}:{_text(user, 'password') or ''}"
            return f"Basic {base64.b64encode(login.encode()).decode()}"
        return None

    return from_kubeconfig


def _text(section: Mapping[str, Any], key: str) -> str | None:
    """Return a text; None without one. Raises `ReadFailure` for another value, which would mean no login at all."""
    value = section.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise failure(f"its {key} is not a text.", f"Write the {key} in quotes.")
    return value


async def _anonymous() -> None:
    return None


def _needed_scope(user: Mapping[str, Any]) -> str | None:
    """As in client-go, a token has precedence over a program that prints one."""
    return None if any(_text(user, key) for key in ("token", "tokenFile", "username")) else _scope(user)


def _scope(user: Mapping[str, Any]) -> str | None:
    """
    Return the scope of the token that replaces `exec` or `auth-provider`; None if there is neither.
    """
    provider, program = user.get("auth-provider"), user.get("exec")
    if isinstance(provider, dict):
        if provider.get("name") != "azure":
            raise failure(f"it logs in through the provider {quoted(provider.get('name'), 60)!r}.", _OTHER_LOGIN)
        config = provider.get("config")
        server = config.get("apiserver-id") if isinstance(config, dict) else None
        return f"{server or AKS_SERVER_APP}/.default"
    if isinstance(program, dict):
        given = program.get("args")
        arguments = [str(argument) for argument in given] if isinstance(given, list) else []
        # Windows and POSIX paths. The kubelogin for other OIDC issuers has the same name, but no
        # --server-id.
        command = PureWindowsPath(str(program.get("command"))).name.removesuffix(".exe")
        if command != "kubelogin" or _flag(arguments, "--oidc-issuer-url") is not None:
            raise failure(
                f"it logs in with the program {quoted(program.get('command'), 60)!r}, which is not run.", _OTHER_LOGIN
            )
        return f"{_flag(arguments, '--server-id') or AKS_SERVER_APP}/.default"
    return None


_OTHER_LOGIN = (
    "Use a kubeconfig with a token or a client certificate: of all programs, only kubelogin for Azure can be replaced."
)


def _flag(arguments: list[str], name: str) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if argument == name:
            return following
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}=")
    return None
