"""Which registries of Azure do the objects of a cluster name? Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from acr_cleanup.core.references import RegistryHost, normalise_host

_MARK = b".azurecr."
_BEFORE = 100
"""Bytes before the mark that may belong to the host name."""
_MOST = 10
"""Other registries that a report names."""
_HOST = re.compile(rb"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+\.geo)?\.azurecr\.(?:io|us|cn)$")
_SUFFIX_LENGTH = len("io")


@dataclass
class RegistryHosts:
    """
    Looks for host names in pages of objects, until one of them names the registry.

    A registry that no object names was perhaps misspelt, or is of another environment.
    """

    registry: RegistryHost
    named: bool = False
    others: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        hosts = (self.registry.login_server, *self.registry.aliases)
        self._own = [normalise_host(host).encode() for host in hosts]

    def look(self, body: bytes) -> None:
        """Look at one page as the API server sent it."""
        if self.named:
            return
        self.named = any(host in body for host in self._own)
        at = -1 if self.named else body.find(_MARK)
        while at >= 0 and not self.named and len(self.others) < _MOST:
            end = at + len(_MARK) + _SUFFIX_LENGTH
            if match := _HOST.search(body[max(0, at - _BEFORE) : end]):
                host = match.group().decode().lower()
                self.named = self.registry.owns(host)
                self.others.add(host)
            at = body.find(_MARK, end)

    @property
    def registries(self) -> tuple[str, ...]:
        """The other registries; empty if the registry itself is named."""
        return () if self.named else tuple(sorted(self.others))
