"""
A world without network and without waiting: the tool's own clients and the emulator's own handlers, joined by memory.

Everything is real but the wire and the time. HTTP is written and parsed by both sides of aiohttp, connections are reset, cut and
left hanging; but bytes go from hand to hand, nothing is encrypted, and when nothing is left to do, time jumps to the next timer. So
a run takes some milliseconds, waits its full minutes where it has to wait, and does the same each time. One that would wait for
ever is an error (`Stuck`).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import selectors
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Self, TypeVar

import aiohttp
import pytest
import yaml
from aiohttp import web
from azure.core.settings import settings as azure_settings

from acr_cleanup.access import network
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.middleware import middleware
from acr_cleanup.emulator.world import Face
from acr_cleanup.registry.pace import Pace
from tests.helpers.tool_runs import Tool

T = TypeVar("T")


# -- time -----------------------------------------------------------------------------------------------------


class Stuck(AssertionError):
    """Nothing is left that could ever happen, and the run has not ended."""


class _Jump(selectors.DefaultSelector):
    """Looks for real events (signals come as such), and where there are none lets the loop's time jump."""

    loop: Loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is None:
            raise Stuck("everybody waits, and for nothing that could happen")
        self.loop.now += timeout
        return found


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` is that of its timers alone; what belongs into threads is done at once."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (as a thread would)
            done.set_exception(error)
        return done


def simulate(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run this in a loop of its own, from second 0 on."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work())


# -- wires ----------------------------------------------------------------------------------------------------


class _End(asyncio.Transport):
    """One end of a connection. What is written here is received there, in order, a turn of the loop later."""

    peer: _End

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol = protocol
        self._closing = self._lost = self._paused = False
        self._inbox: deque[bytes | Exception | None] = deque()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing:
            self.peer.deliver(bytes(data))

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def _end(self, how: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose, None)
            self.peer.deliver(how)

    def deliver(self, what: bytes | Exception | None) -> None:
        """Bytes; or the end of the connection, as it is felt here."""
        self._inbox.append(what)
        self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        while self._inbox and not self._paused and not self._lost:
            what = self._inbox.popleft()
            if isinstance(what, bytes):
                if not self._closing:
                    self._protocol.data_received(what)
                continue
            if what is None and not self._closing:
                self._protocol.eof_received()
            self._closing = True
            self._lose(what)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._drain)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol


class _Connector(aiohttp.BaseConnector):
    """Connects clients with the emulator of this loop, by the real names of the hosts."""

    def __init__(self, *, ssl: object = None, **options: Any) -> None:
        super().__init__(**options)

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109  (its name there)
        loop = asyncio.get_running_loop()
        try:
            server = await _Emulator.of_loop[loop].door(req.url.host)
        except LookupError:
            unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            raise aiohttp.ClientConnectorDNSError(req.connection_key, unknown) from None
        except ConnectionError:
            refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
            raise aiohttp.ClientConnectorError(req.connection_key, refused) from None
        client = self._factory()
        near, far = _End(loop, client, {}), _End(loop, server, {"sslcontext": _trust()})
        near.peer, far.peer = far, near
        server.connection_made(far)
        client.connection_made(near)
        return client


# -- the emulator ---------------------------------------------------------------------------------------------


@functools.cache
def _trust(*_: object, **__: object) -> ssl.SSLContext:
    """Nobody checks certificates here: reading authorities would cost more than whole runs."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Authority(Authority):
    """Tokens alone: making certificates would cost more than whole runs."""

    ca_pem = b"no client checks it"

    def client_certificate(self, cluster: object) -> tuple[str, str]:
        return "", ""


class _Emulator(Emulator):
    """The same services without sockets."""

    of_loop: ClassVar[dict[asyncio.AbstractEventLoop, _Emulator]] = {}

    async def __aenter__(self) -> Self:
        self.authority = _Authority(self.world.directory)
        self._servers: dict[int, web.AppRunner] = {}
        self._serve_services()
        self.of_loop[asyncio.get_running_loop()] = self
        return self

    async def __aexit__(self, *_: object) -> None:
        del self.of_loop[asyncio.get_running_loop()]
        for runner in self._runners:
            await runner.cleanup()

    def config(self, face: Face | None = None) -> dict[str, Any]:
        return super().config("proxy")

    def _serve(self, service: str, app: web.Application) -> int:
        app.middlewares.insert(0, middleware(self.world, service))
        number = len(self._ports) + 1
        self._ports[service] = number
        self._servers[number] = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        return number

    async def door(self, host: str) -> asyncio.Protocol:
        """A server's side of one new connection. Raises as `port_of_host`."""
        runner = self._servers[self.port_of_host(host)]
        if runner.server is None:
            self._runners.append(runner)
            await runner.setup()
        assert runner.server is not None
        return runner.server()


def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the tool's clients connect by memory, and count by the loop's time."""
    monkeypatch.setattr("aiohttp.TCPConnector", _Connector)
    monkeypatch.setattr(network, "trust", lambda _: _trust())
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: _trust())
    # Each of these would cost more than the requests of a run.
    monkeypatch.setattr(yaml, "safe_load", lambda text: yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(type(azure_settings), "_config", lambda _, found: SimpleNamespace(**found))
    defaults = Pace.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", lambda: asyncio.get_running_loop().time())
    monkeypatch.setitem(defaults, "jitter", lambda: 0.5)
    directory = World().directory
    monkeypatch.setenv("AZURE_TENANT_ID", directory.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", directory.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", directory.client_secret)


@asynccontextmanager
async def serving(world: World, folder: Path) -> AsyncIterator[Tool]:
    """The tool, set up for this world, in a loop of `simulate`."""
    async with _Emulator(world) as emulator:
        yield Tool(emulator, folder)


__all__ = ["Loop", "Stuck", "serving", "simulate", "simulated"]
