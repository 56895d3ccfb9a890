"""The kubeconfigs of AKS: with a certificate, with a token, and two forms for Entra ID users."""

from __future__ import annotations

import base64

from acr_cleanup.emulator.kubernetes.state import AKS_SERVER_APP, Auth, ClusterState

# The application id with which kubectl logs in to Entra ID.
_CLIENT_APP = "80faf920-1908-4b52-b5ef-a8e7bedfc67a"
_ENVIRONMENTS = {
    "azmk8s.io": "AzurePublicCloud",
    "cx.aks.containerservice.azure.us": "AzureUSGovernmentCloud",
    "cx.prod.service.azk8s.cn": "AzureChinaCloud",
}


def kubeconfig(
    cluster: ClusterState,
    *,
    server: str,
    ca_pem: bytes,
    role: str,
    auth: Auth,
    tenant: str,
    certificate: tuple[str, str],
) -> str:
    """
    Return the YAML text of a kubeconfig.

    `role`: clusterUser or clusterAdmin.
    `certificate`: the PEM texts of a client certificate and of its key.
    """
    user = f"{role}_{cluster.resource_group}_{cluster.name}"
    context = f"{cluster.name}-admin" if role == "clusterAdmin" else cluster.name
    return f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {_base64(ca_pem)}
    server: {server}
  name: {cluster.name}
contexts:
- context:
    cluster: {cluster.name}
    user: {user}
  name: {context}
current-context: {context}
kind: Config
preferences: {{}}
users:
- name: {user}
  user:
{_user(cluster, auth, tenant, certificate)}"""


def _user(cluster: ClusterState, auth: Auth, tenant: str, certificate: tuple[str, str]) -> str:
    environment = _ENVIRONMENTS.get(cluster.domain, "AzurePublicCloud")
    match auth:
        case "certificate":
            cert, key = (_base64(pem.encode()) for pem in certificate)
            return f"""\
    client-certificate-data: {cert}
    client-key-data: {key}
    token: {cluster.token}
"""
        case "token":
            return f"    token: {cluster.token}\n"
        case "entra":
            return f"""\
    auth-provider:
      config:
        apiserver-id: {AKS_SERVER_APP}
        client-id: {_CLIENT_APP}
        config-mode: "1"
        environment: {environment}
        tenant-id: {tenant}
      name: azure
"""
        case "entra-exec":
            return f"""\
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args:
      - get-token
      - --environment
      - {environment}
      - --server-id
      - {AKS_SERVER_APP}
      - --client-id
      - {_CLIENT_APP}
      - --tenant-id
      - {tenant}
      - --login
      - devicecode
      command: kubelogin
      env: null
      installHint: |2

        kubelogin is not installed which is required to connect to AAD enabled cluster.

        To learn more, please go to https://aka.ms/aks/kubelogin
      provideClusterInfo: false
"""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
