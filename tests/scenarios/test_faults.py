"""
A fault at every request of a run, once or always.

These are some thousands of runs. By default every 97th is made, which covers every kind of fault.
`make soak` makes all of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from acr_cleanup.commands import run as run_command
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.records.ledger_file import read_ledger
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.oracle_repository import Repository
from tests.helpers.shop import (
    EvidenceShop,
    PublishedResults,
    Shop,
    apply,
    assert_sound_run,
    deleted_tags,
    has_unreported_unlock,
    record_ledger,
)
from tests.helpers.tool_runs import RunResult

pytestmark = [pytest.mark.untraced, pytest.mark.extended]

PARTS = 10
STEP = int(os.environ.get("ACR_CLEANUP_EVERY_FAULT", "97"))
MOST_TRIES = 120
"""
How often a failing request may be sent.

It is tried five times, and a scan asks for its rights, with the same path, once for each kind.
"""
MOST_PAUSES = 1_000
"""The same for an answer of 429 that asks to wait a second: four minutes per call."""
LONGEST = 45 * 60
"""
Virtual seconds that a run may take with one failing request.

A few such requests may follow one another, and each of them is retried.
"""

KINDS: dict[str, dict[str, Any]] = {
    **{str(status): {"status": status, "body": {"errors": []}} for status in (401, 403, 404, 500, 503)},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "reset": {"reset": True},
    "hang": {"hang": 3600},
    "truncated": {"truncate": 0.5},
    "malformed": {"malformed": True},
    "SIGTERM": {},
    "SIGHUP": {},
}
STOPS = {"SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP}
RETRIED = {"429", "500", "503", "reset", "truncated"}
"""Faults that the run must survive without a trace if they occur once."""

UNANSWERED = {("entra", "reset"), ("entra", "truncated"), ("logs", "truncated")}
"""
The retried faults that Azure's client does not retry for a POST.

It cannot know that the POST changes nothing. The answer of a query of logs is read as it arrives.
"""


UNREAD_MANIFEST = "cannot be read or understood"
"""The summary's sentence about a manifest that the first look could not read."""


class Request(NamedTuple):
    """The nth request with this method and URL in a run, counted from 0."""

    service: str
    method: str
    path: str
    query: str
    nth: int

    def fault(self, kind: str, *, always: bool) -> Fault:
        async def stop(_: web.Request) -> None:
            signal.raise_signal(STOPS[kind])

        return Fault(
            service=self.service,
            method=self.method,
            path=f"^{re.escape(self.path)}$",
            query=f"^{re.escape(self.query)}$",
            after=self.nth,
            times=None if always else 1,
            before=stop if kind in STOPS else None,
            **KINDS[kind],
        )


class Case(NamedTuple):
    request: Request
    kind: str
    always: bool

    @property
    def is_survived(self) -> bool:
        """True if the run must end as if there had been no fault."""
        not_retried = self.request.method == "POST" and (self.request.service, self.kind) in UNANSWERED
        return self.kind in RETRIED and not self.always and not not_retried

    def __str__(self) -> str:
        request = f"{self.request.service} {self.request.method} {self.request.path}"
        return f"{self.kind} {'always' if self.always else 'once'}: {request} ({self.request.nth})"


@dataclass(frozen=True)
class FixedWorld:
    """
    The world of all these runs, with services, a pull log, cache rules and a ledger.

    today, recorded: its moment, and the ledger that each run gets. folder: of the reports.
    """

    today: datetime
    recorded: bytes
    folder: Path

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.json"

    async def run(self, *faults: Fault) -> tuple[RunResult, Shop, dict[str, Repository], float]:
        """Apply once. Return the run, the shop, its repositories before, and the virtual seconds."""
        self.ledger.write_bytes(self.recorded)
        shop = EvidenceShop(self.today)
        shop.world.faults.extend(faults)
        before = shop.repositories()
        async with serve_in_memory(shop.world, self.folder) as tool:
            ran = await apply(tool, **shop.OPTIONS, ledger=str(self.ledger))
            return ran, shop, before, asyncio.get_running_loop().time()

    def assert_ledger_is_whole(self) -> None:
        """Assert that the next run can read the ledger, and that it still knows the past uses."""
        ledger = read_ledger(self.ledger, "contoso.azurecr.io", datetime.now(UTC))
        assert ledger is not None
        assert [use.by for entry in ledger.repositories for use in entry.uses if "nightly" in use.images]


