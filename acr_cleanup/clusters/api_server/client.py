"""Requests to one Kubernetes API server, with retries and limits."""

from __future__ import annotations

import asyncio
import itertools
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from acr_cleanup.access.read_failure import ReadFailure, Unreachable
from acr_cleanup.clusters.api_server.crowd import Crowd, SharedConnections
from acr_cleanup.clusters.api_server.tls import explain_certificate
from acr_cleanup.quoting import quoted

if TYPE_CHECKING:
    import aiohttp

    from acr_cleanup.clusters.api_server.transport import Transport

# Statuses that may pass. 500 is among them, because a failed conversion or authorisation webhook
# causes it.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_BUSY = 429


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How long to wait for an API server: seconds, except `attempts`, `busy_attempts` and `timeouts`,
    which count tries of one request.
    """

    attempts: int = 4
    busy_attempts: int = 14
    """Tries while the server answers 429: with doubled pauses, they take five minutes."""
    timeouts: int = 2
    """Tries that may time out. Each of them takes all of `read`."""
    connect: float = 10.0
    read: float = 70.0
    """
    Longer than the server's own limits: it waits 30 seconds for a conversion webhook, and by default 60
    seconds for a request.
    https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#timeouts
    """
    request: float = 300.0
    """
    For one whole response, so that a server that sends a byte now and then does not hold up the
    scan.
    """
    pause: float = 0.5
    """
    Before the second try; doubled before each further try, unless the server sends `Retry-After`.
    """
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class ApiServer:
    """
    How to connect to one API server.

    context: the first TLS context to use.
    fallbacks: load the contexts for a certificate that `context` does not trust, in this order.
    authorization: returns the `Authorization` header of the next request, or None to send none (the
        client certificate is the login then). It is called before each request, so that no token
        expires in the middle of a scan.
    proxy: the URL of the proxy to use, if any.
    headers: sent with each request; a name may occur several times.
    has_login: False if requests are anonymous.
    has_authority: does the kubeconfig name the CA of the server?
    connections: shared with the other servers of the run.
    """

    url: str
    context: ssl.SSLContext
    authorization: Callable[[], Awaitable[str | None]]
    tls_server_name: str | None = None
    proxy: str | None = None
    fallbacks: tuple[Callable[[], ssl.SSLContext], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    has_login: bool = True
    has_authority: bool = False
    connections: SharedConnections = field(default_factory=SharedConnections)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The response of an API server. `reason` is from the status line."""

    status: int
    body: bytes
    reason: str = ""

    def describe(self) -> str:
        """
        Return the status and the message: of a Status object its `message`, otherwise the start of
        the body.

        >>> HttpAnswer(403, b'{"message": "pods is forbidden"}', "Forbidden").describe()
        '403 Forbidden: pods is forbidden'
        """
        document = self.json_object()
        message = document.get("message") if document is not None else None
        text = quoted(message if message is not None else self.body.decode(errors="replace"))
        return f"{self.status} {quoted(self.reason, 60)}".strip() + (f": {text}" if text else "")

    def json_object(self) -> dict[str, Any] | None:
        """Return the body, or None if it is not a JSON object."""
        try:
            body = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return body if isinstance(body, dict) else None


