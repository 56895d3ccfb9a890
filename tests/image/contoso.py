"""
Contoso in its own process, for tests of the action: the demo's emulator with its OIDC issuer.

`python -m tests.image.contoso FOLDER [HOST]` writes its certificate authority and a configuration
file into FOLDER. It prints `name=value` lines and an empty line: the address of its proxy, the ids
for the login, and the resource ids of its clusters. It serves until it gets a signal. With HOST the
proxy also listens there, since the containers of a job cannot reach its loopback address.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from pathlib import Path

from acr_cleanup.emulator import Emulator
from acr_cleanup.emulator.company import contoso
from acr_cleanup.emulator.world import GITHUB_ISSUER, FederatedCredential


async def serve(folder: Path, host: str | None) -> None:
    world = contoso()
    directory = world.directory
    directory.federated.append(FederatedCredential(directory.client_id, GITHUB_ISSUER, directory.github_subject))
    async with Emulator(world) as emulator:
        proxy = emulator.proxy_url
        port = int(proxy.rpartition(":")[2])
        if host:
            forwarder = await asyncio.start_server(lambda reader, writer: _forward(reader, writer, port), host, 0)
            proxy = f"http://{host}:{forwarder.sockets[0].getsockname()[1]}"
        _print_values(emulator, folder, proxy)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await stop.wait()


def _print_values(emulator: Emulator, folder: Path, proxy: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(emulator.ca_file, folder / "ca.pem")
    (folder / "config.json").write_text(json.dumps(emulator.config("proxy")), encoding="utf-8")
    github, directory = emulator.github_environment("proxy"), emulator.world.directory
    values = {
        "proxy": proxy,
        "id-token-url": github["ACTIONS_ID_TOKEN_REQUEST_URL"],
        "id-token-token": github["ACTIONS_ID_TOKEN_REQUEST_TOKEN"],
        "client-id": directory.client_id,
        "tenant-id": directory.tenant,
        "registry": emulator.world.registry.login_server,
    }
    for number, cluster in enumerate(emulator.world.clusters.values(), 1):
        values[f"cluster-{number}"] = (
            f"/subscriptions/{cluster.subscription_id}/resourceGroups/{cluster.resource_group}"
            f"/providers/Microsoft.ContainerService/managedClusters/{cluster.name}"
        )
    sys.stdout.writelines(f"{name}={value}\n" for name, value in values.items())
    sys.stdout.write("\n")
    sys.stdout.flush()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
