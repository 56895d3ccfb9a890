"""
Images of other registries that a cluster pulls from ours, because a webhook rewrites the pods. Pure.

The upstream host and the folder of our registry are learnt where a pod runs our image under a template that names another
host. Configured mirrors are applied when an object is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_mentions import NameFinding, ObjectMentions
from acr_cleanup.clusters.images.pod_specs import Findings
from acr_cleanup.clusters.images.words import plain_form
from acr_cleanup.core.references import ImageReference
from acr_cleanup.core.workload import Workload


def mirrored_mentions(found: Findings, names: Names) -> Iterator[ObjectMentions]:
    """What the containers of one cluster name in our registry by the name of another, as far as a rewriting is learnt."""
    folders = learnt(found)
    for image in found.foreign:
        for folder in folders.get(image.reference.host, ()):
            repository = f"{folder}/{image.reference.repository}".lstrip("/")
            if repository in names.repositories:
                words = filter(None, (image.reference.tag, image.reference.digest))
                beside = {plain_form(word): image.field for word in words}
                finding = NameFinding(str(image.reference).partition(":")[0], image.field, beside, is_image=True)
                yield ObjectMentions(image.workload, {f"/{repository}": finding}, b"", b"")


def learnt(found: Findings) -> dict[str, frozenset[str]]:
    """Upstream host -> folders of our registry, from containers that name an image there and run the same one from ours."""
    ours: defaultdict[tuple[Workload, str], set[ImageReference]] = defaultdict(set)
    for use in found.uses:
        if use.running:
            ours[use.workload, use.container].add(use.reference)
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for image in found.foreign:
        upstream = image.reference
        for reference in ours.get((image.workload, image.container), ()):
            same = reference.tag == upstream.tag or (reference.digest and reference.digest == upstream.digest)
            folder = f"/{reference.repository}".removesuffix(f"/{upstream.repository}")
            if same and folder != f"/{reference.repository}":
                folders[upstream.host].add(folder.strip("/"))
    return {host: frozenset(of) for host, of in folders.items()}
