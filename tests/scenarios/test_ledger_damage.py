"""A ledger that is lost, old, damaged or foreign: it keeps more, or blocks and names the ledger."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from acr_cleanup.records.encoding import content_hash
from acr_cleanup.records.ledger_file import stamp
from tests.helpers.ledger_runs import DAY, LedgerWorld, shop

__all__ = ["shop"]

BOTH = {"probation": "7d", "used_within": "14d"}
WEEK = {"probation": "7d"}


def edit(shop: LedgerWorld, *, rehash: bool = False, **members: object) -> None:
    document = json.loads(shop.text()) | members
    if rehash:
        document["hash"] = content_hash(document)
    shop.ledger.write_text(json.dumps(document), encoding="utf-8")


def replace_by_folder(shop: LedgerWorld) -> None:
    shop.ledger.unlink()
    shop.ledger.mkdir()


def replace_by_link(shop: LedgerWorld) -> None:
    shop.ledger.rename(shop.ledger.with_name("other.json"))
    shop.ledger.symlink_to("other.json")


def replace_by_dangling_link(shop: LedgerWorld) -> None:
    shop.ledger.unlink()
    shop.ledger.symlink_to("nowhere.json")


def enlarge(shop: LedgerWorld) -> None:
    os.truncate(shop.ledger, 2 * 1024**3)


def make_fifo(shop: LedgerWorld) -> None:
    shop.ledger.unlink()
    os.mkfifo(shop.ledger)


def write(data: bytes) -> Callable[[LedgerWorld], object]:
    return lambda shop: shop.ledger.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[LedgerWorld], object], str]] = {
    "folder": (replace_by_folder, "The ledger is a folder."),
    "link": (replace_by_link, "The ledger is a symbolic link."),
    "dangling-link": (replace_by_dangling_link, "The ledger is a symbolic link."),
    "fifo": (make_fifo, "The ledger is not a regular file."),
    "2-gb": (enlarge, "The ledger has 2,147,483,648 bytes. The limit is 64 MiB."),
    "gzip": (lambda shop: shop.ledger.write_bytes(gzip.compress(shop.text().encode())), "compressed with gzip"),
    "empty": (write(b""), "not a ledger, or only a part of one"),
    "cut": (lambda shop: shop.ledger.write_text(shop.text()[:-80]), "not a ledger, or only a part of one"),
    "binary": (write(bytes(range(256))), "not a ledger, or only a part of one"),
    "report": (write(b'{"schema_version": 1, "tool_version": "0.1.0"}'), "not a ledger, or only a part of one"),
    "edited": (lambda shop: edit(shop, started_at="2025-01-01T00:00:00Z"), "modified after it was written"),
    "unknown-member": (lambda shop: edit(shop, rehash=True, more=1), "not a ledger, or only a part of one"),
    "newer": (lambda shop: edit(shop, rehash=True, schema_version=2), "The ledger has version 2"),
    "other-registry": (
        lambda shop: edit(shop, rehash=True, registry="fabrikam.azurecr.io"),
        "This ledger is of the registry fabrikam.azurecr.io, not of contoso.azurecr.io.",
    ),
    "future": (
        lambda shop: edit(shop, rehash=True, written_at="2026-11-12T03:10:00Z"),
        "The ledger is from the future: it was written at 2026-11-12 03:10 UTC",
    ),
    "record-from-the-future": (
        lambda shop: edit(shop, rehash=True, started_at="9999-12-31T00:00:00Z"),
        "The ledger is from the future",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_ledger_blocks_and_is_not_replaced(shop: LedgerWorld, damage: str) -> None:
    arrange, message = DAMAGE[damage]
    shop.push("v1")
    shop.at(0, **WEEK)
    arrange(shop)
    before = stamp(shop.ledger)

    ran = shop.at(10, **WEEK)

    assert ran.code == 3, ran.out
    assert shop.tags == {"live", "v1"}
    [blocker] = ran.blockers
    assert blocker["where"].startswith("ledger ")
    assert message in blocker["seen"]
    assert blocker["remedy"]
    assert stamp(shop.ledger) == before
    # The plan is shown, and explains what would wait.
    assert ran.report["repositories"]


def test_ledger_in_a_folder_without_rights_blocks(shop: LedgerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run could not write the ledger for the next one."""
    monkeypatch.setattr("acr_cleanup.records.ledger_file.check_replaceable", _refuse)

    ran = shop.at(0, **WEEK)

    assert ran.code == 3
    assert "The ledger cannot be written: Permission denied." in ran.out


