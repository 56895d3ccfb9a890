"""
Encodes and hashes the documents that a run writes and a later one reads.

A document is a msgspec Struct. Foreign text in it may be anything, lone surrogates included.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain, islice
from typing import Any, Generic, TypeVar, cast

import msgspec

T = TypeVar("T")


PAUSE = ""
"""
An empty piece. It follows each group of items, and each item that has lists.

A caller that writes several documents about the same repositories can write them in turns.
"""

_BATCH = 500
"""Items that are encoded at once."""

_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="sorted").encode


class _Lazy(Generic[T]):
    """
    Items that are made again in each iteration, so that no document needs all of them in memory.
    """

    def __init__(self, make: Callable[[], Iterable[Iterable[T]]], *, grouped: bool) -> None:
        self.groups = make
        self.grouped = grouped

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self.groups())


def lazy(make: Callable[[], Iterable[T]]) -> list[T]:
    """
    Return a list for a member of a document that is written: `make` is called when it is encoded.

    The document can only be passed to the functions of this module. They need it item by item.
    """
    return cast("list[T]", _Lazy(lambda: (make(),), grouped=False))


def lazy_groups(make: Callable[[], Iterable[Iterable[T]]]) -> list[T]:
    """Do the same as `lazy` with groups of items: the items of one repository, for example."""
    return cast("list[T]", _Lazy(make, grouped=True))


def pieces(document: msgspec.Struct, indent: int = 0) -> Iterator[str]:
    """
    Yield the JSON of a document in pieces: one line for each member, and for each lazy item.

    The text is ASCII, so a document that is printed to a terminal or a log has no control, bidi or
    escape characters. Pipelines look for `##[` and `##vso[` anywhere in a line. A `#` occurs only
    within strings, where a JSON reader decodes its escape to the same character.
    """
    yield from _document(document, indent, None)


def hashed_pieces(document: msgspec.Struct) -> Iterator[str]:
    """
    Yield the JSON of a document whose last member is its `hash`, which is computed at the same time.

    The last lazy member is iterated once, because making its items may be expensive. Lone
    surrogates in its items are escaped, see `well_formed`.
    """
    yield from _document(document, 0, _ContentHash(document))


def _document(document: msgspec.Struct, indent: int, digest: _ContentHash | None) -> Iterator[str]:
    inner = "\n" + "  " * (indent + 1)
    start = "{"
    for name, value in _members(document):
        yield f'{start}{inner}"{name}": '
        start = ","
        if digest is not None and name == "hash":
            yield line(digest.result())
        elif isinstance(value, _Lazy):
            yield from _items(value, indent + 1, digest if digest is not None and name == digest.streamed else None)
        else:
            yield line(value)
    yield "\n" + "  " * indent + "}"


def _items(items: _Lazy[Any], indent: int, digest: _ContentHash | None) -> Iterator[str]:
    separator = ",\n" + "  " * (indent + 1)
    start = "[" + separator[1:]
    for group in items.groups():
        rest = iter(group)
        for item in rest:
            if _is_streamed(item):
                yield start
                yield from pieces(item, indent + 1)
                yield PAUSE
            else:
                batch: Sequence[Any] = [item, *islice(rest, _BATCH - 1)]
                if digest is not None:
                    batch = digest.add(batch)
                yield start + _lines(batch, separator)
            start = separator
        if items.grouped:
            yield PAUSE
    yield "[]" if start[0] == "[" else "\n" + "  " * indent + "]"


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
        data = _encoder.encode(value)
        if _is_plain(data):
            return data.decode("ascii")
    except UnicodeEncodeError:
        pass
    return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).replace("##", "#\\u0023")


def _lines(items: Sequence[Any], separator: str) -> str:
    """Encode each item as `line` does, and join them: many times as fast as one by one."""
    try:
        data = _encoder.encode_lines(items)
        if _is_plain(data):
            # A line break in a string is escaped.
            return data[:-1].replace(b"\n", separator.encode()).decode("ascii")
    except UnicodeEncodeError:
        pass
    return separator.join(map(line, items))


def _is_plain(data: bytes) -> bool:
    return data.isascii() and b"\x7f" not in data and b"##" not in data


class _ContentHash:
    """
    The hash of a document, as `content_hash` defines it, while the document is written.

    streamed: the last lazy member. Its items are passed to `add`, in order.
    """

    def __init__(self, document: msgspec.Struct | Mapping[str, Any]) -> None:
        members = document.items() if isinstance(document, Mapping) else _members(document)
        values = {name: value for name, value in members if name != "hash"}
        self.streamed = next((name for name in reversed(values) if isinstance(values[name], _Lazy)), "")
        self._digest = sha256()
        self._start = b"{"
        self._rest = sorted(values.items())
        while self._rest and self._rest[0][0] != self.streamed:
            self._member(*self._rest.pop(0))
        if self._rest:
            self._name(self.streamed)
            self._separator = b"["

    def add(self, items: Sequence[T]) -> Sequence[T]:
        """Add items of the streamed member, and return them with well-formed texts."""
        try:
            data = _canonical(items)
        except UnicodeEncodeError:
            items = list(map(well_formed, items))
            data = _canonical(items)
        self._digest.update(self._separator + data[1:-1])
        self._separator = b","
        return items

    def result(self) -> str:
        if self._rest:
            self._digest.update(b"[]" if self._separator == b"[" else b"]")
            for name, value in self._rest[1:]:
                self._member(name, value)
        self._digest.update(b"}" if self._start == b"," else b"{}")
        return f"sha256:{self._digest.hexdigest()}"

    def _name(self, name: str) -> None:
        self._digest.update(self._start + _canonical(name) + b":")
        self._start = b","

    def _member(self, name: str, value: Any) -> None:
        self._name(name)
        self._digest.update(_canonical(list(value) if isinstance(value, _Lazy) else value))


def content_hash(document: msgspec.Struct | Mapping[str, Any]) -> str:
    """
    Hash the canonical JSON of all members except `hash`: UTF-8, sorted keys, no white space.

    The hash detects accidents and manual edits. It is not a signature: anyone who can write the
    file can also write a matching hash.

    >>> content_hash({"b": [1, 2], "a": None}) == content_hash({"hash": "", "a": None, "b": [1, 2]})
    True
    """
    digest = _ContentHash(document)
    streamed = iter(getattr(document, digest.streamed) if digest.streamed else ())
    while batch := list(islice(streamed, _BATCH)):
        digest.add(batch)
    return digest.result()


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
