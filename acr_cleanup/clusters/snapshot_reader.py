"""
Reads the scan of a cluster from a usage snapshot, if the snapshot is whole, recent, and of this
cluster and registry.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from threading import Lock

import msgspec

from acr_cleanup import __version__
from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.snapshot import MAX_BYTES
from acr_cleanup.clusters.target import SnapshotPlace
from acr_cleanup.core.mentions import How, ListedNames, Mention, RepositoryMentions
from acr_cleanup.core.references import (
    DOCKER_HUB,
    Digest,
    ImageReference,
    RegistryHost,
    normalise_host,
    parse_digest,
    parse_reference,
)
from acr_cleanup.core.usage import Blocker, ClusterScan, ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.errors import InvalidReference
from acr_cleanup.quoting import in_utc, quoted
from acr_cleanup.records.encoding import content_hash
from acr_cleanup.records.parts import SchemaVersion
from acr_cleanup.records.snapshot import (
    READABLE_VERSIONS,
    SNAPSHOT_VERSION,
    ScannedCluster,
    Snapshot,
    SnapshotBlocker,
    SnapshotMention,
    SnapshotUse,
)

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead the clock of the machine that read the cluster may be."""

_FILES_KEPT = 4
_KEYS_SHOWN = 10
_AGAIN = "Collect it again"