def test_ledger_that_cannot_be_written_at_the_end_fails_the_run(
    shop: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.push("v1")
    shop.at(0, **WEEK)
    before = shop.text()
    shop.when(
        lambda: monkeypatch.setattr("acr_cleanup.records.ledger_file.replace_file", _refuse), path="/acr/v1/app/_tags"
    )

    ran = shop.at(7, **WEEK)

    assert ran.code == 1
    assert ran.deleted == {"app:v1"}
    assert "The next run does not know what this one saw." in ran.out
    assert shop.text() == before


def _refuse(path: Path, *_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def test_lost_ledger_starts_anew_and_is_told(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.at(0, **WEEK)
    shop.ledger.unlink()

    ran = shop.at(7, **WEEK)

    assert ran.deleted == set()
    assert ran.code == 0
    assert "does not exist yet, or was lost: it starts with this run" in ran.out
    assert shop.at(14, **WEEK).deleted == {"app:v1"}


def test_ledger_of_last_year_starts_anew_and_is_told(shop: LedgerWorld) -> None:
    """A cache may restore an old file. Whether its candidates were used since then is not known."""
    shop.push("v1")
    shop.push("job")
    end = shop.nightly(tag="job")
    shop.at(0, **BOTH)
    end()

    ran = shop.at(365, **BOTH)

    assert ran.deleted == set()
    assert "last written on 2 Nov 2026, 365 days ago" in ran.out
    assert "1 tag" not in ran.report["warnings"]
    assert shop.at(372, **BOTH).deleted == set()
    assert shop.at(379, **BOTH).deleted == {"app:v1", "app:job"}


def test_older_copy_knows_fewer_uses_and_is_told(shop: LedgerWorld) -> None:
    """Nothing in an older copy shows that a later one existed. The summary of each run tells its date."""
    shop.push("v1")
    shop.at(0, **WEEK)
    copy = shop.text()
    shop.at(7, **WEEK, include_tags="none")
    shop.ledger.write_text(copy, encoding="utf-8")

    ran = shop.plan_at(8, **WEEK)

    assert "written on 2 Nov" in ran.out


def test_clock_ahead_blocks_and_writes_nothing(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.at(0, **WEEK)
    before = shop.text()
    shop.machine = DAY

    assert shop.at(1, **WEEK).code == 3
    assert shop.text() == before


def test_clock_behind_begins_no_probation(shop: LedgerWorld) -> None:
    """A beginning a day too early would end the probation a day too early."""
    shop.push("v1")
    shop.push("job")
    end = shop.nightly(tag="job")
    shop.machine = -DAY
    ran = shop.at(0, **BOTH)
    end()
    shop.machine = timedelta()

    assert "The clock of this machine is 1d behind the registry's" in ran.out
    assert shop.at(7, **WEEK).deleted == set()
    # The use is remembered at the registry's time.
    assert '"seen_at":"2026-11-02T03:0' in shop.text()


def test_clock_behind_refuses_a_ledger_from_the_future(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.at(0, **WEEK)
    shop.machine = -2 * DAY

    ran = shop.at(1, **WEEK)

    assert ran.code == 3
    assert "from the future" in ran.out


def test_two_runs_at_once_lose_no_use(shop: LedgerWorld) -> None:
    """The second one has read the ledger before the first one wrote it."""
    shop.push("v1")
    shop.push("job")
    shop.at(0, **BOTH)
    copy = shop.text()
    end = shop.nightly(tag="job")
    shop.at(1, **BOTH)
    end()
    first = shop.text()
    shop.ledger.write_text(copy, encoding="utf-8")
    shop.when(lambda: shop.ledger.write_text(first, encoding="utf-8"), path="/acr/v1/app/_tags")

    shop.at(1.001, **BOTH)

    assert '"by":"production/batch/Pod/nightly","images":["job",' in shop.text()
    assert shop.at(14.5, **BOTH).deleted == {"app:v1"}


def test_two_first_runs_at_once_agree_on_the_later_start(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.at(1, **WEEK)
    other = shop.text()
    shop.ledger.unlink()
    shop.when(lambda: shop.ledger.write_text(other, encoding="utf-8"), path="/acr/v1/app/_tags")
    shop.at(0.9999, **WEEK)

    assert shop.at(7.9999, **WEEK).deleted == set()
    assert shop.at(8, **WEEK).deleted == {"app:v1"}


def test_shards_may_share_a_ledger(shop: LedgerWorld) -> None:
    """A run leaves the entries of other shards and of repositories that it does not select."""
    for name in ("a", "b", "c", "d"):
        shop.push("v1", repository=name)
        shop.push("live", repository=name)
        shop.run_image(tag="live", repository=name)
    for shard in ("1/2", "2/2"):
        shop.at(0, shard=shard, **WEEK)
    shop.at(1, repositories="a", **WEEK)

    deleted = {image for shard in ("1/2", "2/2") for image in shop.at(7, shard=shard, **WEEK).deleted}

    assert deleted == {f"{name}:v1" for name in "abcd"}


def test_deleted_repository_is_forgotten(shop: LedgerWorld) -> None:
    shop.push("v1", repository="gone")
    end = shop.nightly(tag="v1", repository="gone")
    shop.at(0, **WEEK)
    end()
    del shop.registry.repositories["gone"]

    shop.at(1, **WEEK)

    assert "gone" not in shop.text()


def test_run_on_unread_repository_keeps_its_entries(shop: LedgerWorld) -> None:
    shop.push("v1")
    shop.push("x", repository="fine")
    shop.run_image(tag="x", repository="fine")
    shop.at(0, **WEEK)
    shop.when(lambda: None, path="/acr/v1/app/_tags", status=500, times=10**6)
    assert shop.at(1, **WEEK).code == 1
    shop.world.faults.clear()

    assert shop.at(7, **WEEK).deleted == {"app:v1"}