class Ask(Protocol):
    """
    Sends one request to an API server.

    path: with the query.
    accept: the media types that the response may have.

    Raises `Unreachable` if there is no response.
    """

    async def __call__(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer: ...


@asynccontextmanager
async def connect(server: ApiServer, patience: Patience) -> AsyncIterator[Ask]:
    """Open the connections to this API server; they are closed with the context."""
    async with AsyncExitStack() as opened:
        yield _Requests(server, patience, opened).ask


class _Requests:
    """The requests to one API server, with the TLS context that trusts its certificate."""

    def __init__(self, server: ApiServer, patience: Patience, opened: AsyncExitStack) -> None:
        self._server = server
        self._patience = patience
        self._opened = opened
        self._crowd = Crowd(shared=server.connections)
        opened.callback(self._crowd.close)
        self._fallbacks = iter(server.fallbacks)
        self._transport = self._open(server.context)

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer:
        """Send one request, with retries. See `Ask`."""
        import aiohttp  # noqa: PLC0415

        patience = self._patience
        pause, timeouts, refused, busy = patience.pause, 0, False, 0
        for attempt in itertools.count(1):
            last = attempt - busy >= patience.attempts
            authorization = await self._server.authorization()
            try:
                async with self._crowd.place():
                    answer, retry_after = await self._send(method, path, body, accept, authorization)
                    self._crowd.note(busy=answer.status == _BUSY)
            except (aiohttp.ClientError, OSError, ValueError) as error:  # a timeout is an OSError
                timeouts += isinstance(error, TimeoutError)
                # A wrong certificate or a wrong address remains wrong.
                if (
                    last
                    or timeouts >= patience.timeouts
                    or isinstance(error, aiohttp.ClientConnectorCertificateError | ValueError)
                ):
                    raise _unreachable(error, self._server) from error
                retry_after = ""
            else:
                # A token may expire between two pages, or its issuer may fail for a moment: try
                # once with a new token.
                renew = answer.status == 401 and authorization is not None and not refused
                refused = refused or renew
                if answer.status == _BUSY:
                    busy += 1
                    last = busy >= patience.busy_attempts
                if last or not (renew or answer.status in _PASSING):
                    return answer
            # Not less than the server asks for, and not all at the same time.
            asked = float(retry_after) if retry_after.isdigit() else 0.0
            await asyncio.sleep(min(max(asked, pause), patience.longest_pause) * random.uniform(1, 1.5))  # noqa: S311
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _open(self, context: ssl.SSLContext) -> Transport:
        # Imported late: slow to load, and a run that stops at its configuration does not need it.
        from acr_cleanup.clusters.api_server.transport import Transport  # noqa: PLC0415

        server = self._server
        transport = Transport(
            context,
            headers=server.headers,
            middleware=_refuse_redirects(server.url),
            tls_server_name=server.tls_server_name,
            proxy=server.proxy,
        )
        self._opened.push_async_callback(transport.close)
        return transport

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, accept: str, authorization: str | None
    ) -> tuple[HttpAnswer, str]:
        """Send it once for each TLS context. Returns the response and its `Retry-After`."""
        import aiohttp  # noqa: PLC0415

        headers = {"Accept": accept, "User-Agent": "acr-cleanup"}
        if authorization is not None:
            headers["Authorization"] = authorization
        patience = self._patience
        timeout = aiohttp.ClientTimeout(
            total=patience.request, connect=2 * patience.connect, sock_connect=patience.connect, sock_read=patience.read
        )
        while True:
            transport = self._transport
            try:
                # Not decoded into models: they take eight times as long, and one malformed object
                # would make its whole page unreadable.
                response = await transport.request(
                    method, self._server.url + path, headers=headers, body=body, _request_timeout=timeout
                )
                content = await response.read()
                answer = HttpAnswer(response.status, content, response.reason or "")
                return answer, response.getheader("Retry-After", "")
            except aiohttp.ClientConnectorCertificateError:
                # A concurrent request may already have changed to the next context.
                if self._transport is transport:
                    load = next(self._fallbacks, None)
                    if load is None:
                        raise
                    self._transport = self._open(load())


def _refuse_redirects(url: str) -> aiohttp.ClientMiddlewareType:
    """
    Refuse to leave the server of `url`. API servers do not redirect, but captive portals do: they
    must not get the token.
    """
    import aiohttp  # noqa: PLC0415
    from yarl import URL  # noqa: PLC0415

    async def send_to_same_server(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if request.url.origin() != URL(url).origin():
            raise aiohttp.ClientConnectionError(f"redirected to {request.url.host}")
        return await send(request)

    return send_to_same_server


def _unreachable(error: BaseException, server: ApiServer) -> ReadFailure:
    import aiohttp  # noqa: PLC0415

    call = f"connecting to {quoted(server.url)}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        seen, remedy = explain_certificate(
            error.certificate_error, has_authority=server.has_authority, tls_server_name=server.tls_server_name
        )
        return ReadFailure(call, seen, remedy)
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return ReadFailure(
            call,
            f"TLS with the API server failed ({quoted(error)}).",
            "Check the scheme and the port of `server`, and the proxy between.",
        )
    reason = "no answer in time" if isinstance(error, TimeoutError) else quoted(error) or type(error).__name__
    return Unreachable(
        call,
        f"the API server cannot be reached ({reason}).",
        "Run where it can be reached (authorised IP ranges, private network, HTTPS_PROXY and NO_PROXY), "
        "or set `access: run-command` for an AKS cluster.",
        timed_out=isinstance(error, TimeoutError),
    )
