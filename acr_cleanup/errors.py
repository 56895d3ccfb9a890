"""
Every exception of this project. It lies beneath everything and imports nothing.

```text
AcrCleanupError                 something to tell the user: what was seen, where, what to do
├── ConfigurationError          wrong usage or configuration; carries every problem at once (exit 2)
├── IdentityError               no usable login (exit 3)
├── RegistryError               the registry, or one call to it, failed
│   ├── RegistryUnreachable     no network, no such host, TLS refused (exit 3)
│   ├── RegistryForbidden       401 or 403: rights are missing
│   └── NotListed               one repository could not be listed completely
└── InvalidReference            text that should be an image reference and is not
```
"""

from __future__ import annotations

from dataclasses import dataclass


class AcrCleanupError(Exception):
    """
    What went wrong in three parts a person can act on.

    `seen` is the summary (one sentence), `where` the place (a file path, a cluster, a call), `remedy` what to do.
    """

    def __init__(self, seen: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(seen)
        self.seen = seen
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.seen}{remedy}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: `path` is its place in the file, e.g. `kubernetes_clusters.production.name`."""

    path: str
    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.seen} {self.remedy}"


class ConfigurationError(AcrCleanupError):
    """Wrong usage or configuration. All problems are reported at once, each with its place and its remedy."""

    def __init__(self, problems: tuple[Problem, ...], *, where: str = "") -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{count} in the configuration.", where=where)
        self.problems = problems


class IdentityError(AcrCleanupError):
    """There is no login that can be used, or Entra ID refused it."""


class RegistryError(AcrCleanupError):
    """The registry, or one call to it, failed."""


class RegistryUnreachable(RegistryError):
    """The registry cannot be reached at all: no such host, no network, TLS refused."""


class RegistryForbidden(RegistryError):
    """The registry refused a call for want of rights (401 or 403)."""


class NotListed(RegistryError):
    """One repository could not be listed completely; what is in it is unknown, so all of it is kept."""


class InvalidReference(AcrCleanupError):
    """Text that should be an image reference and is not one."""
