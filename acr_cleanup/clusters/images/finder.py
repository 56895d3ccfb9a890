"""May some bytes name a repository of the registry? Cheap, and never wrongly no. Pure."""

from __future__ import annotations

import re
from typing import Any

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.core.references import normalise_host

_MOST_NAMES = 5_000
"""Beyond these, an automaton takes more memory and time than reading every object."""
_MEMORY = 64 << 20
# In JSON, a line break before a name is `\n`: two characters, of which the second is a letter.
_BEFORE, _AFTER = r"(?:^|[^A-Za-z0-9_.-]|\\(?:[bfnrt]|u[0-9a-fA-F]{4}))", r"\.?(?:$|[^A-Za-z0-9_.-])"
# Digests, and what may hide anything: escapes of JSON, YAML and URLs, and base64. Short base64 looks
# like a word, unless it ends with `=` or is known to be base64.
_HIDDEN = (
    r"[0-9a-f]{64}|\\u00(?:2[def]|3[0-9a]|[46][1-9a-fA-F]|[57][0-9aA])|\\x[0-9a-f]|\\u\{|\\[01][0-7]{2}|%2[fF]|&#"
    r"|base64,|eyJ[A-Za-z0-9_-]{10}|[A-Za-z0-9+/]{40}|\"[A-Za-z0-9+/]{20,}\"|\"[A-Za-z0-9+/]{10,}={1,2}\"|\"binaryData\""
)
_LONG = 20
_TO_WORDS = bytes(code if (chr(code).isalnum() and code < 128) or chr(code) in "_.-" else 32 for code in range(256))
_LEARN = 64
_MOSTLY = 0.6


class Finder:
    """
    Asks whether objects may name something of the registry.

    The automaton is left out while most objects do: those are read anyway.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._searches = _automata(names)
        self._asked = self._found = 0

    def may_name(self, data: bytes) -> bool:
        """May this object name something? Without a search while most objects do."""
        if self._found > _LEARN and self._found > self._asked * _MOSTLY:
            self._asked += 1
            return True
        found = self.names_something(data)
        self._asked += 1
        self._found += found
        return found

    def names_something(self, data: bytes) -> bool:
        """May this text name something?"""
        if self._searches:
            return any(search(data) is not None for search in self._searches)
        words = set(data.translate(_TO_WORDS).split())
        return not words.isdisjoint(self._names.lasts) or any(len(word) >= _LONG for word in words) or b"\\" in data


def _automata(names: Names) -> tuple[Any, ...]:
    """
    The searches for names and for what may hide them; none if there are too many names.

    One automaton for both would have the product of their states, and be three times slower.
    """
    parts = expressions_of(names, _AFTER)
    searches = () if parts is None else (compiled("|".join(parts), "search"), compiled(_HIDDEN, "search"))
    return () if None in searches else searches


def expressions_of(names: Names, after: str = "") -> list[str] | None:
    """
    Expressions for our hosts, the last components of repositories, and the last ones of folders behind a slash.

    after: what must follow a name. Returns None if there are too many names for one automaton.
    """
    words = {end.decode() for end in names.lasts if not end.endswith(b".")}
    folders = {folder.rpartition("/")[2] for folder in names.folders}
    hosts = {normalise_host(host) for host in (names.registry.login_server, *names.registry.aliases)} - {""}
    _, _, suffix = normalise_host(names.registry.login_server).partition(".")
    if suffix.startswith("azurecr."):
        hosts.add(f".geo.{suffix}")
    if len(words) + len(folders) > _MOST_NAMES:
        return None
    expressions = [f"(?i:{re.escape(host)})" for host in sorted(hosts)]
    if words:
        expressions.append(f"{_BEFORE}(?:{'|'.join(map(re.escape, sorted(words)))}){after}")
    if folders:
        expressions.append(f"/(?:{'|'.join(map(re.escape, sorted(folders)))}){after}")
    return expressions


def compiled(expression: str, method: str) -> Any:
    """A method of the compiled expression, for bytes: RE2 copies text. None if RE2 refuses it for its size."""
    import re2  # noqa: PLC0415  loads a library that most commands do not need

    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        return getattr(re2.compile(expression.encode(errors="replace"), options), method)
    except re2.error:
        return None
