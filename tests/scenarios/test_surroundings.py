"""The machine on which the tool runs: logins, certificates, proxies, clouds, configuration files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from acr_cleanup.errors import ConfigurationError
from tests.helpers.stage import BOTH, OLD, REPOSITORY, Scenario, ScenarioTable, Stage, play, staged_over_tls

pytestmark = pytest.mark.extended

scenarios = ScenarioTable()
UNKNOWN = "77777777-7777-7777-7777-777777777777"

# -- logins ---------------------------------------------------------------------------------------


@scenarios.refuses("the client secret is wrong", silent=("not-the-secret",))
def wrong_client_secret_is_named_but_not_shown(stage: Stage) -> None:
    os.environ["AZURE_CLIENT_SECRET"] = "not-the-secret"


@scenarios.refuses("tenant")
def wrong_tenant_is_named(stage: Stage) -> None:
    os.environ["AZURE_TENANT_ID"] = UNKNOWN


@scenarios.refuses("AZURE_CLIENT_ID")
def unknown_client_is_named(stage: Stage) -> None:
    os.environ["AZURE_CLIENT_ID"] = UNKNOWN


@scenarios.refuses("az login")
def missing_login_advises_to_log_in(stage: Stage) -> None:
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
        del os.environ[f"AZURE_{name}"]
    # Otherwise the SDK asks the endpoint of managed identities, which is not a loopback address.
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "AzureCliCredential"
    os.environ["PATH"] = "/nonexistent"


@scenarios.refuses("AZURE_CLIENT_SECRET is empty")
def empty_client_secret_differs_from_a_missing_one(stage: Stage) -> None:
    os.environ["AZURE_CLIENT_SECRET"] = ""


# -- certificates and proxies ---------------------------------------------------------------------


for variable, other in (("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")):

    @scenarios.deletes(*BOTH, case=variable, both_faces=True)
    def either_variable_makes_all_clients_trust_an_authority(stage: Stage, other: str = other) -> None:
        del os.environ[other]


@scenarios.refuses("SSL_CERT_FILE", over_tls=True)
def untrusted_authority_advises_to_name_it(stage: Stage) -> None:
    del os.environ["SSL_CERT_FILE"], os.environ["REQUESTS_CA_BUNDLE"]


@scenarios.refuses("HTTPS_PROXY", over_tls=True)
def missing_proxy_is_named_in_the_remedy(stage: Stage) -> None:
    os.environ["HTTPS_PROXY"] = "http://someone:pass-word@127.0.0.1:1"
    os.environ["NO_PROXY"] = ""


@scenarios.refuses("container_registry.url")
def registry_unknown_to_the_proxy_names_its_setting(stage: Stage) -> None:
    if stage.world.face == "direct":
        stage.world.registry.login_server = "localhost:1"
    stage.settings(container_registry={"url": "nosuch.azurecr.io" if stage.world.face == "proxy" else "localhost:1"})
    stage.pod(("nosuch.azurecr.io" if stage.world.face == "proxy" else "localhost:1") + "/a/b:1")


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_surroundings(
    scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Scenarios change these variables after the world is served. Setting them here restores them.
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", "")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "")
    await play(scenario, face, tmp_path, monkeypatch)


# -- clouds ---------------------------------------------------------------------------------------


async def requested_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, domain: str, **keys: object
) -> set[str]:
    """
    Clean up a registry in another cloud, and return the hosts that the tool asked for.

    `suffix`: of the registry's host. `domain`: of the cluster's API server.
    """
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        stage.registry.login_server = f"contoso.{suffix}"
        stage.cluster.domain = domain
        # The ordinary workload names a registry in the public cloud.
        stage.cluster.objects.clear()
        stage.pod(stage.image("2.0"))
        # The server's certificate has the names that the world had when it was served.
        stage.settings(**keys)
        config = stage.config or {}
        config["container_registry"]["url"] = f"contoso.{suffix}"
        ran = await stage.tool.apply(config)
        hosts = {request.path.partition(":")[0] for request in stage.world.matching(service="proxy")}
        assert ran.code == 0, ran.out + ran.err
        assert set(stage.repository.tags) == {"2.0"}
        return hosts


GOVERNMENT = {"login.microsoftonline.us", "management.usgovcloudapi.net", "contoso.azurecr.us"}
CHINA = {"login.chinacloudapi.cn", "management.chinacloudapi.cn", "contoso.azurecr.cn"}


async def test_arm_environment_selects_us_government(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARM_ENVIRONMENT", "usgovernment")
    hosts = await requested_hosts(tmp_path, monkeypatch, "azurecr.us", "cx.aks.containerservice.azure.us")

    assert hosts > GOVERNMENT
    assert not any(host.endswith((".com", "azmk8s.io")) for host in hosts)


async def test_environment_key_selects_china(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = await requested_hosts(
        tmp_path, monkeypatch, "azurecr.cn", "cx.prod.service.azk8s.cn", environment="AzureChinaCloud"
    )

    assert hosts > CHINA
    assert not any(host.endswith((".com", "azmk8s.io")) for host in hosts)


async def test_azure_authority_host_overrides_the_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch, "direct") as stage:
        config = stage.tool.emulator.config()
        del config["cloud"]["authority"]
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", stage.tool.emulator.authority_url.removeprefix("https://"))
        ran = await stage.tool.apply(config)

        assert ran.code == 0
        assert ran.deleted == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


async def test_no_proxy_bypasses_a_missing_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com, localhost")
    async with staged_over_tls(tmp_path, monkeypatch, "direct") as stage:
        assert (await stage.tool.apply()).code == 0


# -- configuration --------------------------------------------------------------------------------


async def test_second_run_has_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        await stage.tool.apply()
        deletions = stage.world.count(service="acr", method="DELETE")
        again = await stage.tool.apply()

        assert (again.code, again.planned, again.report["verdict"]) == (0, set(), "applied")
        assert stage.world.count(service="acr", method="DELETE") == deletions


async def test_registry_url_ignores_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        stage.settings(container_registry={"url": "https://Contoso.AzureCR.io/"})
        ran = await stage.tool.apply(stage.config)

        assert ran.deleted == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


async def test_two_names_for_one_cluster_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second entry was probably copied. The cluster that it meant would not be protected."""
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config()
        same = dict(config["kubernetes_clusters"]["production"])
        same["resource_group"] = same["resource_group"].upper()
        config["kubernetes_clusters"]["staging"] = same
        with pytest.raises(ConfigurationError, match="1 problem"):
            await stage.tool.apply(config)


async def test_default_limit_of_500_deletions_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged_over_tls(tmp_path, monkeypatch) as stage:
        for number in range(499):
            stage.registry.tag(REPOSITORY, f"n{number}", stage.digest("1.0"), OLD)
        refused = await stage.tool.apply()
        stage.repository.untag("n498")
        applied = await stage.tool.apply()

        assert (refused.code, refused.report["counts"]["planned"], refused.deleted) == (3, 501, set())
        assert (applied.code, applied.report["counts"]["deleted"]) == (0, 500)
        assert stage.world.count(service="acr", method="DELETE") == 2
