"""
The rights that an identity needs: the one table of which messages, documentation and
`acr-cleanup permissions` are made.

Sources: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles and
https://learn.microsoft.com/azure/container-registry/container-registry-rbac-built-in-roles-directory-reference
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

REGISTRIES = "Microsoft.ContainerRegistry/registries"
MANAGED_CLUSTERS = "Microsoft.ContainerService/managedClusters"

LOG_EVENTS = "Microsoft.Insights/logs/ContainerRegistryRepositoryEvents"
READ_LOG_SETTINGS = "Microsoft.Insights/diagnosticSettings/read"
READ_CLUSTERS = f"{MANAGED_CLUSTERS}/read"
RUN_COMMAND = f"{MANAGED_CLUSTERS}/runcommand/action"
COMMAND_RESULTS = f"{MANAGED_CLUSTERS}/commandResults/read"
READ_OBJECTS = f"{MANAGED_CLUSTERS}/*/read"
"""
The data action for listing every kind of object. It is the only one that covers custom resources.
https://learn.microsoft.com/azure/aks/manage-azure-rbac
"""
READ_SECRETS = f"{MANAGED_CLUSTERS}/secrets/read"
READ_LOCKS = f"{REGISTRIES}/metadata/read"
"""AcrPull does not include it. https://learn.microsoft.com/azure/container-registry/container-registry-image-lock"""


@dataclass(frozen=True, slots=True)
class Role:
    """
    One role of Azure.

    id: the GUID of a built-in role, which is the same in every tenant; empty for a custom role.
    description, actions, data_actions, not_data_actions: the definition of a custom role.
    includes: names of built-in roles that are not needed besides this one on the same scope.
    """

    name: str
    id: str = ""
    description: str = ""
    actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    includes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name

    @property
    def is_custom(self) -> bool:
        return not self.id


READER = Role("Reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7")
ACR_PULL = Role("AcrPull", "7f951dda-4ed3-4680-a7ca-43fe172d538d")
ACR_PUSH = Role("AcrPush", "8311e382-0749-4cb8-b61a-304f252e45ec", includes=frozenset({"AcrPull"}))
ACR_DELETE = Role("AcrDelete", "c2f4ef07-c644-48eb-af81-4b1b4947fb11")
ABAC_READER = Role("Container Registry Repository Reader", "b93aa761-3e63-49ed-ac28-beffa264f7ac")
ABAC_WRITER = Role(
    "Container Registry Repository Writer",
    "2a1e307c-b015-4ebd-883e-5b7698a07328",
    includes=frozenset({ABAC_READER.name}),
)
ABAC_CONTRIBUTOR = Role(
    "Container Registry Repository Contributor",
    "2efddaa5-3f1f-4df3-97df-af3f13818f4c",
    includes=frozenset({ABAC_READER.name, ABAC_WRITER.name}),
)
ABAC_CATALOG = Role("Container Registry Repository Catalog Lister", "bfdb9389-c9a5-478a-bb2f-ba9ca092c3c7")
LOCKS = Role(
    "acr-cleanup: change locks in the registry",
    description="Lets acr-cleanup see locks of tags and manifests, remove them and restore them.",
    actions=(READ_LOCKS, f"{REGISTRIES}/metadata/write"),
)
SOFT_DELETE = Role(
    "acr-cleanup: restore soft-deleted manifests",
    description="Lets acr-cleanup list and restore what soft delete of the registry keeps.",
    actions=(f"{REGISTRIES}/deleted/read", f"{REGISTRIES}/deleted/restore/action"),
)
CLUSTER_USER = Role("Azure Kubernetes Service Cluster User Role", "4abbcc35-e782-43d8-92c5-2d3f1bd2253f")
RUN_COMMANDS = Role(
    "acr-cleanup: run commands in clusters",
    description="Lets acr-cleanup read clusters through run commands.",
    actions=(READ_CLUSTERS, RUN_COMMAND, COMMAND_RESULTS),
)
RBAC_READER = Role("Azure Kubernetes Service RBAC Reader", "7f6c6a51-bcf8-42ba-9220-52d62157d7db")
OBJECTS = Role(
    "acr-cleanup: read objects in clusters",
    description="Lets acr-cleanup find all images that a cluster could start.",
    data_actions=(READ_OBJECTS,),
    not_data_actions=(READ_SECRETS,),
)
OBJECTS_AND_SECRETS = Role(OBJECTS.name, description=OBJECTS.description, data_actions=(READ_OBJECTS,))
"""For Helm's history. Azure cannot limit the right to Helm's Secrets."""

LOG_READER = Role("Log Analytics Reader", "73c42c96-874c-492b-b04d-ab87d138a893", includes=frozenset({READER.name}))
"""Like Reader, it has `*/read`."""


class Command(StrEnum):
    """The commands that need rights, by their names on the command line."""

    PLAN = "plan"
    APPLY = "apply"
    EXPLAIN = "explain"
    COLLECT = "collect"
    NAMES = "names"
    RESTORE = "restore"


PLAN, APPLY, EXPLAIN, COLLECT, NAMES, RESTORE = Command
_READING = frozenset({PLAN, APPLY, EXPLAIN, COLLECT, NAMES, RESTORE})
_CLUSTERS = frozenset({PLAN, APPLY, EXPLAIN, COLLECT})


