"""Indexes, attached artifacts, age and locks: the deleted tags and manifests of a repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from acr_cleanup.emulator.world import Face
from tests.helpers.stage import BOTH, OLD, REPOSITORY, YOUNG, Scenario, ScenarioTable, Stage, play

scenarios = ScenarioTable(services="off")


# -- indexes --------------------------------------------------------------------------------------


def push_index_of_two(stage: Stage, tag: str | None = "multi") -> tuple[str, str, str]:
    """Push an old index for two platforms. Return its digest and those of its children."""
    amd, arm = (
        stage.registry.push(REPOSITORY, None, age=OLD, architecture=platform) for platform in ("amd64", "arm64")
    )
    return stage.registry.push_index(REPOSITORY, tag, children=[amd, arm], age=OLD), amd, arm


@scenarios.deletes("1.0", "1.1", "multi", counts={"deleted_manifests": 5})
def unused_index_is_deleted_with_its_children(stage: Stage) -> None:
    push_index_of_two(stage)


@scenarios.deletes(*BOTH)
def reported_child_keeps_its_index(stage: Stage) -> None:
    _, amd, _ = push_index_of_two(stage)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=amd)])


@scenarios.deletes(*BOTH)
def reported_index_is_kept_under_any_tag(stage: Stage) -> None:
    index, _, _ = push_index_of_two(stage)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=index)])


@scenarios.deletes(*BOTH)
def tagged_child_of_running_index_is_kept(stage: Stage) -> None:
    index, amd, _ = push_index_of_two(stage)
    stage.registry.tag(REPOSITORY, "multi-amd64", amd, OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=index)])


@scenarios.deletes(*BOTH)
def reported_child_keeps_nested_indexes(stage: Stage) -> None:
    inner, amd, _ = push_index_of_two(stage, "inner")
    stage.registry.push_index(REPOSITORY, "outer", children=[inner], age=OLD)
    stage.pod(stage.image("2.0"), image_ids=[stage.image(digest=amd)])


@scenarios.deletes("1.0", "1.1", "multi", counts={"deleted_manifests": 3})
def young_child_of_deleted_index_is_kept(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, None, age=YOUNG)
    stage.registry.push_index(REPOSITORY, "multi", children=[child], age=OLD)


@scenarios.deletes("1.0", "1.1", "old", counts={"deleted_manifests": 4})
def child_shared_with_young_index_is_kept(stage: Stage) -> None:
    shared, own = (stage.registry.push(REPOSITORY, None, age=OLD) for _ in range(2))
    stage.registry.push_index(REPOSITORY, "old", children=[shared, own], age=OLD)
    stage.registry.push_index(REPOSITORY, "young", children=[shared], age=YOUNG, annotations={"a": "b"})


@scenarios.deletes("1.0", "1.1", "child")
def locked_index_keeps_child_manifest(stage: Stage) -> None:
    """Only the child's tag is deleted."""
    child = stage.registry.push(REPOSITORY, "child", age=OLD)
    index = stage.registry.push_index(REPOSITORY, "locked", children=[child], age=OLD)
    stage.registry.lock(REPOSITORY, index)


@scenarios.deletes("1.0", "1.1", "child")
def unlisted_index_keeps_its_children(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, "child", age=OLD)
    index = stage.registry.push_index(REPOSITORY, "hidden", children=[child], age=YOUNG)
    stage.registry.lock(REPOSITORY, index, list=False)


@scenarios.deletes("1.0", "1.1", counts={"deleted_manifests": 0})
def unreadable_index_keeps_every_manifest(stage: Stage) -> None:
    """Only tags are deleted, because the index may refer to any manifest."""
    child = stage.registry.push(REPOSITORY, None, age=OLD)
    stage.registry.ghost(REPOSITORY, stage.registry.push_index(REPOSITORY, "ghost", children=[child], age=OLD))


# -- attached artifacts ---------------------------------------------------------------------------


@scenarios.deletes("1.0", "1.1", "signature of 1.0")
def signature_tag_is_deleted_only_with_its_image(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        name = stage.digest(tag).replace(":", "-") + ".sig"
        stage.aliases[name] = f"signature of {tag}"
        stage.registry.push(REPOSITORY, name, age=OLD)


def attach(stage: Stage, *, to: str, tag: str | None = None, young: bool = False) -> str:
    """Push a referrer, which the registry deletes together with its subject."""
    return stage.registry.push_referrer(REPOSITORY, to, tag=tag, age=YOUNG if young else OLD)


@scenarios.deletes(*BOTH, counts={"deleted_manifests": 1})
def mounted_artifact_keeps_its_subject(stage: Stage) -> None:
    artifact = attach(stage, to=stage.digest("1.0"))
    stage.pod(stage.image("2.0"))["spec"]["volumes"] = [
        {"name": "model", "image": {"reference": stage.image(digest=artifact)}}
    ]


@scenarios.deletes(*BOTH, counts={"deleted_manifests": 1})
def young_referrer_keeps_its_chain_of_subjects(stage: Stage) -> None:
    attach(stage, to=attach(stage, to=stage.digest("1.0")), tag="signature", young=True)


@scenarios.deletes(*BOTH, counts={"deleted_manifests": 1})
def artifact_in_kept_index_keeps_its_subject(stage: Stage) -> None:
    stage.registry.push_index(REPOSITORY, "young", children=[attach(stage, to=stage.digest("1.0"))], age=YOUNG)


@scenarios.deletes(*BOTH, counts={"deleted_manifests": 4})
def untagged_referrer_is_deleted_with_its_subject(stage: Stage) -> None:
    attach(stage, to=attach(stage, to=stage.digest("1.0")), young=True)


# -- age, missing tags, locks ---------------------------------------------------------------------


@scenarios.deletes("1.1")
def age_counts_from_the_last_push(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "1.0", stage.registry.push(REPOSITORY, None, age=OLD), YOUNG)


@scenarios.deletes(*BOTH, counts={"deleted_manifests": 2})
def untagged_manifest_is_kept_by_default(stage: Stage) -> None:
    stage.registry.push(REPOSITORY, None, age=OLD)


@scenarios.deletes("1.1", "alias", counts={"deleted_manifests": 1})
def locked_tag_keeps_manifest_but_not_other_tag(stage: Stage) -> None:
    stage.registry.tag(REPOSITORY, "alias", stage.digest("1.0"), OLD)
    stage.registry.lock(REPOSITORY, "1.0")


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_manifest_graph(
    scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
