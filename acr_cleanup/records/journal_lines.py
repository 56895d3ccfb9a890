"""
The lines of a journal.

Only the members that `acr-cleanup restore` needs are required: an edited or truncated journal is
restored as far as possible.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.records.parts import Count, DigestText, LoginServer, Pushed, ToolVersion

SCHEMA_VERSION = 1

UNTAG: Literal["untag"] = "untag"
DELETE_MANIFEST: Literal["delete_manifest"] = "delete_manifest"

# Names become part of request paths; an edited journal must not change the path.
_Repository = Annotated[str, Meta(pattern=r"\A[a-z0-9]+(?:[._/-]+[a-z0-9]+)*\Z")]
_TagName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]*\Z")]
_Number = Annotated[int, Meta(description="The number of the line, from 1. The header has none.")]
_Time = Annotated[str, Meta(description="When the line was written. RFC 3339, UTC.")]


class Header(msgspec.Struct, tag_field="kind", tag="header"):
    """The first line."""

    schema_version: Annotated[int, Meta(extra_json_schema={"const": SCHEMA_VERSION})]
    registry: LoginServer
    tool_version: ToolVersion = ""
    started_at: str = ""
    """When the run started to delete. RFC 3339, UTC."""
    parameters: dict[str, Any] = {}
    """The policy of the run."""


class JournalTag(msgspec.Struct):
    """A tag that is deleted."""

    name: _TagName
    updated_at: Pushed = None


class JournalLock(msgspec.Struct):
    """A lock that was removed, with the attributes to restore."""

    tag: _TagName | None = None
    """null if the lock is on the manifest."""
    delete_enabled: bool = True
    write_enabled: bool = True

    @property
    def lock(self) -> Lock:
        return Lock(self.tag, self.delete_enabled, self.write_enabled)


class Intent(msgspec.Struct, tag_field="kind", tag="intent"):
    """A deletion. The line is on the disk before the request is sent."""

    seq: _Number
    verb: Literal["untag", "delete_manifest"]
    repository: _Repository
    digest: DigestText
    tags: list[JournalTag]
    """The tag to untag, or all tags of the manifest."""
    locks: list[JournalLock]
    after: list[DigestText] = []
    """Digests that were deleted first."""
    media_type: str = ""
    """The media type of the manifest, or of its backup."""
    size: Count = 0
    """The size of a deleted manifest, as listed."""
    at: _Time = ""
    manifest: bytes | UnsetType = UNSET
    """The content of the manifest, with `backup`. It can be restored without soft delete."""


class OutcomeLine(msgspec.Struct, tag_field="kind", tag="outcome"):
    """The outcome of a deletion."""

    seq: _Number
    at: _Time
    of: int
    """The number of the intent."""
    outcome: OutcomeKind
    detail: str = ""


Line = Header | Intent | OutcomeLine
