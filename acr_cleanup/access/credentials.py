"""
Who we are, and where that is asked: the clouds, and one credential for every client.

A pipeline says by `auth-type` how it logs in. On the command line a service principal or a workload identity in the environment
is used, and nothing but it: a tool that deletes must not become somebody else because a secret was wrong. Without one,
azure-identity's default chain looks for a login of this machine or of its user.
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
    The credential of this run, for every client and every scope.

    `id_tokens` gives the tokens of the job, where it has any; `mask` hears of every secret that must not be shown. Raises
    `IdentityError` when the environment describes a login that cannot be one; whether Entra ID accepts it shows with
    the first token.
    """
    for name in SECRETS:
        mask(environ.get(name, ""))
    if choice is None or choice.auth_type is None:
        login = find_login(cloud, network, environ)
    else:
        if choice.auth_type is AuthType.AZURE_PIPELINES:
            id_tokens = ServiceConnection.of(environ, network, mask)
        login = chosen_login(choice, cloud, network, environ, id_tokens)
    async with SingleFlightCredential(login, cloud.authority, mask=mask) as credential:
        yield credential


class SingleFlightCredential(Closing):
    """
    One token per scope, asked for once however many callers wait, renewed before it expires, its failures put in words.

    azure-identity caches too, but does not lock: thirty-two callers would make thirty-two requests.
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
        """A token for these scopes, valid for a while. Raises `IdentityError`."""
        if claims:
            # The service has just refused the token that we had: this demand must reach Entra ID.
            return await self._request(scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **kwargs)
        key = (scopes, tenant_id, enable_cae)
        held = self._tokens.get(key)
        if held is not None and self._clock() < held[1]:
            return held[0]
        if key not in self._pending:
            task = asyncio.create_task(
                self._request_and_keep(key, scopes, tenant_id=tenant_id, enable_cae=enable_cae, **kwargs)
            )
            self._pending[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        try:
            # Shielded: that one caller is cancelled must not fail the others.
            return await asyncio.shield(self._pending[key])
        except IdentityError:
            if held is not None and held[0].expires_on > self._clock():
                _LOG.warning("A token could not be renewed; the one at hand is still valid.")
                return held[0]
            raise

    async def _request_and_keep(self, key: tuple[object, ...], scopes: tuple[str, ...], **kwargs: Any) -> AccessToken:
        token = await self._request(scopes, **kwargs)
        left = token.expires_on - self._clock()
        # Five minutes early, like the SDKs; tokens that live shorter are renewed at half their life.
        self._tokens[key] = (token, token.expires_on - min(300.0, left / 2))
        return token

    def _forget(self, key: tuple[object, ...], task: asyncio.Task[AccessToken]) -> None:
        self._pending.pop(key, None)
        if not task.cancelled():
            task.exception()  # Seen, even if every caller has gone meanwhile.

    async def _request(self, scopes: tuple[str, ...], **kwargs: Any) -> AccessToken:
        try:
            token = await self.login.credential.get_token(*scopes, **kwargs)
        except Exception as error:
            raise explain(error, self.login, self._authority) from error
        self._mask(token.token)
        return token

    async def close(self) -> None:
        """Give up what is still being asked for."""
        pending = list(self._pending.values())
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self.login.credential.close()
