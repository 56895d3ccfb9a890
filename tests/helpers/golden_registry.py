"""The registry of a golden scenario: manifests with readable names instead of digests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from acr_cleanup.emulator.registry.repository import DOCKER_LIST, OCI_INDEX
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_MANIFEST, RegistryState, digest_of

JSON = dict[str, Any]
NOWHERE = "nowhere"
"""The name of a manifest that was never pushed."""

_IMAGE_TYPES = {"docker": DOCKER_MANIFEST, "oci": OCI_MANIFEST}
_INDEX_TYPES = {"docker": DOCKER_LIST, "oci": OCI_INDEX}
_LOCKS: dict[str, dict[str, bool]] = {"write": {"write": False}, "delete": {"delete": False}}
_NAME = re.compile(r"\{([^{}]+)\}")


@dataclass
class GoldenRegistry:
    """
    Pushes the manifests of a folder, and knows them by name.

    `folder`: its name, for messages. `now`: the moment from which ages count back.
    """

    folder: str
    state: RegistryState
    now: datetime
    digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def load(self, repositories: Mapping[str, Sequence[JSON]], settings: JSON) -> None:
        """Fill the registry. `settings`: its attributes, and `locked_repositories`."""
        locked = settings.pop("locked_repositories", ())
        for name, value in settings.items():
            if not hasattr(self.state, name):
                raise KeyError(f"{self.folder}: a registry has no attribute {name!r}")
            setattr(self.state, name, value)
        for repository, manifests in repositories.items():
            for manifest in manifests:
                self.push(repository, **manifest)
        for repository in locked:
            self.state.lock(repository)

    def push(
        self,
        repository: str,
        *,
        age: int,
        tags: Sequence[str | JSON] = (),
        name: str = "",
        size_mb: int = 30,
        type: str = "",  # noqa: A002
        platform: str = "linux/amd64",
        index: Sequence[str] | None = None,
        refers_to: str | None = None,
        artifact: str = "application/vnd.dev.cosign.artifact.sig.v1+json",
        locked: str = "",
        hidden: bool = False,
        ghost: bool = False,
    ) -> None:
        """Push one manifest, as golden/README.md describes its members."""
        moment = self._ago(age)
        entries: list[JSON] = [{"tag": tag} if isinstance(tag, str) else tag for tag in tags]
        name = name or entries[0]["tag"]
        if index is not None:
            digest = self.state.push_index(
                repository,
                children=[self.digest(repository, child) for child in index],
                age=moment,
                media_type=_INDEX_TYPES.get(type or "oci", type),
                annotations={"org.opencontainers.image.ref.name": name},
                subject=self.digest(repository, refers_to) if refers_to else None,
            )
        elif refers_to is not None:
            digest = self.state.push_referrer(
                repository, self.digest(repository, refers_to), artifact, age=moment, annotations={"title": name}
            )
        else:
            system, _, architecture = platform.partition("/")
            digest = self.state.push(
                repository,
                age=moment,
                size=size_mb * 1024 * 1024,
                media_type=_IMAGE_TYPES.get(type or "docker", type),
                architecture=architecture,
                os=system,
                content=f"{repository} {name}",
            )
        if (repository, name) in self.digests:
            raise KeyError(f"{self.folder}: {repository} has two manifests called {name!r}")
        self.digests[repository, name] = digest
        for entry in entries:
            tag = self.tag(repository, entry["tag"])
            self.state.tag(repository, tag, digest, self._ago(entry.get("age", age)))
            self._set_attributes(repository, tag, entry.get("locked", ""), entry.get("hidden", False))
        self._set_attributes(repository, digest, locked, hidden)
        if ghost:
            self.state.ghost(repository, digest)

    def _set_attributes(self, repository: str, reference: str, locked: str, hidden: bool) -> None:
        if locked or hidden:
            self.state.lock(repository, reference, list=not hidden, **_LOCKS.get(locked, {}))

    def _ago(self, days: int) -> datetime:
        # With a part of a day, the date of a push would depend on the hour of the run.
        if not isinstance(days, int):
            raise TypeError(f"{self.folder}: an age must be a whole number of days, not {days!r}")
        return self.now - timedelta(days=days)

    def digest(self, repository: str, name: str) -> str:
        """Return the digest of a manifest by its name."""
        if name == NOWHERE:
            return digest_of(b"")
        if (repository, name) not in self.digests:
            raise KeyError(f"{self.folder}: {repository} has no manifest called {name!r} yet")
        return self.digests[repository, name]

    def tag(self, repository: str, written: str) -> str:
        """Return a tag as the registry has it: `{name}` in it is replaced by a digest."""
        return _NAME.sub(lambda match: self.digest(repository, match[1]).replace(":", "-"), written)

    def written(self, tag: str) -> str:
        """Return a tag of a report (`repository:tag`) as the folder writes it."""
        repository = tag.partition(":")[0]
        for (place, name), digest in (*self.digests.items(), ((repository, NOWHERE), digest_of(b""))):
            if place == repository:
                tag = tag.replace(digest.replace(":", "-"), f"{{{name}}}")
        return tag

    def has(self, item: str) -> bool:
        """True if the registry still has `repository:tag` or `repository@name`."""
        is_tag = ":" in item
        repository, _, name = item.partition(":" if is_tag else "@")
        state = self.state.repositories.get(repository)
        if state is None:
            return False
        if is_tag:
            return self.tag(repository, name) in state.tags
        return self.digest(repository, name) in state.manifests

    def contents(self) -> JSON:
        """All tags and manifests, with names beside the digests."""
        names = {(repository, digest): name for (repository, name), digest in self.digests.items()}
        return {
            name: {
                "tags": {tag: state.tags[tag].digest for tag in sorted(state.tags)},
                "manifests": {
                    digest: names[name, digest]
                    for digest in sorted(state.manifests, key=lambda digest: names[name, digest])
                },
            }
            for name, state in sorted(self.state.repositories.items())
        }

    def missing_children(self) -> set[str]:
        """The children that an index lists and the registry does not have."""
        return {
            f"{name}@{parent} lacks {child}"
            for name, state in self.state.repositories.items()
            for parent, manifest in state.manifests.items()
            for child in manifest.children
            if child not in state.manifests
        }
