"""Entra ID's token endpoint, and the OIDC issuers of GitHub and Azure Pipelines."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from acr_cleanup.emulator.authority import LOG_HOSTS, RESOURCE_MANAGER, Authority
from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP
from acr_cleanup.emulator.tokens import TokenSigner, read_claims
from acr_cleanup.emulator.world import GITHUB_ISSUER, PIPELINES_ISSUER, Directory, World

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def entra_app(world: World, authority: Authority) -> web.Application:
    """Return Entra ID for the world's directory."""
    entra = _Entra(world, authority)
    app = web.Application()
    app.router.add_get("/common/discovery/instance", entra.instances)
    app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", entra.configuration)
    app.router.add_post("/{tenant}/oauth2/v2.0/token", entra.token)
    return app


class _Refusal(Exception):
    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.code, self.message = status, error, code, message

    def response(self) -> web.Response:
        trace, correlation = uuid.uuid4(), uuid.uuid4()
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
        description = (
            f"AADSTS{self.code}: {self.message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"
        )
        body = {
            "error": self.error,
            "error_description": description,
            "error_codes": [self.code],
            "timestamp": now,
            "trace_id": str(trace),
            "correlation_id": str(correlation),
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }
        return web.json_response(body, status=self.status)


class _Entra:
    def __init__(self, world: World, authority: Authority) -> None:
        self._world = world
        self._authority = authority

    async def instances(self, request: web.Request) -> web.Response:
        """Return the known authorities: this one, under the name that the request used."""
        host, tenant = request.host, self._world.directory.tenant
        configuration = f"https://{host}/{tenant}/v2.0/.well-known/openid-configuration"
        metadata = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        body = {
            "tenant_discovery_endpoint": configuration,
            "api-version": "1.1",
            "metadata": [metadata],
        }
        return web.json_response(body)

    async def configuration(self, request: web.Request) -> web.Response:
        """Return the endpoints of one tenant."""
        tenant = request.match_info["tenant"]
        try:
            self._check_tenant(tenant)
        except _Refusal as refusal:
            return refusal.response()
        base = f"https://{request.host}/{tenant}"
        body = {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{base}/v2.0",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "tenant_region_scope": None,
            "cloud_instance_name": "microsoftonline.com",
        }
        return web.json_response(body)

    async def token(self, request: web.Request) -> web.Response:
        """
        Return a token for client credentials: a secret, or an assertion of a federated issuer.
        """
        form = {key: str(value) for key, value in (await request.post()).items()}
        try:
            self._check_tenant(request.match_info["tenant"])
            client = form.get("client_id", "")
            self._check_client(client, form)
            audience = self._audience(form.get("scope", ""))
        except _Refusal as refusal:
            return refusal.response()
        lifetime = int(self._world.directory.token_lifetime)
        body: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": self._authority.issue_token(audience, client),
        }
        return web.json_response(body)

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() != self._world.directory.tenant.lower():
            message = (
                f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID "
                "and are signing into the correct cloud."
            )
            raise _Refusal(400, "invalid_request", 90002, message)

    def _check_client(self, client: str, form: dict[str, str]) -> None:
        if form.get("grant_type") != "client_credentials":
            raise _Refusal(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        secrets = self._world.directory.secrets_of(client)
        if secrets is None:
            message = f"Application with identifier '{client}' was not found in the directory 'Contoso'."
            raise _Refusal(400, "unauthorized_client", 700016, message)
        if "client_assertion" in form:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise _Refusal(401, "invalid_client", 90023, "The client assertion type is not supported.")
            self._check_assertion(client, form["client_assertion"])
        elif "client_secret" not in form:
            message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            raise _Refusal(401, "invalid_client", 7000218, message)
        elif form["client_secret"] not in secrets:
            message = (
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{client}'."
            )
            raise _Refusal(401, "invalid_client", 7000215, message)

    def _check_assertion(self, client: str, assertion: str) -> None:
        claims = self._authority.signer.verify(assertion)
        if claims is None:
            if read_claims(assertion) is None:
                raise _Refusal(401, "invalid_client", 50027, "JWT token is invalid or malformed.")
            message = "Client assertion is not within its valid time range, or its signature is not valid."
            raise _Refusal(401, "invalid_client", 700024, message)
        issuer, subject, audience = (str(claims.get(key, "")) for key in ("iss", "sub", "aud"))
        credentials = [f for f in self._world.directory.federated if f.client_id == client]
        if not credentials:
            message = "No configured federated identity credentials were found for the application."
            raise _Refusal(401, "invalid_client", 70025, message)
        for code, what, value, accepted in (
            (700211, "issuer", issuer, {f.issuer for f in credentials}),
            (700213, "subject", subject, {f.subject for f in credentials if f.issuer == issuer}),
            (
                700212,
                "audience",
                audience,
                {f.audience for f in credentials if (f.issuer, f.subject) == (issuer, subject)},
            ),
        ):
            if value not in accepted:
                message = (
                    f"No matching federated identity record found for presented assertion {what} '{value}'. "
                    "Check your federated identity credential Subject, Audience and Issuer against the assertion."
                )
                raise _Refusal(401, "invalid_client", code, message)

    def _audience(self, scope: str) -> str:
        audience, slash, last = scope.rpartition("/")
        if not slash or last != ".default":
            message = f"The provided request must include a 'scope' input parameter; '{scope}' is not valid."
            raise _Refusal(400, "invalid_scope", 70011, message)
        known = {
            "https://containerregistry.azure.net",
            self._world.registry.audience.rstrip("/"),
            RESOURCE_MANAGER,
            AKS_SERVER_APP,
            self._authority.log_analytics,
            *(f"https://{host}" for host in LOG_HOSTS),
        }
        canonical = self._authority.canonical_audience(audience)
        for part, code in self._world.directory.refused_audiences.items():
            if part in canonical:
                raise _Refusal(401, "invalid_client", code, "The request for this resource is refused.")
        if canonical not in known:
            message = f"The resource principal named {audience} was not found in the tenant named Contoso."
            raise _Refusal(400, "invalid_resource", 500011, message)
        return audience


def oidc_app(directory: Directory, signer: TokenSigner) -> web.Application:
    """
    Return the issuers of ID tokens: GitHub and Azure Pipelines.

    Each issuer requires the request token that its jobs get.
    """

    def is_bearer(request: web.Request, token: str) -> bool:
        return request.headers.get("Authorization", "") == f"Bearer {token}"

    async def github(request: web.Request) -> web.Response:
        if not is_bearer(request, directory.github_request_token):
            return web.Response(status=401, text="Unauthorized")
        audience = request.query.get("audience", "https://github.com/contoso")
        claims = {"iss": GITHUB_ISSUER, "sub": directory.github_subject, "aud": audience, "jti": str(uuid.uuid4())}
        return web.json_response({"count": 1, "value": signer.sign(claims, 300)})

    async def pipelines(request: web.Request) -> web.Response:
        if not is_bearer(request, directory.pipelines_access_token):
            return web.Response(status=401, text="Unauthorized")
        if not request.query.get("serviceConnectionId"):
            body = {"message": "The service connection id is missing.", "typeKey": "ArgumentException"}
            return web.Response(status=400, text=json.dumps(body), content_type="application/json")
        claims = {
            "iss": PIPELINES_ISSUER,
            "sub": directory.pipelines_subject,
            "aud": "api://AzureADTokenExchange",
            "jti": str(uuid.uuid4()),
        }
        return web.json_response({"oidcToken": signer.sign(claims, 300)})

    app = web.Application()
    app.router.add_get("/github/token", github)
    app.router.add_post("/pipelines/oidctoken", pipelines)
    return app
