"""How many requests to API servers are in flight: to a busy server, a slow one, and to many at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.access.azure import Azure
from acr_cleanup.clusters.api_server.crowd import CONNECTIONS, Crowd, SharedConnections
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.scan_clusters import scan_clusters
from acr_cleanup.clusters.target import ClusterAccess, Search
from acr_cleanup.clusters.targets import KubeconfigCluster
from acr_cleanup.core.usage import ClusterScan
from tests.helpers.cluster_objects import OURS


class Server:
    """
    An API server that answers when `answers` is set. Counts the requests in flight; `full` is set when
    they are as many as may be.
    """

    def __init__(self, crowd: Crowd) -> None:
        self.answers, self.full = asyncio.Event(), asyncio.Event()
        self.running = self.most = 0
        self._crowd = crowd

    async def ask(self) -> None:
        async with self._crowd.place():
            self.running += 1
            self.most = max(self.most, self.running)
            if self.running == CONNECTIONS:
                self.full.set()
            try:
                await self.answers.wait()
            finally:
                self.running -= 1

    async def asked(self, times: int) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.ask()) for _ in range(times)]
        await asyncio.sleep(0)
        return tasks


async def test_crowd_is_halved_and_recovers() -> None:
    crowd = Crowd(8, SharedConnections())
    async with crowd.place(), crowd.place(), crowd.place(), crowd.place():
        crowd.note(busy=True)
    assert crowd.limit == 2
    for _ in range(40):
        crowd.note(busy=False)
    assert crowd.limit == 4
    for _ in range(5):
        crowd.note(busy=True)
    assert crowd.limit == 1


async def test_place_is_free_again_after_a_failure() -> None:
    crowd = Crowd(1)
    with pytest.raises(ValueError, match="x"):
        async with crowd.place():
            raise ValueError("x")
    async with asyncio.timeout(5), crowd.place():
        pass


async def test_cancelled_request_leaves_its_place() -> None:
    """Whether it waited, had just been admitted, or was in flight."""
    server = Server(Crowd(1))
    flying, waiting, admitted, *others = await server.asked(5)
    waiting.cancel()
    await asyncio.sleep(0)
    flying.cancel()
    await asyncio.sleep(0)  # The place of `flying` is given to `admitted`, which has not run since.
    admitted.cancel()
    server.answers.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*others)
    assert (flying.cancelled(), waiting.cancelled(), admitted.cancelled()) == (True, True, True)
    assert (server.running, server.most) == (0, 1)


@pytest.mark.parametrize(("servers", "each"), [(0, 6), (1, 6), (33, 6), (40, 5), (64, 3), (100, 2), (500, 1)])
def test_many_servers_share_the_connections(servers: int, each: int) -> None:
    assert SharedConnections(servers).each == each


async def test_scan_shares_the_connections_among_clusters() -> None:
    shared = set()

    class Cluster(KubeconfigCluster):
        __slots__ = ()

        async def read(self, access: ClusterAccess, search: Search) -> ClusterScan:
            del search
            shared.add(access.options.connections)
            return ClusterScan(self.key)

    async def scan(number: int, **options: Any) -> int:
        shared.clear()
        azure = Azure(credential=None, make_transport=None, resource_manager="")  # type: ignore[arg-type]
        targets = [Cluster(f"cluster-{key}", Path("config")) for key in range(number)]
        await scan_clusters(targets, Search(Names.of(OURS, (), {})), azure, **options)
        (connections,) = shared
        return int(connections.each)

    assert await scan(1) == CONNECTIONS
    assert await scan(64) == 3
    assert await scan(64, concurrency=8) == CONNECTIONS
    assert await scan(200) == 2


async def test_server_that_answers_keeps_its_connection() -> None:
    server = Server(Crowd(shared=SharedConnections(200)))
    server.answers.set()
    await asyncio.gather(*await server.asked(50))
    assert server.most == 1


async def test_slow_server_gets_more_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most twice as many at a time: two may be enough."""
    shared = SharedConnections(200)
    take, steps = shared.take, list[int]()

    def note(most: int) -> int:
        steps.append(most)
        return take(most)

    monkeypatch.setattr(shared, "take", note)
    crowd = Crowd(shared=shared)
    server = Server(crowd)
    tasks = await server.asked(20)
    assert server.running == 1
    async with asyncio.timeout(10):
        await server.full.wait()
    server.answers.set()
    await asyncio.gather(*tasks)
    assert (server.most, steps) == (CONNECTIONS, [1, 2, 2])
    crowd.close()
    assert take(1_000) == 60, "all are free for other servers"


async def test_slow_servers_share_the_further_connections() -> None:
    shared = SharedConnections(250)
    servers = [Server(Crowd(shared=shared)) for _ in range(5)]
    for server in servers:
        await server.asked(20)
    await asyncio.sleep(0.3)
    assert sum(server.running for server in servers) == 5 + 10


async def test_busy_process_opens_no_more_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may be late because this process has no time to read it."""
    monkeypatch.setattr("acr_cleanup.clusters.api_server.crowd.time.process_time", time.monotonic)
    server = Server(Crowd(shared=SharedConnections(200)))
    await server.asked(20)
    await asyncio.sleep(0.3)
    assert server.running == 1
    monkeypatch.undo()
    async with asyncio.timeout(10):
        await server.full.wait()


async def test_refused_requests_open_no_more_connections() -> None:
    """The limit of a server that answers 429 is also that of a slow one."""
    shared = SharedConnections(200)
    crowd = Crowd(shared=shared)
    server = Server(crowd)
    await server.asked(20)
    crowd.note(busy=True)
    await asyncio.sleep(0.3)
    assert (server.running, crowd.limit, shared.take(1_000)) == (1, 1, 60)
