"""Uses of images in clusters, unread parts of clusters, and the index of all uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from typing import TypeVar

from acr_cleanup.core.history import History, NoHistory
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.mentions import (
    NO_MENTIONS,
    MentionSource,
    NoMentions,
    RepositoryMentions,
    merged,
)
from acr_cleanup.core.pulls import NO_PULLS, PullLog
from acr_cleanup.core.references import Digest, ImageReference
from acr_cleanup.core.workload import Workload

SERVICES = "azure"
"""
The name of all services of Azure in waivers. The scan of one subscription is `azure:SUBSCRIPTION`.
"""


# In `ImageUse`, `field` is a member.
_not_compared: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ImageUse:
    """
    One place in one workload that names (or runs) one image of the registry.

    field: path in the object, such as `spec.template.spec.containers[0].image`.
    text: the original text of the field.
    running: is this a container or init container of a pod? Only these make a repository *run* in a
        cluster.
    holder: the object that has the field, as in `Pod/ledger-0`, if it is not the workload itself. Of
        several equal objects, one. Empty if unknown, as in a usage snapshot.
    """

    workload: Workload
    container: str
    field: str
    text: str
    reference: ImageReference
    running: bool = False
    holder: str = _not_compared

    def __str__(self) -> str:
        container = f" ({self.container})" if self.container else ""
        return f"{self.workload}{container}"


@dataclass(frozen=True, slots=True)
class Blocker:
    """
    Something that could not be read. It forbids every deletion, because it could have changed any
    decision.

    where: the cluster or the registry.
    call: the request that failed.
    seen: the answer.
    remedy: what to do.
    kind: the kind of object that could not be listed, as kubectl names it (`rollouts.argoproj.io`);
        empty if several kinds are affected.
    """

    where: str
    call: str
    seen: str
    remedy: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.call}: {self.seen} {self.remedy}"


@dataclass(frozen=True, slots=True)
class ClusterScan:
    """
    The uses found in one cluster. With blockers, it can prove that an image is used, but not that
    it is unused.

    access: how the cluster was reached: `direct`, `run-command`, `kubeconfig`.
    objects: how many API objects were read. This distinguishes an empty cluster from an unread one.
    waived: what could not be read, for kinds that the user waived. It blocks nothing; every report
        repeats it.
    notes: further facts about the cluster; sentences, without its name.
    read_at: when the cluster was read, for a scan from a usage snapshot; None if this run read it.
    resource_id: resource id of the AKS cluster; empty if unknown or not an AKS cluster.
    mentions: what objects of the cluster name besides the uses.
    names_registry: does any object contain a host name of the registry? None if that is unknown.
    registries: other registries of Azure that objects name, if none names this one.
    """

    cluster: str
    uses: tuple[ImageUse, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    access: str = ""
    objects: int = 0
    waived: tuple[Blocker, ...] = ()
    notes: tuple[str, ...] = ()
    read_at: datetime | None = None
    resource_id: str = ""
    mentions: MentionSource = field(default_factory=NoMentions, compare=False, repr=False)
    names_registry: bool | None = None
    registries: tuple[str, ...] = ()

    @property
    def is_service(self) -> bool:
        """Is this a scan of services of Azure, and not of a cluster?"""
        return self.access == SERVICES

    def waive(self, kinds: Collection[str]) -> ClusterScan:
        """
        This scan, with the blockers of these kinds waived. Uses that were found in such objects
        still count.

        kinds: as kubectl takes them: `cronjobs`, `cronjobs.batch`, `CronJob`, in any case. One that matches nothing is noted.
        """
        waived = tuple(blocker for blocker in self.blockers if any(_is_kind(kind, blocker.kind) for kind in kinds))
        rest = tuple(blocker for blocker in self.blockers if blocker not in waived)
        known = sorted({blocker.kind for blocker in self.blockers} - {""})
        useless = [kind for kind in kinds if not any(_is_kind(kind, blocker.kind) for blocker in self.blockers)]
        notes = tuple(
            f"the waiver of {kind} matches nothing that could not be read{_nearest(kind, known)}." for kind in useless
        )
        return replace(self, blockers=rest, waived=(*self.waived, *waived), notes=(*self.notes, *notes))


WORKLOAD_KINDS = (
    "pods",
    "replicationcontrollers",
    "podtemplates",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "controllerrevisions.apps",
    "jobs.batch",
    "cronjobs.batch",
)
"""The built-in kinds that run or start pods: without one of them, most of what is in use is not seen."""


def is_workload_kind(written: str) -> bool:
    """Does this name a built-in kind that runs or starts pods?"""
    return any(_is_kind(written, kind) for kind in WORKLOAD_KINDS)


def _is_kind(written: str, kind: str) -> bool:
    """
    Does this name the kind, in one of the ways of kubectl?

    >>> [_is_kind(name, "cronjobs.batch") for name in ("cronjobs.batch", "CronJobs", "CronJob", "jobs")]
    [True, True, True, False]
    """
    name, full = written.lower(), kind.lower()
    if not full or name == full:
        return bool(full)
    plural, _, group = full.partition(".")
    name, _, of = name.partition(".")
    # Kubernetes makes the plural of a kind in these ways.
    return of in ("", group) and plural in (name, f"{name}s", f"{name}es", f"{name.removesuffix('y')}ies")


def _nearest(written: str, known: Sequence[str]) -> str:
    near = get_close_matches(written.lower(), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(frozen=True, slots=True)
class Puller:
    """An identity that may pull from the registry, and does not belong to a cluster or service that was read."""

    name: str
    kind: str
    role: str


@dataclass(frozen=True, slots=True)
class Outside:
    """
    Clusters and services outside of what was read.

    warnings: sentences.
    pullers: who else may pull.
    """

    warnings: tuple[str, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    pullers: tuple[Puller, ...] = ()

    def __add__(self, other: Outside) -> Outside:
        return Outside(
            (*self.warnings, *other.warnings),
            (*self.blockers, *other.blockers),
            (*self.pullers, *other.pullers),
        )


@dataclass(frozen=True)
class UsageIndex:
    """
    Answers "who uses this?" for a tag and for a digest of the registry.

    An index with blockers can prove that something **is** used. It cannot prove that something is
    unused. A digest is indexed for the repository that the use names: in ACR, manifests never leave
    their repository.

    repositories: every repository that a use names.
    running: the repositories that a container or init container of a pod names.
    history: what earlier runs saw.
    """

    scans: tuple[ClusterScan, ...]
    read_at: datetime
    _by_tag: Mapping[str, Mapping[str, tuple[ImageUse, ...]]] = field(repr=False, compare=False)
    _by_digest: Mapping[str, Mapping[Digest, tuple[ImageUse, ...]]] = field(repr=False, compare=False)
    _open: Mapping[str, tuple[ImageUse, ...]] = field(repr=False, compare=False)
    repositories: frozenset[str] = field(compare=False)
    running: frozenset[str] = field(compare=False)
    outside: Outside = field(default_factory=Outside)
    pulls: PullLog = NO_PULLS
    history: History = field(default_factory=NoHistory, repr=False, compare=False)
    _mentions: dict[str, tuple[object, RepositoryMentions]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        scans: Iterable[ClusterScan],
        read_at: datetime,
        outside: Outside | None = None,
        pulls: PullLog = NO_PULLS,
    ) -> UsageIndex:
        """Index the uses of all scans. No decision depends on the order of scans and uses."""
        scans = tuple(sorted(scans, key=lambda scan: scan.cluster))
        by_tag: _Grouped[str] = defaultdict(lambda: defaultdict(list))
        by_digest: _Grouped[Digest] = defaultdict(lambda: defaultdict(list))
        open_: defaultdict[str, list[ImageUse]] = defaultdict(list)
        uses = [use for scan in scans for use in scan.uses]
        for use in uses:
            reference = use.reference
            # Index both: a pinned reference that also names a tag protects the tag as well.
            if reference.tag is not None:
                by_tag[reference.repository][reference.tag].append(use)
            if reference.digest is not None:
                by_digest[reference.repository][reference.digest].append(use)
            if reference.is_open:
                open_[reference.repository].append(use)
        return cls(
            scans=scans,
            read_at=read_at,
            _by_tag=_frozen(by_tag),
            _by_digest=_frozen(by_digest),
            _open={repository: tuple(uses_of_any) for repository, uses_of_any in open_.items()},
            repositories=frozenset(
                use.reference.repository for use in uses if not use.reference.repository.endswith("/")
            ),
            running=frozenset(use.reference.repository for use in uses if use.running),
            outside=outside or Outside(),
            pulls=pulls,
        )

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        return (*(blocker for scan in self.scans for blocker in scan.blockers), *self.outside.blockers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each waived kind and for each note on a cluster, `dangers` among them."""
        of_clusters = (
            warning
            for scan in self.scans
            for warning in (
                *(_waived(scan, blocker) for blocker in scan.waived),
                *(f"{scan.cluster}: {note}" for note in scan.notes),
            )
        )
        return (*of_clusters, *self.outside.warnings)

    @property
    def dangers(self) -> tuple[str, ...]:
        """One sentence for each waived kind that runs or starts pods."""
        return tuple(
            _waived(scan, blocker) for scan in self.scans for blocker in scan.waived if is_workload_kind(blocker.kind)
        )

    def of_tag(self, repository: str, tag: str) -> tuple[ImageUse, ...]:
        """The uses that name this tag."""
        return self._by_tag.get(repository, {}).get(tag, ())

    def of_digest(self, repository: str, digest: Digest) -> tuple[ImageUse, ...]:
        """The uses that name (or run) this digest itself, not through a tag or an index."""
        return self._by_digest.get(repository, {}).get(digest, ())

    def of_any(self, repository: str) -> tuple[ImageUse, ...]:
        """The open references to this repository (`ImageReference.is_open`), and to a folder that has it."""
        parts = repository.split("/")
        folders = ("/".join((*parts[:end], "")) for end in range(1, len(parts)))
        return tuple(use for name in (repository, *folders) for use in self._open.get(name, ()))

    def mentions(self, inventory: RepositoryInventory) -> RepositoryMentions:
        """
        The mentions of a repository, of those names that the registry has.

        One decision asks several times, and to gather the names of a large repository takes long.
        So the answers for the last repositories are held.
        """
        if not self._mention_sources:
            return NO_MENTIONS
        source, found = self._mentions.get(inventory.name, (None, NO_MENTIONS))
        if source is not inventory.names_source:
            listed = inventory.listed_names
            found = merged(mentions.of(listed) for mentions in self._mention_sources)
            if len(self._mentions) >= _REPOSITORIES_HELD:
                self._mentions.clear()
            self._mentions[inventory.name] = inventory.names_source, found
        return found

    @cached_property
    def _mention_sources(self) -> tuple[MentionSource, ...]:
        return tuple(scan.mentions for scan in self.scans if not isinstance(scan.mentions, NoMentions))

    def tags(self, repository: str) -> frozenset[str]:
        """Every tag of this repository that a use names."""
        return frozenset(self._by_tag.get(repository, ()))

    def digests(self, repository: str) -> frozenset[Digest]:
        """Every digest of this repository that a use names."""
        return frozenset(self._by_digest.get(repository, ()))


def _waived(scan: ClusterScan, blocker: Blocker) -> str:
    return (
        f"{scan.cluster}: {blocker.kind} is waived ({blocker.call}: {blocker.seen.rstrip('.')}). "
        "Images used only by these objects count as unused."
    )


_REPOSITORIES_HELD = 32
Name = TypeVar("Name")
_Grouped = defaultdict[str, defaultdict[Name, list[ImageUse]]]


def _frozen(grouped: _Grouped[Name]) -> dict[str, dict[Name, tuple[ImageUse, ...]]]:
    return {
        repository: {name: tuple(uses) for name, uses in by_name.items()} for repository, by_name in grouped.items()
    }
