"""
Authorize requests to the registry: Entra ID token -> refresh token -> access token, each kept.

The SDK keeps no access token: it sends every request without one, is challenged, exchanges two
tokens and sends again, four requests for one operation
(https://github.com/Azure/azure-sdk-for-python/issues/29090). This policy runs before the SDK's and
authorizes the request, so that no challenge follows. If the registry still answers with a
challenge, the SDK's own flow handles that request.

Protocol: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from azure.core import AsyncPipelineClient
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, IncompleteReadError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy, HttpLoggingPolicy, UserAgentPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

from acr_cleanup.access.jwt import claims_of
from acr_cleanup.errors import AcrCleanupError, IdentityError, RegistryClosed, RegistryError, RegistryForbidden
from acr_cleanup.quoting import quoted
from acr_cleanup.registry.failures import ANY, missing_right, needed_right, no_answer, refused, status_and_errors, where
from acr_cleanup.registry.pace import NO_ANSWER, Category, Pace, Reply
from acr_cleanup.registry.transport import TooLargeError, Transport, read_bounded

API_VERSION = "2021-07-01"

BATCH = 10
"""Repositories in the scope of one token, as acr-cli does for registries that grant no wildcard."""

EVERYTHING = "registry:catalog:* repository:*:*"
CATALOG = "registry:catalog:*"
REPOSITORY = "repository:{name}:{actions}"
DELETING = ("pull", "delete", "metadata_read")
"""
Actions in the scope of a token that must name its repositories: only what reading and deleting
need.
"""
UNLOCKING = (*DELETING, "metadata_write")
RESTORING = ("pull", "push", "metadata_read", "metadata_write", "deleted_read", "deleted_restore")
"""The last two are for soft delete; `az acr manifest restore` asks for the same."""

OPAQUE_LIFETIME = 60.0
"""
Seconds that a token without an expiry is used.

