"""The files that `acr-cleanup init` writes, as text. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from acr_cleanup.access.clouds import CLOUDS
from acr_cleanup.commands.init_request import Ci
from acr_cleanup.commands.rights.cluster_role import comment

CONFIG, TRUST, RIGHTS = "acr-cleanup.yaml", "acr-cleanup-trust.sh", "acr-cleanup-rights.sh"
PUBLIC = "azurecloud"
_GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


PIPELINES = {Ci.GITHUB: ".github/workflows/acr-cleanup.yml", Ci.AZURE_DEVOPS: "acr-cleanup-pipeline.yml"}


@dataclass(frozen=True, slots=True)
class FoundResource:
    """A registry or a cluster that Azure shows. login_server: of a registry."""

    resource_id: str
    name: str
    login_server: str = ""

    @property
    def subscription(self) -> str:
        return self.resource_id.split("/")[2]

    @property
    def group(self) -> str:
        return self.resource_id.split("/")[4]


@dataclass(frozen=True, slots=True)
class Setup:
    """
    The choices of the user.

    environment: the name of the cloud.
    repository: ORG/REPO on GitHub, whose branch may log in.
    connection: the name of the service connection of Azure DevOps.
    """

    registry: FoundResource
    clusters: tuple[FoundResource, ...]
    environment: str
    ci: Ci
    repository: str = ""
    branch: str = "main"
    connection: str = "acr-cleanup"


def configuration(setup: Setup) -> str:
    """Return the configuration file."""
    registry, names = setup.registry, [cluster.name for cluster in setup.clusters]
    lines = [
        *comment(
            "The registry that is cleaned, and every cluster that pulls from it. A missing cluster protects no image."
        ),
        "container_registry:",
        f"  url: {_text(registry.login_server)}",
        f"  subscription_id: {_text(registry.subscription)}",
        f"  resource_group: {_text(registry.group)}",
        "kubernetes_clusters:",
    ]
    for cluster in setup.clusters:
        # The names of AKS clusters are unique in their resource group only.
        key = (
            cluster.name if names.count(cluster.name) == 1 else f"{cluster.name} {cluster.group} {cluster.subscription}"
        )
        lines += [f"  {_text(key)}:", f"    resource_id: {_text(cluster.resource_id)}"]
    lines += ["older_than: 30d", *([] if setup.environment == PUBLIC else [f"environment: {setup.environment}"])]
    return _joined(lines)


def trust(setup: Setup) -> str:
    """Return the script that creates the application, lets Azure trust the jobs, and grants the rights."""
    who = f"jobs of {setup.repository}" if setup.ci is Ci.GITHUB else f"the service connection {setup.connection}"
    lines = [
        "set -eu",
        *comment(
            f"Creates the application acr-cleanup, lets Azure trust {who}, and grants the rights. Read it, and run it as a user "
            "who may create applications and assign roles. It can be run again: what exists is kept."
        ),
        'cd "$(dirname "$0")"',
        *(_github_subject(setup) if setup.ci is Ci.GITHUB else _connection_subject(setup)),
        "",
        "app=$(az ad app list --filter \"displayName eq 'acr-cleanup'\" --query '[0].appId' --output tsv)",
        'if [ -z "$app" ]; then',
        "  app=$(az ad app create --display-name acr-cleanup --query appId --output tsv)",
        "fi",
        'identity=$(az ad sp show --id "$app" --query id --output tsv 2>/dev/null || true)',
        'if [ -z "$identity" ]; then',
        '  identity=$(az ad sp create --id "$app" --query id --output tsv)',
        "fi",
        "known=$(az ad app federated-credential list --id \"$app\" --query '[].subject' --output tsv)",
        'if ! printf "%s\\n" "$known" | grep -qxF "$subject"; then',
        "  # A name has at most 120 characters, and is unique in the application.",
        '  name=$(printf "%s" "$subject" | tr -c "A-Za-z0-9" - | cut -c 1-100)',
        '  az ad app federated-credential create --id "$app" --parameters \'{',
        '    "name": "\'"$name"\'", "issuer": "\'"$issuer"\'",',
        f'    "subject": "\'"$subject"\'", "audiences": ["{CLOUDS[setup.environment].federation_audience}"]}}\'',
        "fi",
        f'sh {RIGHTS} --identity "$identity"',
        "tenant=$(az account show --query tenantId --output tsv)",
    ]
    if setup.ci is Ci.GITHUB:
        lines += [
            "if command -v gh >/dev/null; then",
            '  gh variable set AZURE_CLIENT_ID --repo "$repository" --body "$app"',
            '  gh variable set AZURE_TENANT_ID --repo "$repository" --body "$tenant"',
            "fi",
        ]
    lines.append('echo "AZURE_CLIENT_ID=$app AZURE_TENANT_ID=$tenant"')
    return _joined(lines)


def _github_subject(setup: Setup) -> Iterator[str]:
    yield f"repository={shlex.quote(setup.repository)}"
    yield f"issuer={_GITHUB_ISSUER}"
    yield from comment(
        "Only jobs of this branch may log in. Ask GitHub how their subject begins: for repositories made or renamed since July "
        "2026 it has the ids of owner and repository."
    )
    # After a failure, gh prints the answer of GitHub on stdout.
    yield 'prefix=$(gh api "repos/$repository/actions/oidc/customization/sub" --jq \'.sub_claim_prefix // ""\') || prefix='
    yield f'subject="${{prefix:-repo:$repository}}:ref:refs/heads/"{shlex.quote(setup.branch)}'


def _connection_subject(setup: Setup) -> Iterator[str]:
    yield from comment(
        f"Begin a service connection {setup.connection} to Azure Resource Manager with workload identity federation (manual). "
        "Its draft shows the issuer and the subject: set both, run this script, and finish the connection with the ids that it "
        "prints."
    )
    yield ': "${issuer:?set it to the issuer that the service connection shows}"'
    yield ': "${subject:?set it to the subject identifier that the service connection shows}"'


def pipeline(setup: Setup) -> str:
    """Return the workflow of GitHub, or the pipeline of Azure DevOps. It deletes nothing until it is edited."""
    return _workflow() if setup.ci is Ci.GITHUB else _azure_pipeline(setup)


def _workflow() -> str:
    return _joined(
        [
            "name: Clean the registry",
            "on:",
            "  schedule:",
            '    - cron: "0 3 * * 1"',
            "  workflow_dispatch:",
            "permissions: {}",
            "concurrency:",
            "  group: acr-cleanup",
            "  cancel-in-progress: false",
            "jobs:",
            "  clean:",
            "    runs-on: ubuntu-latest",
            "    permissions:",
            "      contents: read",
            "      id-token: write # the job logs in to Azure with its own token: no secret is stored",
            "    steps:",
            "      - uses: actions/checkout@v7 # for the configuration file",
            "      - uses: org/acr-cleanup@v1",
            "        with:",
            "          client-id: ${{ vars.AZURE_CLIENT_ID }}",
            "          tenant-id: ${{ vars.AZURE_TENANT_ID }}",
            f"          config-file: {CONFIG}",
            '          dry-run: "true" # look at the summary of a run first, then set it to "false"',
            "      - if: always()",
            "        uses: actions/upload-artifact@v7",
            "        with:",
            "          name: acr-cleanup",
            "          path: acr-cleanup/",
        ]
    )


def _azure_pipeline(setup: Setup) -> str:
    return _joined(
        [
            "trigger: none",
            "schedules:",
            '  - cron: "0 3 * * 1"',
            "    displayName: Every Monday",
            "    branches:",
            f"      include: [{_text(setup.branch)}]",
            "    always: true # also when nothing was committed",
            "pool:",
            "  vmImage: ubuntu-latest",
            "steps:",
            "  - checkout: self # for the configuration file",
            "  - task: AcrCleanup@1",
            "    name: acr",
            "    inputs:",
            f"      azureSubscription: {_text(setup.connection)} # a service connection",
            f"      configFile: {CONFIG}",
            "      dryRun: true # look at the tab Extensions of a run first, then set it to false",
            "  - publish: acr-cleanup",
            "    artifact: acr-cleanup",
            "    condition: always()",
        ]
    )


def _text(value: str) -> str:
    """Quote a text for YAML, which reads strings of JSON."""
    return json.dumps(value)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
