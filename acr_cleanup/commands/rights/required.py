"""
The rights that a configuration needs: settings and surveyed clusters -> roles on resources.

Pure. Every format prints the same `RequiredRights`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from acr_cleanup.access import roles
from acr_cleanup.access.roles import Command, Right, Role
from acr_cleanup.clusters.target import Access, ClusterSurvey, ClusterTarget
from acr_cleanup.clusters.targets import AksCluster
from acr_cleanup.clusters.unlisted import searched_subscriptions
from acr_cleanup.quoting import quoted
from acr_cleanup.settings import Settings

REGISTRY = ""
"""The scope of a registry whose resource id is not known."""


class Mode(Enum):
    """How the registry checks rights: its "role assignment permissions mode"."""

    PLAIN = auto()
    ABAC = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Grant:
    """
    One role that the identity needs on one resource.

    scope: its resource id, or `REGISTRY`.
    """

    role: Role
    scope: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """
    Grants that belong together, with what to know about them.

    if_needed: True if it is not known that they are needed. They are then printed as comments.
    """

    text: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    if_needed: bool = False


@dataclass(frozen=True, slots=True)
class RequiredRights:
    """
    Everything that the identity needs.

    identity: its object id; empty if it is not known yet.
    registry_id: empty if the configuration does not name its subscription and resource group.
    azure: rights on the registry, the clusters and their subscriptions.
    objects: rights in clusters with Azure RBAC.
    kubernetes: clusters in which a ClusterRole is needed.
    kubernetes_notes: sentences about clusters that need none.
    """

    login_server: str
    registry_name: str
    registry_id: str
    command: Command
    identity: str
    azure: tuple[Paragraph, ...]
    objects: tuple[Paragraph, ...]
    kubernetes: tuple[ClusterSurvey, ...]
    kubernetes_notes: tuple[str, ...]
    helm_history: int

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants that are certainly needed."""
        paragraphs = (*self.azure, *self.objects)
        return tuple(grant for paragraph in paragraphs if not paragraph.if_needed for grant in paragraph.grants)


def required_rights(
    settings: Settings,
    clusters: Sequence[ClusterSurvey],
    *,
    mode: Mode,
    command: Command = Command.APPLY,
    identity: str = "",
) -> RequiredRights:
    """Return the rights that `command` needs with these settings."""
    registry = settings.registry_place.resource_id or REGISTRY
    reads_clusters = command in roles.FIND_CLUSTER.commands
    if not reads_clusters:
        clusters = ()
    return RequiredRights(
        settings.registry.login_server,
        settings.registry.name,
        registry,
        command,
        identity,
        azure=(
            *_registry(settings, registry, mode, command),
            *_clusters(settings, clusters, command),
            *_run_commands(clusters),
            *(_subscriptions(settings) if command in roles.FIND_UNLISTED.commands else ()),
            *(_services(settings) if reads_clusters else ()),
        ),
        objects=tuple(_objects(settings, clusters)),
        kubernetes=tuple(
            cluster
            for cluster in clusters
            if not cluster.target.is_recorded and not cluster.azure_rbac and cluster.entra is not False
        ),
        kubernetes_notes=tuple(
            f"Cluster {quoted(cluster.target.key, 80)} needs no role: without Entra ID, its user credentials have all "
            "rights in it. To restrict them, enable Entra ID (`az aks update --enable-aad`)."
            for cluster in clusters
            if cluster.entra is False
        ),
        helm_history=settings.helm_history,
    )


def custom_roles(paragraphs: Iterable[Paragraph]) -> Iterator[tuple[Role, tuple[str, ...], bool]]:
    """
    Yield each custom role of these paragraphs, with the scopes of its grants.

    The third value is True if it is only printed as a comment.
    """
    scopes: dict[Role, list[str]] = {}
    certain: set[Role] = set()
    for paragraph in paragraphs:
        for grant in paragraph.grants:
            if grant.role.is_custom:
                scopes.setdefault(grant.role, []).append(grant.scope)
                if not paragraph.if_needed:
                    certain.add(grant.role)
    for role, of_role in scopes.items():
        yield role, tuple(dict.fromkeys(map(subscription_of, of_role))), role not in certain


def subscription_of(scope: str) -> str:
    """
    Return `/subscriptions/ID` of a resource id; `REGISTRY` is returned unchanged.

    >>> subscription_of("/subscriptions/ABC/resourceGroups/rg/providers/A/b/c")
    '/subscriptions/abc'
    """
    return "/".join(scope.split("/")[:3]).lower()


