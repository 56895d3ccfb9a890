"""Draws the icons: a stack of image layers whose oldest one is let go. Run it whenever they shall change."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SAMPLES = 4
BACK, WHITE, PALE, RED = (15, 82, 140), (255, 255, 255), (156, 200, 235), (240, 98, 84)

Colour = tuple[int, int, int]


def colour(x: float, y: float) -> tuple[Colour, float]:
    """What is at this point of the unit square, and how much of it."""
    radius = 0.17
    dx, dy = max(abs(x - 0.5) - (0.5 - radius), 0), max(abs(y - 0.5) - (0.5 - radius), 0)
    if dx * dx + dy * dy > radius * radius:
        return BACK, 0
    found = BACK
    # Three layers, seen from above: rhombs whose upper ones hide the lower ones.
    for middle, shade in ((0.615, RED), (0.475, PALE), (0.335, WHITE)):
        if abs(x - 0.5) / 0.34 + abs(y - middle - 0.02) / 0.175 <= 1:
            found = BACK  # the gap below a layer
        if abs(x - 0.5) / 0.30 + abs(y - middle + 0.025) / 0.15 <= 1:
            found = shade
    # The lowest is crossed out.
    if 0.80 <= y <= 0.87 and 0.30 <= x <= 0.70:
        found = RED
    return found, 1


def picture(size: int) -> bytes:
    """A PNG of so many pixels a side, smoothed."""
    rows = bytearray()
    for row in range(size):
        rows.append(0)
        for column in range(size):
            seen = [
                colour((column + (i + 0.5) / SAMPLES) / size, (row + (j + 0.5) / SAMPLES) / size)
                for i in range(SAMPLES)
                for j in range(SAMPLES)
            ]
            covered = [each for each, there in seen if there] or [BACK]
            rows += bytes(sum(each[channel] for each in covered) // len(covered) for channel in range(3))
            rows.append(round(255 * sum(there for _, there in seen) / len(seen)))
    header = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


if __name__ == "__main__":
    (HERE / "images" / "icon.png").write_bytes(picture(128))
    (HERE / "AcrCleanupV1" / "icon.png").write_bytes(picture(32))
