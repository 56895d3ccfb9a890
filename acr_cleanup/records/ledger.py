"""
The ledger: the observations of earlier runs, in one small file that each run reads and writes again.

Unknown members are refused, because the hash does not cover members that are not read.
`records.ledger_file` reads and writes it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from acr_cleanup.records.parts import DigestText, Hash, LoginServer, Moment, ToolVersion

LEDGER_VERSION = 1
ANY_IMAGE = "*"
"""In place of a tag: a use that does not say which image of the repository."""

Packed = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9+/]*={0,2}\Z")]


class LedgerUse(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Images that one workload used, and the last run that saw it."""

    seen_at: Moment
    by: str
    """The workload, or one of several."""
    images: list[str]
    """Tags and digests. `*`: a use that does not say which image of the repository."""


class LedgerCandidates(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Tags and untagged manifests that every run since then would have deleted."""

    since: Moment
    items: Packed
    """Base64 of seven bytes for each: a hash of the tag, its digest and the time of its push."""


class LedgerBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """The references in the body of a manifest."""

    digest: DigestText
    media_type: str = ""
    """Empty if the registry lists the same type."""
    config_media_type: str = ""
    children: list[DigestText] = []
    subject: DigestText | None = None


class LedgerRepository(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One repository, or the folder that a use names (with a slash at its end)."""

    repository: str
    uses: list[LedgerUse] = []
    candidates: list[LedgerCandidates] = []
    bodies: list[LedgerBody] = []
    """Manifests with references to others. They are not read again, because a body never changes."""
    plain: Packed = ""
    """Base64 of the first twelve bytes of the digest of each manifest without references."""


class Ledger(msgspec.Struct, forbid_unknown_fields=True):
    """
    The observations of all runs on one registry: the last use of each image, and since when each tag has been a
    candidate for deletion. The bodies of manifests are remembered as well.
    """

    schema_version: Annotated[int, Meta(extra_json_schema={"const": LEDGER_VERSION})]
    tool_version: ToolVersion
    registry: LoginServer
    started_at: Moment
    """The first of the runs that follow each other without a gap. Nothing is known of the time before."""
    written_at: Moment
    """When the last run decided."""
    repositories: list[LedgerRepository]
    hash: Hash
    """
    A hash over the canonical JSON (UTF-8, sorted keys, no white space) of all other members. It is
    not a signature.
    """
