"""
A registry that costs little CPU a request, so that the clients are measured and not the registry.

`python -m tests.bench.light_registry TAGS OLD LATENCY` serves one repository of so many tags, each
on a manifest of its own, until stdin is closed. Clusters and logins are those of the emulator. It
prints its addresses at the start, and what it received at the end.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import resource
import ssl
import sys
import time
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from urllib.parse import parse_qs, quote, unquote, urlsplit

from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState

NAME = "shop/web"
PAGE = 1000
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
ATTRIBUTES = '"changeableAttributes":{"deleteEnabled":true,"writeEnabled":true,"readEnabled":true,"listEnabled":true}'


class Repository:
    """Tags, each on another manifest. Entries are stored as JSON, so that no request encodes them."""

    def __init__(self, tags: int, old: int) -> None:
        now = datetime.now(UTC)
        self.tags: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.digest_of: dict[str, str] = {}
        self.tag_of: dict[str, str] = {}
        for number in range(tags):
            age = timedelta(days=100 if number < old else 1, seconds=number)
            name, digest = f"t{number:06}", f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}"
            moment = f"{now - age:%Y-%m-%dT%H:%M:%S.%f}0Z"
            times = f'"createdTime":"{moment}","lastUpdateTime":"{moment}"'
            self.tags[name] = f'{{"name":"{name}","digest":"{digest}",{times},"signed":false,{ATTRIBUTES}}}'.encode()
            self.manifests[digest] = (
                f'{{"digest":"{digest}","imageSize":1000,{times},"architecture":"amd64","os":"linux",'
                f'"mediaType":"{DOCKER}","tags":["{name}"],{ATTRIBUTES}}}'
            ).encode()
            self.digest_of[name], self.tag_of[digest] = digest, name
        # The newest first: the youngest have the highest numbers below `old`, and from there on.
        names = [f"t{number:06}" for number in (*range(old, tags), *range(old))]
        self.orders = {
            ("_tags", ""): list(self.tags),
            ("_manifests", ""): sorted(self.manifests),
            ("_tags", "timedesc"): names,
            ("_manifests", "timedesc"): [self.digest_of[name] for name in names],
        }
        self.places = {key: {name: place for place, name in enumerate(order)} for key, order in self.orders.items()}

    def page(self, kind: str, order: str, last: str, n: int) -> tuple[list[bytes], str]:
        """The entries after `last`, and the last of them if there are more."""
        names, entries = self.orders[kind, order], self.tags if kind == "_tags" else self.manifests
        if not last:
            place = 0
        elif order:
            place = self.places[kind, order][last] + 1
        else:
            place = bisect_right(names, last)
        found: list[str] = []
        while place < len(names) and len(found) < n:
            if names[place] in entries:
                found.append(names[place])
            place += 1
        return [entries[name] for name in found], found[-1] if found and place < len(names) else ""

    def delete(self, digest: str) -> bool:
        name = self.tag_of.get(digest, "")
        self.tags.pop(name, None)
        return self.manifests.pop(digest, None) is not None


class Connection(asyncio.Protocol):
    """One connection: requests without a body of more than one packet, answered in their order."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.served.connections += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, length = head.lower().partition(b"content-length:")
        size = int(length.split(b"\r\n", 1)[0]) if length else 0
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        moment = time.monotonic()
        if self.served.latency:
            asyncio.get_running_loop().call_later(self.served.latency, self.answer, method, target, moment)
        else:
            self.answer(method, target, moment)

    def answer(self, method: str, target: str, moment: float) -> None:
        status, body, link = self.served.answer(method, target)
        self.served.log.append((moment, method, target.partition("?")[0], status))
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n"
            f"Date: {formatdate(usegmt=True)}\r\n{link}\r\n"
        )
        if not self.transport.is_closing():
            self.transport.write(head.encode() + body)  # type: ignore[attr-defined]


class Served:
    """The registry: one repository, and tokens for anyone."""

    def __init__(self, repository: Repository, latency: float) -> None:
        self.repository, self.latency = repository, latency
        self.log: list[tuple[float, str, str, int]] = []
        self.connections = 0
        claims = base64.urlsafe_b64encode(json.dumps({"exp": 2**33}).encode()).rstrip(b"=").decode()
        token = f"e30.{claims}.e30"
        self.tokens = json.dumps({"access_token": token, "refresh_token": token}).encode()

    def answer(self, method: str, target: str) -> tuple[int, bytes, str]:
        """The status, the body and the Link header of an answer."""
        parts = urlsplit(target)
        path, query = unquote(parts.path), parse_qs(parts.query)
        if path.startswith("/oauth2/"):
            return 200, self.tokens, ""
        if path == "/acr/v1/_catalog":
            return 200, json.dumps({"repositories": [NAME]}).encode(), ""
        if method == "DELETE":
            name = path.rpartition("/")[2]
            if "/_tags/" in path:
                return (202 if self.repository.tags.pop(name, None) is not None else 404), b"", ""
            return (202 if self.repository.delete(name) else 404), b"", ""
        kind = path.rpartition("/")[2]
        if kind in ("_tags", "_manifests"):
            order = query.get("orderby", [""])[0].replace("none", "")
            n = min(int(query.get("n", ["100"])[0]), PAGE)
            entries, last = self.repository.page(kind, order, query.get("last", [""])[0], n)
            body = f'{{"registry":"x","imageName":"{NAME}","{kind[1:]}":['.encode() + b",".join(entries) + b"]}"
            link = f'Link: <{parts.path}?last={quote(last)}&n={n}&orderby={order}>; rel="next"\r\n' if last else ""
            return 200, body, link
        if path == f"/acr/v1/{NAME}":
            counts = f'"manifestCount":{len(self.repository.manifests)},"tagCount":{len(self.repository.tags)}'
            return 200, f'{{"registry":"x","imageName":"{NAME}",{counts},{ATTRIBUTES}}}'.encode(), ""
        return 404, b"{}", ""


async def main() -> None:
    tags, old, latency = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    world = World(face="direct")
    async with Emulator(world) as emulator:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        emulator.authority.certificates.issue_cert("localhost").configure_cert(context)
        served = Served(Repository(tags, old), latency)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(served), "127.0.0.1", 0, ssl=context, backlog=256)
        host = f"localhost:{server.sockets[0].getsockname()[1]}"
        cluster = world.clusters["production"] = ClusterState("aks-prod")
        cluster.run(build.deployment("shop", "web", [f"{host}/{NAME}:t{tags - 1:06}"]))
        config = emulator.config()
        config["container_registry"] = {"url": host}
        print(json.dumps({"config": config, "environment": emulator.environment()}), flush=True)
        used = resource.getrusage(resource.RUSAGE_SELF)
        began = used.ru_utime + used.ru_stime
        await asyncio.to_thread(sys.stdin.read)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cost = (used.ru_utime + used.ru_stime - began) / max(1, len(served.log))
        print(json.dumps({"connections": served.connections, "cost": cost, "log": served.log}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
