"""Required rights of one invented company, without a server."""

from __future__ import annotations

from pathlib import Path

from acr_cleanup.access.roles import Command
from acr_cleanup.clusters.target import Access, ClusterSurvey
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster
from acr_cleanup.commands.rights.required import Mode, RequiredRights, required_rights
from acr_cleanup.settings.load import load_settings

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
OTHER_SUBSCRIPTION = "44444444-4444-4444-4444-444444444444"
IDENTITY = "12345678-0000-0000-0000-000000000000"


def company_rights(
    folder: Path,
    *,
    mode: Mode = Mode.PLAIN,
    command: Command = Command.APPLY,
    identity: str = "",
    name: str = "aks-prod",
    known_registry: bool = True,
    **options: str,
) -> RequiredRights:
    """
    The rights for three clusters: one with Azure RBAC, one private in another subscription, one
    with a kubeconfig.

    `name`: of the first cluster. `known_registry`: does the configuration name its resource group?
    """
    config = folder / "acr-cleanup.yaml"
    place = f", subscription_id: {SUBSCRIPTION}, resource_group: rg-acr" if known_registry else ""
    config.write_text(
        f"container_registry: {{url: contoso.azurecr.io{place}}}\nkubernetes_clusters: {{p: {{snapshot: x}}}}\n"
    )
    settings = load_settings(config, options, {})
    clusters = (
        ClusterSurvey(AksCluster("production", name, SUBSCRIPTION, "rg-prod"), entra=True, azure_rbac=True),
        ClusterSurvey(
            AksCluster("private", "aks-private", OTHER_SUBSCRIPTION, "rg-private", Access.RUN_COMMAND),
            entra=True,
            azure_rbac=False,
            private=True,
        ),
        ClusterSurvey(KubeconfigCluster("onprem", Path("kubeconfig"), "admin")),
    )
    return required_rights(settings, clusters, mode=mode, command=command, identity=identity)
