"""Recorded answers of Azure for AKS, read through the real SDK."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AsyncHttpTransport
from multidict import CIMultiDict

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions, api_server
from acr_cleanup.clusters.api_server.kubeconfig_file import parse_kubeconfig
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.scan_clusters import scan_clusters
from acr_cleanup.clusters.target import Access, Search
from acr_cleanup.clusters.targets import AksCluster
from acr_cleanup.core.usage import ClusterScan
from tests.helpers.cluster_objects import OURS, blockers
from tests.helpers.emulated_clusters import HASTY
from tests.helpers.paths import SHARED

RECORDINGS = SHARED / "acr-wire" / "aks-recordings"
CLUSTER = re.compile(r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/.*/managedClusters/([^/?]+)", re.IGNORECASE)

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the public recordings (../shared/data/acr-wire) are not here"),
]


@cache
def recorded(name: str) -> list[Any]:
    """Return the exchanges of one recording."""
    interactions: list[Any] = yaml.safe_load((RECORDINGS / f"{name}.yaml").read_text())["interactions"]
    return interactions


class Replayed:
    """A recorded answer, in the form that azure-core's transports return."""

    block_size = 4096
    is_closed = True
    is_stream_consumed = True

    def __init__(self, request: Any, answer: Mapping[str, Any]) -> None:
        self.request = request
        self.status_code: int = answer["status"]["code"]
        self.reason: str = answer["status"]["message"]
        # The recorder changed the form of the bodies, so lengths and encodings are wrong.
        wire = {"content-length", "content-encoding", "transfer-encoding"}
        self.headers = CIMultiDict(
            {key: values[0] for key, values in answer["headers"].items() if key.lower() not in wire}
        )
        self.content_type = self.headers.get("content-type")
        self.content = (answer["body"].get("string") or "").encode()

    async def read(self) -> bytes:
        return self.content

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        yield self.content

    async def load_body(self) -> None:
        """The body is loaded already."""

    async def close(self) -> None:
        """There is nothing to close."""

    def body(self) -> bytes:
        return self.content

    def text(self, encoding: str | None = None) -> str:
        return self.content.decode(encoding or "utf-8")

    def json(self) -> Any:
        return json.loads(self.content)

    def raise_for_status(self) -> None:
        raise AssertionError("unexpected request")