# -- the registry ----------------------------------------------------------------------------------


def _registry(settings: Settings, registry: str, mode: Mode, command: Command) -> Iterator[Paragraph]:
    rights = registry_rights(settings, registry, command)
    if not rights:
        return
    yield Paragraph(grants=_grants(rights, registry, abac=mode is Mode.ABAC))
    if mode is Mode.UNKNOWN:
        note = (
            "The registry could not be asked for its role assignment permissions mode. If it is 'RBAC Registry + ABAC "
            "Repository Permissions', the roles for tags and manifests above have no effect. Assign these instead:"
        )
        yield Paragraph(
            (note,),
            tuple(grant for grant in _grants(rights, registry, abac=True) if grant.role is not roles.READER),
            if_needed=True,
        )
    if roles.PULL_LOG in rights:
        note = (
            f"If the workspace of the registry's logs counts only rights on itself, assign {roles.LOG_READER} on the workspace "
            "as well."
        )
        yield Paragraph((note,))
    if command is Command.APPLY:
        yield Paragraph(("For `acr-cleanup restore`, print the further rights with `--for restore`.",))


def registry_rights(settings: Settings, registry: str, command: Command) -> list[Right]:
    """Return the rights on the registry that `command` needs. registry: its resource id, or `REGISTRY`."""
    return [right for right in roles.REGISTRY_RIGHTS if _needs(right, settings, registry, command)]


def _needs(right: Right, settings: Settings, registry: str, command: Command) -> bool:
    if command not in right.commands:
        return False
    if right is roles.POLICIES:
        # Without a resource id, the policies are not read.
        return registry != REGISTRY
    if right is roles.PULL_LOG:
        return bool(settings.pull_window)
    if right is roles.CHANGE_LOCKS:
        return settings.policy.include_locked or command is Command.RESTORE
    return True


def _grants(rights: Sequence[Right], scope: str, *, abac: bool) -> tuple[Grant, ...]:
    """One grant per role. A role that another one includes is left out."""
    purposes: dict[Role, list[str]] = {}
    for right in rights:
        purposes.setdefault(right.abac if abac else right.role, []).append(right.purpose)
    for role in list(purposes):
        wider = next((other for other in purposes if role.name in other.includes), None)
        if wider is not None:
            purposes[wider] = [*purposes.pop(role), *purposes[wider]]
    return tuple(Grant(role, scope, " ".join(of_role)) for role, of_role in purposes.items())


# -- clusters --------------------------------------------------------------------------------------


def _clusters(settings: Settings, clusters: Sequence[ClusterSurvey], command: Command) -> Iterator[Paragraph]:
    searched = command in roles.FIND_UNLISTED.commands
    searched_ids = {subscription.lower() for subscription in _searched(settings)} if searched else set()
    for cluster in clusters:
        target = cluster.target
        title = f"Cluster {quoted(target.key, 80)}: "
        if not isinstance(target, AksCluster):
            yield Paragraph((title + _why_no_azure_rights(target),))
            continue
        text = [f"{title}{quoted(target.name, 63)} in {quoted(target.resource_group, 90)}."]
        if cluster.problem is not None:
            text.append(
                f"The cluster could not be asked for all its settings ({cluster.problem.call}): {cluster.problem.seen} "
                "Resolve this and print the rights again."
            )
        rights = []
        if target.subscription_id.lower() in searched_ids:
            text.append(
                "Finding it and reading its power state need the role Reader, which is assigned on its subscription below."
            )
        else:
            rights.append(roles.FIND_CLUSTER)
        if target.access is not Access.RUN_COMMAND:
            rights.append(roles.USER_CREDENTIALS)
        yield Paragraph(tuple(text), _grants(rights, target.resource_id, abac=False))


def _run_commands(clusters: Sequence[ClusterSurvey]) -> Iterator[Paragraph]:
    grants = tuple(
        Grant(roles.RUN_COMMANDS, target.resource_id, f"Cluster {quoted(target.key, 80)}.")
        for cluster in clusters
        if isinstance(target := cluster.target, AksCluster)
        and (target.access is Access.RUN_COMMAND or (target.access is Access.AUTO and cluster.private))
    )
    if grants:
        yield Paragraph(("Run commands in clusters. No built-in role has only these rights.",), grants)


