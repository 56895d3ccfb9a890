"""Which names a list of patterns selects: globs, or regular expressions that no name can make slow."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

EVERYTHING = "*"
"""Alone it means every name, among regular expressions too: there it would mean nothing else."""

_MEMORY = 8 << 20

_MAGIC = re.compile(r"[*?\[]")
"""What makes a glob more than a name."""


class PatternRefused(ValueError):
    """Not a regular expression as RE2 knows them; the text is what RE2 says about it."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """
    A list of patterns, ready to be asked. Each must match a whole name, case mattering; their order does not matter.

    One that begins with `!` takes names away, whatever else matches them. A list of such alone selects all others; an empty list
    selects nothing, so that a list that lost its last pattern deletes nothing.
    """

    wanted: tuple[tuple[str, Callable[[str], bool]], ...]
    unwanted: tuple[tuple[str, Callable[[str], bool]], ...]

    def select(self, name: str) -> bool:
        """Does the list select this name?"""
        return self.matching(name) is not None and self.denying(name) is None

    def matching(self, name: str) -> str | None:
        """The first pattern that matches the name; `*` where the list says only which names it does not mean."""
        if not self.wanted:
            return EVERYTHING if self.unwanted else None
        return next((pattern for pattern, matches in self.wanted if matches(name)), None)

    def denying(self, name: str) -> str | None:
        """The first `!` pattern that takes the name away."""
        return next((pattern for pattern, matches in self.unwanted if matches(name)), None)


@lru_cache(maxsize=64)
def patterns(written: tuple[str, ...], *, use_regex: bool = False) -> Patterns:
    """
    The list as it was written. Raises `PatternRefused`.

    >>> patterns(("team/*", "!team/old-*")).select("team/old-api")
    False
    """
    matcher = _regex if use_regex else _glob
    return Patterns(
        tuple((each, matcher(each)) for each in written if not each.startswith("!")),
        tuple((each, matcher(each[1:])) for each in written if each.startswith("!")),
    )


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """
    The pattern as an object of RE2, which is asked with the bytes of a name. Raises `PatternRefused`.

    RE2 has no look-around and no back references; in return no pattern can make it slow. https://github.com/google/re2/wiki/Syntax
    """
    import re2  # noqa: PLC0415  loads a library, which most runs need not

    options = re2.Options()
    options.max_mem = _MEMORY
    # The reason is in the exception; RE2 would also write it to the standard error.
    options.log_errors = False
    try:
        return re2.compile(pattern.encode(), options)
    except UnicodeEncodeError as error:
        raise PatternRefused("it is not a Unicode text") from error
    except re2.error as error:
        said = error.args[0] if error.args else b""
        raise PatternRefused(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from error


def captured(pattern: str, name: str) -> str | None:
    """
    What the one group of a regular expression captures, wherever in the name it matches; None where it finds nothing.

    >>> captured("^(dev|main)-", "dev-17")
    'dev'
    """
    found = compiled(pattern).search(name.encode())
    text: bytes | None = None if found is None else found.group(1)
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
