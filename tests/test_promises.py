"""
The promises of the tool in their order: one test each, through the whole tool.

Each test is the shortest scenario that would show the promise broken. Drawn registries, faults and
concurrent changes are in tests/scenarios: test_many_worlds.py, test_faults.py, test_interleaved.py.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.emulator.registry.state import OCI_MANIFEST
from acr_cleanup.records.journal_reader import read_journal
from tests.helpers.in_memory_world import connect_in_memory, run_in_virtual_time, serve_in_memory
from tests.helpers.restore_runs import run_restore
from tests.helpers.tool_runs import RunResult, Tool

OLD, YOUNG = timedelta(days=100), timedelta(days=1)
HOST = "contoso.azurecr.io"


class Shop:
    """`web:2` runs; `web:1` and `web:0` are old and unused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(face="proxy")
        self.cluster = self.world.clusters["production"] = ClusterState("aks-prod", auth="token")
        self.registry = self.world.registry
        for tag in ("0", "1", "2"):
            self.push(tag)
        self.cluster.add(build.pod("shop", "web", [f"{HOST}/web:2"], image_ids=[""]))

    def push(self, tag: str | None, age: timedelta = OLD) -> str:
        return self.registry.push("web", tag, age=age)

    def digest(self, tag: str) -> str:
        return self.registry.repositories["web"].tags[tag].digest

    @property
    def tags(self) -> set[str]:
        return set(self.registry.repositories["web"].tags)

    @property
    def manifests(self) -> set[str]:
        return set(self.registry.repositories["web"].manifests)

    def at(self, path: str, do: Callable[[], object], **more: Any) -> None:
        """Call `do` right before a request for `path` is answered."""

        async def hook(_: web.Request) -> None:
            do()

        self.world.faults.append(Fault(service="acr", path=path, before=hook, times=1, **more))

    def play(self, work: Callable[[Tool], Awaitable[RunResult]]) -> RunResult:
        async def run() -> RunResult:
            async with serve_in_memory(self.world, self.folder) as tool:
                return await work(tool)

        return run_in_virtual_time(run)

    def apply(self, **options: str) -> RunResult:
        return self.play(lambda tool: tool.apply(**options))

    def plan(self, **options: str) -> RunResult:
        return self.play(lambda tool: tool.plan(**options))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    connect_in_memory(monkeypatch)
    return Shop(tmp_path)


def test_1_what_we_cannot_see_we_keep(shop: Shop) -> None:
    """
    One kind that cannot be listed forbids every deletion.

    The plan is still shown, with cluster, call, status and remedy.
    """
    shop.cluster.forbidden.add("cronjobs.batch")
    ran = shop.apply()

    assert ran.code == 3
    assert shop.tags == {"0", "1", "2"}
    assert ran.planned == {"web:0", "web:1"}
    [blocker] = ran.blockers
    assert (blocker["where"], "cronjobs" in blocker["call"], "403" in blocker["seen"]) == ("production", True, True)
    assert blocker["remedy"]

    shop.cluster.forbidden.clear()
    assert shop.apply().deleted == {"web:0", "web:1"}


def test_1_list_cut_short_or_empty_for_a_reason_is_unread(shop: Shop) -> None:
    """Empty is not the same as unread."""
    page = "^/api/v1/pods$"
    for fault in (
        Fault(service="kubernetes/aks-prod", path=page, truncate=0.5),
        Fault(service="kubernetes/aks-prod", path=page, status=500),
        Fault(service="kubernetes/aks-prod", path=page, reset=True),
        Fault(service="arm", path="managedClusters/aks-prod", status=404),
    ):
        shop.world.faults[:] = [fault]
        ran = shop.apply()
        assert (ran.code, shop.tags, fault.hits > 0) == (3, {"0", "1", "2"}, True), ran.out
        assert all(blocker["where"] == "production" and blocker["remedy"] for blocker in ran.blockers)
    shop.world.faults.clear()
    assert shop.apply().deleted == {"web:0", "web:1"}


def test_2_used_means_used(shop: Shop) -> None:
    """By tag or digest, spec or status, in suspended workloads, and for a rollback."""
    used = {tag: shop.push(tag) for tag in ("tag", "pinned", "reported", "init", "suspended", "rollback")}
    image = {tag: f"{HOST}/web:{tag}" for tag in used} | {"pinned": f"{HOST}/web@{used['pinned']}"}
    reported = build.pod("shop", "reported", [f"{HOST}/web:2"], image_ids=[f"{HOST}/web@{used['reported']}"])
    shop.cluster.add(
        build.pod("shop", "tag", [image["tag"]], image_ids=[""]),
        build.daemonset("shop", "pinned", [image["pinned"]]),
        reported,
        build.deployment("shop", "init", ["ghcr.io/x:1"], init=[image["init"]], replicas=0),
        build.cronjob("shop", "suspended", [image["suspended"]], suspend=True),
        build.replicaset("shop", "web-1", [image["rollback"]], replicas=0, owner=("Deployment", "web")),
    )
    ran = shop.apply()

    assert (ran.code, shop.tags) == (0, {"2", *used})


