"""Choose the login of a run: from the inputs of a pipeline, or from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.federation import ASSERTION, AuthType, Federation, IdTokens, LoginChoice
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import phrase

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from acr_cleanup.access.network import Network

_TOOL_TIMEOUT = 20
"""Seconds for `az` and its kin, which start slowly on busy machines."""

NOT_LOGGED_IN = "Nobody is logged in to Azure."
LOG_IN = (
    "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_FEDERATED_TOKEN_FILE)."
)


@dataclass(frozen=True, slots=True)
class Login:
    """
    One way to prove who we are.

    `name` is for people; `found` says that someone configured it, so that its failure counts. `client_id` and `tenant_id` are
    what these two are called where they were given. `federation` is set where a job's own token is what proves it.
    """

    name: str
    credential: AsyncTokenCredential
    found: bool
    client_id: str = "AZURE_CLIENT_ID"
    tenant_id: str = "AZURE_TENANT_ID"
    federation: Federation | None = None


def chosen_login(
    choice: LoginChoice, cloud: Cloud, network: Network, environ: Mapping[str, str], id_tokens: IdTokens
) -> Login:
    """The login that a pipeline asked for, and no other. Raises `IdentityError` when it cannot be one."""
    from azure.identity.aio import ClientAssertionCredential, ManagedIdentityCredential  # noqa: PLC0415  (slow to import)

    if choice.auth_type is not None and choice.auth_type.is_federated:
        credential = ClientAssertionCredential(
            choice.tenant_id,
            choice.client_id,
            ASSERTION.get,
            authority=cloud.authority,
            transport=network.transport(read_timeout=20),
            retry_total=4,
            retry_connect=2,
            retry_read=2,
        )
        federation = Federation(choice, id_tokens, credential)
        name = f"the application {choice.client_id}"
        if choice.auth_type is AuthType.AZURE_PIPELINES:
            whose = "of the service connection"
            return Login(name, federation, True, f"the client id {whose}", f"the tenant id {whose}", federation)
        return Login(name, federation, True, "client-id", "tenant-id", federation)
    if choice.auth_type is AuthType.MANAGED_IDENTITY:
        identity = ManagedIdentityCredential(
            client_id=choice.client_id or None,
            transport=network.transport(proxied=False, connection_timeout=5, read_timeout=20),
            retry_total=3,
        )
        return Login("the managed identity", identity, True, "client-id", "tenant-id")
    login = find_login(cloud, network, environ)
    if not login.found:
        raise IdentityError(
            "The environment describes no login, and auth-type environment looks nowhere else.",
            where="the environment",
            remedy="Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_FEDERATED_TOKEN_FILE).",
        )
    return login


def find_login(cloud: Cloud, network: Network, environ: Mapping[str, str]) -> Login:
    """
    Which login this environment describes, in the order of azure-identity's default chain.

    AZURE_TOKEN_CREDENTIALS narrows it, as there: `dev`, `prod`, or the name of one credential.
    https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains
    """
    from azure.identity.aio import (  # noqa: PLC0415  (slow to import, and not needed to print help)
        CertificateCredential,
        ClientSecretCredential,
        DefaultAzureCredential,
        WorkloadIdentityCredential,
    )

    # An empty variable is an unset one: pipelines pass every secret, whether it exists or not.
    given = {name: value.strip() for name, value in environ.items() if name.startswith("AZURE_") and value.strip()}
    tenant, client = given.get("AZURE_TENANT_ID", ""), given.get("AZURE_CLIENT_ID", "")
    secret, certificate = given.get("AZURE_CLIENT_SECRET"), given.get("AZURE_CLIENT_CERTIFICATE_PATH")
    token_file = given.get("AZURE_FEDERATED_TOKEN_FILE")
    narrowed = given.get("AZURE_TOKEN_CREDENTIALS", "").lower()
    # The asynchronous credentials ask the authority for tokens and nothing else: no discovery that could go elsewhere.
    # Three silent tries of twenty seconds are enough to know that nobody will answer.
    shared: dict[str, Any] = {
        "authority": cloud.authority, "transport": network.transport(read_timeout=20),
        "retry_total": 4, "retry_connect": 2, "retry_read": 2,
    }  # fmt: skip
    try:
        if narrowed in ("", "prod", "environmentcredential") and (secret or certificate):
            _require(tenant, client, "a client secret" if secret else "a client certificate")
            name = f"the service principal {client}"
            if secret:
                return Login(name, ClientSecretCredential(tenant, client, secret, **shared), found=True)
            return Login(
                name,
                CertificateCredential(
                    tenant,
                    client,
                    certificate,
                    password=given.get("AZURE_CLIENT_CERTIFICATE_PASSWORD"),
                    send_certificate_chain=bool(given.get("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")),
                    **shared,
                ),
                found=True,
            )
        if narrowed in ("", "prod", "workloadidentitycredential") and token_file:
            _require(tenant, client, "a federated token")
            # Not left to the default chain: that one does not hand its authority on to this credential.
            workload = WorkloadIdentityCredential(
                tenant_id=tenant, client_id=client, token_file_path=token_file, **shared
            )
            return Login(f"the workload identity {client}", workload, found=True)
        if tenant and client and "AZURE_CLIENT_SECRET" in environ and narrowed in ("", "prod"):
            raise IdentityError(
                "AZURE_CLIENT_SECRET is empty, although AZURE_TENANT_ID and AZURE_CLIENT_ID name a service principal.",
                where="the environment",
                remedy="Give it a value (a secret that a pipeline does not know is empty), or unset it.",
            )
        chain = DefaultAzureCredential(
            exclude_environment_credential=True,
            exclude_workload_identity_credential=True,
            managed_identity_client_id=client or None,
            process_timeout=_TOOL_TIMEOUT,
            authority=cloud.authority,
            # What is left speaks to this machine only, and must be quick to find nobody there: a proxy would answer for an
            # endpoint that does not exist, and the SDK would then try for half a minute.
            transport=network.transport(proxied=False, connection_timeout=2, read_timeout=10),
            retry_total=3,
        )
        return Login("the login of this machine", chain, found=False)
    except FileNotFoundError as error:
        raise IdentityError(
            f"AZURE_CLIENT_CERTIFICATE_PATH names {certificate!r}, which does not exist.",
            where="the environment",
            remedy="Correct the path.",
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise _unusable(error, certificate, narrowed) from error


def _require(tenant: str, client: str, proof: str) -> None:
    missing = [name for name, value in (("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", client)) if not value]
    if missing:
        raise IdentityError(
            f"There is {proof}, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
            where="the environment",
            remedy=f"Set {' and '.join(missing)}.",
        )


def _unusable(error: Exception, certificate: str | None, narrowed: str) -> IdentityError:
    text = str(error)
    if "tenant" in text.lower():
        seen, remedy = "AZURE_TENANT_ID is neither the id nor the name of a tenant.", "Correct it."
    elif certificate:
        seen = (
            f"AZURE_CLIENT_CERTIFICATE_PATH names {certificate!r}, which is no certificate with a key that can be read."
        )
        remedy = "Use a PEM or PKCS12 file with the private key, and AZURE_CLIENT_CERTIFICATE_PASSWORD if it has one."
    elif narrowed:
        seen = "AZURE_TOKEN_CREDENTIALS asks for a login that this environment does not describe."
        remedy = "Unset it, or set the variables which that login needs."
    else:
        seen, remedy = f"The login that the environment describes cannot be used: {phrase(text)}.", LOG_IN
    return IdentityError(seen, where="the environment", remedy=remedy)
