"""The digests that something names: each source alone is enough."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from acr_cleanup.core.history import PastUse, PastUses
from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.mentions import How, ListedNames, Mention, RepositoryMentions
from acr_cleanup.core.named import digests_in_use, named_digests
from acr_cleanup.core.policy import Evidence, Rule
from acr_cleanup.core.pulls import Pull, PullLog
from acr_cleanup.core.retention import RetentionPolicy
from acr_cleanup.core.usage import ClusterScan, UsageIndex
from acr_cleanup.core.workload import Workload
from tests.core.test_history import Records
from tests.helpers.generated_inventories import NOW, REPOSITORY, d, image, inventory, use

WEEK = timedelta(days=7)


class Mentions:
    """Mentions one digest. Implements `MentionSource`."""

    is_empty = False

    def of(self, listed: ListedNames) -> RepositoryMentions:
        found = Mention(Workload("production", "shop", "ConfigMap", "x"), "data.x", "", d("mentioned"), How.DIGEST)
        return (
            RepositoryMentions({}, {d("mentioned"): (found,)}, ())
            if listed.repository == REPOSITORY
            else RepositoryMentions()
        )


SOURCES = {
    "used": Rule.IN_USE,
    "past": Rule.USED_RECENTLY,
    "mentioned": Rule.MENTIONED,
    "pulled": Rule.PULLED,
    "listed": Rule.KEEP_LIST,
}


def evidence() -> Evidence:
    """A repository in which each source names another digest, and one more that nothing names."""
    repository = inventory([], [image(name) for name in (*SOURCES, "unnamed")])
    scan = ClusterScan("production", (use(None, "used"),), mentions=Mentions())
    used = replace(
        UsageIndex.of([scan], NOW),
        history=Records(past=PastUses({}, {d("past"): PastUse(NOW - timedelta(days=1), "someone")}, None)),
        pulls=PullLog.of([Pull(REPOSITORY, "", d("pulled"), NOW - timedelta(days=1), 1, ())]),
    )
    keep = (KeepEntry("listed", REPOSITORY, digest=d("listed")),)
    return Evidence(repository, used, RetentionPolicy(keep=keep, used_within=WEEK, pulled_within=WEEK), NOW)


def test_digest_that_one_source_names_is_named() -> None:
    assert named_digests(evidence()) == {d(name) for name in SOURCES}


def test_digest_that_one_source_names_has_its_rule() -> None:
    assert dict(digests_in_use(evidence())) == {d(name): rule for name, rule in SOURCES.items()}
