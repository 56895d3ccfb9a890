"""
The error numbers of Entra ID (AADSTS…): the cause, and the remedy for each kind of identity.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class IdentityKind(StrEnum):
    """The proof of an identity. The remedy of a refusal depends on it."""

    USER = "user"
    """A person, or another login of a tool of this machine such as `az`."""
    SECRET = "secret"  # noqa: S105  (a kind, not a secret)
    CERTIFICATE = "certificate"
    TOKEN_FILE = "token-file"  # noqa: S105
    """A workload identity: a token that Kubernetes writes into a file."""
    JOB = "job"
    """A token that the CI system issues for the job."""
    CONNECTION = "connection"
    """A token that Azure DevOps issues for a service connection."""
    MANAGED = "managed"

    @property
    def is_federated(self) -> bool:
        """Does a token of another issuer prove the identity?"""
        return self in (IdentityKind.TOKEN_FILE, IdentityKind.JOB, IdentityKind.CONNECTION)


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    One error number.

    remedy: for all kinds of identity that `by_kind` does not name.
    trust: the remedy is a federated credential that fits the claims of the token.
    """

    cause: str
    remedy: str = ""
    by_kind: Mapping[IdentityKind, str] = field(default_factory=dict)
    trust: bool = False

    def remedy_for(self, kind: IdentityKind) -> str:
        return self.by_kind.get(kind, self.remedy)


_LOG_IN_AGAIN = "Log in again (`az logout`, then `az login`)."
_ENABLE = "Enable it in Entra ID, or use another one."
_NO_USER = "Use the id of a service principal, or log in as a user of this tenant (`az login --tenant TENANT`)."
_POLICY = (
    "An administrator must exclude this service principal from the policy, or allow the address of this machine. The "
    "sign-in logs of Entra ID (Service principal sign-ins) name the policy."
)
_AS_USER = "Run on a machine that the policy allows, or use a service principal."
_LATER = "Run again later. https://status.azure.com shows failures of Entra ID."
_EXPIRED = Refusal("the login has expired", _LOG_IN_AGAIN)
_MULTI_FACTOR = Refusal("multi-factor authentication is required", _LOG_IN_AGAIN)
_FORBIDDEN = Refusal("a conditional access policy forbids it", _POLICY, {IdentityKind.USER: _AS_USER})
_UNAVAILABLE = Refusal("Entra ID is not available at the moment", _LATER)

CASE_DIFFERS = 7002138
"""The subject matches, except for upper and lower case."""
UNKNOWN_RESOURCE = 500011
"""The tenant has no service principal of the resource."""
ENTERPRISE = 7002381
"""The tenant restricts the enterprises of GitHub whose tokens it accepts."""

