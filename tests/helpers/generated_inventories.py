"""Small worlds for tests of the core: short names for digests, and builders with telling defaults."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from acr_cleanup.core.inventory import Manifest, RepositoryInventory, Tag
from acr_cleanup.core.references import Digest, ImageReference
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, UsageIndex, Workload

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REPOSITORY = "shop/web"
HOST = "contoso.azurecr.io"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


def d(name: str | int) -> Digest:
    """A digest that is readable in a failing test: `d("a")` is sha256:000…0a."""
    text = name if isinstance(name, str) else f"{name:x}"
    return Digest("sha256:" + text.encode().hex().rjust(64, "0"))


def tag(name: str, digest: str | int, *, days: float | None = 100, locked: bool = False) -> Tag:
    """A tag pushed `days` ago (None: the registry does not say)."""
    updated_at = None if days is None else NOW - timedelta(days=days)
    return Tag(name, d(digest), updated_at, locked, delete_enabled=not locked)


def image(digest: str | int, *, days: float | None = 100, locked: bool = False, size: int = 1000) -> Manifest:
    return Manifest(
        d(digest),
        DOCKER_IMAGE,
        size=size,
        updated_at=None if days is None else NOW - timedelta(days=days),
        locked=locked,
        delete_enabled=not locked,
        known=True,
    )


def index(
    digest: str | int,
    children: Iterable[str | int],
    *,
    locked: bool = False,
    known: bool = True,
    subject: str | int | None = None,
    media_type: str = OCI_INDEX,
) -> Manifest:
    return Manifest(
        d(digest),
        media_type,
        size=10,
        updated_at=NOW - timedelta(days=100),
        locked=locked,
        delete_enabled=not locked,
        children=tuple(d(child) for child in children) if known else (),
        subject=None if subject is None else d(subject),
        known=known,
    )


def referrer(digest: str | int, subject: str | int, *, locked: bool = False) -> Manifest:
    return replace(image(digest, locked=locked), media_type=OCI_IMAGE, size=0, subject=d(subject))


def signature_of(digest: str | int, suffix: str = ".sig") -> str:
    """The name of the tag that belongs to this digest; without a suffix that of its list of referrers."""
    return f"sha256-{d(digest)[7:]}{suffix}"


def inventory(tags: Iterable[Tag], manifests: Iterable[Manifest] | None = None) -> RepositoryInventory:
    """A repository; without `manifests`, each digest that a tag names is a plain image."""
    tags = tuple(tags)
    if manifests is None:
        manifests = {each.digest: Manifest(each.digest, DOCKER_IMAGE, size=1000, known=True) for each in tags}.values()
    return RepositoryInventory(REPOSITORY, tags, {manifest.digest: manifest for manifest in manifests})


def use(
    tag: str | None = None, digest: str | int | None = None, *, running: bool = True, name: str = "web"
) -> ImageUse:
    reference = ImageReference(HOST, REPOSITORY, tag, None if digest is None else d(digest))
    workload = Workload("production", "shop", "Deployment", name)
    return ImageUse(workload, "main", "spec.template.spec.containers[0].image", str(reference), reference, running)


def usage(*uses: ImageUse, blockers: tuple[Blocker, ...] = (), runs: bool = True) -> UsageIndex:
    """Uses of one cluster; with `runs`, something unrelated makes the repository run, so that it is in scope."""
    if runs:
        uses = (*uses, use("something-else", running=True, name="unrelated"))
    return UsageIndex.of([ClusterScan("production", uses, blockers)], NOW)
