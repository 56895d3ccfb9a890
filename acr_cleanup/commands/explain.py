"""Answers for one tag or manifest: stays or goes, for which reasons, and who uses it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from acr_cleanup.commands.run import Connections, connect
from acr_cleanup.core.explanation import explain_manifest, explain_tag
from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest, Registry, parse_reference
from acr_cleanup.core.removal import prepare
from acr_cleanup.core.usage import UsageIndex
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, InvalidReference, Problem
from acr_cleanup.reports.answer import ExplanationPage
from acr_cleanup.reports.explained_repository import RepositoryExplanation
from acr_cleanup.reports.explanation import TagExplanation
from acr_cleanup.reports.past import PastExplanation
from acr_cleanup.reports.past_report import read_report
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages.read import read_usage

ANSWERED = 0
NOT_THERE = 1
"""Exit code for what neither the registry nor any use knows."""
UNREADABLE = 3
"""Exit code when nothing can be said: no login, no way to the registry, a repository that cannot be listed."""

_SCHEME = re.compile(r"[a-z][a-z0-9-]*://")
# Reports show digests by their first twelve digits, and people paste what they see.
_SHORT_DIGEST = re.compile(r"sha256:[0-9a-f]{6,63}")
_DIGEST_ALONE = re.compile(r"sha256:[0-9a-f]{64}")
_FORM = "Write REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST."

log = logging.getLogger("acr_cleanup")


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked about: a repository, a tag of it, or a manifest (`digest` may be the beginning of one)."""

    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else f"@{self.digest}" if self.digest else "")


def parse_target(text: str, registry: Registry) -> Target:
    """
    Read what a user asks about, with or without the registry's host in any spelling of it; raises `ConfigurationError`.

    Of a tag and a digest the digest counts, as it does for a container runtime.

    >>> parse_target("CONTOSO.azurecr.io/shop/web:1.0", Registry("contoso.azurecr.io"))
    Target(repository='shop/web', tag='1.0', digest=None)
    """
    rest = _SCHEME.sub("", text.strip(), count=1)
    first, slash, remainder = rest.partition("/")
    if slash and registry.owns(first):
        rest = remainder
    elif slash and ("." in first or ":" in first or first == "localhost"):
        remedy = f"Ask about an image of {registry.login_server}"
        if ":" not in first:
            remedy += f"; if {first} is the beginning of a repository's name, write the host before it"
        raise _wrong(f"{first!r} is another registry than {registry.login_server}.", f"{remedy}.")
    name, at, digest = rest.partition("@")
    repository, colon, tag = name.partition(":")
    if _DIGEST_ALONE.fullmatch(rest):
        raise _wrong("A digest alone names no repository.", "Write REPOSITORY@DIGEST.")
    try:
        if at and _SHORT_DIGEST.fullmatch(digest):
            parse_reference(f"{registry.login_server}/{repository}")
            return Target(repository, digest=digest)
        parse_reference(f"{registry.login_server}/{rest}")
    except InvalidReference as error:
        raise _wrong(str(error), _FORM) from None
    return Target(repository, None if at or not colon else tag, digest if at else None)


async def explain(
    target: str,
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    open_connections: Callable[[], AbstractAsyncContextManager[Connections]] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """
    Read the clusters and one repository, say all that speaks for and against `target`, and return the exit code.

    Raises `ConfigurationError` for a target that is none, or one of another registry.
    """
    asked = parse_target(target, settings.registry)
    try:
        async with open_connections() if open_connections else connect(settings, runtime, environ) as connections:
            evidence = await _read(asked, settings, connections, runtime, clock)
        answer, code = _answer(asked, evidence, everything=settings.log_level == "debug")
        runtime.show(answer)
    except ConfigurationError:
        raise
    except AcrCleanupError as error:
        log.debug("nothing can be said", exc_info=True)
        runtime.log(Level.ERROR, f"Nothing can be said of {asked}: {error}")
        code = UNREADABLE
    except Exception as error:  # a user can do nothing with a traceback
        log.debug("unexpected", exc_info=True)
        seen = f"Unexpected error: {type(error).__name__}: {error}"
        runtime.log(Level.ERROR, f"{seen}. Run again with --log-level debug, and report it.")
        code = UNREADABLE
    runtime.finish()
    return code


async def _read(
    asked: Target, settings: Settings, connections: Connections, runtime: Runtime, clock: Callable[[], datetime]
) -> Evidence:
    """The same reading as a run's, of one repository. Unlike there, all edges are read: they tell what belongs together."""
    connections.registry.announce([asked.repository])
    usage: UsageIndex = await read_usage(connections.sources, runtime.progress, clock)
    runtime.progress("repositories", 0, 1, asked.repository)
    listed: RepositoryInventory = await connections.registry.list_repository(asked.repository)
    now = clock()
    inventory = await connections.registry.read_edges(prepare(listed, usage, settings.policy, now))
    runtime.progress("repositories", 1, 1, asked.repository)
    return Evidence(inventory, usage, settings.policy, now)


def _answer(asked: Target, evidence: Evidence, *, everything: bool) -> tuple[ExplanationPage, int]:
    inventory = evidence.inventory
    if asked.tag is None and asked.digest is None:
        known = inventory.tags or inventory.manifests or asked.repository in evidence.usage.repositories
        return RepositoryExplanation(everything, evidence), ANSWERED if known else NOT_THERE
    if asked.digest is not None:
        digests = {*inventory.manifests, *inventory.tags_of, *evidence.usage.digests(inventory.name)}
        found = explain_manifest(evidence, _whole(asked, asked.digest, digests))
    else:
        found = explain_tag(evidence, asked.tag or "")
    code = ANSWERED if found.exists or found.uses else NOT_THERE
    return TagExplanation(everything, evidence, found), code


def _whole(asked: Target, digest: str, known: Iterable[str]) -> Digest:
    """The digest that begins like this. Raises `ConfigurationError` if several do."""
    matching = sorted({each for each in known if each.startswith(digest)})
    if len(matching) > 1:
        raise _wrong(f"{len(matching)} digests of {asked.repository} begin with {digest}.", "Write more digits of it.")
    return Digest(matching[0] if matching else digest)


def explain_report(target: str, report: Path, runtime: Runtime) -> int:
    """
    The same from the `report.json` of a run: what was known then, and what was done.

    Raises `ConfigurationError` for a file that is no report, and for a target that is none or of another registry.
    """
    run = read_report(report)
    asked = parse_target(target, Registry(run.registry))
    digest = _whole(asked, asked.digest, run.digests(asked.repository)) if asked.digest is not None else None
    answer = PastExplanation(everything=False, run=run, repository=asked.repository, tag=asked.tag, digest=digest)
    runtime.show(answer)
    runtime.finish()
    return ANSWERED if answer.known else NOT_THERE


def _wrong(seen: str, remedy: str) -> ConfigurationError:
    return ConfigurationError((Problem("TARGET", seen, remedy),))
