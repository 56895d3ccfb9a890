"""Messages for failed logins: what Entra ID or the SDK reported, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acr_cleanup.access.entra_codes import IdentityKind, refusal_of
from acr_cleanup.access.federation import AuthType
from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.access.jwt import claims_of
from acr_cleanup.access.login import LOG_IN, NOT_LOGGED_IN, Login
from acr_cleanup.access.trust import shown_claims, trust_remedy
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import phrase, quoted
from acr_cleanup.runtimes.base import NoIdToken

_SENTENCE = 2000
"""Characters of Entra ID's own sentence, which is shown as a whole."""
_END_OF_SENTENCE = re.compile(
    r"\s*(?:\b(?:Trace ID|Timestamp|Correlation ID)\b|\nContent:|\nTo mitigate|\n\s+\w+Credential:|Interactive authentication)"
)

# The part of each login in the text of the default chain.
_ATTEMPT = re.compile(r"^\t(\w+Credential): (.*?)(?=^\t\w+Credential: |^To mitigate|\Z)", re.MULTILINE | re.DOTALL)
_TOOLS = {
    "AzureCliCredential": ("az", "az account get-access-token"),
    "AzurePowerShellCredential": ("PowerShell", "Get-AzAccessToken"),
    "AzureDeveloperCliCredential": ("azd", "azd auth token"),
}
_NO_LOGIN = re.compile(
    r"Azure CLI not found|Azure Developer CLI could not be found|PowerShell is not installed|Az\.Account|Please run\b"
)


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
            remedy=path_remedy(str(error.filename or ""), "Correct the path, or unset the variable."),
        )
    if isinstance(error, ClientAuthenticationError | CredentialUnavailableError) and (
        not login.configured or login.kind is IdentityKind.MANAGED
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
    if login.kind is IdentityKind.MANAGED:
        return _no_managed_identity(text, login, f"auth-type {AuthType.MANAGED_IDENTITY}")
    attempts = {name: said.strip() for name, said in _ATTEMPT.findall(text)}
    # A machine outside of Azure has no endpoint of managed identities. If there is one and it refuses,
    # the identity is wrong.
    said = attempts.get("ManagedIdentityCredential", "")
    if "Unexpected response" in said or (said and "AzureCliCredential" not in attempts):
        return _no_managed_identity(said, login, "")
    for name, (tool, command) in _TOOLS.items():
        said = attempts.get(name, "")
        if said and not _NO_LOGIN.match(said):
            return _no_token_of_tool(said, tool, command, login)
    return IdentityError(NOT_LOGGED_IN, remedy=LOG_IN)


def _no_managed_identity(text: str, login: Login, where: str) -> IdentityError:
    seen = "The managed identity of this machine gives no token."
    if login.application:
        seen += f" The one with {login.client_id} {phrase(login.application)} was asked for."
    if "no response" in text:
        seen += " The endpoint of managed identities did not answer."
        remedy = f"Run on a machine in Azure that has a managed identity. If it has several, set {login.client_id}."
    elif login.application:
        seen += f" The endpoint answered: {_last_answer(text)}."
        remedy = f"Assign this identity to the machine, or correct {login.client_id}. If it is unset, the machine's own is used."
    else:
        seen += f" The endpoint answered: {_last_answer(text)}."
        remedy = f"Assign an identity to the machine. If it has several, set {login.client_id}."
    return IdentityError(seen, where=where, remedy=remedy)


def _last_answer(text: str) -> str:
    """Return what the endpoint of managed identities answered, without the words of the SDK."""
    answer = text.split("Unexpected response ", 1)[-1].partition("\nContent:")
    described = re.search(r"error_description['\"]: ['\"](.*?)['\"]\s*[,}]", answer[0])
    return phrase(described.group(1) if described else answer[0].strip('"'))


def _no_token_of_tool(said: str, tool: str, command: str, login: Login) -> IdentityError:
    if said.startswith("Timed out"):
        return IdentityError(
            f"`{tool}` did not answer within {login.wait} seconds.",
            where=f"`{command}`",
            remedy="Set login-timeout to more seconds, or run the command to see what it waits for.",
        )
    # The last line of a traceback says what happened.
    line = said.splitlines()[-1] if "Traceback (most recent call last)" in said else said
    seen = f"`{tool}` gave no token: {phrase(line)}."
    return IdentityError(
        seen, where=f"`{command}`", remedy="Run this command, and repair what it reports. Or log in anew."
    )


def _refused(code: int, text: str, login: Login, authority: str) -> IdentityError:
    """Explain a refusal by its error number."""
    sentence = _sentence_of_entra(text)
    refusal = refusal_of(code, sentence)
    if refusal is None:
        cause, remedy = sentence, f"https://login.microsoftonline.com/error?code={code} describes this number."
    else:
        cause = refusal.cause
        remedy = refusal.remedy_for(login.kind).format(client_id=login.client_id, tenant_id=login.tenant_id)
    seen = f"Entra ID refused {login.name}: {cause} (AADSTS{code})."
    claims = claims_of_login(login)
    if shown := shown_claims(claims):
        seen += f" The token {'of the job ' if login.federation is not None else ''}has {shown}."
    if refusal is not None and refusal.trust:
        if claims:
            remedy = trust_remedy(code, claims, login.kind, login.application)
        else:
            # `az` has the token, so only Entra ID says what is in it.
            seen += f" Entra ID says: {sentence}."
            remedy = "Add a federated credential for the issuer, subject and audience of the token to the application."
    return IdentityError(seen, where=authority, remedy=remedy, code=code)


def claims_of_login(login: Login) -> Mapping[str, Any]:
    """Return the claims of the token of another issuer that was sent; empty without one."""
    if login.federation is not None:
        return login.federation.claims
    try:
        return claims_of(Path(login.token_file).read_text(encoding="utf-8").strip()) if login.token_file else {}
    except (OSError, ValueError):
        return {}


def _sentence_of_entra(text: str) -> str:
    """Return what follows the error number, as a whole, without the identifiers at its end."""
    sentence = re.split(r"AADSTS\d+:?\s*", text, maxsplit=1)[-1]
    return quoted(_END_OF_SENTENCE.split(sentence, maxsplit=1)[0], _SENTENCE).rstrip(". ")
