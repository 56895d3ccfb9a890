"""The digests of a repository that something names: a use, a past use, a mention, the keep list."""

from __future__ import annotations

from collections.abc import Mapping

from acr_cleanup.core.policy import Evidence, Rule, listed_images
from acr_cleanup.core.references import Digest

NAMED_BY = {
    Rule.IN_USE: "a workload runs or pins it",
    Rule.USED_RECENTLY: "an earlier run saw it in use",
    Rule.MENTIONED: "an object of a cluster contains its digest",
    Rule.PULLED: "the log of the registry has a pull of it",
    Rule.KEEP_LIST: "the keep list names it",
}


def named_digests(evidence: Evidence) -> frozenset[Digest]:
    """Every digest here that a use, a past use, a mention, a pull or the keep list names."""
    inventory = evidence.inventory
    named = evidence.usage.digests(inventory.name) | evidence.mentions.by_digest.keys()
    named |= evidence.pulls.by_digest.keys()
    return named | listed_images(evidence).digests.keys() | evidence.past_uses.by_digest.keys()


def digests_in_use(evidence: Evidence) -> Mapping[Digest, Rule]:
    """
    Every digest in the index families of those that are used, mentioned or on the keep list, with
    the rule that keeps it.

    A runtime may report the digest of an index or of the child that it chose.
    """
    inventory = evidence.inventory
    families = dict.fromkeys(inventory.families(evidence.pulls.by_digest), Rule.PULLED)
    families |= dict.fromkeys(listed_images(evidence).digests, Rule.KEEP_LIST)
    families |= dict.fromkeys(inventory.families(evidence.mentions.by_digest), Rule.MENTIONED)
    families |= dict.fromkeys(inventory.families(evidence.past_uses.by_digest), Rule.USED_RECENTLY)
    return families | dict.fromkeys(inventory.families(evidence.usage.digests(inventory.name)), Rule.IN_USE)
