"""Replaces a file as a whole, after all of it is written: a failure leaves the previous file in place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def replace_file(path: Path, pieces: Iterable[bytes], *, sync: bool = False) -> None:
    """Write these pieces to a new file, and put it in the place of `path`. sync: wait for the disk. Raises `OSError`."""
    with replacement(path, sync=sync) as file:
        file.writelines(pieces)


@contextmanager
def replacement(path: Path, *, sync: bool = False) -> Iterator[BinaryIO]:
    """Open a new file, and put it in the place of `path` at the end of the block. Raises `OSError`."""
    part = _part_of(path)
    try:
        with create(part) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()


def check_replaceable(path: Path) -> None:
    """Check that the file can be replaced. Raises `OSError`."""
    part = _part_of(path)
    create(part).close()
    part.unlink()


def create(path: Path) -> BinaryIO:
    """
    Create an empty file, and open it for writing.

    Does not follow a symbolic link. Otherwise a checked-out branch could contain a link, and so
    choose another file of the machine that would be overwritten.

    Raises `OSError`.
    """
    path.unlink(missing_ok=True)
    # "x" is O_EXCL: with it, a link that someone creates in this moment is an error.
    return path.open("xb")


def _part_of(path: Path) -> Path:
    # In the same folder, because a rename works only within a file system. Two runs may write at once.
    return path.with_name(f".{path.name}.{os.getpid()}.part")