class Recording(AsyncHttpTransport[Any, Any]):
    """A transport whose recorded answers are chosen by a function."""

    def __init__(self, answer: Callable[[str, str], Mapping[str, Any]]) -> None:
        self._answer = answer
        self.sent: list[str] = []

    async def send(self, request: Any, **_: Any) -> Any:
        path = request.url.partition("?")[0]
        self.sent.append(f"{request.method} {path.rpartition('/')[2]}")
        return Replayed(request, self._answer(request.method, path))

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Credential:
    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token", 4_000_000_000)

    async def close(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def read(interaction: Any, transport: Recording, access: Access = Access.AUTO) -> ClusterScan:
    """Scan the cluster of a recorded request."""
    match = CLUSTER.search(interaction["request"]["uri"])
    assert match is not None
    (scan,) = await scan_clusters(
        [AksCluster("prod", match[3], match[1], match[2], access)],
        Search(Names.of(OURS, [])),
        Azure(Credential(), lambda: transport, "https://management.azure.com"),  # type: ignore[arg-type]
        patience=HASTY,
    )
    return scan


def recorded_clusters() -> Iterator[Any]:
    """Return the recorded answers to GET of a managed cluster."""
    for path in sorted(RECORDINGS.glob("*.yaml")) if RECORDINGS.is_dir() else ():
        for number, interaction in enumerate(recorded(path.stem)):
            request, response = interaction["request"], interaction["response"]
            is_cluster = re.search(r"/managedClusters/[^/?]+(\?|$)", request["uri"], re.IGNORECASE)
            if request["method"] == "GET" and is_cluster and response["status"]["code"] == 200:
                yield pytest.param(interaction, id=f"{path.stem}-{number}")


REFUSED = {"status": {"code": 403, "message": "Forbidden"}, "headers": {}, "body": {"string": "{}"}}


@pytest.mark.parametrize("interaction", list(recorded_clusters()))
async def test_recorded_clusters_are_understood(interaction: Any) -> None:
    """For a running cluster, the user's credentials are requested next; for another, nothing."""
    transport = Recording(lambda method, _: interaction["response"] if method == "GET" else REFUSED)
    scan = await read(interaction, transport)
    (blocker,) = scan.blockers
    described = json.loads(interaction["response"]["body"]["string"])
    if described["properties"].get("powerState", {}).get("code", "Running") == "Running":
        assert transport.sent[1:] == ["POST listClusterUserCredential"]
        assert blocker.call == "list the cluster's user credentials"
        assert "Azure Kubernetes Service Cluster User Role" in blocker.remedy
    else:
        assert transport.sent[1:] == []
        assert "stopped" in blocker.seen


def credentials() -> Iterator[Any]:
    for path in sorted(RECORDINGS.glob("*.yaml")) if RECORDINGS.is_dir() else ():
        for number, interaction in enumerate(recorded(path.stem)):
            if re.search(r"/listCluster\w+Credential", interaction["request"]["uri"], re.IGNORECASE):
                yield pytest.param(interaction, id=f"{path.stem}-{number}")


@pytest.mark.parametrize("interaction", list(credentials()))
async def test_recorded_credentials_are_a_kubeconfig(interaction: Any) -> None:
    """The certificates in the recordings are redacted, so only the address is tested."""
    if interaction["response"]["status"]["code"] != 200:
        pytest.skip("a refusal")
    cluster = next(recorded_clusters()).values[0]
    transport = Recording(lambda method, _: cluster["response"] if method == "GET" else interaction["response"])
    scan = await read(interaction, transport)
    (blocker,) = scan.blockers
    assert blocker.call == "reading the kubeconfig"
    assert "certificates cannot be used" in blocker.seen

    async def token(scope: str) -> str:
        return scope

    from azure.mgmt.containerservice.models import CredentialResults  # noqa: PLC0415

    answer = CredentialResults(json.loads(interaction["response"]["body"]["string"]))
    assert answer.kubeconfigs is not None
    document = parse_kubeconfig(bytes(answer.kubeconfigs[0].value or b""))
    blotted = document["clusters"][0]["cluster"].pop("certificate-authority-data")
    user = document["users"][0]["user"]
    document["users"][0]["user"] = {key: user[key] for key in user if not key.startswith("client-")}
    server = api_server(document, None, folder=Path(), options=ConnectionOptions(token))
    assert blotted
    assert re.fullmatch(r"https://[a-z0-9.-]+\.azmk8s\.io:443", server.url)
    assert await server.authorization() == f"Bearer {user['token']}"


async def test_recorded_run_command_is_awaited_and_refused() -> None:
    """The recorded command printed a table, which is not the expected result."""
    interactions = recorded("run_command")
    cluster = next(recorded_clusters()).values[0]
    left = [interaction["response"] for interaction in interactions]
    transport = Recording(
        lambda method, path: cluster["response"] if method == "GET" and "commandResults" not in path else left.pop(0)
    )
    scan = await read(interactions[0], transport, Access.RUN_COMMAND)
    command = "GET 4c1f2403509b41d3a4417b1f205d5380"
    assert transport.sent[1:] == ["POST runCommand", command, command]
    assert "NAMESPACE NAME READY STATUS" in blockers(scan)
    assert "marker" in blockers(scan)
    assert scan.uses == ()


async def test_recorded_error_is_quoted() -> None:
    (error, *_) = recorded("create_conflict_error")
    scan = await read(error, Recording(lambda *_: error["response"]))
    (blocker,) = scan.blockers
    body = json.loads(error["response"]["body"]["string"])
    assert str(error["response"]["status"]["code"]) in blocker.seen
    assert (body.get("error") or body)["code"] in blocker.seen
