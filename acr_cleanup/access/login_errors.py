"""Messages for failed logins: what Entra ID or the SDK reported, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from acr_cleanup.access.federation import AuthType
from acr_cleanup.access.login import LOG_IN, NOT_LOGGED_IN, Login
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import phrase
from acr_cleanup.runtimes.base import NoIdToken

_LOG_IN_AGAIN = "Log in again (`az logout`, then `az login`)."
_FEDERATION = "Compare the issuer, subject and audience of the token with the federated credentials of the application."
_FEDERATION_CODES = frozenset({70021, 70025, 700211, 700212, 700213})

# The error numbers of Entra ID: the cause, and the remedy.
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_AADSTS: Mapping[int, tuple[str, str]] = {
    7000215: ("the client secret is wrong", "Set AZURE_CLIENT_SECRET to the value of a current secret, not to its id."),
    7000222: ("the client secret has expired", "Create a new secret, and set AZURE_CLIENT_SECRET to its value."),
    7000218: ("the request had neither a secret nor an assertion", "Set AZURE_CLIENT_SECRET."),
    700016: ("the tenant does not know the application", "Check {client_id} and {tenant_id}."),
    7000112: ("the application is disabled", "Enable it in Entra ID, or use another one."),
    700027: (
        "the client certificate is not registered for the application",
        "Upload it to the application, or use another certificate.",
    ),
    90002: ("the tenant does not exist in this cloud", "Check {tenant_id} and the environment (the cloud)."),
    900023: ("the tenant id is neither an id nor a name of a tenant", "Check {tenant_id}."),
    900382: ("the tenant belongs to another cloud", "Set the environment (ARM_ENVIRONMENT) to that cloud."),
    90072: ("the user does not belong to the tenant", "Log in to the right tenant: `az login --tenant TENANT`."),
    500011: ("the tenant does not know the resource", "Check the environment (the cloud) and the audience."),
    65001: (
        "the application has no consent for the resource",
        "Ask an administrator of the tenant to consent to it.",
    ),
    50105: ("the identity is not assigned to the application", "Assign it in Entra ID."),
    53003: (
        "a conditional access policy forbids it",
        "Run on a machine that the policy allows, or use a service principal.",
    ),
    50076: ("multi-factor authentication is required", _LOG_IN_AGAIN),
    50079: ("multi-factor authentication is required", _LOG_IN_AGAIN),
    50173: ("the login was revoked", _LOG_IN_AGAIN),
    70043: ("the login has expired", _LOG_IN_AGAIN),
    700082: ("the login has expired", _LOG_IN_AGAIN),
    700024: (
        "the federated token has expired or is not valid yet",
        "Renew the token, and check the clock of this machine.",
    ),
    50027: (
        "the federated token is not a valid token",
        "Check the content of the file that AZURE_FEDERATED_TOKEN_FILE names.",
    ),
    70025: ("the application has no federated credentials", "Add one for the issuer and subject of the token."),
    70021: ("no federated credential matches the token", _FEDERATION),
    700211: ("no federated credential matches the issuer of the token", _FEDERATION),
    700212: ("no federated credential matches the audience of the token", _FEDERATION),
    700213: ("no federated credential matches the subject of the token", _FEDERATION),
}


def explain(error: Exception, login: Login, authority: str) -> IdentityError:
    """
    Turn the exception of a failed login into one sentence with a remedy.

    authority: the URL of Entra ID.
    Only error numbers are taken from the SDK's text: it has many lines, which are in the debug log.
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
    if isinstance(error, FileNotFoundError | PermissionError) and login.configured:
        return IdentityError(
            f"The federated token cannot be read: {error.strerror or 'no such file'}.",
            where=f"AZURE_FEDERATED_TOKEN_FILE {error.filename!r}",
            remedy="Correct the path, or unset the variable.",
        )
    if isinstance(error, ClientAuthenticationError | CredentialUnavailableError) and (
        not login.configured or login.name == "the managed identity"
    ):
        return _no_token(text, login)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text.lower():
        return IdentityError(
            "The TLS certificate of Entra ID is not trusted on this machine.",
            where=authority,
            remedy="Set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to the certificate of your company's authority.",
        )
    if isinstance(error, DecodeError):
        seen = "The answer is not from Entra ID."
        return IdentityError(seen, where=authority, remedy="Check the authority and the proxy (HTTPS_PROXY).")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return IdentityError(
            # aiohttp shows its SSL context as an object at an address.
            f"Entra ID cannot be reached: {phrase(re.sub(r' ssl:(?:<[^>]*>|default)', '', text))}.",
            where=authority,
            remedy="Check the network, the proxy (HTTPS_PROXY, NO_PROXY) and the authority.",
        )
    verb = "refused" if isinstance(error, AzureError) else "gave an unexpected answer for"
    return IdentityError(
        f"Entra ID {verb} {login.name}: {phrase(text)}.",
        where=authority,
        remedy="The debug log (log-level debug) shows the whole answer.",
    )


def _no_token(text: str, login: Login) -> IdentityError:
    """
    Explain why the machine has no token: of its managed identity, or of any login in the chain.
    """
    if login.configured:
        return IdentityError(
            "The managed identity of this machine gives no token.",
            where=f"auth-type {AuthType.MANAGED_IDENTITY}",
            remedy="Run on a machine in Azure that has a managed identity. If it has several, set client-id.",
        )
    # The chain stops before the tools of the user only if a managed identity exists and fails.
    if "ManagedIdentityCredential" in text and "AzureCliCredential" not in text:
        return IdentityError(
            "The managed identity of this machine gives no token.",
            remedy="Check that an identity is assigned to the machine. If it has several, set AZURE_CLIENT_ID.",
        )
    return IdentityError(NOT_LOGGED_IN, remedy=LOG_IN)


def _refused(code: int, text: str, login: Login, authority: str) -> IdentityError:
    """Explain a refusal by its error number."""
    if code in _AADSTS:
        cause, remedy = _AADSTS[code]
        remedy = remedy.format(client_id=login.client_id, tenant_id=login.tenant_id)
    else:
        cause, remedy = _first_sentence(text), "Look the number up at https://login.microsoftonline.com/error."
    seen = f"Entra ID refused {login.name}: {cause} (AADSTS{code})."
    if login.federation is not None:
        seen += f" The token of the job has {login.federation.shown_claims}."
        remedy = login.federation.remedy if code in _FEDERATION_CODES else remedy
    return IdentityError(seen, where=authority, remedy=remedy)


def _first_sentence(text: str) -> str:
    """Return the sentence after the error number, without the identifiers that follow it."""
    sentence = re.split(r"AADSTS\d+:?\s*", text, maxsplit=1)[-1]
    return phrase(re.split(r"\s*(?:Trace ID|Timestamp|Correlation ID)\b", sentence, maxsplit=1)[0])
