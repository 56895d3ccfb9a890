"""
One API object -> its uses of our registry's images, the other names of the registry in it, and unreadable values. Pure.

Every kind that can start a pod has a pod spec at a fixed path. `KINDS` lists them, and one walk reads all of them:
containers, init containers (sidecars are among them), ephemeral containers and image volumes. A pod's status is read as
well: a tag may have moved since the node pulled, the imageID has not. All other text of an object, and all text of objects
of any other kind, is read with the names of the registry (`mentions`).
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from acr_cleanup.clusters.images.mention_index import DigestPlace
from acr_cleanup.clusters.images.mentions import Reading, read_object
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_mentions import BIG, ObjectMentions
from acr_cleanup.clusters.images.object_texts import CONTAINER_LISTS
from acr_cleanup.clusters.images.patterns import VERIFYING_GROUPS
from acr_cleanup.clusters.images.workload_texts import STATUS_LISTS, readable
from acr_cleanup.core.references import Digest, ImageReference, RegistryHost, parse_image_id, parse_reference
from acr_cleanup.core.usage import Blocker, ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.errors import InvalidReference
from acr_cleanup.quoting import quoted


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of API object. `pod_spec` is the path of the pod spec that it holds, empty if it holds none at a known place.

    `always_served`: every API server that has the kind's group version serves it.
    """

    name: str
    resource: str
    group: str
    pod_spec: tuple[str, ...] = ()
    always_served: bool = True
    version: str = "v1"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        """Where the group version of this kind is served: `/api/v1`, `/apis/batch/v1`."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def path(self) -> str:
        """Where all objects of this kind, of all namespaces, are listed."""
        return f"{self.group_path}/{self.resource}"

    def __str__(self) -> str:
        """As kubectl names it: `cronjobs.batch`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


_TEMPLATE = ("spec", "template", "spec")

POD = Kind("Pod", "pods", "", ("spec",))
KINDS = (
    POD,
    Kind("ReplicationController", "replicationcontrollers", "", _TEMPLATE),
    Kind("Deployment", "deployments", "apps", _TEMPLATE),
    Kind("ReplicaSet", "replicasets", "apps", _TEMPLATE),
    Kind("StatefulSet", "statefulsets", "apps", _TEMPLATE),
    Kind("DaemonSet", "daemonsets", "apps", _TEMPLATE),
    Kind("Job", "jobs", "batch", _TEMPLATE),
    Kind("CronJob", "cronjobs", "batch", ("spec", "jobTemplate", "spec", "template", "spec")),
    # A rollback of a StatefulSet or DaemonSet starts these.
    Kind(
        "ControllerRevision", "controllerrevisions", "apps", ("data", "spec", "template", "spec"), always_served=False
    ),
    Kind("PodTemplate", "podtemplates", "", ("template", "spec"), always_served=False),
)


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """The image of another registry in a container. A mirror in our registry may have it."""

    workload: Workload
    container: str
    field: str
    reference: ImageReference


MOST_HELD = 128 << 20
"""Bytes of words beyond which large objects are held in a reduced form."""


