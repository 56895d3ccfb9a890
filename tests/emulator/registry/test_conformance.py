"""The emulated registry against the official description of the real one: every answer has the shape promised there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest

from acr_cleanup.emulator import World
from acr_cleanup.emulator.faults import Budget
from acr_cleanup.emulator.registry.repository import DOCKER_LIST
from acr_cleanup.emulator.registry.state import DOCKER_MANIFEST, OCI_MANIFEST
from tests.helpers.emulator_clients import RegistryAnswer, RegistryClient, registry_client
from tests.helpers.paths import ROOT, SHARED

SWAGGER = SHARED / "acr-wire/acr-swagger-2021-07-01/containerregistry.json"
PAGE = ROOT / "docs" / "emulator.md"
RECORDINGS = SWAGGER.parents[1] / "acr-recordings"

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not SWAGGER.exists(), reason=f"the public description {SWAGGER} is not on this machine"),
]


@dataclass(frozen=True)
class Operation:
    """
    How an operation of the description is called here, and what must come of it beside what the description says.

    `headers` are those that clients go by. An operation that is not `served` answers as a path that there is not.
    """

    method: str
    path: str
    status: int
    scope: str = ""
    headers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


LISTED, LOCKS = ("Link",), {"json": {"writeEnabled": True}}
DIGEST = ("Docker-Content-Digest",)
LEFT = ("X-Ms-Ratelimit-Remaining-Calls-Per-Second",)
READ, WRITE = "repository:shop/web:metadata_read", "repository:shop/web:metadata_write"
PULL, DELETE = "repository:shop/web:pull", "repository:shop/web:delete"

# What deletes comes last: all of it happens in one world.
SERVED: dict[str, tuple[Operation, ...]] = {
    "ContainerRegistry_CheckDockerV2Support": (Operation("GET", "/v2/", 200),),
    "ContainerRegistry_GetRepositories": (
        Operation("GET", "/acr/v1/_catalog", 200, "registry:catalog:*"),
        Operation("GET", "/acr/v1/_catalog?n=1", 200, "registry:catalog:*", LISTED),
    ),
    "ContainerRegistry_GetProperties": (Operation("GET", "/acr/v1/shop%2Fweb", 200, READ),),
    "ContainerRegistry_UpdateProperties": (Operation("PATCH", "/acr/v1/shop%2Fweb", 200, WRITE, options=LOCKS),),
    "ContainerRegistry_GetTags": (
        Operation("GET", "/acr/v1/shop%2Fweb/_tags", 200, READ),
        Operation("GET", "/acr/v1/shop%2Fweb/_tags?n=1&orderby=timedesc", 200, READ, LISTED),
        Operation("GET", "/acr/v1/shop%2Fweb/_tags?last=1.0", 200, READ),
        Operation("GET", "/acr/v1/shop%2Fweb/_tags?digest={index}", 200, READ),
    ),
    "ContainerRegistry_GetTagProperties": (Operation("GET", "/acr/v1/shop%2Fweb/_tags/1.0", 200, READ),),
    "ContainerRegistry_UpdateTagAttributes": (
        Operation("PATCH", "/acr/v1/shop%2Fweb/_tags/1.0", 200, WRITE, options=LOCKS),
    ),
    "ContainerRegistry_GetManifests": (
        Operation("GET", "/acr/v1/shop%2Fweb/_manifests", 200, READ),
        Operation("GET", "/acr/v1/shop%2Fweb/_manifests?n=1&orderby=timeasc", 200, READ, LISTED),
    ),
    "ContainerRegistry_GetManifestProperties": (
        Operation("GET", "/acr/v1/shop%2Fweb/_manifests/{index}", 200, READ),
        Operation("GET", "/acr/v1/shop%2Fweb/_manifests/{image}", 200, READ),
    ),
    "ContainerRegistry_UpdateManifestProperties": (
        Operation("PATCH", "/acr/v1/shop%2Fweb/_manifests/{image}", 200, WRITE, options=LOCKS),
    ),
    "ContainerRegistry_GetManifest": (
        Operation("GET", "/v2/shop%2Fweb/manifests/1.0", 200, PULL, DIGEST),
        Operation("GET", "/v2/shop%2Fweb/manifests/{index}", 200, PULL, DIGEST),
        Operation("GET", "/v2/shop%2Fweb/manifests/{oci}", 200, PULL, DIGEST),
    ),
    "ContainerRegistry_CreateManifest": (
        Operation("PUT", "/v2/shop%2Fweb/manifests/2.0", 201, "repository:shop/web:push", (*DIGEST, "Location")),
    ),
    "ContainerRegistry_DeleteTag": (
        Operation("DELETE", "/acr/v1/shop%2Fweb/_tags/2.0", 202, DELETE, ("X-Ms-Int-Docker-Content-Digest", *LEFT)),
    ),
    "ContainerRegistry_DeleteManifest": (
        Operation("DELETE", "/v2/shop%2Fweb/manifests/{image}", 202, DELETE, LEFT),
        Operation("DELETE", "/v2/shop%2Fweb/manifests/{image}", 404, DELETE, LEFT),
    ),
    "ContainerRegistry_DeleteRepository": (
        Operation("DELETE", "/acr/v1/shop%2Fweb", 202, DELETE, LEFT),
        Operation("DELETE", "/acr/v1/shop%2Fweb", 404, DELETE, LEFT),
    ),
}
# The registry sends these, and the description does not know them; the recordings prove it.
# Sent since, after the recordings.
SINCE = {"configMediaType"}
UNDESCRIBED = {"teleportEnabled", "quarantineState", "mediaType", "configMediaType"}
ELSEWHERE = {
    "Authentication_ExchangeAadAccessTokenForAcrRefreshToken": "test_tokens_are_given_as_described",
    "Authentication_ExchangeAcrRefreshTokenForAcrAccessToken": "test_tokens_are_given_as_described",
    "Authentication_GetAcrAccessTokenFromLogin": "test_tokens_are_given_as_described",
}
# Nothing of ours reads or writes blobs; docs/emulator.md says what the emulator does in their place.
NOT_SERVED = {
    "ContainerRegistryBlob_GetBlob": ("GET", "/v2/shop%2Fweb/blobs/{image}"),
    "ContainerRegistryBlob_CheckBlobExists": ("HEAD", "/v2/shop%2Fweb/blobs/{image}"),
    "ContainerRegistryBlob_DeleteBlob": ("DELETE", "/v2/shop%2Fweb/blobs/{image}"),
    "ContainerRegistryBlob_MountBlob": ("POST", "/v2/shop%2Fweb/blobs/uploads/?from=a&mount={image}"),
    "ContainerRegistryBlob_GetUploadStatus": ("GET", "/v2/shop%2Fweb/blobs/uploads/1"),
    "ContainerRegistryBlob_UploadChunk": ("PATCH", "/v2/shop%2Fweb/blobs/uploads/1"),
    "ContainerRegistryBlob_CompleteUpload": ("PUT", "/v2/shop%2Fweb/blobs/uploads/1"),
    "ContainerRegistryBlob_CancelUpload": ("DELETE", "/v2/shop%2Fweb/blobs/uploads/1"),
    "ContainerRegistryBlob_StartUpload": ("POST", "/v2/shop%2Fweb/blobs/uploads/"),
    "ContainerRegistryBlob_GetChunk": ("GET", "/v2/shop%2Fweb/blobs/{image}"),
    "ContainerRegistryBlob_CheckChunkExists": ("HEAD", "/v2/shop%2Fweb/blobs/{image}"),
}


@pytest.fixture(scope="module")
def swagger() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SWAGGER.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
async def registry() -> AsyncIterator[RegistryClient]:
    async with registry_client(World()) as client:
        yield client


def described(swagger: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Every operation of the description: its path and its method. Those under `x-ms-paths` differ in their query alone."""
    return {
        operation["operationId"]: (path, method)
        for paths in (swagger["paths"], swagger.get("x-ms-paths", {}))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "operationId" in operation
    }


