"""Hostile text and values in other sources: services of Azure, cache rules, mentions, the keep list, `init`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from acr_cleanup.commands.init_files import FoundResource, Setup, configuration, trust
from acr_cleanup.commands.init_request import Ci
from acr_cleanup.emulator.arm_shapes import describe_registry
from tests.helpers.hostile_text import TEXTS
from tests.helpers.mention_builders import config_map
from tests.helpers.stage import BOTH, Stage, staged

HOSTILE = (
    "\x1b[31m::add-mask::x",
    "##vso[task.complete]",
    "<script>alert(1)</script>",
    "](https://evil.example)|`x`",
    "\u202e\u2028::error::x",
)


def assert_harmless(stage: Stage, *texts: str) -> None:
    """Fail if a text, or the summary, has a control character, a command or markup of HOSTILE."""
    summary = (stage.tool.folder / "report" / "summary.md").read_text("utf-8")
    page = (stage.tool.folder / "report" / "report.html").read_text("utf-8")
    for text in (*texts, summary, page):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text)
    for text in (*texts, summary):
        assert not re.search(r"^\s*::|##vso\[", text, re.MULTILINE)
    for text in (summary, page):
        assert "<script>alert" not in text
        assert "](https://evil.example)" not in summary


async def test_hostile_text_of_services_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and messages of resources, in reasons and in blockers."""
    async with staged(tmp_path, monkeypatch) as stage:
        state = stage.world.services
        for number, text in enumerate(HOSTILE):
            app = state.container_app(f"a{number}", stage.image("1.0"))
            app["name"] = text
            state.container_group(f"g{number}", f"{stage.registry.login_server}/shop/web:{text}")["name"] = text
        stage.fault(
            service="arm", path="Microsoft.Web/sites$", status=403, body={"error": {"code": "x", "message": HOSTILE[0]}}
        )
        ran = await stage.tool.plan()
        assert ran.code == 3
        assert "1.0" not in {name.rpartition(":")[2] for name in ran.planned}
        assert_harmless(stage, ran.out, ran.err)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("", ""),
        ("*", "*"),
        ("*", "shop/web"),
        ("docker.io/*", ""),
        (None, 7),
        ("docker.io/library/web", "../../x"),
        HOSTILE[:2],
    ],
    ids=str,
)
async def test_odd_cache_rule_never_deletes_more(
    source: object, target: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who may write cache rules can only keep images."""
    async with staged(tmp_path, monkeypatch) as stage:
        rule = {"sourceRepository": source, "targetRepository": target}
        stage.world.services.add(f"{describe_registry(stage.registry)['id']}/cacheRules/odd", rule)
        stage.pod("docker.io/library/web:1.0")
        ran = await stage.tool.plan()
        assert ran.planned <= {f"shop/web:{tag}" for tag in BOTH}
        assert ran.code == 0
        assert_harmless(stage, ran.out, ran.err)


async def test_hostile_text_around_a_mention_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of objects and keys of a ConfigMap are foreign text."""
    async with staged(tmp_path, monkeypatch) as stage:
        for number, text in enumerate(HOSTILE):
            stage.cluster.add(config_map(f"c{number}", **{text: f"{text} {stage.image('1.0')}"}))
        ran = await stage.tool.plan()
        assert (ran.code, ran.planned) == (0, {"shop/web:1.1"})
        assert_harmless(stage, ran.out, ran.err)


async def test_secret_next_to_a_mention_is_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports show the name and the tag that an object writes, and no other text of it."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.cluster.add(
            config_map(
                run=f"docker login -u ops -p hunter2\ndocker run -e TOKEN=hunter2 {stage.image('1.0')} --key hunter2",
                auth=f"https://ops:hunter2@{stage.image('1.0')}",
                open=f"hunter2/{stage.image().partition(':')[0]}:$TAG-hunter2",
            )
        )
        ran = await stage.tool.plan()
        assert ran.code == 0
        assert "1.0" not in {name.rpartition(":")[2] for name in ran.planned}
        files = [path for path in (stage.tool.folder / "report").rglob("*") if path.is_file()]
        assert "report.json" in {path.name for path in files}
        for shown in (ran.out, ran.err, *(path.read_text("utf-8", errors="replace") for path in files)):
            assert "hunter2" not in shown


async def test_hostile_text_of_the_keep_list_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        keep = [{"image": "shop/web:1.0", "reason": text, "owner": text} for text in HOSTILE]
        stage.settings(keep=keep)
        ran = await stage.tool.plan(stage.config)
        assert (ran.code, ran.planned) == (0, {"shop/web:1.1"})
        assert_harmless(stage, ran.out, ran.err)


# YAML limits a key to 1,024 characters, and JSON writes characters beyond U+FFFF as two. Names of Azure are short ASCII.
SPEAKABLE = [
    text
    for text in TEXTS
    if text and len(json.dumps(text)) < 1000 and not re.search("[\ud800-\udfff]|[^\0-\uffff]", text)
]


@pytest.mark.parametrize("text", SPEAKABLE, ids=map(str, range(len(SPEAKABLE))))
def test_hostile_names_remain_values_in_files_of_init(text: str) -> None:
    """Azure's names are narrower than this. A file of init is read, and then run, by a person."""
    resource_id = f"/subscriptions/{text.replace('/', '')}/resourceGroups/{text.replace('/', '')}/providers/x/y/z"
    setup = Setup(
        FoundResource(resource_id, "r", text), (FoundResource(resource_id, text),), "azurecloud", Ci.GITHUB, text
    )
    written = yaml.safe_load(configuration(setup))
    assert written["container_registry"]["url"] == text
    assert list(written["kubernetes_clusters"]) == [text]
    assert not written.keys() - {"container_registry", "kubernetes_clusters", "older_than"}
    if "\x00" not in text:
        checked = subprocess.run(["sh", "-n"], input=trust(setup), text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr
