"""The types and Structs that several documents share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from acr_cleanup.core.references import DIGEST, TAG
from acr_cleanup.core.retention import KeepLastOf, RetentionPolicy, Scope, describe_duration
from acr_cleanup.core.shard import WHOLE
from acr_cleanup.core.usage import Blocker
from acr_cleanup.quoting import in_utc

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Hash = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
DigestText = Annotated[str, Meta(pattern=rf"\A{DIGEST}\Z")]
TagName = Annotated[str, Meta(pattern=rf"\A{TAG}\Z")]
ShownDigest = Annotated[str, Meta(extra_json_schema={"pattern": f"^{DIGEST}$"})]
"""
A digest that is shown, but never becomes part of a request. A reader does not check its pattern.
"""
ToolVersion = Annotated[str, Meta(description="The version of acr-cleanup that wrote the document.")]
LoginServer = Annotated[str, Meta(description="The login server of the registry.")]
Pushed = Annotated[
    Moment | None,
    Meta(description="The time of the last push (RFC 3339, UTC); null if the registry does not report it."),
]
ObjectCount = Annotated[Count, Meta(description="The number of API objects that were read.")]
UseCount = Annotated[Count, Meta(description="The number of uses of this registry.")]
Access = Annotated[str, Meta(description="How the cluster was read.")]


class SchemaVersion(msgspec.Struct):
    """The head of a document. It is read first: another version may have other members."""

    schema_version: int
    tool_version: str = ""


class RecordedPolicy(msgspec.Struct):
    """The policy of the run."""

    older_than: str
    """A tag is kept if its last push is less than this ago. Examples: `30d`, `12h`, `2d3h`."""
    scope: Annotated[str, Meta(extra_json_schema={"enum": [*Scope]})]
    """The repositories whose tags may be deleted."""
    keep_last: Count
    """How many of the newest tags are kept in each repository, or in each group of its tags."""
    repositories: list[str]
    """Globs, or RE2 regular expressions with `use_regex`. A leading `!` excludes names."""
    include_tags: list[str]
    """Globs, or RE2 regular expressions with `use_regex`. A leading `!` excludes names."""
    exclude_tags: list[str]
    """Tags that are always kept: globs, or RE2 regular expressions with `use_regex`."""
    keep_last_by: str
    """
    A regular expression with one group. keep_last is applied separately to each distinct value of
    the group.
    """
    use_regex: bool
    """True if the patterns are regular expressions."""
    delete_untagged: bool
    """True if untagged manifests may be deleted."""
    include_locked: bool
    """True if locked tags and manifests may be unlocked and deleted."""
    used_within: str | UnsetType = UNSET
    """What an earlier run saw in use less than this ago is kept, if set."""
    probation: str | UnsetType = UNSET
    """How long a tag must have been a candidate before it is deleted, if set."""
    keep_last_of: Annotated[str, Meta(extra_json_schema={"enum": [*KeepLastOf]})] = str(KeepLastOf.TAGS)
    """What keep_last counts. Documents without this member counted tags."""
    shard: Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]+/[0-9]+$"})] = str(WHOLE)
    """
    The shard of the registry that was read. `3/8` is the third of eight, `1/1` is the whole
    registry.
    """

    @classmethod
    def of(cls, policy: RetentionPolicy) -> RecordedPolicy:
        """Its fields are those of the core's policy."""
        return cls(*(_recorded(getattr(policy, name)) for name in cls.__struct_fields__))


def _recorded(value: object) -> Any:
    match value:
        case None:
            return UNSET
        case bool() | int():
            return value
        case tuple():
            return [str(item) for item in value]
        case timedelta():
            return describe_duration(value)
        case _:
            return str(value)


class RecordedBlocker(msgspec.Struct):
    """Something that could not be read completely. It blocks every deletion."""

    where: str
    """The cluster or the registry."""
    call: str
    """The call that was attempted."""
    seen: str
    """The response."""
    remedy: str
    """The remedy."""
    kind: str | UnsetType = UNSET
    """
    The kind of object that could not be listed, as kubectl names it, if it is only one kind. It can
    be waived.
    """

    @classmethod
    def of(cls, blocker: Blocker) -> Self:
        return cls(blocker.where, blocker.call, blocker.seen, blocker.remedy, blocker.kind or UNSET)

    @property
    def value(self) -> Blocker:
        return Blocker(self.where, self.call, self.seen, self.remedy, self.kind or "")


def utc(moment: datetime | None) -> datetime | None:
    """Return a time as documents have it. A foreign time may have no equivalent in UTC."""
    return None if moment is None else in_utc(moment)
