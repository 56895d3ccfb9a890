"""Objects and lists of Kubernetes, a fake API server, and one that replays captured answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from acr_cleanup.clusters.api_server.client import HttpAnswer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP, SECRET
from acr_cleanup.clusters.api_server.scan import scan
from acr_cleanup.clusters.images.mention_index import MentionIndex
from acr_cleanup.clusters.images.names import Names, keys_of
from acr_cleanup.clusters.images.pod_specs import KINDS, POD, Findings, Kind
from acr_cleanup.clusters.target import Search
from acr_cleanup.core.mentions import ListedNames, RepositoryMentions
from acr_cleanup.core.references import Digest, RegistryHost
from acr_cleanup.core.usage import ClusterScan
from tests.helpers.paths import DATA

CORPUS = DATA / "kubernetes"
OURS = RegistryHost("contoso.azurecr.io")
NAMES = Names.of(
    OURS,
    [
        *(
            f"shop/{name}"
            for name in ("agent", "api", "db", "helper", "job", "log", "proxy", "report", "side", "web", "worker")
        ),
        "a",
        "charts",
        "charts/web",
        "other",
    ],
)
"""The names of the tests' registry."""
SEARCH = Search(NAMES)
WEB = "contoso.azurecr.io/shop/web"
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64


def kind(name: str) -> Kind:
    return next(candidate for candidate in KINDS if candidate.name == name)


def mentions_of(found: Findings, repository: str, *tags: str, digests: Iterable[str] = ()) -> RepositoryMentions:
    """The mentions of a repository with these tags and digests."""
    index = MentionIndex(found.mentions, found.digests)
    return index.of(ListedNames(repository, dict.fromkeys(tags), tuple(map(Digest, digests))))


def kept(found: Findings, repository: str, *tags: str) -> set[str]:
    """The tags of a repository that a use or a mention keeps; all for an open one."""
    mentions = mentions_of(found, repository, *tags)
    uses = [use.reference for use in found.uses if use.reference.repository == repository]
    if mentions.of_any or any(use.is_open for use in uses):
        return set(tags)
    return {*mentions.by_tag, *({use.tag or "" for use in uses} & set(tags))}


def captured(name: str) -> bytes:
    """Return the body of a captured answer."""
    return (CORPUS / "responses" / name).read_bytes()


def capture_of(resource_kind: Kind) -> str:
    """
    Return the file name of the capture of this kind, without its extension: `apps_v1_deployments`.
    """
    return f"{resource_kind.api_version.replace('/', '_')}_{resource_kind.resource}"


def listing(resource_kind: Kind, items: Iterable[Mapping[str, Any]] | None = (), **metadata: Any) -> bytes:
    """Return one page of a list, as a server writes it."""
    page = {
        "kind": f"{resource_kind.name}List",
        "apiVersion": resource_kind.api_version,
        "metadata": {"resourceVersion": "1", **metadata},
        "items": None if items is None else list(items),
    }
    return json.dumps(page).encode()


def pod(name: str = "web", *images: str, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": f"c{index}", "image": image} for index, image in enumerate(images)]
    return {"metadata": {"name": name, "namespace": "shop", **metadata}, "spec": {"containers": containers}}


def custom(name: str = "Rollout", resource: str = "rollouts", group: str = "argoproj.io", version: str = "v1") -> Kind:
    """Return a kind of custom resource, as discovery makes it."""
    return Kind(name, resource, group, always_served=False, version=version)


def aggregated(kinds: Iterable[Kind], *, core: bool, stale: Iterable[str] = ()) -> bytes:
    """Return an aggregated discovery document of these kinds."""
    versions: dict[str, dict[str, list[dict[str, Any]]]] = {} if core else {"apps": {"v1": []}, "batch": {"v1": []}}
    for resource_kind in kinds:
        if (resource_kind.group == "") == core:
            listed = versions.setdefault(resource_kind.group, {}).setdefault(resource_kind.version, [])
            listed.append(
                {
                    "resource": resource_kind.resource,
                    "responseKind": {"kind": resource_kind.name},
                    "verbs": ["get", "list"],
                }
            )
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {"version": version, "freshness": "Current", "resources": resources}
                for version, resources in of_group.items()
            ],
        }
        for group, of_group in versions.items()
    ]
    for group_version in stale:
        group, _, version = group_version.partition("/")
        items.append({"metadata": {"name": group}, "versions": [{"version": version, "freshness": "Stale"}]})
    document = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}
    return json.dumps(document).encode()


