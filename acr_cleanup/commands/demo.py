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
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

import acr_cleanup
from acr_cleanup.emulator.company import NIGHTLY, PULLED, contoso, last_week
from acr_cleanup.emulator.server import Emulator
from acr_cleanup.records.ledger_file import read_ledger, write_ledger
from acr_cleanup.records.report import read_report
from acr_cleanup.reports import words
from acr_cleanup.signals import stop_signals

# Variables that could lead the tool to the real Azure, or change how it reaches the emulator.
_FOREIGN = ("AZURE_", "ARM_", "ACTIONS_", "GITHUB_", "INPUT_", "SYSTEM_", "IDENTITY_", "MSI_")
FIRST_RUN, LAST_RUN = timedelta(days=21), timedelta(days=6)

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")

_PULLS = {"pulled_within": "90d", "ignore_pulls_by": ["trivy/*"]}
"""Options with which the demo reads the log of its registry."""


async def demo(command: str, *, serve: bool) -> int:
    """
    Plan and apply on the emulated company Contoso, and return the exit code.

    `command`: the command with which the user calls this program. `serve`: only run the emulator,
    until it is interrupted.
    """
    folder = Path(tempfile.mkdtemp(prefix="acr-cleanup-demo-"))
    async with Emulator(contoso()) as emulator:
        config = folder / "acr-cleanup.json"
        ledger = {} if serve else {"ledger": str(folder / "ledger.json"), "used_within": "14d", "probation": "6d"}
        text = json.dumps({**emulator.config(), **_PULLS, **ledger}, indent=2)
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

    async def run(verb: str, folder: str = "", output: int | None = None) -> int:
        # Not as a module: the reports then recommend `acr-cleanup`, which users can type. -P: do not import a
        # package of the same name from the current folder.
        start = "from acr_cleanup.cli import entry; entry()"
        arguments = ("-P", "-c", start, verb, config.name, "--report-dir", folder or verb)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment, cwd=config.parent, stdout=output, stderr=output
        )
        return await process.wait()

    async def show(verb: str) -> int:
        console.print(f"\n[bold]$ acr-cleanup {verb} {config.name}[/]\n")
        return await run(verb)

    def count_tags() -> int:
        return sum(len(repository.tags) for repository in emulator.world.registry.repositories.values())

    before = count_tags()
    console.rule("[bold]Contoso has two AKS clusters and one registry")
    console.print(
        f"The registry has {before} tags in {len(emulator.world.registry.repositories)} repositories. "
        f"A build agent outside of the clusters pulls shop/cart:{PULLED}; only the log of the registry shows it. "
        "This is the configuration file:\n"
    )
    console.print(text, style="dim", markup=False)
    with last_week(emulator.world):
        await run("plan", "last-week", asyncio.subprocess.DEVNULL)
    _age(config.parent / "ledger.json", emulator.world.registry.login_server)
    emulator.world.requests.clear()
    console.print(
        "\nThe ledger has what the runs of the last three weeks saw: a job that runs at night, and a pod that is gone. "
        "Images that the job used in the last 14 days are kept. New candidates wait for 6 days, on probation."
    )

    console.rule("[bold]1. What would be deleted?")
    code = await show("plan")
    if code == 0:
        console.print(f"\n{_sum(config.parent / 'plan' / 'report.json', before)}", markup=False)
        console.rule("[bold]2. Delete it")
        code = await show("apply")
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


def _age(ledger: Path, login_server: str) -> None:
    """Date the ledger back: it was begun three weeks ago, and the job was seen six days ago."""
    written = read_ledger(ledger, login_server, datetime.now(UTC))
    if written is None:
        return
    for repository in written.repositories:
        for use in repository.uses:
            use.seen_at -= LAST_RUN if use.by.endswith(NIGHTLY) else FIRST_RUN
        for candidates in repository.candidates:
            candidates.since -= FIRST_RUN
    written.started_at -= FIRST_RUN
    written.written_at -= LAST_RUN
    write_ledger(ledger, written)


async def _serve(emulator: Emulator, config: Path, command: str) -> None:
    stop = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    variables = emulator.environment()
    print("Contoso is running. In another terminal, start a shell for it (`sh`), and run:\n")
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"\n{command} plan {shlex.quote(str(config))}\n")
    # They would send later commands, also of other programs, to Contoso.
    print("Leave that shell with `exit`, which brings back your own variables. Without one, remove them:\n")
    print(f"unset {' '.join(variables)}\n\nPress Ctrl-C to stop Contoso.", flush=True)
    await stop.wait()


def _without_azure(environ: Mapping[str, str]) -> dict[str, str]:
    """Remove variables that belong to Azure, pipelines or proxies."""
    return {
        name: value for name, value in environ.items() if not name.startswith(_FOREIGN) and name.upper() not in _PROXIES
    }
