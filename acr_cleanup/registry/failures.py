"""
Turn HTTP statuses and network errors of the registry into the exceptions of errors.py.

Each exception says what failed, where, and what to do. Text from the registry is shortened, and
control characters and tokens are removed.
"""

from __future__ import annotations

import ssl
from http import HTTPStatus

import aiohttp
import msgspec

from acr_cleanup.access import roles
from acr_cleanup.access.roles import Right
from acr_cleanup.errors import NotListed, RegistryClosed, RegistryError, RegistryForbidden, RegistryUnreachable
from acr_cleanup.quoting import quoted
from acr_cleanup.registry.pace import TOO_MANY_REQUESTS, Reply, cause_of

ANY = (
    f"{roles.ACR_PULL} and {roles.ACR_DELETE} (where the registry uses ABAC: {roles.ABAC_CONTRIBUTOR}, "
    f"and for scope 'all' {roles.ABAC_CATALOG})"
)
_ABAC_CONDITION = "If its role assignment has a condition, the condition must include the repository."


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error]


def where(login_server: str, call: str) -> str:
    """The place of a failure, as every message about the registry gives it."""
    return f"registry {login_server}: {call}"


def status_and_errors(reply: Reply) -> str:
    """
    `405 Method Not Allowed (CODE: message)`; the parentheses only if the registry gave errors.
    """
    try:
        status = f"{reply.status} {HTTPStatus(reply.status).phrase}"
    except ValueError:
        status = str(reply.status)
    errors = _errors(reply)
    text = "; ".join(": ".join(filter(None, (error.code, error.message))) for error in errors)
    return f"{status} ({quoted(text)})" if text else status


def is_missing(reply: Reply) -> bool:
    """
    Did the registry answer that the resource does not exist?

    A 404 with a web page does not come from the registry, but from a proxy or another host.
    """
    return reply.status == 404 and "html" not in reply.headers.get("Content-Type", "").lower()


def needed_right(method: str, path: str) -> Right:
    """The right that a request to the registry needs."""
    if path.startswith("/acr/v1/_deleted/"):
        return roles.UNDELETE
    if path.startswith(("/acr/v1/_catalog", "/v2/_catalog")):
        return roles.CATALOG
    return {"DELETE": roles.DELETE, "PATCH": roles.CHANGE_LOCKS, "PUT": roles.PUSH}.get(method, roles.READ)


def missing_right(place: str, seen: str, right: Right) -> RegistryForbidden:
    """The error for a request that the registry refuses because this right is missing."""
    condition = f"{_ABAC_CONDITION} " if right is not roles.CATALOG else ""
    return RegistryForbidden(
        f"rights are missing: {seen}.",
        where=place,
        remedy=f"Give the identity the role {right.roles} on the registry. {condition}"
        "A new role takes up to ten minutes to work.",
    )


def refused(login_server: str, call: str, reply: Reply, right: Right | None) -> RegistryError:
    """
    The error for a reply with an unexpected status.

    `right`: the right that the call needs; None if any right to the registry is enough.
    """
    place, seen = where(login_server, call), status_and_errors(reply)
    if reply.status in (401, 403):
        if "client with ip" in seen.lower():
            return RegistryClosed(
                f"the registry's firewall refused this machine: {seen}.",
                where=place,
                remedy="Allow its address in the networking settings of the registry, or run inside its network.",
            )
        if right is not None:
            return missing_right(place, seen, right)
        return RegistryForbidden(
            f"rights are missing: {seen}.",
            where=place,
            remedy=f"Give the identity the role {ANY} on the registry. A new role takes up to ten minutes to work.",
        )
    if reply.status == TOO_MANY_REQUESTS:
        return RegistryError(
            f"the registry is too busy: {seen}.",
            where=place,
            remedy="Run again later, or with a lower concurrency; other clients may be using up its rate limit.",
        )
    if reply.status >= 500 or reply.status == 408:
        return RegistryError(f"the registry failed repeatedly: {seen}.", where=place, remedy="Run again later.")
    if 300 <= reply.status < 400 or reply.status == 404:
        return RegistryError(
            f"the server does not answer like an Azure container registry: {seen}.",
            where=place,
            remedy="Check container_registry.url, and whether a proxy answers in its place.",
        )
    return RegistryError(f"unexpected answer: {seen}.", where=place, remedy="Run again with --log-level debug.")


def no_answer(login_server: str, call: str, error: BaseException) -> RegistryError:
    """
    The error for a request without a reply: `RegistryUnreachable` if there was no connection at
    all.
    """
    place, cause = f"registry {login_server}", cause_of(error)
    match cause:
        case aiohttp.ClientProxyConnectionError():
            return RegistryUnreachable(
                f"the proxy cannot be reached ({quoted(str(cause.os_error))}).",
                where=place,
                remedy="Check HTTPS_PROXY, or name the registry in NO_PROXY.",
            )
        case aiohttp.ClientHttpProxyError():
            return RegistryUnreachable(
                f"the proxy refused the connection ({cause.status} {quoted(cause.message)}).",
                where=place,
                remedy="Check HTTPS_PROXY and its user name and password, or name the registry in NO_PROXY.",
            )
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return RegistryUnreachable(
                f"its TLS certificate is not trusted ({quoted(_tls_text(cause))}).",
                where=place,
                remedy="If a private authority or an inspecting proxy signed it, name that authority's certificate file in "
                "SSL_CERT_FILE or REQUESTS_CA_BUNDLE.",
            )
        case aiohttp.ClientConnectorDNSError():
            return RegistryUnreachable(
                "no such host.",
                where=place,
                remedy="Check container_registry.url and the network. The name of a private registry may exist only inside "
                "its own network, and some networks need HTTPS_PROXY.",
            )
        case aiohttp.ClientConnectorError():
            return RegistryUnreachable(
                f"no connection ({quoted(str(cause.os_error.strerror or cause.os_error))}).",
                where=place,
                remedy="Check container_registry.url, the network and its firewalls, and HTTPS_PROXY.",
            )
        case aiohttp.ConnectionTimeoutError():
            return RegistryUnreachable(
                "no connection within the time limit.",
                where=place,
                remedy="Check container_registry.url, the network and its firewalls, and HTTPS_PROXY.",
            )
        case TimeoutError():
            seen = "repeatedly no answer within the time limit."
        case _:
            seen = f"the connection was lost repeatedly ({quoted(str(cause)) or type(cause).__name__})."
    return RegistryError(seen, where=where(login_server, call), remedy="Check the network, and run again.")


def not_listed(login_server: str, call: str, seen: str) -> NotListed:
    """
    The error for an incomplete list: any tag may be missing, so nothing in the repository may be
    deleted.
    """
    return NotListed(seen, where=where(login_server, call), remedy="All its tags and manifests are kept. Run again.")


def malformed_list(login_server: str, call: str, error: Exception) -> NotListed:
    """The error for a list that cannot be decoded."""
    return not_listed(login_server, call, f"the response is not a valid list: {quoted(str(error)).rstrip('.')}.")


def _errors(reply: Reply) -> list[_Error]:
    try:
        return msgspec.json.decode(reply.body, type=_Errors).errors
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return []


def _tls_text(cause: BaseException) -> str:
    inner = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None) or cause
    return getattr(inner, "verify_message", "") or str(inner)
