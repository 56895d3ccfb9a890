"""
Looks for secrets where they must not be: after every run that a test makes, in everything that the run has written.

What is looked for is whatever the emulated company had to hide: every token that it issued, its clients' secrets, the tokens of
jobs and clusters, the keys of certificates; whole, in a piece, and in the usual encodings.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from acr_cleanup.emulator import Emulator

_PIECE = 24
"""Characters: a message that was cut short may hold the beginning of a token only, and that is too much already."""


def secrets_of(emulator: Emulator) -> set[str]:
    """Everything that nobody but the two who talk to one another may know."""
    world = emulator.world
    directory = world.directory
    found = {directory.client_secret, directory.github_request_token, directory.pipelines_access_token}
    found.update(*directory.secrets.values())
    for cluster in world.clusters.values():
        found |= {cluster.token, cluster.inside_token}
    for key in emulator.authority.issued_keys:
        # Its lines, for in a file of another format they would be broken otherwise.
        found |= set(key.splitlines()[1:-1])
    return {each for each in found if each} | set(emulator.authority.signer.issued)


def spellings(secret: str) -> set[str]:
    """As it is, in a URL, in base64; of a token also its signature and, in case it was cut, how it begins and what it says."""
    found = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]}
    if secret.count(".") == 2:
        head, claims, signature = secret.split(".")
        found |= {f"{head}.", head[:_PIECE], claims[-_PIECE:], signature}
    return found


def leaked(emulator: Emulator, places: Mapping[str, str]) -> list[str]:
    """The places (by name: their text) in which a secret stands, each with the beginning of the secret."""
    wanted = {spelt for secret in secrets_of(emulator) for spelt in spellings(secret)}
    return [f"{name}: {each[:8]}…" for name, text in places.items() for each in sorted(wanted) if each in text]


def assert_none_leaked(emulator: Emulator, places: Mapping[str, str]) -> None:
    """Fails naming the places where a secret stands."""
    found = leaked(emulator, places)
    assert not found, f"secrets were written down: {found}"


def files_below(*folders: Path) -> dict[str, str]:
    """The text of every file in these folders, or of the file itself."""
    return {str(path): path.read_text(encoding="utf-8", errors="replace") for path in _files(folders)}


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (each for each in ([folder] if folder.is_file() else sorted(folder.rglob("*"))) if each.is_file())
