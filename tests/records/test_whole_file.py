"""A file is replaced as a whole, never through a link, and a failure leaves the previous one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from acr_cleanup.records.whole_file import check_replaceable, create, replace_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_replaced_by_all_pieces(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    for pieces in ([b"first\r\n"], [b"a", b"", b"b\n"]):
        replace_file(path, pieces)
        assert path.read_bytes() == b"".join(pieces)
        assert names(tmp_path) == ["ledger.json"]


@pytest.mark.parametrize("sync", [{"sync": True}, {"sync": False}, {}])
def test_content_is_on_the_disk_before_the_rename_if_asked_for(
    sync: dict[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "ledger.json", []
    path.write_bytes(b"before")

    def fsync(number: int) -> None:
        synced.append((os.fstat(number).st_size, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(path, [b"after"], **sync)
    assert synced == ([(5, b"before")] if sync.get("sync") else [])
    assert path.read_bytes() == b"after"


def test_failure_leaves_the_previous_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(b"before")

    def pieces() -> Iterator[bytes]:
        yield b"aft"
        raise KeyError

    with pytest.raises(KeyError):
        replace_file(path, pieces())
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["ledger.json"]


def test_check_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(b"before")
    check_replaceable(path)
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["ledger.json"]
    with pytest.raises(FileNotFoundError):
        check_replaceable(tmp_path / "no folder" / "ledger.json")


@pytest.mark.parametrize("to", ["other", "nowhere"])
def test_new_file_takes_the_place_of_a_link(to: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    path = tmp_path / "new"
    path.symlink_to(tmp_path / to)
    with create(path) as file:
        file.write(b"text")
    assert (path.is_symlink(), path.read_bytes()) == (False, b"text")
    assert (tmp_path / "other").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_link_that_appears_in_this_moment_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / "new").symlink_to(tmp_path / "other")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    for name in ("new", "dangling"):
        with pytest.raises(FileExistsError):
            create(tmp_path / name)
    assert (tmp_path / "other").read_bytes() == b"precious"


def test_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        create(tmp_path / "new").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
