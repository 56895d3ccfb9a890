"""
Benchmark of the image: its size, its packages, and the same packages installed without any
deletion.

`python -m tests.bench.image`, started by tests/image/run.sh, builds both images and prints their
sizes as JSON. `image` turns them into rows.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from tests.bench.rows import Row
from tests.helpers.paths import ROOT

MOST = 70e6
"""Compressed bytes beyond the base."""
SHOWN = 5

WHY = {
    "kubernetes": "API groups and models are loaded when named, and nothing names one",
    "pip": "nothing is installed at run time",
    "github": "only actions_toolkit.core is used",
    "nacl": "likewise",
    "pygments": "never imported, so not compiled",
}
"""Packages from which the Dockerfile deletes files, and why these are not needed."""

OURS, PLAIN = "localhost/acr-cleanup:bench", "localhost/acr-cleanup-plain:bench"
PLAIN_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
COPY requirements.lock /
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --quiet --no-cache-dir --require-hashes -r /requirements.lock
"""
"""The usual Dockerfile: the same packages of the same lock file, without deletions."""

_PACKAGE = re.compile(r"opt/venv/lib/python[^/]*/site-packages/([^/]+)")


def image() -> list[Row]:
    """
    The image compared with a plain installation of the same lock file.

    One row says if it is skipped.
    """
    words = [str(ROOT / "tests" / "image" / "run.sh"), sys.executable, "-m", "tests.bench.image"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    sizes = json.loads(done.stdout.splitlines()[-1])
    goal = f"≤ {MOST / 1e6:.0f} MB"
    if "skipped" in sizes:
        return [Row("pulled beyond the base image", f"skipped: {sizes['skipped']}", "", "not measured", goal, True)]
    ours, plain = sizes["ours"], sizes["plain"]
    left_out = {name: size - ours["packages"].get(name, 0) for name, size in plain["packages"].items()}
    return [
        Row(
            "pulled beyond the base image (gzip)",
            f"{_mb(ours['packed'])}, in {len(ours['layers'])} layers ({', '.join(map(_mb, ours['layers']))})",
            f"the same lock installed plainly: {_mb(plain['packed'])}",
            f"{plain['packed'] / ours['packed']:.1f} × less",
            goal,
            ours["packed"] <= MOST,
        ),
        Row(
            "on disk beyond the base image",
            _mb(ours["unpacked"]),
            f"the same lock installed plainly: {_mb(plain['unpacked'])}",
            f"{plain['unpacked'] / ours['unpacked']:.1f} × less",
            "shown, no goal",
            True,
        ),
        Row(
            "what dominates, on disk",
            _largest(ours["packages"]),
            f"installed plainly: {_largest(plain['packages'])}",
            f"{sum(size for _, size in _first(ours['packages'])) / ours['unpacked']:.0%} of it",
            "shown, no goal",
            True,
        ),
        Row(
            "left out, and why that is safe",
            "; ".join(f"{name} {_mb(left_out[name])}: {why}" for name, why in WHY.items() if left_out.get(name, 0) > 0),
            "`make image-test` imports every module in the image, and runs the whole demo in it",
            _mb(sum(left_out.get(name, 0) for name in WHY)),
            "shown, no goal",
            True,
        ),
    ]


def _first(packages: dict[str, int]) -> list[tuple[str, int]]:
    return Counter(packages).most_common(SHOWN)


def _largest(packages: dict[str, int]) -> str:
    return ", ".join(f"{name} {_mb(size)}" for name, size in _first(packages))


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 5e5 else f"{size:.0f} bytes"


# -- measuring, with a container engine ----------------------------------------------------------


def main() -> None:
    if missing := _missing():
        print(json.dumps({"skipped": missing}))
        return
    base = os.environ.get("IMAGE_TEST_BASE") or _base()
    _build(OURS, ROOT, base)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "Dockerfile").write_text(PLAIN_DOCKERFILE, encoding="utf-8")
        (folder / "requirements.lock").write_bytes((ROOT / "requirements" / "runtime.lock").read_bytes())
        _build(PLAIN, folder, base)
    below = len(_layers(base))
    print(json.dumps({"ours": _measured(OURS, below), "plain": _measured(PLAIN, below)}))


def _missing() -> str:
    """Why no image can be built; empty if one can."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False)
    except FileNotFoundError:
        return "no container engine: there is no docker command"
    return "no container engine answers" if done.returncode else ""


def _base() -> str:
    match = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert match is not None
    # The base must be pulled separately: a builder may keep its own copy, which cannot be
    # inspected.
    _docker("pull", "--quiet", match[1])
    return match[1]


def _build(tag: str, folder: Path, base: str) -> None:
    _docker("build", "--quiet", "--network", "host", "--build-arg", f"BASE={base}", "--tag", tag, str(folder))


def _layers(image: str) -> list[str]:
    layers: list[str] = json.loads(_docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    return layers


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def _measured(image: str, below: int) -> dict[str, Any]:
    """The layers above the first `below` ones, those of the base, compressed as in a registry."""
    with tempfile.TemporaryDirectory() as name:
        saved = Path(name) / "image.tar"
        _docker("save", "--output", str(saved), image)
        with tarfile.open(saved) as archive:
            (manifest,) = json.load(_member(archive, "manifest.json"))
            paths = manifest["Layers"][below:]
            layers = [_packed(_member(archive, path)) for path in paths]
            packages: Counter[str] = Counter()
            unpacked = 0
            for path in paths:
                with tarfile.open(fileobj=_member(archive, path)) as layer:
                    files = [(entry.name, entry.size) for entry in layer if entry.isfile()]
                unpacked += sum(size for _, size in files)
                packages.update(_by_package(files))
    return {"packed": sum(layers), "unpacked": unpacked, "layers": layers, "packages": packages}


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.extractfile(name)
    assert member is not None, name
    return member


def _by_package(files: Iterable[tuple[str, int]]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for name, size in files:
        if (match := _PACKAGE.match(name)) is not None:
            sizes[match[1]] += size
    return sizes


def _packed(file: IO[bytes]) -> int:
    """The size in bytes after compression with gzip, as engines push layers."""
    compressor = zlib.compressobj(level=6, wbits=31)
    size = 0
    while chunk := file.read(1 << 20):
        size += len(compressor.compress(chunk))
    return size + len(compressor.flush())


if __name__ == "__main__":
    main()
