"""The texts of options about the log of pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acr_cleanup.settings.grammar import InvalidOption, parse_waiver, shown

if TYPE_CHECKING:
    from acr_cleanup.clusters.target import Waiver


def as_puller(text: str) -> str:
    """Check a glob on the identity or user agent of a pull. Raises `InvalidOption`."""
    if text.startswith("!") or not text.strip("*?"):
        remedy = "Write a glob that names who does not count: an identity, or a user agent such as trivy/*"
        raise InvalidOption(f"{shown(text)} is a negation, or would ignore every pull.", remedy)
    return text


def as_waiver(text: str) -> Waiver:
    """Parse `CLUSTER: KIND`, or `pull-log` alone: it belongs to no cluster. Raises `InvalidOption`."""
    # Slow to load, and `--help` imports this module.
    from acr_cleanup.clusters.target import Waiver  # noqa: PLC0415
    from acr_cleanup.core.pulls import PULL_LOG  # noqa: PLC0415
    from acr_cleanup.core.usage import SERVICES  # noqa: PLC0415

    return Waiver(SERVICES, PULL_LOG) if text.strip().lower() == PULL_LOG else parse_waiver(text)