CODES: Mapping[int, Refusal] = {
    7000215: Refusal(
        "the client secret is wrong", "Set AZURE_CLIENT_SECRET to the value of a current secret, not to its id."
    ),
    7000222: Refusal("the client secret has expired", "Create a new secret, and set AZURE_CLIENT_SECRET to its value."),
    7000218: Refusal("the request had neither a secret nor an assertion", "Set AZURE_CLIENT_SECRET."),
    700016: Refusal(
        "the tenant does not know the application",
        "Check {client_id} and {tenant_id}. The client id is that of the application, not its object id.",
        {IdentityKind.USER: "Log in to the tenant of the registry: `az login --tenant TENANT`."},
    ),
    7000229: Refusal(
        "the application has no service principal in this tenant", "Create it: `az ad sp create --id CLIENT_ID`."
    ),
    7000112: Refusal("the application is disabled", _ENABLE),
    700027: Refusal(
        "the client certificate is not registered for the application",
        "Upload it to the application, or use another certificate.",
    ),
    700030: Refusal(
        "the client certificate is not valid", "Check the name of its subject and its dates, or upload another one."
    ),
    90002: Refusal("the tenant does not exist in this cloud", "Check {tenant_id} and the environment (the cloud)."),
    900023: Refusal("the tenant id is neither an id nor a name of a tenant", "Check {tenant_id}."),
    900382: Refusal("the tenant belongs to another cloud", "Set the environment (ARM_ENVIRONMENT) to that cloud."),
    50034: Refusal("the tenant does not know the user", _NO_USER),
    50020: Refusal("the user does not belong to the tenant", _NO_USER),
    90072: Refusal("the user does not belong to the tenant", "Log in to the right tenant: `az login --tenant TENANT`."),
    50057: Refusal("the user is disabled", _ENABLE),
    UNKNOWN_RESOURCE: Refusal(
        "the tenant does not know the resource", "Check the environment (the cloud) and the audience."
    ),
    65001: Refusal(
        "the application has no consent for the resource", "Ask an administrator of the tenant to consent to it."
    ),
    50105: Refusal("the identity is not assigned to the application", "Assign it in Entra ID."),
    50158: _FORBIDDEN,
    53000: _FORBIDDEN,
    53001: _FORBIDDEN,
    53002: _FORBIDDEN,
    53003: _FORBIDDEN,
    530003: _FORBIDDEN,
    50072: _MULTI_FACTOR,
    50074: _MULTI_FACTOR,
    50076: _MULTI_FACTOR,
    50078: _MULTI_FACTOR,
    50079: _MULTI_FACTOR,
    50055: Refusal("the password of the user has expired", _LOG_IN_AGAIN),
    50126: Refusal("the user name or the password is wrong", _LOG_IN_AGAIN),
    50173: Refusal("the login was revoked", _LOG_IN_AGAIN),
    50132: Refusal("the login was revoked", _LOG_IN_AGAIN),
    70008: _EXPIRED,
    70043: _EXPIRED,
    700082: _EXPIRED,
    700084: _EXPIRED,
    90033: _UNAVAILABLE,
    90006: _UNAVAILABLE,
    # -- tokens of other issuers
    700024: Refusal(
        "the federated token has expired or is not valid yet",
        "The token is new, so a clock is wrong: check the clock of this machine, and of the issuer if it is your own.",
        {
            IdentityKind.TOKEN_FILE: "Renew the token in the file, and check the clock of this machine.",
            IdentityKind.USER: (
                "`az` holds a token of a job, which is valid for minutes. Log in again right before this command, or use "
                "the action, which asks for a new token each time."
            ),
        },
    ),
    50027: Refusal(
        "the federated token is not a valid token",
        "Check the proxy between this machine and the issuer of the token.",
        {IdentityKind.TOKEN_FILE: "Check the content of the file that AZURE_FEDERATED_TOKEN_FILE names."},
    ),
    70025: Refusal("the application has no federated credentials", trust=True),
    70021: Refusal("no federated credential matches the token", trust=True),
    700211: Refusal("no federated credential matches the issuer of the token", trust=True),
    700212: Refusal("no federated credential matches the audience of the token", trust=True),
    700213: Refusal("no federated credential matches the subject of the token", trust=True),
    CASE_DIFFERS: Refusal("the federated credential differs from the subject only in upper and lower case", trust=True),
    700222: Refusal(
        "a token that Entra ID itself issued cannot be used as a federated token",
        "Use a token of another issuer, or log in as a managed identity.",
        {
            IdentityKind.CONNECTION: (
                "Use a service connection of an application in the same tenant, or a connection whose issuer is "
                "vstoken.dev.azure.com."
            )
        },
    ),
    ENTERPRISE: Refusal(
        "a policy of the tenant accepts tokens of GitHub only with the `enterprise` claim of an allowed enterprise",
        "Ask an administrator of the tenant to allow the enterprise. A repository outside of it cannot log in.",
    ),
}

_NO_MATCH = "no federated credential matches the token"


def refusal_of(code: int, sentence: str) -> Refusal | None:
    """
    Return the entry of an error number; None if it is unknown.

    sentence: that of Entra ID. It tells the family of numbers that are newer than the table.
    """
    if code in CODES:
        return CODES[code]
    if "federated identity record" in sentence.lower():
        return Refusal(_NO_MATCH, trust=True)
    return None
