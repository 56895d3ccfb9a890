"""Failed logins in words: what Entra ID or the SDK reported, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from acr_cleanup.access.federation import AuthType
from acr_cleanup.access.login import LOG_IN, NOT_LOGGED_IN, Login
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import phrase
from acr_cleanup.runtimes.base import NoIdToken

# What Entra ID says by number: what that means, and what to do.
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_LOG_IN_AGAIN = "Log in again (`az logout`, then `az login`)."
_FEDERATION = "Compare issuer, subject and audience of the token with the federated credentials of the application."
_FEDERATION_CODES = frozenset({70021, 70025, 700211, 700212, 700213})
_AADSTS: Mapping[int, tuple[str, str]] = {
    7000215: ("the client secret is wrong", "Put the value of a current secret, not its id, in AZURE_CLIENT_SECRET."),
    7000222: ("the client secret has expired", "Create a new secret, and put its value in AZURE_CLIENT_SECRET."),
    7000218: ("it was given neither a secret nor an assertion", "Set AZURE_CLIENT_SECRET."),
    700016: ("the tenant does not know the application", "Check {client_id} and {tenant_id}."),
    7000112: ("the application is disabled", "Enable it in Entra ID, or use another one."),
    700027: ("the client certificate is not one of the application", "Upload it, or use another certificate."),
    90002: ("there is no such tenant in this cloud", "Check {tenant_id} and the environment (the cloud)."),
    900023: ("that is no id or name of a tenant", "Check {tenant_id}."),
    900382: ("the tenant lives in another cloud", "Set the environment (ARM_ENVIRONMENT) to that cloud."),
    90072: ("the user does not belong to the tenant", "Log in to the right tenant: `az login --tenant TENANT`."),
    500011: ("the tenant does not know the resource", "Check the environment (the cloud) and the audience."),
    65001: ("the application has no consent for the resource", "Let an administrator consent to it."),
    50105: ("it is not assigned to the application", "Assign it in Entra ID."),
    53003: ("a conditional access policy forbids it", "Run where the policy allows, or use a service principal."),
    50076: ("multi-factor authentication is required", _LOG_IN_AGAIN),
    50079: ("multi-factor authentication is required", _LOG_IN_AGAIN),
    50173: ("the login was revoked", _LOG_IN_AGAIN),
    70043: ("the login has expired", _LOG_IN_AGAIN),
    700082: ("the login has expired", _LOG_IN_AGAIN),
    700024: (
        "the federated token is expired or not valid yet",
        "Renew the token, and check the clock of this machine.",
    ),
    50027: ("the federated token is no token at all", "Check what AZURE_FEDERATED_TOKEN_FILE holds."),
    70025: ("the application has no federated credentials", "Add one for the issuer and subject of the token."),
    70021: ("no federated credential matches the token", _FEDERATION),
    700211: ("no federated credential matches the issuer of the token", _FEDERATION),
    700212: ("no federated credential matches the audience of the token", _FEDERATION),
    700213: ("no federated credential matches the subject of the token", _FEDERATION),
}


def explain(error: Exception, login: Login, authority: str) -> IdentityError:
    """
    What a failed login means, in one sentence and with a remedy.

    The SDK's text is read for error numbers only: it runs over many lines, and belongs to the debug log.
    """
    from azure.core.exceptions import (  # noqa: PLC0415
        AzureError,
        ClientAuthenticationError,
        DecodeError,
        ServiceRequestError,
        ServiceResponseError,
    )
    from azure.identity import CredentialUnavailableError  # noqa: PLC0415

    if isinstance(error, NoIdToken):
        chosen = login.federation.choice.auth_type if login.federation is not None else None
        return IdentityError(error.seen, where=f"auth-type {chosen or AuthType.OIDC}", remedy=error.remedy)
    text = str(error)
    if code := re.search(r"AADSTS(\d+)", text):
        return _refused(int(code.group(1)), text, login, authority)
    if isinstance(error, FileNotFoundError | PermissionError) and login.found:
        return IdentityError(
            f"The federated token cannot be read: {error.strerror or 'no such file'}.",
            where=f"AZURE_FEDERATED_TOKEN_FILE {error.filename!r}",
            remedy="Correct the path, or unset the variable.",
        )
    if login.name == "the managed identity" and isinstance(
        error, ClientAuthenticationError | CredentialUnavailableError
    ):
        return IdentityError(
            "The managed identity of this machine gives no token.",
            where=f"auth-type {AuthType.MANAGED_IDENTITY}",
            remedy="Run on a machine of your own in Azure that has one, and give client-id if it has several.",
        )
    if not login.found and isinstance(error, ClientAuthenticationError | CredentialUnavailableError):
        # The chain goes on to the tools of the user unless a managed identity is there and fails.
        if "ManagedIdentityCredential" in text and "AzureCliCredential" not in text:
            return IdentityError(
                "The managed identity of this machine gives no token.",
                remedy="Check that an identity is assigned to the machine, and AZURE_CLIENT_ID if there are several.",
            )
        return IdentityError(NOT_LOGGED_IN, remedy=LOG_IN)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text.lower():
        return IdentityError(
            "Its certificate is not from an authority that this machine trusts.",
            where=authority,
            remedy="Name the company's authority in SSL_CERT_FILE or REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, DecodeError):
        seen = "What answered is not Entra ID."
        return IdentityError(seen, where=authority, remedy="Check the authority and the proxy (HTTPS_PROXY).")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return IdentityError(
            # aiohttp shows its SSL context as an object at an address.
            f"Entra ID cannot be reached: {phrase(re.sub(r' ssl:(?:<[^>]*>|default)', '', text))}.",
            where=authority,
            remedy="Check the network, the proxy (HTTPS_PROXY, NO_PROXY) and the authority.",
        )
    kind = "refused" if isinstance(error, AzureError) else "gave an unexpected answer for"
    return IdentityError(
        f"Entra ID {kind} {login.name}: {phrase(text)}.", where=authority, remedy="The debug log has the details."
    )


def _refused(code: int, text: str, login: Login, authority: str) -> IdentityError:
    """What Entra ID says by this number."""
    if code in _AADSTS:
        meaning, remedy = _AADSTS[code]
        remedy = remedy.format(client_id=login.client_id, tenant_id=login.tenant_id)
    else:
        meaning, remedy = _said(text), "Look the number up at https://login.microsoftonline.com/error."
    seen = f"Entra ID refused {login.name}: {meaning} (AADSTS{code})."
    if login.federation is not None:
        seen += f" The token of the job says {login.federation.said}."
        remedy = login.federation.remedy if code in _FEDERATION_CODES else remedy
    return IdentityError(seen, where=authority, remedy=remedy)


def _said(text: str) -> str:
    """The sentence after the number, without the identifiers that follow it."""
    sentence = re.split(r"AADSTS\d+:?\s*", text, maxsplit=1)[-1]
    return phrase(re.split(r"\s*(?:Trace ID|Timestamp|Correlation ID)\b", sentence, maxsplit=1)[0])
