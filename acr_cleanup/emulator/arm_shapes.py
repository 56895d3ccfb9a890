"""JSON objects of Azure Resource Manager: managed clusters, registries, run command results."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from acr_cleanup.emulator.kubernetes.state import ClusterState, CommandResult
from acr_cleanup.emulator.registry.state import RegistryState

JSON = dict[str, Any]


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def command_properties(result: CommandResult) -> JSON:
    """Return the properties of a run command's result."""
    if result.reason is not None:
        return {"provisioningState": "failed", "reason": result.reason}
    return {
        "provisioningState": "Succeeded",
        "exitCode": result.exit_code,
        "startedAt": _time(result.started),
        "finishedAt": _time(result.finished),
        "logs": result.logs,
    }


def describe_cluster(cluster: ClusterState) -> JSON:
    """Return a managed cluster as ARM shows it."""
    pool = {
        "name": "nodepool1",
        "count": 2,
        "vmSize": "Standard_D4s_v5",
        "osDiskSizeGB": 128,
        "osDiskType": "Managed",
        "maxPods": 110,
        "type": "VirtualMachineScaleSets",
        "enableAutoScaling": False,
        "provisioningState": cluster.provisioning_state,
        "powerState": {"code": cluster.power_state},
        "orchestratorVersion": cluster.kubernetes_version,
        "currentOrchestratorVersion": cluster.kubernetes_version,
        "enableNodePublicIP": False,
        "mode": "System",
        "osType": "Linux",
        "osSKU": "Ubuntu",
    }
    properties: JSON = {
        "provisioningState": cluster.provisioning_state,
        "powerState": {"code": cluster.power_state},
        "kubernetesVersion": cluster.kubernetes_version,
        "currentKubernetesVersion": cluster.kubernetes_version,
        "dnsPrefix": cluster.dns_prefix,
    }
    properties |= {"fqdn": cluster.fqdn} if cluster.fqdn else {}
    properties |= {"privateFQDN": cluster.private_fqdn} if cluster.private_fqdn else {}
    properties |= {
        "agentPoolProfiles": [pool],
        "nodeResourceGroup": f"MC_{cluster.resource_group}_{cluster.name}_{cluster.location}",
        "enableRBAC": True,
        "networkProfile": {"networkPlugin": "azure", "loadBalancerSku": "standard"},
        "maxAgentPools": 100,
        "disableLocalAccounts": cluster.disable_local_accounts,
    }
    access: JSON = {}
    if cluster.private:
        access |= {"enablePrivateCluster": True, "privateDNSZone": "system"}
        access |= {"enablePrivateClusterPublicFQDN": cluster.public_fqdn_of_private}
    if cluster.disable_run_command:
        access["disableRunCommand"] = True
    if access:
        properties["apiServerAccessProfile"] = access
    if cluster.is_entra:
        properties["aadProfile"] = {"managed": True, "adminGroupObjectIDs": None, "enableAzureRBAC": cluster.azure_rbac}
    return {
        "id": cluster.resource_id,
        "location": cluster.location,
        "name": cluster.name,
        "type": "Microsoft.ContainerService/ManagedClusters",
        "properties": properties,
        "identity": {"type": "SystemAssigned"},
        "sku": {"name": "Base", "tier": "Standard"},
    }


def describe_registry(registry: RegistryState) -> JSON:
    """Return the registry as ARM shows it."""
    retention = registry.retention_days
    return {
        "id": registry.resource_id,
        "name": registry.resource_id.rpartition("/")[2],
        "type": "Microsoft.ContainerRegistry/registries",
        "location": "westeurope",
        "sku": {"name": "Premium", "tier": "Premium"},
        "properties": {
            "loginServer": registry.login_server,
            "provisioningState": "Succeeded",
            "adminUserEnabled": False,
            "roleAssignmentMode": "AbacRepositoryPermissions" if registry.abac else "LegacyRegistryPermissions",
            "policies": {
                "quarantinePolicy": {"status": "disabled"},
                "trustPolicy": {"type": "Notary", "status": "disabled"},
                "retentionPolicy": {
                    "days": 7 if retention is None else retention,
                    "status": "disabled" if retention is None else "enabled",
                },
                "softDeletePolicy": {
                    "retentionDays": registry.soft_delete_days,
                    "status": "enabled" if registry.soft_delete else "disabled",
                },
            },
        },
    }