def fixed_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FixedWorld:
    """
    Return the world, and stop the clock of the machine.

    It does not advance in this world: after five minutes of tests, the machine's would be ahead of it.
    """
    connect_in_memory(monkeypatch)
    today = datetime.now(UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return today

    world = FixedWorld(today, record_ledger(today, folder, monkeypatch), folder)
    monkeypatch.setattr(run_command, "datetime", Clock)
    return world


def every_request(world: FixedWorld) -> tuple[list[Request], set[str]]:
    """Return the requests of a run without faults, in order, and the tags that it deletes."""
    requests: list[Request] = []
    counts: Counter[tuple[str, str, str, str]] = Counter()

    def recorder(service: str) -> Fault:
        async def record(request: web.Request) -> None:
            key = (service, request.method, request.path, request.rel_url.raw_query_string)
            requests.append(Request(*key, counts[key]))
            counts[key] += 1

        return Fault(service=service, before=record)

    services = ["acr", "entra", "arm", "logs", "kubernetes/aks-production", "kubernetes/aks-test"]
    ran, shop, before, _ = run_in_virtual_time(lambda: world.run(*map(recorder, services)))
    assert ran.code == 0, ran.out
    assert len(requests) == len(shop.world.requests), "a service is not in the list above"
    return requests, deleted_tags(before, shop.repositories())


def cases(requests: list[Request]) -> list[Case]:
    return [
        Case(request, kind, always)
        for request in requests
        for kind in KINDS
        for always in ((False,) if kind in STOPS else (False, True))
    ]


def assert_says_what_to_do(ran: RunResult) -> None:
    """Assert that each blocker has a remedy, and that each failed item says what failed."""
    for blocker in ran.blockers:
        # The error of a repository contains its remedy.
        assert blocker["remedy"] or blocker["call"] == "read its repositories", blocker
    for outcome in ran.report["outcomes"]:
        assert outcome["outcome"] != "failed" or outcome["detail"], outcome


def test_each_source_of_the_fixed_world_keeps_its_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sources, their tags are deleted: a fault that hides one of them would show."""
    world = fixed_world(tmp_path, monkeypatch)
    kept = {f"shop/web:{name}" for name in EvidenceShop.EVIDENCE}
    _, all_deletions = every_request(world)

    async def without() -> set[str]:
        shop = EvidenceShop(world.today)
        async with serve_in_memory(shop.world, tmp_path) as tool:
            return (await apply(tool, services="off")).deleted

    assert run_in_virtual_time(without) == all_deletions | kept
    assert not all_deletions & kept


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS) if STEP == 1 else [0])
def test_fault_at_any_request_leaves_a_sound_run(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = PublishedResults(monkeypatch)
    world = fixed_world(tmp_path, monkeypatch)
    requests, all_deletions = every_request(world)
    # By kind: any step then tries each kind.
    ordered = sorted(cases(requests), key=lambda case: case.kind)
    chosen = ordered[part :: PARTS if STEP == 1 else STEP]
    codes: Counter[tuple[str, int]] = Counter()
    failures: list[str] = []

    def check(case: Case) -> None:
        fault = case.request.fault(case.kind, always=case.always)
        published.clear()
        ran, shop, before, seconds = run_in_virtual_time(lambda: world.run(fault))
        codes[case.kind, ran.code] += 1
        stopped = 128 + STOPS[case.kind] if case.kind in STOPS else None
        assert_sound_run(ran, shop, published, before, false_404=case.kind == "404", cancelled=stopped or 143)
        assert_says_what_to_do(ran)
        world.assert_ledger_is_whole()
        deleted = deleted_tags(before, shop.repositories())
        assert fault.hits >= 1
        assert fault.hits <= (MOST_PAUSES if case.kind == "429" else MOST_TRIES)
        assert seconds < LONGEST
        assert not has_unreported_unlock(ran, shop), ran.out
        assert (ran.report["verdict"] == "cancelled") == (case.kind in STOPS), ran.out
        if case.is_survived:
            assert (ran.code, deleted) == (0, all_deletions), ran.out
        if ran.code == 0 and case.kind != "404":
            # A manifest that cannot be read keeps its own tags. That is a warning, not a failure.
            assert deleted == all_deletions or (deleted < all_deletions and UNREAD_MANIFEST in ran.out), ran.out

    for case in chosen:
        try:
            check(case)
        except Exception as error:  # noqa: BLE001  (the other cases must run as well)
            failures.append(f"{case}: {error}")
    sys.stdout.write(f"{len(requests)} requests, {len(chosen)} faults: {dict(sorted(codes.items()))}\n")
    assert not failures, "\n\n".join(failures)
    assert {kind for kind, _ in codes} == set(KINDS), "a kind of fault was never tried"
