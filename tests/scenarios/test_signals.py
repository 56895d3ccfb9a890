"""
SIGTERM, SIGHUP and SIGKILL at every request to the registry, of an apply and of a restore.

A kill needs no process: each request stores a copy of the registry and of the files, which is all
that a run killed at this moment would leave.
"""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from acr_cleanup.core.restoration import RestoreOutcome
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.registry.state import RegistryState
from acr_cleanup.records.journal_reader import read_journal
from acr_cleanup.reports.restoration import RestorationReport
from tests.helpers import restore_runs
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.restore_runs import RestoreRun
from tests.helpers.shop import PublishedResults, Shop, apply, assert_sound_run
from tests.helpers.tool_runs import RunResult, Tool

T = TypeVar("T")
REPOSITORIES = ("shop/web", "shop/api", "shop/idle")


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    connect_in_memory(monkeypatch)


def contents(registry: RegistryState) -> Mapping[str, Any]:
    """Return all tags with digests and locks, and all manifests with locks."""
    return {
        name: (
            {tag.name: (tag.digest, tag.attributes) for tag in registry.repositories[name].tags.values()},
            {digest: manifest.attributes for digest, manifest in registry.repositories[name].manifests.items()},
        )
        for name in REPOSITORIES
    }


def before_each(shop: Shop, do: Callable[[int], None], **when: Any) -> None:
    """Call `do` with the number of each request to the registry, before it is answered."""
    count = 0

    async def hook(_: web.Request) -> None:
        nonlocal count
        do(count)
        count += 1

    shop.world.faults.append(Fault(service="acr", before=hook, **when))


async def apply_without_services(tool: Tool) -> RunResult:
    """The signals arrive at requests to the registry, so no list of services is needed."""
    return await apply(tool, services="off")


def run(shop: Shop, folder: Path, work: Callable[[Tool], Awaitable[T]]) -> T:
    async def play() -> T:
        async with serve_in_memory(shop.world, folder) as tool:
            return await work(tool)

    return run_in_virtual_time(play)


def run_restore(registry: RegistryState, folder: Path, journal: Path, *faults: Fault) -> RestoreRun:
    """Restore a journal into this registry."""
    shop = Shop()
    shop.world.registry = registry
    shop.world.faults.extend(faults)
    return restore_runs.run_restore(shop.world, folder, journal)


def assert_completed_by_the_next(
    registry: RegistryState, folder: Path, journal: Path, before: Mapping[str, Any]
) -> None:
    """A second restore brings everything back."""
    assert run_restore(registry, folder, journal).code == 0
    assert contents(registry) == before


def applied(folder: Path, *faults: Fault) -> tuple[RunResult, Shop, Mapping[str, Any], Path]:
    """Apply in a new shop. Return the run, the shop, the contents before, and the journal."""
    shop = Shop()
    before = contents(shop.world.registry)
    shop.world.faults.extend(faults)
    ran = run(shop, folder, apply_without_services)
    return ran, shop, before, folder / "report" / "journal.jsonl"


def signal_at(number: int, sent: signal.Signals) -> Fault:
    """Send a signal to this process before the nth request to the registry is answered."""

    async def stop(_: web.Request) -> None:
        signal.raise_signal(sent)

    return Fault(service="acr", after=number, times=1, before=stop)


def count_requests(shop: Shop) -> int:
    return shop.world.count(service="acr")


