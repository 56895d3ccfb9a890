"""
The tokens that Azure DevOps issues for a service connection, to a job that may use it.

What azure-identity's `AzurePipelinesCredential` asks for, asked for without standing still: that one waits for the answer in the
event loop's own thread, through a client that knows neither our proxies nor our authorities, and tells every failure alike.
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
"""The token with which a job speaks to Azure DevOps itself."""
REQUEST_URI = "SYSTEM_OIDCREQUESTURI"
CONNECTION = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"

API_VERSION = "7.1"
ATTEMPTS = 3
DEADLINE = 15.0
"""Seconds that one request may take."""
BACKOFF = 1.0
"""Seconds before the second attempt; twice as many before the third."""
_LARGEST = 1024 * 1024
"""Bytes of an answer that are read; a token is some thousand, a page that wants somebody to sign in may be anything."""

_TASK = "Use the task AcrCleanup@1, which hands it on; in a script, map it: `env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`."
_PERMIT = (
    "In the project settings, under Service connections, open it and permit this pipeline (Security, Pipeline permissions); "
    "it must use workload identity federation."
)
_LOG = logging.getLogger(__name__)


class _Again(Exception):
    """What may be different the next time."""

    def __init__(self, failure: NoIdToken) -> None:
        super().__init__(failure.seen)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class ServiceConnection:
    """
    One service connection, as a job sees it; call it for a fresh token.

    `mask` hears of every token that it gives.
    """

    network: Network
    request_uri: str
    connection: str
    access_token: str = field(repr=False)
    mask: Callable[[str], None] = lambda _: None

    @classmethod
    def of(cls, environ: Mapping[str, str], network: Network, mask: Callable[[str], None]) -> ServiceConnection:
        """That of this environment. What is missing is told when a token is asked for."""
        uri, connection, token = (environ.get(name, "").strip() for name in (REQUEST_URI, CONNECTION, ACCESS_TOKEN))
        return cls(network, uri, connection, token, mask)

    async def __call__(self, audience: str) -> str:  # noqa: ARG002  (Azure DevOps knows but one: that of Entra ID)
        """A fresh token of the service connection, valid for minutes. Raises `NoIdToken`."""
        self._check()
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(BACKOFF * 2 ** (attempt - 1))
            try:
                token = await self._ask()
            except _Again as again:
                _LOG.debug("no token of the service connection in attempt %d: %s", attempt + 1, again)
                failure = again.failure
            else:
                self.mask(token)
                return token
        raise failure

    def _check(self) -> None:
        if not self.access_token or self.access_token.startswith("$("):
            raise NoIdToken(f"This job has no System.AccessToken: {ACCESS_TOKEN} is not set.", _TASK)
        if not self.request_uri:
            raise NoIdToken(
                f"Azure DevOps offers this job no tokens: {REQUEST_URI} is not set.",
                "Run it in a job of Azure Pipelines; a container must be given this variable.",
            )
        if not self.connection:
            raise NoIdToken(
                f"No service connection is named: {CONNECTION} is not set.",
                "Use the task AcrCleanup@1 with its input azureSubscription, or run inside AzureCLI@2.",
            )
        # The access token would go where this leads.
        if urlsplit(self.request_uri).scheme.lower() != "https":
            raise NoIdToken(
                f"{REQUEST_URI} is not an https address, and no token is sent there.",
                "Leave it as Azure DevOps sets it.",
            )

    async def _ask(self) -> str:
        import aiohttp  # noqa: PLC0415  (slow to import)

        url = f"{self.request_uri.rstrip('/')}?api-version={API_VERSION}&serviceConnectionId={quote(self.connection, safe='')}"
        headers = {
            "Authorization": f"Bearer {self.access_token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            # The session leaves what is compressed as it is.
            "Accept-Encoding": "identity",
            # Asks for a plain refusal in place of a redirection to a page for people.
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
            raise _Again(NoIdToken(seen, "Run the job again.")) from error
        except aiohttp.ClientSSLError as error:
            raise NoIdToken(
                "Azure DevOps gave no token: its certificate is not from an authority that this machine trusts.",
                "Name the company's authority in SSL_CERT_FILE or REQUESTS_CA_BUNDLE.",
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            seen = f"Azure DevOps gave no token: it cannot be reached ({type(error).__name__})."
            remedy = "Check the network and the proxy (HTTPS_PROXY, NO_PROXY) of the agent."
            raise _Again(NoIdToken(seen, remedy)) from error

    def _token(self, status: int, kind: str, body: bytes) -> str:
        """The token of this answer. Raises `NoIdToken`, or `_Again` with one."""
        answer = _object(body)
        token = answer.get("oidcToken")
        if status == 200 and isinstance(token, str) and token:
            return token
        # Azure DevOps sends whom it does not know to a page where people sign in, with 302, or shows it, with 203.
        # https://github.com/Azure/azure-sdk-for-cpp/issues/5786
        if status in (203, 301, 302, 303, 307, 401) or (status == 200 and "html" in kind):
            page = "" if status == 401 else ", a page to sign in"
            raise NoIdToken(
                f"Azure DevOps does not accept the System.AccessToken of this job (HTTP {status}{page}).",
                "It is that of another job, or its job has ended. Hand on $(System.AccessToken) of this job, whole.",
            )
        said = phrase(str(answer.get("message") or "").replace(self.access_token, "***"))
        what = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status in (400, 403, 404):
            does = {
                400: "gives no token for the service connection",
                403: "lets this pipeline not use the service connection",
                404: "knows no service connection",
            }[status]
            raise NoIdToken(f"Azure DevOps {does} {phrase(self.connection)} ({what}).", _PERMIT)
        if 400 <= status < 500 and status not in (408, 429):
            raise NoIdToken(f"Azure DevOps gave no token ({what}).", "The debug log has the details.")
        if status == 200:
            failure = NoIdToken("What answered is not Azure DevOps.", "Check the proxy (HTTPS_PROXY) of the agent.")
        else:
            failure = NoIdToken(f"Azure DevOps gave no token ({what}).", "Run the job again.")
        raise _Again(failure)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
