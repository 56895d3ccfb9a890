"""A CONNECT proxy that maps real host names to the emulator's ports and refuses other names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from http import HTTPStatus

from acr_cleanup.emulator.requests import RequestRecord
from acr_cleanup.emulator.world import World

_MAX_HEADER_BYTES = 64 * 1024


class ConnectProxy:
    """
    Answer CONNECT requests only.

    An unknown host is refused with 403, so that no request can reach a real service. A host that
    cannot be reached gets 502.
    Each CONNECT is a `RequestRecord` of the service "proxy", with `host:port` as its path.
    """

    def __init__(self, world: World, port_of_host: Callable[[str], int]) -> None:
        self._world = world
        self._port_of_host = port_of_host
        self._tunnels: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen on loopback; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening and cut all tunnels."""
        self._server.close()
        for tunnel in list(self._tunnels):
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tunnels.add(task)
            task.add_done_callback(self._tunnels.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._answer(reader, writer)
        except asyncio.CancelledError:
            # Only `stop` cancels. asyncio would report the cancelled handler as an unhandled error.
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived = time.time()
        head = (await reader.readuntil(b"\r\n\r\n"))[:_MAX_HEADER_BYTES].decode("latin-1")
        method, _, rest = head.partition(" ")
        target = rest.partition(" ")[0]
        host, _, _port = target.rpartition(":")
        port, status = 0, 405
        if method == "CONNECT":
            try:
                port, status = self._port_of_host(host.strip("[]")), 200
            except LookupError:
                status = 403
            except ConnectionError:
                status = 502
        self._world.requests.append(RequestRecord("proxy", method, target, "", status, None, arrived))
        if status != 200:
            reason = HTTPStatus(status).phrase
            writer.write(f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, target_writer), _pump(target_reader, writer))
        finally:
            target_writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    # Close the sink to end the other direction too. A half-open tunnel would outlive both its ends.
    try:
        while data := await source.read(64 * 1024):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
