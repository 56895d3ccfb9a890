"""
Compare the Python packages of an SBOM (SPDX, JSON) with a lock file; exit with 1 if they differ.

Usage: sbom.py LOCK SBOM. Standard library alone, so that a release needs no environment for it.
"""

# ruff: noqa: T201 - it is a command line program

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

# The Dockerfile removes these: only `actions_toolkit.core` is used, which imports neither.
REMOVED = {"pygithub", "pynacl"}
# Part of the base image, outside of the environment.
OF_THE_BASE = {"pip"}

_LOCKED = re.compile(r"^([\w.-]+)==([^\s;\\]+)([^\\\n]*)", re.MULTILINE)
_PYPI = re.compile(r"pkg:pypi/([\w.-]+)@([^?#]+)")


def locked(text: str) -> tuple[dict[str, str], set[str]]:
    """Return the version of each package of a lock file, and the packages that have a marker."""
    found = [(_normal(name), version, rest) for name, version, rest in _LOCKED.findall(text)]
    return {name: version for name, version, _ in found}, {name for name, _, rest in found if ";" in rest}


def listed(sbom: dict[str, Any]) -> dict[str, str]:
    """Return the version of each Python package of an SBOM."""
    locators = (
        reference["referenceLocator"] for package in sbom["packages"] for reference in package.get("externalRefs", ())
    )
    return {_normal(match[1]): match[2] for locator in locators if (match := _PYPI.match(locator))}


def differences(lock: str, sbom: dict[str, Any]) -> list[str]:
    """Return one line for each package that only one of them has, or in another version."""
    wanted, optional = locked(lock)
    given = listed(sbom)
    lines = [
        f"{name}=={wanted[name]} is locked, but not in the SBOM"
        for name in wanted.keys() - given.keys() - optional - REMOVED
    ]
    for name, version in given.items():
        if name in REMOVED or (name not in wanted and name not in OF_THE_BASE):
            lines.append(f"{name}=={version} is in the SBOM, but must not be")
        elif name in wanted and version != wanted[name]:
            lines.append(f"{name}=={version} is in the SBOM, but {wanted[name]} is locked")
    return sorted(lines)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(lock: str, sbom: str) -> int:
    """Print the differences; return the exit code."""
    lines = differences(Path(lock).read_text(encoding="utf-8"), json.loads(Path(sbom).read_text(encoding="utf-8")))
    for line in lines:
        print(f"sbom: {line}")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
