"""
The exceptions of this project. This module imports no other one.

```text
AcrCleanupError                 a failure to report: what was seen, where, what to do
├── ConfigurationError          wrong usage or configuration, with all its problems (exit 2)
├── IdentityError               no usable login (exit 3)
├── RegistryError               the registry, or one call to it, failed
│   ├── RegistryUnreachable     no network, no such host, TLS refused (exit 3)
│   ├── RegistryForbidden       401 or 403: rights are missing
│   │   └── RegistryClosed      the firewall, or the identity as a whole
│   └── NotListed               one repository could not be listed completely
└── InvalidReference            text that is not an image reference
```
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger("acr_cleanup")


class AcrCleanupError(Exception):
    """
    A failure that the user can act on, in three parts.

    - `seen`: what failed, in one sentence.
    - `where`: a file path, a cluster or a call.
    - `remedy`: what to do.
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


def unexpected(error: Exception, log_level: str = "log-level") -> AcrCleanupError:
    """
    Return the report of an unexpected exception. Call it where the exception is caught.

    Its traceback is written to the debug log: it does not help a user, and may contain foreign text.
    `log_level`: the name of the input that turns the debug log on.
    """
    log.debug("unexpected", exc_info=error)
    seen = f"Unexpected error: {type(error).__name__}: {error}".rstrip(". ")
    return AcrCleanupError(f"{seen}.", remedy=f"Run again with {log_level}: debug, and report it with that log.")


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One mistake in a configuration; `path` is its place, such as
    `kubernetes_clusters.production.name`.
    """

    path: str
    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.seen} {self.remedy}"


class ConfigurationError(AcrCleanupError):
    """
    Wrong usage or configuration.

    All problems are reported at once, each with place and remedy.
    """

    def __init__(self, problems: tuple[Problem, ...], *, where: str = "") -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{count} in the configuration.", where=where)
        self.problems = problems


class IdentityError(AcrCleanupError):
    """
    No login is usable, or Entra ID refused it.

    code: the number of Entra ID (AADSTS…); 0 without one.
    """

    def __init__(self, seen: str, *, where: str = "", remedy: str = "", code: int = 0) -> None:
        super().__init__(seen, where=where, remedy=remedy)
        self.code = code


class RegistryError(AcrCleanupError):
    """The registry, or one call to it, failed."""


class RegistryUnreachable(RegistryError):
    """No connection to the registry: no such host, no network, TLS refused."""


class RegistryForbidden(RegistryError):
    """The registry refused a call because rights are missing (401 or 403)."""


class RegistryClosed(RegistryForbidden):
    """The registry refused every call: its firewall, or the identity as a whole."""


class NotListed(RegistryError):
    """A repository could not be listed completely, so everything in it is kept."""


class InvalidReference(AcrCleanupError):
    """Text that is not a valid image reference."""
