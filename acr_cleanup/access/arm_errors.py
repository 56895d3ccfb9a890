"""Turns failed calls of Azure Resource Manager into `ReadFailure`, with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.access.resource_manager import EndlessListError
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

# The keys of the configuration to check for each error code of 404.
_KEYS_TO_CHECK = {
    "SubscriptionNotFound": "`subscription_id`",
    "InvalidSubscriptionId": "`subscription_id`",
    "ResourceGroupNotFound": "`resource_group`",
    "ResourceNotFound": "`name` and `resource_group`",
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """The target of a call about a whole subscription."""

    subscription_id: str


class Place(Protocol):
    """The target of a call about one cluster: where the configuration says that it is."""

    @property
    def name(self) -> str: ...
    @property
    def resource_group(self) -> str: ...
    @property
    def subscription_id(self) -> str: ...


@contextmanager
def arm_problem(call: str, target: Place | Subscription, *, role: str) -> Iterator[None]:
    """
    Translate the exceptions of the SDK in this context into `ReadFailure`.

    call: what is attempted, for the message.
    role: the role that the identity needs for it, for the remedy.

    Other exceptions pass through, such as the `IdentityError` of a credential.
    """
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError  # noqa: PLC0415

    try:
        yield
    except HttpResponseError as error:
        if error.response is None:
            if isinstance(error, ClientAuthenticationError):
                raise ReadFailure(
                    call, f"no token for Azure Resource Manager: {quoted(error)}.", "Log in again."
                ) from error
            raise ReadFailure(call, f"{quoted(error)}.", "Run again.") from error
        raise _refused(call, target, role, error) from error
    except EndlessListError as error:
        raise ReadFailure(
            call, f"the list does not end: {error}.", "Run again later, and report it if it persists."
        ) from error
    except AzureError as error:
        raise ReadFailure(
            call,
            f"Azure Resource Manager cannot be reached ({quoted(error)}).",
            "Check the network, HTTPS_PROXY and NO_PROXY; behind a proxy that inspects TLS also SSL_CERT_FILE.",
        ) from error
    except ValueError as error:
        # The SDK raises it for names that it refuses to send, and for answers that are not JSON.
        remedy = "Check `name`, `resource_group` and `subscription_id`, and any proxy or gateway in front of Azure."
        raise ReadFailure(call, f"{type(error).__name__}: {quoted(error)}.", remedy) from error


def _refused(call: str, target: Place | Subscription, role: str, error: HttpResponseError) -> ReadFailure:
    status = error.status_code
    code, message = _code_and_message(error)
    details = ": ".join(part for part in (quoted(code, 80), quoted(message)) if part)
    seen = f"{status} {quoted(error.reason or '', 60)}".strip() + (f": {details}" if details else "")
    subscription = quoted(target.subscription_id, 40)
    if isinstance(target, Subscription):
        name, values, keys = "this subscription", f"(now {subscription})", "the id"
    else:
        name, values = (
            "this cluster",
            f"(now {quoted(target.name, 63)} in {quoted(target.resource_group, 90)}, {subscription})",
        )
        keys = _KEYS_TO_CHECK.get(code, "`name`, `resource_group` and `subscription_id`")
    if code in _KEYS_TO_CHECK or status == 404:
        remedy = f"Check {keys} of {name} {values}."
    elif status == 401:
        remedy = "Check that the login belongs to the tenant and the cloud of this subscription."
    elif status == 403:
        remedy = f"Grant the identity, on {name}, {role if role.startswith('a ') else f'the role {role}'}."
    elif status == 429 or (status or 0) >= 500:
        remedy = "Run again later."
    else:
        remedy = f"Check the configuration and the state of {name} {values}."
    return ReadFailure(call, f"{seen.rstrip('.')}.", remedy)


def _code_and_message(error: HttpResponseError) -> tuple[str, str]:
    """
    Return the code and the message of an error: of `{"error": {"code", "message"}}`, or of the flat
    form that AKS sometimes uses.
    """
    response: Any = error.response
    try:
        body = response.json()
    except Exception:  # noqa: BLE001  (not JSON, not read or not decodable: then there is no code)
        body = None
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            return str(inner.get("code") or ""), str(inner.get("message") or "")
    return "", error.message or ""
