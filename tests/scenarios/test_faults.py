"""
A fault at every call: the same run again and again, each time another request fails in another way, once or for ever.

There are some thousands of these. `make test` takes every 97th, so that all kinds and all requests have their turn; `make soak`
takes all of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from acr_cleanup.emulator.faults import Fault
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.oracle import Repository
from tests.helpers.shop import Shop, Told, apply, gone, honest, left_unlocked
from tests.helpers.tool_runs import RunResult

pytestmark = pytest.mark.untraced

PARTS = 10
STEP = int(os.environ.get("ACR_CLEANUP_EVERY_FAULT", "97"))
MOST_TRIES = 60
"""How often one call may be made: five tries of it, and what a cluster asks with the same path a dozen times."""
MOST_PAUSES = 1_000
"""The same for one that is told to wait a second: four minutes each time that a run has need of it."""
LONGEST = 45 * 60
"""Seconds that a run may take, whatever one request does: some patience for each of the few that follow one another."""

KINDS: dict[str, dict[str, Any]] = {
    **{str(status): {"status": status, "body": {"errors": []}} for status in (401, 403, 404, 500, 503)},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "reset": {"reset": True},
    "hang": {"hang": 3600},
    "truncated": {"truncate": 0.5},
    "malformed": {"malformed": True},
    "SIGTERM": {},
}
PASSING = {"429", "500", "503", "reset", "truncated"}
"""What a request may meet once, and nobody has to hear of it."""

UNANSWERED = {"reset", "truncated"}
"""Of these, what Azure's own client does not repeat for a POST: it cannot know that this one only reads."""


class Request(NamedTuple):
    """The nth of its kind in a run."""

    service: str
    method: str
    path: str
    query: str
    nth: int

    def fault(self, kind: str, *, ever: bool) -> Fault:
        async def stop(_: web.Request) -> None:
            signal.raise_signal(signal.SIGTERM)

        return Fault(
            service=self.service,
            method=self.method,
            path=f"^{re.escape(self.path)}$",
            query=f"^{re.escape(self.query)}$",
            after=self.nth,
            times=None if ever else 1,
            before=stop if kind == "SIGTERM" else None,
            **KINDS[kind],
        )


class Case(NamedTuple):
    request: Request
    kind: str
    ever: bool

    @property
    def heals(self) -> bool:
        """Must the run end as if nothing had been?"""
        alone = self.request.service == "entra" and self.request.method == "POST" and self.kind in UNANSWERED
        return self.kind in PASSING and not self.ever and not alone

    def __str__(self) -> str:
        what = f"{self.request.service} {self.request.method} {self.request.path}"
        return f"{self.kind} {'for ever' if self.ever else 'once'}: {what} ({self.request.nth})"


async def run(folder: Path, *faults: Fault) -> tuple[RunResult, Shop, dict[str, Repository], float]:
    shop = Shop()
    shop.world.faults.extend(faults)
    before = shop.repositories()
    async with serve_in_memory(shop.world, folder) as tool:
        ran = await apply(tool)
        return ran, shop, before, asyncio.get_running_loop().time()


def every_request(folder: Path) -> tuple[list[Request], set[str]]:
    """Those of a run in which nothing fails, in the order in which they arrive; and what goes in it."""
    found: list[Request] = []
    seen: Counter[tuple[str, str, str, str]] = Counter()

    def noting(service: str) -> Fault:
        async def note(request: web.Request) -> None:
            what = (service, request.method, request.path, request.rel_url.raw_query_string)
            found.append(Request(*what, seen[what]))
            seen[what] += 1

        return Fault(service=service, before=note)

    services = ["acr", "entra", "arm", "kubernetes/aks-production", "kubernetes/aks-test"]
    ran, shop, before, _ = run_in_virtual_time(lambda: run(folder, *map(noting, services)))
    assert ran.code == 0, ran.out
    return found, gone(before, shop.repositories())


def cases(requests: list[Request]) -> list[Case]:
    return [
        Case(request, kind, ever)
        for request in requests
        for kind in KINDS
        for ever in ((False,) if kind == "SIGTERM" else (False, True))
    ]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS) if STEP == 1 else [0])
def test_whatever_request_fails_and_however_the_run_is_honest(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_in_memory(monkeypatch)
    told = Told(monkeypatch)
    requests, everything = every_request(tmp_path)
    chosen = cases(requests)[part :: PARTS if STEP == 1 else STEP]
    codes: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []

    def check(case: Case) -> None:
        fault = case.request.fault(case.kind, ever=case.ever)
        told.forget()
        ran, shop, before, seconds = run_in_virtual_time(lambda: run(tmp_path, fault))
        codes[case.kind, ran.code] += 1
        honest(ran, shop, told, before, lied=case.kind == "404")
        left = gone(before, shop.repositories())
        assert fault.hits >= 1
        assert fault.hits <= (MOST_PAUSES if case.kind == "429" else MOST_TRIES)
        assert seconds < LONGEST
        assert not left_unlocked(ran, shop), ran.out
        assert (ran.code == 143) == (case.kind == "SIGTERM"), ran.out
        if case.heals:
            assert (ran.code, left) == (0, everything), ran.out
        if ran.code == 0 and case.kind != "404":
            assert left == everything, ran.out

    for case in chosen:
        try:
            check(case)
        except Exception as error:  # noqa: BLE001  (the others have their turn all the same)
            wrong.append(f"{case}: {error}")
    sys.stdout.write(f"{len(requests)} requests, {len(chosen)} faults: {dict(sorted(codes.items()))}\n")
    assert not wrong, "\n\n".join(wrong)
    assert {kind for kind, _ in codes} == set(KINDS), "not every kind of fault had its turn"
