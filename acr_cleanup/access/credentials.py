"""
The credential that all clients share.

In a pipeline, `auth-type` chooses the login. On the command line, a service principal or workload
identity in the environment is used exclusively. After a wrong secret, no other login is tried: a
tool that deletes must not run as an unintended identity. Without such variables, the default chain
of azure-identity searches for a login of this machine or of its user.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.federation import AuthType, Closing, IdTokens, LoginChoice, no_id_tokens
from acr_cleanup.access.login import Login, chosen_login, find_login
from acr_cleanup.access.login_errors import explain
from acr_cleanup.access.service_connection import ACCESS_TOKEN, ServiceConnection
from acr_cleanup.errors import IdentityError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

    from acr_cleanup.access.network import Network

_LOG = logging.getLogger(__name__)

SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", ACCESS_TOKEN)
"""Variables whose values must never be shown."""


@asynccontextmanager
async def open_credential(
    cloud: Cloud,
    network: Network,
    environ: Mapping[str, str],
    choice: LoginChoice | None = None,
    *,
    id_tokens: IdTokens = no_id_tokens,
    mask: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[SingleFlightCredential]:
    """
    Open the credential of this run, for all clients and scopes.

    id_tokens: requests a token of the job, if the CI system issues them.
    mask: takes every secret that must not be shown.
    Raises `IdentityError` if the environment describes a login that cannot be used. A refusal by
    Entra ID appears only with the first token.
    """
    for name in SECRETS:
        mask(environ.get(name, ""))
    choice = choice or LoginChoice()
    if choice.auth_type is None:
        login = find_login(cloud, network, environ, choice.login_timeout)
    else:
        if choice.auth_type is AuthType.AZURE_PIPELINES:
            id_tokens = ServiceConnection.of(environ, network, mask)
        login = chosen_login(choice, cloud, network, environ, id_tokens)
    async with SingleFlightCredential(login, cloud.authority, mask=mask) as credential:
        yield credential


class SingleFlightCredential(Closing):
    """
    Cache one token per scope, and renew it before it expires. Failures are `IdentityError`.

    Concurrent callers share one request. azure-identity has a cache but no lock: thirty-two
    callers would make thirty-two requests.
    """

    def __init__(
        self,
        login: Login,
        authority: str,
        clock: Callable[[], float] = time.time,
        mask: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.login = login
        self._mask = mask
        self._authority = authority
        self._clock = clock
        self._tokens: dict[tuple[object, ...], tuple[AccessToken, float]] = {}
        self._pending: dict[tuple[object, ...], asyncio.Task[AccessToken]] = {}

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """Return a valid token for these scopes. Raises `IdentityError`."""
        if claims:
            # The service has just refused the cached token, so this request must reach Entra ID.
            return await self._request(scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **kwargs)
        key = (scopes, tenant_id, enable_cae)
        cached = self._tokens.get(key)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        if key not in self._pending:
            task = asyncio.create_task(
                self._request_and_keep(key, scopes, tenant_id=tenant_id, enable_cae=enable_cae, **kwargs)
            )
            self._pending[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        try:
            # Shielded, so that the cancellation of one caller does not fail the others.
            return await asyncio.shield(self._pending[key])
        except IdentityError:
            if cached is not None and cached[0].expires_on > self._clock():
                _LOG.warning("A token could not be renewed. The cached token is still valid and is used.")
                return cached[0]
            raise

    async def _request_and_keep(self, key: tuple[object, ...], scopes: tuple[str, ...], **kwargs: Any) -> AccessToken:
        token = await self._request(scopes, **kwargs)
        left = token.expires_on - self._clock()
        # Renew five minutes early, like the SDKs. Renew tokens of less than ten minutes at half
        # their life.
        self._tokens[key] = (token, token.expires_on - min(300.0, left / 2))
        return token

    def _forget(self, key: tuple[object, ...], task: asyncio.Task[AccessToken]) -> None:
        self._pending.pop(key, None)
        if not task.cancelled():
            task.exception()  # Retrieve it, or asyncio logs it if all callers were cancelled.

    async def _request(self, scopes: tuple[str, ...], **kwargs: Any) -> AccessToken:
        try:
            token = await self.login.credential.get_token(*scopes, **kwargs)
        except Exception as error:
            raise explain(error, self.login, self._authority) from error
        self._mask(token.token)
        return token

    async def close(self) -> None:
        """Cancel the pending requests, and close the login."""
        pending = list(self._pending.values())
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self.login.credential.close()
