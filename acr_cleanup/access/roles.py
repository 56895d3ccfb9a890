"""
The names of roles and actions that an identity needs.

Messages and `acr-cleanup permissions` use them.

Source of Azure's names: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
"""

from __future__ import annotations

# -- the registry ----------------------------------------------------------------------------------

ACR_PULL = "AcrPull"
ACR_DELETE = "AcrDelete"
ACR_PUSH = "AcrPush"
ABAC_READER = "Container Registry Repository Reader"
ABAC_CONTRIBUTOR = "Container Registry Repository Contributor"
ABAC_WRITER = "Container Registry Repository Writer"
ABAC_CATALOG = "Container Registry Repository Catalog Lister"

# -- clusters, as resources of Azure ---------------------------------------------------------------

READER = "Reader"
CLUSTER_USER = "Azure Kubernetes Service Cluster User Role"
RBAC_READER = "Azure Kubernetes Service RBAC Reader"

MANAGED_CLUSTERS = "Microsoft.ContainerService/managedClusters"
READ_CLUSTERS = f"{MANAGED_CLUSTERS}/read"
RUN_COMMAND = f"{MANAGED_CLUSTERS}/runcommand/action"
COMMAND_RESULTS = f"{MANAGED_CLUSTERS}/commandResults/read"

# -- objects in clusters with Azure RBAC -----------------------------------------------------------

READ_OBJECTS = f"{MANAGED_CLUSTERS}/*/read"
"""
The data action for listing every kind of object. It is the only one that covers custom resources.
https://learn.microsoft.com/azure/aks/manage-azure-rbac
"""
READ_SECRETS = f"{MANAGED_CLUSTERS}/secrets/read"
