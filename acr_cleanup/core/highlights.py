"""The tags to delete that a reviewer should look at first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nlargest

from acr_cleanup.core.inventory import Manifest, Tag, closure
from acr_cleanup.core.references import Digest

EXAMPLES = 3
"""Tags of each repository for each question. A registry may have very many repositories."""
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PlannedTag:
    """
    A tag to delete.

    size: the listed bytes of its manifest and of the children that are deleted with it; 0 if its
        manifest is kept.
    is_new: the last run would not have deleted it.
    """

    name: str
    pushed: datetime
    size: int
    governed_by: str
    is_new: bool


def highlights(
    planned: Iterable[tuple[Tag, str]], manifests: Iterable[Manifest], new: Collection[str]
) -> tuple[PlannedTag, ...]:
    """
    The tags nearest to the limit of their rule, the tags that free most, and new ones.

    planned: the tags to delete, each with the rule that governs it.
    manifests: the manifests to delete.
    new: names of tags that the last run would not have deleted.
    """
    deleted = {manifest.digest: manifest for manifest in manifests}
    by_rule: defaultdict[str, list[Tag]] = defaultdict(list)
    for tag, rule in planned:
        by_rule[rule].append(tag)
    examples = (
        PlannedTag(tag.name, tag.updated_at or _NEVER, size_with_children(tag.digest, deleted), rule, tag.name in new)
        for rule, tags in by_rule.items()
        for tag in _examples(tags, deleted, new)
    )
    return tuple(examples)


def _examples(tags: Sequence[Tag], deleted: Mapping[Digest, Manifest], new: Collection[str]) -> Iterable[Tag]:
    def push(tag: Tag) -> tuple[datetime, str]:
        return tag.updated_at or _NEVER, tag.name

    newest = nlargest(EXAMPLES, tags, key=push)
    largest = nlargest(EXAMPLES, tags, key=lambda tag: size_with_children(tag.digest, deleted))
    first_seen = nlargest(EXAMPLES, (tag for tag in tags if tag.name in new), key=push) if new else ()
    return dict.fromkeys((*newest, *largest, *first_seen))


def size_with_children(digest: Digest, deleted: Mapping[Digest, Manifest]) -> int:
    """The listed bytes of a manifest and of its children, without those that are not deleted."""
    manifest = deleted.get(digest)
    if manifest is None or not manifest.children:
        return 0 if manifest is None else manifest.size
    family = closure((digest,), lambda member: deleted[member].children if member in deleted else ())
    return sum(deleted[member].size for member in family & deleted.keys())
