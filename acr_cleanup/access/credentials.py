"""
Who we are, and where that is asked: the clouds, and one credential for every client.

A pipeline says by `auth-type` how it logs in. On the command line a service principal or a workload identity in the environment
is used, and nothing but it: a tool that deletes must not become somebody else because a secret was wrong. Without one,
azure-identity's default chain looks for a login of this machine or of its user.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acr_cleanup.access.federation import (
    ASSERTION,
    AuthType,
    Closing,
    Federation,
    IdTokens,
    LoginChoice,
    no_id_tokens,
)
from acr_cleanup.access.service_connection import ACCESS_TOKEN, ServiceConnection
from acr_cleanup.errors import IdentityError
from acr_cleanup.quoting import phrase
from acr_cleanup.runtimes.base import NoIdToken

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

    from acr_cleanup.access.network import Network

_LOG = logging.getLogger(__name__)

REGISTRY_AUDIENCE = "https://containerregistry.azure.net"
"""The registry's audience, valid in all clouds. https://github.com/Azure/azure-sdk-for-net/issues/34785"""


@dataclass(frozen=True, slots=True)
class Cloud:
    """
    The endpoints of one cloud, all of them `https` URLs without a final slash.

    `audience` is what tokens for the registry are issued for, `resource_manager_audience` likewise for ARM (it is not the
    endpoint's own name everywhere); `registry_suffix` completes the bare name of a registry.
    """

    authority: str
    resource_manager: str
    resource_manager_audience: str
    registry_suffix: str
    audience: str = REGISTRY_AUDIENCE

    @property
    def resource_manager_scope(self) -> str:
        return f"{self.resource_manager_audience}/.default"

    @property
    def registry_scope(self) -> str:
        return f"{self.audience}/.default"


# https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure
# https://learn.microsoft.com/azure/china/resources-developer-guide
CLOUDS: Mapping[str, Cloud] = {
    "azurecloud": Cloud(
        authority="https://login.microsoftonline.com",
        resource_manager="https://management.azure.com",
        resource_manager_audience="https://management.azure.com",
        registry_suffix="azurecr.io",
    ),
    "azureusgovernment": Cloud(
        authority="https://login.microsoftonline.us",
        resource_manager="https://management.usgovcloudapi.net",
        resource_manager_audience="https://management.core.usgovcloudapi.net",
        registry_suffix="azurecr.us",
    ),
    "azurechinacloud": Cloud(
        authority="https://login.chinacloudapi.cn",
        resource_manager="https://management.chinacloudapi.cn",
        resource_manager_audience="https://management.chinacloudapi.cn",
        registry_suffix="azurecr.cn",
    ),
}

SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", ACCESS_TOKEN)
"""Variables whose values must never be shown."""

_TOOL_TIMEOUT = 20
"""Seconds for `az` and its kin, which start slowly on busy machines."""

# What Entra ID says by number: what that means, and what to do.
# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_LOG_IN_AGAIN = "Log in again (`az logout`, then `az login`)."
_FEDERATION = "Compare issuer, subject and audience of the token with the federated credentials of the application."
_FEDERATION_CODES = frozenset({70021, 70025, 700211, 700212, 700213})
_AADSTS: Mapping[int, tuple[str, str]] = {
    7000215: ("the client secret is wrong", "Put the value of a current secret, not its id, in AZURE_CLIENT_SECRET."),
    7000222: ("the client secret has expired", "Create a new secret, and put its value in AZURE_CLIENT_SECRET."),
    7000218: ("it was given neither a secret nor an assertion", "Set AZURE_CLIENT_SECRET."),
    700016: ("the tenant does not know the application", "Check {client_id} and {tenant_id}."),
    7000112: ("the application is disabled", "Enable it in Entra ID, or use another one."),
    700027: ("the client certificate is not one of the application", "Upload it, or use another certificate."),
    90002: ("there is no such tenant in this cloud", "Check {tenant_id} and the environment (the cloud)."),
    900023: ("that is no id or name of a tenant", "Check {tenant_id}."),
    900382: ("the tenant lives in another cloud", "Set the environment (ARM_ENVIRONMENT) to that cloud."),
    90072: ("the user does not belong to the tenant", "Log in to the right tenant: `az login --tenant TENANT`."),
    500011: ("the tenant does not know the resource", "Check the environment (the cloud) and the audience."),
    65001: ("the application has no consent for the resource", "Let an administrator consent to it."),
    50105: ("it is not assigned to the application", "Assign it in Entra ID."),
    53003: ("a conditional access policy forbids it", "Run where the policy allows, or use a service principal."),
    50076: ("multi-factor authentication is required", _LOG_IN_AGAIN),
    50079: ("multi-factor authentication is required", _LOG_IN_AGAIN),
    50173: ("the login was revoked", _LOG_IN_AGAIN),
    70043: ("the login has expired", _LOG_IN_AGAIN),
    700082: ("the login has expired", _LOG_IN_AGAIN),
    700024: (
        "the federated token is expired or not valid yet",
        "Renew the token, and check the clock of this machine.",
    ),
    50027: ("the federated token is no token at all", "Check what AZURE_FEDERATED_TOKEN_FILE holds."),
    70025: ("the application has no federated credentials", "Add one for the issuer and subject of the token."),
    70021: ("no federated credential matches the token", _FEDERATION),
    700211: ("no federated credential matches the issuer of the token", _FEDERATION),
    700212: ("no federated credential matches the audience of the token", _FEDERATION),
    700213: ("no federated credential matches the subject of the token", _FEDERATION),
}

