"""
Usage snapshots: the scans of clusters in a file, for runs on machines that cannot reach the
clusters.

Its hash protects against accidents: half a file, a merge, an edit by hand. It is not a signature,
because anyone who can write the file can also write its hash. Protect the file like the
configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.mentions import How, ListedNames, Mention
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.records.encoding import content_hash, well_formed
from acr_cleanup.records.names import RegistryNames
from acr_cleanup.records.snapshot import (
    SNAPSHOT_VERSION,
    PackedUses,
    ScannedCluster,
    SearchedRegistry,
    Snapshot,
    SnapshotBlocker,
    SnapshotMention,
    SnapshotUse,
)
from acr_cleanup.records.whole_file import replace_file

_QUOTED = re.compile(r": '.*'(?=\. Nothing is kept for it\.)", re.DOTALL)
"""The text of an object in a note; a snapshot has none."""
_MENTIONS_OF_ONE = 5
"""One mention keeps a tag. Reports show a few."""
MAX_BYTES = 512 * 1024 * 1024
"""A larger file is not opened. 150,000 uses take 6 MB."""


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """
    One cluster of a snapshot.

    read_at: when the scan was begun.
    resource_id: of the AKS cluster that was read, if it is one.
    """

    scan: ClusterScan
    read_at: datetime
    resource_id: str | None = None


def write_snapshot(
    path: Path,
    registry: RegistryHost,
    clusters: Iterable[SnapshotEntry],
    *,
    helm_history: int,
    created_at: datetime,
    names: RegistryNames | None = None,
) -> None:
    """
    Write these clusters to `path`. Raises `OSError`.

    registry: the registry whose uses the scans have.
    helm_history: how many revisions of each Helm release they count as used.
    names: of the registry. Of what the clusters mention, only these are written.

    The file is replaced as a whole.
    """
    document = Snapshot(
        SNAPSHOT_VERSION,
        __version__,
        created_at.astimezone(UTC),
        SearchedRegistry(registry.login_server, sorted(registry.aliases)),
        helm_history,
        [_recorded(entry, names) for entry in clusters],
        hash="",
        names_read_at=names.read_at.astimezone(UTC) if names is not None else None,
    )
    document.hash = content_hash(document)
    replace_file(path, (msgspec.json.encode(document), b"\n"), sync=True)


def _recorded(entry: SnapshotEntry, names: RegistryNames | None) -> ScannedCluster:
    scan = entry.scan
    packed = PackedUses.of(well_formed(_use(use)) for use in scan.uses)
    return ScannedCluster(
        scan.cluster,
        entry.resource_id,
        scan.access,
        scan.objects,
        entry.read_at.astimezone(UTC),
        packed.uses,
        [_blocker(blocker) for blocker in scan.blockers],
        [_blocker(blocker) for blocker in scan.waived],
        well_formed([_QUOTED.sub("", note) for note in scan.notes]),
        [well_formed(mention) for mention in _mentions(scan, names)] if names is not None else [],
        packed.places,
        packed.images,
    )


def _mentions(scan: ClusterScan, names: RegistryNames) -> Iterator[SnapshotMention]:
    """The mentions of all names. If they lack a used repository, any of its tags may be meant."""
    for listed in names.listed():
        yield from _mentions_of(scan, listed)
    users = {use.reference.repository: use for use in scan.uses if not use.reference.repository.endswith("/")}
    for repository in sorted(users.keys() - {named.name for named in names.repositories}):
        use = users[repository]
        yield _mention(Mention(use.workload, use.field, repository, "", How.UNKNOWN), repository, None, None)


def _mentions_of(scan: ClusterScan, listed: ListedNames) -> Iterator[SnapshotMention]:
    found = scan.mentions.of(listed)
    for tag, mentions in found.by_tag.items():
        yield from (_mention(mention, listed.repository, tag, None) for mention in mentions[:_MENTIONS_OF_ONE])
    for digest, mentions in found.by_digest.items():
        yield from (_mention(mention, listed.repository, None, digest) for mention in mentions[:_MENTIONS_OF_ONE])
    yield from (_mention(mention, listed.repository, None, None) for mention in found.of_any[:_MENTIONS_OF_ONE])


def _mention(mention: Mention, repository: str, tag: str | None, digest: str | None) -> SnapshotMention:
    workload = mention.workload
    return SnapshotMention(
        workload.namespace, workload.kind, workload.name, mention.field, repository, tag, digest, str(mention.how)
    )


def _use(use: ImageUse) -> SnapshotUse:
    workload, reference = use.workload, use.reference
    return SnapshotUse(
        namespace=workload.namespace,
        kind=workload.kind,
        name=workload.name,
        container=use.container,
        field=use.field,
        text=use.text,
        host=reference.host,
        repository=reference.repository,
        tag=reference.tag,
        digest=reference.digest,
        running=use.running,
    )


def _blocker(blocker: Blocker) -> SnapshotBlocker:
    return well_formed(SnapshotBlocker(blocker.call, blocker.seen, blocker.remedy, blocker.kind))
