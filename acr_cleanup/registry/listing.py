"""Lists one repository as a whole: every tag and every manifest, or only their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import TypeVar

from acr_cleanup.concurrency import gather
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.manifest_table import ManifestTable
from acr_cleanup.core.references import Digest
from acr_cleanup.core.verification import RepositoryNames
from acr_cleanup.registry import wire
from acr_cleanup.registry.requests import RegistryRequests

T = TypeVar("T")

_NEW_SHOWN = 5_000
"""Tags of manifests that are collected before those that were listed meanwhile are left out."""


async def list_inventory(requests: RegistryRequests, name: str) -> RepositoryInventory:
    """List every tag and manifest, without children and subjects. Raises `NotListed`."""
    known = wire.KnownDigests()
    unknown_locks: set[str] = set()
    manifests = ManifestTable()

    def add_manifests(body: bytes) -> dict[Digest, tuple[str, ...]]:
        page = wire.read_manifest_values(body, known, unknown_locks)
        for entry in page.values():
            manifests.add(entry.digest, entry.traits, entry.size, entry.updated_at, entry.created_at)
        return {digest: entry.tags for digest, entry in page.items()}

    tags, shown = await _list(
        requests, name, lambda body: wire.read_tags(body, known, unknown_locks), add_manifests, manifests
    )
    known.clear()
    hidden = wire.hidden_tags(shown, tags)
    return RepositoryInventory(name, (*tags.values(), *hidden), manifests, unknown_locks=len(unknown_locks))


async def list_names(requests: RegistryRequests, name: str, earlier: Mapping[Digest, Digest] | None) -> RepositoryNames:
    """
    List the names of every tag and manifest, in a third of the time and memory. Raises `NotListed`.

    earlier: digests whose texts are used again.
    """
    known = wire.KnownDigests(earlier)
    manifests: dict[Digest, None] = {}

    def add_manifests(body: bytes) -> dict[Digest, tuple[str, ...]]:
        page = wire.read_digests(body, known)
        manifests.update(dict.fromkeys(page))
        return page

    tags, shown = await _list(requests, name, lambda body: wire.read_tag_names(body, known), add_manifests, manifests)
    for tag, digest in shown:
        tags.setdefault(tag, digest)
    return RepositoryNames(tags, manifests.keys())


async def _list(
    requests: RegistryRequests,
    name: str,
    read_tags: Callable[[bytes], dict[str, T]],
    add_manifests: Callable[[bytes], dict[Digest, tuple[str, ...]]],
    manifests: Sized,
) -> tuple[dict[str, T], list[tuple[str, Digest]]]:
    """
    Read both lists at the same time.

    Returns the tags, and those that a manifest shows and the list of tags does not.

    add_manifests: decode a page, add its entries to `manifests`, and return the tags that each shows.
    """
    path = f"/acr/v1/{requests.quote_repository(name)}"
    tags: dict[str, T] = {}
    shown: list[tuple[str, Digest]] = []
    room = _NEW_SHOWN

    def add_tags(body: bytes) -> dict[str, T]:
        page = read_tags(body)
        tags.update(page)
        return page

    def add_page(body: bytes) -> dict[str, None]:
        nonlocal room
        page = add_manifests(body)
        shown.extend((tag, digest) for digest, of_manifest in page.items() for tag in of_manifest if tag not in tags)
        if len(shown) > room:
            # The list of tags was not as far. Otherwise half of all tags would be kept twice.
            shown[:] = [(tag, digest) for tag, digest in shown if tag not in tags]
            room = len(shown) + _NEW_SHOWN
        return dict.fromkeys(page)

    async def list_tags() -> None:
        await requests.read_list(f"{path}/_tags", add_tags, f"listing the tags of {name}", held=tags)

    async def list_manifests() -> None:
        call = f"listing the manifests of {name}"
        await requests.read_list(f"{path}/_manifests", add_page, call, held=manifests)

    await gather((list_tags, list_manifests), limit=2)
    return tags, shown
