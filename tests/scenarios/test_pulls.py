"""Pull logs end to end: pulled images are kept, and an incomplete log refuses the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acr_cleanup.emulator.logs import TABLE
from acr_cleanup.emulator.roles import DEFAULT_ROLES, LOCKS, SOFT_DELETE
from tests.helpers.pull_logs import logged, pulled
from tests.helpers.stage import (
    BOTH,
    ScenarioTable,
    Stage,
    play,
)

pytestmark = pytest.mark.extended

scenarios = ScenarioTable()


@scenarios.deletes("1.1", both_faces=True)
def pulled_tag_is_kept(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", stage.digest("1.0"))


@scenarios.deletes("1.0")
def pulled_digest_is_kept(stage: Stage) -> None:
    logged(stage)
    pulled(stage, digest=stage.digest("1.1"))


@scenarios.deletes(*BOTH)
def older_pull_keeps_nothing(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", days=91)


@scenarios.deletes(*BOTH)
def log_is_not_read_unless_asked_for(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0")
    stage.options = {}


@scenarios.deletes(*BOTH)
def other_operations_keep_nothing(stage: Stage) -> None:
    logged(stage)
    for operation in ("Push", "Untag", "Delete", "Purge"):
        stage.world.logs.write(operation, datetime.now(UTC) - timedelta(days=3), "shop/web", "1.0")


for name, row, gone in (
    ("capitals", {"tag": "1.0", "repository": "SHOP/Web"}, ("1.1",)),
    ("leading slash", {"tag": "1.0", "repository": "/shop/web"}, ("1.1",)),
    ("future", {"tag": "1.0", "days": -40}, ("1.1",)),
    ("far future", {"tag": "1.0", "days": -360}, ("1.1",)),
    ("neither tag nor digest", {}, ()),
    ("digest of no length", {"digest": "sha256:"}, ()),
    ("digest too long", {"digest": f"sha256:{'a' * 900}"}, ()),
    ("other repository", {"tag": "1.0", "repository": "shop/other"}, BOTH),
):

    @scenarios.deletes(*gone, case=name)
    def odd_row(stage: Stage, row: Any = row) -> None:
        logged(stage)
        pulled(stage, **row)


@scenarios.refuses("name no repository", 'waive: "azure: pull-log"')
def pull_of_no_repository_refuses(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", repository="")


# -- pulls that do not count -----------------------------------------------------------------------


@scenarios.deletes(*BOTH, says=("trivy/0.50",))
def ignored_user_agent_keeps_nothing(stage: Stage) -> None:
    logged(stage, {"ignore-pulls-by": "trivy/*"})
    for tag in BOTH:
        pulled(stage, tag, UserAgent="trivy/0.50 (linux)")


@scenarios.deletes("1.1")
def ignored_identity_does_not_hide_others(stage: Stage) -> None:
    """A scanner that pulls everything, and one who needs one image."""
    logged(stage, {"ignore-pulls-by": "5ca00000-*"})
    for tag in BOTH:
        pulled(stage, tag, days=1, Identity="5ca00000-1111-2222-3333-444444444444")
    pulled(stage, "1.0", days=80)


@scenarios.deletes(*BOTH)
def own_pulls_do_not_count(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0", UserAgent="acr-cleanup/1.0 Python/3.12")


# -- logs that are not whole -----------------------------------------------------------------------


@scenarios.refuses("does not log its pulls", "az monitor diagnostic-settings create", TABLE, "waive:")
def no_setting_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.settings.clear()


for name, setting in (
    ("other category", {"logs": [{"category": "ContainerRegistryLoginEvents", "enabled": True}]}),
    ("disabled", {"logs": [{"category": TABLE, "enabled": False}]}),
    ("storage only", {"workspaceId": None, "storageAccountId": "/subscriptions/x"}),
    ("no logs", {"logs": None}),
):

    @scenarios.refuses("does not log its pulls", case=name)
    def setting_without_pulls_refuses(stage: Stage, setting: Any = setting) -> None:
        logged(stage)
        stage.world.logs.settings.clear()
        stage.world.logs.enable(**setting)


@scenarios.deletes("1.1")
def setting_for_all_logs_is_enough(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.settings.clear()
    stage.world.logs.enable(logs=[{"category": None, "categoryGroup": "allLogs", "enabled": True}])
    pulled(stage, "1.0")


@scenarios.refuses("reaches back to", "(12 days)", "at most 12d")
def young_log_refuses(stage: Stage) -> None:
    logged(stage, reach=timedelta(days=12, hours=1))


@scenarios.refuses("keeps rows for 30 days: raise its retention above 90d")
def short_retention_is_named(stage: Stage) -> None:
    logged(stage, reach=timedelta(days=29))
    stage.world.logs.retention_days = 30


@scenarios.refuses("has no row of this registry yet")
def empty_log_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.rows.clear()


@scenarios.refuses("has no table", "wait until the log is older")
def log_without_a_table_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.table_exists = False


@scenarios.refuses("which does not exist (moved or deleted)", "Correct the workspace")
def moved_workspace_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.settings.clear()
    stage.world.logs.enable(workspaceId=f"{stage.world.logs.workspace}-old")


@scenarios.refuses("in part only: a shard failed.", "Run again later")
def partial_answer_refuses(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.partial = "a shard failed"


@scenarios.refuses("exceed the set limit of 1 records", "Shorten pulled-within")
def too_many_rows_refuse(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.largest_rows = 1
    for tag in BOTH:
        pulled(stage, tag)


for status, body, says in (
    (429, {"error": {"code": "ThrottledError", "message": "too many"}}, ("throttles the queries", "Run again later")),
    (429, b"", ("throttles the queries",)),
    (413, b"too large", ("Shorten pulled-within",)),
    (504, b"<html>", ("takes too long",)),
    (401, {"error": {"message": "no"}}, ("cloud.log_analytics",)),
    (404, b"", ("no workspace has logs of it",)),
    (500, b"", ("Run again later",)),
):

    @scenarios.refuses(*says, "pull-log", case=f"{status} {len(body)}")
    def refused_query_refuses(stage: Stage, status: int = status, body: Any = body) -> None:
        logged(stage)
        stage.fault(service="logs", status=status, body=body)


@scenarios.refuses("Log Analytics cannot be reached", "`cloud.log_analytics`")
def unreachable_logs_refuse(stage: Stage) -> None:
    logged(stage)
    stage.fault(service="logs", reset=True)


for name, text in (
    ("not json", "<html>"),
    ("no table", "{}"),
    ("other columns", '{"tables":[{"columns":[],"rows":[]}]}'),
):

    @scenarios.refuses("pull-log", case=name)
    def malformed_answer_refuses(stage: Stage, text: str = text) -> None:
        logged(stage)
        stage.fault(service="logs", status=200, body=text)


@scenarios.refuses("pull-log", "Log Analytics Reader", roles=("AcrPull", "AcrDelete", *DEFAULT_ROLES[-4:]))
def missing_right_refuses(stage: Stage) -> None:
    logged(stage)


@scenarios.refuses("insufficient access", "on the workspace if that counts only rights on itself")
def right_on_the_registry_alone_refuses_where_the_workspace_decides(stage: Stage) -> None:
    logged(stage)
    stage.world.logs.workspace_rights = True
    stage.world.access.assign_only(*(role for role in DEFAULT_ROLES if role.name != "Reader"), LOCKS, SOFT_DELETE)
    for scope in (
        stage.registry.resource_id,
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-aks",
    ):
        stage.world.access.assign("Reader", scope)
    stage.world.access.assign("Reader", stage.cluster.resource_id)


@scenarios.deletes("1.1", says=("pull-log is waived", "12 days"))
def waived_log_still_keeps_what_it_shows(stage: Stage) -> None:
    logged(stage, {"waive": "pull-log"}, reach=timedelta(days=12, hours=1))
    pulled(stage, "1.0")


@scenarios.deletes(*BOTH, says=("pull-log is waived",), silent=("the waiver of",))
def waived_log_that_cannot_be_read_blocks_nothing(stage: Stage) -> None:
    logged(stage)
    stage.settings(waive=[{"cluster": "azure", "kind": "pull-log"}])
    stage.fault(service="logs", status=500)


@scenarios.deletes("1.1")
def registry_is_found_without_its_group(stage: Stage) -> None:
    logged(stage)
    pulled(stage, "1.0")
    config = stage.tool.emulator.config()
    config["container_registry"] = {"url": config["container_registry"]["url"]}
    stage.config = config


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_pulls(scenario: Any, face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
