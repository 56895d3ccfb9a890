"""
Plan and report a registry of generated pages, and print CPU seconds and peak memory as JSON.

`python -m tests.bench.planning TAGS REPOSITORIES`. All code between the bytes of a page and the
finished plan is the product's, paging included. There is no network, and the time for generating
pages is subtracted. The reports are those of a dry run.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from acr_cleanup.concurrency import gather
from acr_cleanup.core.outcome import Result, Verdict
from acr_cleanup.core.packed import Packed, PackedPlans
from acr_cleanup.core.plan import Plan, RepositoryPlan
from acr_cleanup.core.planning import nothing_to_delete, plan_repository
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.registry.acr import AcrRegistry
from acr_cleanup.registry.pace import Pace, Reply
from acr_cleanup.registry.requests import RegistryRequests
from acr_cleanup.reports import files, markdown, text
from acr_cleanup.reports.context import Context
from acr_cleanup.reports.outputs import outputs
from acr_cleanup.runtimes.garbage import relax_gc

PAGE = 1000
NOW = datetime(2026, 6, 1, tzinfo=UTC)
AT_ONCE = 8
OPEN = {"deleteEnabled": True, "writeEnabled": True, "readEnabled": True, "listEnabled": True}


class GeneratedPages(RegistryRequests):
    """
    Answers every request for a list with generated pages of `tags` tags, each on its own manifest.
    """

    def __init__(self, tags: int) -> None:
        client: Any = SimpleNamespace(_client=SimpleNamespace(_client=None))
        super().__init__("contoso.azurecr.io", client, Pace(AT_ONCE))
        self._tags = tags
        self.making = 0.0
        """CPU seconds spent on generating pages."""
        self.plain = 0.0
        """CPU seconds in which the standard library only decodes them."""

    async def send(self, *arguments: Any, **options: Any) -> Reply:
        # Other tasks run here, as they would during a network request.
        await asyncio.sleep(0)
        began = time.process_time()
        url = urlsplit(arguments[2])
        repository, _, kind = unquote(url.path).removeprefix("/acr/v1/").rpartition("/")
        headers: dict[str, str] = {}
        body: dict[str, Any]
        if kind not in {"_tags", "_manifests"}:
            body = {
                "imageName": unquote(url.path).removeprefix("/acr/v1/"),
                "changeableAttributes": OPEN,
            }
        else:
            start = _number(parse_qs(url.query).get("last", [""])[0]) + 1
            last = min(start + PAGE, self._tags)
            make = _tag if kind == "_tags" else _manifest
            items = [make(repository, number) for number in range(start, last)]
            body = {"registry": self.login_server, "imageName": repository, kind[1:]: items}
            if last < self._tags:
                headers = {"Link": f'<{url.path}?last={last - 1}&n={PAGE}>; rel="next"'}
        reply = Reply(200, headers, json.dumps(body).encode())
        del body
        generated = time.process_time()
        json.loads(reply.body)
        ended = time.process_time()
        self.plain += ended - generated
        self.making += ended - began
        return reply


def _number(last: str) -> int:
    """
    The number in `last`: from our own links, or from a name if a full page has no link; -1 if
    empty.
    """
    if last.startswith("sha256:"):
        return int(last[-8:], 16)
    return int(last.rpartition(".")[2] or -1)


def _digest(repository: str, number: int) -> str:
    """As random as a real digest, so that it cannot be stored in fewer bytes."""
    return f"sha256:{sha256(f'{repository}{number}'.encode()).hexdigest()[:-8]}{number:08x}"


def _moment(number: int) -> str:
    """Every second tag is old enough to be deleted."""
    moment = NOW - timedelta(days=90 if number % 2 else 1, seconds=number)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{number % 10_000_000:07}Z"


def _tag(repository: str, number: int) -> dict[str, Any]:
    moment = _moment(number)
    return {
        "name": f"main-20260101.{number}",
        "digest": _digest(repository, number),
        "createdTime": moment,
        "lastUpdateTime": moment,
        "signed": False,
        "changeableAttributes": OPEN,
    }


def _manifest(repository: str, number: int) -> dict[str, Any]:
    moment = _moment(number)
    return {
        "digest": _digest(repository, number),
        "imageSize": 50_000_000 + number,
        "createdTime": moment,
        "lastUpdateTime": moment,
        "architecture": "amd64",
        "os": "linux",
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "configMediaType": "application/vnd.docker.container.image.v1+json",
        "tags": [f"main-20260101.{number}"],
        "changeableAttributes": OPEN,
    }


async def make_plan(registry: AcrRegistry, repositories: int) -> Plan:
    """Plan all repositories, as a run does after reading the clusters."""
    usage, policy = UsageIndex.of((), NOW), RetentionPolicy(scope=Scope.ALL)
    plans: list[Packed] = []

    async def plan_one(name: str) -> RepositoryPlan:
        inventory = prepare(await registry.list_repository(name), usage, policy, NOW)
        if not nothing_to_delete(inventory, usage, policy, NOW):
            inventory = await registry.read_edges(inventory)
        return plan_repository(inventory, usage, policy, NOW)

    async def pack_one(name: str) -> None:
        plans.append(Packed.of(await plan_one(name)))

    await gather([partial(pack_one, f"team/service-{number}") for number in range(repositories)], limit=AT_ONCE)
    return Plan("contoso.azurecr.io", policy, NOW, usage, PackedPlans(plans))


def main() -> None:
    relax_gc()
    tags, repositories = int(sys.argv[1]), int(sys.argv[2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    requests = GeneratedPages(tags // repositories)
    tokens: Any = None
    registry = AcrRegistry(requests, tokens, concurrency=AT_ONCE)
    began = time.process_time()
    plans: list[Plan] = []

    async def run() -> None:
        plans.append(await make_plan(registry, repositories))

    # Not returned from `run`: `asyncio.run` would format its result for an unused error message.
    asyncio.run(run())
    (plan,) = plans
    spent = time.process_time() - began - requests.making
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert plan.planned == tags // 2, plan.planned
    began = time.process_time()
    report(plan)
    figures = {"tags": tags, "cpu": spent, "plain": requests.plain, "peak": peak, "before": before}
    figures |= {
        "reports": time.process_time() - began,
        "reporting_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(figures))


def report(plan: Plan) -> None:
    """Write every report of a dry run: the files, the outputs, the summary and the text."""
    result = Result(plan, Verdict.PLANNED, True, NOW, NOW)
    with TemporaryDirectory() as folder:
        context = files.write(result, Path(folder), Context())
        outputs(result, context)
        markdown.render(result, context)
        for _ in text.render(result, context).lines():
            pass


if __name__ == "__main__":
    main()
