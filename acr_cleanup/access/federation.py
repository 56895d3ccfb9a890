"""
Logging in to Entra ID with the token of a CI job: no secret is kept anywhere.

An application's federated credential names the issuer and the subject it trusts; the job's own token says both.
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
"""What tokens of other issuers are issued for, unless the federated credential names another audience."""


class AuthType(StrEnum):
    """How a pipeline logs in. Nothing but what was chosen is tried: a tool that deletes must not become somebody else."""

    OIDC = "oidc"
    """With a token that the job's CI system issues, which a federated credential trusts."""
    MANAGED_IDENTITY = "managed-identity"
    ENVIRONMENT = "environment"
    """A service principal or workload identity in the AZURE_ variables."""
    AZURE_PIPELINES = "azure-pipelines"
    """With a token that Azure DevOps issues for a service connection, which a federated credential trusts."""

    @property
    def is_federated(self) -> bool:
        """Is it proven by the token of another issuer, which is asked for anew each time?"""
        return self in (AuthType.OIDC, AuthType.AZURE_PIPELINES)


@dataclass(frozen=True, slots=True)
class LoginChoice:
    """
    The login that was asked for; with `auth_type` None, whatever this machine and its user have (a workstation).

    `audience` is that of the job's token.
    """

    auth_type: AuthType | None = None
    client_id: str = ""
    tenant_id: str = ""
    audience: str = FEDERATION_AUDIENCE


IdTokens = Callable[[str], Awaitable[str]]
"""Asks the CI system for a fresh token of this job, for an audience; raises `NoIdToken`."""


async def no_id_tokens(audience: str) -> str:
    """Where there is no CI system."""
    raise NoIdToken("Only a job of a CI system has an ID token.", f"Choose another auth-type than oidc ({audience}).")


ASSERTION: ContextVar[str] = ContextVar("assertion")
"""The assertion for the request that is being made: azure-identity asks for it by a function that must not wait."""


class Closing:
    """What may be opened with `async with`, as the SDKs ask of a credential, and is closed at the end of it."""

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
    Proves an application by the token of a job, freshly asked for before every token of Entra ID: it lives for minutes only.

    `claims` are those of the last one, without any check: they are what Entra ID was shown, for messages.
    """

    choice: LoginChoice
    id_tokens: IdTokens
    credential: AsyncTokenCredential
    claims: Mapping[str, Any] = field(default_factory=dict)

    async def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """As every credential. Raises what azure-identity raises, and `NoIdToken`."""
        assertion = await self.id_tokens(self.choice.audience)
        self.claims = claims_of(assertion)
        before = ASSERTION.set(assertion)
        try:
            return await self.credential.get_token(*scopes, **kwargs)
        finally:
            ASSERTION.reset(before)

    async def close(self) -> None:
        await self.credential.close()

    @property
    def said(self) -> str:
        """What the token says of the job, for a message: never the token."""
        named = ("sub", "aud", "iss", "environment", "job_workflow_ref")
        return ", ".join(f"{name}={phrase(str(self.claims[name]))}" for name in named if self.claims.get(name))

    @property
    def remedy(self) -> str:
        """The command that lets Entra ID trust jobs like this one."""
        subject = str(self.claims.get("sub", ""))
        credential = {
            # The name may hold letters, digits, dashes and underscores, 120 of them at most.
            "name": (re.sub(r"[^A-Za-z0-9]+", "-", subject).strip("-") or "acr-cleanup")[:100],
            "issuer": str(self.claims.get("iss", "")),
            "subject": subject,
            "audiences": [self.choice.audience],
        }
        # Quoted for a shell: the subject holds the name of a branch, which anybody may have chosen.
        words = ("az", "ad", "app", "federated-credential", "create", "--id", self.choice.client_id, "--parameters")
        command = f"{shlex.join(words)} {shlex.quote(json.dumps(credential))}"
        managed = "(for a managed identity: az identity federated-credential create)"
        if self.choice.auth_type is AuthType.AZURE_PIPELINES:
            # Connections that were made or converted later have the issuer of Entra ID and another form of subject.
            # https://learn.microsoft.com/azure/devops/pipelines/release/convert-service-connections
            return (
                "Compare with what the service connection shows when it is edited: one that was renamed or converted has another "
                f"subject or issuer. If it shall be trusted, add a federated credential for it {managed}:\n`{command}`"
            )
        return f"If jobs like this one shall be trusted, add a federated credential for it {managed}:\n`{command}`"