def conforms(swagger: dict[str, Any], method: str, path: str, answer: RegistryAnswer) -> None:
    """Fails unless body and headers are those that the description promises, and nothing in the body is called otherwise."""
    answers = swagger["paths"][path][method.lower()]["responses"]
    promised = answers.get(str(answer.status)) or answers["default"]
    schema = promised.get("schema")
    if schema:
        validator = jsonschema.Draft4Validator({**schema, "definitions": swagger["definitions"]})
        body = json.loads(answer.body)
        validator.validate(body)
        assert {each.rpartition(".")[2] for each in undescribed(schema, body, swagger)} <= UNDESCRIBED
    for header in promised.get("headers", {}):
        # A Link is only there when there is a next page.
        assert header in answer.headers or header == "Link"


def undescribed(schema: dict[str, Any], body: Any, swagger: dict[str, Any], place: str = "") -> Iterator[str]:
    """The members of a body that the description does not know: misspelt ones pass for missing optional ones otherwise."""
    if "$ref" in schema:
        schema = swagger["definitions"][schema["$ref"].rpartition("/")[2]]
    known = {**schema.get("properties", {})}
    for part in schema.get("allOf", ()):
        known |= swagger["definitions"][part["$ref"].rpartition("/")[2]].get("properties", {}) if "$ref" in part else {}
    if isinstance(body, dict) and known:
        for name, value in body.items():
            if name not in known:
                yield f"{place}.{name}"
            else:
                yield from undescribed(known[name], value, swagger, f"{place}.{name}")
    elif isinstance(body, list):
        for value in body:
            yield from undescribed(schema.get("items", {}), value, swagger, f"{place}[]")


