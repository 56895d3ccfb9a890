"""
Look up the tags of a repository in the objects of one cluster. Pure.

The cost is that of the repository's tags and of the objects that name it, not of their product: words are found in one
table for all objects. Objects with very many words are not in the table: each repository that they name searches them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from acr_cleanup.clusters.images.large_search import ANY_LETTERS, LargeSearch, Unpacked, distinctive_parts, made_of
from acr_cleanup.clusters.images.names import keys_of, unfinished_of
from acr_cleanup.clusters.images.object_mentions import BIG, CHARTS, ObjectMentions
from acr_cleanup.clusters.images.words import is_distinctive, plain_form, spellings
from acr_cleanup.core.mentions import MOST_SHOWN, NO_MENTIONS, How, ListedNames, Mention, RepositoryMentions
from acr_cleanup.core.references import DEFAULT_TAG, Digest
from acr_cleanup.core.workload import Workload

_JOINTS = re.compile("[-_]").finditer
_UNPACKED_AT_ONCE, _KEYS_AT_ONCE = 32, 256
_MANY_NAMES = 16
# Bytes searched in large objects, and the cost of unpacking one compared with a search in it: half a minute in all.
_MOST_SEARCHED = 20 << 30
_UNPACKING = 10


class DigestPlace(NamedTuple):
    """An object that contains a digest, and the field. `used_in`: the repository in which this is a use of it."""

    workload: Workload
    field: str
    used_in: str = ""


class MentionIndex:
    """The mentions in one cluster. Implements `MentionSource`."""

    def __init__(self, objects: Iterable[ObjectMentions], digests: Mapping[Digest, DigestPlace] | None = None) -> None:
        self.objects = tuple(objects)
        self._digests = digests or {}
        self._by_key: defaultdict[str, list[int]] = defaultdict(list)
        self._table: dict[bytes, list[int]] | None = None
        self._big: frozenset[int] = frozenset()
        for index, mentions in enumerate(self.objects):
            for key in mentions.names:
                self._by_key[key].append(index)
        self._room = _MOST_SEARCHED
        self._unpacked = lru_cache(maxsize=_UNPACKED_AT_ONCE)(self._unpack)
        self._of_key = lru_cache(maxsize=_KEYS_AT_ONCE)(self._file)

    @property
    def is_empty(self) -> bool:
        return not (self.objects or self._digests)

    def of(self, listed: ListedNames) -> RepositoryMentions:
        found = _Found(listed)
        keys = [key for key in _all_keys(listed.repository) if key in self._by_key]
        if keys:
            forms = _by_form(listed.tags)
            for key in keys:
                self._named(key, listed, forms, found)
        for digest in self._digests.keys() & listed.digests if self._digests else ():
            place = self._digests[digest]
            if place.used_in != listed.repository:
                found.digest(digest, Mention(place.workload, place.field, "", digest, How.DIGEST))
        return found.done()

    def _named(self, key: str, listed: ListedNames, forms: Mapping[str, tuple[str, ...]], found: _Found) -> None:
        """Look up the tags of a repository in everything that is filed under one of its keys."""
        of_key = self._of_key(key)
        hits: set[int] = set()
        for word in _shared(of_key.words, forms):
            for index, how in of_key.words[word]:
                hits.add(index)
                found.tags(forms[word] or (word,), self._mention(index, key, word, how))
        for digest in of_key.words.keys() & listed.digests:
            for index, how in of_key.words[digest]:
                hits.add(index)
                found.digest(Digest(digest), self._mention(index, key, digest, how))
        loose, skipped = self._loose(of_key.indexes, forms)
        for index in skipped:
            found.open(self._mention(index, key, "", How.OPEN))
        for index, words in loose.items():
            hits.add(index)
            for word in words:
                found.tags(forms[word] or (word,), self._mention(index, key, word, of_key.loose))
        for index in of_key.opened:
            found.open(self._mention(index, key, "", How.OPEN))
        self._extended(key, [index for index in of_key.given if index not in hits], forms, found)
        self._bare(key, [index for index in of_key.bare if index not in hits], listed, found)

    def _extended(self, key: str, indexes: Iterable[int], forms: Mapping[str, tuple[str, ...]], found: _Found) -> None:
        """Add the tags that begin with a version beside the name, which the registry lacks: `535.104.05-ubuntu22.04`."""
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for index in indexes:
            for word in filter(is_distinctive, self.objects[index].names[key].near):
                wanted[word].append(index)
        for form in forms if wanted else ():
            for match in _JOINTS(form):
                for index in wanted.get(word := form[: match.start()], ())[:MOST_SHOWN]:
                    found.tags(forms[form] or (form,), self._mention(index, key, word, How.NEAR))

    def _bare(self, key: str, indexes: Iterable[int], listed: ListedNames, found: _Found) -> None:
        """Add objects that name a repository behind our host without a tag: `latest` if it exists, otherwise any tag."""
        for index in indexes:
            if DEFAULT_TAG in listed.tags and not self.objects[index].names[key].is_partial:
                found.tags([DEFAULT_TAG], self._mention(index, key, DEFAULT_TAG, How.BESIDE))
            else:
                found.open(self._mention(index, key, "", How.OPEN))

    def _mention(self, index: int, key: str, word: str, how: How) -> Mention:
        mentions = self.objects[index]
        finding = mentions.names[key]
        opened = (finding.open or finding.open_chart or finding.bare) if how is How.OPEN else ""
        place = opened or finding.beside.get(word) or finding.near.get(word) or finding.place
        return Mention(mentions.workload, place, finding.written, word, how)

    def _file(self, key: str) -> _OfKey:
        """File what all objects say about one key. Many repositories may share it: `web`."""
        charts = CHARTS in self._by_key
        of_key = _OfKey(frozenset(self._by_key[key]), is_folder=key.endswith("/"))
        for index in self._by_key[key]:
            finding = self.objects[index].names[key]
            for word in finding.beside:
                of_key.words[word].append((index, of_key.how(How.BESIDE)))
            for word in finding.near.keys() - finding.beside.keys():
                of_key.words[word].append((index, of_key.how(How.NEAR)))
            for word in self.objects[index].versions if finding.is_image else ():
                if is_distinctive(word):
                    of_key.words[word].append((index, How.OBJECT))
            if finding.open or (finding.open_chart and charts):
                (of_key.bare if finding.is_partial else of_key.opened).append(index)
            elif finding.bare and not finding.has_tag:
                of_key.bare.append(index)
            elif finding.bare or (of_key.is_folder and finding.near):
                of_key.given.append(index)
        return of_key

    # -- rule 2 ------------------------------------------------------------------------------------

    def _loose(
        self, wanted: frozenset[int], forms: Mapping[str, tuple[str, ...]]
    ) -> tuple[dict[int, list[str]], list[int]]:
        """
        Return the objects that contain some of the tags as distinctive words, with these words; and the objects that were
        not searched, because the searches in large objects together took too long.
        """
        hits: defaultdict[int, list[str]] = defaultdict(list)
        table = self._words()
        small = wanted - self._big
        loose = [form for form, tags in forms.items() if any(map(is_distinctive, tags or (form,)))]
        for form in loose:
            for index in self._with(form, small, table):
                hits[index].append(form)
        skipped: list[int] = []
        large = self._big & wanted if loose else ()
        search = LargeSearch(loose) if large else None
        for index in large:
            if search is None or self._room < 0:
                skipped.append(index)
            elif found := self._in_large(index, search):
                hits[index] = found
        return hits, skipped

    def _with(self, form: str, wanted: frozenset[int], table: Mapping[bytes, list[int]]) -> Iterator[int]:
        """The objects among these that have this word, or words of which it is made."""
        found = dict.fromkeys(_having(form, wanted, table))
        yield from found
        # `1.22.0-distroless` of `1.22.0` and `distroless`
        for part in distinctive_parts(form):
            for index in _having(part, wanted, table):
                if index not in found and made_of(form, *self._unpacked(index)):
                    found[index] = None
                    yield index

    def _in_large(self, index: int, search: LargeSearch) -> list[str]:
        mentions = self.objects[index]
        if len(mentions.names) < _MANY_NAMES and search.expression is not None:
            self._room -= len(mentions.words)
            return search.forms_in(mentions.words, lambda: self._unpacked(index))
        return search.forms_among(*self._unpacked(index))

    def _words(self) -> dict[bytes, list[int]]:
        """The table of the words of all objects, made when it is first needed."""
        if self._table is None:
            table: defaultdict[bytes, list[int]] = defaultdict(list)
            self._big = frozenset(index for index, of in enumerate(self.objects) if len(of.words) > BIG)
            for index, mentions in enumerate(self.objects):
                if index not in self._big:
                    for word in mentions.words.split():
                        table[word].append(index)
            self._table = dict(table)
        return self._table

    def _unpack(self, index: int) -> Unpacked:
        mentions = self.objects[index]
        self._room -= len(mentions.words) * _UNPACKING if index in self._big else 0
        words = frozenset(mentions.words.split())
        return words, ANY_LETTERS if mentions.letters is None else words.union(mentions.letters.split())


@dataclass(slots=True)
class _OfKey:
    """
    The objects filed under one key, by word; the objects that may mean any tag, or `latest`; and those that give a tag
    in a field beside our name.
    """

    indexes: frozenset[int]
    is_folder: bool
    words: defaultdict[str, list[tuple[int, How]]] = field(default_factory=lambda: defaultdict(list))
    opened: list[int] = field(default_factory=list)
    bare: list[int] = field(default_factory=list)
    given: list[int] = field(default_factory=list)

    @property
    def loose(self) -> How:
        return self.how(How.OBJECT)

    def how(self, how: How) -> How:
        return How.FOLDER if self.is_folder else how


def _shared(words: Mapping[str, object], forms: Mapping[str, object]) -> Iterable[str]:
    """The keys of both; the shorter is walked."""
    return words.keys() & forms.keys()


def _all_keys(repository: str) -> Iterator[str]:
    yield from keys_of(repository)
    parts = repository.split("/")
    yield from ("/".join(parts[:index]) + "/" for index in range(1, len(parts)))
    yield from (f"{beginning}/" for beginning in unfinished_of(repository))


def _by_form(tags: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Plain form -> its tags; () if the only one equals the form, as nearly always."""
    forms: dict[str, tuple[str, ...]] = {}
    for tag in tags:
        form = plain_form(tag)
        if (known := forms.get(form)) is not None:
            forms[form] = (*(known or (form,)), tag)
        else:
            forms[form] = () if form == tag else (tag,)
    return forms


