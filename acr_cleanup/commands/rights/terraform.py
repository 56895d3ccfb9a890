"""The rights in Azure as a Terraform module for the provider azurerm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from acr_cleanup.access.roles import Role
from acr_cleanup.commands.rights.cluster_role import comment
from acr_cleanup.commands.rights.required import REGISTRY, Grant, RequiredRights, custom_roles


def terraform(rights: RequiredRights) -> str:
    """Return the module. Rights that may not be needed are left out."""
    lines = [
        *comment(
            f"Grants the rights that `acr-cleanup {rights.command}` needs for {rights.login_server}. For the rights inside "
            "clusters with Kubernetes RBAC, print `--format kubernetes`."
        ),
        *(line for paragraph in rights.azure for text in paragraph.text for line in comment(text)),
        *_header(rights),
    ]
    names: dict[Role, str] = {}
    for number, (role, scopes, optional) in enumerate(custom_roles((*rights.azure, *rights.objects)), 1):
        if not optional:
            names[role] = f"role_{number}"
            lines += ["", *_definition(names[role], role, scopes)]
    for number, grant in enumerate(rights.grants, 1):
        lines += ["", *_assignment(f"assignment_{number}", grant, names)]
    return "\n".join(lines)


def _header(rights: RequiredRights) -> Iterator[str]:
    yield "terraform {"
    yield "  required_providers {"
    yield "    azurerm = {"
    yield '      source  = "hashicorp/azurerm"'
    yield '      version = ">= 3.0"'
    yield "    }"
    yield "  }"
    yield "}"
    yield ""
    yield from _variable("identity", "The object id of the identity (of a service principal).", rights.identity)
    if any(grant.scope == REGISTRY for grant in rights.grants):
        yield ""
        yield from _variable("registry_id", f"The resource id of the registry {rights.registry_name}.", "")


def _variable(name: str, description: str, default: str) -> Iterator[str]:
    yield f'variable "{name}" {{'
    yield "  type        = string"
    yield f"  description = {_text(description)}"
    if default:
        yield f"  default     = {_text(default)}"
    yield "}"


def _definition(name: str, role: Role, scopes: Sequence[str]) -> Iterator[str]:
    first = _subscription(scopes[0])
    yield f'resource "azurerm_role_definition" "{name}" {{'
    yield f"  name              = {_text(role.name)}"
    yield f"  description       = {_text(role.description)}"
    yield f"  scope             = {first}"
    yield f"  assignable_scopes = [{', '.join(map(_subscription, scopes))}]"
    yield ""
    yield "  permissions {"
    yield f"    actions          = {_texts(role.actions)}"
    yield f"    data_actions     = {_texts(role.data_actions)}"
    yield f"    not_data_actions = {_texts(role.not_data_actions)}"
    yield "  }"
    yield "}"


def _assignment(name: str, grant: Grant, names: dict[Role, str]) -> Iterator[str]:
    if grant.purpose:
        yield from comment(grant.purpose)
    yield f'resource "azurerm_role_assignment" "{name}" {{'
    if grant.role in names:
        yield f"  role_definition_id   = azurerm_role_definition.{names[grant.role]}.role_definition_resource_id"
    else:
        yield f"  role_definition_name = {_text(grant.role.name)}"
    yield f"  scope                = {_text(grant.scope) if grant.scope != REGISTRY else 'var.registry_id'}"
    yield "  principal_id         = var.identity"
    yield '  principal_type       = "ServicePrincipal"'
    yield "}"


def _subscription(scope: str) -> str:
    if scope != REGISTRY:
        return _text(scope)
    return 'join("/", slice(split("/", var.registry_id), 0, 3))'


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A quoted string, in which `${` and `%{` are no templates."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
