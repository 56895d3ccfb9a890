"""
Reads kubeconfig files as kubectl does: the first document of a file, and lists of files.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.quoting import quoted

CALL = "reading the kubeconfig"
_MOST_DEPTH = 100
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
"""Keys with paths, which begin in the folder of their file."""


def parse_kubeconfig(content: bytes) -> dict[str, Any]:
    """Parse the first document of a kubeconfig. Raises `ReadFailure` if it is not one."""
    try:
        _refuse_deep(content)
        document = next(yaml.load_all(content, Loader=yaml.CSafeLoader), None)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise failure(f"it is not YAML ({quoted(error, 120)}).") from error
    if not isinstance(document, dict):
        raise failure("it is not a kubeconfig: not a YAML mapping.")
    return document


def _refuse_deep(content: bytes) -> None:
    """
    Raise `ValueError` for deep nesting, on which the C loader crashes the whole process.

    The C loader saves a tenth of the CPU time of a hundred clusters.
    """
    depth = 0
    for event in yaml.parse(content, Loader=yaml.CBaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(event, yaml.DocumentEndEvent):
            return  # kubectl reads no further document


def kubeconfig_files(path: Path) -> tuple[Path, ...]:
    """
    Return the files of a path, which may be a list as in KUBECONFIG.

    >>> [str(path) for path in kubeconfig_files(Path("a:b"))]
    ['a', 'b']
    """
    if path.is_file() or os.pathsep not in str(path):
        return (path,)
    return tuple(Path(part) for part in str(path).split(os.pathsep) if part)


def read_kubeconfig(path: Path) -> dict[str, Any]:
    """
    Read a kubeconfig file, or merge a list of files. Raises `ReadFailure`.

    The first file that sets a value wins. As in kubectl, files of a list may be missing, but not all of them.
    """
    files = kubeconfig_files(path)
    if len(files) == 1:
        return _read(files[0])
    present = [file for file in files if file.exists()]
    if not present:
        raise failure(f"no file of {quoted(path)} exists.", "Correct the list of files.")
    return _merged(map(_read, present))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = parse_kubeconfig(path.read_bytes())
    except OSError as error:
        raise failure(f"{quoted(path)} cannot be read ({quoted(error.strerror or error)}).") from error
    for section, key in _SECTIONS.items():
        for entry in _entries(document, section):
            values = entry.get(key)
            if not isinstance(values, dict):
                continue
            for name in _PATHS:
                if isinstance(values.get(name), str) and values[name]:
                    values[name] = str(path.parent.absolute() / values[name])
    return document


def _merged(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {section: [] for section in _SECTIONS}
    for document in documents:
        for section in _SECTIONS:
            entries = merged[section]
            known = {str(entry.get("name")) for entry in entries}
            entries += [entry for entry in _entries(document, section) if str(entry.get("name")) not in known]
        merged["current-context"] = merged.get("current-context") or document.get("current-context")
    return merged


def _entries(document: dict[str, Any], section: str) -> list[dict[str, Any]]:
    entries = document.get(section)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def failure(seen: str, remedy: str = "Check it with `kubectl --kubeconfig FILE get pods -A`.") -> ReadFailure:
    """Return the failure of a kubeconfig that cannot be used."""
    return ReadFailure(CALL, seen, remedy)
