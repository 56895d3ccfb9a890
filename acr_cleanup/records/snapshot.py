"""
The usage snapshot: the scans of clusters in a file. `clusters.snapshot` writes it and
`clusters.snapshot_reader` reads it.

Unknown members are refused, because the hash does not cover members that are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from acr_cleanup.records.parts import Count, Moment, ObjectCount, ToolVersion

SNAPSHOT_VERSION = 3
READABLE_VERSIONS = (1, 2, SNAPSHOT_VERSION)


class SnapshotUse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One place that names an image; without tag and digest, any image of the repository."""

    namespace: str
    """Empty for cluster-scoped objects."""
    kind: str
    name: str
    container: str
    """Empty if the use is not in a container."""
    field: str
    """The path of the field in the object."""
    text: str
    """The value of the field."""
    host: str
    repository: str
    tag: str | None
    digest: str | None
    running: bool
    """True for a container of a pod. Only these make a repository run in a cluster."""


class UsePlace(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A place in an object that names an image."""

    container: str
    """Empty if the use is not in a container."""
    field: str
    """The path of the field in the object."""
    running: bool
    """True for a container of a pod. Only these make a repository run in a cluster."""


class UsedImage(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An image that is named; without tag and digest, any image of the repository."""

    text: str
    """The value of the field."""
    host: str
    repository: str
    tag: str | None
    digest: str | None


Pairs = list[tuple[Count, Count]]
"""The numbers of places and images, as they stand in their lists."""


class SnapshotMention(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """
    One object that names a repository together with one of its tags or digests.

    Only names that the registry has are recorded, never the text of an object.
    """

    namespace: str
    """Empty for cluster-scoped objects."""
    kind: str
    name: str
    field: str
    """The path of the field that has the name of the repository."""
    repository: str
    tag: str | None
    digest: str | None
    """Without tag and digest, any tag of the repository may be meant."""
    how: str
    """The form of the mention: beside, object, near, digest, folder or open."""


class SnapshotBlocker(msgspec.Struct, forbid_unknown_fields=True):
    """Something that could not be read completely."""

    call: str
    """The call that was attempted."""
    seen: str
    """The response."""
    remedy: str
    """The remedy."""
    kind: str
    """
    The kind of object that could not be listed, as kubectl names it; empty if it is more than one.
    """


class ScannedCluster(msgspec.Struct, forbid_unknown_fields=True):
    """One cluster."""

    cluster: str
    """The name in the configuration."""
    resource_id: str | None
    """The resource id of the AKS cluster, if it is one."""
    access: str
    """
    How the cluster was read: direct, run-command, kubeconfig, or snapshot if it was copied from
    another snapshot. Empty if it could not be reached.
    """
    objects: ObjectCount
    read_at: Moment
    """When the reading began. RFC 3339, UTC."""
    uses: list[SnapshotUse] | dict[str, dict[str, dict[str, Pairs]]]
    """
    Every place that names an image of the registry, by namespace, kind and name of the object, as
    numbers of `places` and `images`. Versions 1 and 2: a list of whole uses.
    """
    blockers: list[SnapshotBlocker]
    """Everything that could not be read. A run with a blocker deletes nothing."""
    waived: list[SnapshotBlocker]
    """Kinds that could not be listed and were waived."""
    notes: list[str]
    """Remarks about the cluster."""
    mentions: list[SnapshotMention] | msgspec.UnsetType = msgspec.UNSET
    """Every object that names a tag or digest that the registry has. Version 1 has none."""
    places: list[UsePlace] | msgspec.UnsetType = msgspec.UNSET
    """The distinct places of the uses: container, field, and whether it is a container of a pod."""
    images: list[UsedImage] | msgspec.UnsetType = msgspec.UNSET
    """The distinct images of the uses: text of the field, host, repository, tag and digest."""

    def each_use(self) -> Iterator[SnapshotUse]:
        """Yield the uses of any version. Raises `IndexError` for a number without place or image."""
        if isinstance(self.uses, list):
            yield from self.uses
            return
        places, images = self.places or (), self.images or ()
        for namespace, kinds in self.uses.items():
            for kind, names in kinds.items():
                for name, pairs in names.items():
                    for at, of in pairs:
                        place, image = places[at], images[of]
                        yield SnapshotUse(
                            namespace,
                            kind,
                            name,
                            place.container,
                            place.field,
                            image.text,
                            image.host,
                            image.repository,
                            image.tag,
                            image.digest,
                            place.running,
                        )


class PackedUses(NamedTuple):
    """Uses in the form of a snapshot. Thousands of pods have the same few places and images."""

    uses: dict[str, dict[str, dict[str, Pairs]]]
    places: list[UsePlace]
    images: list[UsedImage]

    @classmethod
    def of(cls, uses: Iterable[SnapshotUse]) -> PackedUses:
        by_object: dict[str, dict[str, dict[str, Pairs]]] = {}
        places: dict[UsePlace, int] = {}
        images: dict[UsedImage, int] = {}
        for use in uses:
            place = UsePlace(use.container, use.field, use.running)
            image = UsedImage(use.text, use.host, use.repository, use.tag, use.digest)
            pair = places.setdefault(place, len(places)), images.setdefault(image, len(images))
            names = by_object.setdefault(use.namespace, {}).setdefault(use.kind, {})
            names.setdefault(use.name, []).append(pair)
        return cls(by_object, list(places), list(images))


class SearchedRegistry(msgspec.Struct, forbid_unknown_fields=True):
    """The registry whose images were searched for."""

    login_server: str
    aliases: list[str]
    """Further host names of the registry."""


class Snapshot(msgspec.Struct, forbid_unknown_fields=True):
    """
    The scans of clusters, as `acr-cleanup collect` writes them.

    A run reads a cluster from it instead of from the cluster itself: `{"snapshot": PATH}`.
    """

    schema_version: Annotated[int, Meta(extra_json_schema={"enum": [*READABLE_VERSIONS]})]
    tool_version: ToolVersion
    created_at: Moment
    """When the file was written. The age of a cluster counts from its own `read_at`."""
    registry: SearchedRegistry
    helm_history: Count
    """How many revisions of each Helm release were read."""
    clusters: list[ScannedCluster]
    """Every cluster, also if it could not be read."""
    hash: Annotated[str, Meta(extra_json_schema={"pattern": "^sha256:[0-9a-f]{64}$"})]
    """
    A hash over the canonical JSON (UTF-8, sorted keys, no white space) of all other members. It is
    not a signature.
    """
    names_read_at: Moment | msgspec.UnsetType | None = msgspec.UNSET
    """
    When the names of the registry were read. Tags pushed later are not looked for. Null: no names
    were known. Version 1 has none.
    """
