"""Issue and check the tokens and certificates of an emulated world."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import trustme

from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.tokens import TokenSigner
from acr_cleanup.emulator.world import Directory

# The real host names of the public, US Government and China clouds.
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
LOG_HOSTS = ("api.loganalytics.io", "api.loganalytics.us", "api.loganalytics.azure.cn")
# In each cloud, the audience of the resource manager has two spellings.
RESOURCE_MANAGER_AUDIENCES = frozenset(
    {f"https://{host}" for host in RESOURCE_MANAGER_HOSTS}
    | {
        "https://management.core.windows.net",
        "https://management.core.usgovcloudapi.net",
        "https://management.core.chinacloudapi.cn",
    }
)


class Authority:
    """Issue and check the tokens of the tenant, and the certificates of servers and clients."""

    def __init__(self, directory: Directory) -> None:
        self.signer = TokenSigner()
        # The private keys of client certificates. A test searches logs and files for them.
        self.issued_keys: list[str] = []
        # The URL of the emulated resource manager: one more name of its audience.
        self.resource_manager = ""
        # The URL of the emulated Log Analytics, which is the audience of its tokens.
        self.log_analytics = ""
        self._directory = directory

    @functools.cached_property
    def certificates(self) -> trustme.CA:
        """The authority of all server and client certificates."""
        return trustme.CA(organization_name="acr-cleanup emulator")

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority (PEM), which clients must trust."""
        return self.certificates.cert_pem.bytes()

    def issue_token(
        self,
        audience: str,
        subject: str,
        *,
        lifetime: float | None = None,
        claims: dict[str, Any] | None = None,
    ) -> str:
        """
        Return an access token of Entra ID for `audience`.

        `lifetime`: in seconds; by default that of the directory.
        """
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
        Return the claims of a token issued here for `audience` that has not expired, else None.

        All names of the resource manager are the same audience. A trailing slash is ignored.
        """
        claims = self.signer.verify(token)
        if claims is None:
            return None
        audiences = {audience} if isinstance(audience, str) else set(audience)
        accepted = {self.canonical_audience(name) for name in audiences}
        return claims if self.canonical_audience(str(claims.get("aud"))) in accepted else None

    def canonical_audience(self, audience: str) -> str:
        """Return the audience in the one spelling that all names of the same resource share."""
        name = audience.rstrip("/")
        known = name in RESOURCE_MANAGER_AUDIENCES or name == self.resource_manager
        return RESOURCE_MANAGER if known else name

    def client_certificate(self, cluster: ClusterState | str) -> tuple[str, str]:
        """Return a client certificate and its key (PEM) that a certificate cluster accepts."""
        name = cluster if isinstance(cluster, str) else cluster.name
        leaf = self.certificates.issue_cert(organization_name="system:masters", common_name=f"masterclient-{name}")
        key = leaf.private_key_pem.bytes().decode()
        self.issued_keys.append(key)
        return leaf.cert_chain_pems[0].bytes().decode(), key
