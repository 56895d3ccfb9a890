"""The place of the registry in Azure, if the configuration names it."""

from __future__ import annotations

from dataclasses import dataclass

from acr_cleanup.access import roles
from acr_cleanup.core.references import RegistryHost


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """The hosts of the registry, and its subscription and resource group, if they are known."""

    host: RegistryHost
    subscription: str | None = None
    group: str | None = None

    @property
    def list_path(self) -> str:
        """
        The path of the list of registries in its resource group; "" if that is not known.

        The list, because the name of a registry may differ from the first part of its host.
        """
        if not (self.subscription and self.group):
            return ""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/{roles.REGISTRIES}"

    @property
    def resource_id(self) -> str:
        """The id of the registry if its name is the first part of its host; "" if its group is not known."""
        return self.list_path and f"{self.list_path}/{self.host.name}"

    def is_shown_as(self, login_server: object) -> bool:
        """Return whether a login server that Azure shows is the one of this registry."""
        return isinstance(login_server, str) and login_server.lower() == self.host.login_server.lower()
