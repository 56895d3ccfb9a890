"""The log of a run command: what is wrong with it, and the block of records that it contains."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.run_command.script import BEGIN, CALL, DIRECT, END
from acr_cleanup.quoting import quoted

_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
# Bounds what a hostile or damaged block unpacks to.
_MOST_BYTES = 256 * 1024 * 1024
_FOREIGN_LINES_QUOTED = 3


@dataclass(frozen=True, slots=True)
class CommandResult:
    """
    A finished run command, as Azure Resource Manager describes it.

    state: its provisioningState.
    reason: why it did not run.
    """

    state: str
    exit_code: int | None
    logs: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunCommandLog:
    """
    The lines of a log: the markers and the base64 block of the command, and foreign lines.

    size: of the log, in bytes.
    ends: the number of end markers.
    """

    size: int
    begins: tuple[str, ...]
    ends: int
    block: tuple[str, ...]
    foreign: tuple[str, ...]


def split_log(text: str) -> RunCommandLog:
    begins, block, foreign, ends = list[str](), list[str](), list[str](), 0
    for line in (raw.strip() for raw in text.split("\n")):
        if BEGIN.fullmatch(line):
            begins.append(line)
        elif line == END:
            ends += 1
        elif begins and not ends and _BASE64.fullmatch(line):
            block.append(line)
        elif line:
            foreign.append(line)
    return RunCommandLog(len(text.encode(errors="replace")), tuple(begins), ends, tuple(block), tuple(foreign))


def log_problems(result: CommandResult, log: RunCommandLog) -> Iterator[ReadFailure]:
    """Return what is wrong with a finished run command and with its log."""
    if result.state.lower() != "succeeded":
        why = f": {quoted(result.reason)}" if result.reason else ""
        yield ReadFailure(
            CALL, f"AKS did not run it: {quoted(result.state, 40) or 'no state'}{why}.", f"Run it again. {DIRECT}"
        )
        return
    lines = "; ".join(quoted(line) for line in log.foreign[:_FOREIGN_LINES_QUOTED])
    if result.exit_code != 0:
        yield ReadFailure(
            CALL,
            f"it ended with exit code {result.exit_code}{f': {lines}' if lines else ''}.",
            f"Solve the problem that these lines report. {DIRECT}",
        )
    elif log.foreign:
        yield ReadFailure(
            CALL,
            f"its log has lines that are not its result: {lines}.",
            f"Solve the problem that these lines report. {DIRECT}",
        )
    if not result.logs.strip():
        yield ReadFailure(CALL, "its log is empty.", f"Run it again. {DIRECT}")
    elif len(log.begins) == 1 and log.ends == 0:
        yield ReadFailure(
            CALL,
            f"its log is cut: it stops after {log.size // 1024} kB, before its end marker (AKS keeps 512 kB).",
            "This cluster is too large for a run command: use `access: direct` from a runner inside its network, or a usage "
            "snapshot that such a runner writes (`acr-cleanup collect`).",
        )
    elif (len(log.begins), log.ends) != (1, 1):
        seen = "its log has not exactly one start and one end marker: part of it is missing."
        yield ReadFailure(CALL, seen, f"Run it again. {DIRECT}")


def body_of(log: RunCommandLog) -> str | None:
    """
    Unpack the block between the markers; None if it does not have exactly one of each.

    Raises `ReadFailure` if the block is damaged.
    """
    if (len(log.begins), log.ends) != (1, 1):
        return None
    marker = BEGIN.fullmatch(log.begins[0])
    damaged = ReadFailure(
        CALL, "its result was damaged in transfer: length or checksum differ.", f"Run it again. {DIRECT}"
    )
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip
        body = unpacker.decompress(base64.b64decode("".join(log.block), validate=True), _MOST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise damaged from error
    if (
        not unpacker.eof
        or marker is None
        or len(body) != int(marker["size"])
        or hashlib.sha256(body).hexdigest() != marker["sum"]
    ):
        raise damaged
    return body.decode(errors="replace")
