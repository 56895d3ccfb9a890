"""
Usage snapshots: the scans of clusters in a file, for runs on machines that cannot reach the
clusters.

A snapshot is one JSON document (`snapshot.schema.json`). Its hash is over the canonical JSON of
everything else in it: UTF-8, sorted keys, no white space between tokens. The hash protects against
accidents: half a file, a merge, an edit by hand. It is not a signature, because anyone who can
write the file can also write its hash. Protect the file like the configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import msgspec

from acr_cleanup import __version__
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse

SCHEMA_VERSION = 1
MAX_BYTES = 512 * 1024 * 1024
"""A larger file is not opened. 50,000 uses take 20 MB."""


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


# -- the form of the file --------------------------------------------------------------------------
# Unknown members are refused, because the hash does not cover members that are not read.

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class RecordedUse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    namespace: str
    kind: str
    name: str
    container: str
    field: str
    text: str
    host: str
    repository: str
    tag: str | None
    digest: str | None
    running: bool


class RecordedBlocker(msgspec.Struct, forbid_unknown_fields=True):
    call: str
    seen: str
    remedy: str
    kind: str


class RecordedCluster(msgspec.Struct, forbid_unknown_fields=True):
    cluster: str
    resource_id: str | None
    access: str
    objects: _Count
    read_at: _Moment
    uses: list[RecordedUse]
    blockers: list[RecordedBlocker]
    waived: list[RecordedBlocker]
    notes: list[str]


class RecordedRegistry(msgspec.Struct, forbid_unknown_fields=True):
    login_server: str
    aliases: list[str]


class SnapshotContent(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    tool_version: str
    created_at: _Moment
    registry: RecordedRegistry
    helm_history: _Count
    clusters: list[RecordedCluster]


class SnapshotFile(SnapshotContent, forbid_unknown_fields=True):
    hash: str


class SnapshotVersion(msgspec.Struct):
    schema_version: int


def content_hash(content: SnapshotContent) -> str:
    members = {name: getattr(content, name) for name in SnapshotContent.__struct_fields__}
    return f"sha256:{sha256(msgspec.json.encode(members, order='sorted')).hexdigest()}"


# -- writing ---------------------------------------------------------------------------------------


def write_snapshot(
    path: Path, registry: RegistryHost, clusters: Iterable[SnapshotEntry], *, helm_history: int, created_at: datetime
) -> None:
    """
    Write these clusters to `path`. Raises `OSError`.

    registry: the registry whose uses the scans have.
    helm_history: how many revisions of each Helm release they count as used.

    The file is replaced as a whole, after all of it is written: a failure leaves the previous file
    in place.
    """
    content = SnapshotContent(
        schema_version=SCHEMA_VERSION,
        tool_version=__version__,
        created_at=created_at.astimezone(UTC),
        registry=RecordedRegistry(registry.login_server, sorted(registry.aliases)),
        helm_history=helm_history,
        clusters=[_recorded(entry) for entry in clusters],
    )
    members = {name: getattr(content, name) for name in SnapshotContent.__struct_fields__}
    data = msgspec.json.encode({**members, "hash": content_hash(content)})
    # In the same folder, because a rename works only within a file system.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _recorded(entry: SnapshotEntry) -> RecordedCluster:
    scan = entry.scan
    return RecordedCluster(
        cluster=scan.cluster,
        resource_id=entry.resource_id,
        access=scan.access,
        objects=scan.objects,
        read_at=entry.read_at.astimezone(UTC),
        uses=[_use(use) for use in scan.uses],
        blockers=[_blocker(blocker) for blocker in scan.blockers],
        waived=[_blocker(blocker) for blocker in scan.waived],
        notes=[_writable(note) for note in scan.notes],
    )


def _use(use: ImageUse) -> RecordedUse:
    workload, reference = use.workload, use.reference
    return RecordedUse(
        namespace=_writable(workload.namespace),
        kind=_writable(workload.kind),
        name=_writable(workload.name),
        container=_writable(use.container),
        field=_writable(use.field),
        text=_writable(use.text),
        host=reference.host,
        repository=reference.repository,
        tag=reference.tag,
        digest=reference.digest,
        running=use.running,
    )


def _blocker(blocker: Blocker) -> RecordedBlocker:
    return RecordedBlocker(*map(_writable, (blocker.call, blocker.seen, blocker.remedy, blocker.kind)))


def _writable(text: str) -> str:
    """Escape lone surrogates, which foreign text may contain, and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()
