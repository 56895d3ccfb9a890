"""
A kubeconfig -> the API server it means, without ever running what it names.

A kubeconfig may name a program to run for a token (`exec`). It is never run: it is a program of whoever wrote the file, and the
Kubernetes client goes on anonymously when it fails. For kubelogin, which is what AKS writes, a token of our own login takes its
place; any other program makes the cluster unread.
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
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from acr_cleanup.clusters.api_server.client import ApiServer
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.quoting import quoted

AKS_SERVER_APP = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""The application every Entra ID cluster of AKS expects tokens for, the same in all clouds.
https://azure.github.io/kubelogin/concepts/aks.html"""

Token = Callable[[str], Awaitable[str]]
"""Gives an access token of our login for a scope such as `<application>/.default`, fresh enough for one request."""

_CALL = "reading the kubeconfig"
_MOST_DEPTH = 100


def parse_kubeconfig(content: bytes) -> dict[str, Any]:
    """The document, raising `ReadFailure` for what is none."""
    try:
        _refuse_deep(content)
        document = yaml.load(content, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _unread(f"it is not YAML ({quoted(error, 120)}).") from error
    if not isinstance(document, dict):
        raise _unread("it is no kubeconfig: not a YAML mapping.")
    return document


def _refuse_deep(content: bytes) -> None:
    """On deep nesting the fast loader, which saves a tenth of the CPU of a hundred clusters, crashes the whole process."""
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CBaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise ValueError("it is nested too deeply")


def read_kubeconfig(path: Path) -> dict[str, Any]:
    """The document in a file, raising `ReadFailure` if there is none."""
    try:
        return parse_kubeconfig(path.read_bytes())
    except OSError as error:
        raise _unread(f"{quoted(path)} cannot be read ({quoted(error.strerror or error)}).") from error


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """
    What a kubeconfig does not say, and what is the same for all clusters.

    `token` gives tokens of our login. `trust` are further CA files (or folders): a proxy that inspects TLS signs the API
    server's certificate anew, so that the cluster's own CA alone would not do. `proxy_for` is the environment's proxy for a URL,
    which a `proxy-url` in the kubeconfig overrules.
    """

    token: Token
    trust: tuple[Path, ...] = ()
    proxy_for: Callable[[str], str | None] = lambda _: None


def server_of(document: Mapping[str, Any], context: str | None) -> str:
    """The URL of the API server of a context (None: the current one). Raises `ReadFailure`."""
    name, chosen = _context(document, context)
    return _server_url(name, _named(document, "clusters", "cluster", chosen.get("cluster")))


def api_server(
    document: Mapping[str, Any], context: str | None, *, folder: Path, around: ConnectionOptions
) -> ApiServer:
    """
    The API server of a context (None: the current one) and how to log in to it.

    `folder` is where relative paths in the file begin. Raises `ReadFailure`.
    """
    name, chosen = _context(document, context)
    cluster = _named(document, "clusters", "cluster", chosen.get("cluster"))
    user = _named(document, "users", "user", chosen.get("user")) if chosen.get("user") else {}
    url = _server_url(name, cluster)
    return ApiServer(
        url=url.rstrip("/"),
        context=_tls(cluster, user, folder, around.trust),
        # As client-go has it: no login is sent where anybody on the way could read it (`kubectl proxy` needs none).
        authorization=_authorization(user, folder, around.token) if url.startswith("https://") else _nobody,
        tls_server_name=_optional(cluster, "tls-server-name"),
        proxy=_optional(cluster, "proxy-url") or (None if _is_here(url) else around.proxy_for(url)),
    )


def _context(document: Mapping[str, Any], context: str | None) -> tuple[Any, Mapping[str, Any]]:
    name = context if context is not None else document.get("current-context")
    if not name:
        raise _unread("it has no current context.", "Name one with `context:`.")
    return name, _named(document, "contexts", "context", name)


def _server_url(context: Any, cluster: Mapping[str, Any]) -> str:
    url = cluster.get("server")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise _unread(f"the server of context {quoted(context)!r} is {quoted(url)!r}, which is no URL.")
    return url


def _is_here(url: str) -> bool:
    """
    Is this an API server on this machine? No proxy of the environment leads there, and kubectl asks none.

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
            found: dict[str, Any] = entry[key]
            return found
    names = ", ".join(quoted(entry.get("name"), 60) for entry in known[:10]) or "none"
    raise _unread(f"it has no {key} named {quoted(name, 60)!r} (it has: {names}).")


def _optional(section: Mapping[str, Any], key: str) -> str | None:
    value = section.get(key)
    return value if isinstance(value, str) and value else None


# -- TLS ---------------------------------------------------------------------------------------------------------------


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path, trust: tuple[Path, ...]) -> ssl.SSLContext:
    try:
        authority = _material(cluster, "certificate-authority", folder)
        if authority is None:
            context = ssl.create_default_context()
        else:
            context = ssl.create_default_context(cadata=authority.decode("ascii"))
        # Python 3.13 asks more of certificates than the CAs of older clusters fulfil; no other client does.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        for path in trust:
            context.load_verify_locations(**{"capath" if path.is_dir() else "cafile": str(path)})
        if cluster.get("insecure-skip-tls-verify") is True:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE

        certificate = _material(user, "client-certificate", folder)
        key = _material(user, "client-key", folder)
        if certificate is not None:
            with _files(certificate, key or certificate) as (certificate_file, key_file):
                context.load_cert_chain(certificate_file, key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _unread(f"its certificates cannot be used ({quoted(error)}).") from error
    return context


def _material(section: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """What `<key>-data` holds, or the file that `<key>` names."""
    data, path = section.get(f"{key}-data"), section.get(key)
    if data:
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise ValueError(f"{key}-data is not base64") from error
    return (folder / str(path)).read_bytes() if path else None


@contextmanager
def _files(certificate: bytes, key: bytes) -> Iterator[tuple[Path, Path]]:
    """OpenSSL takes a key only from a file: private ones, gone as soon as they are read."""
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-") as private:
        paths = Path(private, "certificate.pem"), Path(private, "key.pem")
        for path, content in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        yield paths


# -- logging in --------------------------------------------------------------------------------------------------------


def _authorization(user: Mapping[str, Any], folder: Path, token: Token) -> Callable[[], Awaitable[str | None]]:
    scope = _scope(user)
    if scope is not None:

        async def entra() -> str:
            return f"Bearer {await token(scope)}"

        return entra

    fixed, file = _optional(user, "token"), _optional(user, "tokenFile")

    async def written() -> str | None:
        # The file wins, and is read anew each time: whoever writes it renews it.
        if file is not None:
            try:
                return f"Bearer {(await asyncio.to_thread((folder / file).read_text)).strip()}"
            except OSError as error:
                raise _unread(f"its tokenFile {quoted(file)} cannot be read.") from error
        return f"Bearer {fixed}" if fixed is not None else None

    return written


async def _nobody() -> None:
    return None


def _scope(user: Mapping[str, Any]) -> str | None:
    """The scope of the token of ours that takes the place of `exec` or `auth-provider`; None if there is neither."""
    provider, program = user.get("auth-provider"), user.get("exec")
    if isinstance(provider, dict):
        if provider.get("name") != "azure":
            raise _unread(f"it logs in through the provider {quoted(provider.get('name'), 60)!r}.", _OTHER_LOGIN)
        config = provider.get("config")
        server = config.get("apiserver-id") if isinstance(config, dict) else None
        return f"{server or AKS_SERVER_APP}/.default"
    if isinstance(program, dict):
        given = program.get("args")
        arguments = [str(argument) for argument in given] if isinstance(given, list) else []
        # Both kinds of path; other programs of this name (for other issuers) know no --server-id.
        command = PureWindowsPath(str(program.get("command"))).name.removesuffix(".exe")
        if command != "kubelogin" or _flag(arguments, "--oidc-issuer-url") is not None:
            raise _unread(
                f"it logs in with the program {quoted(program.get('command'), 60)!r}, which is not run.", _OTHER_LOGIN
            )
        return f"{_flag(arguments, '--server-id') or AKS_SERVER_APP}/.default"
    return None


_OTHER_LOGIN = (
    "Only kubelogin for Azure is replaced by our own login: use a kubeconfig with a token or a client certificate."
)


def _flag(arguments: list[str], name: str) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if argument == name:
            return following
        if argument.startswith(f"{name}="):
            return argument.removeprefix(f"{name}=")
    return None


def _unread(seen: str, remedy: str = "Check it with `kubectl --kubeconfig FILE get pods -A`.") -> ReadFailure:
    return ReadFailure(_CALL, seen, remedy)
