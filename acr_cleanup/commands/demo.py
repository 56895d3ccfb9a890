"""
Plans and applies on an emulated registry and emulated clusters: no Azure, no login, no network.

The emulator runs in this process. The tool runs in a separate process, as for a user, with a normal
configuration file; no code of it depends on the demo.
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
from acr_cleanup.records.report import read_report
from acr_cleanup.reports import words

# Variables that could lead the tool to the real Azure, or change how it reaches the emulator.
_FOREIGN = ("AZURE_", "ARM_", "ACTIONS_", "GITHUB_", "INPUT_", "SYSTEM_", "IDENTITY_", "MSI_")
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


async def demo(command: str, *, serve: bool) -> int:
    """
    Plan and apply on the emulated company Contoso, and return the exit code.

    `command`: the command with which the user calls this program. `serve`: only run the emulator,
    until it is interrupted.
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
        **_without_azure(os.environ),
        **emulator.environment(),
        "PYTHONPATH": str(Path(acr_cleanup.__file__).parents[1]),
    }

    async def run(verb: str) -> int:
        console.print(f"\n[bold]$ acr-cleanup {verb} {config.name}[/]\n")
        # -P: do not import a package of the same name from the current folder.
        arguments = ("-P", "-m", "acr_cleanup", verb, str(config), "--report-dir", str(config.parent / verb))
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
        return await process.wait()

    def count_tags() -> int:
        return sum(len(repository.tags) for repository in emulator.world.registry.repositories.values())

    before = count_tags()
    console.rule("[bold]Contoso has two AKS clusters and one registry")
    console.print(
        f"The registry has {before} tags in {len(emulator.world.registry.repositories)} repositories. "
        "This is the configuration file:\n"
    )
    console.print(text, style="dim", markup=False)

    console.rule("[bold]1. What would be deleted?")
    code = await run("plan")
    if code == 0:
        console.print(f"\n{_sum(config.parent / 'plan' / 'report.json', before)}", markup=False)
        console.rule("[bold]2. Delete it")
        code = await run("apply")
    console.rule("[bold]Result")
    requests = [record for record in emulator.world.requests if record.service == "acr"]
    deletions = sum(record.method == "DELETE" for record in requests)
    console.print(
        f"The registry has {count_tags()} of {before} tags left. Both runs together sent {len(requests)} requests, "
        f"of which {deletions} were deletions.\n"
        f"The reports are in {config.parent}.\n"
        f"To try all commands yourself: {command} demo --serve"
    )
    return code


def _sum(report: Path, tags: int) -> str:
    """Say how the tags of the plan add up to those of the registry."""
    run = read_report(report)
    names = [name for part in run.left_out or () for name in part.examples]
    planned = run.counts.planned + run.counts.kept
    return (
        f"Of the {tags} tags of the registry, {run.counts.planned} would be deleted and {run.counts.kept} are kept. "
        f"The other {tags - planned} are in {words.listing(names)}, which no cluster runs: out of scope, and kept."
    )


async def _serve(emulator: Emulator, config: Path, command: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("Contoso is running. In another terminal, run:\n")
    for name, value in emulator.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"\n{command} plan {shlex.quote(str(config))}\n\nPress Ctrl-C to stop.", flush=True)
    await stop.wait()


def _without_azure(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove variables that belong to Azure, pipelines or proxies."""
    return {
        name: value for name, value in environ.items() if not name.startswith(_FOREIGN) and name.upper() not in _PROXIES
    }
