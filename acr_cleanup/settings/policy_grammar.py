"""The grammar of the keep list and of rules: images, notes, dates, names."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from acr_cleanup.core.selection import EVERYTHING
from acr_cleanup.settings.grammar import InvalidOption, shown

if TYPE_CHECKING:
    from acr_cleanup.core.keep_list import KeepEntry

_LONGEST_NOTE = 200
_LONGEST_NAME = 60
_GLOB_OF_REPOSITORIES = re.compile(r"[a-z0-9._/*?\[\]!-]+")
_GLOB_OF_TAGS = re.compile(r"[A-Za-z0-9._*?\[\]!-]+")
_GLOB_OF_DIGESTS = re.compile(r"\*|sha256:[0-9a-f*?\[\]!-]+")
# Reports show the first twelve digits of a digest, and users paste them.
_SHORT_DIGEST = re.compile(r"sha256:[0-9a-f]{6,63}")
_DIGEST_ALONE = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_SCHEME = re.compile(r"^[a-z][a-z0-9-]*://")
_HOST = re.compile(r"localhost|[^/]*[.:][^/]*")
_IMAGE_FORMS = "Write REPOSITORY:TAG or REPOSITORY@DIGEST; each part may be a glob: shop/web:1.*"


def as_kept_image(text: str) -> tuple[str, KeepEntry]:
    """
    Parse an image of the keep list. Returns the host in front ("" if there is none), and the entry.

    Raises `InvalidOption`.

    >>> as_kept_image("contoso.azurecr.io/shop/web:1.*")
    ('contoso.azurecr.io', KeepEntry(image='shop/web:1.*', repository='shop/web', tag='1.*', digest=''...
    """
    image = _SCHEME.sub("", text.strip())
    if image.lower() in {"true", "false"}:
        remedy = (
            "At the top level, keep is a list of images. keep: true belongs in a rule: a mapping in the list rules."
        )
        raise InvalidOption(f"{shown(text)} is not an image.", remedy)
    if _DIGEST_ALONE.fullmatch(image):
        raise InvalidOption("The repository is missing before the digest.", "Write REPOSITORY@DIGEST, or *@DIGEST.")
    if image.startswith("!"):
        remedy = "The keep list only names images to keep. Write narrower patterns instead."
        raise InvalidOption(f"{shown(text)} begins with an exclamation mark.", remedy)
    first, slash, rest = image.partition("/")
    host = first if slash and _HOST.fullmatch(first) else ""
    name, at, digest = (rest if host else image).partition("@")
    repository, colon, tag = name.partition(":")
    if _SHORT_DIGEST.fullmatch(digest):
        digest += EVERYTHING
    valid = (
        _GLOB_OF_REPOSITORIES.fullmatch(repository)
        and (_GLOB_OF_TAGS.fullmatch(tag) or not colon)
        and (_GLOB_OF_DIGESTS.fullmatch(digest) or not at)
    )
    if not valid:
        raise InvalidOption(f"{shown(text)} is not an image.", _IMAGE_FORMS)
    if not (colon or at):
        tag = digest = EVERYTHING
    from acr_cleanup.core.keep_list import KeepEntry  # noqa: PLC0415  slow to load, and `--help` imports this module

    return host, KeepEntry(image.removeprefix(f"{host}/" if host else ""), repository, tag, digest)


def as_note(text: str) -> str:
    """Parse a note of one line. Raises `InvalidOption`."""
    note = " ".join(text.split())
    if not note:
        raise InvalidOption("It is empty.", "Give it a value, or remove it.")
    if len(note) > _LONGEST_NOTE:
        raise InvalidOption(
            f"It has {len(note)} characters.", f"Write at most {_LONGEST_NOTE}, with a link for the rest."
        )
    return note


def as_rule_name(text: str) -> str:
    """Parse the name of a rule: one line that reports can show. Raises `InvalidOption`."""
    name = as_note(text)
    how = "Write a short name of letters, digits, spaces and - _ . / such as: pull request images"
    if len(name) > _LONGEST_NAME or not re.fullmatch(r"[\w .,+/-]+", name):
        raise InvalidOption(f"{shown(name)} cannot be the name of a rule.", how)
    from acr_cleanup.core.policy import Rule  # noqa: PLC0415  slow to load, and `--help` imports this module
    from acr_cleanup.core.removal import Hold  # noqa: PLC0415

    if re.sub(r"[ _]", "-", name.lower()) in {*Rule, *Hold}:
        seen = f"{shown(name)} is the name of a built-in reason to keep a tag; reports could not tell the two apart."
        raise InvalidOption(seen, f"Write another name, such as {shown(f'{name} images')}.")
    return name


def as_date(text: str) -> date:
    """
    Parse a day: `2026-12-31`. Raises `InvalidOption`.

    >>> as_date("2026-12-31")
    datetime.date(2026, 12, 31)
    """
    how = "Write the last day, in UTC, as 2026-12-31."
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip(), re.ASCII):
        raise InvalidOption(f"{shown(text)} is not a date.", how)
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidOption(f"{shown(text)} is not a day of the calendar.", how) from error
