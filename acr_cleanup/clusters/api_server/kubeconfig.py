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
import binascii
import ipaddress
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from acr_cleanup.access.azure import Azure
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer
from acr_cleanup.clusters.api_server.trust import LoadContext, Trust
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

_CALL = "reading the kubeconfig"
_MOST_DEPTH = 100


def parse_kubeconfig(content: bytes) -> dict[str, Any]:
    """Parse a kubeconfig. Raises `ReadFailure` if it is not one."""
    try:
        _refuse_deep(content)
        document = yaml.load(content, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _failure(f"it is not YAML ({quoted(error, 120)}).") from error
    if not isinstance(document, dict):
        raise _failure("it is not a kubeconfig: not a YAML mapping.")
    return document


def _refuse_deep(content: bytes) -> None:
    """
    Raise `ValueError` for deep nesting, on which the C loader crashes the whole process.

    The C loader saves a tenth of the CPU time of a hundred clusters.
    """
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CBaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise ValueError("it is nested too deeply")


def read_kubeconfig(path: Path) -> dict[str, Any]:
    """Read a kubeconfig file. Raises `ReadFailure`."""
    try:
        return parse_kubeconfig(path.read_bytes())
    except OSError as error:
        raise _failure(f"{quoted(path)} cannot be read ({quoted(error.strerror or error)}).") from error


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """
    The values that all clusters share and that are not in a kubeconfig.

    token: returns tokens of this run's login.
    trust: the further authorities of the environment. The clusters share its contexts.
    proxy_for: returns the proxy of the environment for a URL. A `proxy-url` in the kubeconfig has
        precedence.
    """

    token: Token
    trust: Trust = field(default_factory=Trust)
    proxy_for: Callable[[str], str | None] = lambda _: None

    @classmethod
    def of(cls, azure: Azure) -> ConnectionOptions:
        return cls(partial(access_token, azure.credential), Trust(azure.trust), azure.proxy_for)


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
    return _scope(_named(document, "users", "user", chosen.get("user"))) if chosen.get("user") else None


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
    first, fallbacks = _tls(cluster, user, folder, options.trust)
    return ApiServer(
        url=url.rstrip("/"),
        context=first,
        fallbacks=fallbacks,
        # As in client-go, no login is sent over plain HTTP, where it could be read on the way
        # (`kubectl proxy` needs none).
        authorization=_authorization(user, folder, options.token) if url.startswith("https://") else _anonymous,
        tls_server_name=_optional(cluster, "tls-server-name"),
        proxy=_optional(cluster, "proxy-url") or (None if _is_local(url) else options.proxy_for(url)),
    )


def _context(document: Mapping[str, Any], context: str | None) -> tuple[Any, Mapping[str, Any]]:
    name = context if context is not None else document.get("current-context")
    if not name:
        raise _failure("it has no current context.", "Name one with `context:`.")
    return name, _named(document, "contexts", "context", name)


def _server_url(context: Any, cluster: Mapping[str, Any]) -> str:
    url = cluster.get("server")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise _failure(f"the server of context {quoted(context)!r} is {quoted(url)!r}, which is not an HTTP URL.")
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
    raise _failure(f"it has no {key} named {quoted(name, 60)!r} (it has: {names}).")


def _optional(section: Mapping[str, Any], key: str) -> str | None:
    value = section.get(key)
    return value if isinstance(value, str) and value else None


# -- TLS -------------------------------------------------------------------------------------------


def _tls(
    cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path, trust: Trust
) -> tuple[ssl.SSLContext, tuple[LoadContext, ...]]:
    """Return the first TLS context to use, and those for a certificate that it does not trust."""
    try:
        authority = _material(cluster, "certificate-authority", folder)
        certificate = _material(user, "client-certificate", folder)
        key = _material(user, "client-key", folder)
        insecure = cluster.get("insecure-skip-tls-verify") is True

        def change(context: ssl.SSLContext) -> None:
            if insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if certificate is not None:
                with _files(certificate, key or certificate) as (certificate_file, key_file):
                    context.load_cert_chain(certificate_file, key_file)

        own = authority.decode("ascii") if authority is not None else None
        first, *fallbacks = trust.contexts(own, change if insecure or certificate is not None else None)
        return first(), tuple(fallbacks)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _failure(f"its certificates cannot be used ({quoted(error)}).") from error


def _material(section: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """Decode `<key>-data`, or read the file that `<key>` names."""
    data, path = section.get(f"{key}-data"), section.get(key)
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise ValueError(f"{key}-data is not base64") from error
    return (folder / str(path)).read_bytes() if path else None


@contextmanager
def _files(certificate: bytes, key: bytes) -> Iterator[tuple[Path, Path]]:
    """
    Write both to private files, deleted with the context: OpenSSL loads a key only from a file.
    """
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-") as private:
        paths = Path(private, "certificate.pem"), Path(private, "key.pem")
        for path, content in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        yield paths


# -- logging in ------------------------------------------------------------------------------------


def _authorization(user: Mapping[str, Any], folder: Path, token: Token) -> Callable[[], Awaitable[str | None]]:
    scope = _scope(user)
    if scope is not None:

        async def entra() -> str:
            return f"Bearer {await token(scope)}"

        return entra

    fixed, file = _optional(user, "token"), _optional(user, "tokenFile")

    async def from_kubeconfig() -> str | None:
        # The file has precedence. It is read for each request, because another program renews the
        # token in it.
        if file is not None:
            try:
                return f"Bearer {(await asyncio.to_thread((folder / file).read_text)).strip()}"
            except OSError as error:
                raise _failure(f"its tokenFile {quoted(file)} cannot be read.") from error
        return f"Bearer {fixed}" if fixed is not None else None

    return from_kubeconfig


async def _anonymous() -> None:
    return None


def _scope(user: Mapping[str, Any]) -> str | None:
    """
    Return the scope of the token that replaces `exec` or `auth-provider`; None if there is neither.
    """
    provider, program = user.get("auth-provider"), user.get("exec")
    if isinstance(provider, dict):
        if provider.get("name") != "azure":
            raise _failure(f"it logs in through the provider {quoted(provider.get('name'), 60)!r}.", _OTHER_LOGIN)
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
            raise _failure(
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


def _failure(seen: str, remedy: str = "Check it with `kubectl --kubeconfig FILE get pods -A`.") -> ReadFailure:
    return ReadFailure(_CALL, seen, remedy)
