"""Restoring what a run deleted: what comes back, what cannot, and what is left alone."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup import cli
from acr_cleanup.commands.restore import read, restore
from acr_cleanup.emulator.kubernetes import objects as build
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings import load_settings
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage, shorten_pauses, staged


@dataclass(frozen=True)
class Restoring:
    """What a restore said and how it ended."""

    code: int
    out: str
    err: str


async def run_restore(stage: Stage, journal: Path | None = None, *, dry_run: bool = False) -> Restoring:
    path = journal or stage.tool.folder / "report" / "journal.jsonl"
    config = stage.tool.folder / "acr-cleanup.json"
    config.write_text(json.dumps(stage.config or stage.tool.emulator.config()), encoding="utf-8")
    settings = load_settings(config, {}, os.environ, needs_clusters=False)
    out, err = io.StringIO(), io.StringIO()
    runtime = Terminal(stdout=out, stderr=err, environ={})
    code = await restore(path, read(path), settings, runtime, os.environ, dry_run=dry_run)
    return Restoring(code, out.getvalue(), err.getvalue())


def contents(stage: Stage) -> dict[str, Any]:
    """Everything that matters of the registry: tags with their digests and locks, manifests with theirs."""
    return {
        name: (
            {tag: (state.digest, state.attributes) for tag, state in repository.tags.items()},
            {digest: manifest.attributes for digest, manifest in repository.manifests.items()},
        )
        for name, repository in stage.registry.repositories.items()
    }


def written(stage: Stage) -> int:
    """How often anything but a token was asked to be changed."""
    verbs = {"PUT", "POST", "PATCH"}
    return sum(each.method in verbs and "/oauth2" not in each.path for each in stage.world.matching(service="acr"))


def rich_world(stage: Stage) -> None:
    """An index with children, an index of indexes, a signature by subject and one by name, two tags on one manifest, an untag."""
    registry = stage.registry
    children = [registry.push("shop/api", age=OLD, architecture=each) for each in ("amd64", "arm64")]
    inner = registry.push_index("shop/api", "1.0", children=children, age=OLD)
    registry.push_index("shop/api", "nested", children=[inner], age=OLD)
    registry.push_referrer("shop/api", inner, tag="sbom", age=OLD)
    registry.tag("shop/api", "1.0-again", inner, age=OLD)
    registry.push("shop/api", "2.0", age=OLD)
    registry.tag("shop/api", "two", stage.registry.repositories["shop/api"].tags["2.0"].digest, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))


@pytest.mark.parametrize("way", ["backup", "soft delete"])
async def test_everything_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """From the backup or from soft delete, indexes with their children, tags and all: and a second time nothing is done."""
    async with staged(tmp_path, monkeypatch) as stage:
        rich_world(stage)
        stage.registry.soft_delete = way == "soft delete"
        before = contents(stage)
        ran = await stage.tool.apply(stage.config, **({"backup": "true"} if way == "backup" else {}))
        assert ran.code == 0, ran.out
        assert len(contents(stage)["shop/api"][0]) == 1

        done = await run_restore(stage)

        assert done.code == 0, done.out
        assert contents(stage) == before
        assert "cannot" not in done.out

        writes = written(stage)
        again = await run_restore(stage)
        assert again.code == 0
        assert "already existed" in again.out
        assert written(stage) == writes


async def test_without_a_backup_only_names_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said of each item why it cannot come back, and what would have helped."""
    async with staged(tmp_path, monkeypatch) as stage:
        young = stage.registry.push(REPOSITORY, "young", age=YOUNG)
        stage.registry.tag(REPOSITORY, "old-name", young, age=OLD)
        digest = stage.digest("1.0")
        await stage.tool.apply(stage.config)
        assert set(stage.repository.tags) == {"2.0", "young"}

        done = await run_restore(stage)

        assert done.code == 1
        assert set(stage.repository.tags) == {"2.0", "young", "old-name"}
        assert stage.digest("old-name") == young
        assert "Cannot be restored: 2 tags and 2 manifests" in done.out
        assert f"{REPOSITORY}@{digest}" in done.out
        assert "backup: true" in done.out
        assert "soft delete" in done.out


async def test_layers_that_are_gone_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        stage.registry.collect_garbage()

        done = await run_restore(stage)

        assert done.code == 1
        assert set(stage.repository.tags) == {"2.0"}
        assert "Cannot be restored: 2 tags and 2 manifests" in done.out
        assert "MANIFEST_BLOB_UNKNOWN" in done.out
        assert "no longer has its layers or child manifests" in done.out


async def test_a_tag_that_exists_by_now_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        new = stage.registry.push(REPOSITORY, "1.0")

        done = await run_restore(stage)

        assert done.code == 1
        assert stage.digest("1.0") == new
        assert "1.1" in stage.repository.tags
        assert "Not changed" in done.out


async def test_locks_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted with include-locked, restored with the very attributes: of the manifest and of each tag."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.lock(REPOSITORY, stage.digest("1.0"), delete=False)
        stage.registry.lock(REPOSITORY, "1.0", write=False)
        before = contents(stage)
        ran = await stage.tool.apply(stage.config, **{"backup": "true", "include-locked": "true"})
        assert set(stage.repository.tags) == {"2.0"}, ran.out

        assert (await run_restore(stage)).code == 0
        assert contents(stage) == before


