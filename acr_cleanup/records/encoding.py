"""
Encodes and hashes the documents that a run writes and a later one reads.

A document is a msgspec Struct. Foreign text in it may be anything, lone surrogates included.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Generic, TypeVar, cast

import msgspec

T = TypeVar("T")


class _Lazy(Generic[T]):
    """
    Items that are made again in each iteration, so that no document needs all of them in memory.
    """

    def __init__(self, make: Callable[[], Iterable[T]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[T]:
        return iter(self._make())


def lazy(make: Callable[[], Iterable[T]]) -> list[T]:
    """
    Return a list for a member of a document that is written: `make` is called when it is encoded.

    The document can only be passed to the functions of this module. They need it item by item.
    """
    return cast("list[T]", _Lazy(make))


def pieces(document: msgspec.Struct, indent: int = 0) -> Iterator[str]:
    """
    Yield the JSON of a document in pieces: one line for each member, and for each lazy item.

    The text is ASCII, so a document that is printed to a terminal or a log has no control, bidi or
    escape characters. Pipelines look for `##[` and `##vso[` anywhere in a line. A `#` occurs only
    within strings, where a JSON reader decodes its escape to the same character.
    """
    inner = "\n" + "  " * (indent + 1)
    start = "{"
    for name, value in _members(document):
        yield f'{start}{inner}"{name}": '
        start = ","
        yield from _items(value, indent + 1) if isinstance(value, _Lazy) else (line(value),)
    yield "\n" + "  " * indent + "}"


def _items(items: _Lazy[Any], indent: int) -> Iterator[str]:
    inner = "\n" + "  " * (indent + 1)
    start = "["
    for item in items:
        yield start + inner
        start = ","
        yield from pieces(item, indent + 1) if _is_streamed(item) else (line(item),)
    yield "[]" if start == "[" else "\n" + "  " * indent + "]"


def _is_streamed(item: Any) -> bool:
    return isinstance(item, msgspec.Struct) and any(isinstance(value, _Lazy) for _, value in _members(item))


def _members(document: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for name in document.__struct_fields__:
        value = getattr(document, name)
        if value is not msgspec.UNSET:
            yield name, value


def line(value: Any) -> str:
    """
    Encode a value as one line of ASCII JSON, without `##`. A lone surrogate is escaped, as in
    `json`.
    """
    try:
        data = msgspec.json.encode(value)
        if data.isascii() and b"\x7f" not in data and b"##" not in data:
            return data.decode("ascii")
    except UnicodeEncodeError:
        pass
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).replace("##", "#\\u0023")


_canonical = partial(msgspec.json.encode, order="sorted")


def content_hash(document: msgspec.Struct | Mapping[str, Any]) -> str:
    """
    Hash the canonical JSON of all members except `hash`: UTF-8, sorted keys, no white space.

    The hash detects accidents and manual edits. It is not a signature: anyone who can write the
    file can also write a matching hash.

    >>> content_hash({"b": [1, 2], "a": None}) == content_hash({"hash": "", "a": None, "b": [1, 2]})
    True
    """
    members = document.items() if isinstance(document, Mapping) else _members(document)
    digest = sha256()
    start = b"{"
    for name, value in sorted((member for member in members if member[0] != "hash"), key=lambda member: member[0]):
        digest.update(start + _canonical(name) + b":")
        start = b","
        if isinstance(value, _Lazy):
            digest.update(b"[")
            for place, item in enumerate(value):
                digest.update((b"," if place else b"") + _canonical(item))
            digest.update(b"]")
        else:
            digest.update(_canonical(value))
    digest.update(b"}" if start == b"," else b"{}")
    return f"sha256:{digest.hexdigest()}"


def well_formed(value: T) -> T:
    """
    Escape lone surrogates in the texts of a value. They are not valid Unicode, and have no
    canonical JSON.
    """
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return cast("T", _escaped(value))
    return value


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [_escaped(item) for item in value]
        case msgspec.Struct():
            # Not `convert`: a document with a name that the registry does not allow is still
            # written.
            return type(value)(*(_escaped(getattr(value, name)) for name in value.__struct_fields__))
        case _:
            return value
