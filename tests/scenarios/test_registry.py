"""The registry, its tokens and the login, when they fail, lag, expire or refuse."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from acr_cleanup.emulator.faults import Budget
from acr_cleanup.emulator.roles import OBJECTS, RUN_COMMAND
from acr_cleanup.emulator.world import Face
from tests.helpers.stage import OLD, REPOSITORY, Scenario, Stage, Table, build, play

world = Table()
BOTH = ("1.0", "1.1")
TAGS, MANIFESTS = "_tags$", "_manifests$"
DELETE = {"service": "acr", "method": "DELETE"}


def many(stage: Stage, count: int = 25) -> tuple[str, ...]:
    for number in range(count):
        stage.registry.push(REPOSITORY, f"old-{number}", age=OLD)
    return tuple(f"old-{number}" for number in range(count))


CLUSTER_ROLES = ("Azure Kubernetes Service Cluster User Role", RUN_COMMAND, OBJECTS)
"""The roles with which the clusters, but not the registry, can be read."""

MANY = tuple(f"old-{number}" for number in range(25))

# -- reading --------------------------------------------------------------------------------------------------

FLAWS: dict[str, dict[str, object]] = {
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "a cut connection": {"reset": True},
    "half an answer": {"truncate": 0.5},
}
for words, flaw in FLAWS.items():
    for path in (TAGS, MANIFESTS, "/oauth2/exchange", "/oauth2/token"):

        @world(f"the registry gives {words} once to {path.strip('$')} and all goes well", *BOTH)
        def _(stage: Stage, flaw=flaw, path=path) -> None:  # type: ignore[no-untyped-def]
            stage.fault(service="acr", path=path, times=1, **flaw)

    @world(f"Entra ID gives {words} once and all goes well", *BOTH)
    def _(stage: Stage, flaw=flaw) -> None:  # type: ignore[no-untyped-def]
        stage.fault(service="entra", path="token", times=1, **flaw)

    if words != "429":

        @world(f"the registry always gives {words} to a list, and the run is refused", code=3, says=(REPOSITORY,))
        def _(stage: Stage, flaw=flaw) -> None:  # type: ignore[no-untyped-def]
            stage.fault(service="acr", path=MANIFESTS, **flaw)

        @world(f"the registry always gives {words} for a token, and the run is refused", code=3, says=("registry",))
        def _(stage: Stage, flaw=flaw) -> None:  # type: ignore[no-untyped-def]
            stage.fault(service="acr", path="/oauth2/token", **flaw)

        @world(f"Entra ID always gives {words}, and the run is refused", code=3, says=("Entra ID",))
        def _(stage: Stage, flaw=flaw) -> None:  # type: ignore[no-untyped-def]
            stage.fault(service="entra", path="token", **flaw)


@world("a list that breaks off on its second page keeps the repository", code=3, says=(REPOSITORY,))
def _(stage: Stage) -> None:
    many(stage)
    stage.registry.largest_page = 10
    stage.fault(service="acr", path=TAGS, query="last=", status=500)


@world("lists of many pages are read to their end", *BOTH, *MANY)
def _(stage: Stage) -> None:
    many(stage)
    stage.registry.largest_page = 7


@world("one repository that cannot be read leaves the other to be cleaned", "1.0", "1.1", code=1, says=("shop/api",))
def _(stage: Stage) -> None:
    for tag in ("1.0", "2.0"):
        stage.registry.push("shop/api", tag, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))
    stage.fault(service="acr", path=f"shop/api/{TAGS}", status=500)


@world("a repository that is used and does not exist is empty", *BOTH)
def _(stage: Stage) -> None:
    stage.pod(stage.image("1.0", repository="no/such"))


@world("a manifest body that says something else keeps all manifests", "1.0", "1.1", counts={"deleted_manifests": 0})
def _(stage: Stage) -> None:
    child = stage.registry.push(REPOSITORY, None, age=OLD)
    index = stage.registry.push_index(REPOSITORY, "multi", children=[child], age=OLD)
    stage.fault(service="acr", method="GET", path=f"manifests/{index}", status=200, body={"schemaVersion": 2})


# -- tokens ---------------------------------------------------------------------------------------------------


@world("tokens that live for seconds are renewed in the middle of the deletions", *BOTH, *MANY)
def _(stage: Stage) -> None:
    many(stage)
    stage.registry.access_token_lifetime = 2
    stage.registry.refresh_token_lifetime = 3
    stage.world.directory.token_lifetime = 4
    stage.fault(**DELETE, latency=0.8)


@world("an ABAC registry is read and cleaned", *BOTH)
def _(stage: Stage) -> None:
    stage.registry.abac = True


async def no_wildcards(request: web.Request) -> None:
    form = await request.post()
    if "*" in str(form.get("scope", "")):
        raise web.HTTPUnauthorized(text='{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')


@world("a registry that answers a wildcard with 401 is asked for the repository by name", *BOTH)
def _(stage: Stage) -> None:
    stage.fault(service="acr", path="/oauth2/token", before=no_wildcards)


@world("an opaque access token is used as it is", *BOTH)
def _(stage: Stage) -> None:
    stage.fault(service="acr", path="/oauth2/token", times=1, status=200, body={"access_token": "opaque"})


@world("a token that the registry stops honouring is renewed", *BOTH)
def _(stage: Stage) -> None:
    stage.fault(**DELETE, times=1, status=401, headers={"WWW-Authenticate": challenge(stage, "delete")}, body=DENIED)


DENIED = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required", "detail": None}]}


def challenge(stage: Stage, action: str) -> str:
    host = stage.registry.login_server
    scope = f"repository:{REPOSITORY}:{action}"
    return f'Bearer realm="https://{host}/oauth2/token",service="{host}",scope="{scope}",error="invalid_token"'


@world("an identity without any role on the registry learns the role", code=3, says=("AcrPull",), roles=CLUSTER_ROLES)
def no_registry_role(stage: Stage) -> None:
    """The registry refuses the login itself."""


@world("an identity that may not read learns the role", code=3, says=("AcrPull",), roles=("AcrDelete", *CLUSTER_ROLES))
def no_reading_role(stage: Stage) -> None:
    """The registry accepts the login."""


@world("an identity that may not delete learns the role", code=1, says=("AcrDelete",), counts={"failed": 2},
       roles=("AcrPull", *CLUSTER_ROLES))  # fmt: skip
def no_deleting_role(stage: Stage) -> None:
    """Every deletion fails, and the exit code says so."""


# -- the login fails in the middle ----------------------------------------------------------------------------


@world("a login that ends between plan and deletion fails all that is left, by name", code=1, says=("Entra ID",),
       outcomes={"1.0": "failed", "1.1": "failed"})  # fmt: skip
def _(stage: Stage) -> None:
    login_ends(stage, {"path": TAGS, "after": 1, "times": 1})


@world("a login that ends in the middle of the deletions loses no outcome", "1.0", "1.1", code=1,
       outcomes={"0.9": "failed", "1.0": "deleted"}, counts={"failed": 1, "deleted": 2})  # fmt: skip
def _(stage: Stage) -> None:
    for tag in ("0.9", "2.0"):
        stage.registry.push("shop/api", tag, age=OLD)
    stage.cluster.run(build.deployment("shop", "api", [stage.image("2.0", repository="shop/api")]))
    login_ends(stage, {"path": "shop/api/_tags$", "after": 1, "times": 1})


def login_ends(stage: Stage, when: dict[str, object]) -> None:
    """Every token ends within a second, and from that request on Entra ID gives no new one."""
    stage.registry.access_token_lifetime = stage.registry.refresh_token_lifetime = 1.0
    stage.world.directory.token_lifetime = 2

    async def end(_: object) -> None:
        stage.fault(service="entra", status=400, body={"error": "invalid_client", "error_description": "AADSTS7000222"})
        stage.fault(service="acr", path="/oauth2", status=401, body=DENIED)
        await asyncio.sleep(2.2)

    stage.fault(service="acr", before=end, **when)


# -- deleting -------------------------------------------------------------------------------------------------

for status, outcome, code in (
    (404, "gone", 0),
    (405, "locked", 0),
    (403, "failed", 1),
    (409, "failed", 1),
    (412, "failed", 1),
    (400, "failed", 1),
):

    @world(f"one deletion that meets {status} is {outcome}, the other is done", "1.1", code=code,
           outcomes={"1.0": outcome, "1.1": "deleted"}, counts={"deleted": 1, "failed": code})  # fmt: skip
    def _(stage: Stage, status=status) -> None:  # type: ignore[no-untyped-def]
        stage.fault(**DELETE, path=stage.digest("1.0"), status=status, body={"errors": []})


for words, flaw in FLAWS.items():

    @world(f"one deletion that meets {words} once is repeated", *BOTH, counts={"deleted": 2})
    def _(stage: Stage, flaw=flaw) -> None:  # type: ignore[no-untyped-def]
        stage.fault(**DELETE, path=stage.digest("1.0"), times=1, **flaw)

    if words not in ("429", "half an answer"):

        @world(f"one deletion that always meets {words} fails, and the other is done", "1.1", code=1,
               outcomes={"1.0": "failed", "1.1": "deleted"}, counts={"deleted": 1, "failed": 1})  # fmt: skip
        def _(stage: Stage, flaw=flaw) -> None:  # type: ignore[no-untyped-def]
            stage.fault(**DELETE, path=stage.digest("1.0"), **flaw)


@world("a deletion that is carried out and whose answer is lost was ours", *BOTH, counts={"deleted": 2})
def _(stage: Stage) -> None:
    async def cut(request: web.Request) -> None:
        if request.transport is not None:
            request.transport.abort()

    stage.fault(**DELETE, path=stage.digest("1.0"), times=1, after_handler=cut)


@world("a registry that lets few deletions through per second is waited for", *BOTH, *MANY, counts={"failed": 0})
def _(stage: Stage) -> None:
    many(stage)
    stage.world.budgets["DataplaneDelete"] = Budget(limit=12, seconds=1.0)


@pytest.mark.parametrize(("scenario", "face"), world.parameters())
async def test_registry(scenario: Scenario, face: Face, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(scenario, face, tmp_path, monkeypatch)
