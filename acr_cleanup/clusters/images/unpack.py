"""
Unpack text: escapes of JSON, YAML and URLs, base64 (also of gzip, also of chart archives), UTF-16. Pure.

A text that unpacks to more than `MOST_BYTES` is read up to this limit.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import html
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

MOST_BYTES = 16 << 20
"""Bytes unpacked of one object. A ConfigMap holds one MiB."""
_DEEPEST = 4
_SHORTEST_BASE64 = 12
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}").fullmatch
_HEX = re.compile(r"[0-9a-f]+").fullmatch
_ESCAPED = re.compile(
    r"\\+(?:u([0-9a-fA-F]{4})|u\{0*([0-9a-fA-F]{1,4})\}|x([0-9a-fA-F]{2})|([01][0-7]{2})|([nrtbf])|(\W))"
)
_JSON = "eyJ"
"""How JSON begins in base64."""
# Anchors and aliases of YAML. Their number and the size of a block are bounded: a short text may name a long one often.
_ANCHOR = re.compile(r"[:-] &([A-Za-z0-9_.-]{1,60}) +([^\s#&*{\[|>][^\s#]{0,200})")
_ALIAS = re.compile(r"(?<=[:-] )\*([A-Za-z0-9_.-]{1,60})(?=[ \r\n]|$)")
_BLOCK = re.compile(r":[ ]&([A-Za-z0-9_.-]{1,60})[ ]*\n((?:[ ]{1,20}[^\n]{1,200}\n){1,20})")
_MERGED = re.compile(r"^([ ]*)<<: \*([A-Za-z0-9_.-]{1,60})[ ]*$", re.MULTILINE)
_MOST_ALIASES = 1_000
_DATA_URL = re.compile(r"base64,([A-Za-z0-9+/_-]{12,60}={0,2})(?![A-Za-z0-9+/_=-])").findall
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}").search
_MOSTLY = 0.8
_BINARY = 20
_ENTITY = re.compile(r"&(?:#x?[0-9a-fA-F]{1,6}|quot|apos|amp|sol|colon|lt|gt|nbsp);")


def _gzip() -> Any:
    return zlib.decompressobj(wbits=31)


_COMPRESSIONS: Mapping[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": _gzip,
    b"\x78\x01": zlib.decompressobj,
    b"\x78\x9c": zlib.decompressobj,
    b"\x78\xda": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=MOST_BYTES * 8),
}
"""The first bytes of compressed data, and what unpacks it."""


class Budget:
    """The bytes that may still be unpacked of one object."""

    def __init__(self, left: int = MOST_BYTES) -> None:
        self.left = left


def unpacked(text: str, budget: Budget, depth: int = 0) -> Iterator[str]:
    """The texts that are packed in a text, and what is packed in them."""
    # Escapes in binary data are chance.
    if depth > _DEEPEST or budget.left <= 0 or (depth and text.count("\ufffd") * _BINARY > len(text)):
        return
    for inside in _unpack(text, budget):
        budget.left -= len(inside)
        yield inside
        yield from unpacked(inside, budget, depth + 1)


def _unpack(text: str, budget: Budget) -> Iterator[str]:
    if "\\" in text and (plain := _ESCAPED.sub(_unescaped, text)) != text:
        yield plain
    if "%" in text and _PERCENT(text) and (plain := _unquoted(text)) != text:
        yield plain
    if "&" in text and (plain := _ENTITY.sub(lambda match: html.unescape(match[0]), text)) != text:
        yield plain
    if "&" in text and "*" in text and (plain := _without_aliases(text)) != text:
        yield plain
    if len(text) < _SHORTEST_BASE64:
        return
    if "base64," in text:
        for part in _DATA_URL(text):
            yield from _decoded(part, budget)
    # Whole texts, wrapped over lines or not. Runs in other texts: `unpacked_run`.
    if " " not in text and ":" not in text:
        for part in _base64_in("".join(text.split())):
            yield from _decoded(part, budget)


def unpacked_run(run: str, budget: Budget) -> Iterator[str]:
    """Unpack a long run of base64 inside another text."""
    for part in _base64_in(run) if budget.left > 0 else ():
        for inside in _decoded(part, budget):
            budget.left -= len(inside)
            yield inside
            yield from unpacked(inside, budget, 1)


def _base64_in(run: str) -> Iterable[str]:
    """The run itself, or the parts of a JSON Web Token."""
    parts = run.split(".") if _JSON in run and run.count(".") in (1, 2) else [run]
    return [part for part in parts if len(part) >= _SHORTEST_BASE64 and _BASE64(part)]


def _without_aliases(text: str) -> str:
    """
    YAML with the values of anchors in place of their aliases: scalars, and the lines of mappings that are merged.

    >>> _without_aliases("x: &tag canary\\ntag: *tag\\n")
    'x: &tag canary\\ntag: canary\\n'
    """
    scalars = dict(_ANCHOR.findall(text))
    blocks = dict(_BLOCK.findall(text))
    text = _MERGED.sub(lambda match: _merged(match[1], blocks.get(match[2], match[0])), text, _MOST_ALIASES)
    return _ALIAS.sub(lambda match: scalars.get(match[1], match[0]), text, _MOST_ALIASES)


def _merged(indent: str, block: str) -> str:
    return "\n".join(f"{indent}{line.lstrip()}" for line in block.rstrip("\n").split("\n"))


def _unquoted(text: str) -> str:
    # `unquote` splits text at each character outside ASCII, which takes seconds for binary data.
    return unquote_to_bytes(text.encode(errors="replace")).decode(errors="replace")


def _unescaped(match: re.Match[str]) -> str:
    code, braced, byte, octal, letter, sign = match.groups()
    if letter:
        return "\n" if letter in "nr" else " "
    return sign or (chr(int(octal, 8)) if octal else chr(int(code or braced or byte, 16)))


def _decoded(text: str, budget: Budget) -> Iterator[str]:
    if _HEX(text):
        return
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return
    for signature, decompressor in _COMPRESSIONS.items():
        if data.startswith(signature):
            data = _decompressed(data, decompressor, budget.left)
            break
    if plain := text_of(data):
        yield plain


def text_of(data: bytes) -> str:
    """Decode bytes as UTF-8 or UTF-16. Invalid bytes become replacement characters."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    half = len(data) // 2
    zeros = data[::2].count(0), data[1::2].count(0)
    # An archive has zeros everywhere, UTF-16 in every second place.
    if max(zeros) > half * _MOSTLY and min(zeros) < half * (1 - _MOSTLY):
        return data.decode("utf-16-be" if zeros[0] > zeros[1] else "utf-16-le", errors="replace")
    return data.decode("utf-8", errors="replace")


def _decompressed(packed: bytes, decompressor: Callable[[], Any], room: int) -> bytes:
    """Unpack all members of compressed data, up to `room` bytes. Data that only looks compressed is returned unchanged."""
    parts: list[bytes] = []
    original = packed
    while packed and room > 0:
        member = decompressor()
        try:
            part = member.decompress(packed, room)
        except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
            break
        parts.append(part)
        room -= len(part)
        packed = member.unused_data
    return b"".join(parts) or original
