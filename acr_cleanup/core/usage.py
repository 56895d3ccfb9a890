"""Who uses what: uses found in clusters, what could not be seen there, and the index that answers "who uses this?"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from acr_cleanup.core.references import Digest, ImageReference


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """A Kubernetes object that names or runs images. `namespace` is empty for cluster-scoped objects."""

    cluster: str
    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        inside = f"{self.namespace}/" if self.namespace else ""
        return f"{self.cluster}/{inside}{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class ImageUse:
    """
    One place in one workload names (or runs) one image of our registry.

    `field` is the path in the object, `spec.template.spec.containers[0].image`; `text` what was written there.
    `running` says that this is a container or init container of a pod: only those make a repository *run* in a cluster.
    """

    workload: Workload
    container: str
    field: str
    text: str
    reference: ImageReference
    running: bool = False

    def __str__(self) -> str:
        container = f" ({self.container})" if self.container else ""
        return f"{self.workload}{container}"


@dataclass(frozen=True, slots=True)
class Blocker:
    """
    Something we could not see. It forbids every deletion, for it could have changed any of them.

    `where` is the cluster (or the registry), `call` what was attempted, `seen` the answer, `remedy` what to do. `kind` is the
    kind of object that could not be seen, as kubectl names it (`rollouts.argoproj.io`); empty if it is more than one kind.
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
    """What one reading of one cluster found. With blockers it proves what *is* used, never what is not."""

    cluster: str
    uses: tuple[ImageUse, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    access: str = ""
    """How it was reached, for people: `direct`, `run-command`, `kubeconfig`."""
    objects: int = 0
    """How many API objects were read: an empty cluster and an unread one must not look alike."""
    waived: tuple[Blocker, ...] = ()
    """What could not be seen and was given up by name: it blocks nothing, and every report repeats it."""
    notes: tuple[str, ...] = ()
    """What whoever runs this should know of the cluster; sentences, without its name."""
    read_at: datetime | None = None
    """When the cluster was read, for a scan that comes from a usage snapshot; None: in this run."""
    resource_id: str = ""
    """The AKS cluster that was read, by its resource id, where it is known to be one."""

    def waive(self, kinds: Collection[str]) -> ClusterScan:
        """This scan, with the blockers of these kinds (in any case) given up. What was seen of them still counts as used."""
        given_up = {kind.lower() for kind in kinds}
        waived = tuple(blocker for blocker in self.blockers if blocker.kind and blocker.kind.lower() in given_up)
        rest = tuple(blocker for blocker in self.blockers if blocker not in waived)
        return replace(self, blockers=rest, waived=(*self.waived, *waived))


@dataclass(frozen=True, slots=True)
class Outside:
    """What was found of clusters outside the configuration: whole sentences, and what forbids every deletion."""

    warnings: tuple[str, ...] = ()
    blockers: tuple[Blocker, ...] = ()


@dataclass(frozen=True)
class UsageIndex:
    """
    Answers "who uses this?" for a tag and for a digest of our registry.

    An index with blockers can still tell you that something **is** used; it can never tell you that something is not.
    Digests are indexed for the repository that the use names: ACR's manifests never leave their repository.
    """

    scans: tuple[ClusterScan, ...]
    read_at: datetime
    _by_tag: Mapping[str, Mapping[str, tuple[ImageUse, ...]]] = field(repr=False, compare=False)
    _by_digest: Mapping[str, Mapping[Digest, tuple[ImageUse, ...]]] = field(repr=False, compare=False)
    _open: Mapping[str, tuple[ImageUse, ...]] = field(repr=False, compare=False)
    repositories: frozenset[str] = field(compare=False)
    """Every repository that any use names."""
    running: frozenset[str] = field(compare=False)
    """The repositories that a container or init container of a pod names."""
    outside: Outside = field(default_factory=Outside)

    @classmethod
    def of(cls, scans: Iterable[ClusterScan], read_at: datetime, outside: Outside | None = None) -> UsageIndex:
        """Index the uses of all scans. The order of scans and uses does not matter to any decision."""
        scans = tuple(sorted(scans, key=lambda scan: scan.cluster))
        by_tag: _Grouped[str] = defaultdict(lambda: defaultdict(list))
        by_digest: _Grouped[Digest] = defaultdict(lambda: defaultdict(list))
        open_: defaultdict[str, list[ImageUse]] = defaultdict(list)
        uses = [use for scan in scans for use in scan.uses]
        for use in uses:
            reference = use.reference
            # Both, always: a pinned reference that also names a tag protects the tag as well.
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
            _open={repository: tuple(found) for repository, found in open_.items()},
            repositories=frozenset(use.reference.repository for use in uses),
            running=frozenset(use.reference.repository for use in uses if use.running),
            outside=outside or Outside(),
        )

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        return (*(blocker for scan in self.scans for blocker in scan.blockers), *self.outside.blockers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was given up, and what else should be known of the clusters; one sentence each."""
        of_clusters = (
            warning
            for scan in self.scans
            for warning in (
                *(
                    f"{scan.cluster}: {waived.kind} is waived ({waived.call}: {waived.seen.rstrip('.')}). "
                    "What only these objects use counts as unused."
                    for waived in scan.waived
                ),
                *(f"{scan.cluster}: {note}" for note in scan.notes),
            )
        )
        return (*of_clusters, *self.outside.warnings)

    def of_tag(self, repository: str, tag: str) -> tuple[ImageUse, ...]:
        """The uses that name this tag."""
        return self._by_tag.get(repository, {}).get(tag, ())

    def of_digest(self, repository: str, digest: Digest) -> tuple[ImageUse, ...]:
        """The uses that name (or run) this digest, not counting those that reach it through a tag or an index."""
        return self._by_digest.get(repository, {}).get(digest, ())

    def of_any(self, repository: str) -> tuple[ImageUse, ...]:
        """The uses of this repository that may mean any of its images (`ImageReference.is_open`)."""
        return self._open.get(repository, ())

    def tags(self, repository: str) -> frozenset[str]:
        """Every tag of this repository that a use names."""
        return frozenset(self._by_tag.get(repository, ()))

    def digests(self, repository: str) -> frozenset[Digest]:
        """Every digest of this repository that a use names."""
        return frozenset(self._by_digest.get(repository, ()))


Name = TypeVar("Name")
_Grouped = defaultdict[str, defaultdict[Name, list[ImageUse]]]


def _frozen(grouped: _Grouped[Name]) -> dict[str, dict[Name, tuple[ImageUse, ...]]]:
    return {repository: {name: tuple(uses) for name, uses in found.items()} for repository, found in grouped.items()}
