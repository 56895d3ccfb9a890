"""
One object -> the names of the registry in it, and the words that may be tags of them. Pure.

The registry is the dictionary: whatever puts a host in front of a name, a variable, a webhook or a program, the name is
found. A name is the path of a repository, or any of its ends at a slash, as a whole word. What counts, strongest first:

1. *beside*: a tag or digest directly after the name (`NAME:TAG`, `NAME TAG`, `NAME,TAG`);
2. *object*: a distinctive tag (three characters or more, one of them a digit) anywhere in the object;
3. *near*: any tag as a whole value near the name (`near`);
4. *digest*: 64 hex digits anywhere in any object, for every repository;
5. *folder*: a beginning of repositories behind our host or a variable, with a distinctive tag: for all of them;
6. *open*: a template where the tag belongs, or a range of versions: every tag. And our host with a name, but nothing by 1
   to 5: `latest`, or every tag.

The tags of the registry are not known here. What is held of an object is compact: its names, the values near them and its
words; `mention_index` looks the tags up in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from acr_cleanup.clusters.images import near, near_lines
from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.object_mentions import CHARTS, NameFinding, ObjectMentions
from acr_cleanup.clusters.images.object_texts import ContainerImage, ObjectTexts, Text
from acr_cleanup.clusters.images.words import (
    CHUNK,
    CHUNK_CHARACTERS,
    Written,
    chunks_of,
    digests_in,
    packed_words,
    plain_form,
    read_chunk,
    search_of,
    words_in,
)
from acr_cleanup.core.references import TAG, Digest, normalise_host
from acr_cleanup.core.workload import Workload

_AFTER = re.compile(
    rf"[\"'`\]]?(?:[ \t]{{0,20}}[,:=|;][>=]?[ \t]{{0,20}}|[ \t]{{1,20}}|,)[\"'\[(`]{{0,3}}(v?{TAG}(?:\+[A-Za-z0-9_.-]*)?)(?![:/@])"
)
# `web:` and then a quote, or a bracket.
_AFTER_COLON = re.compile(rf"[ \t]?[\"'\[(`]{{1,3}}[ \t]?({TAG})")
# A template, variable or expression that directly follows `web:`; a port is no tag.
_OPEN = re.compile(
    r"\{\{|\$[({A-Za-z_\[]|%[a-zA-Z({]|\{[A-Za-z0-9_.}]|<[A-Za-z_.]|\[\[|#\{|@@?[A-Za-z]"
    r"|[\"'`)]{1,3}[ ]?(?:\+|\.|\|\||&|%|,)[ ]?[A-Za-z_$({\"']"
)
_OPEN_APART = re.compile(r"[\"'`)} ]{1,8}(?:[:@][\"' ]{0,3}(?:\{\{|\$[({A-Za-z_]|%[a-z(])|\+[ ]?[\"'][:@])")
_PORT = re.compile(r".{0,40}?port", re.IGNORECASE | re.DOTALL)
# A tag that goes on in a template is no tag yet: `web:1.2-{{ … }}`.
_GOES_ON = re.compile(
    r"[-_.]?(?:\{\{?[A-Za-z. $_(]|\$[({A-Za-z_]|%[a-z({]|<[A-Za-z_]|\[\[|#\{)|[*~^]|\[[0-9a-zA-Z]|\\[dw.*+]|\(\?"
)
_PATTERN = re.compile(r":?\*|\[|\\?[.][*+]|\(\?")
_RANGE_BESIDE = re.compile(r":?[~^<>]=?[0-9]|:v?[0-9]+(?:\.[0-9]+)*\.[xX*](?![A-Za-z0-9])")
HOST_AND_SLASH = re.compile(rb"[.][A-Za-z0-9.-]+(?::[0-9]+)?/").search
_UNCLEAR = re.compile(
    r"(?:https?://)?(?<![A-Za-z0-9._/@-])(?P<host>[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++(?::[0-9]++)?+)/[a-z0-9._/-]*+"
    r"(?=\{|\$[A-Za-z({]|%[a-z({]|<[A-Za-z]|[A-Z])"
)
_CHART_SOURCES = frozenset({"HelmRepository", "HelmChartRepository", "ClusterRepo", "AppProject"})
# Brackets separate chunks: behind `${NAME}`, `{{ name }}` and `$(NAME)`, a chunk begins with the colon.
_BEHIND_VARIABLE = re.compile(rf"(?:|[^:]*[$%][A-Za-z_][A-Za-z0-9_]*):({TAG})".encode()).fullmatch
# `web:TAG`, `web:__VERSION__`: a program puts the tag in its place.
_PLACEHOLDER = re.compile(r"_*(?:[A-Z]+_)*(?:TAG|VERSION|SHA|COMMIT|REVISION|DIGEST|RELEASE|PLACEHOLDER)_*").fullmatch
_LONG_CHUNK = 40
_FEW = 8
_TEMPLATE_SIGNS = 3
_LONG_TEXTS = 32 << 10
_AROUND = 400
_MOST_NEAR = 5_000
_REPOSITORY_KEY = re.compile(r"image|repo|chart|artifact", re.IGNORECASE).search
_IMAGE_KEY = re.compile(r"image|repo|name|url|uri|source|artifact|chart|package|container", re.IGNORECASE).search


@dataclass(slots=True)
class Reading:
    """
    What is found in one object.

    images: those of containers, exactly parsed.
    digests: those in texts, each with its field.
    unclear: fields with our host, and what stands there in place of a repository.
    """

    mentions: ObjectMentions | None
    digests: dict[Digest, str]
    images: list[ContainerImage]
    unclear: dict[str, str]


def read_object(
    obj: Any, workload: Workload, names: Names, *, field: str | None = None, is_pod: bool = False
) -> Reading:
    """
    Read one object, or one document that stands in `field` of an object. is_pod: the images in its status are read elsewhere.

    Never raises for what an object holds.
    """
    texts = ObjectTexts(obj, field, is_pod=is_pod)
    return _Reader(texts, names).read(workload)


class _Reader:
    def __init__(self, texts: ObjectTexts, names: Names) -> None:
        self._texts = texts
        self._names = names
        self._found: dict[str, NameFinding] = {}
        self._seen_near: set[object] = set()
        self._names_host = False

    def read(self, workload: Workload) -> Reading:
        texts = self._texts
        lasts = self._names.lasts
        chunks, special = chunks_of("\n".join([text.text for text in texts.texts]), lasts)
        long = [chunk.decode() for chunk in chunks if len(chunk) >= _LONG_CHUNK]
        if long and (more := texts.unpack(long)):
            more_chunks, more_special = chunks_of(more, lasts)
            chunks |= more_chunks
            special = [*special, *more_special]
            long += [chunk.decode() for chunk in more_chunks if len(chunk) >= _LONG_CHUNK]
        digests: dict[Digest, str] = {}
        # Rule 4.
        for digest in digests_in(word for chunk in long for word in words_in(chunk)):
            digests.setdefault(Digest(digest), self._field_of(digest.removeprefix("sha256:")))
        written = {chunk: read_chunk(chunk.decode(), self._names) for chunk in special}
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
        for text, start, word in self._places(named):
            self._name(named[word], text, start, word)
        if self._names_host and workload.kind in _CHART_SOURCES:
            self._found[CHARTS] = NameFinding("", "")
        self._behind_variables(special)
        if not self._found:
            return Reading(None, digests, texts.images, self._unclear(written))
        versions = tuple(dict.fromkeys(plain_form(word) for text in texts.versions for word in _version_words(text)))
        mentions = ObjectMentions(workload, self._found, *packed_words(chunks, written), versions)
        return Reading(mentions, digests, texts.images, self._unclear(written))

    def _unclear(self, written: Mapping[bytes, Written]) -> dict[str, str]:
        """Where our host is written, and a template or capitals in place of the repository."""
        unclear: dict[str, str] = {}
        for chunk, reading in written.items():
            if (reading.name and not reading.variable) or not HOST_AND_SLASH(chunk):
                continue
            part = chunk.decode()
            for text in self._texts.texts:
                start = text.text.find(part)
                match = _UNCLEAR.search(text.text, start, start + len(part) + _TEMPLATE_SIGNS) if start >= 0 else None
                if (
                    match
                    and self._names.is_ours(match["host"])
                    and not match.group().startswith(("http://", "https://"))
                ):
                    unclear.setdefault(text.field, text.text[match.start("host") :][:80].split()[0])
                if len(unclear) >= _FEW:
                    return unclear
        return unclear

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
        """What stands around one place of a name."""
        end = start + len(chunk)
        following = text.text[end : end + 200]
        if not written.tag and _PATTERN.match(following):
            return  # `X/app*`, `X/app:*`: a policy verifies it, and starts nothing
        if written.folder and not written.tag:
            folder = self._finding(f"{written.folder}/", written.folder, text)
            if not near.is_weak(text):
                self._near(folder, text, only_tag_keys=True)
        if not written.name:
            return
        finding = self._finding(written.name, written.name.removeprefix("/"), text)
        if written.tag:
            self._tagged(finding, written, text, following)
        elif written.digest:
            finding.beside.setdefault(written.digest, text.field)
        elif written.colon or written.variable:
            self._after_colon(finding, written, chunk, text, start)
        elif _RANGE_BESIDE.match(following):
            finding.open = finding.open or text.field
        else:
            self._untagged(finding, written, text, start, end, following)

    def _tagged(self, finding: NameFinding, written: Written, text: Text, following: str) -> None:
        """Rule 1, and rule 6 for a tag that goes on in a template."""
        if _GOES_ON.match(following) or _RANGE_BESIDE.match(f":{written.tag}"):
            finding.open = finding.open or text.field
            return
        if _PLACEHOLDER(written.tag):
            finding.open = finding.open or text.field
        finding.beside.setdefault(plain_form(written.tag), text.field)
        self._near(finding, text, only_tag_keys=True, only_beside=True)

    def _after_colon(self, finding: NameFinding, written: Written, chunk: str, text: Text, start: int) -> None:
        """`web:` and then no tag: a template, a quote, or nothing."""
        following = text.text[start + len(chunk) : start + len(chunk) + 200]
        if written.variable or _OPEN.match(following) or _RANGE_BESIDE.match(following):
            variable = f"{chunk.rpartition(':')[2]}{following}"[:60].partition("\n")[0]
            if not (written.is_url or _PORT.match(variable)):
                finding.open = finding.open or text.field
        elif beside := _AFTER_COLON.match(following):
            finding.beside.setdefault(plain_form(beside[1]), text.field)
        else:
            self._untagged(finding, written, text, start, start + len(chunk), following)

    def _untagged(
        self, finding: NameFinding, written: Written, text: Text, start: int, end: int, following: str
    ) -> None:
        if beside := _AFTER.match(following):
            finding.beside.setdefault(plain_form(beside[1]), text.field)
        if _OPEN_APART.match(following):
            finding.open = finding.open or text.field
        if not near.is_weak(text):
            self._near(finding, text, only_tag_keys=False)
            self._near_in_text(finding, text, start, end)
        if written.is_url:
            return
        if written.host == "ours" or (not text.is_key and self._has_host_beside(text)):
            finding.bare = finding.bare or text.field

    def _behind_variables(self, special: Iterable[bytes]) -> None:
        """Rule 3: a tag behind a variable that stands for a name (`$REG/$NAME:canary`) may be that of any name here."""
        for chunk in special:
            match = _BEHIND_VARIABLE(chunk)
            if match and not match[1].isdigit():
                for finding in self._found.values():
                    finding.near.setdefault(plain_form(match[1].decode()), finding.place)

    # -- rule 3 ------------------------------------------------------------------------------------

    def _near(self, finding: NameFinding, text: Text, *, only_tag_keys: bool, only_beside: bool = False) -> None:
        place = (id(finding), id(text.node), text.key, text.is_key)
        if place in self._seen_near or (only_tag_keys and len(finding.near) > _MOST_NEAR):
            return  # a long text may name it a thousand times
        self._seen_near.add(place)
        is_chart = not text.is_key and text.key == "chart" and not only_tag_keys
        for value in near.values_near(text, self._names_other(finding), only_beside=only_beside):
            if only_tag_keys and not near.is_tag_key(value.key):
                continue
            is_chart = is_chart and not (value.key in {"version", "targetRevision"} and value.value.strip())
            self._value(finding, value, text)
        if is_chart:
            # A chart without a version is the newest one.
            self._open(finding, text)

    def _open(self, finding: NameFinding, text: Text) -> None:
        """A chart is often called like an image: it counts if charts come from our registry."""
        beside = text.node.value.values() if isinstance(text.node.value, Mapping) else ()
        if text.key == "chart" and not any(self._is_our_place(value) for value in beside):
            finding.open_chart = finding.open_chart or text.field
        else:
            finding.open = finding.open or text.field

    def _value(self, finding: NameFinding, value: near.Value, text: Text) -> None:
        if near.is_range(value) or near.is_template(value):
            self._open(finding, text)
        if digest := near.digest_of(value.value):
            finding.beside.setdefault(digest, text.field)
            finding.has_tag = True
        finding.has_tag = finding.has_tag or (near.is_tag_key(value.key) and bool(near.whole(value.value)))
        if (word := near.whole(value.value)) and (word := plain_form(word)) not in finding.near:
            finding.near[word] = text.field

    def _near_in_text(self, finding: NameFinding, text: Text, start: int, end: int) -> None:
        for value in near_lines.values_in_line_near(text.text, start, end):
            self._value(finding, value, text)
        if "\n" not in text.text:
            return
        for value in near_lines.values_in_lines_near(
            text.text, start, text.text[start:end], self._names_other(finding)
        ):
            self._value(finding, value, text)

    def _names_other(self, finding: NameFinding) -> Callable[[str, Any], bool]:
        def names_other(key: str, value: Any) -> bool:
            if not isinstance(value, str) or not value:
                return False
            named = self._repository_in(value)
            if not named:
                return near.is_image_key(key)
            return not _is_end(named, finding.written) and not _is_end(finding.written, named)

        return names_other

    def _repository_in(self, value: str) -> str:
        """The name that a whole value is, with or without a tag; empty if it is none."""
        chunk = value.strip()
        if len(chunk) > 300 or not chunk or " " in chunk:
            return ""
        if "/" not in chunk:
            return chunk if chunk.encode(errors="replace") in self._names.lasts else ""
        return read_chunk(chunk, self._names).name.removeprefix("/")

    def _has_host_beside(self, text: Text) -> bool:
        """Does our host stand beside a name, or one level above it: `{registry: X, repository: shop/web}`?"""
        if not isinstance(text.key, str) or not _IMAGE_KEY(text.key):
            return False
        if "/" not in text.text and not _REPOSITORY_KEY(text.key):
            return False  # `{registry: X, name: web}` may be any thing called web
        if text.text.strip() in self._names.repositories and _REPOSITORY_KEY(text.key) and self._has_host:
            return True
        node = text.node
        for _ in range(2):
            if isinstance(node.value, dict) and any(
                isinstance(value, str)
                and self._names.is_ours(normalise_host(value.strip().rstrip("/").rpartition("//")[2]))
                for value in node.value.values()
            ):
                return True
            if node.parent is None:
                break
            node = node.parent
        return False

    def _is_our_place(self, value: Any) -> bool:
        """Is this our registry, or a place in it: `oci://X/charts`?"""
        return isinstance(value, str) and self._names.is_ours(value.strip().rpartition("://")[2].partition("/")[0])

    @cached_property
    def _has_host(self) -> bool:
        """Is our host by itself a value anywhere in the object?"""
        return any(
            not text.is_key and self._names.is_ours(normalise_host(text.text.strip())) for text in self._texts.texts
        )

    # -- places ------------------------------------------------------------------------------------

    def _places(self, named: Collection[str]) -> Iterator[tuple[Text, int, str]]:
        """Every place where one of these chunks stands as a whole."""
        if len(named) <= _FEW:
            for text in self._texts.texts:
                for chunk in named:
                    if chunk in text.text:
                        yield from ((text, start, chunk) for start in _starts(text.text, chunk))
            return
        search = search_of(named) if sum(len(text.text) for text in self._texts.texts) > _LONG_TEXTS else None
        for text in self._texts.texts:
            if search is not None and text.text.isascii():
                spans = (match.span() for match in search(text.text.encode()))
                places = [span for span in spans if text.text[max(0, span[0] - 1) : span[0]] not in CHUNK_CHARACTERS]
            else:
                places = [match.span() for match in CHUNK.finditer(text.text)]
            for start, end in places:
                chunk = text.text[start:end]
                if chunk in named or (chunk[-1] == ":" and (chunk := chunk[:-1]) in named):
                    yield text, start, chunk

    def _field_of(self, word: str) -> str:
        return next((text.field for text in self._texts.texts if word in text.text), "")


def _is_end(end: str, path: str) -> bool:
    return f"/{path}".endswith(f"/{end}")


def _starts(text: str, chunk: str) -> Iterator[int]:
    """Where a chunk stands in a text as a whole; places with the same surroundings are given once."""
    size = len(chunk)
    if len(text) == size:
        yield 0
        return
    seen: set[str] = set()
    start = text.find(chunk)
    while start >= 0:
        end = start + size
        is_whole = (start == 0 or text[start - 1] not in CHUNK_CHARACTERS) and (
            end == len(text)
            or text[end] not in CHUNK_CHARACTERS
            or (text[end] == ":" and text[end + 1 : end + 2] in "\n ")
        )
        if is_whole:
            around = text[max(0, start - _AROUND) : end + _AROUND]
            if around not in seen:
                seen.add(around)
                yield start
        start = text.find(chunk, end)


def _version_words(text: str) -> Iterator[str]:
    yield text
    # `helm.sh/chart: web-1.2.3`
    yield from (text[match.end() :] for match in re.finditer("-", text))
