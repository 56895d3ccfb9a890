"""One Kubernetes API server: how it is reached, and one request to it, patiently but never without a limit."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from acr_cleanup.clusters.read_failure import ReadFailure, Unreachable
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    import aiohttp

# Busy, or briefly broken; also 500, which a lost conversion or authorisation webhook gives.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for an API server. All in seconds but `attempts` and `timeouts`, which count tries of one request."""

    attempts: int = 4
    timeouts: int = 2
    """Tries that may end without any answer: each of them has cost the whole of `read` already."""
    connect: float = 10.0
    read: float = 30.0
    request: float = 300.0
    """For one whole answer, however slowly it drips."""
    pause: float = 0.5
    """Before the second try; doubled for each further one, unless the server says `Retry-After`."""
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class ApiServer:
    """
    Everything needed to talk to one API server.

    `authorization` gives the header's value for the next request (None: the client certificate, or nothing, speaks for us), so
    that a token never expires in the middle of a scan. `proxy` is the URL of the proxy on the way there, if there is one.
    """

    url: str
    context: ssl.SSLContext
    authorization: Callable[[], Awaitable[str | None]]
    tls_server_name: str | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What an API server said: `reason` is the status line's."""

    status: int
    body: bytes
    reason: str = ""


class Ask(Protocol):
    """
    One request to an API server; `path` includes the query, `accept` are the forms that an answer may have.

    Raises `Unreachable` when no answer came.
    """

    async def __call__(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer: ...


@asynccontextmanager
async def connect(server: ApiServer, patience: Patience) -> AsyncIterator[Ask]:
    """Talk to this API server for as long as the context lasts."""
    # Imported late: both are slow to load, and a run that stops at its configuration needs neither.
    import aiohttp  # noqa: PLC0415
    from kubernetes.aio.client import ApiClient, Configuration  # noqa: PLC0415

    connector = aiohttp.TCPConnector(ssl=server.context)
    configuration = Configuration(
        host=server.url,
        client_session_kwargs={
            "connector": connector,
            "cookie_jar": aiohttp.DummyCookieJar(),
            # With this, which the client sets, aiohttp would also read ~/.netrc, and refuse requests that carry a token.
            "trust_env": False,
            "middlewares": (_staying_at(server.url),),
        },
        tls_server_name=server.tls_server_name,
        proxy=server.proxy,
    )
    timeout = aiohttp.ClientTimeout(
        total=patience.request, connect=2 * patience.connect, sock_connect=patience.connect, sock_read=patience.read
    )
    failures = (aiohttp.ClientError, OSError, ValueError)  # a timeout is an OSError

    async def once(
        method: str, path: str, body: Mapping[str, Any] | None, accept: str, authorization: str | None
    ) -> tuple[HttpAnswer, str]:
        headers = {"Accept": accept, "User-Agent": "acr-cleanup"}
        if authorization is not None:
            headers["Authorization"] = authorization
        # Raw: typed models cost eight times as much, and one odd object would spoil its whole page.
        response = await client.call_api(
            method,
            server.url + path,
            header_params=headers,
            body=body,
            _request_timeout=timeout,
            _preload_content=False,
        )
        content = await response.read()
        return HttpAnswer(response.status, content, response.reason or ""), response.getheader("Retry-After", "")

    async def ask(
        method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer:
        pause, timeouts, refused = patience.pause, 0, False
        for attempt in range(1, patience.attempts + 1):
            last = attempt == patience.attempts
            authorization = await server.authorization()
            try:
                answer, retry_after = await once(method, path, body, accept, authorization)
            except failures as error:
                timeouts += isinstance(error, TimeoutError)
                # A certificate or an address does not get better by waiting.
                if (
                    last
                    or timeouts >= patience.timeouts
                    or isinstance(error, aiohttp.ClientConnectorCertificateError | ValueError)
                ):
                    raise _unreachable(error, server) from error
                retry_after = ""
            else:
                # A token may end between two pages of a list, or its issuer fail for a moment: once more, with the token of then.
                renew = answer.status == 401 and authorization is not None and not refused
                refused = refused or renew
                if last or not (renew or answer.status in _PASSING):
                    return answer
            await asyncio.sleep(min(float(retry_after) if retry_after.isdigit() else pause, patience.longest_pause))
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    try:
        async with ApiClient(configuration) as client:
            yield ask
    finally:
        await connector.close()


def _staying_at(url: str) -> aiohttp.ClientMiddlewareType:
    """An API server sends nobody elsewhere; a captive portal does, and must be given neither token nor certificate."""
    import aiohttp  # noqa: PLC0415
    from yarl import URL  # noqa: PLC0415

    async def stay(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.origin() != URL(url).origin():
            raise aiohttp.ClientConnectionError(f"redirected to {request.url.host}")
        return await send(request)

    return stay


def _unreachable(error: BaseException, server: ApiServer) -> ReadFailure:
    import aiohttp  # noqa: PLC0415

    call = f"connecting to {quoted(server.url)}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ReadFailure(
            call,
            f"its certificate is not trusted ({quoted(error)}).",
            "Behind a proxy that inspects TLS, put the proxy's CA into the file that SSL_CERT_FILE or REQUESTS_CA_BUNDLE names.",
        )
    what = "no answer in time" if isinstance(error, TimeoutError) else quoted(error) or type(error).__name__
    return Unreachable(
        call,
        f"it cannot be reached ({what}).",
        "Run where the API server can be reached (authorised IP ranges, private network, HTTPS_PROXY and NO_PROXY), "
        "or set `access: run-command` for an AKS cluster.",
    )