def test_every_operation_of_the_description_is_in_the_table(swagger: dict[str, Any]) -> None:
    """What the emulator serves, and what it knowingly does not."""
    assert {*SERVED, *ELSEWHERE, *NOT_SERVED} == set(described(swagger))
    page = PAGE.read_text(encoding="utf-8")
    assert [
        name for name in described(swagger) if f"`_{name.partition('_')[2]}`" not in page and f"`{name}`" not in page
    ] == []


def test_what_the_description_does_not_know_was_recorded() -> None:
    recorded = "".join(path.read_text(encoding="utf-8") for path in RECORDINGS.glob("*.yaml"))
    assert all(f'"{name}"' in recorded for name in UNDESCRIBED - SINCE)


def filled(registry: RegistryClient) -> dict[str, str]:
    state = registry.emulator.world.registry
    image = state.push("shop/web", "1.0", media_type=DOCKER_MANIFEST)
    oci = state.push("shop/web", "oci", media_type=OCI_MANIFEST)
    index = state.push_index("shop/web", "all", children=[image, oci], media_type=DOCKER_LIST)
    state.push_referrer("shop/web", image)
    state.push("shop/api", "1.0")
    return {"image": image, "oci": oci, "index": index}


async def test_every_operation_answers_as_described(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    names = filled(registry)
    content = registry.emulator.world.registry.repositories["shop/web"].manifests[names["image"]].body
    where = described(swagger)
    for name, calls in SERVED.items():
        for call in calls:
            options = {"data": content} if call.method == "PUT" else dict(call.options)
            answer = await registry.call(call.method, call.path.format(**names), **options)
            assert answer.status == call.status, (name, answer)
            if call.status < 300:
                conforms(swagger, call.method, where[name][0], answer)
            assert set(call.headers) <= {each for each in call.headers if each in answer.headers}, (
                name,
                answer.headers,
            )
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
            assert ("Link" in answer.headers) == (call.headers == LISTED), name


async def test_every_operation_wants_a_token_for_its_scope_and_says_so(registry: RegistryClient) -> None:
    """In the words that clients read: realm, service, scope and why."""
    names = filled(registry)
    registry.token = None
    host = registry.emulator.registry_url
    for name, calls in SERVED.items():
        for call in calls:
            answer = await registry.call(call.method, call.path.format(**names), **call.options)
            scope = f',scope="{call.scope}",error="invalid_token"' if call.scope else ""
            assert answer.status == 401, name
            assert (
                answer.headers["Www-Authenticate"]
                == f'Bearer realm="https://{host}/oauth2/token",service="{host}"{scope}'
            )
            assert answer.code == "UNAUTHORIZED"


async def test_every_operation_has_a_limit_that_counts_down(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    names = filled(registry)
    world = registry.emulator.world
    for category in ("DataplaneRead", "DataplaneWrite", "DataplaneDelete"):
        world.budgets[category] = Budget(limit=0, seconds=30)
    schema = {"$ref": "#/definitions/AcrErrors", "definitions": swagger["definitions"]}
    for name, calls in SERVED.items():
        answer = await registry.call(calls[0].method, calls[0].path.format(**names), **calls[0].options)
        assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS"), name
        assert 0 < int(answer.headers["Retry-After"]) <= 30
        jsonschema.Draft4Validator(schema).validate(answer.json)


async def test_what_is_not_served_is_a_path_that_there_is_not(registry: RegistryClient) -> None:
    names = filled(registry)
    for name, (method, path) in NOT_SERVED.items():
        answer = await registry.call(method, path.format(**names))
        assert answer.status == 404, name
        assert answer.body in (b"404 page not found\n", b""), name


async def test_tokens_are_given_as_described(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    emulator = registry.emulator
    service = emulator.registry_url
    token = emulator.authority.issue_token(emulator.world.registry.audience, "somebody")
    form = {"grant_type": "access_token", "service": service, "access_token": token}
    exchanged = await registry.call("POST", "/oauth2/exchange", data=form)
    conforms(swagger, "POST", "/oauth2/exchange", exchanged)
    form = {
        "grant_type": "refresh_token",
        "service": service,
        "scope": "registry:catalog:*",
        "refresh_token": exchanged.json["refresh_token"],
    }
    given = await registry.call("POST", "/oauth2/token", data=form)
    conforms(swagger, "POST", "/oauth2/token", given)
    emulator.world.registry.anonymous_pull = True
    anonymous = await registry.get(f"/oauth2/token?service={service}&scope=repository:shop/web:pull")
    conforms(swagger, "GET", "/oauth2/token", anonymous)
    for answer in (exchanged, given, anonymous):
        assert answer.status == 200
        assert float(answer.headers["X-Ms-Ratelimit-Remaining-Calls-Per-Second"]) > 0


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/acr/v1/nobody"), ("GET", "/v2/nobody/manifests/1"), ("DELETE", "/acr/v1/locked")]
)
async def test_errors_have_the_described_shape(
    registry: RegistryClient, swagger: dict[str, Any], method: str, path: str
) -> None:
    state = registry.emulator.world.registry
    state.push("locked", "1.0")
    state.lock("locked")
    answer = await registry.call(method, path)
    assert answer.status in {404, 405}
    schema = {"$ref": "#/definitions/AcrErrors", "definitions": swagger["definitions"]}
    jsonschema.Draft4Validator(schema).validate(answer.json)
    assert answer.code


def test_the_judge_can_say_no(swagger: dict[str, Any]) -> None:
    """A body without a required field, or with a field of the wrong type, does not pass."""
    for wrong in ({"registry": "r", "imageName": "i"}, {"registry": "r", "imageName": "i", "tags": "none"}):
        with pytest.raises(jsonschema.ValidationError):
            conforms(swagger, "GET", "/acr/v1/{name}/_tags", RegistryAnswer(200, {}, json.dumps(wrong).encode(), wrong))