def read_snapshot(
    target: SnapshotPlace, registry: RegistryHost, helm_history: int, now: datetime | None = None
) -> ClusterScan:
    """
    Read the scan of a cluster from its snapshot.

    now: the time, for tests.

    Raises `ReadFailure` if the file is not a whole snapshot of this cluster and registry. A
    snapshot that is whole but, for example, too old or blocked itself gets blockers: its uses are
    still shown.
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
        scan = _scan(target, recorded, file.names_read_at or None)
        _check_mentions(recorded)
    except InvalidReference as error:
        raise ReadFailure(call, f"it has an invalid image reference: {quoted(error.seen)}", _again(target)) from error
    except IndexError as error:
        raise ReadFailure(call, "it has a use without its place or its image.", _again(target)) from error
    problems = _problems(target, file, recorded, registry, helm_history, now or datetime.now(UTC))
    return replace(scan, blockers=(*scan.blockers, *(problem.blocker(target.key) for problem in problems)))


def recorded_resource_id(target: SnapshotPlace) -> str | None:
    """Return the AKS cluster that this snapshot records, if any."""
    try:
        return _find(target)[1].resource_id
    except ReadFailure:
        return target.resource_id


def _find(target: SnapshotPlace) -> tuple[Snapshot, ScannedCluster]:
    call = _call(target)
    file = _load(target.path, call, _again(target))
    clusters = [cluster for cluster in file.clusters if cluster.cluster == target.key]
    if not clusters:
        keys = ", ".join(quoted(cluster.cluster, 80) for cluster in file.clusters[:_KEYS_SHOWN]) or "none"
        more = ", …" if len(file.clusters) > _KEYS_SHOWN else ""
        seen = f"it has no cluster {quoted(target.key, 80)}. It has: {keys}{more}."
        raise ReadFailure(call, seen, f"Give the cluster the name that it has in the snapshot. {_again(target)}")
    if len(clusters) > 1:
        raise ReadFailure(call, f"it has the cluster {quoted(target.key, 80)} more than once.", _again(target))
    return file, clusters[0]


def _problems(
    target: SnapshotPlace,
    file: Snapshot,
    recorded: ScannedCluster,
    registry: RegistryHost,
    helm_history: int,
    now: datetime,
) -> Iterator[ReadFailure]:
    """Return the reasons why this snapshot does not prove which images are unused."""
    call, again = _call(target), _again(target)
    searched = {normalise_host(host) for host in (file.registry.login_server, *file.registry.aliases)}
    for alias in sorted(host for host in registry.aliases if normalise_host(host) not in searched):
        seen = f"it was collected without the registry's alias {alias}, so images used by that name are not in it."
        yield ReadFailure(call, seen, f"Add the alias to `registry_aliases` there. {again}")
    if file.helm_history < helm_history:
        seen = f"it has {file.helm_history} revisions of each Helm release, and this run asks for {helm_history}."
        yield ReadFailure(call, seen, f"Set `helm_history: {helm_history}` there. {again}")
    if not file.names_read_at:
        seen = "it was collected without the names of the registry, so what the clusters mention is not in it."
        yield ReadFailure(call, seen, f"Let it read the registry, or pass `--names FILE` there. {again}")
    age = now - recorded.read_at
    read_at = f"it was read at {in_utc(recorded.read_at):%Y-%m-%d %H:%M:%S} UTC"
    if age > target.max_age:
        yield ReadFailure(call, f"{read_at}, {_words(age)} ago. `max_age` allows {_words(target.max_age)}.", again)
    elif age < -CLOCK_SKEW:
        seen = f"{read_at}, {_words(-age)} in the future, so its age cannot be checked."
        yield ReadFailure(call, seen, f"Set the clocks of both machines. {again}")


class RecordedMentions:
    """The mentions of a snapshot. Implements `MentionSource`."""

    def __init__(self, cluster: str, mentions: Iterable[SnapshotMention], names_read_at: datetime | None) -> None:
        self._cluster = cluster
        self._names_read_at = names_read_at
        self._of: defaultdict[str, list[SnapshotMention]] = defaultdict(list)
        for mention in mentions:
            self._of[mention.repository].append(mention)

    @property
    def is_empty(self) -> bool:
        return not self._of

    def of(self, listed: ListedNames) -> RepositoryMentions:
        by_tag: defaultdict[str, tuple[Mention, ...]] = defaultdict(tuple)
        by_digest: defaultdict[Digest, tuple[Mention, ...]] = defaultdict(tuple)
        of_any: list[Mention] = []
        for recorded in self._of.get(listed.repository, ()):
            workload = Workload(self._cluster, recorded.namespace, recorded.kind, recorded.name)
            word = recorded.tag or recorded.digest or ""
            mention = Mention(workload, recorded.field, listed.repository, word, How(recorded.how))
            if recorded.tag is not None:
                by_tag[recorded.tag] += (mention,)
            elif recorded.digest is not None:
                by_digest[parse_digest(recorded.digest)] += (mention,)
            else:
                of_any.append(mention)
        for tag, pushed in listed.tags.items():
            # The clusters were not searched for tags that were pushed later.
            if self._names_read_at and pushed is not None and pushed > self._names_read_at - CLOCK_SKEW:
                by_tag[tag] += (Mention(Workload(self._cluster, "", "", ""), "", listed.repository, tag, How.UNKNOWN),)
        return RepositoryMentions(by_tag, by_digest, tuple(of_any))


def _scan(target: SnapshotPlace, recorded: ScannedCluster, names_read_at: datetime | None) -> ClusterScan:
    """Make the scan of a recorded cluster. Raises `InvalidReference`."""
    references: dict[tuple[str, str, str | None, str | None], ImageReference] = {}

    def reference(use: SnapshotUse) -> ImageReference:
        key = (use.host, use.repository, use.tag, use.digest)
        if key not in references:
            references[key] = _reference(*key)
        return references[key]

    def blocker(recorded: SnapshotBlocker) -> Blocker:
        return Blocker(target.key, recorded.call, recorded.seen, recorded.remedy, recorded.kind)

    def lasting(recorded: SnapshotBlocker) -> Blocker:
        # Solving the cause is not enough: the cluster must be read again. This comes last, because
        # reports cut long text, and a waiver, which the remedy of the cause may name, needs no new
        # snapshot.
        again = _again(target)
        remedy = recorded.remedy if _AGAIN in recorded.remedy else f"{recorded.remedy} {again}".lstrip()
        return replace(blocker(recorded), remedy=remedy)

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
            for use in recorded.each_use()
        ),
        blockers=tuple(lasting(recorded_blocker) for recorded_blocker in recorded.blockers),
        access="snapshot",
        objects=recorded.objects,
        waived=tuple(blocker(recorded_blocker) for recorded_blocker in recorded.waived),
        notes=tuple(recorded.notes),
        read_at=recorded.read_at,
        resource_id=recorded.resource_id or "",
        mentions=RecordedMentions(target.key, recorded.mentions or (), names_read_at),
    )


def _reference(host: str, repository: str, tag: str | None, digest: str | None) -> ImageReference:
    """
    Make a reference of its parts. Raises `InvalidReference` if the grammar does not allow one of
    them.
    """
    checked: Digest | None = None if digest is None else parse_digest(digest)
    reference = ImageReference(host, repository, tag, checked)
    if reference.is_open and repository.endswith("/"):
        # A use of a whole folder (`azureml/`).
        _reference(host, repository.removesuffix("/"), None, None)
        return reference
    parsed = parse_reference(str(reference))
    # An open reference has no tag. As text, it would be parsed as one with the default tag.
    if (replace(parsed, tag=None) if reference.is_open else parsed) != reference:
        raise InvalidReference(f"{str(reference)!r} does not match its own repository, tag and digest.")
    return reference


def _check_mentions(recorded: ScannedCluster) -> None:
    """Raises `InvalidReference` for a mention of names that no registry has."""
    for mention in recorded.mentions or ():
        _reference(DOCKER_HUB, f"x/{mention.repository}", mention.tag, mention.digest)
        if mention.how not in _HOW:
            raise InvalidReference(f"{mention.how!r} is no way to mention an image.")


_HOW = frozenset(How)
_decoding = Lock()


def _load(path: Path, call: str, again: str) -> Snapshot:
    """
    Read a whole and unmodified file. Raises `ReadFailure`.

    A merged file has many clusters. It is decoded once, until it is replaced.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        remedy = f"{path_remedy(path, 'Check that it was collected and copied here.')} {again}"
        raise ReadFailure(call, "the file does not exist.", remedy) from error
    except (OSError, ValueError) as error:
        raise ReadFailure(
            call, f"it cannot be read: {quoted(_strerror(error))}.", "Check its path and its permissions."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ReadFailure(call, "it is not a regular file.", "Name the file that `acr-cleanup collect` wrote.")
    if status.st_size > MAX_BYTES:
        seen = f"it is larger than {MAX_BYTES // 1024**2} MiB, the limit for a snapshot."
        raise ReadFailure(
            call, seen, "Name the file that `acr-cleanup collect` wrote, or collect fewer clusters into one file."
        )
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    try:
        with _decoding:
            return _decoded(path, stamp)
    except _InvalidSnapshotError as error:
        raise ReadFailure(call, str(error), again) from error
    except OSError as error:
        raise ReadFailure(
            call, f"it cannot be read: {quoted(_strerror(error))}.", "Check its path and its permissions."
        ) from error


class _InvalidSnapshotError(Exception):
    """The file is not a whole and unmodified snapshot. The message is a sentence that says why."""


@lru_cache(maxsize=_FILES_KEPT)
def _decoded(path: Path, _stamp: tuple[int, ...]) -> Snapshot:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        version = msgspec.json.decode(data, type=SchemaVersion).schema_version
        if version not in READABLE_VERSIONS:
            raise _InvalidSnapshotError(
                f"its schema version is {version}, and this version of acr-cleanup ({__version__}) reads version "
                f"{SNAPSHOT_VERSION}."
            )
        decoded = msgspec.json.decode(data, type=Snapshot)
        expected = content_hash(decoded)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _InvalidSnapshotError(f"it is not a usage snapshot, or only a part of one: {quoted(error)}.") from error
    if decoded.hash != expected:
        raise _InvalidSnapshotError("it was modified after it was written (hash mismatch).")
    return decoded


def _strerror(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _call(target: SnapshotPlace) -> str:
    return f"read the usage snapshot {quoted(target.path)}"


def _again(target: SnapshotPlace) -> str:
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
