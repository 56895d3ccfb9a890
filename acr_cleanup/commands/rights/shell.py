"""The rights as a script for a POSIX shell, with the Azure CLI and kubectl."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence

from acr_cleanup.access.roles import Role
from acr_cleanup.clusters.target import Access, ClusterSurvey
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster
from acr_cleanup.commands.rights.cluster_role import IDENTITY, WIDTH, cluster_role, comment
from acr_cleanup.commands.rights.required import REGISTRY, Paragraph, RequiredRights, custom_roles
from acr_cleanup.quoting import quoted

_REGISTRY_SUBSCRIPTION = "<subscription of the registry>"


def shell(rights: RequiredRights) -> str:
    """
    Return the script.

    It stops at the first error. It can be run again: existing roles and assignments are kept.
    """
    lines = [
        "set -eu",
        *([f"identity=${{identity:-{rights.identity}}}"] if rights.identity else []),
        'if [ "${1-}" = --identity ]; then identity=${2-}; fi',
        ': "${identity:?set it, or run this script with --identity OBJECT_ID}"',
        'case $identity in *[!0-9A-Za-z-]*) echo "not an object id: $identity" >&2; exit 2 ;; esac',
        "",
        *comment(
            f"Grants the rights that `acr-cleanup {rights.command}` needs for {rights.login_server}. Read this script, and "
            "run it as a user who may assign roles. A new role takes some minutes to take effect; if it is not found yet, "
            "run the script again."
        ),
        "#   sh rights.sh --identity OBJECT_ID",
        *comment("This prints the object id of an application:"),
        "#   az ad sp show --id CLIENT_ID --query id --output tsv",
        "",
        *_heading("1. In Azure"),
        *_azure(rights),
        "",
        *_heading("2. In clusters with Azure RBAC: list all kinds of objects that can name an image"),
        *(_section(rights.objects) or ["", *comment("No cluster needs this.")]),
        *_kubernetes(rights),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _azure(rights: RequiredRights) -> Iterator[str]:
    if any(grant.scope in {REGISTRY, rights.registry_id} for paragraph in rights.azure for grant in paragraph.grants):
        yield ""
        if rights.registry_id:
            yield f"registry={shlex.quote(rights.registry_id)}"
        else:
            yield f"registry=$(az acr show --name {shlex.quote(rights.registry_name)} --query id --output tsv)"
    yield from _section(rights.azure, registry=rights.registry_id)


def _section(paragraphs: Sequence[Paragraph], registry: str = REGISTRY) -> list[str]:
    """Definitions of custom roles come before their first assignment."""
    definitions = {role: (scopes, optional) for role, scopes, optional in custom_roles(paragraphs)}
    lines: list[str] = []
    for paragraph in paragraphs:
        lines.append("")
        for text in paragraph.text:
            lines += comment(text)
        for grant in paragraph.grants:
            if grant.purpose:
                lines += comment(grant.purpose)
            if grant.role in definitions:
                scopes, optional = definitions.pop(grant.role)
                definition = list(_define(grant.role, scopes))
                lines += _commented_out(definition) if optional else definition
            scope = '"$registry"' if grant.scope in {REGISTRY, registry} else shlex.quote(grant.scope)
            assignment = list(_assign(grant.role.name, scope))
            lines += _commented_out(assignment) if paragraph.if_needed else assignment
    return lines


# -- objects in all other clusters -----------------------------------------------------------------


def _kubernetes(rights: RequiredRights) -> Iterator[str]:
    yield ""
    yield from _heading("3. In clusters with Kubernetes RBAC: list the same kinds of objects")
    for note in rights.kubernetes_notes:
        yield ""
        yield from comment(note)
    yield ""
    if not rights.kubernetes:
        yield from comment("No cluster needs this.")
        return
    yield from comment("To bind a group instead of the identity, write `kind: Group` and the group's object id.")
    yield "cluster_role() {"
    yield f"sed \"s/{IDENTITY}/$identity/\" <<'YAML'"
    yield from cluster_role(rights.kubernetes, rights.helm_history)
    yield "YAML"
    yield "}"
    if any(isinstance(cluster.target, AksCluster) and not _by_command(cluster) for cluster in rights.kubernetes):
        yield "kubeconfig=$(mktemp)  # your own kubeconfig is not changed"
    for cluster in rights.kubernetes:
        yield ""
        yield from _apply(cluster)


def _by_command(cluster: ClusterSurvey) -> bool:
    target = cluster.target
    return isinstance(target, AksCluster) and (target.access is Access.RUN_COMMAND or bool(cluster.private))


def _apply(cluster: ClusterSurvey) -> Iterator[str]:
    target = cluster.target
    yield from comment(f"Cluster {quoted(target.key, 80)}.")
    if isinstance(target, KubeconfigCluster):
        yield from comment("If its kubeconfig logs in as another user than the identity, bind that user instead.")
        context = f" --context {shlex.quote(target.context)}" if target.context else ""
        yield f"cluster_role | kubectl --kubeconfig {shlex.quote(str(target.kubeconfig))}{context} apply -f -"
    elif isinstance(target, AksCluster):
        options = f"--resource-group {shlex.quote(target.resource_group)} --name {shlex.quote(target.name)}"
        if _by_command(cluster):
            yield "cluster_role > acr-cleanup-role.yaml"
            yield f"az aks command invoke {options} --command 'kubectl apply -f acr-cleanup-role.yaml' --file acr-cleanup-role.yaml"
        else:
            yield f'az aks get-credentials {options} --file "$kubeconfig" --overwrite-existing'
            yield f'cluster_role | kubectl --kubeconfig "$kubeconfig" --context {shlex.quote(target.name)} apply -f -'


# -- lines -----------------------------------------------------------------------------------------


def _heading(text: str) -> Iterator[str]:
    yield f"# -- {text} {'-' * (WIDTH - len(text) - 6)}"


def _commented_out(lines: Iterable[str]) -> Iterator[str]:
    return (f"# {line}" for line in lines)


def _assign(role: str, scope: str) -> Iterator[str]:
    """Assign a role; `scope` is already quoted for the shell."""
    who, what = assignment(role, scope, '"$identity"')
    yield f"{who} \\"
    yield f"  {what}"


def assignment(role: str, scope: str, identity: str, kind: str = "ServicePrincipal") -> tuple[str, str]:
    """
    Return the two parts of the command that assigns a role.

    scope, identity: already quoted for the shell. kind: the type of the principal.
    """
    # By object id and type: an application that was created a second ago is not found by --assignee.
    who = f"az role assignment create --assignee-object-id {identity} --assignee-principal-type {kind}"
    return who, f"--role {shlex.quote(role)} --scope {scope}"


def _define(role: Role, scopes: Sequence[str]) -> Iterator[str]:
    """Create a custom role, or update it if it exists."""
    definition = {
        "Name": role.name,
        "IsCustom": True,
        "Description": role.description,
        "Actions": list(role.actions),
        "NotActions": [],
        "DataActions": list(role.data_actions),
        "NotDataActions": list(role.not_data_actions),
        "AssignableScopes": [scope or _REGISTRY_SUBSCRIPTION for scope in scopes],
    }
    reader = "cat" if REGISTRY not in scopes else f'sed "s|{_REGISTRY_SUBSCRIPTION}|${{registry%%/resourceGroups/*}}|"'
    yield f"definition=$({reader} <<'JSON'"
    yield from json.dumps(definition, indent=2).split("\n")
    yield "JSON"
    yield ")"
    yield 'az role definition create --role-definition "$definition" ||'
    yield '  az role definition update --role-definition "$definition"'
