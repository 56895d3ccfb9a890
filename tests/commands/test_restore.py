"""`acr-cleanup restore`: restores what a run deleted, if the registry still has the content."""

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
from acr_cleanup.settings.load import load_settings
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage, shorten_pauses, staged


@dataclass(frozen=True)
class RestoreRun:
    """The result of a restore."""

    code: int
    out: str
    err: str


async def run_restore(stage: Stage, journal: Path | None = None, *, dry_run: bool = False) -> RestoreRun:
    path = journal or stage.tool.folder / "report" / "journal.jsonl"
    config = stage.tool.folder / "acr-cleanup.json"
    config.write_text(json.dumps(stage.config or stage.tool.emulator.config()), encoding="utf-8")
    settings = load_settings(config, {}, os.environ, needs_clusters=False)
    out, err = io.StringIO(), io.StringIO()
    runtime = Terminal(stdout=out, stderr=err, environ={})
    code = await restore(path, read(path), settings, runtime, os.environ, dry_run=dry_run)
    return RestoreRun(code, out.getvalue(), err.getvalue())


def contents(stage: Stage) -> dict[str, Any]:
    """Return all tags of the registry with digests and locks, and all manifests with locks."""
    return {
        name: (
            {name: (tag.digest, tag.attributes) for name, tag in repository.tags.items()},
            {digest: manifest.attributes for digest, manifest in repository.manifests.items()},
        )
        for name, repository in stage.registry.repositories.items()
    }


def count_writes(stage: Stage) -> int:
    """Count the requests that change the registry; token requests do not."""
    methods = {"PUT", "POST", "PATCH"}
    requests = stage.world.matching(service="acr")
    return sum(request.method in methods and "/oauth2" not in request.path for request in requests)


def push_varied_images(stage: Stage) -> None:
    """Push old images to `shop/api`: a nested index, a referrer, and manifests with two tags."""
    registry = stage.registry
    children = [registry.push("shop/api", age=OLD, architecture=machine) for machine in ("amd64", "arm64")]
    inner = registry.push_index("shop/api", "1.0", children=children, age=OLD)
    registry.push_index("shop/api", "nested", children=[inner], age=OLD)
    registry.push_referrer("shop/api", inner, tag="sbom", age=OLD)
    registry.tag("shop/api", "1.0-again", inner, age=OLD)
    registry.push("shop/api", "2.0", age=OLD)
    registry.tag("shop/api", "two", stage.registry.repositories["shop/api"].tags["2.0"].digest, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))


@pytest.mark.parametrize("source", ["backup", "soft delete"])
async def test_restore_brings_back_the_original_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """From the backup or from soft delete. A second restore changes nothing."""
    async with staged(tmp_path, monkeypatch) as stage:
        push_varied_images(stage)
        stage.registry.soft_delete = source == "soft delete"
        before = contents(stage)
        ran = await stage.tool.apply(stage.config, **({"backup": "true"} if source == "backup" else {}))
        assert ran.code == 0, ran.out
        assert len(contents(stage)["shop/api"][0]) == 1

        run = await run_restore(stage)

        assert run.code == 0, run.out
        assert contents(stage) == before
        assert "cannot" not in run.out

        writes = count_writes(stage)
        second = await run_restore(stage)
        assert second.code == 0
        assert "already existed" in second.out
        assert count_writes(stage) == writes


async def test_restore_without_backup_restores_only_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says why manifests cannot be restored, and which options would allow it."""
    async with staged(tmp_path, monkeypatch) as stage:
        young = stage.registry.push(REPOSITORY, "young", age=YOUNG)
        stage.registry.tag(REPOSITORY, "old-name", young, age=OLD)
        digest = stage.digest("1.0")
        await stage.tool.apply(stage.config)
        assert set(stage.repository.tags) == {"2.0", "young"}

        run = await run_restore(stage)

        assert run.code == 1
        assert set(stage.repository.tags) == {"2.0", "young", "old-name"}
        assert stage.digest("old-name") == young
        assert "Cannot be restored: 2 tags and 2 manifests" in run.out
        assert f"{REPOSITORY}@{digest}" in run.out
        assert "backup: true" in run.out
        assert "soft delete" in run.out


async def test_missing_layers_prevent_the_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        stage.registry.collect_garbage()

        run = await run_restore(stage)

        assert run.code == 1
        assert set(stage.repository.tags) == {"2.0"}
        assert "Cannot be restored: 2 tags and 2 manifests" in run.out
        assert "MANIFEST_BLOB_UNKNOWN" in run.out
        assert "no longer has its layers or child manifests" in run.out


async def test_tag_that_was_pushed_again_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        new = stage.registry.push(REPOSITORY, "1.0")

        run = await run_restore(stage)

        assert run.code == 1
        assert stage.digest("1.0") == new
        assert "1.1" in stage.repository.tags
        assert "Not changed" in run.out


async def test_locks_are_restored_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run with `include-locked`, manifest and tags get their attributes back."""
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.lock(REPOSITORY, stage.digest("1.0"), delete=False)
        stage.registry.lock(REPOSITORY, "1.0", write=False)
        before = contents(stage)
        ran = await stage.tool.apply(stage.config, **{"backup": "true", "include-locked": "true"})
        assert set(stage.repository.tags) == {"2.0"}, ran.out

        assert (await run_restore(stage)).code == 0
        assert contents(stage) == before


