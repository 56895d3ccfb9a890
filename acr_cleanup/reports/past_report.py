"""Reads the `report.json` of a past run."""

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

_REMEDY = "Name the report.json that a run left in its report folder."


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
    """One run, as its report tells; members that nobody here needs are left out, and later versions may have more."""

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
        return next((each for each in self.repositories if each.name == name), None)

    def digests(self, repository: str) -> frozenset[str]:
        """Every digest of the repository that the report tells of."""
        found = self.repository(repository)
        known = {each.digest for each in self.outcomes if each.repository == repository}
        if found is not None:
            known.update(each.digest for each in found.decisions)
            known.update(each.digest for each in found.manifests)
        return frozenset(known)


class _SchemaVersion(msgspec.Struct):
    schema_version: int
    tool_version: str = ""


def read_report(path: Path) -> PastRun:
    """Read a report; raises `ConfigurationError` for what is none."""

    def wrong(seen: str, remedy: str = _REMEDY) -> ConfigurationError:
        return ConfigurationError((Problem(str(path), words.plain(seen), remedy),))

    try:
        text = path.read_bytes()
    except OSError as error:
        raise wrong(f"The file cannot be read: {error.strerror or error}.") from error
    try:
        head = msgspec.json.decode(text, type=_SchemaVersion)
        if head.schema_version != SCHEMA_VERSION:
            seen = f"It is a report of version {head.schema_version}, and this program knows version {SCHEMA_VERSION}."
            raise wrong(seen, f"Read it with the acr-cleanup that wrote it ({words.plain(head.tool_version, 40)}).")
        return msgspec.json.decode(text, type=PastRun)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise wrong(f"It is no report of a run: {error}.") from error
