"""Tokens and certificates of an emulated world: who issues them, and what a service accepts."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import trustme

from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.tokens import TokenSigner
from acr_cleanup.emulator.world import Directory

# The real names that the proxy face answers for, in the public, US Government and China clouds.
AUTHORITY_HOSTS = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
    "login.partner.microsoftonline.cn",
    "sts.windows.net",
)
RESOURCE_MANAGER_HOSTS = (
    "management.azure.com",
    "management.usgovcloudapi.net",
    "management.chinacloudapi.cn",
)
RESOURCE_MANAGER = f"https://{RESOURCE_MANAGER_HOSTS[0]}"
# Two spellings of the resource manager's audience are in use per cloud.
RESOURCE_MANAGER_AUDIENCES = frozenset(
    {f"https://{host}" for host in RESOURCE_MANAGER_HOSTS}
    | {
        "https://management.core.windows.net",
        "https://management.core.usgovcloudapi.net",
        "https://management.core.chinacloudapi.cn",
    }
)


class Authority:
    """Issues and checks the tokens of the tenant, and the certificates of servers and clients."""

    def __init__(self, directory: Directory) -> None:
        self.signer = TokenSigner()
        # The private keys of client certificates, as `signer.issued` holds the tokens.
        self.issued_keys: list[str] = []
        # The address of the emulated resource manager: one more name of its audience.
        self.resource_manager = ""
        self._directory = directory

    @functools.cached_property
    def certificates(self) -> trustme.CA:
        """The certificate authority of every server and client."""
        return trustme.CA(organization_name="acr-cleanup emulator")

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority, for clients to trust."""
        return self.certificates.cert_pem.bytes()

    def issue_token(
        self,
        audience: str,
        subject: str,
        *,
        lifetime: float | None = None,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """An access token of Entra ID for `audience`; `lifetime` in seconds, by default the directory's."""
        directory = self._directory
        body = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{directory.tenant}/",
            "appid": subject,
            "oid": subject,
            "sub": subject,
            "tid": directory.tenant,
            "ver": "1.0",
        }
        return self.signer.sign(body | (claims or {}), directory.token_lifetime if lifetime is None else lifetime)

    def check_token(self, token: str, audience: str | Collection[str]) -> dict[str, Any] | None:
        """
        The claims of a token that was issued here for `audience` and has not expired, else None.

        Every name of the resource manager counts as the same audience, as does a trailing slash.
        """
        claims = self.signer.verify(token)
        if claims is None:
            return None
        wanted = {audience} if isinstance(audience, str) else set(audience)
        accepted = {self.canonical_audience(name) for name in wanted}
        return claims if self.canonical_audience(str(claims.get("aud"))) in accepted else None

    def canonical_audience(self, audience: str) -> str:
        """One spelling for all names of the same resource."""
        name = audience.rstrip("/")
        known = name in RESOURCE_MANAGER_AUDIENCES or name == self.resource_manager
        return RESOURCE_MANAGER if known else name

    def client_certificate(self, cluster: ClusterState | str) -> tuple[str, str]:
        """A client certificate and its key (PEM) with which a certificate cluster lets a client in."""
        name = cluster if isinstance(cluster, str) else cluster.name
        leaf = self.certificates.issue_cert(organization_name="system:masters", common_name=f"masterclient-{name}")
        key = leaf.private_key_pem.bytes().decode()
        self.issued_keys.append(key)
        return leaf.cert_chain_pems[0].bytes().decode(), key
