"""The compact findings of one object, in which tags are looked up later. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from acr_cleanup.core.workload import Workload

CHARTS = "//charts"
"""The key under which it is filed that charts come from our registry."""


@dataclass(slots=True)
class NameFinding:
    """
    The findings about one name in one object.

    written: the name as it is written; place: the field of its first occurrence.
    beside, near: words that may be a tag, in the plain form, with the field that holds them.
    has_tag: a tag stands in a field beside it, whether the registry has that or not.
    open: the field in which every tag of the name may be meant. open_chart: likewise, if charts come from our registry.
    is_partial: the version is a part of one (`0.4`), so every tag may be meant only if the registry lacks that tag.
    bare: the field that names it behind our host, without tag.
    is_image: the name stands in the image field of a container: labels that give its version count.
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

    names: by key (`names.keys_of`); a folder is filed under itself and a slash.
    words: its distinctive words and parts of tags, and its further words, both packed in one text each.
    versions: likewise, those that count only for the images of its own containers.
    """

    workload: Workload
    names: dict[str, NameFinding]
    words: bytes
    letters: bytes
    versions: tuple[str, ...] = ()
