"""The journal of an earlier run: every valid line is read, and each other one is reported."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.core.inventory import Lock
from acr_cleanup.core.outcome import OutcomeKind
from acr_cleanup.core.references import Digest
from acr_cleanup.records.journal import JournalError
from acr_cleanup.records.journal_reader import Deletion, read_journal

A, B = (Digest(f"sha256:{letter * 64}") for letter in "ab")
HEADER: dict[str, Any] = {"kind": "header", "schema_version": 1, "registry": "contoso.azurecr.io"}
UNTAG: dict[str, Any] = {
    "kind": "intent", "seq": 3, "verb": "untag", "repository": "shop/web", "digest": B, "tags": [{"name": "2"}], "locks": [],
}  # fmt: skip
DELETE: dict[str, Any] = {
    **UNTAG, "seq": 1, "verb": "delete_manifest", "digest": A, "tags": [{"name": "1"}, {"name": "one"}],
    "locks": [{"tag": "1", "write_enabled": False}, {"delete_enabled": False}], "after": [B],
    "media_type": "application/json", "manifest": base64.b64encode(b"{}").decode(),
}  # fmt: skip
OUTCOME: dict[str, Any] = {"kind": "outcome", "seq": 2, "at": "", "of": 1, "outcome": "deleted"}


def journal(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return path


def test_each_part_of_a_deletion_is_read(tmp_path: Path) -> None:
    """In the order of the numbers; the outcome belongs to the number that it names."""
    started = {"started_at": "2026-11-20T12:00:00+00:00"}
    contents = read_journal(journal(tmp_path / "j", HEADER | started, UNTAG, b"\n", DELETE, OUTCOME))
    assert contents.deletions == (
        Deletion(
            1, True, "shop/web", A, "application/json", ("1", "one"),
            (Lock("1", True, False), Lock(None, False, True)), (B,), b"{}", OutcomeKind.DELETED,
        ),
        Deletion(3, False, "shop/web", B, tags=("2",)),
    )  # fmt: skip
    assert (contents.registry, contents.started_at) == ("contoso.azurecr.io", datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert (contents.faults, contents.torn) == ((), False)


@pytest.mark.parametrize(
    ("last", "faults", "torn"),
    [
        (b'{"kind": "intent", "se', (), True),
        (b'{"kind": "intent", "se\n', ("Line 3 is invalid: Object missing required field `kind`.",), False),
        (b"[]\n", ("Line 3 is invalid: Object missing required field `kind`.",), False),
        (b"[" * 100_000 + b"\n", ("Line 3 is invalid: Object missing required field `kind`.",), False),
        (b'\n{"kind": "x"}\n', ("Line 4 is invalid: Invalid value 'x' - at `$.kind`.",), False),
        (json.dumps(OUTCOME).encode(), (), False),
    ],
)
def test_invalid_line_is_reported_and_the_others_are_read(
    last: bytes, faults: tuple[str, ...], torn: bool, tmp_path: Path
) -> None:
    contents = read_journal(journal(tmp_path / "j", HEADER, DELETE, last))
    assert (contents.faults, contents.torn) == (faults, torn)
    assert [deletion.digest for deletion in contents.deletions] == [A]


def test_lines_behind_an_invalid_one_are_read(tmp_path: Path) -> None:
    forged = {**UNTAG, "repository": "../v2"}
    contents = read_journal(journal(tmp_path / "j", HEADER | {"started_at": "soon"}, forged, b"x\n", DELETE))
    assert [deletion.digest for deletion in contents.deletions] == [A]
    assert [fault.partition(" is invalid")[0] for fault in contents.faults] == ["Line 2", "Line 3"]
    assert contents.started_at is None


_USE = "Use the journal.jsonl in the report folder of the run."
_VERSION = "The journal has format version 2, but this acr-cleanup reads version 1. Use the version of acr-cleanup that wrote it."


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (None, f"The journal cannot be read: No such file or directory. {_USE}"),
        (b"", f"The file is not a journal of acr-cleanup. {_USE}"),
        (UNTAG, f"The file is not a journal of acr-cleanup. {_USE}"),
        (HEADER | {"schema_version": 2}, _VERSION),
    ],
)
def test_other_file_is_refused_with_a_remedy(first: dict[str, Any] | bytes | None, text: str, tmp_path: Path) -> None:
    path = tmp_path / "j"
    if first is not None:
        journal(path, first)
    with pytest.raises(JournalError) as caught:
        read_journal(path)
    assert str(caught.value) == f"{path}: {text}"
