"""
One way of reading the pages in a file, in a process of its own: prints its CPU seconds, peak memory and what it found.

`python -m tests.bench.reading_pods WAY FILE [PAGES]`, with the pages one per line.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.pods import REGISTRY


def lines(file: Path, count: int | None) -> Iterator[bytes]:
    with file.open("rb") as pages:
        yield from islice(pages, count)


def nothing(pages: Iterator[bytes]) -> int:
    """Reads the file: what every way has in common."""
    return sum(len(page) > 0 for page in pages)


def with_json(pages: Iterator[bytes]) -> int:
    """The standard library, and nothing done with the result."""
    return sum(len(json.loads(page)["items"]) for page in pages)


def with_typed_client(pages: Iterator[bytes]) -> int:
    """The kubernetes client's own list of pods."""
    from kubernetes import client

    api = client.ApiClient()
    return sum(len(api.deserialize(page.decode(), "V1PodList", "application/json").items) for page in pages)


def with_scan(pages: Iterator[bytes]) -> int:
    """What acr-cleanup does, from pages to the uses of a cluster."""
    from acr_cleanup.clusters.api_server.client import HttpAnswer
    from acr_cleanup.clusters.api_server.scan import scan
    from acr_cleanup.clusters.images.pod_specs import KINDS
    from acr_cleanup.core.references import Registry

    kinds = {kind.path: kind for kind in KINDS}

    async def ask(method: str, path: str, body: Mapping[str, Any] | None = None, **_: Any) -> HttpAnswer:
        await asyncio.sleep(0)
        place = urlsplit(path).path
        if method == "POST":
            return HttpAnswer(201, b'{"status": {"allowed": true}}')
        if place == "/api/v1/pods":
            return HttpAnswer(200, next(pages))
        if place in kinds or place == "/api/v1/configmaps":
            name = kinds[place].name if place in kinds else "ConfigMap"
            version = kinds[place].api_version if place in kinds else "v1"
            empty = {"kind": f"{name}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": []}
            return HttpAnswer(200, json.dumps(empty).encode())
        if place in {"/api", "/apis"}:
            groups = {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": [],
            }
            return HttpAnswer(200, json.dumps(groups).encode())
        return HttpAnswer(404, b"404 page not found\n")

    scans = []

    async def run() -> None:
        scans.append(await scan(ask, "bench", Registry(REGISTRY), access="direct"))

    # `asyncio.run` would write out the result of what it runs, for an error message that nobody sees; that is not measured.
    asyncio.run(run())
    (found,) = scans
    assert not found.blockers, found.blockers
    assert len({use.reference for use in found.uses}) > 100
    return found.objects


WAYS = {"nothing": nothing, "json": with_json, "typed": with_typed_client, "scan": with_scan}


def main() -> None:
    way, file, *rest = sys.argv[1:]
    pages = lines(Path(file), int(rest[0]) if rest else None)
    # Imports are not what is measured.
    for module in (
        ("acr_cleanup.clusters.api_server.scan",) if way == "scan" else ("kubernetes.client",) if way == "typed" else ()
    ):
        importlib.import_module(module)
    began = time.process_time()
    count = WAYS[way](pages)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"way": way, "cpu": spent, "peak": peak, "count": count}))


if __name__ == "__main__":
    main()
