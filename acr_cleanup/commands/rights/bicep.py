"""
The rights in Azure as one Bicep file, deployed to a subscription.

A Bicep file can assign a role only in its own scope, and modules are separate files. So each
assignment is a nested deployment into the resource group of its resource.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from acr_cleanup.access.roles import Role
from acr_cleanup.commands.rights.cluster_role import comment
from acr_cleanup.commands.rights.required import REGISTRY, Grant, RequiredRights, custom_roles

_RESOURCE = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/(?P<resource>.+)", re.IGNORECASE
)


def bicep(rights: RequiredRights) -> str:
    """Return the file. Rights that may not be needed are left out."""
    lines = [
        *_comment(
            f"Grants the rights that `acr-cleanup {rights.command}` needs for {rights.login_server}. For the rights inside "
            "clusters with Kubernetes RBAC, print `--format kubernetes`. Deploy it with:"
        ),
        "//   az deployment sub create --location LOCATION --template-file rights.bicep --parameters identity=OBJECT_ID",
        *(line for paragraph in rights.azure for text in paragraph.text for line in _comment(text)),
        "targetScope = 'subscription'",
        "",
        "@description('The object id of the identity (of a service principal).')",
        f"param identity string{f' = {_text(rights.identity)}' if rights.identity else ''}",
    ]
    if any(grant.scope == REGISTRY for grant in rights.grants):
        lines += [
            "",
            f"@description({_text(f'The resource group of the registry {rights.registry_name}.')})",
            "param registryResourceGroup string",
            "",
            "@description('The subscription of the registry.')",
            "param registrySubscription string = subscription().subscriptionId",
        ]
    names: dict[Role, str] = {}
    for number, (role, scopes, optional) in enumerate(custom_roles((*rights.azure, *rights.objects)), 1):
        if not optional:
            names[role] = f"role{number}"
            lines += ["", *_definition(names[role], role, scopes)]
    for number, grant in enumerate(rights.grants, 1):
        lines += ["", *_assignment(number, grant, names, rights.registry_name)]
    return "\n".join(lines)


def _definition(name: str, role: Role, scopes: Sequence[str]) -> Iterator[str]:
    yield f"resource {name} 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {{"
    yield f"  name: guid(subscription().id, {_text(role.name)})"
    yield "  properties: {"
    yield f"    roleName: {_text(role.name)}"
    yield f"    description: {_text(role.description)}"
    yield "    type: 'customRole'"
    yield "    permissions: ["
    yield "      {"
    yield f"        actions: {_texts(role.actions)}"
    yield "        notActions: []"
    yield f"        dataActions: {_texts(role.data_actions)}"
    yield f"        notDataActions: {_texts(role.not_data_actions)}"
    yield "      }"
    yield "    ]"
    # A role can be defined only in a subscription in which it can be assigned.
    yield f"    assignableScopes: union([subscription().id], [{', '.join(map(_subscription, scopes))}])"
    yield "  }"
    yield "}"


def _assignment(number: int, grant: Grant, names: dict[Role, str], registry: str) -> Iterator[str]:
    match = _RESOURCE.fullmatch(grant.scope)
    if match is not None:
        subscription, group, resource = (_text(match[part]) for part in ("subscription", "group", "resource"))
    elif grant.scope == REGISTRY:
        subscription, group = "registrySubscription", "registryResourceGroup"
        resource = _text(f"Microsoft.ContainerRegistry/registries/{registry}")
    else:
        subscription, group, resource = _text(grant.scope.rpartition("/")[2]), "", ""
    place = f"{subscription}, {group}, {resource}" if group else subscription
    definition = f"{names[grant.role]}.name" if grant.role in names else _text(grant.role.id)
    role = f"subscriptionResourceId({subscription}, 'Microsoft.Authorization/roleDefinitions', {definition})"
    if grant.purpose:
        yield from _comment(grant.purpose)
    yield "#disable-next-line no-deployments-resources"
    yield f"resource assignment{number} 'Microsoft.Resources/deployments@2022-09-01' = {{"
    yield f"  name: 'acr-cleanup-rights-{number}'"
    yield f"  subscriptionId: {subscription}"
    yield f"  resourceGroup: {group}" if group else "  location: deployment().location"
    yield "  properties: {"
    yield "    mode: 'Incremental'"
    yield "    template: {"
    schema = "deploymentTemplate" if group else "subscriptionDeploymentTemplate"
    version = "2019-04-01" if group else "2018-05-01"
    yield f"      '$schema': 'https://schema.management.azure.com/schemas/{version}/{schema}.json#'"
    yield "      contentVersion: '1.0.0.0'"
    yield "      resources: ["
    yield "        {"
    yield "          type: 'Microsoft.Authorization/roleAssignments'"
    yield "          apiVersion: '2022-04-01'"
    if resource:
        yield f"          scope: {resource}"
    yield f"          name: guid({place}, identity, {_text(grant.role.name)})"
    yield "          properties: {"
    yield f"            roleDefinitionId: {role}"
    yield "            principalId: identity"
    yield "            principalType: 'ServicePrincipal'"
    yield "          }"
    yield "        }"
    yield "      ]"
    yield "    }"
    yield "  }"
    yield "}"


def _subscription(scope: str) -> str:
    return _text(scope) if scope != REGISTRY else "'/subscriptions/${registrySubscription}'"


def _comment(text: str) -> Iterator[str]:
    return comment(text, mark="//")


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A quoted string without line breaks, in which `${` is no expression."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
    return f"'{escaped.replace(chr(10), ' ').replace(chr(13), ' ')}'"
