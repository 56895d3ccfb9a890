"""
Images of other registries that a cluster pulls from ours, because a webhook rewrites the pods. Pure.

The rewriting is learnt where a pod runs our image under a template that names another registry. Configured mirrors are
applied when an object is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_mentions import NameFinding, ObjectMentions
from acr_cleanup.clusters.images.pod_specs import Findings
from acr_cleanup.clusters.images.words import plain_form
from acr_cleanup.core.references import ImageReference


def mirrored_mentions(found: Findings, names: Names) -> Iterator[ObjectMentions]:
    """Yield the images of other registries that the pods of this cluster pull from ours, by the learnt rewriting."""
    folders = learnt(found)
    for image in found.foreign:
        for repository in _rewritten(image.reference, folders):
            if repository in names.repositories:
                words = filter(None, (image.reference.tag, image.reference.digest))
                beside = {plain_form(word): image.field for word in words}
                finding = NameFinding(str(image.reference).partition(":")[0], image.field, beside, is_image=True)
                yield ObjectMentions(image.workload, {f"/{repository}": finding}, b"", b"")


def learnt(found: Findings) -> dict[str, frozenset[str]]:
    """
    Upstream host and folder -> folders of our registry, from containers that run the image of a template from ours.

    A pod and its template are in one namespace, and have containers of one name. The name of one workload contains that of
    the other: an owner may be two objects away (`nightly`, `nightly-28391`).
    """
    ours: defaultdict[tuple[str, str], set[tuple[str, ImageReference]]] = defaultdict(set)
    for use in found.uses:
        if use.running:
            ours[use.workload.namespace, use.container].add((use.workload.name, use.reference))
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for image in found.foreign:
        template, upstream = image.workload, image.reference
        for name, reference in ours.get((template.namespace, image.container), ()):
            if name not in template.name and template.name not in name:
                continue
            theirs, own = upstream.repository.split("/"), reference.repository.split("/")
            same = _common_end(theirs, own)
            # The webhook may also replace the tag: by a digest, or by that of a patched image.
            is_version = reference.tag in (None, upstream.tag)
            if same == len(theirs) or (same and is_version):
                place = "/".join((upstream.host, *theirs[: len(theirs) - same]))
                folders[place].add("/".join(own[: len(own) - same]))
    return {place: frozenset(of) for place, of in folders.items()}


def _common_end(first: list[str], second: list[str]) -> int:
    """The number of equal components at the end of two paths."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))


def _rewritten(reference: ImageReference, folders: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """The repositories of ours that may hold this image."""
    parts = [reference.host, *reference.repository.split("/")]
    for index in range(1, len(parts)):
        for folder in folders.get("/".join(parts[:index]), ()):
            yield "/".join((*filter(None, (folder,)), *parts[index:]))
