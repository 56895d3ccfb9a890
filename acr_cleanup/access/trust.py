"""How to make Entra ID trust the token that a job or a workload sent: the commands, and its claims."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from acr_cleanup.access.entra_codes import CASE_DIFFERS, IdentityKind
from acr_cleanup.quoting import phrase

_SHOWN = ("sub", "aud", "iss", "environment", "job_workflow_ref", "enterprise")
_MANAGED = "(for a managed identity: az identity federated-credential)"


def shown_claims(claims: Mapping[str, Any]) -> str:
    """Show the claims about the job. They are not verified; the token itself is never shown."""
    return ", ".join(f"{name}={phrase(str(claims[name]))}" for name in _SHOWN if claims.get(name))


def trust_remedy(code: int, claims: Mapping[str, Any], kind: IdentityKind, client_id: str) -> str:
    """Return the commands that make Entra ID trust tokens with these claims."""
    command = _create(claims, client_id)
    if kind is IdentityKind.CONNECTION:
        # Newer and converted connections have the issuer of Entra ID and another form of subject.
        # https://learn.microsoft.com/azure/devops/pipelines/release/convert-service-connections
        return (
            "Compare the claims with the issuer and subject that the service connection shows when it is edited. They "
            "change if it is renamed or converted. To trust this connection, add a federated credential "
            f"{_MANAGED}:\n`{command}`"
        )
    if code == CASE_DIFFERS:
        # An edited credential may keep its old subject: https://github.com/Azure/login/issues/573
        by_subject = f"[?subject!='{claims.get('sub', '')}'].[id,subject]"
        return (
            "Delete the federated credential with the other spelling, and create it again. An edited credential may keep "
            f"its old subject {_MANAGED}:\n"
            f"`{_az('list', '--id', client_id, '--query', by_subject, '--output', 'tsv')}`\n"
            f"`{_az('delete', '--id', client_id, '--federated-credential-id', 'ID')}`\n"
            f"`{command}`"
        )
    subject = "jobs like this one" if kind is IdentityKind.JOB else "this workload"
    return f"To trust {subject}, add a federated credential {_MANAGED}:\n`{command}`"


def _create(claims: Mapping[str, Any], client_id: str) -> str:
    subject, audience = str(claims.get("sub", "")), claims.get("aud", "")
    credential = {
        # A name has at most 120 characters: letters, digits, dashes and underscores.
        "name": (re.sub(r"[^A-Za-z0-9]+", "-", subject).strip("-") or "acr-cleanup")[:100],
        "issuer": str(claims.get("iss", "")),
        "subject": subject,
        "audiences": [str(name) for name in (audience if isinstance(audience, list) else [audience])],
    }
    return _az("create", "--id", client_id, "--parameters", json.dumps(credential))


def _az(verb: str, *arguments: str) -> str:
    """Quote a command for a shell: the subject contains the name of a branch, which may be hostile."""
    return shlex.join(("az", "ad", "app", "federated-credential", verb, *arguments))
