"""The types and Structs that several documents share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from acr_cleanup.core.keep_list import KeepEntry
from acr_cleanup.core.left_out import WhyLeftOut
from acr_cleanup.core.pulls import PullLog
from acr_cleanup.core.references import DIGEST, TAG
from acr_cleanup.core.retention import KeepLastOf, RetentionPolicy, Scope, describe_duration
from acr_cleanup.core.rule_set import PolicyRule
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


class RecordedKeepEntry(msgspec.Struct):
    """An entry of the keep list."""

    image: str
    """The globs of the repository, the tag and the digest, as in the configuration."""
    reason: str = ""
    owner: str = ""
    until: str | None = None
    """The last day on which it keeps anything, in UTC; null if it has no end."""

    @classmethod
    def of(cls, entry: KeepEntry) -> Self:
        return cls(entry.image, entry.reason, entry.owner, entry.until.isoformat() if entry.until else None)


class RecordedRule(msgspec.Struct):
    """A rule of the policy. The first rule that matches a tag governs it."""

    name: str
    repositories: list[str]
    tags: list[str]
    older_than: str
    keep_last: Count
    keep_last_by: str
    keep: bool
    """True if every tag that it governs is kept."""
    pulled_within: str | UnsetType = UNSET
    """Images that were pulled in this time were kept, besides those of the top level."""

    @classmethod
    def of(cls, rule: PolicyRule) -> Self:
        return cls(*(_recorded(getattr(rule, name)) for name in cls.__struct_fields__))


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
    """Images that an earlier run saw in use less than this ago are kept, if set."""
    probation: str | UnsetType = UNSET
    """How long a tag must have been a candidate before it is deleted, if set."""
    keep_last_of: Annotated[str, Meta(extra_json_schema={"enum": [*KeepLastOf]})] = str(KeepLastOf.TAGS)
    """The items that keep_last counts. Documents without this member counted tags."""
    pulled_within: str | UnsetType = UNSET
    """Images that were pulled in this time were kept, if the log was read."""
    shard: Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9]+/[0-9]+$"})] = str(WHOLE)
    """
    The shard of the registry that was read. `3/8` is the third of eight, `1/1` is the whole
    registry.
    """
    keep: list[RecordedKeepEntry] = []
    """The keep list."""
    rules: list[RecordedRule] = []
    """The rules, in order. The other members are the last rule, which governs tags that no rule matches."""

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
            return [_recorded_item(item) for item in value]
        case timedelta():
            return describe_duration(value)
        case _:
            return str(value)


def _recorded_item(item: object) -> Any:
    match item:
        case KeepEntry():
            return RecordedKeepEntry.of(item)
        case PolicyRule():
            return RecordedRule.of(item)
        case _:
            return str(item)


class LeftOutRepositories(msgspec.Struct):
    """Repositories of the registry that the plan left out for one reason. All their tags are kept."""

    reason: Annotated[str, Meta(extra_json_schema={"enum": [*WhyLeftOut]})]
    number: Count
    examples: list[str]
    """The first of them, by name."""


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


class CountedPulls(msgspec.Struct):
    """How many pulls of the log someone made."""

    who: str
    """The identity, shortened, and the user agent."""
    pulls: Count


class RecordedPullLog(msgspec.Struct):
    """The pulls in the log of the registry. Images that were pulled are kept."""

    since: Moment
    """Earlier pulls do not count."""
    reaches_back_to: Moment | None
    """The oldest row of the log; null if it is not known."""
    counted: list[CountedPulls]
    ignored: list[CountedPulls]
    """Pulls by this tool, and by those that the configuration ignores."""

    @classmethod
    def of(cls, log: PullLog) -> Self | None:
        """None if the log was not read."""
        if log.since is None:
            return None
        counted, ignored = ([CountedPulls(*row) for row in rows] for rows in (log.counted, log.ignored))
        return cls(log.since, log.reaches_back_to, counted, ignored)


def utc(moment: datetime | None) -> datetime | None:
    """Return a time as documents have it. A foreign time may have no equivalent in UTC."""
    return None if moment is None else in_utc(moment)
