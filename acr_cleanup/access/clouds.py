"""The clouds of Azure: their endpoints and token audiences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REGISTRY_AUDIENCE = "https://containerregistry.azure.net"
"""
The registry's audience, valid in all clouds.
https://github.com/Azure/azure-sdk-for-net/issues/34785
"""

FEDERATION_AUDIENCE = "api://AzureADTokenExchange"
"""The audience of tokens of other issuers in the public cloud."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """
    The endpoints of one cloud, as `https` URLs without a final slash.

    resource_manager_audience: the audience of tokens for ARM. In some clouds it differs from the
        endpoint.
    registry_suffix: the domain that completes the name of a registry.
    log_analytics: the endpoint for queries of logs; also the audience of its tokens.
    audience: the audience of tokens for the registry.
    federation_audience: the audience that federated credentials of this cloud expect by default.
    """

    authority: str
    resource_manager: str
    resource_manager_audience: str
    registry_suffix: str
    log_analytics: str = "https://api.loganalytics.io"
    audience: str = REGISTRY_AUDIENCE
    federation_audience: str = FEDERATION_AUDIENCE

    @property
    def resource_manager_scope(self) -> str:
        return f"{self.resource_manager_audience}/.default"

    @property
    def registry_scope(self) -> str:
        return f"{self.audience}/.default"


# The portals of the clouds write these audiences: https://github.com/Azure/login/issues/452
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
        log_analytics="https://api.loganalytics.us",
        federation_audience="api://AzureADTokenExchangeUSGov",
    ),
    "azurechinacloud": Cloud(
        authority="https://login.chinacloudapi.cn",
        resource_manager="https://management.chinacloudapi.cn",
        resource_manager_audience="https://management.chinacloudapi.cn",
        registry_suffix="azurecr.cn",
        log_analytics="https://api.loganalytics.azure.cn",
        federation_audience="api://AzureADTokenExchangeChina",
    ),
}
