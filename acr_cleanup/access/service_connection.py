"""
Request tokens of a service connection from Azure DevOps, for a job that may use the connection.

This replaces azure-identity's `AzurePipelinesCredential`, which blocks the event loop while it
waits. Its client uses neither our proxies nor our authorities, and it reports all failures alike.
https://learn.microsoft.com/azure/devops/pipelines/release/configure-workload-identity
https://github.com/Azure/azure-sdk-for-python/blob/main/sdk/identity/azure-identity/azure/identity/_credentials/azure_pipelines.py
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from acr_cleanup.quoting import phrase
from acr_cleanup.runtimes.base import NoIdToken

if TYPE_CHECKING:
    from acr_cleanup.access.network import Network

ACCESS_TOKEN = "SYSTEM_ACCESSTOKEN"  # noqa: S105  (the name of a variable)
"""The token of a job for requests to Azure DevOps."""
REQUEST_URI = "SYSTEM_OIDCREQUESTURI"
CONNECTION = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"

API_VERSION = "7.1"
ATTEMPTS = 3
DEADLINE = 15.0
"""The timeout of one request, in seconds."""
BACKOFF = 1.0
"""Seconds before the second attempt; twice as many before the third."""
_LARGEST = 1024 * 1024
"""
Bytes of an answer that are read.

A token has a few thousand; a sign-in page may have any length.
"""

_TASK = (
    "Use the task AcrCleanup@1, which passes it on. In a script, map it: "
    "`env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`."
)
_PERMIT = (
    "Open the connection under Service connections in the project settings, and permit this pipeline (Security, Pipeline "
    "permissions). The connection must use workload identity federation."
)
_LOG = logging.getLogger(__name__)


class _Retry(Exception):
    """A failure that the next attempt may not have."""

    def __init__(self, failure: NoIdToken) -> None:
        super().__init__(failure.seen)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class ServiceConnection:
    """
    The service connection of a job. Call it for a new token.

    mask: called with every token.
    """

    network: Network
    request_uri: str
    connection: str
    access_token: str = field(repr=False)
    mask: Callable[[str], None] = lambda _: None

    @classmethod
    def of(cls, environ: Mapping[str, str], network: Network, mask: Callable[[str], None]) -> ServiceConnection:
        """Read the variables of a job. Missing variables are reported when a token is requested."""
        uri, connection, token = (environ.get(name, "").strip() for name in (REQUEST_URI, CONNECTION, ACCESS_TOKEN))
        return cls(network, uri, connection, token, mask)

    # Azure DevOps has only one audience, that of Entra ID.
    async def __call__(self, audience: str) -> str:  # noqa: ARG002
        """Return a new token of the service connection, valid for minutes. Raises `NoIdToken`."""
        self._check()
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(BACKOFF * 2 ** (attempt - 1))
            try:
                token = await self._ask()
            except _Retry as retry:
                _LOG.debug("no token of the service connection in attempt %d: %s", attempt + 1, retry)
                failure = retry.failure
            else:
                self.mask(token)
                return token
        raise failure

    def _check(self) -> None:
        if not self.access_token or self.access_token.startswith("$("):
            raise NoIdToken(f"This job has no System.AccessToken: {ACCESS_TOKEN} is not set.", _TASK)
        if not self.request_uri:
            raise NoIdToken(
                f"Azure DevOps issues no tokens for this job: {REQUEST_URI} is not set.",
                "Run it in a job of Azure Pipelines. Pass this variable on to a container.",
            )
        if not self.connection:
            raise NoIdToken(
                f"The service connection is unknown: {CONNECTION} is not set.",
                "Use the task AcrCleanup@1 with its input azureSubscription, or run inside AzureCLI@2.",
            )
        # The access token is sent to this address.
        if urlsplit(self.request_uri).scheme.lower() != "https":
            raise NoIdToken(
                f"{REQUEST_URI} is not an https address, so no token is sent to it.",
                "Do not change the value that Azure DevOps sets.",
            )

    async def _ask(self) -> str:
        import aiohttp  # noqa: PLC0415  (slow to import)

        url = f"{self.request_uri.rstrip('/')}?api-version={API_VERSION}&serviceConnectionId={quote(self.connection, safe='')}"
        headers = {
            "Authorization": f"Bearer {self.access_token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            # The session does not decompress answers.
            "Accept-Encoding": "identity",
            # Request an error status instead of a redirection to the sign-in page.
            "X-TFS-FedAuthRedirect": "Suppress",
        }
        try:
            async with self.network.session.post(
                url,
                headers=headers,
                proxy=self.network.proxy_for(url),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=DEADLINE),
            ) as response:
                body = await response.content.read(_LARGEST)
                return self._token(response.status, response.content_type, body)
        except TimeoutError as error:
            seen = f"Azure DevOps gave no token: there was no answer within {DEADLINE:.0f} seconds."
            raise _Retry(NoIdToken(seen, "Run the job again.")) from error
        except aiohttp.ClientSSLError as error:
            raise NoIdToken(
                "The TLS certificate of Azure DevOps is not trusted on this machine, so it gave no token.",
                "Set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to the certificate of your company's authority.",
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            seen = f"Azure DevOps gave no token: it cannot be reached ({type(error).__name__})."
            remedy = "Check the network and the proxy (HTTPS_PROXY, NO_PROXY) of the agent."
            raise _Retry(NoIdToken(seen, remedy)) from error

    def _token(self, status: int, kind: str, body: bytes) -> str:
        """Return the token in an answer. Raises `NoIdToken`, or `_Retry` with one."""
        answer = _object(body)
        token = answer.get("oidcToken")
        if status == 200 and isinstance(token, str) and token:
            return token
        # For an unknown token, Azure DevOps redirects to the sign-in page (302) or returns it
        # (203). https://github.com/Azure/azure-sdk-for-cpp/issues/5786
        if status in (203, 301, 302, 303, 307, 401) or (status == 200 and "html" in kind):
            page = "" if status == 401 else ", a sign-in page"
            raise NoIdToken(
                f"Azure DevOps does not accept the System.AccessToken of this job (HTTP {status}{page}).",
                "It belongs to another job, or to a job that has ended. Pass on the whole $(System.AccessToken) of this job.",
            )
        message = phrase(str(answer.get("message") or "").replace(self.access_token, "***"))
        evidence = f"HTTP {status}: {message}" if message else f"HTTP {status}"
        if status in (400, 403, 404):
            refusal = {
                400: "gives no token for the service connection",
                403: "does not let this pipeline use the service connection",
                404: "does not know the service connection",
            }[status]
            raise NoIdToken(f"Azure DevOps {refusal} {phrase(self.connection)} ({evidence}).", _PERMIT)
        if 400 <= status < 500 and status not in (408, 429):
            remedy = "Check the service connection and the permissions of this pipeline for it."
            raise NoIdToken(f"Azure DevOps gave no token ({evidence}).", remedy)
        if status == 200:
            failure = NoIdToken("The answer is not from Azure DevOps.", "Check the proxy (HTTPS_PROXY) of the agent.")
        else:
            failure = NoIdToken(f"Azure DevOps gave no token ({evidence}).", "Run the job again.")
        raise _Retry(failure)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
