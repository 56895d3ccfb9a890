"""The compact findings of one object, in which tags are looked up later. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from acr_cleanup.core.workload import Workload

CHARTS = "//charts"
"""The key under which it is filed that charts come from our registry."""

BIG = 64 << 10
"""Bytes of words beyond which an object is not put into the table of all words."""


@dataclass(slots=True)
class NameFinding:
    """
    The findings about one name in one object.

    written: the name as the object writes it. place: the field of its first occurrence.
    beside, near: words that may be a tag, in the plain form, with their field.
    has_tag: a neighbouring field gives its tag, even if the registry lacks that tag.
    open: the field in which every tag of the name may be meant. open_chart: the same, but only if charts come from our registry.
    is_partial: the version is a part of one (`0.4`). Every tag may be meant if the registry lacks that one.
    bare: the field that names it behind our host, without tag.
    is_image: the field is the image of a container, so labels with a version count for it.
    """

    written: str
    place: str
    beside: dict[str, str] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)
    open: str = ""
    open_chart: str = ""
    is_partial: bool = False
    bare: str = ""
    has_tag: bool = False
    is_image: bool = False


@dataclass(slots=True, frozen=True)
class ObjectMentions:
    """
    The findings about the registry in one object.

    names: by key (`names.keys_of`). The key of a folder is its path and a slash.
    words: its distinctive words and parts of tags. letters: its further words; None for any. Each packed in one text.
    versions: words of version labels, which count only for the images of its containers.
    """

    workload: Workload
    names: dict[str, NameFinding]
    words: bytes
    letters: bytes | None
    versions: tuple[str, ...] = ()

    def reduced(self) -> ObjectMentions:
        """
        The findings in a large object, in less memory, with its words of letters alone taken as any such words.

        If most words are others, all are left out, and every tag of its names may be meant.
        """
        sample = self.words[:BIG].split()
        if 2 * sum(map(bytes.isalpha, sample)) > len(sample):
            words = b" ".join({word for word in self.words.split() if not word.isalpha()})
            return ObjectMentions(self.workload, self.names, words, None, self.versions)
        names = {key: replace(finding, open=finding.open or finding.place) for key, finding in self.names.items()}
        return ObjectMentions(self.workload, names, b"", b"", self.versions)
