"""
Log in to Entra ID with the token of a CI job, so that no secret is stored.

A federated credential of the application names the issuer and the subject that it trusts. The token
of the job contains both.
https://learn.microsoft.com/entra/workload-id/workload-identity-federation
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from acr_cleanup.access.jwt import claims_of
from acr_cleanup.quoting import phrase
from acr_cleanup.runtimes.base import NoIdToken

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

FEDERATION_AUDIENCE = "api://AzureADTokenExchange"
"""The audience of tokens of other issuers, unless the federated credential names another one."""


class AuthType(StrEnum):
    """
    How a pipeline logs in.

    No other login is tried: a tool that deletes must not run as an unintended identity.
    """

    OIDC = "oidc"
    """
    With a token that the CI system issues for the job, and that a federated credential trusts.
    """
    MANAGED_IDENTITY = "managed-identity"
    ENVIRONMENT = "environment"
    """A service principal or workload identity in the AZURE_ variables."""
    AZURE_PIPELINES = "azure-pipelines"
    """
    With a token that Azure DevOps issues for a service connection, and that a federated credential
    trusts.
    """

    @property
    def is_federated(self) -> bool:
        """Does a token of another issuer prove the identity?"""
        return self in (AuthType.OIDC, AuthType.AZURE_PIPELINES)


@dataclass(frozen=True, slots=True)
class LoginChoice:
    """
    The login that the user chose.

    auth_type: None for any login of this machine and its user (a workstation).
    audience: the audience of the job's token.
    """

    auth_type: AuthType | None = None
    client_id: str = ""
    tenant_id: str = ""
    audience: str = FEDERATION_AUDIENCE


IdTokens = Callable[[str], Awaitable[str]]
"""Requests a new token of this job for an audience from the CI system. Raises `NoIdToken`."""


async def no_id_tokens(audience: str) -> str:
    """Stand in for the CI system on a machine without one."""
    raise NoIdToken(
        f"This is not a job of a CI system, so there is no token for the audience {audience}.",
        "Choose another auth-type than oidc.",
    )


ASSERTION: ContextVar[str] = ContextVar("assertion")
"""The assertion of the current request. azure-identity reads it through a synchronous function."""


class Closing:
    """
    A base class for `async with`, which the SDKs require of a credential.

    The exit calls `close`.
    """

    async def close(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.close()


@dataclass
class Federation(Closing):
    """
    Prove the identity of an application with the token of a job.

    The token is valid for minutes only, so a new one is requested before each request to Entra ID.
    claims: the claims of the last token, for messages. They are not verified.
    """

    choice: LoginChoice
    id_tokens: IdTokens
    credential: AsyncTokenCredential
    claims: Mapping[str, Any] = field(default_factory=dict)

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """Return a token of Entra ID. Raises the errors of azure-identity, and `NoIdToken`."""
        assertion = await self.id_tokens(self.choice.audience)
        self.claims = claims_of(assertion)
        previous = ASSERTION.set(assertion)
        try:
            return await self.credential.get_token(*scopes, **kwargs)
        finally:
            ASSERTION.reset(previous)

    async def close(self) -> None:
        await self.credential.close()

    @property
    def shown_claims(self) -> str:
        """The claims about the job, for a message. The token itself is never shown."""
        names = ("sub", "aud", "iss", "environment", "job_workflow_ref")
        return ", ".join(f"{name}={phrase(str(self.claims[name]))}" for name in names if self.claims.get(name))

    @property
    def remedy(self) -> str:
        """The command that makes Entra ID trust jobs like this one."""
        subject = str(self.claims.get("sub", ""))
        credential = {
            # A name has at most 120 characters: letters, digits, dashes and underscores.
            "name": (re.sub(r"[^A-Za-z0-9]+", "-", subject).strip("-") or "acr-cleanup")[:100],
            "issuer": str(self.claims.get("iss", "")),
            "subject": subject,
            "audiences": [self.choice.audience],
        }
        # Quoted for a shell: the subject contains the name of a branch, which may be hostile.
        words = ("az", "ad", "app", "federated-credential", "create", "--id", self.choice.client_id, "--parameters")
        command = f"{shlex.join(words)} {shlex.quote(json.dumps(credential))}"
        managed = "(for a managed identity: az identity federated-credential create)"
        if self.choice.auth_type is AuthType.AZURE_PIPELINES:
            # Newer and converted connections have the issuer of Entra ID and another form of
            # subject.
            # https://learn.microsoft.com/azure/devops/pipelines/release/convert-service-connections
            return (
                "Compare the claims with the issuer and subject that the service connection shows when it is edited. They "
                "change if it is renamed or converted. To trust this connection, add a federated credential "
                f"{managed}:\n`{command}`"
            )
        return f"To trust jobs like this one, add a federated credential {managed}:\n`{command}`"