_NOBODY = "Nobody is logged in to Azure."
_LOG_IN = (
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


@asynccontextmanager
async def open_credential(
    cloud: Cloud,
    network: Network,
    environ: Mapping[str, str],
    choice: LoginChoice | None = None,
    *,
    id_tokens: IdTokens = no_id_tokens,
    mask: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[SingleFlightCredential]:
    """
    The credential of this run, for every client and every scope.

    `id_tokens` gives the tokens of the job, where it has any; `mask` hears of every secret that must not be shown. Raises
    `IdentityError` when the environment describes a login that cannot be one; whether Entra ID accepts it shows with
    the first token.
    """
    for name in SECRETS:
        mask(environ.get(name, ""))
    if choice is None or choice.auth_type is None:
        login = find_login(cloud, network, environ)
    else:
        if choice.auth_type is AuthType.AZURE_PIPELINES:
            id_tokens = ServiceConnection.of(environ, network, mask)
        login = chosen_login(choice, cloud, network, environ, id_tokens)
    async with SingleFlightCredential(login, cloud.authority, mask=mask) as credential:
        yield credential


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
        seen, remedy = f"The login that the environment describes cannot be used: {phrase(text)}.", _LOG_IN
    return IdentityError(seen, where="the environment", remedy=remedy)


class SingleFlightCredential(Closing):
    """
    One token per scope, asked for once however many callers wait, renewed before it expires, its failures put in words.

    azure-identity caches too, but does not lock: thirty-two callers would make thirty-two requests.
    """

    def __init__(
        self,
        login: Login,
        authority: str,
        clock: Callable[[], float] = time.time,
        mask: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.login = login
        self._mask = mask
        self._authority = authority
        self._clock = clock
        self._tokens: dict[tuple[object, ...], tuple[AccessToken, float]] = {}
        self._pending: dict[tuple[object, ...], asyncio.Task[AccessToken]] = {}

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: Any,
    ) -> AccessToken:
        """A token for these scopes, valid for a while. Raises `IdentityError`."""
        if claims:
            # The service has just refused the token that we had: this demand must reach Entra ID.
            return await self._request(scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **kwargs)
        key = (scopes, tenant_id, enable_cae)
        held = self._tokens.get(key)
        if held is not None and self._clock() < held[1]:
            return held[0]
        if key not in self._pending:
            task = asyncio.create_task(
                self._request_and_keep(key, scopes, tenant_id=tenant_id, enable_cae=enable_cae, **kwargs)
            )
            self._pending[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        try:
            # Shielded: that one caller is cancelled must not fail the others.
            return await asyncio.shield(self._pending[key])
        except IdentityError:
            if held is not None and held[0].expires_on > self._clock():
                _LOG.warning("A token could not be renewed; the one at hand is still valid.")
                return held[0]
            raise

    async def _request_and_keep(self, key: tuple[object, ...], scopes: tuple[str, ...], **kwargs: Any) -> AccessToken:
        token = await self._request(scopes, **kwargs)
        left = token.expires_on - self._clock()
        # Five minutes early, like the SDKs; tokens that live shorter are renewed at half their life.
        self._tokens[key] = (token, token.expires_on - min(300.0, left / 2))
        return token

    def _forget(self, key: tuple[object, ...], task: asyncio.Task[AccessToken]) -> None:
        self._pending.pop(key, None)
        if not task.cancelled():
            task.exception()  # Seen, even if every caller has gone meanwhile.

    async def _request(self, scopes: tuple[str, ...], **kwargs: Any) -> AccessToken:
        try:
            token = await self.login.credential.get_token(*scopes, **kwargs)
        except Exception as error:
            raise explain(error, self.login, self._authority) from error
        self._mask(token.token)
        return token

    async def close(self) -> None:
        """Give up what is still being asked for."""
        pending = list(self._pending.values())
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self.login.credential.close()


def explain(error: Exception, login: Login, authority: str) -> IdentityError:
    """
    What a failed login means, in one sentence and with a remedy.

    The SDK's text is read for error numbers only: it runs over many lines, and belongs to the debug log.
    """
    from azure.core.exceptions import (  # noqa: PLC0415
        AzureError,
        ClientAuthenticationError,
        DecodeError,
        ServiceRequestError,
        ServiceResponseError,
    )
    from azure.identity import CredentialUnavailableError  # noqa: PLC0415

    if isinstance(error, NoIdToken):
        chosen = login.federation.choice.auth_type if login.federation is not None else None
        return IdentityError(error.seen, where=f"auth-type {chosen or AuthType.OIDC}", remedy=error.remedy)
    text = str(error)
    if code := re.search(r"AADSTS(\d+)", text):
        return _refused(int(code.group(1)), text, login, authority)
    if isinstance(error, FileNotFoundError | PermissionError) and login.found:
        return IdentityError(
            f"The federated token cannot be read: {error.strerror or 'no such file'}.",
            where=f"AZURE_FEDERATED_TOKEN_FILE {error.filename!r}",
            remedy="Correct the path, or unset the variable.",
        )
    if login.name == "the managed identity" and isinstance(
        error, ClientAuthenticationError | CredentialUnavailableError
    ):
        return IdentityError(
            "The managed identity of this machine gives no token.",
            where=f"auth-type {AuthType.MANAGED_IDENTITY}",
            remedy="Run on a machine of your own in Azure that has one, and give client-id if it has several.",
        )
    if not login.found and isinstance(error, ClientAuthenticationError | CredentialUnavailableError):
        # The chain goes on to the tools of the user unless a managed identity is there and fails.
        if "ManagedIdentityCredential" in text and "AzureCliCredential" not in text:
            return IdentityError(
                "The managed identity of this machine gives no token.",
                remedy="Check that an identity is assigned to the machine, and AZURE_CLIENT_ID if there are several.",
            )
        return IdentityError(_NOBODY, remedy=_LOG_IN)
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text.lower():
        return IdentityError(
            "Its certificate is not from an authority that this machine trusts.",
            where=authority,
            remedy="Name the company's authority in SSL_CERT_FILE or REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, DecodeError):
        seen = "What answered is not Entra ID."
        return IdentityError(seen, where=authority, remedy="Check the authority and the proxy (HTTPS_PROXY).")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return IdentityError(
            # aiohttp shows its SSL context as an object at an address.
            f"Entra ID cannot be reached: {phrase(re.sub(r' ssl:(?:<[^>]*>|default)', '', text))}.",
            where=authority,
            remedy="Check the network, the proxy (HTTPS_PROXY, NO_PROXY) and the authority.",
        )
    kind = "refused" if isinstance(error, AzureError) else "gave an unexpected answer for"
    return IdentityError(
        f"Entra ID {kind} {login.name}: {phrase(text)}.", where=authority, remedy="The debug log has the details."
    )


def _refused(code: int, text: str, login: Login, authority: str) -> IdentityError:
    """What Entra ID says by this number."""
    if code in _AADSTS:
        meaning, remedy = _AADSTS[code]
        remedy = remedy.format(client_id=login.client_id, tenant_id=login.tenant_id)
    else:
        meaning, remedy = _said(text), "Look the number up at https://login.microsoftonline.com/error."
    seen = f"Entra ID refused {login.name}: {meaning} (AADSTS{code})."
    if login.federation is not None:
        seen += f" The token of the job says {login.federation.said}."
        remedy = login.federation.remedy if code in _FEDERATION_CODES else remedy
    return IdentityError(seen, where=authority, remedy=remedy)


def _said(text: str) -> str:
    """The sentence after the number, without the identifiers that follow it."""
    sentence = re.split(r"AADSTS\d+:?\s*", text, maxsplit=1)[-1]
    return phrase(re.split(r"\s*(?:Trace ID|Timestamp|Correlation ID)\b", sentence, maxsplit=1)[0])
