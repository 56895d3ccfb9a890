"""The oracle of `probation`, a second implementation: every candidate must wait."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime

from tests.helpers.oracle import Deletions, Policy, Uses, expected_deletions
from tests.helpers.oracle_repository import Repository


def expected_after(
    earlier: Sequence[Deletions], repository: Repository, uses: Uses, policy: Policy, now: datetime
) -> Deletions:
    """
    Return what the rule deletes of that which each earlier run would have deleted without probation.

    A tag waits, too, if its manifest is kept because of something that waits, and would have no tag
    left.

    earlier: the deletions of these runs. Without one, nothing waits.
    """
    candidates = expected_deletions(repository, uses, policy, now)
    if not earlier:
        return candidates
    kept = deepcopy(uses)
    tags = {tag for tag in candidates.tags if not all(tag in deletions.tags for deletions in earlier)}
    alone = {digest for digest in candidates.untagged if not all(digest in of.untagged for of in earlier)}
    kept.kept_digests |= {(repository.name, digest) for digest in alone}
    while True:
        kept.kept_tags |= {(repository.name, tag) for tag in tags}
        left = expected_deletions(repository, kept, policy, now)
        untagged = {
            digest for digest in candidates.manifests - left.manifests if repository.tags_of(digest) <= left.tags
        }
        tags = {tag for tag in left.tags if repository.tags[tag].digest in untagged}
        if not tags:
            return left