https://distribution.github.io/distribution/spec/auth/token/
"""

RENEW_EARLY = 300.0
"""
Seconds before its expiry from which a token is renewed (or a fifth of its lifetime, if that is
less).
"""

REFUSAL_STAYS = 30.0
"""
Seconds during which a refused login is not repeated: otherwise 50 callers would repeat it one by
one.
"""

LARGEST_ANSWER = 1024 * 1024
"""Bytes."""

_REPOSITORY_IN_PATH = re.compile(
    r"/(?:acr/v1(?:/_deleted)?|v2)/(?P<name>.+?)(?:/(?:_tags|_manifests|manifests)(?:/[^/]*)?)?"
)

# Errors of the SDK's own flow after a 401. It cannot parse every token and challenge.
_CHALLENGE_FAILED = (HttpResponseError, ValueError, KeyError)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Token:
    """
    One token, fetched when first needed.

    With `lock`, one caller renews it while the others wait.
    """

    names: list[str] = field(default_factory=list)
    value: str = field(default="", repr=False)
    until: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    asked: bool = False

    def drop(self, value: str) -> None:
        """Forget this value, but not a newer one that another caller has fetched."""
        if self.value == value:
            self.until = float("-inf")


class RegistryTokens(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """
    Sets `Authorization` on every request to the registry, with as few tokens as possible.

    Most registries accept wildcards in scopes, so one token is enough. A registry in ABAC mode
    silently ignores wildcards: there, each token names ten repositories and the `actions` on them.

    `clock`: seconds since the epoch. The pipeline raises `IdentityError` and `RegistryError`.
    """

    def __init__(
        self,
        login_server: str,
        credential: AsyncTokenCredential,
        transport: Transport,
        pace: Pace,
        *,
        audience: str,
        actions: Iterable[str] = DELETING,
        user_agent: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        self._login_server = login_server
        self._credential = credential
        self._scope = f"{audience}/.default"
        self._actions = ",".join(actions)
        self._pace = pace
        self._clock = clock
        self._client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
            f"https://{login_server}",
            policies=[UserAgentPolicy(user_agent=user_agent), HttpLoggingPolicy()],
            transport=transport,
        )
        self._refresh = _Token()
        self._everything = _Token()
        self._catalog = _Token()
        self._batches: dict[str, _Token] = {}
        self._filling: _Token | None = None
        self._per_repository = False
        self._refusal: AcrCleanupError | None = None
        self._refused_until = float("-inf")

    def announce(self, names: Iterable[str]) -> None:
        """
        Name the repositories that will be needed, roughly in that order, so that each token names
        ten.
        """
        for name in names:
            if name in self._batches:
                continue
            batch = self._filling
            if batch is None or batch.asked or len(batch.names) == BATCH:
                batch = self._filling = _Token()
            batch.names.append(name)
            self._batches[name] = batch

    async def send(self, request: PipelineRequest[HttpRequest]) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        http = request.http_request
        url = http.url
        if "/oauth2/" in url and urlsplit(url).path.startswith("/oauth2/"):
            # The SDK's token client uses the same policies.
            return await self.next.send(request)
        token, value = await self._token_for(url)
        http.headers["Authorization"] = sent = f"Bearer {value}"
        try:
            response = await self.next.send(request)
        except IncompleteReadError:
            raise
        except _CHALLENGE_FAILED as error:
            log.debug("the registry refused a token, and the SDK could not get another: %s", type(error).__name__)
        else:
            challenged = http.headers["Authorization"] != sent
            if challenged and response.http_response.status_code != 401:
                # The registry accepted the SDK's token for this repository, but not ours. (If it
                # refuses both, rights are missing, and another token does not help.)
                log.debug("the registry refused a wildcard token; further tokens name their repositories")
                self._refuse(token, value)
            return response
        self._refuse(token, value)
        token, value = await self._token_for(url)
        http.headers["Authorization"] = f"Bearer {value}"
        try:
            return await self.next.send(request)
        except IncompleteReadError:
            raise
        except _CHALLENGE_FAILED:
            path = urlsplit(url).path
            place = where(self._login_server, f"{http.method} {unquote(path)}")
            raise missing_right(place, "401 Unauthorized", needed_right(http.method, path)) from None

    def _refuse(self, token: _Token, value: str) -> None:
        token.drop(value)
        self._per_repository = True

    def _choose(self, repository: str | None) -> tuple[_Token, str]:
        """The token for a repository (None: for the catalog), and its scope."""
        if not self._per_repository:
            return self._everything, EVERYTHING
        if repository is None:
            return self._catalog, CATALOG
        self.announce((repository,))
        batch = self._batches[repository]
        return batch, " ".join(REPOSITORY.format(name=name, actions=self._actions) for name in batch.names)

    async def _token_for(self, url: str) -> tuple[_Token, str]:
        if not self._per_repository and self._clock() < self._everything.until:
            return self._everything, self._everything.value
        repository = _repository_in(urlsplit(url).path)
        while True:
            token, _ = self._choose(repository)
            if self._clock() < token.until:
                return token, token.value
            async with token.lock:
                if self._clock() < token.until:
                    return token, token.value
                if self._refusal is not None and self._clock() < self._refused_until:
                    raise self._refusal
                try:
                    if await self._renew(token, repository):
                        return token, token.value
                except AcrCleanupError as error:
                    # An identity may be refused the catalog alone, and still read repositories.
                    forbidden = isinstance(error, RegistryForbidden) and not isinstance(error, RegistryClosed)
                    if not (forbidden and token is self._catalog):
                        self._refusal, self._refused_until = error, self._clock() + REFUSAL_STAYS
                    raise

    async def _renew(self, token: _Token, repository: str | None) -> bool:
        """
        Fetch this token.

        Returns False if the registry needs another kind of token for the repository.
        """
        refresh = await self._refresh_token()
        # The refresh token tells whether the registry grants wildcards, so choose again.
        chosen, scope = self._choose(repository)
        if chosen is not token:
            return False
        token.asked = True
        try:
            value, claims = await self._access_token(scope, refresh)
        except RegistryForbidden:
            if self._per_repository:
                raise
            # Perhaps only the wildcard was refused. The next attempt asks for the repository
            # itself.
            claims, value = {"access": []}, ""
        if not self._per_repository and claims.get("access") == []:
            self._per_repository = True
            return False
        token.value, token.until = value, self._clock() + self._lifetime(claims)
        return True

    async def _access_token(self, scope: str, refresh: str) -> tuple[str, Mapping[str, Any]]:
        call = "asking for an access token"
        form = {"grant_type": "refresh_token", "service": self._login_server, "scope": scope, "refresh_token": refresh}
        reply = await self._post("/oauth2/token", form, call)
        if reply.status == 401:
            # Switching a registry to ABAC invalidates the refresh tokens it has issued.
            self._refresh.drop(refresh)
            form["refresh_token"] = await self._refresh_token()
            reply = await self._post("/oauth2/token", form, call)
        return self._token_in(reply, "access_token", call)

    async def _refresh_token(self) -> str:
        token = self._refresh
        if self._clock() < token.until:
            return token.value
        async with token.lock:
            if self._clock() < token.until:
                return token.value
            value, claims = await self._exchange()
            if "aad_identity" in claims:
                # acr-cli detects ABAC mode by the same claim.
                self._per_repository = True
            token.value, token.until = value, self._clock() + self._lifetime(claims)
            return value

    async def _exchange(self) -> tuple[str, Mapping[str, Any]]:
        call = "signing in"
        form = {
            "grant_type": "access_token",
            "service": self._login_server,
            "access_token": await self._entra_token(),
        }
        try:
            return self._token_in(await self._post("/oauth2/exchange", form, call), "refresh_token", call)
        except RegistryForbidden as error:
            raise RegistryClosed(error.seen, where=error.where, remedy=error.remedy) from error

    async def _entra_token(self) -> str:
        try:
            return (await self._credential.get_token(self._scope)).token
        except ClientAuthenticationError as error:
            raise IdentityError(
                f"no token for {self._scope}: {quoted(error.message).rstrip('.')}.",
                where="Entra ID",
                remedy="Log in (`az login`), or set AZURE_TENANT_ID, AZURE_CLIENT_ID and a secret or a federated token.",
            ) from error
        except AzureError as error:
            raise IdentityError(
                f"no answer: {quoted(error.message).rstrip('.')}.",
                where="Entra ID",
                remedy="Check the network, HTTPS_PROXY and, for a private authority, SSL_CERT_FILE.",
            ) from error

    async def _post(self, path: str, form: dict[str, str], call: str) -> Reply:
        async def send() -> Reply:
            request = HttpRequest(
                "POST", f"https://{self._login_server}{path}", params={"api-version": API_VERSION}, data=form
            )
            response = await self._client.send_request(request, stream=True)
            return Reply(response.status_code, response.headers, await read_bounded(response, LARGEST_ANSWER))

        try:
            return await self._pace.run(Category.TOKEN, send)
        except NO_ANSWER as error:
            raise no_answer(self._login_server, call, error) from error
        except TooLargeError:
            raise RegistryError(
                "the response is too large for a token.",
                where=where(self._login_server, call),
                remedy="Check container_registry.url, and whether a proxy answers in its place.",
            ) from None

    def _token_in(self, reply: Reply, kind: str, call: str) -> tuple[str, Mapping[str, Any]]:
        if reply.status in (400, 401):
            raise RegistryForbidden(
                f"the registry did not accept this identity: {status_and_errors(reply)}.",
                where=where(self._login_server, call),
                remedy=f"Give it the role {ANY} on the registry, and check that it belongs to the registry's tenant and that "
                "cloud.audience, if set, is right. A new role takes up to ten minutes to work.",
            )
        if reply.status != 200:
            raise refused(self._login_server, call, reply, None)
        try:
            answer = msgspec.json.decode(reply.body, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            answer = {}
        value = answer.get(kind)
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise RegistryError(
                f"the response has no {kind}.",
                where=where(self._login_server, call),
                remedy="Check container_registry.url, and whether a proxy answers in its place.",
            )
        # The answer may give the lifetime of an opaque token. The claims of a JSON web token come
        # first.
        return value, {"expires_in": answer.get("expires_in"), **claims_of(value)}

    def _lifetime(self, claims: Mapping[str, Any]) -> float:
        """Seconds that a token that has just arrived may be used."""
        expires, issued, stated = (_number(claims.get(name)) for name in ("exp", "iat", "expires_in"))
        left = stated if stated is not None else OPAQUE_LIFETIME
        if expires is not None:
            left = expires - self._clock()
            if issued is not None and (left > expires - issued or left <= 0):
                # Our clock differs from the registry's. The lifetime is the same on both.
                left = expires - issued
        return max(left - min(RENEW_EARLY, left / 5), 0.0)


def _repository_in(path: str) -> str | None:
    match = _REPOSITORY_IN_PATH.fullmatch(path)
    name = unquote(match["name"]) if match else "_catalog"
    return None if name == "_catalog" else name


def _number(value: Any) -> float | None:
    # Larger values are not dates.
    return float(value) if type(value) in (int, float) and 0 <= value < 1e12 else None
