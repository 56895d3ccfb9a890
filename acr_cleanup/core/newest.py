"""The newest tags of a repository, as `keep_last` counts them."""

from __future__ import annotations

from collections.abc import Iterable

from acr_cleanup.core.choices import KeepLastOf
from acr_cleanup.core.inventory import RepositoryInventory, Tag
from acr_cleanup.core.references import Digest
from acr_cleanup.core.selection import captured


def may_count(inventory: RepositoryInventory, tag: Tag, of: KeepLastOf) -> bool:
    """
    Does this tag count as a version? Otherwise it would take the place of the version it belongs to.

    An artifact that was not read does not count: it may be attached to another manifest.
    """
    if tag.subject is not None or tag.updated_at is None:
        return False
    manifest = inventory.manifests.get(tag.digest)
    if of is KeepLastOf.TAGS or manifest is None or manifest.is_image or not manifest.may_have_subject:
        return True
    return manifest.known and manifest.subject not in inventory.manifests


def newest_tags(tags: Iterable[Tag], number: int, of: KeepLastOf) -> list[Tag]:
    """
    The tags of the newest images, or the newest tags.

    tags: tags that count, each with the time of its last push.
    """
    # Names break ties, so that the order of the input does not matter.
    ordered = sorted(tags, key=lambda tag: (tag.updated_at, tag.name), reverse=True)
    if of is KeepLastOf.TAGS:
        return ordered[:number]
    digests: set[Digest] = set(list(dict.fromkeys(tag.digest for tag in ordered))[:number])
    return [tag for tag in ordered if tag.digest in digests]


def counted_with(keep_last_by: str, name: str) -> str:
    """
    The group in which `keep_last` counts a tag of this name, in words.

    Different groups have different words.
    """
    if not keep_last_by:
        return "its repository"
    text = captured(keep_last_by, name)
    return "the tags that keep-last-by does not match" if text is None else f"`{text}`"
