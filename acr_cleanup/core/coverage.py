"""
Does one list of patterns select everything that another one selects?

The answer is safe, not complete: True is always right. Some lists that cover another one are not
recognised, for example one with several patterns that cover it only together.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from acr_cleanup.core.selection import EVERYTHING

_MAGIC = re.compile(r"[*?\[]")
_PART = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)


def covers(outer: Sequence[str], inner: Sequence[str], *, use_regex: bool) -> bool:
    """Does every name that `inner` selects match `outer`, too?"""
    if not all(_excluded(pattern, inner, use_regex=use_regex) for pattern in outer if pattern.startswith("!")):
        return False
    wanted = [pattern for pattern in outer if not pattern.startswith("!")] or [EVERYTHING]
    patterns = [pattern for pattern in inner if not pattern.startswith("!")] or [EVERYTHING]
    return all(any(_contains(one, other, use_regex) for one in wanted) for other in patterns)


def _excluded(negation: str, inner: Sequence[str], *, use_regex: bool) -> bool:
    return any(_contains(pattern[1:], negation[1:], use_regex) for pattern in inner if pattern.startswith("!"))


def _contains(outer: str, inner: str, use_regex: bool) -> bool:
    """Does the pattern `outer` match everything that `inner` matches?"""
    if outer in (EVERYTHING, inner):
        return True
    if use_regex or not inner.startswith(_MAGIC.split(outer, maxsplit=1)[0]):
        return False
    return _glob_contains(tuple(_PART.findall(outer)), tuple(_PART.findall(inner)))


def _glob_contains(outer: tuple[str, ...], inner: tuple[str, ...]) -> bool:
    """
    Match the parts of `inner` against `outer`, as if they were the characters of a name. Only `*` of
    `outer` takes a `*`.
    """
    # After each part of `outer`: the numbers of parts of `inner` that may be matched by then.
    matched = {0}
    for part in outer:
        if part == "*":
            matched = set(range(min(matched), len(inner) + 1))
        else:
            matched = {
                number + 1
                for number in matched
                if number < len(inner) and inner[number] != "*" and part in ("?", inner[number])
            }
        if not matched:
            return False
    return len(inner) in matched
