"""What the tests of this package share: the captured answers, a line that replays answers, and plain objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from acr_cleanup.clusters.api import Answer
from acr_cleanup.clusters.objects import KINDS, Kind
from acr_cleanup.core.references import Registry
from acr_cleanup.core.usage import ClusterScan

CORPUS = Path(__file__).parents[1] / "data" / "kubernetes"
OURS = Registry("contoso.azurecr.io")
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64


def kind(name: str) -> Kind:
    return next(each for each in KINDS if each.name == name)


def captured(name: str) -> bytes:
    """The body of a captured answer."""
    return (CORPUS / "responses" / name).read_bytes()


def capture_of(each: Kind) -> str:
    """The name of the capture of this kind, without its ending: `apps_v1_deployments`."""
    return f"{each.api_version.replace('/', '_')}_{each.resource}"


def listing(each: Kind, items: Iterable[Mapping[str, Any]] | None = (), **metadata: Any) -> bytes:
    """One page of a list, as a server writes it."""
    page = {
        "kind": f"{each.name}List",
        "apiVersion": each.api_version,
        "metadata": {"resourceVersion": "1", **metadata},
        "items": None if items is None else list(items),
    }
    return json.dumps(page).encode()


def pod(name: str = "web", *images: str, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    return {"metadata": {"name": name, "namespace": "shop", **metadata}, "spec": {"containers": containers}}


class FakeServer:
    """
    An API server as a function: full lists of nothing, and whatever a test puts in place.

    `lists` answers by resource; a list of answers is used up one by one, the last one for good.
    """

    def __init__(self) -> None:
        self.lists: dict[str, list[Answer | Exception]] = {}
        self.others: dict[str, Answer | Exception] = {}
        self.denied: set[str] = set()
        self.review: Answer | None = None
        self.asked: list[tuple[str, str]] = []

    def put(self, resource: str, *answers: Answer | Exception | bytes) -> None:
        self.lists[resource] = [Answer(200, each) if isinstance(each, bytes) else each for each in answers]

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        self.asked.append((method, path))
        if method == "POST":
            assert body is not None
            if self.review is not None:
                return self.review
            allowed = body["spec"]["resourceAttributes"]["resource"] not in self.denied
            return Answer(201, json.dumps({"status": {"allowed": allowed}}).encode())
        parts = urlsplit(path)
        each = next((one for one in KINDS if one.path == parts.path), None)
        if each is None:
            answer = self.others.get(parts.path, Answer(404, b"404 page not found"))
        else:
            assert parse_qs(parts.query)["limit"] == ["500"]
            assert "resourceVersion" not in parts.query
            queue = self.lists.get(each.resource, [Answer(200, listing(each))])
            answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def requests(self, part: str) -> int:
        return sum(part in path for _, path in self.asked)


def blockers(scan: ClusterScan) -> str:
    """All blockers as one text."""
    return "\n".join(map(str, scan.blockers))


def used(scan: ClusterScan) -> set[str]:
    """Every reference used, as text."""
    return {str(use.reference) for use in scan.uses}