def test_2_what_services_use_is_used(shop: Shop) -> None:
    """Also what one click would activate again."""
    for tag in ("app", "old-revision", "stopped"):
        shop.push(tag)
    services = shop.world.services
    app = services.container_app("shop", f"{HOST}/web:app")
    services.revision(app, "shop--0", f"{HOST}/web:old-revision", active=False)
    services.container_group("month-end", f"{HOST}/web:stopped", state="Stopped")
    assert shop.apply().deleted == {"web:0", "web:1"}
    assert shop.apply(services="off").deleted == {"web:app", "web:old-revision", "web:stopped"}


def test_2_mentioned_means_kept(shop: Shop) -> None:
    """Any object that names a repository and one of its tags keeps the tag, however it writes them."""
    for tag in ("3.1", "3.2", "3.3", "3.4"):
        shop.push(tag)
    objects = (
        build.configmap("shop", "values", {"values.yaml": f"image:\n  repository: {HOST}/web\n  tag: '3.1'\n"}),
        build.custom_object(
            "contoso.example/v1", "Widget", "shop", "split", {"registry": HOST, "name": "web", "version": "3.2"}
        ),
        build.configmap("shop", "script", {"run.sh": f"docker pull {HOST}/web:3.3 && echo done"}),
    )
    shop.cluster.add(*objects)
    ran = shop.apply()
    assert (ran.code, shop.tags) == (0, {"2", "3.1", "3.2", "3.3"})


def test_3_graphs_stay_whole(shop: Shop) -> None:
    """
    A running child of a nested index keeps the outer index.

    An unreadable manifest keeps every manifest.
    """
    children = [shop.push(None), shop.push(None)]
    inner = shop.registry.push_index("web", None, children=children, age=OLD)
    outer = shop.registry.push_index("web", "outer", children=[inner], age=OLD)
    signature = shop.registry.push_referrer("web", outer, age=OLD)
    shop.cluster.add(build.pod("shop", "x", [f"{HOST}/web:2"], image_ids=[children[0]]))
    ran = shop.apply()
    assert (ran.code, shop.tags) == (0, {"2", "outer"})
    assert shop.manifests == {shop.digest("2"), outer, inner, signature, *children}

    ghost, old = shop.registry.push_index("web", "ghost", children=[shop.push(None)], age=OLD), shop.push("old")
    shop.registry.ghost("web", ghost)
    ran = shop.apply()
    assert (ran.code, shop.tags) == (0, {"2", "outer", "ghost"})
    assert {ghost, old} <= shop.manifests


def test_4_two_verbs(shop: Shop) -> None:
    """
    A manifest with a kept tag loses only its other tag.

    No other request changes the registry.
    """
    shop.registry.tag("web", "alias", shop.digest("2"), OLD)
    shop.registry.tag("web", "fresh", shop.digest("1"), YOUNG)
    ran = shop.apply()

    assert (ran.deleted, shop.tags) == ({"web:0", "web:1", "web:alias"}, {"2", "fresh"})
    assert ran.report["counts"]["deleted_manifests"] == 1
    changing = [
        request for request in shop.world.matching(service="acr") if request.method not in {"GET", "HEAD", "POST"}
    ]
    assert sorted(request.path.rpartition("/")[2][:6] for request in changing) == ["1", "alias", "sha256"]
    assert {request.method for request in changing} == {"DELETE"}
    assert all(request.path.startswith("/oauth2/") for request in shop.world.matching(service="acr", method="POST"))


def test_5_rules_only_add_reasons_to_keep(shop: Shop) -> None:
    """One more rule, cluster or use deletes less, or the same."""
    everything = shop.plan().planned
    assert everything == {"web:0", "web:1"}
    rules = {"older_than": "200d", "repositories": "other", "include_tags": "1", "exclude_tags": "1", "keep_last": "2"}
    for rule, value in rules.items():
        assert shop.plan(**{rule.replace("_", "-"): value}).planned < everything, rule
    shop.world.clusters["test"] = ClusterState("aks-test", auth="token")
    shop.world.clusters["test"].add(build.job("shop", "x", [f"{HOST}/web:1"]))
    assert shop.plan().planned == {"web:0"}


