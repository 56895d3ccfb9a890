"""
Usage snapshots: what was read of clusters elsewhere, in a file that another run can trust, or refuse.

A snapshot is one JSON document (`snapshot.schema.json`). Its hash is over the canonical JSON of everything else in it: UTF-8, keys
sorted, no white space between tokens. It is a guard against accidents (half a file, a merge, an edit by hand), not a signature:
whoever can write the file can write its hash. Let nobody write it whom you would not let write the configuration.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Annotated

import msgspec

from acr_cleanup import __version__
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.targets import SnapshotCluster
from acr_cleanup.core.references import Digest, ImageReference, Registry, normalise_host, parse_digest, parse_reference
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse, Workload
from acr_cleanup.errors import InvalidReference
from acr_cleanup.quoting import quoted

SCHEMA_VERSION = 1
MAX_BYTES = 512 * 1024 * 1024
"""A larger file is refused unread. 50,000 uses take 20 MB."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead the clock of the machine that read the cluster may be."""

_FILES_KEPT = 4
_KEYS_SHOWN = 10
_AGAIN = "Collect it again"


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """One cluster of a snapshot: its scan, when that was begun, and the AKS cluster that was read, where it is one."""

    scan: ClusterScan
    read_at: datetime
    resource_id: str | None = None


# -- the form of the file ------------------------------------------------------------------------------------------------------
# Unknown members are refused: what we would not read is not in the hash either.

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Use(msgspec.Struct, forbid_unknown_fields=True, gc=False):
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


class _Blocker(msgspec.Struct, forbid_unknown_fields=True):
    call: str
    seen: str
    remedy: str
    kind: str


class _Cluster(msgspec.Struct, forbid_unknown_fields=True):
    cluster: str
    resource_id: str | None
    access: str
    objects: _Count
    read_at: _Moment
    uses: list[_Use]
    blockers: list[_Blocker]
    waived: list[_Blocker]
    notes: list[str]


class _Registry(msgspec.Struct, forbid_unknown_fields=True):
    login_server: str
    aliases: list[str]


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    schema_version: int
    tool_version: str
    created_at: _Moment
    registry: _Registry
    helm_history: _Count
    clusters: list[_Cluster]


class _File(_Content, forbid_unknown_fields=True):
    hash: str


class _Version(msgspec.Struct):
    schema_version: int


def _hash(content: _Content) -> str:
    members = {name: getattr(content, name) for name in _Content.__struct_fields__}
    return f"sha256:{sha256(msgspec.json.encode(members, order='sorted')).hexdigest()}"


# -- writing -------------------------------------------------------------------------------------------------------------------


def write_snapshot(
    path: Path, registry: Registry, clusters: Iterable[SnapshotEntry], *, helm_history: int, created_at: datetime
) -> None:
    """
    Write these clusters, as far as `registry` and `helm_history` revisions of Helm releases have been looked for in them.

    The file is there completely or not at all: what stood in its place before stays until then. Raises `OSError`.
    """
    content = _Content(
        schema_version=SCHEMA_VERSION,
        tool_version=__version__,
        created_at=created_at.astimezone(UTC),
        registry=_Registry(registry.login_server, sorted(registry.aliases)),
        helm_history=helm_history,
        clusters=[_recorded(each) for each in clusters],
    )
    members = {name: getattr(content, name) for name in _Content.__struct_fields__}
    data = msgspec.json.encode({**members, "hash": _hash(content)})
    # Beside it, for a rename must not leave the file system.
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


def _recorded(each: SnapshotEntry) -> _Cluster:
    scan = each.scan
    return _Cluster(
        cluster=scan.cluster,
        resource_id=each.resource_id,
        access=scan.access,
        objects=scan.objects,
        read_at=each.read_at.astimezone(UTC),
        uses=[_use(use) for use in scan.uses],
        blockers=[_blocker(blocker) for blocker in scan.blockers],
        waived=[_blocker(blocker) for blocker in scan.waived],
        notes=[_writable(note) for note in scan.notes],
    )


