"""Where the tool runs: clouds, authorities, proxies, logins, configuration files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from acr_cleanup.errors import ConfigurationError
from tests.helpers.stage import OLD, REPOSITORY, Scenario, Stage, Table, play, staged

world = Table()
BOTH = ("1.0", "1.1")

# -- logins ---------------------------------------------------------------------------------------------------


@world("a wrong secret is one sentence, and is not shown", code=3, says=("the client secret is wrong",),
       silent=("not-the-secret",))  # fmt: skip
def _(stage: Stage) -> None:
    os.environ["AZURE_CLIENT_SECRET"] = "not-the-secret"


@world("a wrong tenant is one sentence", code=3, says=("tenant",))
def _(stage: Stage) -> None:
    os.environ["AZURE_TENANT_ID"] = "77777777-7777-7777-7777-777777777777"


@world("a client that the tenant does not know is one sentence", code=3, says=("AZURE_CLIENT_ID",))
def _(stage: Stage) -> None:
    os.environ["AZURE_CLIENT_ID"] = "77777777-7777-7777-7777-777777777777"


@world("without any login the remedy is to log in", code=3, says=("az login",))
def _(stage: Stage) -> None:
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
        del os.environ[f"AZURE_{name}"]
    # Without this the endpoint of managed identities would be asked, which is no loopback address.
    os.environ["AZURE_TOKEN_CREDENTIALS"] = "AzureCliCredential"
    os.environ["PATH"] = "/nonexistent"


@world("an empty secret is not an absent one", code=3, says=("AZURE_CLIENT_SECRET is empty",))
def _(stage: Stage) -> None:
    os.environ["AZURE_CLIENT_SECRET"] = ""


# -- trust and ways -------------------------------------------------------------------------------------------


for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
    for _face in ("one face", "the other face"):

        @world(f"a private authority named by {variable} alone is trusted by every client, on {_face}", *BOTH)
        def _(stage: Stage, variable=variable) -> None:  # type: ignore[no-untyped-def]
            del os.environ[variable]

    # So that both variables meet both faces.
    world.rows.append(world.rows.pop(-2))


@world("without the private authority the remedy is to name it", code=3, says=("SSL_CERT_FILE",))
def _(stage: Stage) -> None:
    del os.environ["SSL_CERT_FILE"], os.environ["REQUESTS_CA_BUNDLE"]


@world("a proxy that is not there is named in every remedy", code=3, says=("HTTPS_PROXY",))
def _(stage: Stage) -> None:
    os.environ["HTTPS_PROXY"] = "http://someone:pass-word@127.0.0.1:1"
    os.environ["NO_PROXY"] = ""


@world("a registry that the proxy does not know is one sentence", code=3, says=("container_registry.url",))
def _(stage: Stage) -> None:
    if stage.world.face == "direct":
        stage.world.registry.login_server = "localhost:1"
    stage.settings(container_registry={"url": "nosuch.azurecr.io" if stage.world.face == "proxy" else "localhost:1"})
    stage.pod(("nosuch.azurecr.io" if stage.world.face == "proxy" else "localhost:1") + "/a/b:1")


# -- clouds ---------------------------------------------------------------------------------------------------


async def hosts_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, domain: str, **keys: object
) -> set[str]:
    """Which hosts a run in another cloud asks for, once it has done its work there."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.login_server = f"contoso.{suffix}"
        stage.cluster.domain = domain
        # What the ordinary world runs is in the public cloud.
        stage.cluster.objects.clear()
        stage.pod(stage.image("2.0"))
        # The server's certificate is made for the names it knew when it started.
        stage.settings(**keys)
        config = stage.config or {}
        config["container_registry"]["url"] = f"contoso.{suffix}"
        ran = await stage.tool.apply(config)
        asked = {each.path.partition(":")[0] for each in stage.world.matching(service="proxy")}
        assert ran.code == 0, ran.out + ran.err
        assert set(stage.repository.tags) == {"2.0"}
        return asked


GOVERNMENT = {"login.microsoftonline.us", "management.usgovcloudapi.net", "contoso.azurecr.us"}
CHINA = {"login.chinacloudapi.cn", "management.chinacloudapi.cn", "contoso.azurecr.cn"}


async def test_arm_environment_leads_to_the_us_government(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARM_ENVIRONMENT", "usgovernment")
    asked = await hosts_asked(tmp_path, monkeypatch, "azurecr.us", "cx.aks.containerservice.azure.us")

    assert asked > GOVERNMENT
    assert not any(host.endswith((".com", "azmk8s.io")) for host in asked)


async def test_the_environment_key_leads_to_china(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = await hosts_asked(
        tmp_path, monkeypatch, "azurecr.cn", "cx.prod.service.azk8s.cn", environment="AzureChinaCloud"
    )

    assert asked > CHINA
    assert not any(host.endswith((".com", "azmk8s.io")) for host in asked)


async def test_azure_authority_host_wins_over_the_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch, "direct") as stage:
        config = stage.tool.emulator.config()
        del config["cloud"]["authority"]
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", stage.tool.emulator.authority_url.removeprefix("https://"))
        ran = await stage.tool.apply(config)

        assert ran.code == 0
        assert ran.deleted == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


async def test_no_proxy_leads_past_a_proxy_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com, localhost")
    async with staged(tmp_path, monkeypatch, "direct") as stage:
        assert (await stage.tool.apply()).code == 0


# -- configuration --------------------------------------------------------------------------------------------


async def test_a_second_run_finds_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply()
        deletions = stage.world.count(service="acr", method="DELETE")
        again = await stage.tool.apply()

        assert (again.code, again.planned, again.report["verdict"]) == (0, set(), "applied")
        assert stage.world.count(service="acr", method="DELETE") == deletions


async def test_a_name_of_the_registry_in_another_case_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.settings(container_registry={"url": "https://Contoso.AzureCR.io/"})
        ran = await stage.tool.apply(stage.config)

        assert ran.deleted == {f"{REPOSITORY}:1.0", f"{REPOSITORY}:1.1"}


async def test_two_names_for_one_cluster_are_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most likely the second was copied and meant another cluster, which nothing would protect."""
    async with staged(tmp_path, monkeypatch) as stage:
        config = stage.tool.emulator.config()
        same = dict(config["kubernetes_clusters"]["production"])
        same["resource_group"] = same["resource_group"].upper()
        config["kubernetes_clusters"]["staging"] = same
        with pytest.raises(ConfigurationError, match="1 problem"):
            await stage.tool.apply(config)


async def test_the_limit_of_five_hundred_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        for number in range(499):
            stage.registry.tag(REPOSITORY, f"n{number}", stage.digest("1.0"), OLD)
        refused = await stage.tool.apply()
        stage.repository.untag("n498")
        applied = await stage.tool.apply()

        assert (refused.code, refused.report["counts"]["planned"], refused.deleted) == (3, 501, set())
        assert (applied.code, applied.report["counts"]["deleted"]) == (0, 500)
        assert stage.world.count(service="acr", method="DELETE") == 2


@pytest.mark.parametrize(("scenario", "face"), world.parameters())
async def test_surroundings(scenario: Scenario, face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Scenarios change the environment after the world stands; what they change is put back.
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTPS_PROXY", "")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "")
    await play(scenario, face, tmp_path, monkeypatch)
