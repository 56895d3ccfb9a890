"""
Read pages of pods from a file in one way, and print CPU seconds, peak memory and the count as JSON.

`python -m tests.bench.reading_pods WAY FILE [PAGES]`, with one page per line.
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


def without_decoding(pages: Iterator[bytes]) -> int:
    """Only read the file, which every way does."""
    return sum(len(page) > 0 for page in pages)


def with_json(pages: Iterator[bytes]) -> int:
    """Decode with the standard library and discard the result."""
    return sum(len(json.loads(page)["items"]) for page in pages)


def with_typed_client(pages: Iterator[bytes]) -> int:
    """Decode with the typed list of the kubernetes client."""
    from kubernetes import client

    api = client.ApiClient()
    return sum(len(api.deserialize(page.decode(), "V1PodList", "application/json").items) for page in pages)


def with_scan(pages: Iterator[bytes]) -> int:
    """Scan as acr-cleanup does, from pages to image uses."""
    from acr_cleanup.clusters.api_server.client import HttpAnswer
    from acr_cleanup.clusters.api_server.scan import scan
    from acr_cleanup.clusters.images.names import Names
    from acr_cleanup.clusters.images.pod_specs import KINDS
    from acr_cleanup.clusters.target import Search
    from acr_cleanup.core.references import RegistryHost

    kinds = {kind.path: kind for kind in KINDS}

    async def ask(method: str, path: str, body: Mapping[str, Any] | None = None, **_: Any) -> HttpAnswer:
        await asyncio.sleep(0)
        resource_path = urlsplit(path).path
        if method == "POST":
            return HttpAnswer(201, b'{"status": {"allowed": true}}')
        if resource_path == "/api/v1/pods":
            return HttpAnswer(200, next(pages))
        if resource_path in kinds or resource_path == "/api/v1/configmaps":
            name = kinds[resource_path].name if resource_path in kinds else "ConfigMap"
            version = kinds[resource_path].api_version if resource_path in kinds else "v1"
            empty = {"kind": f"{name}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": []}
            return HttpAnswer(200, json.dumps(empty).encode())
        if resource_path in {"/api", "/apis"}:
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
        scans.append(await scan(ask, "bench", Search(Names.of(RegistryHost(REGISTRY), [])), access="direct"))

    # Not returned from `run`: `asyncio.run` would format its result for an unused error message.
    asyncio.run(run())
    (result,) = scans
    assert not result.blockers, result.blockers
    assert len({use.reference for use in result.uses}) > 100
    return result.objects


WAYS = {"nothing": without_decoding, "json": with_json, "typed": with_typed_client, "scan": with_scan}


def main() -> None:
    way, file, *rest = sys.argv[1:]
    pages = lines(Path(file), int(rest[0]) if rest else None)
    # Import before the measurement.
    for module in (
        ("acr_cleanup.clusters.api_server.scan",) if way == "scan" else ("kubernetes.client",) if way == "typed" else ()
    ):
        importlib.import_module(module)
    began = time.process_time()
    count = WAYS[way](pages)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    # With the imports, as in a run.
    whole = time.process_time()
    print(json.dumps({"way": way, "cpu": spent, "whole": whole, "peak": peak, "count": count}))


if __name__ == "__main__":
    main()
