"""
Whole repositories, uses and policies for property tests, drawn from a small pool of difficult
cases.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from msgspec import structs

from acr_cleanup.core.inventory import LockState, Manifest, RepositoryInventory, Tag
from acr_cleanup.core.plan import RepositoryPlan
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.steps import Step, Untag
from acr_cleanup.core.usage import ImageUse
from tests.helpers.generated_inventories import (
    DOCKER_IMAGE,
    DOCKER_LIST,
    NOW,
    OCI_IMAGE,
    OCI_INDEX,
    REPOSITORY,
    d,
    use,
)

DIGESTS = [d(number) for number in range(1, 8)]
NAMES = [
    "1.0",
    "1.1",
    "latest",
    "pr-1",
    f"sha256-{DIGESTS[0][7:]}.sig",
    f"sha256-{DIGESTS[1][7:]}",
    f"sha256-{DIGESTS[2][7:]}.att",
]
AGES = st.sampled_from([None, -1, 0, 29, 30, 31, 400])
# (locked, delete_enabled, write_enabled): mostly no lock, two locks that can be restored, and one
# of an unknown kind.
LOCKS = st.sampled_from([*[(False, True, True)] * 6, (True, False, True), (True, True, False), (True, True, True)])
STRANGE = "application/vnd.example.future+json"
OPEN_USE = use(None, None, name="templated")
"""An open reference: it may mean any image."""


@st.composite
def inventories(draw: st.DrawFn) -> RepositoryInventory:
    """
    A repository with shared, nested and unknown indexes, referrers, locks, unreadable manifests and
    equal ages.
    """
    manifests: dict[Digest, Manifest] = {}
    doubtful = draw(st.booleans())
    kinds = ["image", "image", "index", "index", "referrer", "referrer", *(["ghost", "strange"] if doubtful else [])]
    for place, digest in enumerate(DIGESTS[: draw(st.integers(0, len(DIGESTS)))]):
        earlier = DIGESTS[:place]
        kind = draw(st.sampled_from(kinds)) if earlier else "image"
        age = draw(AGES)
        locked, delete, write = draw(LOCKS)
        manifest = Manifest(
            digest,
            DOCKER_IMAGE,
            size=100,
            updated_at=None if age is None else NOW - timedelta(days=age),
            locked=locked,
            delete_enabled=delete,
            write_enabled=write,
            known=True,
        )
        if kind == "index":
            children = tuple(draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)))
            media_type = draw(st.sampled_from([OCI_INDEX, DOCKER_LIST]))
            manifest = structs.replace(manifest, media_type=media_type, children=children)
            # A referrer may be an index, and may even list its own subject.
            if draw(st.integers(0, 2)) == 0:
                manifest = structs.replace(manifest, media_type=OCI_INDEX, subject=draw(st.sampled_from(earlier)))
        elif kind == "referrer":
            # The subject may be missing.
            subject = draw(st.sampled_from([*earlier, *earlier, d("nowhere")]))
            manifest = structs.replace(manifest, media_type=OCI_IMAGE, subject=subject)
        elif kind == "ghost":
            manifest = structs.replace(manifest, media_type=OCI_INDEX, known=False)
        elif kind == "strange":
            manifest = structs.replace(manifest, media_type=STRANGE, children=tuple(earlier[:1]), known=False)
        manifests[digest] = manifest
    tags = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        age = draw(AGES)
        updated_at = None if age is None else NOW - timedelta(days=age)
        tags.append(Tag(name, draw(st.sampled_from(DIGESTS)), updated_at, LockState(*draw(LOCKS))))
    return RepositoryInventory(REPOSITORY, tuple(tags), manifests, locked=draw(st.integers(0, 9)) == 0)


def all_old(repository: RepositoryInventory) -> RepositoryInventory:
    """
    The same repository with everything old, listed and readable, so that much of it is deleted.
    """
    long_ago = NOW - timedelta(days=100)
    manifests = {
        digest: structs.replace(
            manifest,
            updated_at=long_ago,
            known=True,
            media_type=manifest.media_type if manifest.known else OCI_INDEX,
        )
        for digest, manifest in repository.manifests.items()
    }
    tags = tuple(structs.replace(tag, updated_at=long_ago) for tag in repository.tags if tag.digest in manifests)
    return replace(repository, tags=tags, manifests=manifests, locked=False)


def repositories() -> st.SearchStrategy[RepositoryInventory]:
    return st.one_of(inventories(), inventories().map(all_old))


def named_uses() -> st.SearchStrategy[list[ImageUse]]:
    return st.lists(
        st.builds(
            lambda tag, digest: use(tag if tag or digest else "1.0", None if digest is None else digest),
            st.sampled_from([None, *NAMES]),
            st.sampled_from([None, *range(1, 8)]),
        ),
        max_size=3,
    )


def uses() -> st.SearchStrategy[list[ImageUse]]:
    """Uses of tags and digests, sometimes with an open reference."""
    return st.builds(lambda named, more: [*named, *more], named_uses(), st.sampled_from([*[[]] * 7, [OPEN_USE]]))


def policies() -> st.SearchStrategy[RetentionPolicy]:
    """Policies with each combination of the two options that delete more."""
    return st.builds(RetentionPolicy, delete_untagged=st.booleans(), include_locked=st.booleans())


def carried_out(
    repository: RepositoryInventory, repository_plan: RepositoryPlan, steps: Iterable[Step] | None = None
) -> RepositoryInventory:
    """
    The repository after the registry carried out these steps; None: all steps of the plan.

    Deleting a manifest also deletes its tags and its referrers.
    """
    tags = {tag.name: tag for tag in repository.tags}
    manifests = dict(repository.manifests)

    def remove(digest: Digest) -> None:
        manifests.pop(digest, None)
        for name in [name for name, tag in tags.items() if tag.digest == digest]:
            del tags[name]
        for referrer in repository.referrers_of.get(digest, ()):
            if referrer in manifests:
                remove(referrer)

    for step in repository_plan.steps if steps is None else steps:
        if isinstance(step, Untag):
            tags.pop(step.tag.name, None)
        else:
            remove(step.digest)
    return replace(repository, tags=tuple(tags.values()), manifests=manifests)
