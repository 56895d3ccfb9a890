"""
Draw the icons: a stack of image layers, the oldest of them crossed out. Run it to change the icons.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
SAMPLES = 4
BACK, WHITE, PALE, RED = (15, 82, 140), (255, 255, 255), (156, 200, 235), (240, 98, 84)

Colour = tuple[int, int, int]


def colour(x: float, y: float) -> tuple[Colour, float]:
    """Return the colour and the opacity at a point of the unit square."""
    radius = 0.17
    dx, dy = max(abs(x - 0.5) - (0.5 - radius), 0), max(abs(y - 0.5) - (0.5 - radius), 0)
    if dx * dx + dy * dy > radius * radius:
        return BACK, 0
    shown = BACK
    # Three layers, seen from above: each rhomb hides the ones below it.
    for middle, shade in ((0.615, RED), (0.475, PALE), (0.335, WHITE)):
        if abs(x - 0.5) / 0.34 + abs(y - middle - 0.02) / 0.175 <= 1:
            shown = BACK  # the gap below a layer
        if abs(x - 0.5) / 0.30 + abs(y - middle + 0.025) / 0.15 <= 1:
            shown = shade
    # The lowest is crossed out.
    if 0.80 <= y <= 0.87 and 0.30 <= x <= 0.70:
        shown = RED
    return shown, 1


def picture(size: int) -> bytes:
    """Return a smoothed PNG of `size` pixels a side."""
    rows = bytearray()
    for row in range(size):
        rows.append(0)
        for column in range(size):
            samples = [
                colour((column + (i + 0.5) / SAMPLES) / size, (row + (j + 0.5) / SAMPLES) / size)
                for i in range(SAMPLES)
                for j in range(SAMPLES)
            ]
            covered = [shade for shade, opacity in samples if opacity] or [BACK]
            rows += bytes(sum(shade[channel] for shade in covered) // len(covered) for channel in range(3))
            rows.append(round(255 * sum(opacity for _, opacity in samples) / len(samples)))
    header = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


if __name__ == "__main__":
    (HERE / "images" / "icon.png").write_bytes(picture(128))
    (HERE / "AcrCleanupV1" / "icon.png").write_bytes(picture(32))
