"""
Searches the output of each test run for secrets.

The secrets are those of the emulated company: all issued tokens, client secrets, tokens of jobs and
clusters, and private keys. They are found whole, cut, and in the usual encodings.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from acr_cleanup.emulator import Emulator

_PART_LENGTH = 24
"""Characters of a token that count as a leak: a shortened message may contain only its start."""


def secrets_of(emulator: Emulator) -> set[str]:
    """Return all secrets that only one client and one server may know."""
    world = emulator.world
    directory = world.directory
    secrets = {directory.client_secret, directory.github_request_token, directory.pipelines_access_token}
    secrets.update(*directory.secrets.values())
    for cluster in world.clusters.values():
        secrets |= {cluster.token, cluster.inside_token}
    for key in emulator.authority.issued_keys:
        # Single lines: JSON and YAML write the line breaks of a key in another way.
        secrets |= set(key.splitlines()[1:-1])
    return {secret for secret in secrets if secret} | set(emulator.authority.signer.issued)


def spellings(secret: str) -> set[str]:
    """
    Return the forms in which a secret can be written.

    These are the secret itself, in a URL, and in base64. For a token also its signature, its start,
    and the end of its claims.
    """
    forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]}
    if secret.count(".") == 2:
        head, claims, signature = secret.split(".")
        forms |= {f"{head}.", head[:_PART_LENGTH], claims[-_PART_LENGTH:], signature}
    return forms


def leaked(emulator: Emulator, texts: Mapping[str, str]) -> list[str]:
    """
    Return one message per secret in these texts: the name of the text, and the start of the secret.
    """
    forms = sorted({form for secret in secrets_of(emulator) for form in spellings(secret)})
    return [f"{name}: {form[:8]}…" for name, text in texts.items() for form in forms if form in text]


def assert_none_leaked(emulator: Emulator, texts: Mapping[str, str]) -> None:
    """Fail with the names of the texts that contain a secret."""
    leaks = leaked(emulator, texts)
    assert not leaks, f"secrets were written: {leaks}"


def files_below(*folders: Path) -> dict[str, str]:
    """Return the text of all files in these folders, by path. A file may be given as well."""
    return {str(path): path.read_text(encoding="utf-8", errors="replace") for path in _files(folders)}


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in ([folder] if folder.is_file() else sorted(folder.rglob("*"))) if path.is_file())
