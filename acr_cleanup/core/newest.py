"""The newest tags of a repository, as `keep_last` counts them."""

from __future__ import annotations

from collections.abc import Iterable

from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.references import Digest
from acr_cleanup.core.retention import KeepLastOf
from acr_cleanup.core.selection import captured


def may_count(inventory: RepositoryInventory, tag: Tag, of: KeepLastOf) -> bool:
    """
    Does this tag count as a version? Otherwise it would take the place of the version it belongs to.

    An artifact that was not read does not count: it may be attached to another manifest.
    """
    manifest = inventory.table.traits_of(tag.digest)
    if tag.updated_at is None or not (tag.subject is None or _is_copy(inventory, tag)):
        return False
    if of is KeepLastOf.TAGS or manifest is None or manifest.is_image or not manifest.may_have_subject:
        return True
    return manifest.known and manifest.subject not in inventory.manifests


def _is_copy(inventory: RepositoryInventory, tag: Tag) -> bool:
    """
    Is this an image that was copied by its digest, and not a companion of the digest in its name?

    A copy of one platform has the digest of an index that was not copied in its name.
    """
    manifest = inventory.table.traits_of(tag.digest)
    runs = manifest is not None and bool(manifest.platform) and "." not in tag.name
    return tag.subject == tag.digest or (runs and tag.subject not in inventory.manifests)


def newest_tags(inventory: RepositoryInventory, tags: Iterable[Tag], number: int, of: KeepLastOf) -> list[Tag]:
    """
    The tags of the newest images, or the newest tags.

    tags: tags of the inventory that count, each with the time of its last push.
    """
    # Names break ties, so that the order of the input does not matter.
    ordered = sorted(tags, key=lambda tag: (tag.updated_at, tag.name), reverse=True)
    if of is KeepLastOf.TAGS:
        return ordered[:number]
    images = [_image(inventory, tag.digest) for tag in ordered]
    newest = set(list(dict.fromkeys(images))[:number])
    return [tag for tag, image in zip(ordered, images, strict=True) if image in newest]


def _image(inventory: RepositoryInventory, digest: Digest) -> Digest:
    """The index of which this manifest is a platform: the only tagged one that lists it. Otherwise itself."""
    indexes = [index for index in inventory.parents_of.get(digest, ()) if index in inventory.tags_of]
    return _image(inventory, indexes[0]) if len(indexes) == 1 else digest


def counted_with(keep_last_by: str, name: str) -> str:
    """
    The group in which `keep_last` counts a tag of this name, in words.

    Different groups have different words.
    """
    if not keep_last_by:
        return "its repository"
    text = captured(keep_last_by, name)
    return "the tags that keep-last-by does not match" if text is None else f"`{text}`"
