"""
Makes the pictures of README.md: the summary of the demo as GitHub shows it, light and dark.

It needs the Chromium of the system. `make picture` runs it; no test needs it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cmarkgfm

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "images"
WIDTH = 940
SCALE = "--force-device-scale-factor=0.85"
"""README.md shows the picture smaller than it is."""
LARGEST = 200_000
"""Bytes. A front page must load quickly."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

# Text, muted text, page, border, background of code and every second row, note, tip, warning.
THEMES = {
    "light": ("#1f2328", "#59636e", "#ffffff", "#d1d9e0", "#f6f8fa", "#0969da", "#1a7f37", "#9a6700"),
    "dark": ("#f0f6fc", "#9198a1", "#0d1117", "#3d444d", "#151b23", "#4493f8", "#3fb950", "#d29922"),
}
STYLE = """
:root { --text: %s; --muted: %s; --page: %s; --line: %s; --soft: %s; --note: %s; --tip: %s; --warning: %s; }
body { color: var(--text); background: var(--page); margin: 0; padding: 24px 32px; box-sizing: border-box;
  font: 16px/1.5 "Noto Sans", "Liberation Sans", Helvetica, sans-serif, "Noto Color Emoji"; }
h2, h3 { margin: 24px 0 16px; line-height: 1.25; }
h2 { margin-top: 0; padding-bottom: 7px; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; margin-bottom: 16px; }
th, td { border: 1px solid var(--line); padding: 6px 13px; }
tr:nth-child(2n) td { background: var(--soft); }
code { font: 85%% "Noto Sans Mono", "Liberation Mono", monospace; background: var(--soft); padding: 3px 6px;
  border-radius: 6px; }
.alert { border-left: 4px solid var(--of); padding: 0 16px; margin-bottom: 16px; }
.alert b { color: var(--of); font-weight: 500; }
"""


def page(summary: str, theme: str) -> str:
    """Return the summary as a page that looks like GitHub's."""
    body = cmarkgfm.github_flavored_markdown_to_html(summary, cmarkgfm.Options.CMARK_OPT_UNSAFE)

    def alert(match: re.Match[str]) -> str:
        name = match[1].lower()
        return f'<div class="alert" style="--of: var(--{name})"><p><b>{name.title()}</b></p><p>'

    body = re.sub(r"<blockquote>\s*<p>\[!(NOTE|TIP|WARNING)\]\s*", alert, body).replace("</blockquote>", "</div>")
    height = "<script>document.documentElement.id = document.documentElement.scrollHeight</script>"
    return f"<!doctype html><meta charset=utf-8><style>{STYLE % THEMES[theme]}</style><body>{body}{height}"


def demo_summary() -> str:
    """Run the demo, and return the beginning of the summary of its plan."""
    shown = subprocess.run([sys.executable, "-m", "acr_cleanup", "demo"], check=True, capture_output=True, text=True)
    folder = re.search(r"The reports are in\s+(\S+)\.", shown.stdout)
    if folder is None:
        raise SystemExit("The demo does not say where its reports are.")
    text = (Path(folder[1]) / "plan" / "summary.md").read_text(encoding="utf-8")
    shutil.rmtree(folder[1])
    return text.partition("### Repositories")[0]


def shoot(chromium: str, source: Path, target: Path) -> None:
    """Write the picture of a whole page."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage", SCALE]
    command = [chromium, *options, f"--user-data-dir={source.parent / 'profile'}"]
    first = [*command, f"--window-size={WIDTH},600", "--dump-dom", source.as_uri()]
    height = re.search(r'<html id="(\d+)"', subprocess.run(first, check=True, capture_output=True, text=True).stdout)
    size = f"--window-size={WIDTH},{height[1] if height else 1200}"
    subprocess.run([*command, size, f"--screenshot={target}", source.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Make both pictures, or say why not."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.stdout.write("make picture: skipped: it needs Chromium (Debian: chromium, fonts-noto-color-emoji).\n")
        return
    summary = demo_summary()
    for theme in THEMES:
        target = PICTURES / f"summary-{theme}.png"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "summary.html"
            source.write_text(page(summary, theme), encoding="utf-8")
            shoot(chromium, source, target)
        size = target.stat().st_size
        sys.stdout.write(f"{target.relative_to(ROOT)}: {size:,} bytes\n")
        if size > LARGEST:
            raise SystemExit(f"{target.name} is larger than {LARGEST:,} bytes.")


if __name__ == "__main__":
    main()