def test_6_decide_everything_then_do_everything(shop: Shop) -> None:
    """
    A dry run is the same plan, not applied.

    Every repository is read before the first deletion.
    """
    for tag in ("1", "2"):
        shop.registry.push("api", tag, age=OLD)
    shop.cluster.add(build.pod("shop", "api", [f"{HOST}/api:2"], image_ids=[""]))
    planned = shop.plan()
    assert not shop.world.count(service="acr", method="DELETE")
    assert shop.tags == {"0", "1", "2"}

    shop.world.requests.clear()
    ran = shop.apply()
    assert ran.deleted == ran.planned == planned.planned == {"web:0", "web:1", "api:1"}
    asked = [(request.method, request.path) for request in shop.world.matching(service="acr")]
    first = next(place for place, (method, _) in enumerate(asked) if method == "DELETE")
    assert {("GET", f"/acr/v1/{name}/_tags") for name in ("web", "api")} <= set(asked[:first])


def test_7_look_once_more(shop: Shop) -> None:
    """A change between the plan and a deletion is an outcome, not an error."""
    for tag in ("gone", "used"):
        shop.push(tag)

    def change() -> None:
        shop.push("1", YOUNG)
        shop.registry.remove("web", shop.digest("gone"))
        shop.cluster.add(build.cronjob("shop", "x", [f"{HOST}/web:used"]))

    # The plan has read both lists by then.
    shop.at("^/acr/v1/web$", change)
    ran = shop.apply()

    assert ran.code == 0
    outcomes = {outcome["tag"]: outcome["outcome"] for outcome in ran.report["outcomes"] if outcome["tag"]}
    assert outcomes == {"0": "deleted", "1": "moved", "gone": "gone", "used": "in use now"}
    assert shop.tags == {"1", "2", "used"}


def test_8_say_exactly_what_happened(shop: Shop) -> None:
    """
    A failing item does not stop or miscount the others.

    A cancelled run reports what it deleted.
    """
    shop.world.faults.append(Fault(service="acr", method="DELETE", path=shop.digest("0"), status=403))
    ran = shop.apply()
    assert (ran.code, ran.deleted, shop.tags) == (1, {"web:1"}, {"0", "2"})
    assert (ran.report["counts"]["deleted"], ran.report["counts"]["failed"]) == (1, 1)

    shop.world.faults.clear()
    for tag in ("3", "4", "5"):
        shop.push(tag)
    shop.at("/manifests/", lambda: signal.raise_signal(signal.SIGTERM), method="DELETE")
    ran = shop.apply(concurrency="1")
    assert (ran.code, ran.report["verdict"]) == (143, "cancelled")
    assert ran.report["counts"]["deleted"] == 1
    assert shop.tags == {"0", "2", "3", "4", "5"} - {name.partition(":")[2] for name in ran.deleted}
    assert {outcome["outcome"] for outcome in ran.report["outcomes"] if outcome["tag"]} == {"deleted", "not attempted"}
    assert "ancelled" in (shop.folder / "report" / "summary.md").read_text(encoding="utf-8")


def test_9_foreign_text_is_hostile(shop: Shop) -> None:
    """No output contains pipeline commands, markup or secrets."""
    evil = "x\n::error::pwned\r\n##vso[task.complete]\x1b[31m<script>"
    shop.cluster.add(build.pod("shop", "evil", [f"{HOST}/web:{evil}"], image_ids=[""]))
    shop.cluster.add(build.custom_object("contoso.example/v1", "Widget", "shop", evil, {"image": f"{HOST}/web:$(T)"}))
    ran = shop.apply()

    summary = (shop.folder / "report" / "summary.md").read_text(encoding="utf-8")
    written = {path: path.read_text(encoding="utf-8") for path in (shop.folder / "report").iterdir()}
    assert ran.code == 3
    assert shop.tags == {"0", "1", "2"}
    for text in (ran.out, ran.err, summary):
        assert not [line for line in text.splitlines() if line.lstrip().startswith(("::", "##vso["))]
        assert "\x1b" not in text
    # Inside a code span, markup is plain text.
    assert "<script" not in re.sub(r"`[^`\n]*`", "", summary)
    for text in (ran.out, ran.err, *written.values()):
        assert shop.world.directory.client_secret not in text
        assert shop.cluster.token not in text
    json.loads(written[shop.folder / "report" / "report.json"])


