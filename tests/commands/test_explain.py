"""`acr-cleanup explain`: tags."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from acr_cleanup.core.references import ImageReference
from acr_cleanup.core.usage import ClusterScan, ImageUse
from acr_cleanup.core.workload import Workload
from acr_cleanup.emulator.kubernetes import objects as build
from tests.helpers.explanations import run_explain
from tests.helpers.stage import OLD, REPOSITORY, YOUNG, Stage


async def test_unused_old_tag_would_be_deleted(stage: Stage) -> None:
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0")

    assert (explanation.code, explanation.verdict) == (0, "shop/web:1.0 would be deleted.")
    assert f"Digest {stage.digest('1.0')}" in explanation.lines
    assert "not in use no cluster uses it, by tag or by digest" in explanation.lines
    assert "in scope it is running in production" in explanation.lines
    assert any(
        line.startswith("old enough pushed") and line.endswith("100d ago, at least 30d") for line in explanation.lines
    )
    assert explanation.has_line("Frees its manifest, which is deleted too")


async def test_used_tag_is_kept_by_its_listed_use(stage: Stage) -> None:
    stage.cluster.add(build.cronjob("batch", "nightly", [stage.image("1.0")]))
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0")

    verdict = "shop/web:1.0 is kept: a workload names this tag: production/batch/CronJob/nightly (main)."
    assert (explanation.code, explanation.verdict) == (0, verdict)
    use = explanation.lines.index("production/batch/CronJob/nightly (main)")
    field = f"spec.jobTemplate.spec.template.spec.containers[0].image: {stage.image('1.0')}"
    assert explanation.lines[use + 1] == field
    assert "Without this use, it would be deleted." in explanation.out


async def test_last_running_use_keeps_the_repository_in_scope(stage: Stage) -> None:
    explanation = await run_explain(stage, f"{REPOSITORY}:2.0")

    assert "shop/web would not be running in any cluster, so all its tags would be kept" in explanation.out
    assert (
        "If another image of it is running, this one would be deleted. Each of them alone keeps it." in explanation.out
    )


async def test_young_used_tag_is_kept_without_its_use(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "3.0", age=YOUNG)
    stage.cluster.add(build.cronjob("batch", "nightly", [stage.image("3.0")]))
    explanation = await run_explain(stage, f"{REPOSITORY}:3.0")

    pushed = datetime.now(UTC) - YOUNG
    assert f"Without this use, it would still be kept: pushed {pushed:%Y-%m-%d}, less than 30d ago." in explanation.out


async def test_index_is_kept_by_its_running_child(stage: Stage) -> None:
    amd, arm = (stage.registry.push(REPOSITORY, None, age=OLD, architecture=name) for name in ("amd64", "arm64"))
    index = stage.registry.push_index(REPOSITORY, "multi", children=[amd, arm], age=OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=amd)])
    explanation = await run_explain(stage, f"{REPOSITORY}:multi")

    assert (
        explanation.verdict
        == "shop/web:multi is kept: a workload runs or pins its digest: production/odd/Pod/odd-1 (main)."
    )
    assert "They use another manifest of its index family (1)" in explanation.lines
    assert f"Manifest an index of {amd[:19]} linux/amd64 and {arm[:19]} linux/arm64" in explanation.lines
    child = await run_explain(stage, f"{REPOSITORY}@{arm}")
    assert child.verdict.startswith(f"shop/web@{arm} is kept: ")
    assert f"Listed by {index[:19]} (multi)" in child.lines


def add_open_use(scans: tuple[ClusterScan, ...]) -> tuple[ClusterScan, ...]:
    workload = Workload("production", "ops", "ConfigMap", "values")
    reference = ImageReference("contoso.azurecr.io", REPOSITORY, None, None)
    use = ImageUse(workload, "", "data.image", "contoso.azurecr.io/shop/web:{{ .tag }}", reference)
    return (replace(scans[0], uses=(*scans[0].uses, use)), *scans[1:])


async def test_open_use_keeps_all_tags(stage: Stage) -> None:
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0", add_open_use)

    seen = "something names its repository without saying which image: production/ops/ConfigMap/values"
    assert explanation.verdict == f"shop/web:1.0 is kept: {seen}."
    assert "They name the repository but not the image, so it may be any image of it (1)" in explanation.lines
    assert "data.image: contoso.azurecr.io/shop/web:{{ .tag }}" in explanation.lines
    assert "Without this use, it would be deleted." in explanation.out
    missing = await run_explain(stage, f"{REPOSITORY}:9.9", add_open_use)
    assert missing.code == 1
    assert "1 use of the repository does not say which image, so it may be this one." in missing.lines


async def test_all_reasons_to_keep_are_listed(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, "latest", age=YOUNG)
    stage.registry.lock(REPOSITORY, "latest")
    explanation = await run_explain(stage, f"{REPOSITORY}:latest")

    assert explanation.verdict == "shop/web:latest is kept: the tag is locked in the registry."
    assert "excluded excluded by `latest`" in explanation.lines
    assert explanation.has_line("young pushed")
    assert "Locked the tag" in explanation.lines


async def test_signature_and_subject_name_each_other(stage: Stage) -> None:
    name = stage.digest("2.0").replace(":", "-") + ".sig"
    signature = stage.registry.push(REPOSITORY, name, age=OLD)
    signed = await run_explain(stage, f"{REPOSITORY}:2.0")
    assert signed.has_line(f"Referrers {signature[:19]}")

    explanation = await run_explain(stage, f"{REPOSITORY}:{name}")
    assert f"is kept: belongs to {stage.digest('2.0')[:19]}, which is kept." in explanation.verdict
    assert explanation.has_line("They use a related manifest")


async def test_untagged_manifest_names_its_reason(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), OLD)
    stage.registry.lock(REPOSITORY, "alias")
    explanation = await run_explain(stage, f"{REPOSITORY}:1.0")

    assert explanation.verdict == "shop/web:1.0 would be deleted, but its manifest is kept."
    assert "Also alias, on the same manifest" in explanation.lines
    assert "Frees nothing, because its manifest is kept: its tag alias is kept" in explanation.lines


async def test_missing_tag_in_use_is_the_verdict(stage: Stage) -> None:
    stage.cluster.add(build.deployment("shop", "broken", [stage.image("9.9")], replicas=0))
    explanation = await run_explain(stage, f"{REPOSITORY}:9.9")

    assert explanation.code == 0
    assert (
        explanation.verdict
        == "shop/web:9.9 is not in the registry, but 1 use names it. Its pods fail on their next pull."
    )
    assert "production/shop/Deployment/broken (main)" in explanation.lines


async def test_missing_tag_with_existing_digest_can_be_pulled(stage: Stage) -> None:
    pinned = stage.image("9.9", stage.digest("1.0"))
    stage.cluster.add(build.deployment("shop", "pinned", [pinned], replicas=0))
    explanation = await run_explain(stage, f"{REPOSITORY}:9.9")

    assert explanation.verdict == "shop/web:9.9 is not in the registry. 1 use names it, but does not pull it."


async def test_unknown_target_is_not_in_the_registry(stage: Stage) -> None:
    explanation = await run_explain(stage, f"{REPOSITORY}:1.9")
    assert (explanation.code, explanation.verdict) == (
        1,
        "shop/web:1.9 is not in the registry, and no cluster uses it.",
    )
    assert any("Similar tags: " in line and "1.0" in line for line in explanation.lines)

    explanation = await run_explain(stage, f"{REPOSITORY}@sha256:{'0' * 64}")
    assert explanation.code == 1
    explanation = await run_explain(stage, "no/such")
    assert (explanation.code, explanation.verdict) == (1, "no/such is not in the registry, or empty.")
