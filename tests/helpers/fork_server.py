"""
Start Python scripts in forks of a process that has already imported the SDKs and most of the tool.

The imports take most of the time of a short run. Each script has its own arguments, environment,
folder and output, and ends like any process. Run as a script, this file is the process that forks.
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
    "msgspec", "rich.console", "yaml",
    "acr_cleanup.clusters.scan_clusters", "acr_cleanup.access.credentials", "acr_cleanup.commands.run", "acr_cleanup.registry.acr",
)  # fmt: skip


class ForkServer:
    """
    Start scripts with one interpreter, one at a time.

    The server ends with the current process.
    """

    def __init__(self, python: Path) -> None:
        self._socket, server_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with server_socket:
            # Pipes, because the scripts get pipes too: sys.stdout keeps the buffering of its
            # creation.
            self._process = subprocess.Popen(
                [python, "-I", "-u", __file__, str(server_socket.fileno())],
                pass_fds=[server_socket.fileno()],
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
        """
        Run a script; return its exit code and its output (stdout and stderr).

        A negative code is the number of the signal that killed it.
        Raises TimeoutError after `limit` seconds.
        """
        reading, writing = os.pipe()
        try:
            request = {"argv": [str(script), *arguments], "folder": str(folder), "environment": dict(environment)}
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writing]))]
            self._socket.sendmsg([json.dumps(request).encode()], ancillary)
        finally:
            os.close(writing)
        child = -1
        while child < 0:
            child = self._handle(self._socket.recv(100))
        try:
            async with asyncio.timeout(limit):
                text = await asyncio.to_thread(_read, reading)
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            raise
        while child not in self._codes:
            self._handle(await asyncio.to_thread(self._socket.recv, 100))
        return self._codes.pop(child), text.decode()

    def _handle(self, message: bytes) -> int:
        """Handle a message of the server; return the id of a started process, else -1."""
        if not message:
            _, errors = self._process.communicate()
            raise RuntimeError(f"The fork server has ended: {errors.decode()}")
        report = json.loads(message)
        if "code" in report:
            self._codes[report["ended"]] = report["code"]
        return int(report.get("started", -1))


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


# -- in the process that forks ---------------------------------------------------------------------


def _serve(channel: socket.socket) -> None:
    """Start the requested scripts and report each end; return when the channel is closed."""
    wakeup, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    sources: list[Any] = [channel, wakeup]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if wakeup in ready:
            os.read(wakeup, 100)
            _report_ends(channel)
        if channel in ready:
            message, ancillary, _, _ = channel.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            if not message:
                return
            (output,) = array.array("i", ancillary[0][2])
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(wakeup)
                os.close(signalled)
                channel.close()
                _run_script(json.loads(message), output)
            os.close(output)
            channel.send(json.dumps({"started": child}).encode())


def _report_ends(channel: socket.socket) -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        channel.send(json.dumps({"ended": child, "code": os.waitstatus_to_exitcode(status)}).encode())


def _run_script(request: Mapping[str, Any], output: int) -> NoReturn:
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["argv"]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    for name in PRELOADED:
        __import__(name)
    with socket.socket(fileno=int(sys.argv[1])) as request_channel:
        _serve(request_channel)