def _why_no_azure_rights(target: ClusterTarget) -> str:
    """Say how a cluster that is not named by its place in Azure is read, and with which rights."""
    if target.is_recorded:
        return "read from a usage snapshot. Print the rights to collect it with the configuration of that machine."
    described = quoted(target.describe(), 200)
    if target.in_azure:
        return f"it is read as {described}. Its rights in Azure are not known here."
    text = f"needs no rights in Azure, because it is read as {described}."
    if target.token_scopes():
        text += (
            f" But its user logs in with Entra ID: if the cluster uses Azure RBAC, give it {roles.RBAC_READER.name}."
        )
    return text


def _subscriptions(settings: Settings) -> Iterator[Paragraph]:
    if subscriptions := _searched(settings):
        purpose = (
            "Find clusters that are missing in the configuration. The scope is the whole subscription, because Azure omits "
            "from a list each cluster that the identity may not read."
        )
        grants = (Grant(roles.READER, f"/subscriptions/{subscription}", "") for subscription in subscriptions)
        yield Paragraph((purpose,), tuple(grants))
    else:
        yield Paragraph(
            (
                "The options `require-all-clusters` and `subscriptions` also need the role Reader on those subscriptions.",
            )
        )


def _services(settings: Settings) -> Iterator[Paragraph]:
    """Reader on the subscriptions of other services of Azure, unless it is assigned there already."""
    registry = (settings.registry_subscription_id or "").lower()
    ids = (*searched_subscriptions(settings.clusters, settings.subscriptions), registry)
    missing = [each for each in dict.fromkeys(ids) if each and each not in _searched(settings)]
    if settings.services and missing:
        text = (
            "Read other services of Azure that pull from the registry (Container Apps, App Service and others). Without "
            "it, a run warns that it does not see all of them, and `require-all-services` refuses."
        )
        grants = (Grant(roles.READER, f"/subscriptions/{each}", "") for each in missing)
        optional = settings.services == {"auto"} and not settings.require_all_services
        yield Paragraph((text,), tuple(grants), if_needed=optional)


def _searched(settings: Settings) -> tuple[str, ...]:
    """Return the subscriptions that are searched for unlisted clusters; none if no option asks for it."""
    if not (settings.subscriptions or settings.require_all_clusters):
        return ()
    return searched_subscriptions(settings.clusters, settings.subscriptions)


# -- objects in clusters with Azure RBAC -----------------------------------------------------------


def _objects(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[Paragraph]:
    role = roles.OBJECTS_AND_SECRETS if settings.helm_history else roles.OBJECTS
    of_aks = [cluster for cluster in clusters if isinstance(cluster.target, AksCluster)]
    paragraphs = [
        *_known_objects(role, [cluster for cluster in of_aks if cluster.azure_rbac]),
        *_unknown_objects(role, [cluster for cluster in of_aks if cluster.azure_rbac is None]),
    ]
    if not paragraphs:
        return
    yield Paragraph(
        (
            f"The built-in role {roles.RBAC_READER} does not include custom resources; only {roles.READ_OBJECTS} does. "
            + (
                f"It includes Secrets, for Helm's history (helm-history is {settings.helm_history}). Azure cannot limit the "
                "right to Helm's Secrets, but acr-cleanup requests only those."
                if settings.helm_history
                else "Secrets are excluded."
            ),
        )
    )
    yield from paragraphs


def _known_objects(role: Role, clusters: Sequence[ClusterSurvey]) -> Iterator[Paragraph]:
    grants = tuple(_objects_of(role, clusters))
    if grants:
        yield Paragraph(grants=grants)


def _unknown_objects(role: Role, clusters: Sequence[ClusterSurvey]) -> Iterator[Paragraph]:
    for grant in _objects_of(role, clusters):
        text = (
            f"{grant.purpose.rstrip('.')} could not be asked whether it has Azure RBAC. If it has, this is needed instead of "
            "the ClusterRole:"
        )
        yield Paragraph((text,), (replace(grant, purpose=""),), if_needed=True)


def _objects_of(role: Role, clusters: Sequence[ClusterSurvey]) -> Iterator[Grant]:
    for cluster in clusters:
        if isinstance(cluster.target, AksCluster):
            yield Grant(role, cluster.target.resource_id, f"Cluster {quoted(cluster.target.key, 80)}.")
