"""
Repositories that Azure itself keeps in a registry.

No cluster runs them, but a service of Azure reads them. They are out of scope, unless the option
`repositories` names them.

- `csscpolicies/*`: the configuration of continuous patching.
  https://learn.microsoft.com/azure/container-registry/key-concept-continuous-patching
- `aks-managed-repository/*`: the images from which network-isolated AKS clusters start their nodes.
  https://learn.microsoft.com/azure/aks/network-isolated
"""

from __future__ import annotations

from collections.abc import Iterable

OWN_FOLDERS = ("csscpolicies/", "aks-managed-repository/")


def own_folder(repository: str) -> str | None:
    """The folder of Azure that this repository is in."""
    return next((folder for folder in OWN_FOLDERS if repository.startswith(folder)), None)


def is_left_alone(repository: str, patterns: Iterable[str]) -> bool:
    """
    Is it a repository of Azure that no pattern names? A pattern names it if it begins with its folder.

    >>> is_left_alone("csscpolicies/patchpolicy", ("*",))
    True
    >>> is_left_alone("csscpolicies/patchpolicy", ("csscpolicies/*",))
    False
    """
    folder = own_folder(repository)
    return folder is not None and not any(pattern.startswith(folder) for pattern in patterns)
