"""The registry, its tokens and the login when they fail, are slow, expire or refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from acr_cleanup.emulator.faults import Budget
from acr_cleanup.emulator.roles import OBJECTS, RUN_COMMAND
from acr_cleanup.emulator.world import Face
from tests.helpers.mention_builders import config_map
from tests.helpers.stage import (
    BOTH,
    OLD,
    REPOSITORY,
    Scenario,
    ScenarioTable,
    Stage,
    build,
    play,
    play_in_virtual_time,
)

pytestmark = pytest.mark.extended

CLUSTER_ROLES = ("Azure Kubernetes Service Cluster User Role", RUN_COMMAND, OBJECTS)
"""Roles with which clusters, but not the registry, can be read."""

scenarios = ScenarioTable(services="off")
timed = ScenarioTable(services="off")
TAGS, MANIFESTS = "_tags$", "_manifests$"
DELETE = {"service": "acr", "method": "DELETE"}
MANY = tuple(f"old-{number}" for number in range(25))


def push_many(stage: Stage) -> None:
    for name in MANY:
        stage.registry.push(REPOSITORY, name, age=OLD)


# -- reading --------------------------------------------------------------------------------------

FLAWS: dict[str, dict[str, object]] = {
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "cut connection": {"reset": True},
    "half an answer": {"truncate": 0.5},
}
for flaw, fault in FLAWS.items():
    for path in (TAGS, MANIFESTS, "/oauth2/exchange", "/oauth2/token"):

        @scenarios.deletes(*BOTH, case=f"{flaw} {path.strip('$')}")
        def single_registry_fault_is_retried(stage: Stage, fault: dict[str, object] = fault, path: str = path) -> None:
            stage.fault(service="acr", path=path, times=1, **fault)

    @scenarios.deletes(*BOTH, case=flaw)
    def single_entra_fault_is_retried(stage: Stage, fault: dict[str, object] = fault) -> None:
        stage.fault(service="entra", path="token", times=1, **fault)

    if flaw != "429":

        @scenarios.refuses(REPOSITORY, case=flaw)
        def permanent_fault_of_a_list_refuses_the_run(stage: Stage, fault: dict[str, object] = fault) -> None:
            stage.fault(service="acr", path=MANIFESTS, **fault)

        @scenarios.refuses("registry", case=flaw)
        def permanent_fault_of_registry_tokens_refuses_the_run(stage: Stage, fault: dict[str, object] = fault) -> None:
            stage.fault(service="acr", path="/oauth2/token", **fault)

        @scenarios.refuses("Entra ID", case=flaw)
        def permanent_entra_fault_refuses_the_run(stage: Stage, fault: dict[str, object] = fault) -> None:
            stage.fault(service="entra", path="token", **fault)


@scenarios.refuses(REPOSITORY)
def failing_second_page_keeps_the_repository(stage: Stage) -> None:
    push_many(stage)
    stage.registry.largest_page = 10
    stage.fault(service="acr", path=TAGS, query="last=", status=500)


@scenarios.deletes(*BOTH, *MANY)
def lists_of_many_pages_are_read_completely(stage: Stage) -> None:
    push_many(stage)
    stage.registry.largest_page = 7


@scenarios.deletes("1.0", "1.1", code=1, says=("shop/api",))
def unreadable_repository_does_not_stop_the_other(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        stage.registry.push("shop/api", tag, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))
    stage.fault(service="acr", path=f"shop/api/{TAGS}", status=500)


@scenarios.deletes("1.0")
def used_repository_that_the_catalog_leaves_out_is_searched_for(stage: Stage) -> None:
    """A second reading of the clusters finds what mentions it."""
    stage.registry.push("shop/api", "1", age=OLD)
    stage.cluster.add(config_map(image=stage.image("1.1")))
    stage.fault(service="acr", path="/_catalog$", status=200, body={"repositories": ["shop/api"]})


@scenarios.refuses("The registry's list of repositories leaves it out", "Run again")
def repository_that_only_the_plan_can_list_is_kept(stage: Stage) -> None:
    """No object was searched for mentions of it."""
    stage.registry.push("shop/api", "1", age=OLD)
    stage.fault(service="acr", path="/_catalog$", status=200, body={"repositories": ["shop/api"]})
    stage.fault(service="acr", path=f"shop/web/{TAGS}", status=403, times=1)


@scenarios.refuses("listing the repositories", "404")
def catalog_that_is_missing_is_not_empty(stage: Stage) -> None:
    stage.fault(service="acr", path="/_catalog$", status=404, body={"errors": []})


@scenarios.deletes(*BOTH)
def missing_used_repository_counts_as_empty(stage: Stage) -> None:
    stage.pod(stage.image("1.0", repository="no/such"))


@scenarios.deletes("1.0", "1.1", counts={"deleted_manifests": 0})
def wrong_manifest_body_keeps_all_manifests(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, None, age=OLD)
    index = stage.registry.push_index(REPOSITORY, "multi", children=[child], age=OLD)
    stage.fault(service="acr", method="GET", path=f"manifests/{index}", status=200, body={"schemaVersion": 2})


# -- tokens ---------------------------------------------------------------------------------------


@timed.deletes(*BOTH, *MANY)
def tokens_that_expire_during_deletions_are_renewed(stage: Stage) -> None:
    push_many(stage)
    stage.registry.access_token_lifetime = 2
    stage.registry.refresh_token_lifetime = 3
    stage.world.directory.token_lifetime = 4
    stage.fault(**DELETE, latency=0.8)


@scenarios.deletes(*BOTH)
def abac_registry_is_cleaned(stage: Stage) -> None:
    stage.registry.abac = True


async def refuse_wildcards(request: web.Request) -> None:
    form = await request.post()
    if "*" in str(form.get("scope", "")):
        raise web.HTTPUnauthorized(text='{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')


@scenarios.deletes(*BOTH)
def wildcard_answered_401_is_replaced_by_repository_scope(stage: Stage) -> None:
    stage.fault(service="acr", path="/oauth2/token", before=refuse_wildcards)


@scenarios.deletes(*BOTH)
def opaque_access_token_is_used_unchanged(stage: Stage) -> None:
    stage.fault(service="acr", path="/oauth2/token", times=1, status=200, body={"access_token": "opaque"})


@scenarios.deletes(*BOTH)
def rejected_token_is_renewed(stage: Stage) -> None:
    stage.fault(**DELETE, times=1, status=401, headers={"WWW-Authenticate": challenge(stage, "delete")}, body=DENIED)


DENIED = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}]}


def challenge(stage: Stage, action: str) -> str:
    host = stage.registry.login_server
    scope = f"repository:{REPOSITORY}:{action}"
    return f'Bearer realm="https://{host}/oauth2/token",service="{host}",scope="{scope}",error="invalid_token"'


@scenarios.refuses("AcrPull", roles=CLUSTER_ROLES)
def missing_right_to_sign_in_names_the_role(stage: Stage) -> None:
    """Without any role on the registry, the login itself is refused."""


@scenarios.refuses("AcrPull", roles=("AcrDelete", *CLUSTER_ROLES))
def missing_right_to_read_names_the_role(stage: Stage) -> None:
    """The login is accepted."""


@scenarios.deletes(code=1, says=("AcrDelete",), counts={"failed": 2}, roles=("AcrPull", *CLUSTER_ROLES))
def missing_right_to_delete_names_the_role(stage: Stage) -> None:
    """Every deletion fails."""


# -- the login fails during the run ---------------------------------------------------------------


@timed.deletes(code=1, says=("Entra ID",), outcomes={"1.0": "failed", "1.1": "failed"})
def login_that_ends_before_deletions_fails_each_tag(stage: Stage) -> None:
    end_login(stage, {"path": TAGS, "after": 1, "times": 1})


@timed.deletes("1.0", "1.1", code=1, outcomes={"0.9": "failed", "1.0": "deleted"}, counts={"failed": 1, "deleted": 2})
def login_that_ends_during_deletions_loses_no_outcome(stage: Stage) -> None:
    for tag in ("0.9", "2.0"):
        stage.registry.push("shop/api", tag, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))
    end_login(stage, {"path": "shop/api/_tags$", "after": 1, "times": 1})


def end_login(stage: Stage, request: dict[str, object]) -> None:
    """Let every token expire within two seconds. After this request, Entra ID issues no new one."""
    stage.registry.access_token_lifetime = stage.registry.refresh_token_lifetime = 1.0
    stage.world.directory.token_lifetime = 2

    async def end(_: object) -> None:
        stage.fault(service="entra", status=400, body={"error": "invalid_client", "error_description": "AADSTS7000222"})
        stage.fault(service="acr", path="/oauth2", status=401, body=DENIED)
        await asyncio.sleep(2.2)

    stage.fault(service="acr", before=end, **request)


# -- deleting -------------------------------------------------------------------------------------

for status, outcome, code in (
    (404, "gone", 0),
    (405, "locked", 0),
    (403, "failed", 1),
    (409, "failed", 1),
    (412, "failed", 1),
    (400, "failed", 1),
):

    @scenarios.deletes(
        "1.1",
        case=f"{status} {outcome}",
        code=code,
        outcomes={"1.0": outcome, "1.1": "deleted"},
        counts={"deleted": 1, "failed": code},
    )
    def refused_deletion_does_not_stop_the_other(stage: Stage, status: int = status) -> None:
        stage.fault(**DELETE, path=stage.digest("1.0"), status=status, body={"errors": []})


for flaw, fault in FLAWS.items():

    @scenarios.deletes(*BOTH, case=flaw, counts={"deleted": 2})
    def deletion_with_single_fault_is_repeated(stage: Stage, fault: dict[str, object] = fault) -> None:
        stage.fault(**DELETE, path=stage.digest("1.0"), times=1, **fault)

    if flaw not in ("429", "half an answer"):

        @scenarios.deletes(
            "1.1",
            case=flaw,
            code=1,
            outcomes={"1.0": "failed", "1.1": "deleted"},
            counts={"deleted": 1, "failed": 1},
        )
        def permanently_failing_deletion_does_not_stop_the_other(
            stage: Stage, fault: dict[str, object] = fault
        ) -> None:
            stage.fault(**DELETE, path=stage.digest("1.0"), **fault)


@scenarios.deletes(*BOTH, counts={"deleted": 2})
def deletion_with_lost_answer_counts_as_deleted(stage: Stage) -> None:
    async def cut(request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()

    stage.fault(**DELETE, path=stage.digest("1.0"), times=1, after_handler=cut)


@timed.deletes(*BOTH, *MANY, counts={"failed": 0})
def throttled_deletions_are_all_done(stage: Stage) -> None:
    push_many(stage)
    stage.world.budgets["DataplaneDelete"] = Budget(limit=12, seconds=1.0)


@pytest.mark.parametrize(("scenario", "face"), scenarios.parameters())
async def test_registry(scenario: Scenario, face: Face | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)


@pytest.mark.parametrize("scenario", timed.parameters_in_memory())
def test_registry_in_virtual_time(scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_in_virtual_time(scenario, tmp_path, monkeypatch)
