"""The same rights in every format: each is valid in its language, and grants the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from acr_cleanup import cli
from acr_cleanup.access import roles
from acr_cleanup.access.roles import Command
from acr_cleanup.clusters.target import Access, ClusterSurvey, ClusterTarget
from acr_cleanup.clusters.targets import AksCluster, KubeconfigCluster, SnapshotCluster
from acr_cleanup.commands.permissions import FORMATS
from acr_cleanup.commands.rights.bicep import bicep
from acr_cleanup.commands.rights.kubernetes import kubernetes
from acr_cleanup.commands.rights.required import REGISTRY, Mode, RequiredRights, required_rights
from acr_cleanup.commands.rights.shell import shell
from acr_cleanup.commands.rights.terraform import terraform
from acr_cleanup.settings.load import load_settings
from tests.helpers.golden_files import check

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
OTHER_SUBSCRIPTION = "44444444-4444-4444-4444-444444444444"
IDENTITY = "12345678-0000-0000-0000-000000000000"
FOLDER = Path(__file__).parent / "golden"
HOSTILE = "a'b\"c\\ ${d} %{e} $(touch x) `f`"
CASES: dict[str, dict[str, Any]] = {
    "apply": {},
    "plan-abac": {"mode": Mode.ABAC, "command": Command.PLAN, "scope": "all"},
    "include-locked": {"include-locked": "true", "identity": IDENTITY},
    "restore": {"command": Command.RESTORE},
    "collect": {"command": Command.COLLECT},
    "unknown-mode": {"mode": Mode.UNKNOWN, "helm-history": "3"},
    "unknown-registry": {"known_registry": False, "include-locked": "true"},
    "hostile": {"name": HOSTILE, "require-all-clusters": "true"},
}


def company_rights(
    folder: Path,
    *further: ClusterTarget,
    mode: Mode = Mode.PLAIN,
    command: Command = Command.APPLY,
    identity: str = "",
    name: str = "aks-prod",
    known_registry: bool = True,
    **options: str,
) -> RequiredRights:
    """
    The rights for three clusters: one with Azure RBAC, one private in another subscription, one
    with a kubeconfig; and for further ones.

    `name`: of the first cluster. `known_registry`: does the configuration name its resource group?
    """
    config = folder / "acr-cleanup.yaml"
    place = f", subscription_id: {SUBSCRIPTION}, resource_group: rg-acr" if known_registry else ""
    config.write_text(
        f"container_registry: {{url: contoso.azurecr.io{place}}}\nkubernetes_clusters: {{p: {{snapshot: x}}}}\n"
    )
    settings = load_settings(config, options, {})
    clusters = (
        ClusterSurvey(AksCluster("production", name, SUBSCRIPTION, "rg-prod"), entra=True, azure_rbac=True),
        ClusterSurvey(
            AksCluster("private", "aks-private", OTHER_SUBSCRIPTION, "rg-private", Access.RUN_COMMAND),
            entra=True,
            azure_rbac=False,
            private=True,
        ),
        ClusterSurvey(KubeconfigCluster("onprem", Path("kubeconfig"), "admin")),
        *map(ClusterSurvey, further),
    )
    return required_rights(settings, clusters, mode=mode, command=command, identity=identity)


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def rights(request: pytest.FixtureRequest, tmp_path: Path) -> RequiredRights:
    """Rights of different commands, registries and names."""
    return company_rights(tmp_path, **request.param)


# -- words ---------------------------------------------------------------------------------------


class OfFile(SnapshotCluster):
    """A further kind of target."""

    is_recorded = False

    def describe(self) -> str:
        return f"the file {self.path}"


class OfArc(OfFile):
    """One that is read through Azure Resource Manager."""

    in_azure = True


def test_each_kind_of_target_says_how_it_is_read(tmp_path: Path) -> None:
    entra = tmp_path / "kubeconfig"
    entra.write_text(
        "{contexts: [{name: a, context: {cluster: a, user: a}}], current-context: a, clusters: [{name: a, cluster: "
        "{server: 'https://a'}}], users: [{name: a, user: {exec: {command: kubelogin, args: [get-token, --server-id, "
        "6dae42f8-4368-4678-94ff-3960e28e3630]}}}]}"
    )
    file, recorded = Path("usage.json"), SnapshotCluster("recorded", Path("usage.json"))
    targets = (KubeconfigCluster("entra", entra), recorded, OfFile("file", file), OfArc("arc", file))

    text = " ".join(shell(company_rights(tmp_path, *targets)).replace("#", " ").split())

    assert "Cluster onprem: needs no rights in Azure, because it is read as context admin of kubeconfig." in text
    assert f"if the cluster uses Azure RBAC, give it {roles.RBAC_READER.name}." in text.partition("Cluster entra:")[2]
    assert "Cluster recorded: read from a usage snapshot." in text
    assert "Cluster file: needs no rights in Azure, because it is read as the file usage.json." in text
    assert "Cluster arc: it is read as the file usage.json. Its rights in Azure are not known here." in text


# -- shell ---------------------------------------------------------------------------------------


def test_shell_script_passes_shellcheck(rights: RequiredRights) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian package shellcheck)")
    text = shell(rights)
    command = ["shellcheck", "--shell=sh", "--severity=style", "-"]
    if "${d}" in text:
        # SC2016: nothing in the hostile name expands, and that is meant.
        command.insert(1, "--exclude=SC2016")
    checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_shell_script_requires_an_identity(tmp_path: Path) -> None:
    """It runs no command without one. The identity may be an option, a variable, or printed."""
    script = shell(company_rights(tmp_path, command=Command.COLLECT))
    assert script.startswith("set -eu\n")
    assert ': "${identity:?' in script

    def first_lines(text: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        head = text.partition("\n\n")[0]
        command = ["sh", "-c", f'{head}\necho "for $identity"', "rights.sh", *arguments]
        return subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
        )

    refused = first_lines(script)
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert "--identity OBJECT_ID" in refused.stderr
    assert first_lines(script, "--identity", IDENTITY).stdout == f"for {IDENTITY}\n"
    assert first_lines(script, identity=IDENTITY).stdout == f"for {IDENTITY}\n"
    assert first_lines(script, "--identity", "").returncode != 0
    assert first_lines(script, "--identity", "a/&b").returncode == 2
    printed = shell(company_rights(tmp_path, command=Command.COLLECT, identity=IDENTITY))
    assert first_lines(printed).stdout == f"for {IDENTITY}\n"
    assert first_lines(printed, identity="other").stdout == "for other\n"


def test_shell_script_names_the_principal_by_object_id(rights: RequiredRights) -> None:
    """An application that was created a second ago is not found by `--assignee`."""
    assignments = [line for line in shell(rights).splitlines() if "az role assignment create" in line]
    assert assignments
    for line in assignments:
        assert '--assignee-object-id "$identity" --assignee-principal-type ServicePrincipal' in line


# -- Terraform -----------------------------------------------------------------------------------


def unquote(value: Any) -> Any:
    """Return the text of a quoted HCL string, without its escapes."""
    if isinstance(value, list):
        return [unquote(item) for item in value]
    if isinstance(value, str) and value.startswith('"'):
        text = value[1:-1].replace("$${", "${").replace("%%{", "%{")
        return re.sub(r"\\(.)", r"\1", text)
    return value


def blocks_of(document: Any, kind: str) -> list[dict[str, Any]]:
    """Return the bodies of all resources of one type."""
    return [
        {name: unquote(value) for name, value in body.items()}
        for resource in document.get("resource", ())
        for of_type, named in resource.items()
        if unquote(of_type) == kind
        for body in named.values()
    ]


def test_terraform_parses_and_grants_the_same(rights: RequiredRights) -> None:
    document = hcl2.loads(terraform(rights) + "\n")
    assigned = blocks_of(document, "azurerm_role_assignment")
    scopes = [grant.scope or "${var.registry_id}" for grant in rights.grants]
    assert [body["scope"] for body in assigned] == scopes
    assert all(body["principal_type"] == "ServicePrincipal" for body in assigned)
    built_in = [grant.role.name for grant in rights.grants if not grant.role.is_custom]
    assert [body["role_definition_name"] for body in assigned if "role_definition_name" in body] == built_in
    definitions = {body["name"]: body for body in blocks_of(document, "azurerm_role_definition")}
    custom = {grant.role for grant in rights.grants if grant.role.is_custom}
    assert definitions.keys() == {role.name for role in custom}
    for role in custom:
        (permissions,) = definitions[role.name]["permissions"]
        for name in ("actions", "data_actions", "not_data_actions"):
            assert tuple(unquote(permissions[name])) == getattr(role, name)


# -- Bicep ---------------------------------------------------------------------------------------


def assert_balanced(text: str) -> None:
    """Assert that brackets match outside strings and comments, and that each string ends."""
    stack: list[str] = []
    for line in text.splitlines():
        in_string = False
        position = 0
        while position < len(line):
            character = line[position]
            if in_string:
                if character == "\\":
                    position += 1
                elif line.startswith("${", position):
                    position = line.index("}", position)
                elif character == "'":
                    in_string = False
            elif line.startswith("//", position):
                break
            elif character == "'":
                in_string = True
            elif character in "([{":
                stack.append(character)
            elif character in ")]}":
                assert stack, line
                assert stack.pop() + character in {"()", "[]", "{}"}, line
            position += 1
        assert not in_string, line
    assert stack == []


def test_bicep_structure_is_balanced(rights: RequiredRights) -> None:
    text = bicep(rights)
    assert_balanced(text)
    symbols = re.findall(r"^resource (\w+) '([^']+)' = \{$", text, re.MULTILINE)
    assert len({name for name, _ in symbols}) == len(symbols)
    assert [kind.partition("@")[0] for _, kind in symbols].count("Microsoft.Resources/deployments") == len(
        rights.grants
    )
    for grant in rights.grants:
        if not grant.role.is_custom:
            assert f"'{grant.role.id}'" in text
    assert ("param registryResourceGroup string" in text) == any(grant.scope == REGISTRY for grant in rights.grants)


@pytest.mark.parametrize("case", ["include-locked", "unknown-registry"])
def test_bicep_has_the_golden_text(case: str, tmp_path: Path) -> None:
    check(f"{case}.bicep", bicep(company_rights(tmp_path, **CASES[case])), FOLDER)


def test_bicep_deploys_into_the_place_of_each_resource(tmp_path: Path) -> None:
    text = bicep(company_rights(tmp_path))
    places = re.findall(r"subscriptionId: '([^']+)'\n  resourceGroup: '([^']+)'", text)
    assert set(places) == {
        (SUBSCRIPTION, "rg-acr"),
        (SUBSCRIPTION, "rg-prod"),
        (OTHER_SUBSCRIPTION, "rg-private"),
    }


# -- Kubernetes ----------------------------------------------------------------------------------


def test_kubernetes_role_is_bound_to_the_identity(tmp_path: Path) -> None:
    """Only clusters without Azure RBAC are named."""
    text = kubernetes(company_rights(tmp_path, identity=IDENTITY))
    role, binding = yaml.safe_load_all(text)
    assert role["kind"] == "ClusterRole"
    assert binding["subjects"][0]["name"] == IDENTITY
    assert "these clusters: private, onprem" in " ".join(text.replace("#", " ").split())


def test_kubernetes_role_is_a_comment_without_clusters(tmp_path: Path) -> None:
    text = kubernetes(company_rights(tmp_path, command=Command.RESTORE))
    assert text == "# No cluster needs a ClusterRole."


# -- all formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("format_name", FORMATS)
def test_formats_have_no_conditional_rights(format_name: str, tmp_path: Path) -> None:
    """A right that may not be needed is at most a comment."""
    rights = company_rights(tmp_path, mode=Mode.UNKNOWN)
    text = FORMATS[format_name](rights)
    marks = ("#", "//")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(marks))
    assert roles.ABAC_CONTRIBUTOR.name not in code


def test_command_line_offers_each_format() -> None:
    for name in FORMATS:
        parsed = cli.parser().parse_args(["permissions", "--format", name, "--for", "plan"])
        assert (parsed.format, parsed.for_command) == (name, "plan")


def test_invalid_identity_has_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["permissions", "--registry", "contoso", "--identity", "me@contoso.com"], {}) == 2
    assert "is not an object id" in capsys.readouterr().err
