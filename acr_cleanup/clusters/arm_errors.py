"""What goes wrong between us and Azure Resource Manager, in words: each failed call becomes `ReadFailure`, with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acr_cleanup.access.resource_manager import EndlessListError
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.targets import AksCluster
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

_NOT_THERE = {
    "SubscriptionNotFound": "`subscription_id`",
    "InvalidSubscriptionId": "`subscription_id`",
    "ResourceGroupNotFound": "`resource_group`",
    "ResourceNotFound": "`name` and `resource_group`",
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription, where a call is about all of it."""

    subscription_id: str


@contextmanager
def arm_problem(call: str, target: AksCluster | Subscription, *, role: str) -> Iterator[None]:
    """
    Translate what the SDK raises inside into `ReadFailure`; `role` is what the identity needs for this call.

    An `IdentityError` of the credential passes through, as does anything that is no failure of the call.
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
        # The SDK checks names before it sends them, and cannot make sense of answers that are not JSON.
        remedy = "Check `name`, `resource_group` and `subscription_id`, and what stands between here and Azure."
        raise ReadFailure(call, f"{type(error).__name__}: {quoted(error)}.", remedy) from error


def _refused(call: str, target: AksCluster | Subscription, role: str, error: HttpResponseError) -> ReadFailure:
    status = error.status_code
    code, message = _code_and_message(error)
    what = ": ".join(part for part in (quoted(code, 80), quoted(message)) if part)
    seen = f"{status} {quoted(error.reason or '', 60)}".strip() + (f": {what}" if what else "")
    subscription = quoted(target.subscription_id, 40)
    if isinstance(target, AksCluster):
        this, now = (
            "this cluster",
            f"(now {quoted(target.name, 63)} in {quoted(target.resource_group, 90)}, {subscription})",
        )
        keys = _NOT_THERE.get(code, "`name`, `resource_group` and `subscription_id`")
    else:
        this, now, keys = "this subscription", f"(now {subscription})", "the id"
    if code in _NOT_THERE or status == 404:
        remedy = f"Check {keys} of {this} {now}."
    elif status == 401:
        remedy = "Check that the login belongs to the tenant and the cloud of this subscription."
    elif status == 403:
        remedy = f"Grant the identity, on {this}, {role if role.startswith('a ') else f'the role {role}'}."
    elif status == 429 or (status or 0) >= 500:
        remedy = "Run again later."
    else:
        remedy = f"Check the configuration and the state of {this} {now}."
    return ReadFailure(call, f"{seen.rstrip('.')}.", remedy)


def _code_and_message(error: HttpResponseError) -> tuple[str, str]:
    """From `{"error": {"code", "message"}}`, or from the flat form that AKS uses at times."""
    response: Any = error.response
    try:
        body = response.json()
    except Exception:  # noqa: BLE001  (not JSON, not read, not decodable: then there is no code)
        body = None
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            return str(inner.get("code") or ""), str(inner.get("message") or "")
    return "", error.message or ""
