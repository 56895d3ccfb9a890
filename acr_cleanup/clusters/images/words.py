"""
Texts -> words, and what was written as a path: `host/shop/web:1.2`. Pure.

Splitting a text into a set of words costs less than searching it for thousands of names. A *chunk* is a word that may
contain the characters of a reference; a *word* has only those of a tag. Characters outside ASCII separate words.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import filterfalse
from typing import NamedTuple
from urllib.parse import unquote

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.core.references import COMPONENT, DIGEST, TAG

_WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
CHUNK_CHARACTERS = frozenset(_WORD + "/:@+$%")
TO_CHUNKS = bytes(code if chr(code) in CHUNK_CHARACTERS and code < 128 else 32 for code in range(256))
TO_WORDS = bytes(code if chr(code) in f"{_WORD}+" and code < 128 else 32 for code in range(256))
"""Tables of `bytes.translate`: all other characters become blanks."""
_COMPLEX = re.compile(rb"[/:@+$%]").search
_BETWEEN_WORDS = re.compile(r"[/:@$%]+")
_LITERAL = re.compile(COMPONENT).fullmatch
_UNFINISHED = re.compile(r"([a-z0-9][a-z0-9._-]*[-_])(?:[$%].*)?|[$%].*").fullmatch
_TAG = re.compile(TAG).fullmatch
_DIGEST = re.compile(DIGEST).fullmatch
_HEX_DIGESTS = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])").findall
_COMMITS = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])").findall
_COMMIT_LENGTH = 40
_SHORT_COMMITS = (7, 8, 10, 12)
_API_VERSION = re.compile(r"v[0-9]+(?:(?:alpha|beta)[0-9]+)?").fullmatch
_DIGIT = re.compile(r"[0-9]").search
_PORT = re.compile(r"[0-9]{1,5}").fullmatch
_ADDRESS = re.compile(r"(?!docker|oci|oras|containers)[a-z0-9+.-]+://[^/]+/?", re.IGNORECASE).fullmatch
_API_PATHS = {"manifests": "v2", "_tags": "acr"}
# `…/repository/shop/web/tag/1.2` of portals.
_TAG_PATHS = frozenset({"tag", "tags", "manifests"})
_LONGEST_NAME = 8
_ESCAPED = re.compile(r"%(?:2[fF]|3[aA]|40)").search
_MEASURE = re.compile(r"[0-9]+(?:ms|[smhd]|[kKMGT]i?)").fullmatch
_PLACEHOLDER = re.compile(r"@([A-Za-z_][A-Za-z0-9_.]*)@")
_SHORTEST = 3
_MANY_LINES = 64 << 10


def chunks_of(data: bytes, lasts: Container[bytes]) -> tuple[set[bytes], list[bytes]]:
    """
    The distinct chunks of a text: all of them, and those that are more than a word.

    lasts: the last components of names. `key:` is a word; only behind a name may a colon begin a tag.
    """
    if len(data) > _MANY_LINES:
        # Long texts repeat their lines, and no chunk goes over the end of one.
        data = b"\n".join(set(data.split(b"\n")))
    chunks = set(data.replace(b": ", b"  ").translate(TO_CHUNKS).split())
    special: list[bytes] = []
    for chunk in list(filter(_COMPLEX, filterfalse(bytes.isalnum, chunks))):
        if not chunk.endswith(b":"):
            special.append(chunk)
            continue
        word = chunk.rstrip(b":")
        chunks.add(word)
        if _COMPLEX(word):
            special.append(word)
        if word.rpartition(b"/")[2] in lasts:
            special.append(chunk)
        else:
            chunks.discard(chunk)
    return chunks, special


def is_distinctive(tag: str) -> bool:
    """
    May this tag be recognised anywhere in an object that names its repository?

    >>> [is_distinctive(tag) for tag in ("1.2", "a1b2c3d", "16", "latest", "v1beta1", "30s")]
    [True, True, False, False, False, False]
    """
    return len(tag) >= _SHORTEST and _DIGIT(tag) is not None and _API_VERSION(tag) is None and _MEASURE(tag) is None


def plain_form(word: str) -> str:
    """
    A tag in the form in which spellings are compared: no `v` before a digit, `+` as `_`, no full stop at the end.

    >>> plain_form("v1.2+build.7.")
    '1.2_build.7'
    """
    word = word.rstrip(".").replace("+", "_")
    return word[1:] if word[:1] == "v" and word[1:2].isdigit() else word


def spellings(form: str) -> tuple[str, ...]:
    """
    The words that are written for a tag in its plain form.

    >>> spellings("1.2"), spellings("1.2-k3s1")[-2:]
    (('1.2', '1.2.', 'v1.2', 'v1.2.'), ('v1.2+k3s1', 'v1.2+k3s1.'))
    """
    plain = form[1:] if form[:1] == "v" and form[1:2].isdigit() else form
    forms = [plain, f"{plain}."]
    if plain[:1].isdigit():
        forms += [f"v{plain}", f"v{plain}."]
    if "_" in plain:
        forms += [form.replace("_", "+") for form in forms]
    elif "-" in plain and plain[:1].isdigit():
        forms += [form.replace("-", "+", 1) for form in forms]
    if len(plain) == _COMMIT_LENGTH and _COMMITS(plain):
        forms += [plain[:length] for length in _SHORT_COMMITS]
    return tuple(forms)


def beginnings(form: str) -> list[str]:
    """
    For each part of a tag between its separators, how its spellings begin (`beginning`).

    >>> beginnings("release-v1.2")
    ['release', '1.2']
    """
    parts = form.replace("_", "-").split("-")
    commits = [part[:length] for part in parts if len(part) == _COMMIT_LENGTH for length in _SHORT_COMMITS]
    return [*map(beginning, parts), *commits]


def beginning(word: str) -> str:
    """
    What all spellings of a tag have in common, and often no other word has: the part before its first separator.

    >>> {beginning(word) for word in spellings("1.2-k3s1")}
    {'1.2'}
    """
    first = word.replace("_", "-").replace("+", "-").partition("-")[0].rstrip(".")
    return first[1:] if first[:1] == "v" and first[1:2].isdigit() else first


class Written(NamedTuple):
    """
    One chunk, read as a reference.

    name: the key under which it is filed (`names.keys_of`); empty if it is not the name of a repository.
    folder: the beginning of repositories that it names, or empty.
    host: "ours", "foreign", or empty if no host is written.
    tag: the tag, or empty. colon: a colon or `@` ends the chunk, so a tag may follow. variable: the tag is or has a variable.
    is_reference: it is an image reference of any registry. Its tag counts for no other name.
    """

    name: str = ""
    folder: str = ""
    host: str = ""
    tag: str = ""
    digest: str = ""
    colon: bool = False
    variable: bool = False
    is_reference: bool = False
    is_url: bool = False


_NOTHING = Written()


def read_chunk(chunk: str, names: Names) -> Written:
    """
    Read one chunk with the names of the registry.

    >>> from acr_cleanup.core.references import RegistryHost
    >>> names = Names.of(RegistryHost("contoso.azurecr.io"), ["team/backend/app"])
    >>> read_chunk("$REG/backend/app:v1", names).name, read_chunk("other/app:v1", names).name
    ('backend/app', '')
    """
    written = _read(chunk, names)
    if written.name or written.folder or "/" not in chunk:
        return written
    chunk = unquote(chunk) if _ESCAPED(chunk) else chunk
    front, _, last = chunk.rpartition("/")
    *_, path = front.rpartition("://")
    parts = path.rsplit("/", _LONGEST_NAME)
    if parts[-1] in _TAG_PATHS:
        paths = ("/".join(parts[index:-1]) for index in range(len(parts) - 1))
        if path := next((path for path in paths if path in names.repositories), ""):
            return _read(f"{path}:{last}", names)
    # The registry has no capitals: a program writes them small.
    lower = f"{front}/{last.partition(':')[0]}".lower()
    return _read(f"{lower}{chunk[len(lower) :]}", names) if not chunk.startswith(lower) else written


def _parts_of(chunk: str) -> tuple[str, str, str]:
    """The text before `@`, the `@`, and the text behind it."""
    if chunk.count("@") > 1:
        chunk = _PLACEHOLDER.sub(r"$\1", chunk)  # `@HUB@/shop/web:@TAG@`
    is_package = chunk.startswith("pkg:")
    if is_package:
        # The type of a package URL is no part of the name: `pkg:docker/shop/web@1.2`.
        chunk = chunk.partition("/")[2]
    if chunk[:1] == "_" == chunk[-1:]:
        chunk = chunk.strip("_")  # Markdown
    if "%" in chunk and _ESCAPED(chunk):
        chunk = unquote(chunk)
    name, at, behind = chunk.rstrip("/").partition("@")
    if at and "/" in behind:
        name, at, behind = behind.partition("@")  # `https://user:password@host/web`
    if at and "/" not in name and not is_package and not _DIGEST(behind.lower()):
        name = ""
    return name, at, behind


def _read(chunk: str, names: Names) -> Written:
    name, at, behind = _parts_of(chunk)
    digest = behind.lower() if at and _DIGEST(behind.lower()) else ""
    front, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if behind and not digest and not tag:
        colon, tag, behind = at, behind, ""
    parts = [*front.split("/"), last.rstrip(".")] if slash else [last.rstrip(".")]
    if len(parts) >= 4 and (version := _API_PATHS.get(parts[-2], "/")) in parts:
        # `/v2/<repository>/manifests/<tag>`, `/acr/v1/<repository>/_tags/<tag>` of the registry's APIs.
        index = parts.index(version)
        colon, tag, parts = "/", last, [*parts[:index], *parts[index + (1 if version == "v2" else 2) : -2]]
    # `web:$TAG`, `web:1.2-%s`: a variable where the tag belongs, or a part of it.
    variable = tag.partition("$")[0].partition("%")[0] != tag
    tag = "" if variable else tag.rstrip(".")
    is_invalid = (tag and not _TAG(tag.replace("+", "_"))) or (behind and not digest)
    if is_invalid:
        tag = colon = ""
    if tag.isdigit() and _ADDRESS(chunk):
        tag = colon = ""  # `http://web:80` is a host and its port
    if slash and (unfinished := _UNFINISHED(parts[-1])):
        # `X/shop/web-${VARIANT}`, `X/shop/$NAME:1.2`
        literal, head = _literal(parts[:-1], names)
        path = "/".join((*literal, *filter(None, unfinished.groups())))
        is_known = path in (names.unfinished if unfinished[1] else names.folders) and head in ("ours", "open", "")
        return Written(folder=path if is_known else "", host="ours" if head == "ours" else "", tag=tag)
    literal, head = _literal(parts, names)
    written = _resolve(literal, head, names)
    # Behind our host, an invalid tag may mean any tag.
    variable = variable or (bool(is_invalid) and written.host == "ours")
    return written._replace(
        tag=tag,
        digest=digest,
        colon=(bool(colon) or (bool(at) and not digest)) and not tag and not variable,
        variable=variable,
        is_reference=bool(literal) and (bool(tag) or bool(digest)) and (len(literal) > 1 or bool(written.name)),
        is_url=chunk.lower().startswith(("http://", "https://")),
    )


def _literal(parts: list[str], names: Names) -> tuple[list[str], str]:
    """
    The components of a path that are written out, from the right, and what is in front of them: "ours", "foreign",
    "open" (a variable, or the rest of one), or nothing.
    """
    literal: list[str] = []
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if part == "s" and not index and "/".join(parts) not in names.ends:
            return literal[::-1], "open"  # `%(registry)s/shop/web`
        if not _LITERAL(part):
            before, colon, after = part.rpartition(":")
            host = part if colon and _PORT(after) else after
            host = host.rpartition(":")[2] if not _PORT(host.rpartition(":")[2]) else host
            if host and names.is_ours(host):
                return literal[::-1], "ours"
            if colon and _PORT(after) and "." in before:
                return literal[::-1], "foreign"
            if colon and _LITERAL(after) and literal:
                # `image:docker.io/library/nginx`, without a blank
                literal.append(after)
                break
            if not part and index:
                break  # `oci://host/web`
            return literal[::-1], "open"
        literal.append(part)
    literal.reverse()
    if len(literal) > 1 and names.is_ours(literal[0]):
        return literal[1:], "ours"
    return literal, ""


def _resolve(literal: list[str], head: str, names: Names) -> Written:
    if not literal:
        return Written()
    path = "/".join(literal)
    if head == "ours":
        if path in names.repositories:
            return Written(f"/{path}", folder=path if path in names.folders else "", host="ours")
        return Written(folder=path if path in names.folders else "", host="ours")
    if path in names.ends:
        return Written(path, host="foreign" if head == "foreign" else "")
    if head != "foreign" and len(literal) > 1 and ("." in literal[0] or literal[0] == "localhost"):
        head, host, path = "foreign", literal[0], "/".join(literal[1:])
        if (mirror := names.mirrored(host, path)) in names.repositories:
            return Written(f"/{mirror}", host="foreign")
        if path in names.ends:
            return Written(path, host="foreign")
    if head == "open" and path in names.folders:
        return Written(folder=path)
    return Written(host=head if head == "foreign" else "")


def packed_words(chunks: Iterable[bytes], written: Mapping[bytes, Written], long: Iterable[str]) -> tuple[bytes, bytes]:
    """
    The words of an object, each once, packed: those with a digit or a sign, and those of letters alone.

    The tags of references belong to these references, and are left out. long: the runs that may contain a commit.
    """
    words = set(filterfalse(bytes.isalpha, chunks)).difference(written)
    letters = list(filter(bytes.isalpha, chunks))
    more = {word for chunk, text in written.items() if not text.is_reference for word in words_in(chunk.decode())}
    # Tags are made of branches: `feature-abc-12` of `Feature/ABC-12`.
    more.update(map(str.lower, list(more)))
    words.update(map(str.encode, more))
    for run in long:
        if not written.get(run.encode(), _NOTHING).is_reference:
            words.update(commit[:length].encode() for commit in _COMMITS(run) for length in _SHORT_COMMITS)
    packed = b" ".join(words)
    # `suffix: -alpine`, `prefix: release-`
    packed = packed.replace(b" -", b" ").removeprefix(b"-")
    if b"- " in packed or b"_ " in packed or packed.endswith((b"-", b"_")):
        packed += b" " + b" ".join(word.rstrip(b"-_") for word in packed.split() if word.endswith((b"-", b"_")))
    return packed, b" ".join(letters)


def words_in(chunk: str) -> list[str]:
    return _BETWEEN_WORDS.split(chunk)


def digests_in(runs: Iterable[str]) -> Iterator[str]:
    """
    The digests in these runs of characters: 64 hex digits.

    >>> list(digests_in([f"sha256-{'A' * 64}.sig"])) == ["sha256:" + "a" * 64]
    True
    """
    for run in runs:
        yield from (f"sha256:{digest.lower()}" for digest in _HEX_DIGESTS(run))


def version_words(label: str) -> Iterator[str]:
    """The words of a label that may be a version: all of it, and what is behind each hyphen (`helm.sh/chart: web-1.2.3`)."""
    yield label
    yield from (label[match.end() :] for match in re.finditer("-", label))
