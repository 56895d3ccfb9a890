"""Lists one repository as a whole: every tag and every manifest, or only their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from acr_cleanup.concurrency import gather
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.references import Digest
from acr_cleanup.core.verification import RepositoryNames
from acr_cleanup.registry import wire
from acr_cleanup.registry.requests import RegistryRequests

T = TypeVar("T")
M = TypeVar("M")


async def list_inventory(requests: RegistryRequests, name: str) -> RepositoryInventory:
    """List every tag and manifest, without children and subjects. Raises `NotListed`."""
    known: dict[str, Digest] = {}
    unknown_locks: set[str] = set()
    tags, manifests, shown = await _list(
        requests,
        name,
        lambda body: wire.read_tags(body, known, unknown_locks),
        lambda body: (
            (entry.manifest.digest, entry.manifest, entry.tags)
            for entry in wire.read_manifests(body, known, unknown_locks).values()
        ),
    )
    return RepositoryInventory(
        name, (*tags.values(), *wire.hidden_tags(shown, tags)), manifests, unknown_locks=len(unknown_locks)
    )


async def list_names(requests: RegistryRequests, name: str) -> RepositoryNames:
    """List the names of every tag and manifest, in a third of the time and memory. Raises `NotListed`."""
    known: dict[str, Digest] = {}
    tags, manifests, shown = await _list(
        requests,
        name,
        lambda body: wire.read_tag_names(body, known),
        lambda body: ((digest, None, tags) for digest, tags in wire.read_digests(body, known).items()),
    )
    for tag, digest in shown:
        tags.setdefault(tag, digest)
    return RepositoryNames(tags, manifests.keys())


async def _list(
    requests: RegistryRequests,
    name: str,
    read_tags: Callable[[bytes], dict[str, T]],
    read_manifests: Callable[[bytes], Iterable[tuple[Digest, M, Sequence[str]]]],
) -> tuple[dict[str, T], dict[Digest, M], list[tuple[str, Digest]]]:
    """
    Read both lists at the same time.

    Returns the tags, the manifests, and the tags that a manifest showed before the list of tags did.
    """
    path = f"/acr/v1/{requests.quote_repository(name)}"
    tags: dict[str, T] = {}
    manifests: dict[Digest, M] = {}
    shown: list[tuple[str, Digest]] = []

    def add_tags(body: bytes) -> dict[str, T]:
        page = read_tags(body)
        tags.update(page)
        return page

    def add_manifests(body: bytes) -> dict[str, M]:
        page: dict[str, M] = {}
        for digest, manifest, of_manifest in read_manifests(body):
            page[digest] = manifests[digest] = manifest
            shown.extend((tag, digest) for tag in of_manifest if tag not in tags)
        return page

    async def list_tags() -> None:
        await requests.read_list(f"{path}/_tags", add_tags, f"listing the tags of {name}")

    async def list_manifests() -> None:
        await requests.read_list(f"{path}/_manifests", add_manifests, f"listing the manifests of {name}")

    await gather((list_tags, list_manifests), limit=2)
    return tags, manifests, shown
