"""Services of Azure in what a person reads: console, summary, explanations, rights, snapshots, the second look."""

from __future__ import annotations

import html
import io
import json
import os
from pathlib import Path

import pytest

from acr_cleanup.access import roles
from acr_cleanup.access.roles import Command
from acr_cleanup.commands.collect import collect
from acr_cleanup.emulator.arm_shapes import describe_registry
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.services import SUBSCRIPTION, resource
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings.load import load_settings
from tests.helpers.explanations import run_explain, run_explain_report
from tests.helpers.permission_scripts import print_script
from tests.helpers.stage import Stage, shorten_pauses, staged

OTHER = "99999999-9999-9999-9999-999999999999"


def summary(stage: Stage) -> str:
    """The text of summary.md, without its marks."""
    text = (stage.tool.folder / "report" / "summary.md").read_text(encoding="utf-8")
    return plain(html.unescape(text).replace("\u200b", ""))


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


async def test_unread_parts_are_on_console_and_in_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        state, registry_id = stage.world.services, describe_registry(stage.registry)["id"]
        state.task(registry_id, "nightly", script="steps:\n- cmd: acr purge --ago 1d\n", schedule="0 1 * * *")
        server = {"url": "https://api.aro.example:6443/"}
        state.add(resource("Microsoft.RedHatOpenShift/openShiftClusters/aro"), {"apiserverProfile": server})
        state.add(resource("Microsoft.Kubernetes/connectedClusters/edge"), {"connectivityStatus": "Connected"})
        state.add(resource("Microsoft.Batch/batchAccounts/hpc"), {})
        state.add(f"{registry_id}/importPipelines/from-lab", {"source": {}, "options": None})
        state.assign("p-1", "AcrPull", "Microsoft.ContainerRegistry/registries/pull/read")
        ran = await stage.tool.plan(stage.config, subscriptions=f"{SUBSCRIPTION}, {OTHER}")
        for text in (
            "the task nightly runs acr purge (schedule 0 1 * * *)",
            "The OpenShift cluster aro (https://api.aro.example:6443/) is not in the configuration.",
            "The Arc cluster edge is not in the configuration.",
            "Collect a usage snapshot on its site",
            "Tasks of the Batch account hpc may name images",
            "The pipeline from-lab transfers images",
            f"Subscription {OTHER} may have services that use the registry and are not seen",
            f"on /subscriptions/{OTHER}",
            "May pull, and is not read",
            "p-1",
            "AcrPull",
        ):
            assert text in plain(ran.out + ran.err)
            assert text in summary(stage)


async def test_explanation_names_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.world.services.container_app("shop-api", stage.image("1.0"))
        explained = await run_explain(stage, "shop/web:1.0")
        assert explained.code == 0
        assert f"azure:{SUBSCRIPTION}/ContainerApp/shop-api" in explained.out
        await stage.tool.plan(stage.config)
        assert "ContainerApp/shop-api" in run_explain_report(stage, "shop/web:1.0").out


async def test_explanation_warns_of_an_unread_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.fault(service="arm", path="Microsoft.App/containerApps$", status=500)
        explained = await run_explain(stage, "shop/web:1.0")
        assert "Microsoft.App/containerApps" in explained.out


@pytest.mark.parametrize(
    ("options", "assigned"),
    [
        ({"services": "container-apps"}, True),
        ({"require-all-services": "true"}, True),
        ({}, False),
        ({"services": "off"}, False),
    ],
)
async def test_permissions_print_reader_for_services(
    options: dict[str, str], assigned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `auto` it is printed as a comment, and not for services that are off."""
    async with staged(tmp_path, monkeypatch) as stage:
        script = await print_script(stage, None, Command.PLAN, **options)
        scope = f"/subscriptions/{SUBSCRIPTION}"
        assert ((roles.READER.name, scope) in script.assignments()) is assigned
        assert ("Read other services of Azure" in script.text) is (options.get("services") != "off")


async def test_rights_of_permissions_see_whole_subscriptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Reader on the subscription, nothing is left out, and the run says so."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.world.services.site("shop", f"DOCKER|{stage.image('1.0')}")
        ran = await stage.tool.plan(stage.config, **{"require-all-services": "true"})
        assert ran.code == 0
        assert ran.planned == {"shop/web:1.1"}


async def test_type_that_appears_after_the_plan_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The subscription registers the provider of a type between the first look and the second."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.world.services.unregistered = {"Microsoft.Web/sites"}

        async def register(_: object) -> None:
            stage.world.services.unregistered = set()
            stage.world.services.site("shop", f"DOCKER|{stage.image('1.0')}")

        stage.world.faults.append(Fault(service="acr", path="/v2/|/acr/v1/", times=1, after=2, after_handler=register))
        ran = await stage.tool.apply(stage.config)
        assert ran.outcomes("1.0") == {"in use now"}
        assert ran.outcomes("1.1") == {"deleted"}


async def collected(stage: Stage, **settings: object) -> tuple[int, Path]:
    """Collect a snapshot with services; return the exit code and the file."""
    folder = stage.tool.folder
    config, snapshot = folder / "collect.json", folder / "usage.json"
    config.write_text(json.dumps({**stage.tool.emulator.config(), **settings}), encoding="utf-8")
    loaded = load_settings(config, {"report-dir": str(folder / "c")}, os.environ)
    runtime = Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={})
    return await collect(loaded, runtime, os.environ, out=snapshot), snapshot


@pytest.mark.parametrize("unseen", ["failed list", "required subscription"])
async def test_unread_services_block_runs_with_their_snapshot(
    unseen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pauses(monkeypatch)
    async with staged(tmp_path, monkeypatch) as stage:
        stage.world.services.container_app("shop-api", stage.image("1.0"))
        if unseen == "failed list":
            stage.fault(service="arm", path="/revisions$", status=500)
        else:
            stage.world.access.withhold("Microsoft.App/jobs/read", f"/subscriptions/{SUBSCRIPTION}")
        code, snapshot = await collected(
            stage, services=["container-apps"], require_all_services=unseen == "required subscription"
        )
        assert code == 3
        clusters = stage.tool.emulator.config()["kubernetes_clusters"]
        stage.settings(kubernetes_clusters={**clusters, f"azure:{SUBSCRIPTION}": {"snapshot": str(snapshot)}})
        ran = await stage.tool.apply(stage.config, services="off")
        assert ran.code == 3
        assert stage.tool.left("shop/web") == {"1.0", "1.1", "2.0"}
