"""One request to the registry, with the values that its path, its query and its body name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.registry.repository import ManifestState, RepositoryState, TagState
from acr_cleanup.emulator.registry.shapes import (
    PageRequest,
    Refusal,
    error,
    manifest_unknown,
    name_unknown,
    page_request,
)
from acr_cleanup.emulator.registry.state import DeletedManifest, RegistryState


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request and the parts of its path. Its methods raise Refusal if the registry refuses it.

    `name`: the repository, "" if the path names none.
    `reference`: the tag or the digest, "" if the path names none.
    `shows_locks`: whether the client may see the `changeableAttributes`.
    """

    request: web.Request
    registry: RegistryState
    name: str
    reference: str
    shows_locks: bool = True

    @property
    def host(self) -> str:
        """The name by which the client addresses the registry."""
        return self.request.host

    def repository(self) -> RepositoryState:
        """Return the repository."""
        state = self.registry.repositories.get(self.name)
        if state is None:
            raise Refusal(name_unknown(self.name))
        return state

    def tag(self) -> tuple[RepositoryState, TagState]:
        """Return the repository and its tag."""
        state = self.registry.repositories.get(self.name)
        if state is None or self.reference not in state.tags:
            raise Refusal(error(404, "TAG_UNKNOWN", "the specified tag does not exist"))
        return state, state.tags[self.reference]

    def manifest(self) -> tuple[RepositoryState, ManifestState]:
        """Return the repository and its manifest, which the path names by digest."""
        state = self.repository()
        manifest = state.manifests.get(self.reference)
        if manifest is None:
            raise Refusal(manifest_unknown("manifest unknown"))
        return state, manifest

    def deleted(self) -> dict[str, DeletedManifest]:
        """Return the soft-deleted manifests of the repository by digest."""
        if not self.registry.soft_delete:
            raise Refusal(error(405, "UNSUPPORTED", "soft delete is not enabled on this registry"))
        return self.registry.deleted.get(self.name, {})

    def page(self) -> PageRequest:
        """Return the page that the query asks for."""
        return page_request(self.request, self.registry.default_page, self.registry.largest_page)

    async def json(self) -> Any:
        """Return the body, which must be JSON."""
        try:
            return await self.request.json()
        except ValueError:
            raise Refusal(error(400, "UNSUPPORTED", "the body is not JSON")) from None
