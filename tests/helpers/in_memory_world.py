"""
An emulated world without sockets and without waiting.

The clients of the tool and the handlers of the emulator are the real ones. Both sides of aiohttp
write and parse HTTP, and connections can be reset, cut or left hanging. But the bytes are passed in
memory, nothing is encrypted, and an idle loop moves its time to the next timer. So a run takes some
milliseconds, waits all its minutes in virtual time, and is deterministic. A run that would wait for
ever fails with `Deadlock`.
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


# -- time ------------------------------------------------------------------------------------------


class Deadlock(AssertionError):
    """The run has not ended, and no event or timer can continue it."""


class _TimerSelector(selectors.DefaultSelector):
    """
    Poll for real events, such as signals. Without one, move the loop's time to the next timer.
    """

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is None:
            raise Deadlock("all tasks wait, and no event or timer can wake any of them")
        self.loop.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """
    An event loop with virtual time, which only its timers advance.

    Calls for an executor run at once, in the loop's thread.
    """

    def __init__(self) -> None:
        self.now = 0.0
        selector = _TimerSelector()
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


def run_in_virtual_time(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a new `VirtualTimeLoop`, from second 0; return its result."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work())


# -- wires -----------------------------------------------------------------------------------------


class _Transport(asyncio.Transport):
    """
    One end of a connection.

    Its peer receives the written bytes in order, in the next iteration of the loop.
    """

    peer: _Transport

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

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose, None)
            self.peer.deliver(error)

    def deliver(self, item: bytes | Exception | None) -> None:
        """Receive bytes, or the end of the connection: an error, or None for a regular end."""
        self._inbox.append(item)
        self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        while self._inbox and not self._paused and not self._lost:
            item = self._inbox.popleft()
            if isinstance(item, bytes):
                if not self._closing:
                    self._protocol.data_received(item)
                continue
            if item is None and not self._closing:
                self._protocol.eof_received()
            self._closing = True
            self._lose(item)

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
    """Connect clients with the emulator of the current loop, by real host names."""

    def __init__(self, *, ssl: object = None, **options: Any) -> None:
        super().__init__(**options)

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109  (its name there)
        loop = asyncio.get_running_loop()
        try:
            server = await MemoryEmulator.of_loop[loop].connect(req.url.host)
        except LookupError:
            unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            raise aiohttp.ClientConnectorDNSError(req.connection_key, unknown) from None
        except ConnectionError:
            refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
            raise aiohttp.ClientConnectorError(req.connection_key, refused) from None
        client = self._factory()
        near, far = _Transport(loop, client, {}), _Transport(loop, server, {"sslcontext": _trust()})
        near.peer, far.peer = far, near
        server.connection_made(far)
        client.connection_made(near)
        return client


# -- the emulator ----------------------------------------------------------------------------------


@functools.cache
def _trust(*_: object, **__: object) -> ssl.SSLContext:
    """
    Return a context that is never used: certificates are not checked here.

    Loading authorities would take longer than a whole run.
    """
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class _Authority(Authority):
    """An authority for tokens only: making certificates would take longer than a whole run."""

    ca_pem = b"not checked"

    def client_certificate(self, cluster: object) -> tuple[str, str]:
        return "", ""


class MemoryEmulator(Emulator):
    """The emulator without sockets."""

    of_loop: ClassVar[dict[asyncio.AbstractEventLoop, MemoryEmulator]] = {}

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

    async def connect(self, host: str) -> asyncio.Protocol:
        """Return the server's protocol for a new connection. Raises as `port_of_host`."""
        runner = self._servers[self.port_of_host(host)]
        if runner.server is None:
            self._runners.append(runner)
            await runner.setup()
        assert runner.server is not None
        return runner.server()


def connect_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tool's clients connect in memory and use the loop's time."""
    monkeypatch.setattr("aiohttp.TCPConnector", _Connector)
    monkeypatch.setattr(network, "trust", lambda _: _trust())
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: _trust())
    # Replace slow calls: each of them takes longer than all requests of a run.
    monkeypatch.setattr(yaml, "safe_load", lambda text: yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(type(azure_settings), "_config", lambda _, values: SimpleNamespace(**values))
    defaults = Pace.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", lambda: asyncio.get_running_loop().time())
    monkeypatch.setitem(defaults, "jitter", lambda: 0.5)
    directory = World().directory
    monkeypatch.setenv("AZURE_TENANT_ID", directory.tenant)
    monkeypatch.setenv("AZURE_CLIENT_ID", directory.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", directory.client_secret)


@asynccontextmanager
async def serve_in_memory(world: World, folder: Path) -> AsyncIterator[Tool]:
    """Yield the tool, set up for this world. Call it within `run_in_virtual_time`."""
    async with MemoryEmulator(world) as emulator:
        yield Tool(emulator, folder)


@asynccontextmanager
async def serving(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tool]:
    """
    Serve a world in memory, within the loop of the test and in real time.

    The names of its services are the real ones.
    """
    connect_in_memory(monkeypatch)
    world.face = "proxy"
    async with serve_in_memory(world, folder) as tool:
        yield tool


__all__ = [
    "Deadlock",
    "MemoryEmulator",
    "VirtualTimeLoop",
    "connect_in_memory",
    "run_in_virtual_time",
    "serve_in_memory",
    "serving",
]
