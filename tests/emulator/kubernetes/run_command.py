"""
Execute an AKS run command: `sh -c` in an empty folder, with kubectl first on its PATH.

AKS starts a pod in the cluster for the command. So the command reaches the API server of a private
cluster too.
https://learn.microsoft.com/azure/aks/access-private-cluster
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import ssl
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trustme
from aiohttp import web

from acr_cleanup.emulator.authority import Authority
from acr_cleanup.emulator.kubernetes.api import kubernetes_app
from acr_cleanup.emulator.kubernetes.state import ClusterState, CommandResult
from acr_cleanup.emulator.middleware import middleware
from acr_cleanup.emulator.world import World

# The root of the project, for the PYTHONPATH of the stand-in for kubectl.
_PACKAGES = Path(__file__).parents[3]
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def run_command(
    world: World, cluster: ClusterState, authority: Authority, *, command: str, context: str = "", token: str = ""
) -> CommandResult:
    """
    Run `command` inside the cluster.

    `context`: a zip file in base64; its files are unpacked into the folder of the command.
    `token`: the caller's token for an Entra ID cluster. On other clusters the command runs as an
    administrator.

    The log is stdout and stderr together. It is cut at `cluster.truncate_log_at` bytes without
    notice.
    """
    started = world.clock()
    if cluster.run_command_reason is not None:
        return CommandResult(None, "", started, world.clock(), cluster.run_command_reason)
    with tempfile.TemporaryDirectory(prefix="acr-cleanup-command-") as name:
        folder = Path(name)
        work = folder / "work"
        work.mkdir()
        if context:
            with zipfile.ZipFile(io.BytesIO(base64.b64decode(context))) as archive:
                archive.extractall(work)
        async with serve_inside(world, cluster, authority) as (server, ca_pem):
            identity = token if cluster.is_entra else cluster.inside_token
            config = folder / "kubeconfig"
            config.write_text(inside_kubeconfig(server, ca_pem, identity or "none"))
            _install_kubectl(folder / "bin", real=cluster.kubectl == "real")
            # Pass nothing of this process's environment, which may hold the caller's credentials.
            environment = {"PATH": f"{folder / 'bin'}:{_PATH}", "HOME": name, "KUBECONFIG": str(config)}
            log, code = await _shell(command, work, environment, cluster.run_command_seconds)
    if code is None:
        return CommandResult(None, "", started, world.clock(), "the command did not end in time")
    if cluster.prefix_line is not None:
        log = cluster.prefix_line.encode() + b"\n" + log
    shown = "" if cluster.empty_log else log[: cluster.truncate_log_at].decode(errors="replace")
    exit_code = code if cluster.exit_code is None else cluster.exit_code
    return CommandResult(exit_code, shown, started, world.clock())


async def run_command_in_thread(
    world: World, cluster: ClusterState, authority: Authority, *, command: str, context: str = "", token: str = ""
) -> CommandResult:
    """
    The same for a world in memory, whose loop cannot wait for sockets and processes.

    That loop, and with it the virtual time, stands still until the command has ended.
    """
    work = run_command(world, cluster, authority, command=command, context=context, token=token)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.asynccontextmanager
async def serve_inside(world: World, cluster: ClusterState, authority: Authority) -> AsyncIterator[tuple[str, bytes]]:
    """
    Serve the cluster's API server on a new loopback port, also if the cluster is private.

    Yields its URL and the certificate of its authority (PEM).
    """
    ca = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    app = kubernetes_app(cluster, authority, world.access, inside=True)
    app.middlewares.insert(0, middleware(world, f"kubernetes/{cluster.name}"))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"https://127.0.0.1:{port}", ca.cert_pem.bytes()
    finally:
        await runner.cleanup()


def inside_kubeconfig(server: str, ca_pem: bytes, token: str) -> str:
    """
    Return the kubeconfig of a run command's pod as JSON.

    JSON is YAML too, so kubectl reads it; the stand-in for kubectl has no YAML parser.
    """
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca_pem).decode()}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "inside", "cluster": cluster}],
            "users": [{"name": "command", "user": {"token": token}}],
            "contexts": [{"name": "inside", "context": {"cluster": "inside", "user": "command"}}],
            "current-context": "inside",
        }
    )


def _install_kubectl(folder: Path, *, real: bool) -> None:
    folder.mkdir()
    launcher = folder / "kubectl"
    if real:
        program = shutil.which("kubectl")
        if program is None:
            raise FileNotFoundError("kubectl is not on the PATH of this machine")
        launcher.symlink_to(program)
        return
    python = shlex.quote(sys.executable)
    setting = f"PYTHONUTF8=1 PYTHONPATH={shlex.quote(str(_PACKAGES))}"
    launcher.write_text(f'#!/bin/sh\n{setting} exec {python} -s -m tests.emulator.kubernetes.kubectl "$@"\n')
    launcher.chmod(0o755)


async def _shell(command: str, folder: Path, environment: dict[str, str], seconds: float) -> tuple[bytes, int | None]:
    """Return the log and the exit code; the code is None if the command exceeded `seconds`."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        command,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            log, _ = await process.communicate()
    except TimeoutError:
        return b"", None
    finally:
        # Kill the whole group: children that the command left behind would keep the pipe open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return log, process.returncode
