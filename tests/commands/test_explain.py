"""`acr-cleanup explain`, asked about emulated worlds as a user would ask, and about the reports of past runs."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup import cli
from acr_cleanup.commands.explain import Target, explain, explain_report, parse_target
from acr_cleanup.commands.run import Connections, connect
from acr_cleanup.core.references import ImageReference, Registry
from acr_cleanup.core.usage import ClusterScan, ImageUse, Workload
from acr_cleanup.errors import ConfigurationError
from acr_cleanup.runtimes.base import Progress
from acr_cleanup.runtimes.terminal import Terminal
from acr_cleanup.settings import load_settings
from acr_cleanup.stages.read import ConfiguredClusters
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage, build, impatient, staged


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def verdict(self) -> str:
        return self.out.splitlines()[0]

    @property
    def lines(self) -> list[str]:
        return [" ".join(line.split()) for line in self.out.splitlines()]


Spoil = Callable[[tuple[ClusterScan, ...]], tuple[ClusterScan, ...]]


async def ask(stage: Stage, target: str, seen: Spoil = lambda scans: scans, /, **options: str) -> Said:
    """Ask; `seen` changes what was read of the clusters."""
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.config or stage.tool.emulator.config()), encoding="utf-8")
    settings = load_settings(path, options, os.environ)
    out, err = io.StringIO(), io.StringIO()
    runtime = Terminal(stdout=out, stderr=err, environ={})

    @dataclass(frozen=True)
    class SpoiltClusters(ConfiguredClusters):
        async def scan(self, progress: Progress) -> tuple[ClusterScan, ...]:
            return seen(await super().scan(progress))

    @asynccontextmanager
    async def connections() -> AsyncIterator[Connections]:
        async with connect(settings, runtime, os.environ) as real:
            assert isinstance(real.sources, ConfiguredClusters)
            sources = SpoiltClusters(
                **{field.name: getattr(real.sources, field.name) for field in fields(real.sources)}
            )
            yield Connections(real.registry, sources)

    code = await explain(target, settings, runtime, os.environ, open_connections=connections)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    assert not stage.world.matching(service="acr", method="DELETE")
    return Said(code, out.getvalue(), err.getvalue())


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    impatient(monkeypatch)
    async with staged(tmp_path, monkeypatch) as made:
        yield made


# -- tags -----------------------------------------------------------------------------------------------------


async def test_a_tag_that_nobody_uses_would_be_deleted(stage: Stage) -> None:
    said = await ask(stage, f"{REPOSITORY}:1.0")

    assert (said.code, said.verdict) == (0, "shop/web:1.0 would be deleted.")
    assert f"Digest {stage.digest('1.0')}" in said.lines
    assert "not in use no cluster uses it, by tag or by digest" in said.lines
    assert "in scope it is running in production" in said.lines
    assert any(line.startswith("old enough pushed") and line.endswith("100d ago, at least 30d") for line in said.lines)
    assert any(line.startswith("Frees its manifest, which is deleted too") for line in said.lines)


async def test_a_tag_in_use_is_kept_and_every_use_is_named_with_its_field(stage: Stage) -> None:
    stage.cluster.add(build.cronjob("batch", "nightly", [stage.image("1.0")]))
    said = await ask(stage, f"{REPOSITORY}:1.0")

    assert (said.code, said.verdict) == (0, "shop/web:1.0 is kept: a workload names this tag.")
    place = said.lines.index("production/batch/CronJob/nightly (main)")
    assert said.lines[place + 1] == (f"spec.jobTemplate.spec.template.spec.containers[0].image: {stage.image('1.0')}")
    assert "Without this use it would be deleted." in said.out


async def test_without_what_runs_it_the_whole_repository_is_out_of_scope(stage: Stage) -> None:
    said = await ask(stage, f"{REPOSITORY}:2.0")

    assert "shop/web would no longer be running anywhere, and all of it would be kept" in said.out
    assert "once something else of it is, this would be deleted. Each of them alone keeps it." in said.out


async def test_a_young_tag_says_that_it_would_stay_without_its_use(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "3.0", age=YOUNG)
    stage.cluster.add(build.cronjob("batch", "nightly", [stage.image("3.0")]))
    said = await ask(stage, f"{REPOSITORY}:3.0")

    pushed = datetime.now(UTC) - YOUNG
    assert f"Without this use it would still be kept: pushed {pushed:%Y-%m-%d}, less than 30d ago." in said.out


async def test_an_index_is_kept_by_the_child_that_runs(stage: Stage) -> None:
    amd, arm = (stage.registry.push(REPOSITORY, None, age=OLD, architecture=each) for each in ("amd64", "arm64"))
    index = stage.registry.push_index(REPOSITORY, "multi", children=[amd, arm], age=OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=amd)])
    said = await ask(stage, f"{REPOSITORY}:multi")

    assert said.verdict == "shop/web:multi is kept: a workload runs or pins its digest."
    assert "They use another manifest of its index family (1)" in said.lines
    assert f"Manifest an index of {amd[:19]} linux/amd64 and {arm[:19]} linux/arm64" in said.lines
    child = await ask(stage, f"{REPOSITORY}@{arm}")
    assert child.verdict.startswith(f"shop/web@{arm} is kept: ")
    assert f"Index listed by {index[:19]} (multi)" in child.lines


def openly(scans: tuple[ClusterScan, ...]) -> tuple[ClusterScan, ...]:
    workload = Workload("production", "ops", "ConfigMap", "values")
    reference = ImageReference("contoso.azurecr.io", REPOSITORY, None, None)
    use = ImageUse(workload, "", "data.image", "contoso.azurecr.io/shop/web:{{ .tag }}", reference)
    return (replace(scans[0], uses=(*scans[0].uses, use)), *scans[1:])


async def test_an_open_use_keeps_every_tag_and_is_told_as_such(stage: Stage) -> None:
    said = await ask(stage, f"{REPOSITORY}:1.0", openly)

    assert said.verdict == "shop/web:1.0 is kept: something names its repository without saying which image."
    assert "They name the repository and do not say which image, so it may be any (1)" in said.lines
    assert "data.image: contoso.azurecr.io/shop/web:{{ .tag }}" in said.lines
    assert "Without this use it would be deleted." in said.out
    missing = await ask(stage, f"{REPOSITORY}:9.9", openly)
    assert missing.code == 1
    assert "1 use of the repository may mean any image of it, this one too." in missing.lines


async def test_exclusion_locks_and_age_are_told_as_reasons(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "latest", age=YOUNG)
    stage.registry.lock(REPOSITORY, "latest")
    said = await ask(stage, f"{REPOSITORY}:latest")

    assert said.verdict == "shop/web:latest is kept: the tag is locked in the registry."
    assert "excluded excluded by `latest`" in said.lines
    assert any(line.startswith("young pushed") for line in said.lines)
    assert "Locked the tag" in said.lines


async def test_a_signature_and_what_it_signs_name_each_other(stage: Stage) -> None:
    name = stage.digest("2.0").replace(":", "-") + ".sig"
    signature = stage.registry.push(REPOSITORY, name, age=OLD)
    signed = await ask(stage, f"{REPOSITORY}:2.0")
    assert any(line.startswith(f"Attached to it: {signature[:19]}") for line in signed.lines)

    said = await ask(stage, f"{REPOSITORY}:{name}")
    assert f"is kept: belongs to {stage.digest('2.0')[:19]}, which is kept." in said.verdict
    assert any(line.startswith("They use what it is attached to") for line in said.lines)


async def test_a_tag_that_goes_by_name_only_says_what_keeps_its_manifest(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), OLD)
    stage.registry.lock(REPOSITORY, "alias")
    said = await ask(stage, f"{REPOSITORY}:1.0")

    assert said.verdict == "shop/web:1.0 would be deleted, but its manifest is kept."
    assert "Also alias, on the same manifest" in said.lines
    assert "Frees nothing, because its manifest is kept: its tag alias is kept" in said.lines


async def test_pods_that_name_a_missing_tag_will_fail_and_that_is_said_first(stage: Stage) -> None:
    stage.cluster.add(build.deployment("shop", "broken", [stage.image("9.9")], replicas=0))
    said = await ask(stage, f"{REPOSITORY}:9.9")

    assert said.code == 0
    assert said.verdict == "shop/web:9.9 is not in the registry, and 1 use names it: its pods fail on their next pull."
    assert "production/shop/Deployment/broken (main)" in said.lines


async def test_a_missing_tag_with_a_digest_that_is_there_is_still_pulled(stage: Stage) -> None:
    pinned = stage.image("9.9", stage.digest("1.0"))
    stage.cluster.add(build.deployment("shop", "pinned", [pinned], replicas=0))
    said = await ask(stage, f"{REPOSITORY}:9.9")

    assert said.verdict == "shop/web:9.9 is not in the registry; 1 use names it, and it does not pull it by that."


async def test_what_nobody_knows_is_not_there(stage: Stage) -> None:
    said = await ask(stage, f"{REPOSITORY}:1.9")
    assert (said.code, said.verdict) == (1, "shop/web:1.9 is not in the registry, and no cluster uses it.")
    assert any("Similar tags: " in line and "1.0" in line for line in said.lines)

    said = await ask(stage, f"{REPOSITORY}@sha256:{'0' * 64}")
    assert said.code == 1
    said = await ask(stage, "no/such")
    assert (said.code, said.verdict) == (1, "no/such is not in the registry, or empty.")


# -- manifests and repositories -------------------------------------------------------------------------------


async def test_a_digest_is_answered_with_its_tags_and_may_be_short(stage: Stage) -> None:
    digest = stage.digest("1.0")
    stage.registry.tag(REPOSITORY, "alias", digest, YOUNG)
    for written in (digest, digest[:19], f"1.0@{digest}"):
        target = f"{REPOSITORY}:{written}" if written.startswith("1.0") else f"{REPOSITORY}@{written}"
        said = await ask(stage, target)
        assert (said.code, said.verdict) == (0, f"shop/web@{digest} is kept: its tag alias is kept.")
        assert "Tags 1.0 would be deleted" in said.lines
        assert "alias is kept" in said.lines

    said = await ask(stage, f"{REPOSITORY}@{stage.digest('1.1')}")
    assert said.verdict == f"shop/web@{stage.digest('1.1')} would be deleted."


async def test_an_artifact_in_use_is_read_for_what_it_is_attached_to(stage: Stage) -> None:
    """Without a tag it would not be: what it is attached to matters because of its use."""
    artifact = stage.registry.push_referrer(REPOSITORY, stage.digest("1.0"), age=OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=artifact)])
    said = await ask(stage, f"{REPOSITORY}:1.0")

    assert said.verdict == "shop/web:1.0 would be deleted, but its manifest is kept."
    assert f"Frees nothing, because its manifest is kept: {artifact[:19]} is attached to it, and stays" in said.lines


async def test_a_beginning_that_two_digests_share_is_no_digest(stage: Stage) -> None:
    for number in range(3):
        stage.registry.push(REPOSITORY, f"n{number}", age=OLD)
    names = [f"sha256:abcdef{number:058x}" for number in range(2)]
    workload = Workload("production", "shop", "Pod", "odd")
    uses = tuple(
        ImageUse(workload, "", "spec", name, ImageReference("contoso.azurecr.io", REPOSITORY, None, name))  # type: ignore[arg-type]
        for name in names
    )
    with pytest.raises(ConfigurationError, match="problem") as caught:
        await ask(stage, f"{REPOSITORY}@sha256:abcdef", lambda scans: (replace(scans[0], uses=uses),))
    assert "2 digests of shop/web begin with sha256:abcdef" in str(caught.value.problems[0])


async def test_a_repository_is_answered_with_each_tag_newest_first(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "3.0", age=YOUNG)
    said = await ask(stage, REPOSITORY)

    assert said.verdict == "shop/web: 2 of 4 tags would be deleted, 2 are kept, 1 of them in use."
    table = [line for line in said.lines if line.startswith(("1.", "2.", "3."))]
    assert [line.split()[0] for line in table] == ["3.0", "2.0", "1.1", "1.0"]
    assert table[3] == "1.0 100d would be deleted unused and old enough"
    assert "kept in use: production/shop/Deployment/web" in table[1]
    assert "Run by 1 workload" in said.lines


async def test_a_repository_that_nothing_runs_is_kept_whole(stage: Stage) -> None:
    stage.registry.push("team/api", "1.0", age=OLD)
    said = await ask(stage, "team/api")

    assert said.verdict == "team/api: 0 of 1 tag would be deleted, 1 is kept, 0 of them in use."
    assert "Nothing that could be seen runs it: it is out of scope, and all of it is kept." in said.lines
    said = await ask(stage, "team/api:1.0")
    assert said.verdict == "team/api:1.0 is kept: its repository is not running in any configured cluster."


# -- what could not be seen -----------------------------------------------------------------------------------


async def test_a_blocked_cluster_leaves_the_answer_open_and_says_so(stage: Stage) -> None:
    stage.another("staging").power_state = "Stopped"
    said = await ask(stage, f"{REPOSITORY}:1.0")

    assert (said.code, said.verdict) == (0, "According to what could be read, shop/web:1.0 would be deleted.")
    assert said.out.splitlines()[1] == (
        "staging could not be read completely. A run would delete nothing now, and more uses may exist."
    )
    assert "not in use nothing that could be seen uses it, by tag or by digest" in said.lines
    assert any("the cluster is stopped" in line for line in said.lines)
    missing = await ask(stage, f"{REPOSITORY}:9.9")
    assert missing.code == 1
    assert missing.verdict == "shop/web:9.9 is not in the registry, and nothing that could be seen uses it."


async def test_a_scan_from_a_snapshot_says_since_when(stage: Stage) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    said = await ask(stage, f"{REPOSITORY}:2.0", lambda scans: (replace(scans[0], read_at=then),))

    assert f"production, from a usage snapshot of {then:%Y-%m-%d %H:%M} UTC (3h old)" in said.lines


async def test_a_repository_that_cannot_be_listed_is_no_answer_and_not_its_absence(stage: Stage) -> None:
    stage.registry.allowed = lambda _client, _repository, _action: False
    said = await ask(stage, f"{REPOSITORY}:1.0")

    assert (said.code, said.out) == (3, "")
    assert "Nothing can be said of shop/web:1.0" in said.err


async def test_foreign_text_is_harmless(stage: Stage) -> None:
    def hostile(scans: tuple[ClusterScan, ...]) -> tuple[ClusterScan, ...]:
        workload = Workload("production", "n\x1b[2J", "Pod", "##vso[task.complete]")
        reference = ImageReference("contoso.azurecr.io", REPOSITORY, "1.0", None)
        use = ImageUse(workload, "::error::", "a\nb", "\x1b]0;x\x07\u202e", reference)
        return (replace(scans[0], uses=(*scans[0].uses, use)),)

    for target in (f"{REPOSITORY}:1.0", REPOSITORY):
        said = await ask(stage, target, hostile)
        assert "\x1b" not in said.out
        assert "\u202e" not in said.out
        assert "##vso" not in said.out
        assert "::error" not in said.out


# -- how it is asked ------------------------------------------------------------------------------------------

CONTOSO = Registry("contoso.azurecr.io", frozenset({"images.contoso.com"}))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("shop/web", Target("shop/web")),
        ("web", Target("web")),
        ("web:1.0", Target("web", "1.0")),
        ("contoso.azurecr.io/web:1.0", Target("web", "1.0")),
        ("CONTOSO.AzureCR.io:443/shop/web", Target("shop/web")),
        ("contoso.westeurope.geo.azurecr.io/shop/web", Target("shop/web")),
        ("images.contoso.com/shop/web:1", Target("shop/web", "1")),
        ("contoso.azurecr.io/my.team/web:1", Target("my.team/web", "1")),
        ("docker-pullable://contoso.azurecr.io/web@sha256:" + "0" * 64, Target("web", None, "sha256:" + "0" * 64)),
        ("web@sha256:0123456789ab", Target("web", None, "sha256:0123456789ab")),
        (" web:1 ", Target("web", "1")),
    ],
)
def test_every_spelling_of_our_registry_is_understood(text: str, target: Target) -> None:
    assert parse_target(text, CONTOSO) == target


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("ghcr.io/shop/web", "'ghcr.io' is another registry than contoso.azurecr.io."),
        ("contoso.azurecr.io.evil.example/web", "is another registry"),
        ("localhost:5000/web", "is another registry"),
        ("sha256:" + "0" * 64, "A digest alone names no repository."),
        ("Shop/Web:1", "names no valid repository"),
        ("web:", "no valid tag"),
        ("web@sha256:xyz", "is not a digest"),
        ("", "names no valid repository"),
        ("contoso.azurecr.io/", "names no valid repository"),
    ],
)
def test_what_is_no_target_is_wrong_usage(text: str, seen: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_target(text, CONTOSO)
    assert seen in caught.value.problems[0].seen
    assert caught.value.problems[0].remedy


async def test_the_command_line_leads_here(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    path = stage.tool.folder / "acr-cleanup.json"
    path.write_text(json.dumps(stage.tool.emulator.config()), encoding="utf-8")

    async def typed(*words: str) -> int:
        return await asyncio.to_thread(cli.run, ["explain", *words], os.environ)

    assert await typed("shop/web:1.0", str(path)) == 0
    assert capsys.readouterr().out.startswith("shop/web:1.0 would be deleted.")
    assert await typed("ghcr.io/shop/web:1.0", str(path)) == 2
    assert "another registry" in capsys.readouterr().err
    ran = await stage.tool.plan()
    assert ran.code == 0
    report = stage.tool.folder / "report" / "report.json"
    assert await typed("shop/web:1.0", "--report", str(report)) == 0
    assert "it was a dry run" in capsys.readouterr().out
    assert await typed("shop/web:1.0", "--report", str(path)) == 2
    assert "The file is not the report of a run" in capsys.readouterr().err


# -- the report of a past run ---------------------------------------------------------------------------------


def ask_report(stage: Stage, target: str) -> Said:
    out, err = io.StringIO(), io.StringIO()
    report = stage.tool.folder / "report" / "report.json"
    code = explain_report(target, report, Terminal(stdout=out, stderr=err, environ={}))
    return Said(code, out.getvalue(), err.getvalue())


async def test_an_auditor_reads_why_a_tag_was_deleted_and_another_kept(stage: Stage) -> None:
    digest = stage.digest("1.0")
    ran = await stage.tool.apply(stage.config)
    assert ran.deleted == {"shop/web:1.0", "shop/web:1.1"}
    when = f"{ran.report['started_at'][:16].replace('T', ' ')} UTC"

    said = ask_report(stage, "contoso.azurecr.io/shop/web:1.0")
    assert (said.code, said.verdict) == (0, f"shop/web:1.0 was deleted by the run of {when}.")
    assert any(line.startswith("No rule kept it: no use was found, and it was pushed") for line in said.lines)
    assert any(line.startswith("Manifest deleted; for linux/amd64, ") for line in said.lines)
    assert any(line.startswith("Run an apply of contoso.azurecr.io, applied, from ") for line in said.lines)
    assert any(line.startswith("Policy older-than 30d; scope running; keep-last 0") for line in said.lines)
    assert any(line.startswith("Clusters production (direct): ") and "objects" in line for line in said.lines)

    said = ask_report(stage, "shop/web:2.0")
    assert (said.code, said.verdict) == (0, "shop/web:2.0 was kept: a workload names this tag.")
    assert "production/shop/Deployment/web (main)" in said.lines

    said = ask_report(stage, f"shop/web@{digest[:19]}")
    assert (said.code, said.verdict) == (0, f"shop/web@{digest} was deleted by the run of {when}.")
    said = ask_report(stage, "shop/web")
    assert said.verdict == "shop/web: of 3 tags, 2 were to be deleted and 2 were."
    assert "1.0 100d deleted no rule kept it" in said.lines


async def test_of_a_part_both_answers_say_that_another_has_the_rest(stage: Stage) -> None:
    """`shop/web` is in the second half."""
    said = await ask(stage, "shop/web:1.0", shard="1/2")
    assert "its repository belongs to shard 2 of 2, and this run is 1" in said.verdict
    said = await ask(stage, "shop/web:1.0", shard="2/2")
    assert "would be deleted" in said.verdict
    assert any("running in production, and belongs to shard 2/2" in line for line in said.lines)

    await stage.tool.plan(stage.config, shard="1/2")

    said = ask_report(stage, "shop/web:1.0")
    assert said.code == 1
    assert "That run was shard 1/2 of the registry: another may have looked at it." in said.lines
    assert any("shard 1/2" in line for line in said.lines if line.startswith("Policy"))


async def test_what_a_report_does_not_tell_of_is_not_there(stage: Stage) -> None:
    await stage.tool.plan(stage.config)

    for target in ("shop/web:9.9", "team/api:1.0", "team/api", f"shop/web@sha256:{'0' * 64}"):
        said = ask_report(stage, target)
        assert said.code == 1, target
        assert "is not in that report" in said.verdict
    with pytest.raises(ConfigurationError):
        ask_report(stage, "ghcr.io/shop/web:1.0")


async def test_a_deletion_that_failed_says_why(stage: Stage) -> None:
    stage.registry.allowed = lambda _client, _repository, action: action != "delete"
    await stage.tool.apply(stage.config)
    said = ask_report(stage, "shop/web:1.0")

    assert said.verdict.startswith("shop/web:1.0 was to be deleted, and that failed (")
    assert "AcrDelete" in said.out or "403" in said.out


async def test_a_refused_run_says_what_it_could_not_see(stage: Stage) -> None:
    stage.another("staging").power_state = "Stopped"
    await stage.tool.apply(stage.config)
    said = ask_report(stage, "shop/web:1.0")

    assert said.verdict == "shop/web:1.0 was selected, and nothing was deleted: the run was refused."
    assert any("the cluster is stopped" in line for line in said.lines)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("{", "The file is not the report of a run"),
        ("[]", "The file is not the report of a run"),
        ('{"schema_version": 1}', "The file is not the report of a run"),
        ('{"schema_version": 9, "tool_version": "99"}', "It is a report of version 9"),
        ("\ufffe", "The file is not the report of a run"),
        (None, "The file cannot be read"),
    ],
)
def test_what_is_no_report_is_wrong_usage(tmp_path: Path, content: str | None, seen: str) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        explain_report("shop/web:1.0", path, Terminal(stdout=io.StringIO(), stderr=io.StringIO(), environ={}))
    problem: Any = caught.value.problems[0]
    assert seen in problem.seen
    assert problem.path == str(path)
