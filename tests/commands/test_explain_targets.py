"""`acr-cleanup explain`: manifests, repositories, and incomplete evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from acr_cleanup.core.references import ImageReference
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.errors import ConfigurationError
from tests.helpers.explanations import run_explain
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage

# -- manifests and repositories --------------------------------------------------------------------


async def test_manifest_is_explained_with_its_tags(stage: Stage) -> None:
    digest = stage.digest("1.0")
    stage.registry.tag(REPOSITORY, "alias", digest, YOUNG)
    for target in (f"{REPOSITORY}@{digest}", f"{REPOSITORY}@{digest[:19]}", f"{REPOSITORY}:1.0@{digest}"):
        explanation = await run_explain(stage, target)
        assert (explanation.code, explanation.verdict) == (0, f"shop/web@{digest} is kept: its tag alias is kept.")
        assert "Tags 1.0 would be deleted" in explanation.lines
        assert "alias is kept" in explanation.lines

    explanation = await run_explain(stage, f"{REPOSITORY}@{stage.digest('1.1')}")
    assert explanation.verdict == f"shop/web@{stage.digest('1.1')} would be deleted."


async def test_untagged_artifact_in_use_keeps_its_subject(stage: Stage) -> None:
    """An untagged artifact is read only because it is in use; its subject then becomes known."""
    artifact = stage.registry.push_referrer(REPOSITORY, stage.digest("1.0"), age=OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=artifact)])
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0")

    assert explanation.verdict == "shop/web:1.0 would be deleted, but its manifest is kept."
    reason = f"{artifact[:19]} is attached to it and is kept"
    assert f"Frees nothing, because its manifest is kept: {reason}" in explanation.lines


async def test_ambiguous_short_digest_is_refused(stage: Stage) -> None:
    for number in range(3):
        stage.registry.push(REPOSITORY, f"n{number}", age=OLD)
    digests = [f"sha256:abcdef{number:058x}" for number in range(2)]
    workload = Workload("production", "shop", "Pod", "odd")
    uses = tuple(
        ImageUse(workload, "", "spec", digest, ImageReference("contoso.azurecr.io", REPOSITORY, None, digest))  # type: ignore[arg-type]
        for digest in digests
    )
    with pytest.raises(ConfigurationError, match="problem") as caught:
        await run_explain(stage, f"{REPOSITORY}@sha256:abcdef", lambda scans: (replace(scans[0], uses=uses),))
    assert "2 digests of shop/web begin with sha256:abcdef" in str(caught.value.problems[0])


async def test_repository_lists_its_tags_newest_first(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "3.0", age=YOUNG)
    explanation = await run_explain(stage, REPOSITORY)

    assert explanation.verdict == "shop/web: 2 of 4 tags would be deleted, 2 are kept, 1 of them in use."
    table = [line for line in explanation.lines if line.startswith(("1.", "2.", "3."))]
    assert [line.split()[0] for line in table] == ["3.0", "2.0", "1.1", "1.0"]
    assert table[3] == "1.0 100d would be deleted unused and old enough"
    assert "kept in use: production/shop/Deployment/web" in table[1]
    assert "Run by 1 workload" in explanation.lines


async def test_repository_out_of_scope_is_kept(stage: Stage) -> None:
    stage.registry.push("team/api", "1.0", age=OLD)
    explanation = await run_explain(stage, "team/api")

    assert explanation.verdict == "team/api: 0 of 1 tag would be deleted, 1 is kept, 0 of them in use."
    assert (
        "It does not run in any cluster that was read, so it is out of scope and all its tags are kept."
        in explanation.lines
    )
    explanation = await run_explain(stage, "team/api:1.0")
    assert explanation.verdict == "team/api:1.0 is kept: its repository is not running in any configured cluster."


# -- incomplete evidence ---------------------------------------------------------------------------


async def test_blocked_cluster_makes_the_answer_uncertain(stage: Stage) -> None:
    stage.another("staging").power_state = "Stopped"
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0")

    assert (explanation.code, explanation.verdict) == (
        0,
        "According to what could be read, shop/web:1.0 would be deleted.",
    )
    assert explanation.out.splitlines()[1] == (
        "staging could not be read completely. A run would delete nothing now, and more uses may exist."
    )
    assert "not in use no use was found, by tag or by digest" in explanation.lines
    assert any("the cluster is stopped" in line for line in explanation.lines)
    missing = await run_explain(stage, f"{REPOSITORY}:9.9")
    assert missing.code == 1
    assert missing.verdict == "shop/web:9.9 is not in the registry, and no use was found."


async def test_snapshot_is_named_with_its_age(stage: Stage) -> None:
    read_at = datetime.now(UTC) - timedelta(hours=3)
    explanation = await run_explain(stage, f"{REPOSITORY}:2.0", lambda scans: (replace(scans[0], read_at=read_at),))

    assert f"production, from a usage snapshot of {read_at:%Y-%m-%d %H:%M} UTC (3h old)" in explanation.lines


async def test_unlistable_repository_is_an_error(stage: Stage) -> None:
    """The exit code is not that of a missing tag."""
    stage.world.access.assign_only("AcrDelete")
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0")

    assert (explanation.code, explanation.out) == (3, "")
    assert "shop/web:1.0 cannot be explained" in explanation.err


async def test_hostile_names_are_printed_harmlessly(stage: Stage) -> None:
    def add_hostile_use(scans: tuple[ClusterScan, ...]) -> tuple[ClusterScan, ...]:
        workload = Workload("production", "n\x1b[2J", "Pod", "##vso[task.complete]")
        reference = ImageReference("contoso.azurecr.io", REPOSITORY, "1.0", None)
        use = ImageUse(workload, "::error::", "a\nb", "\x1b]0;x\x07\u202e", reference)
        return (replace(scans[0], uses=(*scans[0].uses, use)),)

    for target in (f"{REPOSITORY}:1.0", REPOSITORY):
        explanation = await run_explain(stage, target, add_hostile_use)
        assert "\x1b" not in explanation.out
        assert "\u202e" not in explanation.out
        assert "##vso" not in explanation.out
        assert "::error" not in explanation.out
