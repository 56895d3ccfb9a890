"""
Prints a shell script that grants the rights that a configuration needs, to be read before it is
run.

The script has three parts: role assignments in Azure, a custom role for clusters with Azure RBAC
(JSON), and a ClusterRole for all other clusters (YAML). The clusters are asked for their settings
and API groups. A comment in the script names each cluster that could not be asked.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from acr_cleanup.access import roles as rights
from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.survey import survey_clusters
from acr_cleanup.clusters.target import Access, ClusterSurvey
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.clusters.unlisted import searched_subscriptions
from acr_cleanup.commands.cluster_role import IDENTITY, WIDTH, cluster_role, comment
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.quoting import quoted
from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages.connect import open_azure

OBJECTS_ROLE = "acr-cleanup: read objects in clusters"
RUN_COMMAND_ROLE = "acr-cleanup: run commands in clusters"


async def permissions(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> int:
    """Print the script and return exit code 0, also if a cluster cannot be asked."""
    done = 0

    def report(cluster: ClusterSurvey) -> None:
        nonlocal done
        done += 1
        result = "could not be asked" if cluster.problem is not None else "asked"
        runtime.progress("clusters", done, len(settings.clusters), f"{cluster.target.key}: {result}")

    runtime.progress("clusters", 0, len(settings.clusters), "")
    try:
        async with open_azure(
            settings.cloud, settings.login, environ, id_tokens=runtime.id_token, mask=runtime.mask
        ) as azure:
            clusters = await survey_clusters(settings.clusters, azure, progress=report)
    except AcrCleanupError as error:
        # Users may print the script before they can log in with the identity.
        problem = ReadFailure("log in", quoted(error.seen), quoted(error.remedy))
        clusters = tuple(ClusterSurvey(target, problem=problem) for target in settings.clusters)
    runtime.show(script(settings, clusters))
    runtime.finish()
    return 0


def script(settings: Settings, clusters: Sequence[ClusterSurvey]) -> str:
    """Return the script as text for a POSIX shell."""
    lines = [
        *comment(
            f"Grants the rights that acr-cleanup needs to clean {settings.registry.login_server}. Read this script, write the "
            "object id of the identity after `identity=`, and run it as a user who may assign roles. A new role takes some "
            "minutes to take effect."
        ),
        "",
        f"identity={shlex.quote(IDENTITY)}  # az ad sp show --id CLIENT_ID --query id --output tsv",
        "",
        *_heading("1. In Azure"),
        *_registry(settings),
        *_clusters(settings, clusters),
        *_subscriptions(settings),
        *_azure_rbac(settings, clusters),
        *_kubernetes_rbac(settings, clusters),
    ]
    return "\n".join(line.rstrip() for line in lines)


# -- Azure -----------------------------------------------------------------------------------------


def _registry(settings: Settings) -> Iterator[str]:
    # A login server with a domain name label is NAME-HASH.azurecr.io; registry names have no
    # hyphens.
    name = re.split(r"[.:-]", settings.registry.login_server)[0]
    group, subscription = settings.registry_resource_group, settings.registry_subscription_id
    yield ""
    if group and subscription:
        parent = (
            f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries"
        )
        yield f"registry={shlex.quote(f'{parent}/{name}')}"
    else:
        yield f"registry=$(az acr show --name {shlex.quote(name)} --query id --output tsv)"
    yield from comment("Read its tags and manifests.")
    yield from _assign(rights.ACR_PULL, '"$registry"')
    yield from comment("Delete tags and manifests. Not needed for `acr-cleanup plan` and dry runs.")
    yield from _assign(rights.ACR_DELETE, '"$registry"')
    yield from comment("Only for `include-locked`, to remove locks, and for `acr-cleanup restore`.")
    push = _assign(rights.ACR_PUSH, '"$registry"')
    yield from push if settings.policy.include_locked else _commented_out(push)
    yield from comment(
        "If the registry's role assignment mode is 'RBAC Registry + ABAC Repository Permissions', the roles above have no "
        "effect. Assign these roles instead: the first to plan, the second to delete as well, the third for "
        "`include-locked` and restore. For `scope: all`, add the fourth."
    )
    for role in (rights.ABAC_READER, rights.ABAC_CONTRIBUTOR, rights.ABAC_WRITER, rights.ABAC_CATALOG):
        yield from _commented_out(_assign(role, '"$registry"'))


def _clusters(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[str]:
    searched_ids = {subscription.lower() for subscription in _searched_subscriptions(settings)}
    by_command: list[AksCluster] = []
    for cluster in clusters:
        target = cluster.target
        yield ""
        if not isinstance(target, AksCluster):
            yield from comment(f"Cluster {quoted(target.key, 80)}: {_why_no_azure_rights(target)}")
            continue
        yield from comment(
            f"Cluster {quoted(target.key, 80)}: {quoted(target.name, 63)} in {quoted(target.resource_group, 90)}."
        )
        if cluster.problem is not None:
            yield from comment(
                f"The cluster could not be asked for all its settings ({cluster.problem.call}): {cluster.problem.seen} "
                "Resolve this and print the script again."
            )
        yield f"cluster={shlex.quote(target.resource_id)}"
        if target.subscription_id.lower() in searched_ids:
            yield from comment(
                "Finding it and reading its power state need the role Reader, which is assigned on its subscription below."
            )
        else:
            yield from comment("Find it and read its power state.")
            yield from _assign(rights.READER, '"$cluster"')
        if target.access is not Access.RUN_COMMAND:
            yield from comment("Get user credentials (never those of the administrator).")
            yield from _assign(rights.CLUSTER_USER, '"$cluster"')
        if target.access is Access.RUN_COMMAND or (target.access is Access.AUTO and cluster.private):
            by_command.append(target)
    if not by_command:
        return
    yield ""
    yield from comment(
        "Run commands in clusters. No built-in role has only these rights. (If the role exists, use "
        "`az role definition update`.)"
    )
    yield from _define(
        RUN_COMMAND_ROLE,
        "Lets acr-cleanup read clusters through run commands.",
        by_command,
        actions=(rights.READ_CLUSTERS, rights.RUN_COMMAND, rights.COMMAND_RESULTS),
    )
    for target in by_command:
        yield from _assign(RUN_COMMAND_ROLE, shlex.quote(target.resource_id))


def _why_no_azure_rights(target: object) -> str:
    if isinstance(target, SnapshotCluster):
        return "read from a usage snapshot. Print the rights to collect it with the configuration of that machine."
    return "needs no rights in Azure, because it is read with a kubeconfig."


def _subscriptions(settings: Settings) -> Iterator[str]:
    yield ""
    if subscriptions := _searched_subscriptions(settings):
        yield from comment(
            "Find clusters that are missing in the configuration. The scope is the whole subscription, because Azure omits "
            "from a list each cluster that the identity may not read."
        )
        for subscription in subscriptions:
            yield from _assign(rights.READER, shlex.quote(f"/subscriptions/{subscription}"))
    else:
        yield from comment(
            "The options `require-all-clusters` and `subscriptions` also need the role Reader on those subscriptions."
        )
    yield from _services(settings, frozenset(subscriptions))


def _services(settings: Settings, assigned: frozenset[str]) -> Iterator[str]:
    """
    Reader, to read other services of Azure.

    assigned: the subscriptions on which it is assigned already.
    """
    registry = (settings.registry_subscription_id or "").lower()
    ids = (*searched_subscriptions(settings.clusters, settings.subscriptions), registry)
    missing = [each for each in dict.fromkeys(ids) if each and each not in assigned]
    if not settings.services or not missing:
        return
    yield ""
    yield from comment(
        "Read other services of Azure that pull from the registry (Container Apps, App Service and others). Without this, a "
        "run warns that it does not see all of them, and `require-all-services` refuses."
    )
    is_needed = settings.require_all_services or settings.services != {"auto"}
    lines = [line for each in missing for line in _assign(rights.READER, shlex.quote(f"/subscriptions/{each}"))]
    yield from lines if is_needed else _commented_out(lines)


def _searched_subscriptions(settings: Settings) -> tuple[str, ...]:
    """Return the subscriptions that are searched for unlisted clusters; none if no option asks for it."""
    if not (settings.subscriptions or settings.require_all_clusters):
        return ()
    return searched_subscriptions(settings.clusters, settings.subscriptions)


def _subscriptions_of(targets: Iterable[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(target.subscription_id.lower() for target in targets if isinstance(target, AksCluster)))


# -- objects in clusters with Azure RBAC -----------------------------------------------------------


def _azure_rbac(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[str]:
    known = [cluster.target for cluster in clusters if isinstance(cluster.target, AksCluster) and cluster.azure_rbac]
    unknown = [
        cluster.target for cluster in clusters if isinstance(cluster.target, AksCluster) and cluster.azure_rbac is None
    ]
    yield ""
    yield from _heading("2. In clusters with Azure RBAC: list all kinds of objects that can name an image")
    yield ""
    if not known and not unknown:
        yield from comment("No cluster needs this.")
        return
    yield from comment(
        f"The built-in role {rights.RBAC_READER} does not include custom resources; only {rights.READ_OBJECTS} does. "
        + (
            f"It includes Secrets, for Helm's history (helm-history is {settings.helm_history}). Azure cannot limit the right "
            "to Helm's Secrets, but acr-cleanup requests only those."
            if settings.helm_history
            else "Secrets are excluded."
        )
        + " (If the role exists, use `az role definition update`.)"
    )
    lines = [
        *_define(
            OBJECTS_ROLE,
            "Lets acr-cleanup find all images that a cluster could start.",
            [*known, *unknown],
            data_actions=(rights.READ_OBJECTS,),
            not_data_actions=() if settings.helm_history else (rights.READ_SECRETS,),
        )
    ]
    yield from lines if known else _commented_out(lines)
    for target in known:
        yield from comment(f"Cluster {quoted(target.key, 80)}.")
        yield from _assign(OBJECTS_ROLE, shlex.quote(target.resource_id))
    for target in unknown:
        yield from comment(
            f"Cluster {quoted(target.key, 80)} could not be asked whether it has Azure RBAC. If it has, run this instead of "
            "its lines in part 3:"
        )
        yield from _commented_out(_assign(OBJECTS_ROLE, shlex.quote(target.resource_id)))


# -- objects in all other clusters -----------------------------------------------------------------


def _kubernetes_rbac(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[str]:
    yield ""
    yield from _heading("3. In clusters with Kubernetes RBAC: list the same kinds of objects")
    needed = [
        cluster
        for cluster in clusters
        if not isinstance(cluster.target, SnapshotCluster) and not cluster.azure_rbac and cluster.entra is not False
    ]
    for cluster in clusters:
        if cluster.entra is not False:
            continue
        yield ""
        yield from comment(
            f"Cluster {quoted(cluster.target.key, 80)} needs no role: without Entra ID, its user credentials have all rights "
            "in it. To restrict them, enable Entra ID (`az aks update --enable-aad`)."
        )
    yield ""
    if not needed:
        yield from comment("No cluster needs this.")
        return
    yield from comment("To bind a group instead of the identity, write `kind: Group` and the group's object id.")
    yield "cluster_role() {"
    yield f"sed \"s/{IDENTITY}/$identity/\" <<'YAML'"
    yield from cluster_role(needed, settings.helm_history)
    yield "YAML"
    yield "}"
    yield "kubeconfig=$(mktemp)  # your own kubeconfig is not changed"
    for cluster in needed:
        yield ""
        yield from _apply(cluster)


def _apply(cluster: ClusterSurvey) -> Iterator[str]:
    target = cluster.target
    yield from comment(f"Cluster {quoted(target.key, 80)}.")
    if isinstance(target, KubeconfigCluster):
        yield from comment("If its kubeconfig logs in as another user than the identity, bind that user instead.")
        context = f" --context {shlex.quote(target.context)}" if target.context else ""
        yield f"cluster_role | kubectl --kubeconfig {shlex.quote(str(target.kubeconfig))}{context} apply -f -"
    elif isinstance(target, AksCluster):
        options = f"--resource-group {shlex.quote(target.resource_group)} --name {shlex.quote(target.name)}"
        if target.access is Access.RUN_COMMAND or cluster.private:
            yield "cluster_role > acr-cleanup-role.yaml"
            yield f"az aks command invoke {options} --command 'kubectl apply -f acr-cleanup-role.yaml' --file acr-cleanup-role.yaml"
        else:
            yield f'az aks get-credentials {options} --file "$kubeconfig"'
            yield f'cluster_role | kubectl --kubeconfig "$kubeconfig" --context {shlex.quote(target.name)} apply -f -'


# -- lines -----------------------------------------------------------------------------------------


def _heading(text: str) -> Iterator[str]:
    yield f"# -- {text} {'-' * (WIDTH - len(text) - 6)}"


def _commented_out(lines: Iterable[str]) -> Iterator[str]:
    return (f"# {line}" for line in lines)


def _assign(role: str, scope: str) -> Iterator[str]:
    """Assign a role; `scope` is already quoted for the shell."""
    yield 'az role assignment create --assignee-object-id "$identity" --assignee-principal-type ServicePrincipal \\'
    yield f"  --role {shlex.quote(role)} --scope {scope}"


def _define(
    name: str,
    description: str,
    targets: Iterable[AksCluster],
    *,
    actions: Sequence[str] = (),
    data_actions: Sequence[str] = (),
    not_data_actions: Sequence[str] = (),
) -> Iterator[str]:
    role = {
        "Name": name,
        "IsCustom": True,
        "Description": description,
        "Actions": list(actions),
        "NotActions": [],
        "DataActions": list(data_actions),
        "NotDataActions": list(not_data_actions),
        "AssignableScopes": [f"/subscriptions/{subscription}" for subscription in _subscriptions_of(targets)],
    }
    yield "az role definition create --role-definition \"$(cat <<'JSON'"
    yield from json.dumps(role, indent=2).split("\n")
    yield "JSON"
    yield ')"'