class FakeServer:
    """
    An API server without I/O. Its lists are empty until a test puts answers in place.

    offered: the kinds that it serves besides the built-in workloads.
    lists: the answers by resource, or by path, used one by one; the last one is repeated.
    """

    def __init__(self, *offered: Kind, stale: Iterable[str] = ()) -> None:
        self.offered = (CONFIG_MAP, *offered)
        self.stale = tuple(stale)
        self.lists: dict[str, list[HttpAnswer | Exception]] = {}
        self.others: dict[str, HttpAnswer | Exception] = {}
        self.denied: set[str] = set()
        self.review: HttpAnswer | None = None
        self.asked: list[tuple[str, str]] = []
        self.reviewed: list[str] = []

    def put(self, resource: str, *answers: HttpAnswer | Exception | bytes) -> None:
        self.lists[resource] = [HttpAnswer(200, answer) if isinstance(answer, bytes) else answer for answer in answers]
        if isinstance(answers[-1], HttpAnswer) and answers[-1].status == 403:
            self.denied.add(resource)

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer:
        self.asked.append((method, path))
        await asyncio.sleep(0)
        if method == "POST":
            assert body is not None
            return self._review(body["spec"]["resourceAttributes"])
        parts = urlsplit(path)
        if parts.path in self.others:
            answer = self.others[parts.path]
        elif parts.path in {"/api", "/apis"}:
            core = parts.path == "/api"
            answer = HttpAnswer(200, aggregated((*KINDS, *self.offered), core=core, stale=() if core else self.stale))
        else:
            answer = self._listed(parts.path, parse_qs(parts.query))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _review(self, attributes: Mapping[str, str]) -> HttpAnswer:
        self.reviewed.append(attributes["resource"])
        if self.review is not None:
            return self.review
        allowed = not self.denied if attributes["resource"] == "*" else attributes["resource"] not in self.denied
        return HttpAnswer(201, json.dumps({"status": {"allowed": allowed}}).encode())

    def _listed(self, path: str, query: Mapping[str, list[str]]) -> HttpAnswer | Exception:
        resource_kind = next(
            (candidate for candidate in (*KINDS, *self.offered, SECRET) if candidate.path == path), None
        )
        if resource_kind is None:
            return HttpAnswer(404, b"404 page not found")
        assert 10 <= int(query["limit"][0]) <= 500
        assert "resourceVersion" not in query
        if resource_kind is SECRET:
            assert (query["labelSelector"], query["fieldSelector"]) == (["owner=helm"], ["type=helm.sh/release.v1"])
        queue = (
            self.lists.get(path) or self.lists.get(resource_kind.resource) or [HttpAnswer(200, listing(resource_kind))]
        )
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def requests(self, part: str) -> int:
        return sum(part in path for _, path in self.asked)


class Replay:
    """An API server that replays captured answers to the same requests."""

    def __init__(self, limit: int | None = None, *, aggregated: bool = True) -> None:
        self._limit = limit
        self._aggregated = aggregated
        self._answers: dict[tuple[str, str], HttpAnswer] = {}
        index = json.loads((CORPUS / "INDEX.json").read_text())
        for entry in index:
            wanted = (entry["identity"], entry["method"]) == ("admin", "GET")
            listed = entry["file"].startswith(("responses/list/", "responses/discovery/"))
            if wanted and listed and entry["file"].endswith((".json", ".txt")):
                accept = entry["request_headers"].get("Accept", "")
                form = "aggregated" if "APIGroupDiscoveryList" in accept else accept
                self._answers[f"{form} {entry['path']}", entry["query"]] = HttpAnswer(
                    entry["status"], (CORPUS / entry["file"]).read_bytes(), entry["reason"]
                )

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, accept: str = "application/json"
    ) -> HttpAnswer:
        if method == "POST":
            return HttpAnswer(201, b'{"status": {"allowed": true}}')
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        query.pop("limit", None)
        # The capture requested Helm's Secrets by each selector alone, and has no ConfigMaps of
        # Helm.
        selected = query.pop("fieldSelector", None)
        is_list = parts.path.count("/") == (4 if parts.path.startswith("/apis/") else 3)
        if self._limit is not None and is_list:
            query = {"limit": str(3 if selected else self._limit), **query}
        if "labelSelector" in query and selected is None:
            return self._nothing(parts.path)
        form = "aggregated" if self._aggregated and "APIGroupDiscoveryList" in accept else "application/json"
        answer = self._answers.get((f"{form} {parts.path}", urlencode(query)))
        return answer or self._nothing(parts.path)

    def _nothing(self, path: str) -> HttpAnswer:
        """Answer requests that were not captured, for kinds without objects in the cluster."""
        *_, group, version, resource = ["", *path.removeprefix("/api/").split("/")]
        described = self._answers.get((f"application/json {path.rpartition('/')[0]}", ""))
        names = (
            {resource["name"]: resource["kind"] for resource in json.loads(described.body)["resources"]}
            if described
            else {}
        )
        if resource not in names:
            return HttpAnswer(404, b"404 page not found")
        api_version = f"{group}/{version}" if group else version
        empty = {"kind": f"{names[resource]}List", "apiVersion": api_version, "metadata": {}, "items": []}
        return HttpAnswer(200, json.dumps(empty).encode())


def blockers(scan: ClusterScan) -> str:
    """Return all blockers as one text."""
    return "\n".join(map(str, scan.blockers))


def used(scan: ClusterScan) -> set[str]:
    """Return every reference that is used, or mentioned together with its tag, as text."""
    names = {str(use.reference) for use in scan.uses}
    objects = scan.mentions.objects if isinstance(scan.mentions, MentionIndex) else ()
    for repository in NAMES.repositories:
        for mentions in objects:
            for key in keys_of(repository):
                if key in mentions.names:
                    names |= {
                        f"{OURS.login_server}/{repository}:{tag}"
                        for tag in mentions.names[key].beside
                        if "@" not in tag
                    }
    return names


async def read_fake(server: FakeServer) -> ClusterScan:
    """Scan the fake server."""
    return await scan(server.ask, "prod", SEARCH, access="direct")


def page(*images: str, **metadata: Any) -> HttpAnswer:
    """Return a page of pods with one image each."""
    return HttpAnswer(200, listing(POD, [pod(f"p{image[-1]}", image) for image in images], **metadata))


def status(code: int, message: str = "no", **more: Any) -> HttpAnswer:
    """Return an error as a Status object."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, **more}
    return HttpAnswer(code, json.dumps(body).encode(), "Reason")
