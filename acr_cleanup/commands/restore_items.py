"""The items to restore, one for each digest, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.records.journal_reader import Deletion
from acr_cleanup.registry.wire import Document


@dataclass(slots=True)
class RestoreItem:
    """All deletions of one digest in a repository."""

    digest: Digest
    manifest_deleted: bool = False
    tags: list[str] = field(default_factory=list)
    """Tags to restore."""
    locks: list[Lock] = field(default_factory=list)
    """Locks to restore."""
    deleted_before: set[Digest] = field(default_factory=set)
    """Manifests that were deleted before this one; they are restored after it."""
    document: Document | None = None


def items_of(deletions: Iterable[Deletion]) -> list[RestoreItem]:
    """Return the items of these deletions."""
    items: dict[Digest, RestoreItem] = {}
    for deletion in deletions:
        if deletion.outcome is OutcomeKind.GONE:
            # Another client deleted it, so this run has nothing to restore.
            continue
        item = items.setdefault(deletion.digest, RestoreItem(deletion.digest))
        item.locks += deletion.locks
        if deletion.outcome in {None, OutcomeKind.DELETED, OutcomeKind.FAILED}:
            # A deletion that failed or has no outcome may have happened: the registry is asked.
            item.manifest_deleted = item.manifest_deleted or deletion.deletes_manifest
            item.tags += deletion.tags
            item.deleted_before.update(deletion.after)
        if deletion.document is not None:
            item.document = Document(deletion.document, deletion.media_type)
    return list(items.values())


def waves(items: Sequence[RestoreItem]) -> Iterator[list[RestoreItem]]:
    """
    Yield items that can be restored at the same time, in the reverse order of the deletion.

    Children come before their index, and a subject before its referrers.
    """
    by_digest = {item.digest: item for item in items}
    order: TopologicalSorter[Digest] = TopologicalSorter({item.digest: () for item in items})
    for item in items:
        for earlier in item.deleted_before & by_digest.keys():
            order.add(earlier, item.digest)
    try:
        order.prepare()
    except CycleError:
        # Only an edited journal has a cycle. Restore one by one, from its end.
        yield from ([item] for item in reversed(items))
        return
    while order.is_active():
        ready = order.get_ready()
        yield [by_digest[digest] for digest in ready]
        order.done(*ready)
