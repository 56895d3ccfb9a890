"""
Log in to Entra ID with the token of a CI job, so that no secret is stored.

A federated credential of the application names the issuer and the subject that it trusts. The token
of the job contains both.
https://learn.microsoft.com/entra/workload-id/workload-identity-federation
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from acr_cleanup.access.clouds import FEDERATION_AUDIENCE
from acr_cleanup.access.jwt import claims_of
from acr_cleanup.runtimes.base import NoIdToken

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

TOOL_TIMEOUT = 60
"""Seconds for `az` and similar tools, which start slowly on busy machines."""


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
    login_timeout: seconds to wait for `az` and similar tools.
    """

    auth_type: AuthType | None = None
    client_id: str = ""
    tenant_id: str = ""
    audience: str = FEDERATION_AUDIENCE
    login_timeout: int = TOOL_TIMEOUT


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
