"""
Find the names of the registry in one object, and the words that may be their tags. Pure.

The names of the registry are the dictionary. A variable, a webhook or a program may put the host in front: the name is
found anyway. A name is the path of a repository, or any of its ends at a slash, as a whole word. The rules, strongest first:

1. *beside*: a tag or digest directly after the name (`NAME:TAG`, `NAME TAG`, `NAME,TAG`);
2. *object*: a distinctive tag (three characters or more, one of them a digit) anywhere in the object;
3. *near*: any tag as a whole value near the name (`near`), or what an operator adds to it (`mention_index`);
4. *digest*: 64 hex digits anywhere in any object, for every repository;
5. *folder*: a beginning of repositories behind our host or a variable, with a distinctive tag: for all of them;
6. *open*: a template where the tag belongs, or a range of versions: every tag. And our host with a name, but nothing by 1
   to 5: `latest`, or every tag.

The tags of the registry are not known here. The findings are compact: names, the values near them, and words.
`mention_index` looks the tags up in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from acr_cleanup.clusters.images import far, fields, near, near_lines, patterns
from acr_cleanup.clusters.images.long_texts import LONG, long_runs, read_long
from acr_cleanup.clusters.images.names import Names, keys_of
from acr_cleanup.clusters.images.object_mentions import CHARTS, NameFinding, ObjectMentions
from acr_cleanup.clusters.images.object_texts import ContainerImage, ObjectTexts, Text
from acr_cleanup.clusters.images.other_names import OtherNames
from acr_cleanup.clusters.images.our_host import OurHost, unclear_places
from acr_cleanup.clusters.images.places import places_of
from acr_cleanup.clusters.images.words import (
    Written,
    chunks_of,
    digests_in,
    packed_words,
    plain_form,
    read_chunk,
    version_words,
)
from acr_cleanup.core.references import Digest
from acr_cleanup.core.workload import Workload

_LONGEST_HOST = 300
_SHORT = 200
_MOST_NEAR = 5_000
_MOST_PLACES = 10_000
_MOST_UNTAGGED = 300
# Fields that are compared with the names near them. Thousands of names in one list cost the square of their number: beyond
# this, each of them may mean any tag.
_MOST_NEIGHBOURS = 300_000


@dataclass(slots=True)
class Reading:
    """
    The findings in one object.

    images: those of containers, exactly parsed.
    digests: those in texts, each with its field.
    unclear: fields with our host, with the text in place of a repository.
    """

    mentions: ObjectMentions | None
    digests: dict[Digest, str]
    images: list[ContainerImage]
    unclear: dict[str, str]


def read_object(
    obj: Any,
    workload: Workload,
    names: Names,
    *,
    field: str | None = None,
    is_policy: bool = False,
) -> Reading:
    """
    Read one object, or a document in its `field`.

    is_policy: it compares images with beginnings of names, and starts none. Only names with a tag or digest count.
    """
    return _Reader(ObjectTexts(obj, field), names, is_policy=is_policy).read(workload)


class _Reader:
    def __init__(self, texts: ObjectTexts, names: Names, *, is_policy: bool) -> None:
        self._is_policy = is_policy
        self._texts = texts
        self._names = names
        self._host = OurHost(texts, names)
        self._found: dict[str, NameFinding] = {}
        self._seen_near: set[object] = set()
        self._untagged_texts: list[tuple[NameFinding, Text]] = []
        self._room = _MOST_NEIGHBOURS
        self._places = _MOST_PLACES
        self._names_host = False
        self._others = OtherNames(names)
        self._in_parts: dict[str, str] = {}

    def read(self, workload: Workload) -> Reading:
        texts = self._texts
        lasts = self._names.lasts
        data = texts.data()
        whole = read_long(data, self._names) if len(data) > LONG else None
        chunks, special = chunks_of(data if whole is None else whole.chunks, lasts)
        long = long_runs(data)
        if long and (more := texts.unpack(long)):
            more_data = more.encode(errors="replace")
            more_chunks, more_special = chunks_of(more_data, lasts)
            chunks |= more_chunks
            special = [*special, *more_special]
            long |= long_runs(more_data)
        digests: dict[Digest, str] = {}
        # Rule 4.
        found = dict.fromkeys(digests_in(long))
        holders = texts.holders({digest.removeprefix("sha256:") for digest in found}) if found else {}
        for digest in found:
            holder = holders.get(digest.removeprefix("sha256:"))
            digests[Digest(digest)] = holder.field if holder is not None else ""
        written = {
            chunk: _read_short(chunk, self._names) if len(chunk) < _SHORT else read_chunk(chunk.decode(), self._names)
            for chunk in special
        }
        self._names_host = any(
            text.host == "ours" or self._names.is_ours(chunk.decode().rpartition("/")[2])
            for chunk, text in written.items()
        )
        named = {chunk.decode(): text for chunk, text in written.items() if text.name or text.folder}
        for chunk in chunks & lasts:
            # At the end of a sentence, the full stop is no part of the name.
            named[chunk.decode()] = Written(chunk.decode().rstrip("."))
        for image in texts.images:
            self._container_image(image)
        for text, start, word in places_of(named, self._texts.texts):
            self._name(named[word], text, start, word)
        if self._names_host and workload.kind in patterns.CHART_SOURCES:
            self._found[CHARTS] = NameFinding("", "")
        self._behind_variables(special)
        self._folders_beside_host()
        self._far_tags()
        if not self._found:
            return Reading(None, digests, texts.images, unclear_places(texts.texts, written, self._names))
        versions = tuple(dict.fromkeys(plain_form(word) for text in texts.versions for word in version_words(text)))
        words, letters = packed_words(chunks, written, long)
        if whole is not None:
            words = b" ".join((words, whole.words(written)))
        mentions = ObjectMentions(workload, self._found, words, letters, versions)
        return Reading(mentions, digests, texts.images, unclear_places(texts.texts, written, self._names))

    # -- names -------------------------------------------------------------------------------------

    def _container_image(self, image: ContainerImage) -> None:
        """An image that the exact reader understands names its repository, and its tag counts for nothing else."""
        reference = image.reference
        is_ours = self._names.is_ours(reference.host)
        repository = reference.repository if is_ours else self._names.mirrored(reference.host, reference.repository)
        if repository not in self._names.repositories:
            return
        finding = self._finding(f"/{repository}", repository, image)
        finding.is_image = True
        if not is_ours:
            for word in filter(None, (reference.tag, reference.digest)):
                finding.beside.setdefault(plain_form(word), image.field)

    def _finding(self, key: str, written: str, place: Text | ContainerImage) -> NameFinding:
        finding = self._found.get(key)
        if finding is None:
            finding = self._found[key] = NameFinding(written, place.field)
        return finding

    def _name(self, written: Written, text: Text, start: int, chunk: str) -> None:
        """Read the text around one place of a name."""
        end = start + len(chunk)
        following = text.text[end : end + 200]
        if self._is_policy and not (written.tag or written.digest):
            return
        is_bold = text.text[max(start - 1, 0) : start] == "*" and chunk[:1] != "/"
        if not written.tag and patterns.PATTERN.match(following) and not is_bold:
            return  # `X/app*`, `X/app:*`: a policy verifies it, and starts nothing
        if written.tag and not written.tag[-1].isdigit() and chunk[-1] == "." and following[:1] in ("*", "+"):
            return  # `acr purge --filter 'app:pr-.*'`: a regular expression selects tags, and needs none
        if written.folder and not (written.tag and written.name):
            self._folder(written, text, start, chunk)
        if not written.name:
            return
        finding = self._finding(written.name, written.name.removeprefix("/"), text)
        if written.tag:
            self._tagged(finding, written, text, following)
        elif written.digest:
            finding.beside.setdefault(written.digest, text.field)
            self._near(finding, text, only_tag_keys=True, only_beside=True)
        elif written.colon or written.variable:
            self._after_colon(finding, written, chunk, text, start)
        elif patterns.RANGE_BESIDE.match(following):
            finding.open = finding.open or text.field
        else:
            self._untagged(finding, written, text, start, end, following)

    def _folder(self, written: Written, text: Text, start: int, chunk: str) -> None:
        folder = self._finding(f"{written.folder}/", written.folder, text)
        behind = patterns.TAG_BEHIND_VARIABLE.match(text.text, start + len(chunk))
        if tag := written.tag or (behind[1] if behind else ""):
            folder.beside.setdefault(plain_form(tag), text.field)
        elif not near.is_weak(text) and not self._completed(written, text):
            self._near(folder, text, only_tag_keys=True)
            self._near_in_text(folder, text, start, start + len(chunk), only_tag_keys=True)

    def _completed(self, written: Written, text: Text) -> bool:
        """Read `{repository: X/nvidia, image: driver}`, where other fields complete the folder to repositories."""
        is_completed = False
        for key, beside in near.texts_beside(text):
            self._room -= 1
            name = f"{written.folder}/{beside.text}" if fields.is_image_key(key) and self._room > 0 else ""
            if name in self._names.repositories:
                finding = self._finding(f"/{name}", name, text)
                self._near(finding, beside, only_tag_keys=False)
                if written.host == "ours":
                    self._in_parts[name] = text.field
                is_completed = True
        return is_completed

    def _tagged(self, finding: NameFinding, written: Written, text: Text, following: str) -> None:
        """Apply rule 1, or rule 6 if a template follows the tag."""
        if patterns.GOES_ON.match(following) or patterns.RANGE_BESIDE.match(f":{written.tag}"):
            finding.open = finding.open or text.field
            return
        if patterns.PLACEHOLDER(written.tag):
            finding.open = finding.open or text.field
        finding.beside.setdefault(plain_form(written.tag), text.field)
        end = 0
        while match := patterns.NEXT_TAG.match(following, end):
            finding.beside.setdefault(plain_form(match[1]), text.field)
            end = match.end()
        self._near(finding, text, only_tag_keys=True, only_beside=True)

    def _after_colon(self, finding: NameFinding, written: Written, chunk: str, text: Text, start: int) -> None:
        """`web:` and then no tag: a template, a quote, or nothing."""
        following = text.text[start + len(chunk) : start + len(chunk) + 200]
        if written.variable or patterns.OPEN.match(following) or patterns.RANGE_BESIDE.match(following):
            variable = f"{chunk.rpartition(':')[2]}{following}"[:60].partition("\n")[0]
            if not (written.is_url or patterns.PORT.match(variable)):
                finding.open = finding.open or text.field
        elif beside := patterns.AFTER_COLON.match(following):
            finding.beside.setdefault(plain_form(beside[1]), text.field)
        else:
            self._untagged(finding, written, text, start, start + len(chunk), following)

    def _untagged(
        self, finding: NameFinding, written: Written, text: Text, start: int, end: int, following: str
    ) -> None:
        if beside := patterns.AFTER.match(following):
            finding.beside.setdefault(plain_form(beside[1]), text.field)
        if patterns.OPEN_APART.match(following):
            finding.open = finding.open or text.field
        is_elsewhere = written.host == "foreign" and patterns.ADDRESS(text.text, start) is not None
        self._places -= 1
        if self._places < 0 or self._room < 0:
            # A log may contain the name a hundred thousand times. A bare name may then mean any tag.
            finding.open = finding.open or ("" if beside else text.field)
        elif not (is_elsewhere or near.is_weak(text)):
            self._near(finding, text, only_tag_keys=False)
            self._near_in_text(finding, text, start, end)
            if len(self._untagged_texts) < _MOST_UNTAGGED and not finding.has_tag:
                self._untagged_texts.append((finding, text))
                names_other = self._others.than(finding.written)
                self._far(finding, near_lines.tags_further_on(text.text, start, names_other), text)
        if written.is_url:
            return
        is_ours = written.host == "ours" or (not text.is_key and self._host.is_beside(text))
        if is_ours or self._host.is_beside_line(text.text, start, end):
            finding.bare = finding.bare or text.field

    def _behind_variables(self, special: Iterable[bytes]) -> None:
        """Apply rule 3 to a tag behind a variable (`$REG/$NAME:canary`): any name of the object may be meant."""
        for chunk in special:
            match = patterns.BEHIND_VARIABLE(chunk)
            if match and not match[1].isdigit():
                for finding in self._found.values():
                    finding.near.setdefault(plain_form(match[1].decode()), finding.place)

    def _folders_beside_host(self) -> None:
        """Apply rule 5 where host and folder are in two fields: `{registry: X, imagePath: kubevirt}`."""
        for text in self._texts.texts:
            folder = text.text.strip("/ ") if len(text.text) < _LONGEST_HOST and not text.is_key else ""
            if folder in self._names.folders and fields.is_folder_key(text.key) and self._host.is_anywhere:
                self._near(self._finding(f"{folder}/", folder, text), text, only_tag_keys=True)

    def _far_tags(self) -> None:
        """Give tags that are far from a name to images without a tag, unless they belong to another image."""
        for finding, text in self._untagged_texts:
            if not (finding.has_tag or finding.beside or finding.open):
                self._far(finding, far.tags_around(text, self._others.than(finding.written)), text)
        images = {key for key, finding in self._found.items() if "/" in key or fields.is_image_place(finding.place)}
        images = images or set(self._found)
        longest = max((key.strip("/") for key in images), key=len, default="")
        is_alone = all(f"/{longest}".endswith(f"/{key.strip('/')}") for key in images)
        wanting = [
            finding
            for key, finding in self._found.items()
            if (is_alone or not (finding.has_tag or finding.beside or finding.bare))
            and not finding.open
            and (key in images if is_alone else fields.is_image_place(finding.place))
        ]
        of_alone = is_alone and any(
            fields.is_image_place(finding.place) and not (finding.has_tag or finding.beside) for finding in wanting
        )
        for text in self._texts.texts if wanting else ():
            for value in far.image_tags(text, of_alone=of_alone):
                owner = fields.stem(value.key)
                for finding in wanting:
                    if owner in f"{finding.place}/{finding.written}".lower():
                        self._far(finding, (value,), text)

        for name, field in self._in_parts.items():
            finding = self._found[f"/{name}"]
            others = (self._found[key] for key in keys_of(name) if key in self._found)
            if finding.has_tag or not any(other.beside for other in others):
                finding.bare = finding.bare or field

    def _far(self, finding: NameFinding, values: Iterable[fields.Value], text: Text) -> None:
        for word in filter(None, (fields.whole(value.value) for value in values)):
            finding.near.setdefault(plain_form(word), text.field)

    # -- rule 3 ------------------------------------------------------------------------------------

    def _near(self, finding: NameFinding, text: Text, *, only_tag_keys: bool, only_beside: bool = False) -> None:
        place = (id(finding), id(text.node), text.key, text.is_key)
        if place in self._seen_near or (only_tag_keys and len(finding.near) > _MOST_NEAR):
            return  # a long text may name it a thousand times
        self._seen_near.add(place)
        parent = text.node.parent
        if not (text.is_key and isinstance(text.node.value[text.key], str)):
            self._room -= len(text.node.value) + (len(parent.value) if parent is not None else 0)
        if self._room < 0:
            finding.open = finding.open or text.field
            return
        is_chart = is_chart_name = not text.is_key and text.key in fields.CHART_KEYS and not only_tag_keys
        values = list(near.values_near(text, self._others.than(finding.written), only_beside=only_beside))
        is_thing = near.names_thing(text, finding.written)
        for value in (*values, *fields.joined(values)):
            if is_thing and fields.is_of_thing(value):
                continue
            if only_tag_keys and not fields.is_tag_key(value.key):
                continue
            if is_chart_name and fields.is_part_of_version(value):
                finding.is_partial = True
                self._open(finding, text)
            is_chart = is_chart and not (value.key in fields.CHART_VERSIONS and value.value.strip())
            self._value(finding, value, text)
        if is_chart:
            # A chart without a version is the newest one.
            self._open(finding, text)

    def _open(self, finding: NameFinding, text: Text) -> None:
        """A chart is often called like an image: it counts if charts come from our registry."""
        beside = text.node.value.values() if isinstance(text.node.value, Mapping) else ()
        if text.key in fields.CHART_KEYS and not any(self._host.is_place(value) for value in beside):
            finding.open_chart = finding.open_chart or text.field
        else:
            finding.open = finding.open or text.field

    def _value(self, finding: NameFinding, value: fields.Value, text: Text) -> None:
        if fields.is_range(value) or fields.is_template(value):
            self._open(finding, text)
        for entry in fields.entries(value):
            if digest := fields.digest_of(entry):
                finding.beside.setdefault(digest, text.field)
                finding.has_tag = True
            if word := fields.whole(entry):
                finding.has_tag = finding.has_tag or fields.says_tag(value.key)
                finding.near.setdefault(plain_form(word), text.field)

    def _near_in_text(
        self, finding: NameFinding, text: Text, start: int, end: int, *, only_tag_keys: bool = False
    ) -> None:
        values = near_lines.values_in_line_near(text.text, start, end)
        if "\n" in text.text:
            names_other = self._others.than(finding.written)
            values = chain(
                values,
                near_lines.values_in_lines_near(
                    text.text, start, text.text[start:end], names_other, is_folder=only_tag_keys
                ),
            )
        is_thing = near.names_thing(text, finding.written, start)
        found = [value for value in values if not (is_thing and fields.is_of_thing(value))]
        for value in (*found, *fields.joined(found)):
            self._room -= 1
            if not only_tag_keys or fields.is_tag_key(value.key):
                self._value(finding, value, text)


@lru_cache(maxsize=8192)
def _read_short(chunk: bytes, names: Names) -> Written:
    """Workloads share most of their paths and many of their images."""
    return read_chunk(chunk.decode(), names)
