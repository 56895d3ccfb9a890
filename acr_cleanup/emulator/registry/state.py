"""The state of the emulated registry, and builders of real manifests with their real digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from acr_cleanup.emulator.registry.repository import (
    INDEX_TYPES,
    OCI_INDEX,
    OPEN,
    Attributes,
    ManifestState,
    RepositoryState,
    TagState,
)

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

Age = timedelta | datetime


def digest_of(data: bytes) -> str:
    """Return the digest of a manifest or a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(slots=True)
class DeletedManifest:
    """A soft-deleted manifest, and the tags that it had."""

    manifest: ManifestState
    tags: tuple[str, ...]
    deleted_at: datetime


@dataclass(slots=True)
class RegistryState:
    """
    One registry. Its builders (`push`, `push_index`, `push_referrer`, ...) store real manifests.

    `aliases`: further host names of the registry.
    `abac`: tokens for all repositories at once are silently empty, and other roles count.
    Lifetimes are in seconds.
    """

    login_server: str = "contoso.azurecr.io"
    aliases: list[str] = field(default_factory=list)
    subscription_id: str = "00000000-0000-0000-0000-000000000000"
    resource_group: str = "rg-acr"
    audience: str = "https://containerregistry.azure.net"
    repositories: dict[str, RepositoryState] = field(default_factory=dict)
    abac: bool = False
    accepts_arm_audience: bool = True
    anonymous_pull: bool = False
    refresh_token_lifetime: float = 3 * 3600
    access_token_lifetime: float = 75 * 60
    default_page: int = 100
    largest_page: int = 1000
    # The most tags that the registry shows on a manifest. https://github.com/Azure/acr/issues/529
    truncate_tags_at: int = 10
    # Whether the list of tags of a repository without tags answers 404, not an empty list.
    tagless_is_unknown: bool = False
    # If False, `GET /v2/NAME/referrers/DIGEST` answers 404, as registries before OCI 1.1 do.
    referrers_api: bool = True
    # If False, deleted manifests cannot be restored.
    soft_delete: bool = False
    soft_delete_days: int = 7
    # The days of the retention policy, None without one. With 0, a manifest is deleted with its
    # last tag.
    retention_days: int | None = None
    # Whether a missing right is answered by a 401 with a challenge, not by a 403, also if the token
    # covers the action.
    challenges_missing_rights: bool = False
    # Whether clients without the right to view locks get lists without `changeableAttributes`.
    hides_locks: bool = False
    # Repository -> digest -> soft-deleted manifest.
    deleted: dict[str, dict[str, DeletedManifest]] = field(default_factory=dict)
    # The stored configs and layers. They outlive their manifests until `collect_garbage`.
    blobs: set[str] = field(default_factory=set)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _pushes: int = 0

    @property
    def resource_id(self) -> str:
        """The ARM id. The name is the first part of the login server."""
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/Microsoft.ContainerRegistry/registries/{self.login_server.partition('.')[0]}"

    def image(self, repository: str, tag: str | None = None, digest: str | None = None) -> str:
        """Return the image reference of a tag or a digest, as in a pod."""
        name = f"{self.login_server}/{repository}"
        return name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")

    def push(
        self,
        repository: str,
        tag: str | None = None,
        *,
        age: Age = timedelta(0),
        size: int = 30_000_000,
        media_type: str = DOCKER_MANIFEST,
        config_media_type: str | None = None,
        architecture: str = "amd64",
        os: str = "linux",
        content: str | None = None,
        subject: str | None = None,
    ) -> str:
        """
        Push an image of `size` bytes; return its digest.

        `age`: the time since the push, or the time of the push.
        `subject`: the digest that an OCI image refers to; it need not exist.
        `content`: a name of the content. Without it, every push has different content.
        """
        config = self._blob(repository, content)
        config_type = config_media_type or (DOCKER_CONFIG if media_type == DOCKER_MANIFEST else OCI_CONFIG)
        layer_type = (
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
            if media_type == DOCKER_MANIFEST
            else "application/vnd.oci.image.layer.v1.tar+gzip"
        )
        config_size = min(size, 1500)
        body: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {"mediaType": config_type, "size": config_size, "digest": config},
            "layers": [{"mediaType": layer_type, "size": size - config_size, "digest": digest_of(config.encode())}],
        }
        if subject is not None:
            body["subject"] = self._descriptor(repository, subject)
        return self._store(repository, tag, body, media_type, age, architecture=architecture, os=os)

    def push_index(
        self,
        repository: str,
        tag: str | None = None,
        *,
        children: Sequence[str],
        age: Age = timedelta(0),
        media_type: str = OCI_INDEX,
        annotations: dict[str, str] | None = None,
        subject: str | None = None,
    ) -> str:
        """Push an index of manifests; return its digest. `children` need not exist."""
        body: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [self._child(repository, digest) for digest in children],
        }
        if annotations:
            body["annotations"] = annotations
        if subject is not None:
            body["subject"] = self._descriptor(repository, subject)
        return self._store(repository, tag, body, media_type, age)

    def push_referrer(
        self,
        repository: str,
        subject: str,
        artifact_type: str = "application/vnd.dev.cosign.artifact.sig.v1+json",
        *,
        tag: str | None = None,
        age: Age = timedelta(0),
        size: int = 2_000,
        config_media_type: str = OCI_EMPTY,
        annotations: dict[str, str] | None = None,
    ) -> str:
        """
        Push a referrer (a signature, an SBOM, ...); return its digest.

        `subject` need not exist.
        """
        body: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": {"mediaType": config_media_type, "size": 2, "digest": digest_of(b"{}")},
            "layers": [{"mediaType": artifact_type, "size": size - 2, "digest": self._blob(repository, None)}],
            "subject": self._descriptor(repository, subject),
        }
        if annotations:
            body["annotations"] = annotations
        return self._store(repository, tag, body, OCI_MANIFEST, age)

    def put(
        self,
        repository: str,
        tag: str | None,
        body: bytes,
        media_type: str,
        age: Age = timedelta(0),
        *,
        architecture: str | None = None,
        os: str | None = None,
    ) -> str:
        """Store a manifest with this body, as PUT does; return its digest."""
        content = json.loads(body)
        return self._store(repository, tag, content, media_type, age, body=body, architecture=architecture, os=os)

    def _store(
        self,
        repository: str,
        tag: str | None,
        content: dict[str, Any],
        media_type: str,
        age: Age,
        *,
        body: bytes | None = None,
        architecture: str | None = None,
        os: str | None = None,
    ) -> str:
        when = self.moment(age)
        if body is None:
            body = json.dumps(content).encode()
        digest = digest_of(body)
        state = self.repositories.get(repository)
        if state is None:
            state = self.repositories[repository] = RepositoryState(repository, when, when)
        state.created = min(state.created, when)
        config: dict[str, Any] = content.get("config") or {}
        self.blobs.update(part["digest"] for part in (config, *content.get("layers", ())) if "digest" in part)
        index = media_type in INDEX_TYPES
        manifest = ManifestState(
            digest=digest,
            body=body,
            media_type=media_type,
            size=len(body) if index else sum(part.get("size", 0) for part in [config, *content.get("layers", ())]),
            created=when,
            updated=when,
            config_media_type=config.get("mediaType"),
            architecture=architecture,
            os=os,
            artifact_type=content.get("artifactType"),
            annotations=content.get("annotations") or {},
            subject=(content.get("subject") or {}).get("digest"),
            children=tuple(child["digest"] for child in content.get("manifests", ())) if index else (),
        )
        state.put(manifest, tag, when)
        return digest

    def tag(self, repository: str, name: str, digest: str, age: Age = timedelta(0)) -> None:
        """Add a tag to a manifest, or move a tag to it."""
        self.repositories[repository].tag(name, digest, self.moment(age))

    def lock(
        self, repository: str, reference: str | None = None, *,
        delete: bool = True, write: bool = True, read: bool = True, list: bool = True,  # noqa: A002
    ) -> None:  # fmt: skip
        """
        Lock a repository, or one tag or digest in it.

        Without further arguments, set the write lock, as `az acr repository update
        --write-enabled false` does.
        """
        if delete and write and read and list:
            write = False
        self._set(repository, reference, Attributes(delete=delete, write=write, read=read, list=list))

    def unlock(self, repository: str, reference: str | None = None) -> None:
        """Remove all locks of a repository, or of one tag or digest in it."""
        self._set(repository, reference, OPEN)

    def remove(self, repository: str, digest: str) -> None:
        """Delete a manifest as DELETE does: for good, or softly if soft delete is on."""
        removed = self.repositories[repository].delete_manifest(digest)
        if self.soft_delete:
            deleted = self.deleted.setdefault(repository, {})
            for manifest, tags in removed:
                deleted[manifest.digest] = DeletedManifest(manifest, tags, self.clock())
        self.drop_if_empty(repository)

    def restore(self, repository: str, digest: str, tag: str | None) -> None:
        """Restore a soft-deleted manifest. It has only `tag`, or no tag."""
        manifest = self.deleted[repository].pop(digest).manifest
        now = self.clock()
        state = self.repositories.get(repository)
        if state is None:
            state = self.repositories[repository] = RepositoryState(repository, now, now)
        manifest.tags.clear()
        state.put(manifest, tag, now)

    def missing_part(self, repository: str, body: bytes) -> tuple[str, str] | None:
        """Return the first missing part: ("blob" or "manifest", its digest); None if complete."""
        content = json.loads(body)
        for part in (content.get("config"), *content.get("layers", ())):
            if part and part["digest"] not in self.blobs:
                return "blob", part["digest"]
        state = self.repositories.get(repository)
        for child in content.get("manifests", ()):
            if state is None or child["digest"] not in state.manifests:
                return "manifest", child["digest"]
        return None

    def collect_garbage(self) -> None:
        """Remove the blobs that no manifest needs."""
        manifests = [entry.manifest for entries in self.deleted.values() for entry in entries.values()]
        manifests += [manifest for state in self.repositories.values() for manifest in state.manifests.values()]
        self.blobs = {
            part["digest"]
            for manifest in manifests
            for content in (json.loads(manifest.body),)
            for part in (content.get("config"), *content.get("layers", ()))
            if part
        }

    def _set(self, repository: str, reference: str | None, attributes: Attributes) -> None:
        state = self.repositories[repository]
        target: RepositoryState | ManifestState | TagState = state
        if reference is not None:
            target = state.manifests[reference] if ":" in reference else state.tags[reference]
        target.attributes = attributes
        state.forget_orders()

    def ghost(self, repository: str, digest: str) -> None:
        """Make a manifest a ghost: it is listed, but its body answers 404."""
        self.repositories[repository].manifests[digest].ghost = True

    def drop_if_empty(self, repository: str) -> None:
        """Delete a repository without manifests, as the registry does."""
        state = self.repositories.get(repository)
        if state is not None and not state.manifests:
            del self.repositories[repository]

    def moment(self, age: Age) -> datetime:
        """Return the time `age` before now, or `age` if it is a time."""
        return age if isinstance(age, datetime) else self.clock() - age

    def _blob(self, repository: str, content: str | None) -> str:
        """Return the digest of a blob: of the named content, or of new content."""
        self._pushes += 1
        return digest_of(f"{repository} {self._pushes}".encode() if content is None else content.encode())

    def _descriptor(self, repository: str, digest: str) -> dict[str, Any]:
        state = self.repositories.get(repository)
        manifest = state.manifests.get(digest) if state is not None else None
        media_type = manifest.media_type if manifest is not None else OCI_MANIFEST
        return {"mediaType": media_type, "size": len(manifest.body) if manifest is not None else 1000, "digest": digest}

    def _child(self, repository: str, digest: str) -> dict[str, Any]:
        state = self.repositories.get(repository)
        manifest = state.manifests.get(digest) if state is not None else None
        platform = {
            "architecture": (manifest.architecture if manifest is not None else None) or "unknown",
            "os": (manifest.os if manifest is not None else None) or "unknown",
        }
        return self._descriptor(repository, digest) | {"platform": platform}