def test_10_a_limit_stops_and_does_not_truncate(shop: Shop) -> None:
    """With one deletion more than the limit, nothing is deleted."""
    for limit in ({"max-deletions": "1"}, {"max-deletion-percent": "66"}):
        ran = shop.apply(**limit)
        assert (ran.code, shop.tags) == (3, {"0", "1", "2"})
        assert ran.planned == {"web:0", "web:1"}
        assert not shop.world.count(service="acr", method="DELETE")
    assert shop.apply(**{"max-deletions": "2", "max-deletion-percent": "67"}).deleted == {"web:0", "web:1"}


def test_11_everything_deleted_with_an_image_is_reported(shop: Shop) -> None:
    """
    The registry deletes every referrer together with its subject, images too.

    The plan, the counts and the journal name each referrer that is deleted with a manifest, and it can
    be restored. A referrer that must be kept keeps its subject.
    """
    push = partial(shop.registry.push, "web", media_type=OCI_MANIFEST)
    running, young, locked = (push(f"old-{number}", age=OLD) for number in range(3))
    referrers = {
        push("running", age=OLD, subject=running),
        push("young", age=YOUNG, subject=young),
        push("locked", age=OLD, subject=locked),
    }
    shop.registry.lock("web", "locked")
    shop.cluster.add(build.pod("shop", "running", [f"{HOST}/web:running"], image_ids=[""]))
    subject = push("converted", age=OLD)
    along = {
        push(None, age=OLD, subject=subject),
        shop.registry.push_referrer("web", subject, age=OLD),
    }
    before = shop.manifests
    ran = shop.apply(backup="true")

    assert ran.code == 0
    assert {running, young, locked, *referrers} <= shop.manifests
    deleted = before - shop.manifests
    assert deleted >= {subject, *along}
    manifests = {outcome["digest"]: outcome["outcome"] for outcome in ran.report["outcomes"] if not outcome["tag"]}
    assert {digest for digest, outcome in manifests.items() if outcome == "deleted"} == deleted
    assert ran.report["counts"]["deleted_manifests"] == len(deleted)
    journal = shop.folder / "report" / "journal.jsonl"
    entries = read_journal(journal).deletions
    assert {entry.digest for entry in entries if entry.document is not None} == deleted

    assert run_restore(shop.world, shop.folder, journal).code == 0
    assert shop.manifests == before


def test_12_evidence_only_adds_up(shop: Shop) -> None:
    """A tag that the log of the registry shows is kept. An incomplete log refuses the run."""
    logs, now = shop.world.logs, shop.world.clock()
    logs.enable()
    logs.write("Pull", now - timedelta(days=10), "web", "0")
    assert (shop.apply(**{"pulled-within": "60d"}).code, shop.tags) == (3, {"0", "1", "2"})
    logs.write("Push", now - OLD, "web", "0")
    assert shop.apply(**{"pulled-within": "60d"}).deleted == {"web:1"}
    assert shop.apply().deleted == {"web:0"}


def test_12_unread_source_that_was_asked_for_refuses(shop: Shop) -> None:
    """Each further source keeps more, and blocks if it cannot be read. Without it, the tag is deleted."""
    shop.push("3")
    shop.world.services.container_app("shop", f"{HOST}/web:3")
    ledger = shop.folder / "ledger.json"
    sources: dict[str, dict[str, str]] = {
        "services": {"services": "container-apps"},
        "ledger": {"services": "off", "ledger": str(ledger), "used-within": "14d"},
    }
    shop.cluster.add(build.pod("batch", "nightly", [f"{HOST}/web:1"]))
    shop.plan(**sources["ledger"])
    shop.cluster.remove("pods", "batch", "nightly")
    assert shop.plan(services="off").planned == {"web:0", "web:1", "web:3"}
    assert shop.plan(**sources["services"]).planned == {"web:0", "web:1"}
    assert shop.plan(**sources["ledger"]).planned == {"web:0", "web:3"}

    shop.world.faults.append(Fault(service="arm", path="Microsoft.App/containerApps", status=403))
    ledger.write_text("{", encoding="utf-8")
    for options in sources.values():
        ran = shop.apply(**options)
        assert (ran.code, shop.tags) == (3, {"0", "1", "2", "3"}), ran.out
        assert ran.blockers
    assert shop.apply(services="off").deleted == {"web:0", "web:1", "web:3"}


def test_12_keep_list_only_keeps(shop: Shop) -> None:
    assert shop.plan(keep=f"{HOST}/web:1").planned == {"web:0"}
    assert shop.plan().planned == {"web:0", "web:1"}
