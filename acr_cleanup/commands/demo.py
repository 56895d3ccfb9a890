"""
The whole job on an embedded registry and embedded clusters: no Azure, no login, no network.

The emulator runs in this process; the tool runs as a user would run it, in a process of its own, with the first users'
configuration file. It does not know that it is in a demo.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

import acr_cleanup
from acr_cleanup.emulator.company import contoso
from acr_cleanup.emulator.server import Emulator

# What could lead the tool to somebody's real Azure, or change how it reaches the emulator.
_FOREIGN = ("AZURE_", "ARM_", "ACTIONS_", "GITHUB_", "INPUT_", "SYSTEM_", "IDENTITY_", "MSI_")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


async def demo(command: str, *, serve: bool) -> int:
    """
    Plan and apply at Contoso and say what happened, or (`serve`) leave Contoso running until interrupted.

    `command` is what a user would type to call this program.
    """
    folder = Path(tempfile.mkdtemp(prefix="acr-cleanup-demo-"))
    async with Emulator(contoso()) as emulator:
        config = folder / "acr-cleanup.json"
        text = json.dumps(emulator.config(), indent=2)
        config.write_text(f"{text}\n", encoding="utf-8")
        if serve:
            await _serve(emulator, config, command)
            return 0
        return await _show(emulator, config, text, command)


async def _show(emulator: Emulator, config: Path, text: str, command: str) -> int:
    console = Console(highlight=False)
    environment = {
        **_harmless(os.environ),
        **emulator.environment(),
        "PYTHONPATH": str(Path(acr_cleanup.__file__).parents[1]),
    }

    async def run(verb: str) -> int:
        console.print(f"\n[bold]$ acr-cleanup {verb} {config.name}[/]\n")
        # -P: not from the folder that we happen to be in.
        words = ("-P", "-m", "acr_cleanup", verb, str(config), "--report-dir", str(config.parent / verb))
        process = await asyncio.create_subprocess_exec(sys.executable, *words, env=environment)
        return await process.wait()

    def tags() -> int:
        return sum(len(repository.tags) for repository in emulator.world.registry.repositories.values())

    before = tags()
    console.rule("[bold]Contoso has two AKS clusters and one registry")
    console.print(
        f"{before} tags in {len(emulator.world.registry.repositories)} repositories. This file says where they are:\n"
    )
    console.print(text, style="dim", markup=False)

    console.rule("[bold]1. What would be deleted?")
    code = await run("plan")
    if code == 0:
        console.rule("[bold]2. Delete it")
        code = await run("apply")
    console.rule("[bold]Afterwards")
    requests = [record for record in emulator.world.requests if record.service == "acr"]
    deletions = sum(record.method == "DELETE" for record in requests)
    console.print(
        f"The registry has {tags()} tags left of {before}. Both runs together sent it {len(requests)} requests, "
        f"{deletions} of them deletions.\n"
        f"The reports are in {config.parent}.\n"
        f"Try every command by hand: {command} demo --serve"
    )
    return code


async def _serve(emulator: Emulator, config: Path, command: str) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    print("Contoso is running. In another terminal:\n")
    for name, value in emulator.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"\n{command} plan {shlex.quote(str(config))}\n\nCtrl-C ends it.", flush=True)
    await stop.wait()


def _harmless(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environ.items() if not name.startswith(_FOREIGN) and name.upper() not in _PROXIES
    }
