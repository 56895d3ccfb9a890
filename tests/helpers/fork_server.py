"""
Starts Python scripts in processes that have imported the SDKs, and most of the tool, already: copies of one that did nothing else.

Importing them takes most of the time of a short run, and is the same in all. What a script is given is its own: arguments,
environment, folder, output; it ends as any process does. Run as a script, this file is the process that is copied.
"""

from __future__ import annotations

import array
import asyncio
import atexit
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

PRELOADED = (
    "aiohttp", "azure.containerregistry.aio", "azure.identity.aio", "azure.mgmt.containerservice.aio", "kubernetes.aio.client",
    "msgspec", "pydantic", "rich.console", "yaml",
    "acr_cleanup.clusters.scan_clusters", "acr_cleanup.access.credentials", "acr_cleanup.commands.run", "acr_cleanup.registry.acr",
)  # fmt: skip


class Nursery:
    """Starts scripts under one interpreter, one after the other; ends with the process that made it."""

    def __init__(self, python: Path) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Pipes, as the scripts get one: sys.stdout remembers what it was made for.
            self._process = subprocess.Popen(
                [python, "-I", "-u", __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"PATH": os.environ["PATH"]},
            )
        self._codes: dict[int, int] = {}
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait(10)

    async def run(
        self,
        script: Path,
        *,
        folder: Path,
        environment: Mapping[str, str],
        limit: float,
        arguments: Sequence[str] = (),
    ) -> tuple[int, str]:
        """The exit code (negative: of the signal that killed it) and everything it printed, TimeoutError after `limit` seconds."""
        reading, writing = os.pipe()
        try:
            asked = {"argv": [str(script), *arguments], "folder": str(folder), "environment": dict(environment)}
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing]))]
            self._socket.sendmsg([json.dumps(asked).encode()], ancillary)
        finally:
            os.close(writing)
        child = -1
        while child < 0:
            child = self._hear(self._socket.recv(100))
        try:
            async with asyncio.timeout(limit):
                text = await asyncio.to_thread(_read, reading)
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            raise
        while child not in self._codes:
            self._hear(await asyncio.to_thread(self._socket.recv, 100))
        return self._codes.pop(child), text.decode()

    def _hear(self, message: bytes) -> int:
        """Who was started, or -1."""
        if not message:
            _, said = self._process.communicate()
            raise RuntimeError(f"The process that is copied has ended: {said.decode()}")
        told = json.loads(message)
        if "code" in told:
            self._codes[told["ended"]] = told["code"]
        return int(told.get("started", -1))


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


# -- in the process that is copied -------------------------------------------------------------------------------------


def _serve(channel: socket.socket) -> None:
    """Start what is asked for, and tell who ended; return when nobody asks any more."""
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    both: list[Any] = [channel, waking]
    while True:
        ready, _, _ = select.select(both, [], [])
        if waking in ready:
            os.read(waking, 100)
            _tell_who_ended(channel)
        if channel in ready:
            message, ancillary, _, _ = channel.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            if not message:
                return
            (output,) = array.array("i", ancillary[0][2])
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(waking)
                os.close(woken)
                channel.close()
                _become(json.loads(message), output)
            os.close(output)
            channel.send(json.dumps({"started": child}).encode())


def _tell_who_ended(channel: socket.socket) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        channel.send(json.dumps({"ended": child, "code": os.waitstatus_to_exitcode(status)}).encode())


def _become(asked: Mapping[str, Any], output: int) -> NoReturn:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = asked["argv"]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    for name in PRELOADED:
        __import__(name)
    with socket.socket(fileno=int(sys.argv[1])) as both_ways:
        _serve(both_ways)