def _having(word: str, wanted: frozenset[int], table: Mapping[bytes, list[int]]) -> Iterator[int]:
    for spelling in spellings(word):
        having = table.get(spelling.encode(), ())
        # The shorter of the two is walked.
        if len(having) <= len(wanted):
            yield from (index for index in having if index in wanted)
        else:
            yield from wanted.intersection(having)


class _Found:
    """Collects the mentions of one repository."""

    def __init__(self, listed: ListedNames) -> None:
        self._listed = listed
        self._by_tag: dict[str, dict[Mention, None]] = {}
        self._by_digest: dict[Digest, dict[Mention, None]] = {}
        self._open: dict[Mention, None] = {}

    def tags(self, tags: Iterable[str], mention: Mention) -> None:
        for tag in tags:
            mentions = self._by_tag.setdefault(tag, {})
            if len(mentions) < MOST_SHOWN:
                mentions[mention] = None

    def digest(self, digest: Digest, mention: Mention) -> None:
        self._by_digest.setdefault(digest, {})[mention] = None

    def open(self, mention: Mention) -> None:
        if len(self._open) < MOST_SHOWN:
            self._open[mention] = None

    def done(self) -> RepositoryMentions:
        if not (self._by_tag or self._by_digest or self._open):
            return NO_MENTIONS
        return RepositoryMentions(
            {tag: tuple(mentions) for tag, mentions in self._by_tag.items()},
            {digest: tuple(mentions) for digest, mentions in self._by_digest.items()},
            tuple(self._open),
        )