@dataclass(frozen=True, slots=True)
class Right:
    """
    One row of the table: what a step needs, and the role that grants it.

    purpose: what the identity does with it, as a sentence.
    commands: those that need it.
    role: the role to assign.
    abac: the role on a registry with ABAC ("RBAC Registry + ABAC Repository Permissions").
    actions, abac_actions: the actions that the step needs of these roles.
    """

    purpose: str
    commands: frozenset[Command]
    role: Role
    abac: Role
    actions: tuple[str, ...]
    abac_actions: tuple[str, ...] = ()

    @property
    def roles(self) -> str:
        """The role, and the one with ABAC, as messages name them."""
        plain, abac = self.role.name, self.abac.name
        if self.role.is_custom:
            # Contributor and Owner are the only built-in roles with these actions.
            plain = f"Contributor, or one with {' and '.join(self.role.actions)}"
        if self.abac is self.role:
            if not self.role.is_custom:
                return plain
            abac = "only one with these actions"
        return f"{plain} (where the registry uses ABAC: {abac})"


# -- the registry ----------------------------------------------------------------------------------

_REPOSITORIES = f"{REGISTRIES}/repositories"
DATA_ACTIONS = (f"{_REPOSITORIES}/", f"{REGISTRIES}/catalog/")
"""The beginnings of data actions of the registry. Others are actions: `*` of Owner does not include data actions."""

READ = Right(
    "Read its tags and manifests.",
    _READING,
    ACR_PULL,
    ABAC_READER,
    (f"{REGISTRIES}/pull/read",),
    (f"{_REPOSITORIES}/metadata/read", f"{_REPOSITORIES}/content/read"),
)
CATALOG = Right(
    "List its repositories, whose names are looked for in the clusters.",
    frozenset({PLAN, APPLY, EXPLAIN, COLLECT, NAMES}),
    ACR_PULL,
    ABAC_CATALOG,
    (f"{REGISTRIES}/pull/read",),
    (f"{REGISTRIES}/catalog/read",),
)
POLICIES = Right(
    "Read its policies, such as soft delete and retention.",
    frozenset({PLAN, APPLY}),
    READER,
    READER,
    (f"{REGISTRIES}/read",),
    (f"{REGISTRIES}/read",),
)
PULL_LOG = Right(
    "Read its pulls (`pulled-within`) and its diagnostic settings.",
    frozenset({PLAN, APPLY, EXPLAIN}),
    LOG_READER,
    LOG_READER,
    (f"{LOG_EVENTS}/read", READ_LOG_SETTINGS),
    (f"{LOG_EVENTS}/read", READ_LOG_SETTINGS),
)
"""
In the context of the registry. If the workspace counts only rights on itself, the role is needed there:
https://learn.microsoft.com/azure/azure-monitor/logs/manage-access
"""
DELETE = Right(
    "Delete tags and manifests.",
    frozenset({APPLY}),
    ACR_DELETE,
    ABAC_CONTRIBUTOR,
    (f"{REGISTRIES}/artifacts/delete",),
    (f"{_REPOSITORIES}/metadata/delete", f"{_REPOSITORIES}/content/delete"),
)
CHANGE_LOCKS = Right(
    "Remove and restore locks (`include-locked`, and `restore`). AcrPush does not allow it.",
    frozenset({APPLY, RESTORE}),
    LOCKS,
    ABAC_WRITER,
    (f"{REGISTRIES}/metadata/write",),
    (f"{_REPOSITORIES}/metadata/write",),
)
PUSH = Right(
    "Push deleted tags and manifests again.",
    frozenset({RESTORE}),
    ACR_PUSH,
    ABAC_WRITER,
    (f"{REGISTRIES}/push/write",),
    (f"{_REPOSITORIES}/content/write",),
)
UNDELETE = Right(
    "List and restore what soft delete keeps. No built-in role for repositories allows it.",
    frozenset({RESTORE}),
    SOFT_DELETE,
    SOFT_DELETE,
    SOFT_DELETE.actions,
    SOFT_DELETE.actions,
)
REGISTRY_RIGHTS = (READ, CATALOG, POLICIES, PULL_LOG, DELETE, CHANGE_LOCKS, PUSH, UNDELETE)

# -- clusters --------------------------------------------------------------------------------------

FIND_CLUSTER = Right("Find it and read its power state.", _CLUSTERS, READER, READER, (READ_CLUSTERS,), (READ_CLUSTERS,))
USER_CREDENTIALS = Right(
    "Get user credentials (never those of the administrator).",
    _CLUSTERS,
    CLUSTER_USER,
    CLUSTER_USER,
    (f"{MANAGED_CLUSTERS}/listClusterUserCredential/action",),
)
RUN_COMMANDS_IN = Right(
    "Run commands in it. No built-in role has only these rights.",
    _CLUSTERS,
    RUN_COMMANDS,
    RUN_COMMANDS,
    (RUN_COMMAND, COMMAND_RESULTS),
)
LIST_OBJECTS = Right("List all kinds of objects that can name an image.", _CLUSTERS, OBJECTS, OBJECTS, (READ_OBJECTS,))
FIND_UNLISTED = Right(
    "Find clusters that are missing in the configuration (`require-all-clusters`, `subscriptions`).",
    frozenset({PLAN, APPLY}),
    READER,
    READER,
    (READ_CLUSTERS,),
)
CLUSTER_RIGHTS = (FIND_CLUSTER, USER_CREDENTIALS, RUN_COMMANDS_IN, LIST_OBJECTS, FIND_UNLISTED)
