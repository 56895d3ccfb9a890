"""The emulated registry against the official description of the real one (swagger)."""

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
    pytest.mark.skipif(not SWAGGER.exists(), reason=f"the public description {SWAGGER} is missing"),
]


@dataclass(frozen=True)
class Operation:
    """
    A call of a described operation, with the expected answer.

    `status`: the expected status.
    `scope`: the scope that the challenge must name.
    `headers`: required headers besides those of the description, because clients rely on them.
    `options`: of the request.
    """

    method: str
    path: str
    status: int
    scope: str = ""
    headers: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


LISTED, LOCKS = ("Link",), {"json": {"writeEnabled": True}}
DIGEST = ("Docker-Content-Digest",)
REMAINING = ("X-Ms-Ratelimit-Remaining-Calls-Per-Second",)
READ, WRITE = "repository:shop/web:metadata_read", "repository:shop/web:metadata_write"
PULL, DELETE = "repository:shop/web:pull", "repository:shop/web:delete"

# Deletions are last, because all calls share one world.
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
        Operation(
            "DELETE", "/acr/v1/shop%2Fweb/_tags/2.0", 202, DELETE, ("X-Ms-Int-Docker-Content-Digest", *REMAINING)
        ),
    ),
    "ContainerRegistry_DeleteManifest": (
        Operation("DELETE", "/v2/shop%2Fweb/manifests/{image}", 202, DELETE, REMAINING),
        Operation("DELETE", "/v2/shop%2Fweb/manifests/{image}", 404, DELETE, REMAINING),
    ),
    "ContainerRegistry_DeleteRepository": (
        Operation("DELETE", "/acr/v1/shop%2Fweb", 202, DELETE, REMAINING),
        Operation("DELETE", "/acr/v1/shop%2Fweb", 404, DELETE, REMAINING),
    ),
}
# Fields that the registry has sent only since the recordings were made.
SINCE = {"configMediaType"}
# Fields that the registry sends although the description does not have them. The recordings prove
# it.
UNDESCRIBED = {"teleportEnabled", "quarantineState", "mediaType", "configMediaType"}
ELSEWHERE = {
    "Authentication_ExchangeAadAccessTokenForAcrRefreshToken": "test_token_operations_answer_as_described",
    "Authentication_ExchangeAcrRefreshTokenForAcrAccessToken": "test_token_operations_answer_as_described",
    "Authentication_GetAcrAccessTokenFromLogin": "test_token_operations_answer_as_described",
}
# The tool does not read or write blobs. docs/emulator.md describes the emulator's substitute.
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
    """
    Return the path and the method of each described operation.

    Paths under `x-ms-paths` differ from others in their query only.
    """
    return {
        operation["operationId"]: (path, method)
        for paths in (swagger["paths"], swagger.get("x-ms-paths", {}))
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "operationId" in operation
    }


def conforms(swagger: dict[str, Any], method: str, path: str, answer: RegistryAnswer) -> None:
    """
    Fail unless body and headers conform to the description.

    The body must have no further fields, except those of `UNDESCRIBED`.
    """
    responses = swagger["paths"][path][method.lower()]["responses"]
    response = responses.get(str(answer.status)) or responses["default"]
    schema = response.get("schema")
    if schema:
        validator = jsonschema.Draft4Validator({**schema, "definitions": swagger["definitions"]})
        body = json.loads(answer.body)
        validator.validate(body)
        assert {field.rpartition(".")[2] for field in undescribed(schema, body, swagger)} <= UNDESCRIBED
    for header in response.get("headers", {}):
        # There is a Link only if there is a next page.
        assert header in answer.headers or header == "Link"


def undescribed(schema: dict[str, Any], body: Any, swagger: dict[str, Any], place: str = "") -> Iterator[str]:
    """
    Yield the fields of a body that the description does not have.

    A misspelt optional field would otherwise count as missing.
    """
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


def test_tables_include_every_described_operation(swagger: dict[str, Any]) -> None:
    """Served and unserved operations are in the tables and in docs/emulator.md."""
    assert {*SERVED, *ELSEWHERE, *NOT_SERVED} == set(described(swagger))
    page = PAGE.read_text(encoding="utf-8")
    assert [
        name for name in described(swagger) if f"`_{name.partition('_')[2]}`" not in page and f"`{name}`" not in page
    ] == []


def test_undescribed_fields_are_in_the_recordings() -> None:
    """So `UNDESCRIBED` is not a list of the emulator's mistakes."""
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


async def test_operations_answer_as_described(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    names = filled(registry)
    content = registry.emulator.world.registry.repositories["shop/web"].manifests[names["image"]].body
    operations = described(swagger)
    for name, calls in SERVED.items():
        for call in calls:
            options = {"data": content} if call.method == "PUT" else dict(call.options)
            answer = await registry.call(call.method, call.path.format(**names), **options)
            assert answer.status == call.status, (name, answer)
            if call.status < 300:
                conforms(swagger, call.method, operations[name][0], answer)
            assert set(call.headers) <= {header for header in call.headers if header in answer.headers}, (
                name,
                answer.headers,
            )
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
            assert ("Link" in answer.headers) == (call.headers == LISTED), name


async def test_operations_without_token_answer_a_challenge(registry: RegistryClient) -> None:
    """The challenge has realm, service, scope and error, which clients parse."""
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


async def test_operations_over_budget_answer_429(registry: RegistryClient, swagger: dict[str, Any]) -> None:
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


async def test_unserved_operations_answer_404(registry: RegistryClient) -> None:
    names = filled(registry)
    for name, (method, path) in NOT_SERVED.items():
        answer = await registry.call(method, path.format(**names))
        assert answer.status == 404, name
        assert answer.body in (b"404 page not found\n", b""), name


async def test_token_operations_answer_as_described(registry: RegistryClient, swagger: dict[str, Any]) -> None:
    emulator = registry.emulator
    service = emulator.registry_url
    token = emulator.authority.issue_token(emulator.world.registry.audience, "any-client")
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
    ("method", "path"), [("GET", "/acr/v1/missing"), ("GET", "/v2/missing/manifests/1"), ("DELETE", "/acr/v1/locked")]
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


def test_conformance_check_rejects_wrong_bodies(swagger: dict[str, Any]) -> None:
    """A body without a required field, or with a field of a wrong type, does not pass."""
    for wrong in ({"registry": "r", "imageName": "i"}, {"registry": "r", "imageName": "i", "tags": "none"}):
        with pytest.raises(jsonschema.ValidationError):
            conforms(swagger, "GET", "/acr/v1/{name}/_tags", RegistryAnswer(200, {}, json.dumps(wrong).encode(), wrong))