def _use(use: ImageUse) -> _Use:
    workload, reference = use.workload, use.reference
    return _Use(
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


def _blocker(blocker: Blocker) -> _Blocker:
    return _Blocker(*map(_writable, (blocker.call, blocker.seen, blocker.remedy, blocker.kind)))


def _writable(text: str) -> str:
    """Half a surrogate pair, which foreign text may hold, has no place in a file."""
    return text.encode("utf-8", "backslashreplace").decode()


# -- reading -------------------------------------------------------------------------------------------------------------------


def read_snapshot(
    target: SnapshotCluster, registry: Registry, helm_history: int, now: datetime | None = None
) -> ClusterScan:
    """
    This cluster's scan, from its snapshot.

    Raises `ReadFailure` for what is no whole snapshot of this cluster and registry.
    What makes one of them unfit (it is too old, say, or
    blocked itself) is a blocker of the scan: what was in use then is still shown as such.
    """
    file, recorded = _find(target)
    call = _call(target)
    if normalise_host(file.registry.login_server) != normalise_host(registry.login_server):
        seen = (
            f"it was collected for the registry {quoted(file.registry.login_server)}, not for {registry.login_server}."
        )
        raise ReadFailure(call, seen, f"Name the snapshot of this registry. {_again(target)}")
    if target.resource_id is not None and (recorded.resource_id or "").lower() != target.resource_id.lower():
        was = quoted(recorded.resource_id) if recorded.resource_id else "a cluster without a resource id"
        seen = f"it was read from {was}, not from {target.resource_id}."
        raise ReadFailure(call, seen, f"Correct `resource_id`, or name another snapshot. {_again(target)}")
    try:
        scan = _scan(target, recorded)
    except InvalidReference as error:
        raise ReadFailure(
            call, f"it names an image that cannot be one: {quoted(error.seen)}", _again(target)
        ) from error
    doubts = _doubts(target, file, recorded, registry, helm_history, now or datetime.now(UTC))
    return replace(scan, blockers=(*scan.blockers, *(doubt.blocker(target.key) for doubt in doubts)))


def recorded_resource_id(target: SnapshotCluster) -> str | None:
    """The AKS cluster that this snapshot says it is of, if it says any."""
    try:
        return _find(target)[1].resource_id
    except ReadFailure:
        return target.resource_id


def _find(target: SnapshotCluster) -> tuple[_File, _Cluster]:
    call = _call(target)
    file = _load(target.path, call, _again(target))
    found = [each for each in file.clusters if each.cluster == target.key]
    if not found:
        held = ", ".join(quoted(each.cluster, 80) for each in file.clusters[:_KEYS_SHOWN]) or "none"
        more = ", …" if len(file.clusters) > _KEYS_SHOWN else ""
        seen = f"it holds no cluster {quoted(target.key, 80)}. It holds: {held}{more}."
        raise ReadFailure(call, seen, f"Call the cluster as the snapshot does. {_again(target)}")
    if len(found) > 1:
        raise ReadFailure(call, f"it holds the cluster {quoted(target.key, 80)} more than once.", _again(target))
    return file, found[0]


def _doubts(
    target: SnapshotCluster, file: _File, recorded: _Cluster, registry: Registry, helm_history: int, now: datetime
) -> Iterator[ReadFailure]:
    """Why this snapshot does not prove what is unused."""
    call, again = _call(target), _again(target)
    looked_for = {normalise_host(host) for host in (file.registry.login_server, *file.registry.aliases)}
    for alias in sorted(each for each in registry.aliases if normalise_host(each) not in looked_for):
        seen = f"it was collected without the registry's alias {alias}: what is used by that name is not in it."
        yield ReadFailure(call, seen, f"Add the alias to `registry_aliases` there. {again}")
    if file.helm_history < helm_history:
        seen = f"it holds {file.helm_history} revisions of each Helm release, and this run asks for {helm_history}."
        yield ReadFailure(call, seen, f"Set `helm_history: {helm_history}` there. {again}")
    age = now - recorded.read_at
    read_at = f"it was read at {recorded.read_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if age > target.max_age:
        yield ReadFailure(call, f"{read_at}, {_words(age)} ago; `max_age` allows {_words(target.max_age)}.", again)
    elif age < -CLOCK_SKEW:
        seen = f"{read_at}, which is {_words(-age)} from now: nobody can tell how old it is."
        yield ReadFailure(call, seen, f"Set the clocks of both machines. {again}")


def _scan(target: SnapshotCluster, recorded: _Cluster) -> ClusterScan:
    """Raises `InvalidReference`."""
    references: dict[tuple[str, str, str | None, str | None], ImageReference] = {}

    def reference(use: _Use) -> ImageReference:
        key = (use.host, use.repository, use.tag, use.digest)
        if key not in references:
            references[key] = _reference(*key)
        return references[key]

    def blocker(each: _Blocker) -> Blocker:
        return Blocker(target.key, each.call, each.seen, each.remedy, each.kind)

    def standing(each: _Blocker) -> Blocker:
        # What blocked the reading blocks until somebody reads again, whatever is done about its cause.
        # It comes first, for reports cut what is long.
        again = _again(target)
        # The cause first: reports cut long text, and the way around it (`waive`) needs no new snapshot.
        remedy = each.remedy if _AGAIN in each.remedy else f"{each.remedy} {again}".lstrip()
        return replace(blocker(each), remedy=remedy)

    return ClusterScan(
        target.key,
        uses=tuple(
            ImageUse(
                Workload(target.key, use.namespace, use.kind, use.name),
                use.container,
                use.field,
                use.text,
                reference(use),
                use.running,
            )
            for use in recorded.uses
        ),
        blockers=tuple(standing(each) for each in recorded.blockers),
        access="snapshot",
        objects=recorded.objects,
        waived=tuple(blocker(each) for each in recorded.waived),
        notes=tuple(recorded.notes),
        read_at=recorded.read_at,
        resource_id=recorded.resource_id or "",
    )


def _reference(host: str, repository: str, tag: str | None, digest: str | None) -> ImageReference:
    """The reference of these parts, each of which is what the grammar allows. Raises `InvalidReference`."""
    checked: Digest | None = None if digest is None else parse_digest(digest)
    made = ImageReference(host, repository, tag, checked)
    parsed = parse_reference(str(made))
    # An open reference has no tag, which read as text means the default one.
    if (replace(parsed, tag=None) if made.is_open else parsed) != made:
        raise InvalidReference(f"{str(made)!r} is not made of the parts that it is said to be made of.")
    return made


_reading = Lock()


def _load(path: Path, call: str, again: str) -> _File:
    """
    The file, whole and unchanged. Raises `ReadFailure`.

    A merged file serves many clusters: it is decoded once, as long as it stays the same file.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        remedy = f"Has it been collected, and brought here? {again}"
        raise ReadFailure(call, "there is no such file.", remedy) from error
    except (OSError, ValueError) as error:
        raise ReadFailure(
            call, f"it cannot be read: {quoted(_strerror(error))}.", "Correct its path or its rights."
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise ReadFailure(call, "it is no file.", "Name the file that `acr-cleanup collect` wrote.")
    if found.st_size > MAX_BYTES:
        seen = f"it is larger than {MAX_BYTES // 1024**2} MiB, which no snapshot is."
        raise ReadFailure(
            call, seen, "Name the file that `acr-cleanup collect` wrote, or collect fewer clusters into one."
        )
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    try:
        with _reading:
            return _decoded(path, stamp)
    except _NotWholeError as error:
        raise ReadFailure(call, str(error), again) from error
    except OSError as error:
        raise ReadFailure(
            call, f"it cannot be read: {quoted(_strerror(error))}.", "Correct its path or its rights."
        ) from error


class _NotWholeError(Exception):
    """The file is not what was written; a sentence says why."""


@lru_cache(maxsize=_FILES_KEPT)
def _decoded(path: Path, _stamp: tuple[int, ...]) -> _File:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        version = msgspec.json.decode(data, type=_Version).schema_version
        if version != SCHEMA_VERSION:
            raise _NotWholeError(
                f"its form is version {version}, and this version of acr-cleanup ({__version__}) reads version {SCHEMA_VERSION}."
            )
        decoded = msgspec.json.decode(data, type=_File)
        expected = _hash(decoded)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _NotWholeError(f"it is not a usage snapshot, or only a part of one: {quoted(error)}.") from error
    if decoded.hash != expected:
        raise _NotWholeError("it was changed after it had been written: its hash is not that of its content.")
    return decoded


def _strerror(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _call(target: SnapshotCluster) -> str:
    return f"read the usage snapshot {quoted(target.path)}"


def _again(target: SnapshotCluster) -> str:
    return f"{_AGAIN} (acr-cleanup collect CONFIG --out {quoted(target.path.name)})."


def _words(duration: timedelta) -> str:
    """
    >>> _words(timedelta(hours=30, minutes=5)), _words(timedelta(days=1)), _words(timedelta(seconds=59))
    ('30 h 5 min', '24 h', '59 s')
    """
    seconds = int(duration.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // 60, 60)
    return " ".join(part for part in (f"{hours:,} h" if hours else "", f"{minutes} min" if minutes else "") if part)