@dataclass(slots=True)
class Findings:
    """
    The findings in one object, or in many.

    notes: sentences about values that name our registry, but no recognisable repository.
    mentions: the names in each object. digests: each digest that any of them contains, with the first object and its field.
    foreign: images of other registries in containers.
    """

    uses: dict[ImageUse, None] = field(default_factory=dict)
    blockers: dict[Blocker, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    mentions: list[ObjectMentions] = field(default_factory=list)
    digests: dict[Digest, DigestPlace] = field(default_factory=dict)
    foreign: dict[ForeignImage, None] = field(default_factory=dict)
    _held: int = field(default=0, compare=False, repr=False)

    def add(self, other: Findings) -> None:
        """Add the findings of another object. Replicas of one workload find the same, once."""
        self.uses.update(other.uses)
        self.blockers.update(other.blockers)
        self.notes.update(other.notes)
        for held in other.mentions:
            mentions = held
            if len(mentions.words) > BIG and self._held > MOST_HELD:
                mentions = mentions.reduced()
            self._held += len(mentions.words)
            self.mentions.append(mentions)
        for digest, place in other.digests.items():
            self.add_digest(digest, place)
        self.foreign.update(other.foreign)

    def add_digest(self, digest: Digest, place: DigestPlace) -> None:
        """An object that is no use of the digest says more than one that is."""
        known = self.digests.get(digest)
        if known is None or (known.used_in and not place.used_in):
            self.digests[digest] = place


class _Place(NamedTuple):
    """A place in an object where an image is named. `value` may have any type."""

    field: str
    container: str
    value: Any
    running: bool = False
    status: bool = False


def image_uses(obj: Mapping[str, Any], kind: Kind, cluster: str, names: Names) -> Findings:
    """
    Every use of an image of the registry in one object of `kind`, and what else it names.

    The image fields of a pod spec hold a reference each: text there that cannot be parsed is a blocker if it contains the
    registry's host. So is anything else in place of an image or of a list of containers. Never raises for what an object
    holds.
    """
    workload = _workload(obj, kind, cluster)
    places = list(_places(obj, kind)) if kind.pod_spec else []
    holder = _holder(obj, kind, workload)
    found = _pod_uses(workload, places, names, holder)
    is_policy = kind.group in VERIFYING_GROUPS and not kind.name.startswith("Mutating")
    texts = readable(obj, names.registry, is_pod=kind is POD) if kind.pod_spec else obj
    reading = read_object(texts, workload, names, is_policy=is_policy)
    _add(found, reading, workload, names, known={place.field for place in places}, holder=holder)
    return found


def uses_in_document(value: Any, workload: Workload, field: str, names: Names) -> Findings:
    """
    Read a document: text, or a decoded value. `field`: its place in the object, with which the fields of the findings begin.

    Never raises for the content of a document, and adds no blockers.
    """
    found = Findings()
    _add(found, read_object(value, workload, names, field=field), workload, names, known=())
    return found


def _add(
    found: Findings, reading: Reading, workload: Workload, names: Names, *, known: Collection[str], holder: str = ""
) -> None:
    """`known`: fields whose uses are found already. Containers may also be in custom resources, and in JSON in texts."""
    for image in reading.images:
        if not names.is_ours(image.reference.host):
            found.foreign[ForeignImage(workload, image.container, image.field, image.reference)] = None
        elif image.field not in known:
            found.uses[ImageUse(workload, image.container, image.field, image.text, image.reference, holder=holder)] = (
                None
            )
        # That another registry has the same content says nothing about ours.
        if image.reference.digest is not None and names.is_ours(image.reference.host):
            found.add_digest(image.reference.digest, DigestPlace(workload, image.field, image.reference.repository))
    if reading.mentions is not None:
        found.mentions.append(reading.mentions)
    for digest, field_of_digest in reading.digests.items():
        found.add_digest(digest, DigestPlace(workload, field_of_digest))
    for place, text in reading.unclear.items():
        name = f"{workload.namespace}/{workload.kind}/{workload.name}".removeprefix("/")
        found.notes[
            f"{quoted(name)} names our registry in {quoted(place)}, but no recognisable repository: "
            f"{quoted(text, 80)!r}. Nothing is kept for it."
        ] = None


def _pod_uses(workload: Workload, places: list[_Place], names: Names, holder: str) -> Findings:
    """Read the image fields of a pod spec and of a pod's status."""
    found = Findings()
    # The repositories that each container names, to which a digest in its status belongs.
    named: dict[str, dict[tuple[str, str], ImageReference]] = {}
    for place in places:
        for reference in _references(place, names):
            repository = reference.host, reference.repository
            named.setdefault(place.container, {}).setdefault(repository, reference)

    for place in places:
        if isinstance(place.value, str):
            references = list(_references(place, names))
            if place.status and (digest := _digest(place.value)) is not None:
                # A bare digest names no repository, and containerd may report another repository with the same content
                # (https://github.com/containerd/containerd/issues/6286): the digest is in use in the container's own as well.
                owners = list(named.get(place.container, {}).values())
                if owners:
                    found.add_digest(digest, DigestPlace(workload, place.field, owners[0].repository))
                references += [replace(owner, tag=None, digest=digest) for owner in owners]
            for reference in references:
                use = ImageUse(workload, place.container, place.field, place.value, reference, place.running, holder)
                found.uses[use] = None
            unreadable = _parse(place.value, place.status) is _UNREADABLE and names.registry.mentioned_in(place.value)
        else:
            unreadable = _mentions(place.value, names.registry)
        if unreadable:
            found.blockers[_blocker(workload, place)] = None
    return found


def _places(obj: Mapping[str, Any], kind: Kind) -> Iterator[_Place]:
    yield from _spec_places(_at(obj, kind.pod_spec), ".".join(kind.pod_spec), pod=kind is POD)
    if kind is POD:
        yield from _status_places(obj.get("status"))


def _spec_places(spec: Any, prefix: str, *, pod: bool) -> Iterator[_Place]:
    if not isinstance(spec, Mapping):
        yield _Place(prefix, "", spec)
        return
    for name in CONTAINER_LISTS:
        running = pod and name != "ephemeralContainers"
        for index, container in _elements(spec.get(name)):
            if isinstance(container, Mapping):
                path = f"{prefix}.{name}[{index}].image"
                yield _Place(path, _text(container.get("name")), container.get("image"), running=running)
            else:
                yield _Place(f"{prefix}.{name}", "", container)
    for index, volume in _elements(spec.get("volumes")):
        image = volume.get("image") if isinstance(volume, Mapping) else volume
        name = _text(volume.get("name")) if isinstance(volume, Mapping) else ""
        reference = image.get("reference") if isinstance(image, Mapping) else image
        yield _Place(f"{prefix}.volumes[{index}].image.reference", name, reference)


def _status_places(status: Any) -> Iterator[_Place]:
    if not isinstance(status, Mapping):
        yield _Place("status", "", status, status=True)
        return
    for name in STATUS_LISTS:
        for index, container in _elements(status.get(name)):
            if isinstance(container, Mapping):
                for key in ("image", "imageID"):
                    path = f"status.{name}[{index}].{key}"
                    yield _Place(path, _text(container.get("name")), container.get(key), status=True)
            else:
                yield _Place(f"status.{name}", "", container, status=True)


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path, or the value that blocks the path if it is not an object."""
    for key in path:
        if not isinstance(obj, Mapping):
            return obj
        obj = obj.get(key)
    return obj


def _elements(value: Any) -> Iterator[tuple[int, Any]]:
    """The elements of a list; for what should be a list and is not, that thing itself. Null is an empty list in Go."""
    if isinstance(value, list):
        yield from enumerate(value)
    elif value is not None:
        yield 0, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _workload(obj: Mapping[str, Any], kind: Kind, cluster: str) -> Workload:
    """
    The top owner where it is cheaply known, otherwise the object itself.

    A pod of a Deployment is owned by a ReplicaSet whose name is the Deployment's and the hash in the pod's label.
    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
    """
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    labels = metadata.get("labels")
    template_hash = _text(labels.get("pod-template-hash")) if isinstance(labels, Mapping) else ""

    owner_kind, owner_name = kind.name, _text(metadata.get("name"))
    for _, owner in _elements(metadata.get("ownerReferences")):
        if isinstance(owner, Mapping) and owner.get("controller") is True and _text(owner.get("kind")):
            owner_kind, owner_name = _text(owner.get("kind")), _text(owner.get("name"))
            break
    if kind is POD and owner_kind == "ReplicaSet" and template_hash and owner_name.endswith(f"-{template_hash}"):
        owner_kind, owner_name = "Deployment", owner_name.removesuffix(f"-{template_hash}")
    return Workload(cluster, _text(metadata.get("namespace")), owner_kind, owner_name)


def _holder(obj: Mapping[str, Any], kind: Kind, workload: Workload) -> str:
    """The object itself, if its uses are those of its owner."""
    metadata = obj.get("metadata")
    name = _text(metadata.get("name")) if isinstance(metadata, Mapping) else ""
    return "" if (kind.name, name) == (workload.kind, workload.name) else f"{kind.name}/{name}"


class _Unreadable:
    """Stands for text that no one can parse."""


_UNREADABLE = _Unreadable()


# The same few images are named by thousands of pods.
@lru_cache(maxsize=8192)
def _parse(text: str, status: bool) -> ImageReference | Digest | _Unreadable | None:
    if not text.strip():
        return None
    try:
        return parse_image_id(text) if status else parse_reference(text)
    except InvalidReference:
        return _UNREADABLE


def _references(place: _Place, names: Names) -> Iterator[ImageReference]:
    """The reference at this place, if it is to our registry."""
    if isinstance(place.value, str):
        parsed = _parse(place.value, place.status)
        if isinstance(parsed, ImageReference) and names.is_ours(parsed.host):
            yield parsed


def _digest(text: str) -> Digest | None:
    parsed = _parse(text, True)
    if isinstance(parsed, ImageReference):
        return parsed.digest
    return parsed if isinstance(parsed, str) else None


def _mentions(value: Any, registry: RegistryHost) -> bool:
    """Is our registry written anywhere in this value?"""
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            if registry.mentioned_in(each):
                return True
        elif isinstance(each, Mapping):
            rest += (*each.keys(), *each.values())
        elif isinstance(each, list):
            rest += each
    return False


def _blocker(workload: Workload, place: _Place) -> Blocker:
    container = f" of `{quoted(place.container, 63)}`" if place.container else ""
    if isinstance(place.value, str):
        thing = repr(quoted(place.value))
    else:
        thing = type(place.value).__name__
        with suppress(RecursionError):
            thing += f" {quoted(place.value)}"
    name = f"{workload.namespace}/{workload.kind}/{workload.name}".removeprefix("/")
    return Blocker(
        where=workload.cluster,
        call=f"reading {quoted(name)}",
        seen=f"{place.field}{container} is {thing}: no image reference, but it names our registry.",
        remedy="Correct the image there, or delete the object; until then it is unknown which image it needs.",
    )
