"""Choose the login of a run: from the inputs of a pipeline, or from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acr_cleanup.access.clouds import Cloud
from acr_cleanup.access.entra_codes import IdentityKind
from acr_cleanup.access.federation import ASSERTION, TOOL_TIMEOUT, AuthType, Federation, IdTokens, LoginChoice
from acr_cleanup.access.host_paths import path_remedy
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import phrase

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from acr_cleanup.access.network import Network

_TENANT = "Set it to the id that `az account show --query tenantId` prints."
NOT_LOGGED_IN = "Not logged in to Azure."
LOG_IN = (
    "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_FEDERATED_TOKEN_FILE)."
)


@dataclass(frozen=True, slots=True)
class Login:
    """
    A login to Azure.

    name: for messages.
    configured: True if the user configured this login, so that its failure is an error. False for
        the default chain, which tries several.
    kind: what proves the identity; USER for the default chain.
    client_id, tenant_id: the names by which messages call these ids.
    application: the client id itself, if there is one.
    federation: set if the token of the job proves the identity.
    token_file: the file with the token of a workload identity.
    wait: seconds to wait for `az` and similar tools.
    """

    name: str
    credential: AsyncTokenCredential
    configured: bool
    kind: IdentityKind = IdentityKind.USER
    client_id: str = "AZURE_CLIENT_ID"
    tenant_id: str = "AZURE_TENANT_ID"
    application: str = ""
    federation: Federation | None = None
    token_file: str = ""
    wait: int = 0


def chosen_login(
    choice: LoginChoice, cloud: Cloud, network: Network, environ: Mapping[str, str], id_tokens: IdTokens
) -> Login:
    """Return the login that a pipeline chose. Raises `IdentityError` if it cannot be used."""
    # Slow to import.
    from azure.identity.aio import ClientAssertionCredential, ManagedIdentityCredential  # noqa: PLC0415

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
        name, client = f"the application {choice.client_id}", choice.client_id
        if choice.auth_type is AuthType.AZURE_PIPELINES:
            ids = ("the client id of the service connection", "the tenant id of the service connection")
            return Login(name, federation, True, IdentityKind.CONNECTION, *ids, client, federation)
        return Login(name, federation, True, IdentityKind.JOB, "client-id", "tenant-id", client, federation)
    if choice.auth_type is AuthType.MANAGED_IDENTITY:
        identity = ManagedIdentityCredential(
            client_id=choice.client_id or None,
            transport=network.transport(proxied=False, connection_timeout=5, read_timeout=20),
            retry_total=3,
        )
        named = "AZURE_CLIENT_ID" if environ.get("AZURE_CLIENT_ID", "").strip() == choice.client_id else "client-id"
        return Login("the managed identity", identity, True, IdentityKind.MANAGED, named, "tenant-id", choice.client_id)
    login = find_login(cloud, network, environ, choice.login_timeout)
    if not login.configured:
        raise IdentityError(
            "The environment variables do not describe a login, and auth-type environment uses no other source.",
            where="the environment",
            remedy="Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_FEDERATED_TOKEN_FILE).",
        )
    return login


def find_login(cloud: Cloud, network: Network, environ: Mapping[str, str], wait: int = TOOL_TIMEOUT) -> Login:
    """
    Return the login that the environment describes, in the order of azure-identity's default chain.

    wait: seconds for `az` and similar tools.

    AZURE_TOKEN_CREDENTIALS restricts the choice as it does there: `dev`, `prod`, or the name of one
    credential.
    https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains
    """
    # Slow to import, and not needed to print help.
    from azure.identity.aio import (  # noqa: PLC0415
        CertificateCredential,
        ClientSecretCredential,
        DefaultAzureCredential,
        WorkloadIdentityCredential,
    )

    # An empty variable counts as unset: pipelines pass every secret, whether it exists or not.
    given = {name: value.strip() for name, value in environ.items() if name.startswith("AZURE_") and value.strip()}
    tenant, client = given.get("AZURE_TENANT_ID", ""), given.get("AZURE_CLIENT_ID", "")
    secret, certificate = given.get("AZURE_CLIENT_SECRET"), given.get("AZURE_CLIENT_CERTIFICATE_PATH")
    token_file = given.get("AZURE_FEDERATED_TOKEN_FILE")
    narrowed = given.get("AZURE_TOKEN_CREDENTIALS", "").lower()
    # The asynchronous credentials only request tokens from the authority. They make no discovery
    # request, which could lead to another host. Three attempts of twenty seconds without an answer
    # are enough to report that the authority cannot be reached.
    shared: dict[str, Any] = {
        "authority": cloud.authority, "transport": network.transport(read_timeout=20),
        "retry_total": 4, "retry_connect": 2, "retry_read": 2,
    }  # fmt: skip
    try:
        if narrowed in ("", "prod", "environmentcredential") and (secret or certificate):
            _require(tenant, client, "a client secret" if secret else "a client certificate")
            name = f"the service principal {client}"
            if secret:
                return Login(name, ClientSecretCredential(tenant, client, secret, **shared), True, IdentityKind.SECRET)
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
                True,
                IdentityKind.CERTIFICATE,
            )
        if narrowed in ("", "prod", "workloadidentitycredential") and token_file:
            _require(tenant, client, "a federated token")
            # Not left to the default chain, which does not pass the authority on to this
            # credential.
            workload = WorkloadIdentityCredential(
                tenant_id=tenant, client_id=client, token_file_path=token_file, **shared
            )
            return Login(
                f"the workload identity {client}",
                workload,
                True,
                IdentityKind.TOKEN_FILE,
                application=client,
                token_file=token_file,
            )
        if tenant and client and "AZURE_CLIENT_SECRET" in environ and narrowed in ("", "prod"):
            raise IdentityError(
                "AZURE_CLIENT_SECRET is empty, although AZURE_TENANT_ID and AZURE_CLIENT_ID name a service principal.",
                where="the environment",
                remedy="Set it (a secret that does not exist in the pipeline arrives empty), or unset it.",
            )
        chain = DefaultAzureCredential(
            exclude_environment_credential=True,
            exclude_workload_identity_credential=True,
            managed_identity_client_id=client or None,
            process_timeout=max(1, wait),
            authority=cloud.authority,
            # The remaining credentials connect to endpoints of this machine. The timeouts are short
            # because these endpoints often do not exist. No proxy is used: a proxy would answer for
            # a missing endpoint, and the SDK would then retry for half a minute.
            transport=network.transport(proxied=False, connection_timeout=2, read_timeout=10),
            retry_total=3,
        )
        return Login("the login of this machine", chain, configured=False, application=client, wait=wait)
    except FileNotFoundError as error:
        raise IdentityError(
            f"AZURE_CLIENT_CERTIFICATE_PATH names {certificate!r}, which does not exist.",
            where="the environment",
            remedy=path_remedy(certificate or "", "Correct the path.", environ),
        ) from error
    except (ValueError, TypeError, OSError) as error:
        raise _unusable(error, certificate, narrowed) from error


def _require(tenant: str, client: str, proof: str) -> None:
    missing = [name for name, value in (("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", client)) if not value]
    if missing:
        raise IdentityError(
            f"The environment has {proof}, but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
            where="the environment",
            remedy=f"Set {' and '.join(missing)}.",
        )


def _unusable(error: Exception, certificate: str | None, narrowed: str) -> IdentityError:
    text = str(error)
    if "tenant" in text.lower():
        seen, remedy = "AZURE_TENANT_ID is neither the id nor the name of a tenant.", _TENANT
    elif certificate:
        seen = f"AZURE_CLIENT_CERTIFICATE_PATH names {certificate!r}, which is not a readable certificate with a key."
        remedy = "Use a PEM or PKCS12 file with the private key. If it has a password, set AZURE_CLIENT_CERTIFICATE_PASSWORD."
    elif narrowed:
        seen = "AZURE_TOKEN_CREDENTIALS selects a login that this environment does not describe."
        remedy = "Unset it, or set the variables that the selected login needs."
    else:
        seen, remedy = f"The login that the environment describes cannot be used: {phrase(text)}.", LOG_IN
    return IdentityError(seen, where="the environment", remedy=remedy)
