"""
Prints the rights that a configuration needs: one shell script that grants them, to be read first.

Its three parts are role assignments in Azure, a role for clusters with Azure RBAC (JSON), and a ClusterRole for the others (YAML).
It is made from what the clusters say of themselves as far as they can be asked; what they do not say stands there as a remark.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from acr_cleanup.access import roles as rights
from acr_cleanup.clusters.read_failure import ReadFailure
from acr_cleanup.clusters.survey import ClusterSurvey, survey_clusters
from acr_cleanup.clusters.targets import Access, AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.clusters.unlisted import searched_subscriptions
from acr_cleanup.commands.cluster_role import IDENTITY, WIDTH, cluster_role, remark
from acr_cleanup.errors import AcrCleanupError
from acr_cleanup.quoting import quoted
from acr_cleanup.runtimes.base import Runtime
from acr_cleanup.settings import Settings
from acr_cleanup.stages.connect import open_azure

OBJECTS_ROLE = "acr-cleanup: read objects in clusters"
RUN_COMMAND_ROLE = "acr-cleanup: run commands in clusters"


async def permissions(settings: Settings, runtime: Runtime, environ: Mapping[str, str]) -> int:
    """Print them, and return the exit code: a cluster that cannot be asked is no failure."""
    done = 0

    def report(cluster: ClusterSurvey) -> None:
        nonlocal done
        done += 1
        what = "could not be asked" if cluster.problem is not None else "asked"
        runtime.progress("clusters", done, len(settings.clusters), f"{cluster.target.key}: {what}")

    runtime.progress("clusters", 0, len(settings.clusters), "")
    try:
        async with open_azure(
            settings.cloud, settings.login, environ, id_tokens=runtime.id_token, mask=runtime.mask
        ) as azure:
            clusters = await survey_clusters(settings.clusters, azure, progress=report)
    except AcrCleanupError as error:
        # Whoever sets up the rights may not have the identity yet.
        problem = ReadFailure("logging in", quoted(error.seen), quoted(error.remedy))
        clusters = tuple(ClusterSurvey(target, problem=problem) for target in settings.clusters)
    runtime.show(script(settings, clusters))
    runtime.finish()
    return 0


def script(settings: Settings, clusters: Sequence[ClusterSurvey]) -> str:
    """The whole script, as text for a POSIX shell."""
    lines = [
        *remark(
            f"The rights that acr-cleanup needs to clean {settings.registry.login_server}. Read it, write the object id of the "
            "identity behind `identity=`, and run it as somebody who may assign roles. A new role takes some minutes to work."
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


# -- Azure ---------------------------------------------------------------------------------------------------------------


def _registry(settings: Settings) -> Iterator[str]:
    # A login server with a domain name label is NAME-HASH.azurecr.io; names have no hyphens.
    name = re.split(r"[.:-]", settings.registry.login_server)[0]
    group, subscription = settings.registry_resource_group, settings.registry_subscription_id
    yield ""
    if group and subscription:
        place = f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries"
        yield f"registry={shlex.quote(f'{place}/{name}')}"
    else:
        yield f"registry=$(az acr show --name {shlex.quote(name)} --query id --output tsv)"
    yield from remark("Read its tags and manifests.")
    yield from _assign(rights.ACR_PULL, '"$registry"')
    yield from remark("Delete from it; `acr-cleanup plan` and a dry run do without.")
    yield from _assign(rights.ACR_DELETE, '"$registry"')
    yield from remark(
        "Unlock what `include-locked` deletes, and put back what `acr-cleanup restore` can; needed for these only."
    )
    yield from (_assign if settings.policy.include_locked else _unneeded)(rights.ACR_PUSH, '"$registry"')
    yield from remark(
        "If the registry's role assignment mode is 'RBAC Registry + ABAC Repository Permissions', these have no effect. Then, "
        "instead of them (the first to plan, the second to delete as well, the third for `include-locked` and "
        "restore, the fourth, besides, for `scope: all`):"
    )
    for role in (rights.ABAC_READER, rights.ABAC_CONTRIBUTOR, rights.ABAC_WRITER, rights.ABAC_CATALOG):
        yield from _off(_assign(role, '"$registry"'))


def _unneeded(role: str, scope: str) -> Iterator[str]:
    return _off(_assign(role, scope))


def _clusters(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[str]:
    whole = {each.lower() for each in _searched(settings)}
    by_command: list[AksCluster] = []
    for cluster in clusters:
        target = cluster.target
        yield ""
        if not isinstance(target, AksCluster):
            yield from remark(f"Cluster {quoted(target.key, 80)}: {_without_azure(target)}")
            continue
        yield from remark(
            f"Cluster {quoted(target.key, 80)}: {quoted(target.name, 63)} in {quoted(target.resource_group, 90)}."
        )
        if cluster.problem is not None:
            yield from remark(
                f"It could not be asked everything ({cluster.problem.call}): {cluster.problem.seen} Print this again when it can."
            )
        yield f"cluster={shlex.quote(target.resource_id)}"
        if target.subscription_id.lower() in whole:
            yield from remark("Find it, and whether it runs: by the role Reader on its subscription, below.")
        else:
            yield from remark("Find it, and whether it runs.")
            yield from _assign(rights.READER, '"$cluster"')
        if target.access is not Access.RUN_COMMAND:
            yield from remark("Get the credentials of an ordinary user, never the administrator's.")
            yield from _assign(rights.CLUSTER_USER, '"$cluster"')
        if target.access is Access.RUN_COMMAND or (target.access is Access.AUTO and cluster.private):
            by_command.append(target)
    if not by_command:
        return
    yield ""
    yield from remark(
        "Read through run commands: no built-in role has just that. (If the role is there already: `az role definition update`.)"
    )
    yield from _define(
        RUN_COMMAND_ROLE,
        "Lets acr-cleanup read clusters through run commands.",
        by_command,
        actions=(rights.READ_CLUSTERS, rights.RUN_COMMAND, rights.COMMAND_RESULTS),
    )
    for target in by_command:
        yield from _assign(RUN_COMMAND_ROLE, shlex.quote(target.resource_id))


def _without_azure(target: object) -> str:
    if isinstance(target, SnapshotCluster):
        return "a usage snapshot stands for it. Who collects it needs rights there; print them from that configuration."
    return "no rights in Azure, as it is reached by a kubeconfig."


def _subscriptions(settings: Settings) -> Iterator[str]:
    yield ""
    if found := _searched(settings):
        yield from remark(
            "Find clusters that the configuration forgot. On the whole subscription: Azure leaves out of a list what the identity "
            "may not see."
        )
        for each in found:
            yield from _assign(rights.READER, shlex.quote(f"/subscriptions/{each}"))
    else:
        yield from remark(
            "With `require-all-clusters` or `subscriptions`, the role Reader on those subscriptions is needed as well."
        )


def _searched(settings: Settings) -> tuple[str, ...]:
    """The subscriptions that are searched for forgotten clusters because somebody asked for it."""
    if not (settings.subscriptions or settings.require_all_clusters):
        return ()
    return searched_subscriptions(settings.clusters, settings.subscriptions)


def _subscriptions_of(targets: Iterable[object]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.subscription_id.lower() for each in targets if isinstance(each, AksCluster)))


# -- objects in clusters with Azure RBAC -----------------------------------------------------------------------------------


def _azure_rbac(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[str]:
    sure = [each.target for each in clusters if isinstance(each.target, AksCluster) and each.azure_rbac]
    maybe = [each.target for each in clusters if isinstance(each.target, AksCluster) and each.azure_rbac is None]
    yield ""
    yield from _heading("2. In clusters with Azure RBAC: list objects of every kind that may name an image")
    yield ""
    if not sure and not maybe:
        yield from remark("No cluster needs this.")
        return
    yield from remark(
        f"The built-in role {rights.RBAC_READER} does not cover custom resources; {rights.READ_OBJECTS} alone does. "
        + (
            "Secrets are among it, for Helm's history (helm-history is "
            f"{settings.helm_history}): Azure cannot tell Helm's from others, but only Helm's are asked for."
            if settings.helm_history
            else "Secrets are taken out of it again."
        )
        + " (If the role is there already: `az role definition update`.)"
    )
    lines = [
        *_define(
            OBJECTS_ROLE,
            "Lets acr-cleanup find every image that a cluster could start.",
            [*sure, *maybe],
            data_actions=(rights.READ_OBJECTS,),
            not_data_actions=() if settings.helm_history else (rights.READ_SECRETS,),
        )
    ]
    yield from lines if sure else _off(lines)
    for target in sure:
        yield from remark(f"Cluster {quoted(target.key, 80)}.")
        yield from _assign(OBJECTS_ROLE, shlex.quote(target.resource_id))
    for target in maybe:
        yield from remark(
            f"Cluster {quoted(target.key, 80)} could not be asked whether it has Azure RBAC. If so, this, instead of its part of 3:"
        )
        yield from _off(_assign(OBJECTS_ROLE, shlex.quote(target.resource_id)))


# -- objects in all other clusters ---------------------------------------------------------------------------------------


def _kubernetes_rbac(settings: Settings, clusters: Sequence[ClusterSurvey]) -> Iterator[str]:
    yield ""
    yield from _heading("3. In clusters with Kubernetes RBAC: the same")
    needed = [
        each
        for each in clusters
        if not isinstance(each.target, SnapshotCluster) and not each.azure_rbac and each.entra is not False
    ]
    admin = [each for each in clusters if each.entra is False]
    for each in admin:
        yield ""
        yield from remark(
            f"Cluster {quoted(each.target.key, 80)} needs nothing: without Entra ID, the credentials that Azure hands out may do "
            "everything in it. Enable Entra ID there (`az aks update --enable-aad`) if that is too much."
        )
    yield ""
    if not needed:
        yield from remark("No cluster needs this.")
        return
    yield from remark("To bind a group instead of the identity, write `kind: Group` and the object id of the group.")
    yield "cluster_role() {"
    yield f"sed \"s/{IDENTITY}/$identity/\" <<'YAML'"
    yield from cluster_role(needed, settings.helm_history)
    yield "YAML"
    yield "}"
    yield "kubeconfig=$(mktemp)  # your own stays as it is"
    for each in needed:
        yield ""
        yield from _apply(each)


def _apply(cluster: ClusterSurvey) -> Iterator[str]:
    target = cluster.target
    yield from remark(f"Cluster {quoted(target.key, 80)}.")
    if isinstance(target, KubeconfigCluster):
        yield from remark("If its kubeconfig logs in as somebody else than the identity, that user is the subject.")
        context = f" --context {shlex.quote(target.context)}" if target.context else ""
        yield f"cluster_role | kubectl --kubeconfig {shlex.quote(str(target.kubeconfig))}{context} apply -f -"
    elif isinstance(target, AksCluster):
        place = f"--resource-group {shlex.quote(target.resource_group)} --name {shlex.quote(target.name)}"
        if target.access is Access.RUN_COMMAND or cluster.private:
            yield "cluster_role > acr-cleanup-role.yaml"
            yield f"az aks command invoke {place} --command 'kubectl apply -f acr-cleanup-role.yaml' --file acr-cleanup-role.yaml"
        else:
            yield f'az aks get-credentials {place} --file "$kubeconfig"'
            yield f'cluster_role | kubectl --kubeconfig "$kubeconfig" --context {shlex.quote(target.name)} apply -f -'


# -- lines ---------------------------------------------------------------------------------------------------------------


def _heading(text: str) -> Iterator[str]:
    yield f"# -- {text} {'-' * (WIDTH - len(text) - 6)}"


def _off(lines: Iterable[str]) -> Iterator[str]:
    return (f"# {line}" for line in lines)


def _assign(role: str, scope: str) -> Iterator[str]:
    """`scope` is a word of the shell."""
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
        "AssignableScopes": [f"/subscriptions/{each}" for each in _subscriptions_of(targets)],
    }
    yield "az role definition create --role-definition \"$(cat <<'JSON'"
    yield from json.dumps(role, indent=2).split("\n")
    yield "JSON"
    yield ')"'
