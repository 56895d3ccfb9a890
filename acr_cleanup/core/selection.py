"""Select names by patterns: globs, or regular expressions that are fast for every name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

EVERYTHING = "*"
"""The pattern for every name, also with `use_regex`. As an expression it would be invalid."""

_MEMORY = 8 << 20
"""Bytes that RE2 may use for one expression."""

_MAGIC = re.compile(r"[*?\[]")
"""The characters that distinguish a glob from a plain name."""


class PatternRefused(ValueError):
    """RE2 does not accept this regular expression. The message is the reason that RE2 gives."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """
    A compiled list of patterns. Each must match a whole name, with case. Their order does not
    matter.

    A pattern that begins with `!` excludes names, even if another pattern matches them. A list with
    only such patterns selects all other names. An empty list selects nothing, so that losing its
    last pattern deletes nothing.
    """

    wanted: tuple[tuple[str, Callable[[str], bool]], ...]
    unwanted: tuple[tuple[str, Callable[[str], bool]], ...]

    def select(self, name: str) -> bool:
        """Does the list select this name?"""
        return self.matching(name) is not None and self.denying(name) is None

    def matching(self, name: str) -> str | None:
        """The first pattern that matches the name, or `*` if the list has only `!` patterns."""
        if not self.wanted:
            return EVERYTHING if self.unwanted else None
        return _first(self.wanted, name)

    def denying(self, name: str) -> str | None:
        """The first `!` pattern that matches the name."""
        return _first(self.unwanted, name)


def _first(patterns: tuple[tuple[str, Callable[[str], bool]], ...], name: str) -> str | None:
    # A loop: to make a generator for each of a million tags takes longer than to match it.
    for pattern, matches in patterns:
        if matches(name):
            return pattern
    return None


@lru_cache(maxsize=2048)
def patterns(written: tuple[str, ...], *, use_regex: bool = False) -> Patterns:
    """
    Compile a list of patterns, in the form that users write. Raises `PatternRefused`.

    >>> patterns(("team/*", "!team/old-*")).select("team/old-api")
    False
    """
    matcher = _regex if use_regex else _glob
    return Patterns(
        tuple((pattern, matcher(pattern)) for pattern in written if not pattern.startswith("!")),
        tuple((pattern, matcher(pattern[1:])) for pattern in written if pattern.startswith("!")),
    )


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """
    Compile an expression with RE2; it matches the bytes of a name. Raises `PatternRefused`.

    RE2 has no look-around and no back references. In return, its time is linear in the name.
    https://github.com/google/re2/wiki/Syntax
    """
    import re2  # noqa: PLC0415  loads a library that most runs do not need

    options = re2.Options()
    options.max_mem = _MEMORY
    # Otherwise RE2 also writes the error, which the exception contains, to stderr.
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except UnicodeEncodeError as error:
        raise PatternRefused("it is not valid Unicode text") from error
    except re2.error as error:
        message = error.args[0] if error.args else b""
        text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
        raise PatternRefused(text) from error


def captured(pattern: str, name: str) -> str | None:
    """
    The text that the one group of an expression captures, anywhere in the name; None if it does not
    match.

    >>> captured("^(dev|main)-", "dev-17")
    'dev'
    """
    match = compiled(pattern).search(name.encode())
    text: bytes | None = None if match is None else match.group(1)
    return None if text is None else text.decode()


def _glob(pattern: str) -> Callable[[str], bool]:
    if pattern == EVERYTHING:
        return lambda _: True
    if not _MAGIC.search(pattern):
        return pattern.__eq__
    match = re.compile(fnmatch.translate(pattern)).match
    return lambda name: match(name) is not None


def _regex(pattern: str) -> Callable[[str], bool]:
    if pattern == EVERYTHING:
        return lambda _: True
    match = compiled(pattern).fullmatch
    return lambda name: match(name.encode()) is not None
