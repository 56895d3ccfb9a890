"""
Reads the `report.json` of a past run.

The structs have the names of the report's members. Members that are not used here are left out, and
later versions may have more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from acr_cleanup.core.usage import Workload
from acr_cleanup.errors import ConfigurationError, Problem
from acr_cleanup.reports import words
from acr_cleanup.reports.answer import (
    ShownUse,
)
from acr_cleanup.reports.json import SCHEMA_VERSION

_REMEDY = "Name the report.json in the report folder of a run."


class RecordedUse(msgspec.Struct, frozen=True):
    cluster: str
    namespace: str
    kind: str
    name: str
    container: str
    field: str
    text: str

    @property
    def shown(self) -> ShownUse:
        """The use in words."""
        container = f" ({self.container})" if self.container else ""
        who = f"{Workload(self.cluster, self.namespace, self.kind, self.name)}{container}"
        return ShownUse(self.cluster, self.kind, who, self.field, self.text)


class RecordedReason(msgspec.Struct, frozen=True):
    rule: str
    detail: str
    uses: tuple[RecordedUse, ...] = ()


class RecordedDecision(msgspec.Struct, frozen=True):
    tag: str
    digest: str
    updated_at: datetime | None
    decision: str
    reasons: tuple[RecordedReason, ...]

    @property
    def deletes(self) -> bool:
        return self.decision == "delete"


class RecordedManifest(msgspec.Struct, frozen=True):
    digest: str
    media_type: str
    platform: str
    bytes: int
    tags: tuple[str, ...]


class RecordedRepository(msgspec.Struct, frozen=True):
    name: str
    error: str | None
    decisions: tuple[RecordedDecision, ...]
    manifests: tuple[RecordedManifest, ...]
    warnings: tuple[str, ...] = ()


class RecordedOutcome(msgspec.Struct, frozen=True):
    repository: str
    tag: str | None
    digest: str
    outcome: str
    detail: str = ""


class RecordedBlocker(msgspec.Struct, frozen=True):
    where: str
    call: str
    seen: str
    remedy: str


class RecordedCluster(msgspec.Struct, frozen=True):
    name: str
    access: str
    objects: int
    uses: int
    read_at: datetime | None = None


class PastRun(msgspec.Struct, frozen=True):
    """One run."""

    schema_version: int
    tool_version: str
    started_at: datetime
    finished_at: datetime
    registry: str
    dry_run: bool
    verdict: str
    policy: Mapping[str, str | int | bool | list[str]]
    clusters: tuple[RecordedCluster, ...]
    blockers: tuple[RecordedBlocker, ...]
    refusals: tuple[str, ...]
    warnings: tuple[str, ...]
    repositories: tuple[RecordedRepository, ...]
    outcomes: tuple[RecordedOutcome, ...]

    def repository(self, name: str) -> RecordedRepository | None:
        return next((repository for repository in self.repositories if repository.name == name), None)

    def digests(self, repository: str) -> frozenset[str]:
        """Return every digest of the repository in the report."""
        recorded = self.repository(repository)
        digests = {outcome.digest for outcome in self.outcomes if outcome.repository == repository}
        if recorded is not None:
            digests.update(decision.digest for decision in recorded.decisions)
            digests.update(manifest.digest for manifest in recorded.manifests)
        return frozenset(digests)


class _SchemaVersion(msgspec.Struct):
    schema_version: int
    tool_version: str = ""


def read_report(path: Path) -> PastRun:
    """Read a report. Raises `ConfigurationError` if the file is not one."""

    def invalid(seen: str, remedy: str = _REMEDY) -> ConfigurationError:
        return ConfigurationError((Problem(str(path), words.plain(seen), remedy),))

    try:
        text = path.read_bytes()
    except OSError as error:
        raise invalid(f"The file cannot be read: {error.strerror or error}.") from error
    try:
        head = msgspec.json.decode(text, type=_SchemaVersion)
        if head.schema_version != SCHEMA_VERSION:
            seen = (
                f"The report has version {head.schema_version}, but this program reads version {SCHEMA_VERSION} only."
            )
            raise invalid(seen, f"Read it with the acr-cleanup that wrote it ({words.plain(head.tool_version, 40)}).")
        return msgspec.json.decode(text, type=PastRun)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The file is not the report of a run: {error}.") from error
