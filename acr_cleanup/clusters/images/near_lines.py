"""
Rule 3 in one text: the values of the lines around a name, each of which may be its tag. Pure.

A line counts unless its block (indentation, brackets, sections) or its key (`API_TAG` beside `API_IMAGE`) belongs to
another name.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from acr_cleanup.clusters.images.fields import Value, is_image_key, is_tag_key, may_be_tag, says_tag, stem
from acr_cleanup.core.references import TAG

_LINES = 6
_LONGEST_LINE = 1_000
_IMAGE_LINE = re.compile(r"(?:image|repo).*[:/]", re.IGNORECASE).search
# `[web]`; and what separates documents of YAML.
_SECTION = re.compile(r"\s*\[{1,2}[^\[\]=,]+\]{1,2}\s*|---\s*").fullmatch
_OPENS, _CLOSES = (":", "{", "[", "("), ("}", "]", ")")
_LINE = re.compile(
    r"""(\s*(?:[-*\u2022]\s+)*)(?:(?:\{[%{]-?\s*)?["']?([A-Za-z0-9_./ $@\[\]-]{1,100}?)["']?\s*(=>|:=|\?=|[:=])(\s*))?(.*)""",
    re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[\"']?([A-Za-z_][A-Za-z0-9_.-]{0,100}) ?= ?([^\s=]+)").fullmatch
# `web.tag canary`, `--tag canary`, `ENV TAG canary`, `#define TAG "canary"`, `(tag "canary")`: a blank in place of the sign.
_PROPERTY = re.compile(
    r"\s*(?:#define |env |arg |set\(|set(?:env|x)? (?:-[a-z]+ )*)?[-({:$]*([A-Za-z][A-Za-z0-9_.-]*+)[ \t]++(\S+)[ \t]*[\\`]?\s*",
    re.IGNORECASE,
).fullmatch
# `<tag>1</tag>`, `<entry key="web.tag">1</entry>`, `<property name="tag" value="1"/>`
_ELEMENT = re.compile(r"(\s*)<([A-Za-z][A-Za-z0-9_.:-]*+)([^<>]*+)(?:(?<=/)>|>([^<>]++)</[^<>]++>)\s*").fullmatch
_ATTRIBUTE = re.compile(r"""(?<![A-Za-z0-9_.:-])(key|name|id|value)=["']([^"']*)["']""").findall
# `${TAG:-canary}`; and the texts in `TAG = getenv("TAG", "canary")`.
_DEFAULT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*+):?[-=]([^{}]*+)\}").findall
_QUOTED = re.compile(r"""["']([^"'\s]+)["']""").findall
# `config["tag"] = "canary"`
_SUBSCRIPT = re.compile(r"(?<=[A-Za-z0-9_\])])\[[\"']([A-Za-z0-9_.-]+)[\"']\](?=\s*:?=)")
# What YAML writes before a value (`!!str`), or in place of it, where the lines below have it.
_MARK = re.compile(r"(?:!!?[A-Za-z]*\s+|[|>][-+0-9]{0,2}$)").match
_COMMENT = re.compile(r"\s(?:#|;|//)")
_TAG_AFTER = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]{0,200}?(?:tag|version|revision|channel|digest)s?|-t)[\"'\])]{0,3}\s{0,3}(?:=>|:=|[=:>(,\s])\s{0,3}[\"'(`\u201c]{0,3}"
    rf"({TAG})(?![A-Za-z0-9/:])",
    re.IGNORECASE,
)
_TAG_LIST = re.compile(r"((?:tag|version)s)[\"']?\s{0,3}[=:]\s{0,3}\[([^\[\]\n]{1,300})\]", re.IGNORECASE)
_OWN_KEY = re.compile(r"([A-Za-z0-9_.-]+)[\"']?\s{0,3}[=:]\s{0,3}[\"']?$").search
_WINDOW = 300
# Characters before and behind a name in which a tag of its mapping is searched, beyond the nearest lines.
_FAR = 3_000
_FAR_KEY, _FAR_VALUE = r"^[ \t]*(?:- )?[\"']?[A-Za-z0-9_.-]{0,60}?", r"[\"']?[ \t]*[:=].{1,200}$"
_FAR_TAG = re.compile(f"{_FAR_KEY}(?:tag|version|digest){_FAR_VALUE}", re.IGNORECASE | re.MULTILINE)
_FAR_IMAGE = re.compile(f"{_FAR_KEY}(?:image|repo)[A-Za-z_]{{0,20}}{_FAR_VALUE}", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+").findall
_CELLS = re.compile(r"[,|;\t]|  +")
# Between two elements of a list (`{"image": "shop/web"}, {"image": "shop/api"}`), and between two commands.
_SIBLINGS = re.compile(r"[})\]]\s{0,20},\s{0,20}[{(\[]|&&|\|\||;")
_MOST_CELLS, _MOST_LITERALS = 12, 4


class _Line(NamedTuple):
    """
    indent: the column of its first character. content: the same, but after the dash of a list element.
    values: its values; several in a list or mapping.
    """

    indent: int
    content: int
    key: str
    values: tuple[Value, ...]
    is_section: bool
    is_image: bool
    is_empty: bool


def values_in_line_near(text: str, start: int, end: int) -> Iterator[Value]:
    """Yield the values called a tag shortly before or after a name in one line: `--image X/web --tag canary`, `<tag>1</tag>`."""
    first = max(text.rfind("\n", 0, start) + 1, start - _WINDOW)
    last = text.find("\n", end)
    line = text[first : min(last if last >= 0 else len(text), end + _WINDOW)]
    tags = [
        (match.start(), Value("tag" if match[1] == "-t" else match[1], match[2])) for match in _TAG_AFTER.finditer(line)
    ]
    for match in _TAG_LIST.finditer(line):
        tags += [(match.start(), Value("tag", _plain(tag))) for tag in match[2].split(",")]
    if len(tags) > 1:
        key = _OWN_KEY(line[: start - first])
        own_stem = stem(key[1]) if key else ""
        # `WEB=shop/web; WEB_TAG=canary; API=shop/api; API_TAG=stable`
        tags = [tag for tag in tags if own_stem and stem(tag[1].key) == own_stem] or tags
        borders = [match.start() for match in _SIBLINGS.finditer(line)]
        own = bisect(borders, start - first)
        # The tags of its element, if it has some.
        tags = [tag for tag in tags if bisect(borders, tag[0]) == own] or tags
    yield from (value for _, value in tags)
    cells = _CELLS.split(line.strip())
    if 2 < len(cells) <= _MOST_CELLS:
        # The columns of a table: `web,amd64,canary`, `"web","amd64","canary"`, `| **web** | canary |`.
        markup = ' `*"' if line.lstrip()[:1] == '"' else " `*"
        yield from (Value("", cell.strip(markup)) for cell in cells)


def values_in_lines_near(
    text: str, start: int, name: str, names_other: Callable[[str, Any], bool], *, is_folder: bool = False
) -> Iterator[Value]:
    """
    The whole values of the lines around the name that begins there, but those of another image.

    names_other: does this field name another repository? is_folder: the tag beside an image in the folder is that image's.
    """
    first, last = _window_of(text, start, 2 * _LINES)
    if "#" in text[first:last]:
        first, last = _window_of(text, start, 5 * _LINES)
    written = text[first:last].split("\n")
    at = text.count("\n", first, start)
    lines = [_read(line) for line in written]
    owners = [
        index
        for index, line in enumerate(lines)
        if name not in written[index]
        and not _is_in_block(lines, index, at)
        and (
            _names_other(line, names_other, written[index])
            or (line.is_image and (line.values or _has_name(lines, index)))
        )
    ]
    own = stem(lines[at].key)
    has_own = bool(own) and any(stem(line.key) == own and is_tag_key(line.key) for line in lines)
    # Beside `web_tag` of `web_image`, a `tag` is that of `image`.
    stems = {stem(lines[index].key) for index in owners} - ({own} if has_own else {own, ""})
    is_head = written[at].rstrip().endswith(_OPENS) or lines[at].is_section
    # Lines with a comment alone are read, but not counted: a file of values explains each of its fields.
    is_comment = [line.lstrip()[:1] == "#" for line in written]
    for index in range(at if is_head else 0, len(lines)):
        line = lines[index]
        first_line, last_line = sorted((index, at))
        if last_line - first_line - is_comment[first_line:last_line].count(True) > _LINES:
            continue
        if is_head and index > at and _ends_block(lines[at], line):
            return
        if index == at or not line.values or stem(line.key) in stems or names_other("", line.key or line.values[0].key):
            continue
        if index in owners and _names_other(line, names_other, written[index]):
            continue  # `Image{Repository: "shop/api", Tag: "canary"}`
        if any(other < index and _is_below(lines, other, index) for other in owners):
            continue  # `docker_image 'shop/api' do`, and in the next line `tag 'canary'`
        others_here = [other for other in owners if _same_block(lines, index, other)]
        if is_folder and any(lines[other].content == line.content for other in others_here):
            continue
        if not others_here or _same_block(lines, at, index):
            yield from line.values


def tags_further_on(text: str, start: int, names_other: Callable[[str, Any], bool]) -> Iterator[Value]:
    """
    Yield the tags of more distant lines that belong to the image in this line: of its mapping, or of one around it.

    A tag without an owner (`TAG`) counts up to the next image, and one with an owner (`WEB_TAG`) for its image.
    """
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", start)
    own = _read(text[first:last])
    if last < 0:
        return
    if not own.is_image:
        if own.key and text[first:last].rstrip().endswith(":"):
            yield from _tags_in_block(own, text[last + 1 : last + _FAR])
        return
    before, after = text[max(first - _FAR, 0) : first], text[last + 1 : last + _FAR]
    for part in (before, after):
        for match in _FAR_TAG.finditer(part):
            line = _read(match[0])
            between = part[match.end() :] if part is before else part[: match.start()]
            owner = stem(line.key)
            is_next = part is after and line.indent < line.content
            if not is_next and says_tag(line.key) and line.content <= own.content and owner in ("", stem(own.key)):
                others = () if owner else map(_read, _FAR_IMAGE.findall(between))
                is_of_other = any(
                    other.content <= line.content and _names_other(other, names_other) for other in others
                )
                if not is_of_other and not _leaves(between, line.content):
                    yield from line.values


def _tags_in_block(own: _Line, behind: str) -> Iterator[Value]:
    """The tags of `image:` in the block of a name: `web:`, and many lines later `image:` and `tag: canary`."""
    for match in _FAR_TAG.finditer(behind):
        line, between = _read(match[0]), behind[: match.start()]
        heads = [head for head in map(_read, between.rstrip("\n").split("\n")) if head.content < line.content]
        is_of_image = bool(heads) and is_image_key(heads[-1].key) is not None
        if says_tag(line.key) and is_of_image and not _leaves(between, own.content + 1):
            yield from line.values


def _leaves(between: str, content: int) -> bool:
    """Does the mapping at this column end in these lines?"""
    lines = filter(str.strip, between.split("\n"))
    return any(len(line) - len(line.lstrip()) < content or _SECTION(line) is not None for line in lines)


def _window_of(text: str, start: int, lines: int) -> tuple[int, int]:
    """The part of a text with the line of a place, and so many lines before and after it."""
    first = last = start
    for _ in range(lines + 1):
        first = text.rfind("\n", 0, max(first, 0))
        last = text.find("\n", last + 1) if last >= 0 else last
    return first + 1, last if last >= 0 else len(text)


def _names_other(line: _Line, names_other: Callable[[str, Any], bool], written: str = "") -> bool:
    return any(names_other(value.key, value.value) for value in line.values) or any(
        names_other("", path) for path in _PATH(written)
    )


def _is_below(lines: Sequence[_Line], head: int, index: int) -> bool:
    """Is the line further to the right than that line above it, and so is each line between them?"""
    return all(line.is_empty or line.indent > lines[head].content for line in lines[head + 1 : index + 1])


def _has_name(lines: Sequence[_Line], head: int) -> bool:
    """Does the block of this head name an image? `image: {tag: canary}` of all charts does not."""
    for line in lines[head + 1 :]:
        if _ends_block(lines[head], line):
            return False
        if line.is_image or line.key == "name":
            return True
    return False


def _ends_block(head: _Line, line: _Line) -> bool:
    """Is this line behind the block of that head? A list may be as far to the left as its key."""
    if head.is_section:
        return line.is_section
    return not line.is_empty and line.indent <= head.indent and not (line.indent == head.indent < line.content)


def _is_in_block(lines: Sequence[_Line], head: int, index: int) -> bool:
    """Is the line in the block of this head, which then belongs to it, and to no other image?"""
    return (
        head < index
        and not lines[head].values
        and not any(_ends_block(lines[head], line) for line in lines[head + 1 : index + 1])
    )


def _same_block(lines: Sequence[_Line], first: int, second: int) -> bool:
    """Are these lines in one block, by indentation and sections?"""
    first, second = sorted((first, second))
    depth = min(lines[first].content, lines[second].content)
    return all(
        line.is_empty or (line.indent >= depth and not line.is_section) for line in lines[first + 1 : second + 1]
    )


@lru_cache(maxsize=4096)
def _read(line: str) -> _Line:
    if "<" in line and len(line) < _LONGEST_LINE and (element := _ELEMENT(line)):
        attributes = dict(_ATTRIBUTE(element[3]))
        key = next((attributes[name] for name in ("key", "name", "id") if name in attributes), element[2])
        line = f"{element[1]}{key}: {attributes.get('value', element[4] or '')}"
    if "['" in line or '["' in line:
        line = _SUBSCRIPT.sub(r".\1", line)
    text = line.lstrip(" -\t*\u2022")
    indent, content = len(line) - len(line.lstrip()), len(line) - len(text)
    is_image = len(line) < _LONGEST_LINE and _IMAGE_LINE(line) is not None
    is_section = len(line) < _LONGEST_LINE and _SECTION(line) is not None
    match = _LINE.fullmatch(line) if len(line) < _LONGEST_LINE and not is_section else None
    if match is None:
        return _Line(indent, content, "", (), is_section, is_image, not text and not is_section)
    key = (match[2] or "").strip(" []").rpartition(" ")[2]
    value = _plain(match[5])
    if not match[3] and (pair := _PROPERTY(line)) and says_tag(pair[1]):
        key, value = pair[1], _plain(pair[2])
    # `web.shop:80` is a host and its port.
    if match[3] == ":" and not match[4] and value.isdigit() and not is_tag_key(key):
        value = ""
    values = tuple(value for value in (*_values(key, value), *_literals(key, match[5])) if may_be_tag(value))
    # `path: /spec/image/tag` of a patch names a field.
    return _Line(indent, content, key, values, is_section, is_image and key != "path" and not says_tag(key), not text)


def _values(key: str, value: str) -> Iterator[Value]:
    is_collection = value[:1] in ("[", "{") and value[-1:] in ("]", "}")
    if is_collection or (": " in value and 0 < value.count(",") < _MOST_CELLS):
        for part in re.split(r"[\[\]{},]", value):
            if part.strip():
                before, _, after = part.rpartition(": ")
                yield Value(_plain(before) or key, _plain(after))
    elif ": " in value:
        # `shop:tag: canary`
        before, _, after = value.rpartition(": ")
        yield Value(_plain(before).strip("*"), _plain(after))
    elif assigned := _ASSIGNMENT(value):
        # `Environment=TAG=canary`, `--set image.tag=canary`
        yield Value(assigned[1], _plain(assigned[2]))
    elif value:
        yield Value(key, value)


def _literals(key: str, value: str) -> Iterator[Value]:
    """The texts in the expression of a tag, and the defaults of variables."""
    if "${" in value:
        yield from (Value(*default) for default in _DEFAULT(value))
    if ('"' in value or "'" in value) and is_tag_key(key):
        yield from (Value(key, literal) for literal in _QUOTED(_COMMENT.split(value, maxsplit=1)[0])[:_MOST_LITERALS])


def _plain(value: str) -> str:
    """A value without its comment, its quotes, what separates it from the next one, and brackets that only close."""
    value = _COMMENT.split(value, maxsplit=1)[0].strip().rstrip(",;\\").strip()
    if value[:1] in ("!", "|", ">") and (mark := _MARK(value)):
        value = value[mark.end() :]
    if value[-1:] in _CLOSES and not any(sign in value for sign in _OPENS):
        value = value.rstrip(")]}% ,;-")
    return value.strip("\"'`")