# -- apply -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "every"),
    [
        (signal.SIGTERM, 5),
        pytest.param(signal.SIGTERM, 1, marks=pytest.mark.extended),
        pytest.param(signal.SIGHUP, 1, marks=pytest.mark.extended),
    ],
)
def test_signal_at_any_step_of_apply_leaves_a_true_report_and_journal(
    sent: signal.Signals, every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal then restores all that was deleted, whether or not its answer arrived."""
    published = PublishedResults(monkeypatch)
    _, whole, _, _ = applied(tmp_path)
    partly = 0
    for number in range(0, count_requests(whole), every):
        shutil.rmtree(tmp_path / "report")
        published.clear()
        shop = Shop()
        repositories, before = shop.repositories(), contents(shop.world.registry)
        shop.world.faults.append(signal_at(number, sent))
        ran = run(shop, tmp_path, apply_without_services)

        assert ran.code == 128 + sent, (number, ran.out)
        assert ran.report["verdict"] == "cancelled"
        assert_sound_run(ran, shop, published, repositories, cancelled=ran.code)
        journal = tmp_path / "report" / "journal.jsonl"
        if contents(shop.world.registry) == before:
            continue
        partly += 1
        assert not read_journal(journal).torn
        assert all(deletion.outcome is not None for deletion in read_journal(journal).deletions)
        restored = run_restore(shop.world.registry, tmp_path, journal)
        assert restored.code == 0, (number, restored.out)
        assert contents(shop.world.registry) == before
    assert partly


def assert_rest_was_deleted(registry: RegistryState, after: Mapping[str, Any], children: set[str]) -> None:
    """
    Assert that the run after a killed one deleted all tags.

    children: those of a deleted index may remain. They are untagged manifests like others then.
    """
    for name, (tags, manifests) in contents(registry).items():
        assert tags == after[name][0]
        assert manifests.keys() - after[name][1].keys() <= children


def test_kill_at_any_step_of_apply_leaves_a_journal_that_restores_everything(tmp_path: Path) -> None:
    """Images that an earlier run reported are whole or gone, and the next run deletes the rest."""
    shop = Shop()
    before = contents(shop.world.registry)
    moments: list[RegistryState] = []

    def save(number: int) -> None:
        moments.append(copy.deepcopy(shop.world.registry))
        shutil.copytree(tmp_path / "report", tmp_path / f"killed-{number}")

    multi = shop.digest("shop/web", "multi")
    children = set(shop.world.registry.repositories["shop/web"].manifests[multi].children)
    before_each(shop, save)
    assert run(shop, tmp_path, apply_without_services).code == 0
    after = contents(shop.world.registry)
    partly = 0
    for number, registry in enumerate(moments):
        folder = tmp_path / f"killed-{number}"
        journal = folder / "journal.jsonl"
        for path in folder.glob("*.json"):
            json.loads(path.read_text(encoding="utf-8"))
        if not journal.exists():
            assert contents(registry) == before
            continue
        changed = contents(registry) != before
        partly += changed
        if number % 7 == 0:
            shutil.rmtree(tmp_path / "report")
            shutil.copytree(folder, tmp_path / "report")
            again = Shop()
            again.world.registry = copy.deepcopy(registry)
            assert run(again, tmp_path, apply_without_services).code == 0
            assert_rest_was_deleted(again.world.registry, after, children)
        restored = run_restore(registry, tmp_path, journal)
        assert restored.code == 0, (number, restored.out)
        assert contents(registry) == before, number
    assert partly > 5


# -- restore ---------------------------------------------------------------------------------------


def assert_true(report: RestorationReport, registry: RegistryState, before: Mapping[str, Any]) -> None:
    """Assert that the report names all that the journal lists once, and claims nothing that is missing."""
    names = [(item.repository, item.digest, item.tag) for item in report.items]
    assert len(names) == len(set(names))
    back = {name for name, item in zip(names, report.items, strict=True) if item.outcome.is_back}
    now = contents(registry)
    for repository, (tags, manifests) in before.items():
        tags_now, manifests_now = now[repository]
        for tag, (digest, attributes) in tags.items():
            if (repository, digest, tag) in back:
                assert tags_now[tag] == (digest, attributes), tag
            elif tag not in tags_now or tags_now[tag] != (digest, attributes):
                assert (repository, digest, tag) in names, tag
        for digest, attributes in manifests.items():
            if (repository, digest, None) in back:
                assert manifests_now[digest] == attributes, digest
            elif digest not in manifests_now:
                assert (repository, digest, None) in names, digest


@pytest.mark.parametrize("sent", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.extended)])
def test_signal_at_any_step_of_restore_leaves_a_true_report(sent: signal.Signals, tmp_path: Path) -> None:
    """Restoring the same journal again completes it."""
    _, shop, before, journal = applied(tmp_path)
    deleted = shop.world.registry
    requests: list[int] = []
    counter = Shop()
    before_each(counter, requests.append)
    run_restore(copy.deepcopy(deleted), tmp_path, journal, *counter.world.faults)
    outcomes: set[RestoreOutcome] = set()
    for number in requests:
        registry = copy.deepcopy(deleted)
        stopped = run_restore(registry, tmp_path, journal, signal_at(number, sent))

        assert stopped.code == 128 + sent, (number, stopped.out)
        assert "Stopped by a signal." in stopped.out
        assert_true(stopped.report, registry, before)
        outcomes |= {item.outcome for item in stopped.report.items}
        if number % 4 == 0:
            again = run_restore(registry, tmp_path, journal)
            assert (again.code, contents(registry)) == (0, before), (number, again.out)
    assert outcomes >= {RestoreOutcome.RESTORED, RestoreOutcome.NOT_ATTEMPTED}


def test_stopped_restore_does_not_wait_for_a_hanging_registry(tmp_path: Path) -> None:
    """A request without an answer may have restored its item, which is reported as failed."""
    _, shop, before, journal = applied(tmp_path)
    registry = shop.world.registry

    async def stop(_: web.Request) -> None:
        asyncio.get_running_loop().call_later(1, signal.raise_signal, signal.SIGTERM)

    hanging = Fault(service="acr", method="PUT", hang=3600)
    stopped = run_restore(
        registry, tmp_path, journal, Fault(service="acr", method="PUT", before=stop, times=1), hanging
    )

    assert stopped.code == 143
    assert "the restore was stopped before the registry answered: it may be restored" in stopped.out
    assert "continues with the rest" in stopped.out
    assert_true(stopped.report, registry, before)
    assert_completed_by_the_next(registry, tmp_path, journal, before)


def test_lock_that_a_stopped_restore_did_not_set_is_reported(tmp_path: Path) -> None:
    _, shop, before, journal = applied(tmp_path)
    registry = shop.world.registry

    async def stop(_: web.Request) -> None:
        signal.raise_signal(signal.SIGTERM)

    stopped = run_restore(registry, tmp_path, journal, Fault(service="acr", method="PATCH", before=stop, hang=3600))

    held = [item for item in stopped.report.items if item.tag == "held"]
    assert [item.outcome for item in held] == [RestoreOutcome.FAILED]
    assert "could not be locked again" in held[0].detail
    assert_true(stopped.report, registry, before)
    assert_completed_by_the_next(registry, tmp_path, journal, before)


def test_kill_at_any_step_of_restore_leaves_what_the_next_one_completes(tmp_path: Path) -> None:
    _, shop, before, journal = applied(tmp_path)
    registry = shop.world.registry
    moments: list[RegistryState] = []
    recorder = Shop()
    before_each(recorder, lambda _: moments.append(copy.deepcopy(registry)))
    assert run_restore(registry, tmp_path, journal, *recorder.world.faults).code == 0
    assert contents(registry) == before
    for number, moment in enumerate(moments):
        again = run_restore(moment, tmp_path, journal)
        assert (again.code, contents(moment)) == (0, before), (number, again.out)