async def test_a_dry_run_says_what_could_be_done_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        after, writes = contents(stage), written(stage)

        done = await run_restore(stage, dry_run=True)

        assert (done.code, written(stage)) == (0, writes)
        assert contents(stage) == after
        assert "2 tags and 2 manifests can be restored" in done.out


async def test_rights_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        await stage.tool.apply(stage.config, backup="true")
        stage.registry.allowed = lambda _client, _repository, action: action in {"pull", "metadata_read"}

        done = await run_restore(stage)

        assert done.code == 1
        assert "AcrPush" in done.out
        assert set(stage.repository.tags) == {"2.0"}


async def test_an_abac_registry_is_asked_for_the_rights_that_restoring_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.abac = stage.registry.soft_delete = True
        before = contents(stage)
        await stage.tool.apply(stage.config)
        assert set(stage.repository.tags) == {"2.0"}

        assert (await run_restore(stage)).code == 0
        assert contents(stage) == before


async def test_one_item_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        digest = stage.digest("1.0")
        await stage.tool.apply(stage.config, backup="true")
        stage.fault(service="acr", method="PUT", path=f"manifests/{digest}", status=500)

        done = await run_restore(stage)

        assert done.code == 1
        assert set(stage.repository.tags) == {"1.1", "2.0"}
        assert "Failed: 1 tag and 1 manifest" in done.out


# -- journals that are not whole ------------------------------------------------------------------------------


def journal(stage: Stage) -> Path:
    return stage.tool.folder / "report" / "journal.jsonl"


async def test_a_torn_last_line_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a killed run leaves it: what stands before is restored."""
    async with staged(tmp_path, monkeypatch) as stage:
        before = contents(stage)
        await stage.tool.apply(stage.config, backup="true")
        with journal(stage).open("a") as file:
            file.write('{"seq":99,"kind":"intent","verb":"unt')

        done = await run_restore(stage)

        assert done.code == 0
        assert contents(stage) == before
        assert "cut off" in done.err


async def test_a_damaged_line_in_the_middle_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        lines = journal(stage).read_text().splitlines()
        assert '"intent"' in lines[1]
        lines[1] = lines[1][: len(lines[1]) // 2]
        journal(stage).write_text("\n".join(lines) + "\n")

        done = await run_restore(stage)

        assert done.code == 1
        assert len(stage.repository.tags) == 2
        assert "Line 2" in done.err


async def test_intents_without_outcomes_are_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ended between them: one deletion had happened, one had not."""
    async with staged(tmp_path, monkeypatch) as stage:
        before = contents(stage)
        await stage.tool.apply(stage.config, backup="true")
        lines = [each for each in journal(stage).read_text().splitlines() if '"outcome"' not in each]
        journal(stage).write_text("\n".join(lines) + "\n")
        # One of them is there again, as if it had never been deleted.
        assert (await run_restore(stage)).code == 0
        stage.repository.delete_manifest(stage.digest("1.0"))

        assert (await run_restore(stage)).code == 0
        assert contents(stage) == before


async def test_bytes_that_are_not_what_the_journal_says_are_never_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        writes = written(stage)
        lines = []
        for line in journal(stage).read_text().splitlines():
            entry = json.loads(line)
            if "manifest" in entry:
                entry["manifest"] = "e30="
            lines.append(json.dumps(entry))
        journal(stage).write_text("\n".join(lines) + "\n")

        done = await run_restore(stage)

        assert (done.code, written(stage)) == (1, writes)


HOSTILE = ["::error::x", "../../v2/other", "\u001b[31m", "a b", "", None, 7]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("key", ["repository", "digest", "tag"])
async def test_names_that_are_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: Any
) -> None:
    """A journal may have been edited: what would become part of a path is checked."""
    path = tmp_path / "journal.jsonl"
    entry: dict[str, Any] = {
        "seq": 1, "kind": "intent", "verb": "untag", "repository": "a", "digest": f"sha256:{'0' * 64}",
        "tags": [{"name": "1"}], "locks": [], "after": [],
    }  # fmt: skip
    if key == "tag":
        entry["tags"] = [{"name": name}]
    else:
        entry[key] = name
    path.write_text(f"{json.dumps(HEADER)}\n{json.dumps(entry)}\n")

    recorded = read(path)

    assert not recorded.deletions
    assert len(recorded.faults) == 1


HEADER = {
    "kind": "header",
    "schema_version": 1,
    "registry": "contoso.azurecr.io",
    "started_at": "2026-01-01T00:00:00+00:00",
}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "no JSON", '{"kind":"header"}', json.dumps({**HEADER, "schema_version": 9})]
)
def test_what_is_no_journal_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(text)

    assert cli.run(["restore", str(path)], {}) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert cli.run(["restore", str(tmp_path / "none")], {}) == 2


async def test_the_journal_of_another_registry_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        path = tmp_path / "journal.jsonl"
        path.write_text(json.dumps({**HEADER, "registry": "other.azurecr.io"}) + "\n")
        with pytest.raises(ConfigurationError):
            await run_restore(stage, path)
        assert not stage.world.requests


def test_a_journal_alone_never_sends_a_login_to_any_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({**HEADER, "registry": "evil.example.com"}) + "\n")

    assert cli.run(["restore", str(path)], {}) == 2
    assert "--registry" in capsys.readouterr().err


def test_a_journal_without_deletions_needs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(HEADER) + "\n")

    assert cli.run(["restore", str(path)], {}) == 0
    assert "nothing to restore" in capsys.readouterr().out
