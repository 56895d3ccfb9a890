"""Kinds that describe images and do not need them: what only they name may be deleted."""

from __future__ import annotations

from collections.abc import Iterable

IGNORED_KINDS = (
    # Reports of scanners, and lists of packages.
    "*.aquasecurity.github.io",
    "*.spdx.softwarecomposition.kubescape.io",
    "*.zora.undistro.io",
    # Reports of policies, and rules that say which images may run.
    "*.wgpolicyk8s.io",
    "*.openreports.io",
    "*.reports.kyverno.io",
    "admissionreports.kyverno.io",
    "backgroundscanreports.kyverno.io",
    "clusteradmissionreports.kyverno.io",
    "clusterbackgroundscanreports.kyverno.io",
    "*.constraints.gatekeeper.sh",
    "*.status.gatekeeper.sh",
    # Images to remove from nodes, or to look for in a registry.
    "*.eraser.sh",
    "imagerepositories.image.toolkit.fluxcd.io",
)
"""As kubectl names them; `*.group` for all kinds of an API group."""


def ignored_kinds(written: Iterable[str] = ()) -> frozenset[str]:
    """
    The kinds to ignore: those above and the written ones, without those written with `!`.

    >>> "things.example.com" in ignored_kinds(["Things.example.com", "!*.eraser.sh"])
    True
    """
    kinds = {kind.strip().lower() for kind in written}
    unwanted = {kind.removeprefix("!") for kind in kinds if kind.startswith("!")}
    return frozenset({*IGNORED_KINDS, *(kind for kind in kinds if not kind.startswith("!"))} - unwanted)
