"""The findings in a large object, in less memory."""

from __future__ import annotations

from dataclasses import replace

from acr_cleanup.clusters.images.object_mentions import NameFinding, ObjectMentions
from acr_cleanup.core.workload import Workload

WORKLOAD = Workload("production", "ops", "ConfigMap", "log")
VERSIONS = ("1.2",)


def mentions(words: bytes) -> ObjectMentions:
    names = {"web": NameFinding("web", "data.log"), "api": NameFinding("api", "data.log", open="data.open")}
    return ObjectMentions(WORKLOAD, names, words, b"letters", VERSIONS)


def test_words_of_letters_are_dropped_if_most_are() -> None:
    found = mentions(b"alpha beta gamma delta v1 v1 v2")
    reduced = found.reduced()
    assert sorted(reduced.words.split()) == [b"v1", b"v2"]
    assert replace(reduced, words=b"") == ObjectMentions(WORKLOAD, found.names, b"", None, VERSIONS)


def test_every_tag_may_be_meant_if_most_words_are_others() -> None:
    """Also if half of them are. A name that is open already keeps its field."""
    for words in (b"v1 v2 alpha", b"v1 alpha"):
        reduced = mentions(words).reduced()
        assert {key: finding.open for key, finding in reduced.names.items()} == {"web": "data.log", "api": "data.open"}
        assert (reduced.workload, reduced.words, reduced.letters, reduced.versions) == (WORKLOAD, b"", b"", VERSIONS)
