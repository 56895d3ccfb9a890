"""Explains why a tag, manifest or repository is kept or deleted, and which workloads use it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from acr_cleanup.commands.connections import Connections, connect
from acr_cleanup.core.explanation import explain_manifest, explain_tag
from acr_cleanup.core.policy import Evidence
from acr_cleanup.core.references import Digest, RegistryHost, parse_reference
from acr_cleanup.errors import AcrCleanupError, ConfigurationError, InvalidReference, Problem, unexpected
from acr_cleanup.records.report import Report, read_report
from acr_cleanup.reports.answer import Answer
from acr_cleanup.reports.explained_repository import explain_repository
from acr_cleanup.reports.explanation import explain_item
from acr_cleanup.reports.past import explain_past
from acr_cleanup.runtimes.base import Level, Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages.ledger import LedgerKeeper
from acr_cleanup.stages.names import read_named_usage, read_repository_names
from acr_cleanup.stages.read import read_usage
from acr_cleanup.stages.read_repository import decide_repository, read_repository

EXPLAINED = 0
NOT_FOUND = 1
"""Exit code if the target is not in the registry and no workload uses it."""
UNREADABLE = 3
"""Exit code if login, connection or listing failed: the target may or may not exist."""

_SCHEME = re.compile(r"[a-z][a-z0-9-]*://")
# Reports show the first twelve digits of a digest, and users paste them.
_SHORT_DIGEST = re.compile(r"sha256:[0-9a-f]{6,63}")
_DIGEST_ALONE = re.compile(r"sha256:[0-9a-f]{64}")
_FORMS = "Write REPOSITORY, REPOSITORY:TAG or REPOSITORY@DIGEST."

log = logging.getLogger("acr_cleanup")


@dataclass(frozen=True, slots=True)
class Target:
    """The repository, tag or manifest to explain."""

    repository: str
    tag: str | None = None
    digest: str | None = None
    """A whole digest, or its first digits."""

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else f"@{self.digest}" if self.digest else "")


def parse_target(text: str, registry: RegistryHost) -> Target:
    """
    Parse a target, with or without the registry's host name.

    If a target has a tag and a digest, the tag is ignored, as in a container runtime. Raises
    `ConfigurationError` if the target is invalid or in another registry.

    >>> parse_target("CONTOSO.azurecr.io/shop/web:1.0", RegistryHost("contoso.azurecr.io"))
    Target(repository='shop/web', tag='1.0', digest=None)
    """
    rest = _SCHEME.sub("", text.strip(), count=1)
    first, slash, remainder = rest.partition("/")
    if slash and registry.owns(first):
        rest = remainder
    elif slash and ("." in first or ":" in first or first == "localhost"):
        remedy = f"Name an image in {registry.login_server}"
        if ":" not in first:
            remedy += f"; if {first} is part of the repository's name, write {registry.login_server}/ before it"
        raise _invalid(f"{first!r} is another registry than {registry.login_server}.", f"{remedy}.")
    name, at, digest = rest.partition("@")
    repository, colon, tag = name.partition(":")
    if _DIGEST_ALONE.fullmatch(rest):
        raise _invalid("The repository is missing before the digest.", "Write REPOSITORY@DIGEST.")
    try:
        if at and _SHORT_DIGEST.fullmatch(digest):
            parse_reference(f"{registry.login_server}/{repository}")
            return Target(repository, digest=digest)
        parse_reference(f"{registry.login_server}/{rest}")
    except InvalidReference as error:
        raise _invalid(str(error), _FORMS) from None
    return Target(repository, None if at or not colon else tag, digest if at else None)


async def explain(
    target: str,
    settings: Settings,
    runtime: Runtime,
    environ: Mapping[str, str],
    *,
    print_json: Callable[[Iterable[str]], None] | None = None,
    open_connections: Callable[[], AbstractAsyncContextManager[Connections]] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> int:
    """
    Show all reasons for and against deleting `target`, and return the exit code.

    print_json: receives the answer as a JSON document, instead of the page for people.

    Reads all clusters and one repository. Raises `ConfigurationError` if the target is invalid or
    in another registry.
    """
    parsed = parse_target(target, settings.registry)
    try:
        async with open_connections() if open_connections else connect(settings, runtime, environ) as connections:
            evidence = await _read(parsed, settings, connections, runtime, clock)
        answer = _answer(parsed, evidence, everything=settings.log_level == "debug")
        _show(answer, runtime, print_json)
        code = EXPLAINED if answer.known else NOT_FOUND
    except ConfigurationError:
        raise
    except AcrCleanupError as error:
        log.debug("explain failed", exc_info=True)
        runtime.log(Level.ERROR, f"{parsed} cannot be explained: {error}")
        code = UNREADABLE
    except Exception as error:  # noqa: BLE001
        runtime.log(Level.ERROR, str(unexpected(error)))
        code = UNREADABLE
    runtime.finish()
    return code


async def _read(
    target: Target, settings: Settings, connections: Connections, runtime: Runtime, clock: Callable[[], datetime]
) -> Evidence:
    """
    Read the clusters and one repository, as a run does.

    Unlike a run, it reads the children and subjects of all manifests.
    """
    await connections.log_in()
    connections.registry.announce([target.repository])
    names = await read_repository_names(connections.registry, runtime)
    ledger = LedgerKeeper(settings.ledger, settings.registry.login_server, settings.policy, clock(), connections.bodies)
    ledger.open(writes=False)
    read = partial(read_usage, connections.sources, progress=runtime.progress, clock=clock)
    _, usage = await read_named_usage(names, read, connections.registry, runtime)
    usage = ledger.attach(usage)
    runtime.progress("repositories", 0, 1, target.repository)
    now = clock()
    inventory = await read_repository(connections.registry, target.repository, usage, settings.policy, now)
    runtime.progress("repositories", 1, 1, target.repository)
    evidence = Evidence(inventory, usage, settings.policy, now)
    return (await decide_repository(evidence, connections.untagged_expire)).evidence


def _answer(target: Target, evidence: Evidence, *, everything: bool) -> Answer:
    """Return the answer. With `everything`, long lists are not shortened."""
    inventory = evidence.inventory
    if target.tag is None and target.digest is None:
        return explain_repository(evidence, everything=everything)
    if target.digest is None:
        return explain_item(evidence, explain_tag(evidence, target.tag or ""), everything=everything)
    digests = {*inventory.manifests, *inventory.tags_of, *evidence.usage.digests(inventory.name)}
    explanation = explain_manifest(evidence, _full_digest(target, target.digest, digests))
    return explain_item(evidence, explanation, everything=everything)


def _full_digest(target: Target, beginning: str, digests: Iterable[str]) -> Digest:
    """
    Return the digest that begins with `beginning`, or `beginning` itself if there is none.

    Raises `ConfigurationError` if several do.
    """
    matches = sorted({digest for digest in digests if digest.startswith(beginning)})
    if len(matches) > 1:
        raise _invalid(f"{len(matches)} digests of {target.repository} begin with {beginning}.", "Write more digits.")
    return Digest(matches[0] if matches else beginning)


def _show(answer: Answer, runtime: Runtime, print_json: Callable[[Iterable[str]], None] | None) -> None:
    if print_json is None:
        runtime.show(answer)
    else:
        print_json(answer.as_json())


def explain_report(
    target: str, report: Path, runtime: Runtime, print_json: Callable[[Iterable[str]], None] | None = None
) -> int:
    """
    Show from the `report.json` of a run why `target` was kept or deleted, and return the exit code.

    print_json: see `explain`.

    Raises `ConfigurationError` if the file is not a report, or the target is invalid or in another
    registry.
    """
    run = read_report(report)
    parsed = parse_target(target, RegistryHost(run.registry))
    digest = None
    if parsed.digest is not None:
        digest = _full_digest(parsed, parsed.digest, _digests(run, parsed.repository))
    answer = explain_past(run, parsed.repository, parsed.tag, digest)
    _show(answer, runtime, print_json)
    runtime.finish()
    return EXPLAINED if answer.known else NOT_FOUND


def _digests(run: Report, repository: str) -> Iterator[str]:
    """Yield every digest of the repository in the report."""
    yield from (outcome.digest for outcome in run.outcomes if outcome.repository == repository)
    for recorded in run.repositories:
        if recorded.name == repository:
            yield from (decision.digest for decision in recorded.decisions)
            yield from (manifest.digest for manifest in recorded.manifests)


def _invalid(seen: str, remedy: str) -> ConfigurationError:
    return ConfigurationError((Problem("TARGET", seen, remedy),))
