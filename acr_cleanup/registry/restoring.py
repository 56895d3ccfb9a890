"""Restore deleted manifests and tags: from soft delete, or by pushing a saved manifest again."""

from __future__ import annotations

import re

import msgspec

from acr_cleanup.access import roles
from acr_cleanup.core.references import Digest
from acr_cleanup.errors import RegistryError
from acr_cleanup.quoting import quoted
from acr_cleanup.registry import bodies, failures, wire
from acr_cleanup.registry.pace import Category
from acr_cleanup.registry.requests import RegistryRequests

# The registry's error codes for a layer or child manifest that it does not have.
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
_PART_MISSING = re.compile(r"\b(?:MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN|MANIFEST_UNKNOWN)\b")

# A registry without soft delete has no list of deleted manifests. How it says so is not documented:
# any refusal that is not about rights or pace counts.
_SOFT_DELETE_OFF = frozenset(range(400, 500)) - {401, 403, 408, 429}


class PartMissing(RegistryError):
    """A manifest cannot be pushed: the registry no longer has its layers or child manifests."""


class Restorer:
    """Restores manifests and tags of one registry. Every method raises `RegistryError`."""

    def __init__(self, requests: RegistryRequests) -> None:
        self._requests = requests
        self._login_server = requests.login_server

    async def push_document(
        self, repository: str, digest: Digest, document: wire.Document, tag: str | None = None
    ) -> None:
        """
        Push a manifest. With `tag`, also set that tag, even if it names another manifest now.

        Raises `PartMissing` if the registry no longer has its layers or child manifests.
        """
        requests = self._requests
        requests.quote_digest(digest)
        path = requests.manifest_path(repository, tag=tag, digest=digest)
        if not bodies.has_digest(document.content, digest):
            raise RegistryError(f"the content to push does not match {digest}; no request was sent.", where=repository)
        call = f"pushing {repository}:{tag}" if tag is not None else f"pushing manifest {repository}@{digest}"
        reply = await requests.send(
            Category.WRITE, "PUT", path, call, content=document.content, content_type=document.media_type
        )
        if reply.status in (400, 404) and _PART_MISSING.search(answer := failures.status_and_errors(reply)):
            raise PartMissing(
                f"the registry no longer has its layers or child manifests: {answer}.",
                where=failures.where(self._login_server, call),
                remedy="Build and push it again.",
            )
        if reply.status not in (200, 201, 202):
            raise failures.refused(self._login_server, call, reply, roles.PUSH)
        stored = reply.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RegistryError(
                f"the registry stored it under another digest ({quoted(stored)}).",
                where=failures.where(self._login_server, call),
                remedy="Check whether a proxy answers in the registry's place.",
            )

    async def deleted_manifests(self, repository: str) -> frozenset[Digest]:
        """
        The manifests of a repository that soft delete still keeps; empty if soft delete is off.

        Raises `RegistryError` if they cannot be listed.

        https://learn.microsoft.com/azure/container-registry/container-registry-soft-delete-policy
        """
        path = f"/acr/v1/_deleted/{self._requests.quote_repository(repository)}/_manifests"
        call = f"listing the deleted manifests of {repository}"
        try:
            manifests = await self._requests.read_pages(
                path, wire.read_manifests, call, roles.UNDELETE, absent=_SOFT_DELETE_OFF
            )
        except wire.MalformedAnswer as error:
            seen = f"the response is not a valid list: {quoted(str(error))}."
            raise RegistryError(seen, where=failures.where(self._login_server, call), remedy="Run again.") from None
        return frozenset(listed.manifest.digest for listed in manifests.values())

    async def undelete(self, repository: str, digest: Digest, tag: str | None = None) -> bool:
        """
        Restore a manifest from soft delete; False if soft delete no longer keeps it.

        `tag` is restored too, unless it names another manifest now. The children of an index are
        not restored with it.
        """
        requests = self._requests
        quoted_digest = requests.quote_digest(digest)
        if tag is not None:
            requests.check_tag(tag)
        path = f"/acr/v1/_deleted/{requests.quote_repository(repository)}/_manifests/{quoted_digest}?force=False"
        call = f"restoring the deleted manifest {repository}@{digest}"
        reply = await requests.send(Category.WRITE, "POST", path, call, content=msgspec.json.encode({"tag": tag}))
        if failures.is_missing(reply):
            return False
        if reply.status not in (200, 201, 202):
            raise failures.refused(self._login_server, call, reply, roles.UNDELETE)
        return True
