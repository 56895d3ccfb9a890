"""The company of the demo: Contoso, with two clusters, three services, eight repositories and about 400 tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.state import OCI_MANIFEST, RegistryState
from acr_cleanup.emulator.services import ServicesState
from acr_cleanup.emulator.world import World

MIB = 1024 * 1024
PINNED = "1.6.20"
"""The release of payments/ledger that production pins by digest. It is signed."""
PULLED = "3.8.31"
"""The release of shop/cart that a build agent outside of the clusters pulls."""
NIGHTLY = "nightly-export"
"""A pod that runs at night only. No run sees it by day."""


def contoso() -> World:
    """
    Return the company with real host names.

    It has every case that a cleaner can get wrong: images for two architectures, aliases, a
    signature, a locked tag, a CronJob without a running Job, a Deployment scaled to zero, rollback
    targets, a pinned digest, a repository that no cluster runs, and services of Azure beside the
    clusters: a Container App, a stopped container group and a staging slot. The log of the registry
    has what a build agent outside of all of these pulls.
    """
    world = World(face="proxy")
    _fill_registry(world.registry)
    production = ClusterState("aks-prod", resource_group="rg-prod", auth="entra-exec")
    staging = ClusterState("aks-staging", resource_group="rg-staging", auth="certificate")
    _fill_production(production, world.registry)
    _fill_staging(staging, world.registry)
    world.clusters = {"production": production, "staging": staging}
    _fill_services(world.services, world.registry)
    _fill_logs(world)
    return world


@contextmanager
def last_week(world: World) -> Iterator[None]:
    """Run two pods that do not run by day: one of a nightly job, and one that was removed since."""
    production, registry = world.clusters["production"], world.registry
    production.add(
        build.pod("batch", NIGHTLY, [registry.image("batch/jobs", "2026.8")]),
        build.pod("shop", "cart-canary", [registry.image("shop/cart", "3.8.40")]),
    )
    yield
    production.remove("pods", "batch", NIGHTLY)
    production.remove("pods", "shop", "cart-canary")


def _fill_registry(registry: RegistryState) -> None:
    # One build every few days. The newest is some hours old.
    _releases(registry, "shop/web", _versions(2, 14, 80), every=4.5, size=212 * MIB, architectures=("amd64", "arm64"))
    _releases(
        registry, "shop/checkout", _versions(1, 30, 60), every=6, size=168 * MIB, architectures=("amd64", "arm64")
    )
    _releases(registry, "shop/cart", _versions(3, 8, 55), every=7, size=143 * MIB)
    _releases(registry, "payments/pay", _versions(4, 2, 50), every=9, size=188 * MIB)
    _releases(registry, "payments/ledger", _versions(1, 6, 35), every=14, size=301 * MIB)
    _releases(registry, "batch/jobs", [f"2026.{month}" for month in range(11, 0, -1)], every=30, size=96 * MIB)
    _releases(registry, "ops/agent", _versions(0, 9, 40), every=8, size=41 * MIB)
    _releases(registry, "base/python", [f"3.13-{number}" for number in range(45, 0, -1)], every=10, size=61 * MIB)

    # Usual special cases: a moving tag, an alias for the auditors, a lock, a signature.
    for repository, newest in (("shop/web", "2.14.79"), ("payments/pay", "4.2.49")):
        registry.tag(repository, "latest", _digest(registry, repository, newest), timedelta(hours=7))
    registry.tag("payments/pay", "audit-2025", _digest(registry, "payments/pay", "4.2.2"), timedelta(days=330))
    registry.lock("payments/pay", "audit-2025", delete=False)
    signed = _digest(registry, "payments/ledger", PINNED)
    registry.push(
        "payments/ledger",
        f"{signed.replace(':', '-')}.sig",
        age=timedelta(days=195),
        size=3_000,
        media_type=OCI_MANIFEST,
    )


def _fill_production(cluster: ClusterState, registry: RegistryState) -> None:
    def run(namespace: str, name: str, image: str, *, replicas: int = 3, history: Iterable[str] = ()) -> None:
        repository, _, tag = image.partition(":")
        workload = build.deployment(namespace, name, [registry.image(repository, tag)], replicas=replicas)
        cluster.run(
            workload,
            history=[[registry.image(repository, old)] for old in history],
            image_ids={
                registry.image(repository, tag): registry.image(repository, digest=_digest(registry, repository, tag))
            },
        )

    run("shop", "web", "shop/web:2.14.78", history=["2.14.70", "2.14.74"])
    run("shop", "checkout", "shop/checkout:1.30.57", replicas=2, history=["1.30.40"])
    run("shop", "cart", "shop/cart:3.8.50", replicas=2)
    run("payments", "pay", "payments/pay:4.2.48", replicas=2, history=["4.2.45", "4.2.46"])
    # The fallback if the new release fails: it is scaled to zero, but its image must be kept.
    run("payments", "pay-fallback", "payments/pay:4.2.20", replicas=0)

    pinned = registry.image("payments/ledger", digest=_digest(registry, "payments/ledger", PINNED))
    cluster.run(build.statefulset("payments", "ledger", [pinned], replicas=2))
    agent = registry.image("ops/agent", "0.9.39")
    agent_id = registry.image("ops/agent", digest=_digest(registry, "ops/agent", "0.9.39"))
    cluster.run(build.daemonset("ops", "agent", [agent]), image_ids={agent: agent_id})
    cluster.run(
        build.cronjob("batch", "monthly-report", [registry.image("batch/jobs", "2026.4")], schedule="0 4 1 * *")
    )
    importing = registry.image("batch/jobs", "2026.11")
    importing_id = registry.image("batch/jobs", digest=_digest(registry, "batch/jobs", "2026.11"))
    cluster.run(build.job("batch", "import-29384", [importing]), image_ids={importing: importing_id})
    cluster.run(build.deployment("ingress", "proxy", ["mcr.microsoft.com/oss/nginx/nginx:1.27"], replicas=2))


def _fill_services(services: ServicesState, registry: RegistryState) -> None:
    # The Container App shares a repository with the cluster, and one click activates its old revision.
    app = services.container_app("shop-checkout", registry.image("shop/checkout", "1.30.55"))
    services.revision(app, "shop-checkout--0", registry.image("shop/checkout", "1.30.31"), active=False)
    services.container_group("month-end", registry.image("batch/jobs", "2026.6"), state="Stopped")
    site = services.site("contoso-shop", f"DOCKER|{registry.image('shop/web', '2.14.78')}")
    services.slot(site, "staging", f"DOCKER|{registry.image('shop/web', '2.14.60')}")


def _fill_logs(world: World) -> None:
    """Half a year of pulls: by the nodes of the clusters, a build agent, and a scanner that pulls everything."""
    logs, registry, now = world.logs, world.registry, world.clock()
    logs.enable()
    nodes = {"Identity": "7c1e0f52-0000-4000-8000-00000000a001"}
    agent = {"Identity": "b81d3a90-0000-4000-8000-00000000a002", "UserAgent": "docker/27.3.1 go/go1.22.7"}
    scanner = {"Identity": "e5092c44-0000-4000-8000-00000000a003", "UserAgent": "trivy/0.57"}
    cart = registry.repositories["shop/cart"].tags[PULLED].digest
    for days in range(180, 0, -1):
        at = now - timedelta(days=days)
        logs.write("Pull", at, "shop/web", "2.14.78", _digest(registry, "shop/web", "2.14.78"), **nodes)
        if days % 7 == 0:
            logs.write("Pull", at, "shop/cart", PULLED, cart, **agent)
    for name, repository in registry.repositories.items():
        for tag in repository.tags.values():
            logs.write("Pull", now - timedelta(days=2), name, tag.name, tag.digest, **scanner)


def _fill_staging(cluster: ClusterState, registry: RegistryState) -> None:
    for repository, tag in (("shop/web", "2.14.79"), ("shop/checkout", "1.30.59"), ("shop/cart", "3.8.54")):
        image = registry.image(repository, tag)
        reported = registry.image(repository, digest=_digest(registry, repository, tag))
        name = repository.rpartition("/")[2]
        cluster.run(build.deployment("staging", name, [image]), image_ids={image: reported})
    # A developer tests an old release.
    cluster.add(build.pod("staging", "bisect", [registry.image("shop/web", "2.14.31")]))


def _versions(major: int, minor: int, count: int) -> list[str]:
    """Return `count` versions, newest first."""
    return [f"{major}.{minor}.{patch}" for patch in range(count - 1, -1, -1)]


def _releases(
    registry: RegistryState,
    repository: str,
    versions: list[str],
    *,
    every: float,
    size: int,
    architectures: tuple[str, ...] = ("amd64",),
) -> None:
    """
    Push `versions`, given newest first.

    `every`: the days between two pushes; `size`: the bytes of the newest image.
    For more than one architecture, each version is an index with one child per architecture.
    """
    for place, version in enumerate(versions):
        age = timedelta(days=place * every, hours=7)
        # Older images are smaller.
        bytes_ = int(size * (1 - 0.004 * place))
        if len(architectures) == 1:
            registry.push(repository, version, age=age, size=bytes_)
            continue
        children = [
            registry.push(repository, age=age, size=bytes_, media_type=OCI_MANIFEST, architecture=architecture)
            for architecture in architectures
        ]
        registry.push_index(repository, version, children=children, age=age)


def _digest(registry: RegistryState, repository: str, tag: str) -> str:
    return registry.repositories[repository].tags[tag].digest
