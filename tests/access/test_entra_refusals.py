"""Refusals of Entra ID and of login tools, as users reported them, and the advice for each."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.access.entra_codes import CODES, IdentityKind
from acr_cleanup.access.federation import AuthType, Federation, LoginChoice, no_id_tokens
from acr_cleanup.access.login import Login
from acr_cleanup.access.login_errors import explain
from acr_cleanup.errors import IdentityError
from tests.helpers.logins import REGISTRY, credential_in, refusal, tool

GITHUB = "https://token.actions.githubusercontent.com"
SUBJECT = "repo:CODfreak213421/IsocertsgDashboard23:environment:Production"
NOT_ASSIGNED = (
    "The requested identity has not been assigned to this resource. Error: Unexpected response "
    "\"{'error': 'invalid_request', 'error_description': 'Identity not found'}\""
)
IDS = " Trace ID: 9b1d-1 Correlation ID: 77aa-2 Timestamp: 2025-02-22 11:02:21Z"


def login(kind: IdentityKind, claims: Mapping[str, Any] | None = None) -> Login:
    federation = None
    if kind in (IdentityKind.JOB, IdentityKind.CONNECTION):
        choice = LoginChoice(AuthType.OIDC, "app-1", "tenant-1")
        federation = Federation(choice, no_id_tokens, None, claims or {})  # type: ignore[arg-type]
    return Login("the application app-1", None, True, kind, application="app-1", federation=federation)  # type: ignore[arg-type]


def explained(text: str, kind: IdentityKind, claims: Mapping[str, Any] | None = None) -> IdentityError:
    error = ClientAuthenticationError(message=f"Authentication failed: {text}")
    return explain(error, login(kind, claims), "https://login.microsoftonline.com")


def commands(error: IdentityError) -> list[list[str]]:
    return [shlex.split(line.strip("`")) for line in error.remedy.splitlines()[1:]]


def test_subject_of_other_case_is_created_again() -> None:
    """An edited credential may keep its old subject: github.com/Azure/login/issues/515, 517 and 573."""
    text = (
        f"AADSTS7002138: No matching federated identity record found for presented assertion subject '{SUBJECT}'. The "
        "subject matches with case-insensitive comparison, but not with case-sensitive comparison. Check your federated "
        f"identity credential Subject, Audience and Issuer against the presented assertion.{IDS}"
    )
    claims = {"sub": SUBJECT, "iss": GITHUB, "aud": "api://AzureADTokenExchange"}
    error = explained(text, IdentityKind.JOB, claims)
    assert "only in upper and lower case" in error.seen
    assert SUBJECT in error.seen
    assert "may keep its old subject" in error.remedy
    assert [words[4] for words in commands(error)] == ["list", "delete", "create"]
    assert json.loads(commands(error)[-1][-1])["subject"] == SUBJECT


@pytest.mark.parametrize("code", [70021, 700211, 700212, 700213, 7002137, 7002138, 7002139])
def test_federation_family_shows_claims_and_command(code: int) -> None:
    """Numbers newer than the table belong to the family by the sentence of Entra ID."""
    text = f"AADSTS{code}: No matching federated identity record found for presented assertion.{IDS}"
    subject = "repo:contoso@5544123/payments-api@821093847:ref:refs/heads/main"
    error = explained(text, IdentityKind.JOB, {"sub": subject, "iss": GITHUB, "aud": "api://X"})
    assert f"sub={subject}" in error.seen
    made = json.loads(commands(error)[-1][-1])
    assert (made["subject"], made["issuer"], made["audiences"]) == (subject, GITHUB, ["api://X"])


def test_refused_enterprise_shows_its_claim() -> None:
    text = f"AADSTS7002381: The tenant does not accept the 'enterprise' claim of the presented assertion.{IDS}"
    error = explained(text, IdentityKind.JOB, {"sub": "repo:a/b:pull_request", "enterprise": "fabrikam"})
    assert "enterprise=fabrikam" in error.seen
    assert "administrator" in error.remedy


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (IdentityKind.JOB, "clock"),
        (IdentityKind.CONNECTION, "clock"),
        (IdentityKind.TOKEN_FILE, "Renew the token in the file"),
        (IdentityKind.USER, "Log in again right before this command"),
    ],
)
def test_expired_federated_token_advice_fits_identity(kind: IdentityKind, words: str) -> None:
    text = f"AADSTS700024: Client assertion is not within its valid time range. Current time: 2025-02-22.{IDS}"
    assert words in explained(text, kind).remedy


@pytest.mark.parametrize("kind", list(IdentityKind))
def test_conditional_access_advice_fits_identity(kind: IdentityKind) -> None:
    """A service principal is not told to use a service principal."""
    text = f"AADSTS53003: Access has been blocked by Conditional Access policies. The access policy does not allow it.{IDS}"
    error = explained(text, kind)
    assert "a conditional access policy forbids it" in error.seen
    assert ("use a service principal" in error.remedy) == (kind is IdentityKind.USER)
    assert ("exclude this service principal" in error.remedy) == (kind is not IdentityKind.USER)


@pytest.mark.parametrize("kind", list(IdentityKind))
@pytest.mark.parametrize("code", list(CODES))
def test_every_code_has_a_remedy_for_every_identity(code: int, kind: IdentityKind) -> None:
    error = explained(f"AADSTS{code}: Some sentence.{IDS}", kind, {"sub": "s"})
    assert error.remedy
    assert "{" not in error.seen + error.remedy.partition("\n")[0]
    assert f"(AADSTS{code})" in error.seen


def test_unknown_code_shows_whole_sentence() -> None:
    sentence = (
        "The application 'acr-cleanup' asked for scope 'x', and the tenant 'Contoso' has an assignment that is needed: "
        f"{'a long explanation, ' * 40}and its end"
    )
    error = explained(f"AADSTS9999999: {sentence}.{IDS}", IdentityKind.SECRET)
    assert sentence in error.seen
    assert "Trace ID" not in str(error)
    assert "code=9999999" in error.remedy


def chain(*attempts: tuple[str, str]) -> Exception:
    lines = "".join(f"\n\t{name}: {text}" for name, text in attempts)
    text = (
        f"DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:{lines}"
        "\nTo mitigate this issue, please refer to the troubleshooting guidelines here at https://aka.ms/x."
    )
    return CredentialUnavailableError(text)


async def test_slow_tool_is_named_with_its_wait(tmp_path: Path) -> None:
    """`az` may need half a minute: github.com/Azure/azure-cli/issues/20404."""
    tool(tmp_path, "exec /bin/sleep 20")
    async with credential_in(CLOUDS["azurecloud"], {}, wait=1) as credential:
        with pytest.raises(IdentityError) as caught:
            await credential.get_token(REGISTRY)
    assert caught.value.seen == "`az` did not answer within 1 seconds."
    assert "login-timeout" in caught.value.remedy


async def test_crashed_tool_is_quoted(tmp_path: Path) -> None:
    """github.com/Azure/azure-cli/issues/29329."""
    script = (
        'printf \'Traceback (most recent call last):\\n  File "/opt/az/x.py", line 3\\n'
        "PermissionError: [Errno 13] Permission denied: msal_token_cache.json\\n' >&2; exit 1"
    )
    tool(tmp_path, script)
    error = await refusal(CLOUDS["azurecloud"], {})
    assert error.seen.startswith("`az` gave no token: PermissionError: [Errno 13]")
    assert "az account get-access-token" in error.where


async def test_output_of_tool_that_is_no_token_is_quoted(tmp_path: Path) -> None:
    tool(tmp_path, "echo 'A new version of az is available'")
    assert "A new version of az is available" in (await refusal(CLOUDS["azurecloud"], {})).seen


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            f"ManagedIdentityCredential authentication unavailable. {NOT_ASSIGNED}",
            "The endpoint answered: Identity not found",
        ),
        ('Failed to deserialize JSON from response\nContent: {"a": 1}', "Failed to deserialize JSON"),
        ("ManagedIdentityCredential authentication unavailable, no response from the IMDS endpoint.", "did not answer"),
    ],
)
def test_managed_identity_message_has_id_and_answer(said: str, words: str) -> None:
    """AZURE_CLIENT_ID may be left over from another login: github.com/Azure/login/issues/538."""
    chosen = Login(
        "the managed identity",
        None,  # type: ignore[arg-type]
        True,
        IdentityKind.MANAGED,
        "AZURE_CLIENT_ID",
        "tenant-id",
        "0f3c",
    )
    error = explain(CredentialUnavailableError(said), chosen, "https://login.example")
    assert "The one with AZURE_CLIENT_ID 0f3c was asked for." in error.seen
    assert words in error.seen
    assert "AZURE_CLIENT_ID" in error.remedy


def test_managed_identity_of_chain_is_named_though_no_tool_is_logged_in() -> None:
    machine = Login("the login of this machine", None, False, application="0f3c")  # type: ignore[arg-type]
    error = explain(
        chain(
            ("ManagedIdentityCredential", NOT_ASSIGNED),
            ("AzureCliCredential", "Please run 'az login' to set up an account"),
        ),
        machine,
        "https://login.example",
    )
    assert "AZURE_CLIENT_ID 0f3c" in error.seen
