"""Rows of the log -> pulls that count. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from acr_cleanup.core.pulls import Pull
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.selection import Patterns, patterns
from acr_cleanup.quoting import plain, quoted
from acr_cleanup.registry.query_logs import QueryResult

OWN_AGENT = "acr-cleanup/*"
"""The registry logs the manifests that this tool reads as pulls. They never count."""
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# After a slash, four numbers are a version.
_ADDRESS = re.compile(r"(?<!/)\b\d{1,3}(?:\.\d{1,3}){3}\b")
_SET_SIZE = 5
_COLUMNS = ("Repository", "Tag", "Digest", "last", "pulls?", "Identity?", "UserAgent?", "who?", "agents?", "addresses?")


@dataclass
class PullRows:
    """
    Collects the pulls of all rows.

    since, now: a row from before `since` does not count. A row without a time counts as of now.
    ignore: globs on identity or user agent.
    counted, ignored: how many pulls, by who pulled.
    unplaced: how many pulls name no repository.
    """

    host: RegistryHost
    since: datetime
    now: datetime
    ignore: tuple[str, ...] = ()
    pulls: list[Pull] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    unplaced: int = 0
    _names: dict[str, tuple[str, bool]] = field(default_factory=dict, repr=False)

    @cached_property
    def _ignored_names(self) -> Patterns:
        return patterns((OWN_AGENT, *self.ignore))

    def add(self, result: QueryResult) -> None:
        """Add the rows of an answer. Raises `ReadFailure` if it lacks a column."""
        for repository, tag, digest, last, number, identity, agent, who, agents, addresses in result.rows(*_COLUMNS):
            moment = result.time(last) or self.now
            if moment < self.since:
                continue
            key = repr((who, identity, agents, agent, addresses))
            if key not in self._names:
                self._names[key] = self._who(_texts(who, identity), _texts(agents, agent), _texts(addresses, None))
            name, is_ignored = self._names[key]
            count = number if isinstance(number, int) and number > 0 else 1
            if is_ignored:
                self.ignored[name] += count
                continue
            self.counted[name] += count
            if not (path := self._path(repository)):
                self.unplaced += count
                continue
            self.pulls.append(Pull(path, _text(tag), _text(digest), moment, count, (name,)))

    def _who(self, who: tuple[str, ...], agents: tuple[str, ...], addresses: tuple[str, ...]) -> tuple[str, bool]:
        """Return the name of who pulled, for reports, and whether the pulls do not count."""
        name = ", ".join(map(shortened, who or ("",)))
        products = ", ".join(product for product in map(_product, agents) if product)
        extra = "; ".join(part for part in (products, ", ".join(plain(each, 45) for each in addresses)) if part)
        return f"{name} ({extra})" if extra else name, self._all_ignored(who) or self._all_ignored(agents)

    def _all_ignored(self, names: tuple[str, ...]) -> bool:
        # A set of the log that is full may have lost a name.
        whole = 0 < len(names) < _SET_SIZE
        return whole and all(self._ignored_names.matching(name) is not None for name in names if name) and any(names)

    def _path(self, repository: Any) -> str:
        """Return the name of a repository as the registry writes it."""
        path = _text(repository).strip("/").lower()
        first, slash, rest = path.partition("/")
        return sys.intern(rest if slash and self.host.owns(first) else path)


def shortened(identity: str) -> str:
    """
    Return who pulled, short and without an address.

    >>> [shortened(name) for name in ("3f2a1b0c-1111-2222-3333-444444444444", "jane.doe@contoso.com", "10.0.0.4", "")]
    ['3f2a1b0c…', 'j…@contoso.com', 'an address', 'anonymous']
    """
    name, at, domain = _ADDRESS.sub("…", quoted(identity, 80)).partition("@")
    if not identity.strip():
        return "anonymous"
    if _is_address(identity.strip()):
        return "an address"
    if at:
        return plain(f"{name[:1]}…@{domain}", 40)
    return f"{name[:8]}…" if _GUID.fullmatch(name) else plain(name, 24)


def _product(agent: str) -> str:
    """Return the first product of a user agent: `containerd/1.7`."""
    product = quoted(agent, 60).partition(" ")[0]
    return "" if _is_address(product) else plain(_ADDRESS.sub("…", product), 30)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _texts(values: Any, value: Any) -> tuple[str, ...]:
    """Return the texts of a set, which the log sends as a list or as its JSON, or the single text."""
    if isinstance(values, str):
        try:
            values = json.loads(values)
        except ValueError:
            values = [values]
    if not isinstance(values, Iterable) or isinstance(values, dict | str):
        values = [] if value is None else [value]
    return tuple(map(_text, values))