async def test_dry_run_reports_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        after, writes = contents(stage), count_writes(stage)

        run = await run_restore(stage, dry_run=True)

        assert (run.code, count_writes(stage)) == (0, writes)
        assert contents(stage) == after
        assert "2 tags and 2 manifests can be restored" in run.out


async def test_missing_rights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        await stage.tool.apply(stage.config, backup="true")
        stage.world.access.assign_only("AcrPull")

        run = await run_restore(stage)

        assert run.code == 1
        assert "AcrPush" in run.out
        assert set(stage.repository.tags) == {"2.0"}


async def test_restore_works_on_an_abac_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        stage.registry.abac = stage.registry.soft_delete = True
        before = contents(stage)
        await stage.tool.apply(stage.config)
        assert set(stage.repository.tags) == {"2.0"}

        assert (await run_restore(stage)).code == 0
        assert contents(stage) == before


async def test_failed_item_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        shorten_pauses(monkeypatch)
        digest = stage.digest("1.0")
        await stage.tool.apply(stage.config, backup="true")
        stage.fault(service="acr", method="PUT", path=f"manifests/{digest}", status=500)

        run = await run_restore(stage)

        assert run.code == 1
        assert set(stage.repository.tags) == {"1.1", "2.0"}
        assert "Failed: 1 tag and 1 manifest" in run.out


# -- damaged journals ----------------------------------------------------------------------------


def journal_of(stage: Stage) -> Path:
    return stage.tool.folder / "report" / "journal.jsonl"


async def test_incomplete_last_line_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run leaves such a line; all lines before it are restored."""
    async with staged(tmp_path, monkeypatch) as stage:
        before = contents(stage)
        await stage.tool.apply(stage.config, backup="true")
        with journal_of(stage).open("a") as file:
            file.write('{"seq":99,"kind":"intent","verb":"unt')

        run = await run_restore(stage)

        assert run.code == 0
        assert contents(stage) == before
        assert "cut off" in run.err


async def test_damaged_line_is_named_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        lines = journal_of(stage).read_text().splitlines()
        assert '"intent"' in lines[1]
        lines[1] = lines[1][: len(lines[1]) // 2]
        journal_of(stage).write_text("\n".join(lines) + "\n")

        run = await run_restore(stage)

        assert run.code == 1
        assert len(stage.repository.tags) == 2
        assert "Line 2" in run.err


async def test_intents_without_outcomes_are_restored_if_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was killed: one deletion happened, the other did not."""
    async with staged(tmp_path, monkeypatch) as stage:
        before = contents(stage)
        await stage.tool.apply(stage.config, backup="true")
        lines = [line for line in journal_of(stage).read_text().splitlines() if '"outcome"' not in line]
        journal_of(stage).write_text("\n".join(lines) + "\n")
        # After this, one manifest exists as if it had not been deleted.
        assert (await run_restore(stage)).code == 0
        stage.repository.delete_manifest(stage.digest("1.0"))

        assert (await run_restore(stage)).code == 0
        assert contents(stage) == before


async def test_content_with_another_digest_is_not_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.tool.apply(stage.config, backup="true")
        writes = count_writes(stage)
        lines = []
        for line in journal_of(stage).read_text().splitlines():
            entry = json.loads(line)
            if "manifest" in entry:
                entry["manifest"] = "e30="
            lines.append(json.dumps(entry))
        journal_of(stage).write_text("\n".join(lines) + "\n")

        run = await run_restore(stage)

        assert (run.code, count_writes(stage)) == (1, writes)


HOSTILE = ["::error::x", "../../v2/other", "\u001b[31m", "a b", "", None, 7]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("key", ["repository", "digest", "tag"])
async def test_invalid_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, name: Any) -> None:
    """A journal may have been edited; an invalid name must not become part of a path."""
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
def test_invalid_journal_has_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(text)

    assert cli.run(["restore", str(path)], {}) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert cli.run(["restore", str(tmp_path / "none")], {}) == 2


async def test_journal_of_another_registry_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged(tmp_path, monkeypatch) as stage:
        path = tmp_path / "journal.jsonl"
        path.write_text(json.dumps({**HEADER, "registry": "other.azurecr.io"}) + "\n")
        with pytest.raises(ConfigurationError):
            await run_restore(stage, path)
        assert not stage.world.requests


def test_journal_alone_does_not_select_an_unknown_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({**HEADER, "registry": "evil.example.com"}) + "\n")

    assert cli.run(["restore", str(path)], {}) == 2
    assert "--registry" in capsys.readouterr().err


def test_journal_without_deletions_needs_no_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps(HEADER) + "\n")

    assert cli.run(["restore", str(path)], {}) == 0
    assert "nothing to restore" in capsys.readouterr().out
